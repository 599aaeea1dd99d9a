//! A model of ten tokens whose logits are a fixed function of all tokens so far: for tests of what stands above the models.

use super::Forward;
use crate::error::{Error, Result};

/// See the file head.
#[derive(Debug)]
pub(crate) struct Toy {
    pub(crate) tokens: Vec<u32>,
    capacity: usize,
    batch: usize,
    logits: Vec<f32>,
    /// Tokens of every pass.
    pub(crate) passes: Vec<usize>,
    /// The pass (counted from 0) that fails.
    pub(crate) fails_at: Option<usize>,
}

impl Toy {
    pub(crate) const VOCAB: usize = 10;

    pub(crate) fn new(capacity: usize, batch: usize) -> Self {
        Self {
            tokens: Vec::new(),
            capacity,
            batch,
            logits: Vec::new(),
            passes: Vec::new(),
            fails_at: None,
        }
    }

    /// The logits after a text: a hash of it, spread over [-3, 3).
    pub(crate) fn logits_after(text: &[u32]) -> Vec<f32> {
        let hash = text.iter().fold(0x811c_9dc5_u32, |hash, &id| {
            (hash ^ (id + 1)).wrapping_mul(0x0100_0193)
        });
        (1..=Self::VOCAB as u32)
            .map(|id| {
                let mixed = (hash ^ id).wrapping_mul(0x9e37_79b1) >> 8;
                mixed as f32 / (1 << 22) as f32 * 1.5 - 3.0
            })
            .collect()
    }

    fn pass(&mut self, tokens: &[u32]) -> Result<()> {
        assert!(
            (1..=self.batch).contains(&tokens.len()),
            "a pass of {} tokens",
            tokens.len()
        );
        assert!(
            self.tokens.len() + tokens.len() <= self.capacity,
            "the context overflows"
        );
        if self.fails_at == Some(self.passes.len()) {
            return Err(Error::Machine {
                what: "the toy broke".into(),
            });
        }
        self.passes.push(tokens.len());
        self.logits.clear();
        for &id in tokens {
            self.tokens.push(id);
            self.logits.extend(Self::logits_after(&self.tokens));
        }
        Ok(())
    }
}

impl Forward for Toy {
    fn n_vocab(&self) -> usize {
        Self::VOCAB
    }

    fn batch(&self) -> usize {
        self.batch
    }

    fn len(&self) -> usize {
        self.tokens.len()
    }

    fn capacity(&self) -> usize {
        self.capacity
    }

    fn bytes_per_token(&self) -> u64 {
        1000
    }

    fn feed(&mut self, tokens: &[u32]) -> Result<()> {
        self.pass(tokens)
    }

    fn last(&mut self, tokens: &[u32]) -> Result<&[f32]> {
        self.pass(tokens)?;
        Ok(&self.logits[self.logits.len() - Self::VOCAB..])
    }

    fn all(&mut self, tokens: &[u32]) -> Result<&[f32]> {
        self.pass(tokens)?;
        Ok(&self.logits)
    }

    fn truncate(&mut self, len: usize) {
        self.tokens.truncate(len);
    }

    fn shift(&mut self, keep: usize, discard: usize) -> Result<()> {
        self.tokens.drain(keep..keep + discard);
        Ok(())
    }
}
