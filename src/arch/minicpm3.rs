//! `minicpm3`: MiniCPM3, latent attention without experts.
//!
//! Files have `attn_kv_b` only, rotary halves, and factors for two lengths of context (`rope_factors_short`, `rope_factors_long`).
//! Three constants of the model are in its code and not in its files: what is looked up counts 12 times, a block adds 1.4 / sqrt(layers)
//! of its output, and the last hidden state counts 256 / `n_embd` times before it meets the output.

use super::rope::long_and_short;
use super::source::Source;
use super::{Recipe, mla};
use crate::error::Result;
use crate::model::config::{Config, Heads, Scales};
use crate::model::rope::RopeKind;
use crate::model::weights::{Attention, Ffn, Layer, Weights};

const SCALE_EMBEDDING: f32 = 12.0;
const SCALE_DEPTH: f32 = 1.4;
const BASE_WIDTH: f32 = 256.0;

pub(super) const RECIPE: Recipe = Recipe {
    name: "minicpm3",
    build,
};

fn build(source: &Source<'_>) -> Result<(Config, Weights)> {
    let n_embd = source.need("embedding_length")?;
    let heads = mla::heads(source, n_embd, 1.0)?;
    let rope = long_and_short(source, RopeKind::Neox, heads.rope)?;
    let layers = (0..source.layers()?)
        .map(|i| {
            let block = format!("blk.{i}.");
            Ok(Layer {
                attention_norm: source.vector(&format!("{block}attn_norm.weight"), n_embd)?,
                attention: Attention::Mla(mla::attention(source, &block, n_embd, &heads, None)?),
                ffn_norm: source.vector(&format!("{block}ffn_norm.weight"), n_embd)?,
                ffn: Ffn::Dense(source.gated(&block, ".weight", n_embd)?),
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let scales = Scales {
        embedding: SCALE_EMBEDDING,
        branch: SCALE_DEPTH / (layers.len() as f32).sqrt(),
    };
    let mut weights = source.weights(n_embd, layers)?;
    weights.scale_output(BASE_WIDTH / n_embd as f32);
    let config = Config {
        scales,
        ..source.config(Heads::Mla(heads), rope, n_embd, weights.output.rows())?
    };
    Ok((config, weights))
}
