//! `qwen2`: Qwen2 and the R1 distills of it. Llama's shape with biases on queries, keys and values, and rotary halves.

use super::{Recipe, llama};
use crate::model::rope::RopeKind;

pub(super) const RECIPE: Recipe = Recipe {
    name: "qwen2",
    build: |source| llama::build(source, RopeKind::Neox),
};
