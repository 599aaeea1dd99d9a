//! A sequence and the buffers that its tokens pass through, allocated here, once.

use super::Transformer;

use super::acts::{ActBuffer, LEAST_TOKENS};
use super::attention::AttentionWork;
use super::cache::{CacheType, Layout};
use super::config::{Config, Heads};
use super::ffn::FfnWork;
use super::input::InputBuffer;
use super::memory::{reserved, zeros};
use super::sequence::{Sequence, Shape};
use super::step::Angles;
use super::weights::{Attention, Ffn, Query, Weights};
use crate::error::{Error, Result};

/// A sequence in the making, and all that a pass of its tokens needs. Passes of other sequences may use its buffers too.
#[derive(Debug)]
pub struct State {
    pub(crate) sequence: Sequence,
    pub(crate) buffers: Buffers,
    pub(crate) logits: Vec<f32>,
    batch: usize,
}

/// Buffers of a pass over at most `T` tokens.
#[derive(Debug)]
pub(crate) struct Buffers {
    /// `(T, n_embd)`, the residual stream.
    pub(crate) x: Vec<f32>,
    /// `(T, n_embd)`, the output of a block.
    pub(crate) y: Vec<f32>,
    /// `(row of the embedding)`, taken out of a tile.
    pub(crate) row: Vec<u8>,
    pub(crate) angles: Angles,
    /// The input of a block.
    pub(crate) input: InputBuffer,
    /// What goes into a product inside of a block.
    pub(crate) acts: ActBuffer,
    pub(crate) attention: AttentionWork,
    pub(crate) ffn: FfnWork,
}

impl State {
    /// Tokens in the cache.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sequence.len()
    }

    /// Whether no token has been seen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sequence.is_empty()
    }

    /// Tokens that fit.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.sequence.capacity()
    }

    /// Most tokens of one pass.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Its sequence.
    #[must_use]
    pub fn sequence(&self) -> &Sequence {
        &self.sequence
    }

    /// Its sequence, for what needs no pass.
    #[must_use]
    pub fn sequence_mut(&mut self) -> &mut Sequence {
        &mut self.sequence
    }

    /// Forgets all tokens from `len` on; does nothing when there are fewer.
    pub fn truncate(&mut self, len: usize) {
        self.sequence.truncate(len);
    }
}

impl Buffers {
    /// Gives every worker its scratch.
    pub(crate) fn prepare(&mut self, workers: usize, config: &Config) -> Result<()> {
        self.attention.prepare(workers, config)?;
        self.ffn.prepare(workers)
    }
}

impl Transformer {
    /// What the states of this model have in common.
    pub(crate) fn shape(&self) -> Shape {
        let config = &self.config;
        [
            self.weights.layers.len(),
            config.heads.cache_width(),
            config.n_embd,
            config.n_vocab,
        ]
    }

    /// An empty sequence with room for `context` tokens, passed through in batches of at most `batch`.
    ///
    /// # Errors
    /// When `context` or `batch` is zero, or there is not enough memory for the cache and the buffers.
    pub fn state(&self, context: usize, cache: CacheType, batch: usize) -> Result<State> {
        for (name, value) in [("-c", context), ("-b", batch)] {
            if value == 0 {
                return Err(Error::Argument {
                    name,
                    value: value.to_string(),
                    expected: "a number of tokens, at least 1".into(),
                });
            }
        }
        let (config, weights) = (&self.config, &self.weights);
        let batch = batch.min(context);
        let layout = Layout::new(&config.heads, cache);
        let attention = AttentionWork::new(config, layout, batch, q_lora_rank(weights), context)?;
        let pieces = self.in_pieces() && batch >= LEAST_TOKENS;
        let buffers = Buffers {
            x: zeros(&[batch, config.n_embd])?,
            y: zeros(&[batch, config.n_embd])?,
            row: reserved(weights.embedding.row_bytes(), || {
                "a row of the embedding".into()
            })?,
            angles: Angles::new(config.rope.pairs(), batch, context)?,
            input: InputBuffer::new(batch, config.n_embd, pieces)?,
            acts: ActBuffer::new(batch, widest_input(config, weights), pieces)?,
            attention,
            ffn: FfnWork::new(config, &weights.layers, batch)?,
        };
        Ok(State {
            sequence: Sequence::new(config, self.shape(), layout, context)?,
            buffers,
            logits: zeros(&[config.n_vocab])?,
            batch,
        })
    }
}

/// Rank of the query projections; 0 when there is none.
fn q_lora_rank(weights: &Weights) -> usize {
    let rank = |attention: &Attention| match attention {
        Attention::Mla(mla) => match &mla.query {
            Query::LowRank { a, .. } => a.rows(),
            Query::Direct(_) => 0,
        },
        Attention::Gqa(_) => 0,
    };
    let ranks = weights.layers.iter().map(|l| rank(&l.attention));
    ranks.max().unwrap_or(0)
}

/// Most numbers a token that go into one product, over all of them.
fn widest_input(config: &Config, weights: &Weights) -> usize {
    let attention = match config.heads {
        Heads::Mla(h) => h.heads * h.kv_lora_rank.max(h.nope).max(h.v),
        Heads::Gqa(h) => h.heads * h.v,
    };
    let ffn = weights.layers.iter().map(|l| match &l.ffn {
        Ffn::Dense(gated) => gated.down.cols(),
        Ffn::Squared(squared) => squared.down.cols(),
        Ffn::Moe(moe) => {
            let shared = moe.shared.as_ref().map_or(0, |s| s.down.cols());
            let slots = moe.rule.used * moe.down.cols().max(config.n_embd);
            shared.max(slots)
        }
    });
    let ffn = ffn.max().unwrap_or(0);
    attention
        .max(ffn)
        .max(config.n_embd)
        .max(q_lora_rank(weights))
}
