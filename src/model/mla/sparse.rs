//! The rows that a token attends to where it has more than `top_k`: those that the indexer ranks highest.
//!
//! Every token has a choice of its own, so tokens go one after the other: its rows are laid side by side once, and all heads go over
//! them as if they were the whole cache. What attention reads no longer grows with the context.

use super::indexer::IndexWork;
use crate::error::Result;
use crate::model::cache::{Cache, Layout};
use crate::model::config::{Heads, Sparse};
use crate::model::memory::zeros;
use crate::model::sequence::LayerCaches;
use crate::model::step::Step;
use crate::model::weights::Indexer;

/// Buffers of sparse attention.
#[derive(Debug)]
pub(super) struct SparseWork {
    pub(super) index: IndexWork,
    top_k: usize,
    /// The chosen rows of a token.
    rows: Cache,
    /// One of them.
    row: Vec<f32>,
}

impl SparseWork {
    pub(super) fn new(
        sparse: &Sparse,
        heads: &Heads,
        layout: Layout,
        batch: usize,
        context: usize,
    ) -> Result<Self> {
        let mut rows = Cache::new(layout, sparse.top_k)?;
        rows.reserve(sparse.top_k)?;
        Ok(Self {
            index: IndexWork::new(sparse, batch, context)?,
            top_k: sparse.top_k,
            rows,
            row: zeros(&[heads.cache_width()])?,
        })
    }

    /// How many of `tokens` tokens after `past` attend to all rows.
    pub(super) fn dense(&self, past: usize, tokens: usize) -> usize {
        self.top_k.saturating_sub(past).min(tokens)
    }
}

/// What chooses rows, and from what.
#[derive(Debug)]
pub(super) struct Choice<'a> {
    pub(super) indexer: &'a Indexer,
    pub(super) work: &'a mut SparseWork,
}

impl Choice<'_> {
    /// As [`SparseWork::dense`].
    pub(super) fn dense(&self, past: usize, tokens: usize) -> usize {
        self.work.dense(past, tokens)
    }

    /// The rows that token `t` of this pass attends to, and how many. A row that goes through floats comes out as it was: the
    /// largest of the numbers that share a scale is a whole number of steps.
    pub(super) fn rows(
        &mut self,
        step: Step<'_>,
        t: usize,
        caches: &LayerCaches<'_>,
    ) -> (&Cache, usize) {
        let s = t / step.each();
        let (cache, Some(keys)) = (caches.of(s), caches.index(s)) else {
            unreachable!("sequences that choose have keys");
        };
        let SparseWork {
            index,
            top_k,
            rows,
            row,
        } = &mut *self.work;
        rows.truncate(0);
        for &token in self.indexer.choose(step, t, *top_k, keys, index) {
            cache.load(step.isa, token as usize, row);
            rows.push(step.isa, row);
        }
        (rows, *top_k)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wattle_kernels::Isa;
    use wattle_kernels::latent::Shape;

    /// What [`Choice::rows`] relies on.
    #[test]
    fn rows_that_go_through_floats_come_out_as_they_were() {
        let (rank, rope, n) = (160, 8, 70);
        let width = rank + rope;
        for layout in [
            Layout::F16(width),
            Layout::F32(width),
            Layout::Latent(Shape::new(rank, rope)),
        ] {
            for isa in Isa::available() {
                let filled = |row: &dyn Fn(usize, &mut [f32])| {
                    let mut cache = Cache::new(layout, n).expect("room");
                    cache.reserve(n).expect("room");
                    let mut numbers = vec![0.0; width];
                    for i in 0..n {
                        row(i, &mut numbers);
                        cache.push(isa, &numbers);
                    }
                    cache
                };
                let wave = |i: usize, row: &mut [f32]| {
                    for (c, x) in row.iter_mut().enumerate() {
                        *x = ((i * width + c) as f32 * 0.37).sin() * (1 + i % 9) as f32;
                    }
                };
                let first = filled(&wave);
                let second = filled(&|i, row| first.load(isa, i, row));
                let (mut a, mut b) = (vec![0.0; width], vec![0.0; width]);
                for i in 0..n {
                    first.load(isa, i, &mut a);
                    second.load(isa, i, &mut b);
                    assert_eq!(a, b, "{layout:?} on {}, row {i}", isa.name());
                }
            }
        }
    }
}
