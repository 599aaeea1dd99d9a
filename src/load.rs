//! From a path and a machine to a model that runs: the one place where files, architectures, kernels and cores meet.

mod identity;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use wattle_kernels::Isa;

use crate::arch;
use crate::chat::ChatTemplate;
use crate::demo;
use crate::error::{Error, Result};
use crate::gguf::Gguf;
use crate::model::{PackCache, Transformer};
use crate::pool::Pool;
use crate::rare::Loader;
use crate::tokenizer::Tokenizer;

/// Environment variable that caps the instruction set, for tests and comparisons.
pub const ISA_VARIABLE: &str = "WATTLE_ISA";

/// How to load a model.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// Threads to compute with; by default, as many as there are big cores that this process may use.
    pub threads: Option<usize>,
    /// Name of an instruction set; by default the value of `WATTLE_ISA`, or else the best that this CPU has.
    pub isa: Option<String>,
    /// Multiplies with the rows of the mapped file, instead of packing them in tiles: slower, but a second process shares them,
    /// and under memory pressure the system drops them instead of this process.
    pub no_repack: bool,
    /// Multiplies a long prompt, in passes of 64 tokens and more, with a scale for every 256 weights and every 256 activations, on
    /// instruction sets where that is faster ([`Isa::takes_pieces`]): ARM with dot products. Logits are less
    /// exact then, and depend a little on how a prompt is cut into passes. Without it, a prompt has a scale for every 32 of either, as single
    /// tokens have.
    pub coarse: bool,
    /// A folder for files of packed weights, as large as the model. The first load leaves one there, which later loads map in a
    /// fraction of the time; each model file, and each change of it, has its own. They may be deleted at any time.
    pub pack_cache: Option<PathBuf>,
}

/// A model file, ready to run on this machine.
#[derive(Debug)]
pub struct Model {
    gguf: Gguf,
    transformer: Transformer,
    pool: Pool,
    pack_cache: Option<PackCache>,
    packed: bool,
    tokenizer: OnceLock<Tokenizer>,
    template: OnceLock<Option<ChatTemplate>>,
}

impl Model {
    /// Loads the GGUF file at `path`; of a split model, the first file.
    ///
    /// # Errors
    /// When the file cannot be read, breaks its format, or holds a model that wattle does not run.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        Self::load_with(path, &LoadOptions::default())
    }

    /// Loads a model with options.
    ///
    /// # Errors
    /// As [`Model::load`], and when an option asks for something that this machine does not have.
    pub fn load_with(path: impl AsRef<Path>, options: &LoadOptions) -> Result<Self> {
        Self::assemble(options, || Gguf::open(path.as_ref()))
    }

    /// Loads [the model in the box](crate::demo), which tells stories.
    ///
    /// # Errors
    /// When this program was built without it, or an option asks for something that this machine does not have.
    pub fn demo(options: &LoadOptions) -> Result<Self> {
        Self::assemble(options, demo::gguf)
    }

    /// The options are checked before the file is read.
    fn assemble(options: &LoadOptions, gguf: impl FnOnce() -> Result<Gguf>) -> Result<Self> {
        let isa = choose_isa(options.isa.as_deref())?;
        if let Some(folder) = options.pack_cache.as_ref().filter(|_| options.no_repack) {
            return Err(Error::Argument {
                name: "--pack-cache",
                value: folder.display().to_string(),
                expected: "no --no-repack beside it, with which there are no packed weights".into(),
            });
        }
        let pool = Pool::new(options.threads)?;
        let gguf = gguf()?;
        let mut transformer = arch::build(&gguf, isa, Loader::new(&pool))?;
        transformer.set_coarse(options.coarse);
        let pack_cache = match &options.pack_cache {
            Some(folder) => {
                let name = gguf.path().file_stem().unwrap_or_default();
                transformer.pack_through(&pool, folder, &name.to_string_lossy())?
            }
            None if options.no_repack => None,
            None => transformer.pack(&pool).map(|()| None)?,
        };
        Ok(Self {
            gguf,
            transformer,
            pool,
            pack_cache,
            packed: !options.no_repack,
            tokenizer: OnceLock::new(),
            template: OnceLock::new(),
        })
    }

    /// The file.
    #[must_use]
    pub fn gguf(&self) -> &Gguf {
        &self.gguf
    }

    /// What decides on the bits that it computes, by name: the program, the model, and how it runs.
    pub(crate) fn terms(&self) -> [(&'static str, String); 5] {
        [
            ("wattle", env!("CARGO_PKG_VERSION").into()),
            ("model", format!("{:032x}", identity::of(&self.gguf))),
            ("isa", self.transformer.isa().name().into()),
            ("repack", self.packed.to_string()),
            ("coarse", self.transformer.in_pieces().to_string()),
        ]
    }

    /// The model itself, which knows token ids only.
    #[must_use]
    pub fn transformer(&self) -> &Transformer {
        &self.transformer
    }

    /// The threads that it runs on.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// What became of the file of packed weights, when [`LoadOptions::pack_cache`] asks for one.
    #[must_use]
    pub fn pack_cache(&self) -> Option<&PackCache> {
        self.pack_cache.as_ref()
    }

    /// Computes with so many threads from now on; `None` as in [`LoadOptions::threads`].
    ///
    /// # Errors
    /// When this machine does not have them; those before go on.
    pub fn set_threads(&mut self, threads: Option<usize>) -> Result<()> {
        self.pool = Pool::new(threads)?;
        Ok(())
    }

    /// The tokenizer of the file, built when it is first asked for.
    ///
    /// # Errors
    /// When the file has no tokenizer, or one that wattle does not know.
    pub fn tokenizer(&self) -> Result<&Tokenizer> {
        if let Some(tokenizer) = self.tokenizer.get() {
            return Ok(tokenizer);
        }
        let tokenizer = Tokenizer::from_gguf(self.gguf.metadata())?;
        Ok(self.tokenizer.get_or_init(|| tokenizer))
    }

    /// The chat template of the file, if it has one.
    ///
    /// # Errors
    /// When the template cannot be compiled, or there is no tokenizer for it.
    pub fn template(&self) -> Result<Option<&ChatTemplate>> {
        if self.template.get().is_none() {
            let template = ChatTemplate::from_gguf(self.gguf.metadata(), self.tokenizer()?)?;
            self.template.get_or_init(|| template);
        }
        Ok(self.template.get().and_then(Option::as_ref))
    }
}

/// The instruction set of that name, else the one that `WATTLE_ISA` names, else the best that this CPU has.
///
/// # Errors
/// When the name is unknown, or names an instruction set that this CPU does not have.
pub fn choose_isa(name: Option<&str>) -> Result<Isa> {
    let variable = std::env::var_os(ISA_VARIABLE).map(|v| v.to_string_lossy().into_owned());
    let Some(name) = name.map(str::to_owned).or(variable) else {
        return Ok(Isa::best());
    };
    Isa::named(&name).ok_or_else(|| {
        let here: Vec<_> = Isa::available().map(Isa::name).collect();
        Error::Argument {
            name: ISA_VARIABLE,
            value: name,
            expected: format!("an instruction set of this machine: {}", here.join(", ")),
        }
    })
}
