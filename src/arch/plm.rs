//! `plm`: PLM, latent attention without experts, and networks without a gate.

use super::rope::{rope, scaling};
use super::source::Source;
use super::{Recipe, mla};
use crate::error::Result;
use crate::model::config::{Config, Heads};
use crate::model::rope::RopeKind;
use crate::model::weights::{Attention, Ffn, Layer, Squared, Weights};

pub(super) const RECIPE: Recipe = Recipe { name: "plm", build };

fn build(source: &Source<'_>) -> Result<(Config, Weights)> {
    let n_embd = source.need("embedding_length")?;
    let heads = mla::heads(source, n_embd, 1.0)?;
    let layers = (0..source.layers()?)
        .map(|i| {
            let block = format!("blk.{i}.");
            let up = source.matrix_any_rows(&format!("{block}ffn_up.weight"), n_embd)?;
            let down = source.matrix(&format!("{block}ffn_down.weight"), n_embd, up.rows())?;
            Ok(Layer {
                attention_norm: source.vector(&format!("{block}attn_norm.weight"), n_embd)?,
                attention: Attention::Mla(mla::attention(source, &block, n_embd, &heads, None)?),
                ffn_norm: source.vector(&format!("{block}ffn_norm.weight"), n_embd)?,
                ffn: Ffn::Squared(Squared { up, down }),
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let scaling = scaling(source)?;
    let rope = rope(
        source,
        RopeKind::Norm,
        heads.rope,
        scaling,
        scaling.magnitude(0.1),
    )?;
    let weights = source.weights(n_embd, layers)?;
    let config = source.config(Heads::Mla(heads), rope, n_embd, weights.output.rows())?;
    Ok((config, weights))
}
