//! The model: its shape, its weights, and the pass of tokens through them.
//!
//! [`Transformer::forward`] is one page that reads as the papers do. Below it, `mla` and `gqa` attend, `ffn` and `moe` feed forward,
//! and `matrix` multiplies; each owns the buffers it needs, made once by [`Transformer::state`].

pub(crate) mod absorb;
mod acts;
mod attend;
mod attention;
mod cache;
pub mod config;
mod ffn;
mod forward;
mod gqa;
mod input;
pub mod matrix;
pub(crate) mod memory;
mod mla;
mod moe;
mod pack;
pub mod rope;
mod router;
mod sequence;
mod shift;
mod state;
mod step;
#[cfg(test)]
mod tests;
mod watch;
pub mod weights;

use std::path::Path;

use wattle_kernels::Isa;

pub use absorb::split_bytes;
pub use cache::CacheType;
use config::{Config, Heads};
use matrix::Matrix;
pub use pack::{PackCache, PackState};
pub(crate) use router::MAX_GROUPS;
pub use sequence::Sequence;
pub use state::State;
pub(crate) use step::TOGETHER;
pub use watch::Watch;
use weights::{Attention, Ffn, Gated, Mla, Query, Weights};

use crate::error::Result;
use crate::pool::Pool;

/// A model ready to run.
#[derive(Debug)]
pub struct Transformer {
    config: Config,
    weights: Weights,
    isa: Isa,
    coarse: bool,
}

/// Which logits a pass returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logits {
    /// None: the tokens only fill the cache.
    None,
    /// Those after the last token, `(n_vocab)`.
    Last,
    /// Those after every token, `(tokens, n_vocab)`.
    All,
}

impl Transformer {
    /// A model of these weights, on `isa`.
    #[must_use]
    pub fn new(config: Config, weights: Weights, isa: Isa) -> Self {
        Self {
            config,
            weights,
            isa,
            coarse: false,
        }
    }

    /// Whether long passes may multiply with coarse scales, where this instruction set is faster with them
    /// ([`LoadOptions::coarse`](crate::load::LoadOptions::coarse)). It counts for the states that are made from now on.
    pub fn set_coarse(&mut self, coarse: bool) {
        self.coarse = coarse;
    }

    /// Whether long passes multiply with coarse scales.
    #[must_use]
    pub fn in_pieces(&self) -> bool {
        self.coarse && self.isa.takes_pieces()
    }

    /// Packs the weights in tiles of sixteen rows, which are multiplied several times as fast, into memory of their own; the pages
    /// of the file that held them are let go. Results differ by rounding only.
    ///
    /// # Errors
    /// When there is no memory for them; the model is as before then.
    pub fn pack(&mut self, pool: &Pool) -> Result<()> {
        pack::pack(&mut self.weights, pool, None).map(drop)
    }

    /// As [`pack`](Self::pack), but maps the packed weights from a file in `folder` if an earlier start has left them there, and
    /// else leaves them there. The file's name begins with `name`. `None` when the model has nothing to pack.
    ///
    /// # Errors
    /// As [`pack`](Self::pack). Faults of the file are in the result; the weights are right then too.
    pub fn pack_through(
        &mut self,
        pool: &Pool,
        folder: &Path,
        name: &str,
    ) -> Result<Option<PackCache>> {
        pack::pack(&mut self.weights, pool, Some((folder, name)))
    }

    /// The shape of the model.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The instruction set that it runs on.
    #[must_use]
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Bytes that a token takes in the caches of all layers, which decoding every later token reads; with sparse attention at
    /// most, and what it finds rows by is not counted.
    #[must_use]
    pub fn cache_row_bytes(&self, cache: CacheType) -> u64 {
        let bytes = match self.config.heads {
            Heads::Mla(heads) => cache.latent_bytes(heads.kv_lora_rank, heads.rope),
            Heads::Gqa(_) => cache.row_bytes(self.config.heads.cache_width()),
        };
        (self.weights.layers.len() * bytes) as u64
    }

    /// Bytes of weights that decoding one token reads; the cache is not counted.
    #[must_use]
    pub fn bytes_per_token(&self) -> u64 {
        let weights = &self.weights;
        let mut bytes = weights.output.n_bytes() + weights.embedding.row_bytes();
        for layer in &weights.layers {
            bytes += match &layer.attention {
                Attention::Mla(mla) => mla.n_bytes(),
                Attention::Gqa(gqa) => [&gqa.q, &gqa.k, &gqa.v, &gqa.output]
                    .map(|linear| linear.weight.n_bytes())
                    .iter()
                    .sum(),
            };
            bytes += match &layer.ffn {
                Ffn::Dense(gated) => gated.n_bytes(),
                Ffn::Squared(squared) => squared.up.n_bytes() + squared.down.n_bytes(),
                Ffn::Moe(moe) => {
                    let expert =
                        moe.gate.bytes_each() + moe.up.bytes_each() + moe.down.bytes_each();
                    let shared = moe.shared.as_ref().map_or(0, Gated::n_bytes);
                    moe.router.n_bytes() + moe.rule.used * expert + shared
                }
            };
        }
        bytes as u64
    }
}

impl Mla {
    fn n_bytes(&self) -> usize {
        let query = match &self.query {
            Query::Direct(q) => q.n_bytes(),
            Query::LowRank { a, b, .. } => a.n_bytes() + b.n_bytes(),
        };
        let heads = self.k_b.count() * (self.k_b.bytes_each() + self.v_b.bytes_each());
        let indexer = self.indexer.as_ref().map_or(0, |indexer| {
            let all = [&indexer.q_b, &indexer.k, &indexer.weights];
            all.map(Matrix::n_bytes).iter().sum()
        });
        query + self.kv_a.n_bytes() + heads + indexer + self.output.n_bytes()
    }
}

impl Gated {
    fn n_bytes(&self) -> usize {
        self.gate.n_bytes() + self.up.n_bytes() + self.down.n_bytes()
    }
}
