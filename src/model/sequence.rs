//! A sequence of tokens, as the model remembers it: a cache a layer, and what sparse attention finds rows by.
//!
//! A [`Sequence`] is memory alone. The buffers that tokens pass through are those of a [`State`](super::State), which serves its own
//! sequence and any number of others, so that a branch costs what it adds and nothing else.

use std::collections::HashMap;
use std::io::{self, Write};

use wattle_kernels::Isa;

use super::cache::{Cache, Layout};
use super::config::Config;
use super::memory::reserved;
use super::mla::IndexKeys;
use crate::error::Result;

/// What tells the sequences of different models apart: layers, numbers of a cache row, widths of the stream and of the logits.
pub(crate) type Shape = [usize; 4];

/// Tokens seen so far, as the model remembers them: memory alone, which branches share.
#[derive(Debug)]
pub struct Sequence {
    pub(crate) caches: Vec<Cache>,
    /// One a layer where sparse attention has to choose, else none.
    pub(crate) index: Vec<IndexKeys>,
    pub(crate) len: usize,
    context: usize,
    pub(crate) shape: Shape,
}

impl Sequence {
    /// An empty one with room for `context` tokens, in a model of this shape.
    pub(crate) fn new(
        config: &Config,
        shape: Shape,
        layout: Layout,
        context: usize,
    ) -> Result<Self> {
        let layers = 0..shape[0];
        let index = layers.clone();
        let index = index.filter_map(|_| IndexKeys::new(layout, config, context).transpose());
        Ok(Self {
            caches: layers
                .map(|_| Cache::new(layout, context))
                .collect::<Result<_>>()?,
            index: index.collect::<Result<_>>()?,
            len: 0,
            context,
            shape,
        })
    }

    /// Tokens in the cache.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no token has been seen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Tokens that fit.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.context
    }

    /// A second sequence that has seen the same tokens. Neither takes notice of what the other does from here on.
    ///
    /// Both have the same memory for these tokens, in blocks of 64 a layer; who goes on after a block that is not full has
    /// that one copied first.
    ///
    /// # Errors
    /// When there is no memory for the lists of blocks.
    pub fn branch(&self) -> Result<Self> {
        let mut caches = reserved(self.caches.len(), || "a branch".into())?;
        for cache in &self.caches {
            caches.push(cache.branch()?);
        }
        let index = self.index.iter().map(|keys| keys.0.branch().map(IndexKeys));
        Ok(Self {
            caches,
            index: index.collect::<Result<_>>()?,
            ..*self
        })
    }

    /// Forgets all tokens from `len` on; does nothing when there are fewer.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
        let len = self.len;
        self.all().for_each(|cache| cache.truncate(len));
    }

    /// Bytes of the caches of several sequences; blocks that they share count once.
    #[must_use]
    pub fn cache_bytes<'a>(sequences: impl IntoIterator<Item = &'a Self>) -> usize {
        let mut blocks = HashMap::new();
        for sequence in sequences {
            sequence.shared().for_each(|cache| cache.count(&mut blocks));
        }
        blocks.values().sum()
    }

    /// How its rows lie; that of index keys follows from it.
    pub(crate) fn layout(&self) -> Option<Layout> {
        self.caches.first().map(Cache::layout)
    }

    /// Whether there are keys to choose rows by.
    pub(crate) fn chooses(&self) -> bool {
        !self.index.is_empty()
    }

    /// Bytes of the first `n` tokens in a file; `None` where no machine has so many.
    pub(crate) fn stored_bytes(&self, n: usize) -> Option<usize> {
        let mut all = self.shared();
        all.try_fold(0_usize, |sum, cache| {
            sum.checked_add(cache.stored_bytes(n)?)
        })
    }

    /// Writes the rows of the first `n` tokens.
    pub(crate) fn store(&self, n: usize, out: &mut dyn Write) -> io::Result<()> {
        self.shared().try_for_each(|cache| cache.store(n, out))
    }

    /// Takes the rows of `n` tokens from their bytes, as many as there must be, in the place of all that it holds. On an error it holds
    /// nothing.
    pub(crate) fn restore(&mut self, n: usize, bytes: &[u8]) -> Result<()> {
        assert_eq!(
            Some(bytes.len()),
            self.stored_bytes(n),
            "rows of this sequence"
        );
        let mut rest = bytes;
        let restored = self.all().try_for_each(|cache| {
            let (own, after) = rest.split_at(cache.stored_bytes(n).unwrap_or(0));
            rest = after;
            cache.restore(n, own)
        });
        self.len = n;
        if restored.is_err() {
            self.truncate(0);
        }
        restored
    }

    /// Makes room for `more` tokens, so that the pass itself asks for no memory.
    pub(crate) fn reserve(&mut self, more: usize) -> Result<()> {
        self.all().try_for_each(|cache| cache.reserve(more))
    }

    fn shared(&self) -> impl Iterator<Item = &Cache> {
        let index = self.index.iter().map(|keys| &keys.0);
        self.caches.iter().chain(index)
    }

    /// Every cache, of rows and of index keys.
    pub(super) fn all(&mut self) -> impl Iterator<Item = &mut Cache> {
        let index = self.index.iter_mut().map(|keys| &mut keys.0);
        self.caches.iter_mut().chain(index)
    }
}

/// The caches of one layer, of each sequence of a pass.
#[derive(Debug)]
pub(crate) struct LayerCaches<'a> {
    sequences: &'a mut [Sequence],
    layer: usize,
}

impl<'a> LayerCaches<'a> {
    /// Those of layer `layer`, of one sequence or more.
    pub(crate) fn new(sequences: &'a mut [Sequence], layer: usize) -> Self {
        assert!(!sequences.is_empty(), "a pass of no sequence");
        Self { sequences, layer }
    }

    /// That of sequence `s`.
    pub(crate) fn of(&self, s: usize) -> &Cache {
        &self.sequences[s].caches[self.layer]
    }

    /// Appends a row to that of sequence `s`.
    pub(crate) fn push(&mut self, s: usize, isa: Isa, row: &[f32]) {
        self.sequences[s].caches[self.layer].push(isa, row);
    }

    /// By what sparse attention finds the rows of sequence `s`, where it ever has to choose.
    pub(crate) fn index(&self, s: usize) -> Option<&IndexKeys> {
        self.sequences[s].index.get(self.layer)
    }

    /// The same, to be written.
    pub(crate) fn index_mut(&mut self, s: usize) -> Option<&mut IndexKeys> {
        self.sequences[s].index.get_mut(self.layer)
    }

    /// How the rows lie; those of all sequences alike.
    pub(crate) fn layout(&self) -> Layout {
        self.of(0).layout()
    }
}
