//! From a path and a machine to a model that runs: the one place where files, architectures, kernels and cores meet.

use std::path::Path;

use wattle_kernels::Isa;

use crate::arch;
use crate::error::{Error, Result};
use crate::gguf::Gguf;
use crate::model::Transformer;
use crate::pool::Pool;

/// Environment variable that caps the instruction set, for tests and comparisons.
pub const ISA_VARIABLE: &str = "WATTLE_ISA";

/// How to load a model.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// Threads to compute with; by default, as many as there are big cores that this process may use.
    pub threads: Option<usize>,
    /// Name of an instruction set; by default the value of `WATTLE_ISA`, or else the best that this CPU has.
    pub isa: Option<String>,
}

/// A model file, ready to run on this machine.
#[derive(Debug)]
pub struct Model {
    gguf: Gguf,
    transformer: Transformer,
    pool: Pool,
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
        let isa = choose_isa(options.isa.as_deref())?;
        let pool = Pool::new(options.threads)?;
        let gguf = Gguf::open(path.as_ref())?;
        let transformer = arch::build(&gguf, isa)?;
        Ok(Self {
            gguf,
            transformer,
            pool,
        })
    }

    /// The file.
    #[must_use]
    pub fn gguf(&self) -> &Gguf {
        &self.gguf
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
}

/// The instruction set by name, else by the environment, else the best.
fn choose_isa(name: Option<&str>) -> Result<Isa> {
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
