//! `deepseek32`: DeepSeek-V3.2. The layout of `deepseek2`, with an indexer in every block that chooses the rows to attend to.
//!
//! `indexer.attn_q_b {q_lora_rank, heads * width}`, `indexer.attn_k {n_embd, width}`, `indexer.k_norm` (weight and bias) and
//! `indexer.proj {n_embd, heads}`; the keys are `attention.indexer.{head_count, key_length, top_k}`. As the format has it, the router's function
//! is stated here, which files of `deepseek2` leave out where it is a softmax.

use super::{Recipe, deepseek2, mla};

pub(super) const RECIPE: Recipe = Recipe {
    name: "deepseek32",
    build: |source| {
        if source.number("expert_count")?.is_some_and(|n| n > 0) {
            source.need("expert_gating_func")?;
        }
        deepseek2::build(source, Some(mla::sparse(source)?))
    },
};
