//! Flags about the model and the memory it works in, shared by the subcommands that run one.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use wattle::demo;
use wattle::error::counted;
use wattle::generate::{Session, SessionOptions};
use wattle::gguf::Gguf;
use wattle::load::{LoadOptions, Model};
use wattle::model::{CacheType, PackState};
use wattle::tokenizer::Tokenizer;
use wattle::{Error, Result, os};
use wattle_boards::Machine;

use super::choice::Choice;
use super::{inspect, progress, say};

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
    #[arg(short, long, value_name = "N", default_value_t = 224)]
    batch_size: usize,
    /// Numbers of the cache [-ctk]
    #[arg(
        long,
        aliases = ["cache-type-k", "cache-type-v"],
        overrides_with = "cache_type",
        value_name = "TYPE",
        value_enum,
        default_value_t = Cache::F16
    )]
    cache_type: Cache,
    /// Use the weights as they lie in the file: slower, but other processes can share them
    #[arg(long)]
    no_repack: bool,
    /// Multiply long prompts with coarser scales on ARM with dot products: nearly twice the products a cycle, less exact
    #[arg(long)]
    coarse: bool,
    /// Keep packed weights in files in DIR, as large as the model, for a faster start next time; safe to delete at any time
    #[arg(long, value_name = "DIR")]
    pack_cache: Option<PathBuf>,
}

/// [`CacheType`] by its name.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Cache {
    /// Latent rows in 8 bits, others in half precision
    #[value(alias = "q8_0")]
    Q8,
    /// Half precision
    F16,
    /// Single precision, for exact comparisons
    F32,
}

impl From<Cache> for CacheType {
    fn from(cache: Cache) -> Self {
        match cache {
            Cache::Q8 => Self::Q8,
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

    /// As [`load`](Self::load); without `-t`, with the threads and cores that `wattle tune` chose for this board, if it has.
    ///
    /// What is followed, and why something saved is not, is said on stderr.
    pub(crate) fn load_as_tuned(&self) -> Result<Model> {
        if self.threads.is_some() {
            return self.load();
        }
        match Choice::here() {
            Ok(None) => self.load(),
            Ok(Some((choice, path))) => {
                let cores = wattle_boards::list_name(&choice.cores);
                say(format_args!(
                    "wattle: note: {} on cores {cores}, as `wattle tune` chose ({}); -t N does otherwise",
                    counted(choice.threads, "thread"),
                    path.display()
                ));
                os::confine(&choice.cores);
                self.load_on(Some(choice.threads))
            }
            Err(fault) => {
                say(format_args!(
                    "wattle: warning: {fault}; this choice is ignored"
                ));
                self.load()
            }
        }
    }

    /// Checks the flags, then loads the model.
    pub(crate) fn load(&self) -> Result<Model> {
        self.load_on(self.threads)
    }

    fn load_on(&self, threads: Option<usize>) -> Result<Model> {
        for (name, value) in [("-t", self.threads), ("-b", Some(self.batch_size))] {
            if value == Some(0) {
                return Err(Error::Argument {
                    name,
                    value: "0".into(),
                    expected: "at least 1".into(),
                });
            }
        }
        self.check_room()?;
        let model = load(
            self.model.as_deref(),
            &LoadOptions {
                threads,
                no_repack: self.no_repack,
                coarse: self.coarse,
                pack_cache: self.pack_cache.clone(),
                ..LoadOptions::default()
            },
        )?;
        model.pool().confine_caller();
        Ok(model)
    }

    /// Refuses a context whose cache alone is more than the memory that is free, before the weights are loaded.
    fn check_room(&self) -> Result<()> {
        let (Some(path), Some(free)) = (&self.model, Machine::here().available_bytes) else {
            return Ok(());
        };
        // What is wrong with the file is told when it is loaded.
        let Ok(file) = Gguf::open_head(path) else {
            return Ok(());
        };
        let trained = inspect::trained(&file);
        let ctx = match self.ctx_size {
            None => trained.min(4096),
            Some(0) => trained,
            Some(ctx) => ctx as u64,
        };
        let types = inspect::cache_of(&file, ctx);
        let name = CacheType::from(self.cache_type).name();
        let needed = types.iter().find(|(kind, _)| *kind == name);
        if needed.is_none_or(|(_, bytes)| *bytes <= free) {
            return Ok(());
        }
        let sizes = types
            .iter()
            .map(|(kind, bytes)| format!("{bytes} in {kind}"));
        Err(Error::Argument {
            name: "-c",
            value: ctx.to_string(),
            expected: format!(
                "a context whose cache fits the {free} bytes of memory that are free; this one takes {} (-ctk)",
                sizes.collect::<Vec<_>>().join(", ")
            ),
        })
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

/// Loads the model at `path`, or the one in the box, which is said on stderr then. So is what became of its packed weights, and of `--coarse`.
pub(crate) fn load(path: Option<&Path>, options: &LoadOptions) -> Result<Model> {
    let name = path.unwrap_or(Path::new(demo::NAME));
    let _shown = progress::Spinner::new(format!("loading {}", name.display()));
    let model = match path {
        Some(path) => Model::load_with(path, options)?,
        None => {
            let model = Model::demo(options)?;
            say(format_args!(
                "wattle: note: without -m FILE, {} in the box is used: it tells short stories and knows nothing else",
                demo::NAME
            ));
            model
        }
    };
    if options.coarse && !model.transformer().in_pieces() {
        say(format_args!(
            "wattle: note: --coarse changes nothing on this CPU, which has no faster product for it"
        ));
    }
    if let Some(cache) = model.pack_cache() {
        for fault in &cache.faults {
            say(format_args!("wattle: warning: {fault}"));
        }
        if let PackState::Written(bytes) = cache.state {
            say(format_args!(
                "wattle: note: the packed weights are kept for the next start in {} ({} MB), which is safe to delete",
                cache.file.display(),
                bytes.div_ceil(1_000_000)
            ));
        }
    }
    Ok(model)
}
