//! Context shift: a sequence that is full forgets some tokens in its middle, and what follows moves up in their place.
//!
//! Keys are stored rotated by their positions. A rotation by `p` and then by `-d` is one by `p - d`, so a key moves without being
//! computed again:
//!
//! ```text
//!   tokens     0 .. keep | keep .. keep + d | keep + d .. len
//!   becomes    0 .. keep | those of the third, keys rotated by -d
//! ```
//!
//! The factor that some models put on cosines and sines is in the key already and stays out of the second rotation. Frequencies are those
//! of the sequence, scaled or not, long or short: they follow from its capacity, which does not change. Latents and values know nothing of
//! positions.
//!
//! The rows of the first layer are then those of the same tokens at their new positions, up to rounding. Those of deeper layers
//! remember what was forgotten: that is the point, and the price, of not computing them again (as llama.cpp has it).

use wattle_kernels::{self as op, RopeKind};

use super::Transformer;
use super::config::{Config, Heads};
use super::memory::zeros;
use super::sequence::Sequence;
use crate::error::{Error, Result};

impl Transformer {
    /// Forgets `discard` tokens of `sequence` from `keep` on; those behind them move up.
    ///
    /// # Errors
    /// When the sequence has not so many tokens, or there is no memory for a block of rows; it is as it was
    /// then.
    ///
    /// # Panics
    /// When the sequence is one of a model of another shape.
    pub fn shift(&self, sequence: &mut Sequence, keep: usize, discard: usize) -> Result<()> {
        assert_eq!(
            sequence.shape,
            self.shape(),
            "the sequence of a model of another shape"
        );
        let len = sequence.len();
        if keep.checked_add(discard).is_none_or(|end| end > len) {
            return Err(Error::Argument {
                name: "--keep",
                value: format!("{keep}, and {discard} to forget"),
                expected: format!("no more than the {len} tokens that there are"),
            });
        }
        let (config, isa) = (&self.config, self.isa);
        let turn = Turn::back(config, sequence.capacity(), discard)?;
        let index_width = config.sparse.map_or(0, |sparse| sparse.width);
        let mut row = zeros(&[config.heads.cache_width().max(index_width)])?;
        // What may fail comes before the first change.
        sequence.all().try_for_each(|cache| cache.own_from(keep))?;
        let own = &mut row[..config.heads.cache_width()];
        for cache in &mut sequence.caches {
            cache.shift(isa, keep, discard, own, &|row| turn.row(row));
        }
        let own = &mut row[..index_width];
        for keys in &mut sequence.index {
            let rotate = |key: &mut [f32]| turn.index_key(key);
            keys.0.shift(isa, keep, discard, own, &rotate);
        }
        sequence.len -= discard;
        Ok(())
    }
}

/// A rotation of the keys in a row.
#[derive(Debug)]
struct Turn {
    heads: Heads,
    kind: RopeKind,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl Turn {
    /// By `-distance` positions, in a sequence with room for `context` tokens.
    fn back(config: &Config, context: usize, distance: usize) -> Result<Self> {
        let pairs = config.rope.pairs();
        let (mut cos, mut sin) = (zeros(&[pairs])?, zeros(&[pairs])?);
        let rope = config.rope.of_context(context);
        rope.turn_back(distance, &mut cos, &mut sin);
        Ok(Self {
            heads: config.heads,
            kind: config.rope.kind(),
            cos,
            sin,
        })
    }

    /// All keys of a row of a cache.
    fn row(&self, row: &mut [f32]) {
        match self.heads {
            Heads::Mla(heads) => self.key(&mut row[heads.kv_lora_rank..], self.kind),
            Heads::Gqa(heads) => {
                let keys = row[..heads.kv_heads * heads.k].chunks_exact_mut(heads.k);
                keys.for_each(|key| self.key(key, self.kind));
            }
        }
    }

    /// A key of sparse attention's index, which rotates in halves (`mla/indexer.rs`).
    fn index_key(&self, key: &mut [f32]) {
        self.key(key, RopeKind::Neox);
    }

    fn key(&self, key: &mut [f32], kind: RopeKind) {
        op::rope(&mut key[..2 * self.cos.len()], &self.cos, &self.sin, kind);
    }
}
