//! `llama`: Llama and its many relatives (SmolLM2, the R1 distills of Llama).
//!
//! The recipe serves every plain pre-norm transformer with grouped-query attention and a gated network; [`build`] takes
//! the pairing of rotary dimensions as its only argument.

use super::Recipe;
use super::rope::{rope, scaling};
use super::source::Source;
use crate::error::Result;
use crate::model::config::{Config, GqaHeads, Heads};
use crate::model::rope::RopeKind;
use crate::model::weights::{Attention, Ffn, Gqa, Layer, Linear, Weights};

pub(super) const RECIPE: Recipe = Recipe {
    name: "llama",
    build: |source| build(source, RopeKind::Norm),
};

/// A transformer whose rotary dimensions pair up as `kind` says.
pub(super) fn build(source: &Source<'_>, kind: RopeKind) -> Result<(Config, Weights)> {
    if source.number("expert_count")?.is_some_and(|n| n > 0) {
        return Err(source.unsupported(
            format!("a mixture of experts ({})", source.key("expert_count")),
            "in this architecture wattle runs dense models only",
        ));
    }
    let n_embd = source.need("embedding_length")?;
    let heads = heads(source, n_embd)?;
    let layers = (0..source.layers()?)
        .map(|i| layer(source, i, n_embd, &heads))
        .collect::<Result<Vec<_>>>()?;
    let dims = source.number("rope.dimension_count")?.unwrap_or(heads.k);
    if dims > heads.k {
        let expected = format!("at most the {} dimensions of a head", heads.k);
        return Err(source.bad_key("rope.dimension_count", &expected, &dims.to_string()));
    }
    let scaling = scaling(source)?;
    let rope = rope(source, kind, dims, scaling, scaling.magnitude(0.1))?;
    let weights = source.weights(n_embd, layers)?;
    let config = source.config(Heads::Gqa(heads), rope, n_embd, weights.output.rows())?;
    Ok((config, weights))
}

/// The shape of attention, by the keys.
fn heads(source: &Source<'_>, n_embd: usize) -> Result<GqaHeads> {
    let heads = source.need("attention.head_count")?;
    let kv_heads = source.number("attention.head_count_kv")?.unwrap_or(heads);
    if kv_heads == 0 || !heads.is_multiple_of(kv_heads) {
        let expected = format!("a divisor of the {heads} heads");
        return Err(source.bad_key("attention.head_count_kv", &expected, &kv_heads.to_string()));
    }
    let width = |name: &str| -> Result<usize> {
        match source.number(name)? {
            Some(0) => Err(source.bad_key(name, "at least 1", "0")),
            Some(n) => Ok(n),
            None if n_embd.is_multiple_of(heads) => Ok(n_embd / heads),
            None => Err(source.bad_key(
                name,
                &format!("a head size, as {n_embd} is no multiple of {heads} heads"),
                "none",
            )),
        }
    };
    let k = width("attention.key_length")?;
    Ok(GqaHeads {
        heads,
        kv_heads,
        k,
        v: width("attention.value_length")?,
        scale: 1.0 / (k as f32).sqrt(),
    })
}

/// Layer `i`.
fn layer(source: &Source<'_>, i: usize, n_embd: usize, heads: &GqaHeads) -> Result<Layer> {
    let block = format!("blk.{i}.");
    let project = |name: &str, count: usize, each: usize| -> Result<Linear> {
        let name = format!("{block}{name}");
        let rows = source.times(&name, count, each)?;
        source.linear(&name, rows, n_embd)
    };
    let q = project("attn_q", heads.heads, heads.k)?;
    let k = project("attn_k", heads.kv_heads, heads.k)?;
    let v = project("attn_v", heads.kv_heads, heads.v)?;
    let output = format!("{block}attn_output");
    let mixed = source.times(&output, heads.heads, heads.v)?;
    Ok(Layer {
        attention_norm: source.vector(&format!("{block}attn_norm.weight"), n_embd)?,
        attention: Attention::Gqa(Gqa {
            q,
            k,
            v,
            output: source.linear(&output, n_embd, mixed)?,
        }),
        ffn_norm: source.vector(&format!("{block}ffn_norm.weight"), n_embd)?,
        ffn: Ffn::Dense(source.gated(&block, ".weight", n_embd)?),
    })
}
