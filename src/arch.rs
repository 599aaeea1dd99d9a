//! Architectures: how the keys and tensors of a file become a [`Config`] and [`Weights`].
//!
//! One file a recipe; a new architecture is a file and a line in `RECIPES`. A recipe computes nothing: it names tensors, states
//! their shapes and leaves the rest to the model. Shapes are taken from the tensors where they can be, because keys of old and
//! new files mean different things; a key that contradicts a tensor is an error, and so is a tensor that a recipe did not ask for,
//! since a model run without some of its weights is silently wrong.

mod deepseek2;
mod deepseek32;
mod llama;
mod minicpm3;
mod mla;
mod plm;
mod qwen2;
mod rope;
mod source;

use wattle_kernels::Isa;

use crate::error::{Error, Result};
use crate::gguf::Gguf;
use crate::model::Transformer;
use crate::model::config::Config;
use crate::model::weights::Weights;
use crate::rare::Loader;
use source::Source;

/// How to build the models of one architecture.
struct Recipe {
    /// The value of `general.architecture`.
    name: &'static str,
    build: fn(&Source<'_>) -> Result<(Config, Weights)>,
}

/// The architectures that wattle knows.
const RECIPES: &[Recipe] = &[
    deepseek2::RECIPE,
    deepseek32::RECIPE,
    llama::RECIPE,
    minicpm3::RECIPE,
    plm::RECIPE,
    qwen2::RECIPE,
];

/// Names of the architectures that wattle knows, as `general.architecture` writes them.
pub fn names() -> impl Iterator<Item = &'static str> {
    RECIPES.iter().map(|recipe| recipe.name)
}

/// Builds the model of a file; `rare` decodes what there is no kernel for.
///
/// # Errors
/// When the architecture is unknown, a key or tensor is missing or has a wrong shape, or a format is not supported.
pub fn build(gguf: &Gguf, isa: Isa, rare: Loader<'_>) -> Result<Transformer> {
    let name = gguf.metadata().need_str("general.architecture")?;
    let recipe = RECIPES
        .iter()
        .find(|recipe| recipe.name == name)
        .ok_or_else(|| Error::Unsupported {
            path: gguf.path().to_path_buf(),
            what: format!("architecture {name:?}"),
            hint: format!("wattle runs {}", names().collect::<Vec<_>>().join(", ")),
        })?;
    let source = Source::new(gguf, isa, rare, recipe.name);
    let (config, weights) = (recipe.build)(&source)?;
    source.refuse_leftovers()?;
    Ok(Transformer::new(config, weights, isa))
}
