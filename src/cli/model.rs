//! Flags about the model and the memory it works in, shared by the subcommands that run one.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use wattle::demo;
use wattle::generate::{Session, SessionOptions};
use wattle::load::{LoadOptions, Model};
use wattle::model::CacheType;
use wattle::tokenizer::Tokenizer;
use wattle::{Error, Result};

use super::{progress, say};

/// Which model, and how it runs.
#[derive(Debug, clap::Args)]
pub(crate) struct ModelArgs {
    /// Model file (GGUF); of a split model the first part
    #[cfg_attr(
        feature = "demo",
        doc = "[default: the small one in the box, which tells stories]"
    )]
    #[arg(short, long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Threads [default: the big cores that this process may use]
    #[arg(short, long, value_name = "N")]
    threads: Option<usize>,
    /// Tokens that the context holds; 0 = as many as the model was trained for [default: that, but at most 4096]
    #[arg(short, long, value_name = "N")]
    ctx_size: Option<usize>,
    /// Most tokens of a prompt that go through the model at once
    #[arg(short, long, value_name = "N", default_value_t = 256)]
    batch_size: usize,
    /// Numbers of the cache [-ctk]
    #[arg(long, alias = "cache-type-k", value_name = "TYPE", value_enum, default_value_t = Cache::F16)]
    cache_type: Cache,
    /// Use the weights as they lie in the file: slower, but other processes can share them
    #[arg(long)]
    no_repack: bool,
}

/// [`CacheType`] by its name.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Cache {
    /// Half precision
    F16,
    /// Single precision, for exact comparisons
    F32,
}

impl From<Cache> for CacheType {
    fn from(cache: Cache) -> Self {
        match cache {
            Cache::F16 => Self::F16,
            Cache::F32 => Self::F32,
        }
    }
}

impl ModelArgs {
    /// The model's path, or what stands for it.
    pub(crate) fn name(&self) -> &Path {
        self.model.as_deref().unwrap_or(Path::new(demo::NAME))
    }

    /// Checks the flags, then loads the model.
    pub(crate) fn load(&self) -> Result<Model> {
        for (name, value) in [("-t", self.threads), ("-b", Some(self.batch_size))] {
            if value == Some(0) {
                return Err(Error::Argument {
                    name,
                    value: "0".into(),
                    expected: "at least 1".into(),
                });
            }
        }
        let model = load(self.model.as_deref(), self.threads, self.no_repack)?;
        model.pool().confine_caller();
        Ok(model)
    }

    /// An empty sequence of the size that the flags ask for. What had to be guessed about its tokens is said on stderr.
    pub(crate) fn session<'m>(&self, model: &'m Model) -> Result<Session<'m>> {
        self.session_of(model, self.ctx_size)
    }

    /// Tokens that the context shall hold, if the flags say.
    pub(crate) fn ctx_size(&self) -> Option<usize> {
        self.ctx_size
    }

    /// As [`session`](Self::session), with `ctx` for the flag.
    pub(crate) fn session_of<'m>(
        &self,
        model: &'m Model,
        ctx: Option<usize>,
    ) -> Result<Session<'m>> {
        let trained = model.transformer().config().n_ctx_train;
        if ctx.is_some_and(|ctx| ctx > trained) {
            say(format_args!(
                "wattle: note: the model was trained for {trained} tokens; what comes after them will be worse"
            ));
        }
        for note in model.tokenizer().map_or(&[][..], Tokenizer::notes) {
            say(format_args!("wattle: note: {note}"));
        }
        Session::new(
            model,
            &SessionOptions {
                ctx,
                batch: self.batch_size,
                cache_type: self.cache_type.into(),
            },
        )
    }
}

/// Loads the model at `path`, or the one in the box, which is said on stderr then.
pub(crate) fn load(path: Option<&Path>, threads: Option<usize>, no_repack: bool) -> Result<Model> {
    let options = LoadOptions {
        threads,
        no_repack,
        ..LoadOptions::default()
    };
    let name = path.unwrap_or(Path::new(demo::NAME));
    let _shown = progress::Spinner::new(format!("loading {}", name.display()));
    let Some(path) = path else {
        let model = Model::demo(&options)?;
        say(format_args!(
            "wattle: note: without -m FILE, {} in the box is used: it tells short stories and knows nothing else",
            demo::NAME
        ));
        return Ok(model);
    };
    Model::load_with(path, &options)
}
