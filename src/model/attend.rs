//! Columns over the blocks of a cache: what few tokens come down to in every form of attention.
//!
//! A **column** is a query: a head of a token. Columns that share the rows of the cache go over each block together
//! (`kernels/src/op/stream.rs`), so that a row is read once for all of them. A long cache is cut in slices of [`SLICE`] tokens, at fixed
//! places, each with states of its own, which are folded in order. So the bits of a column depend neither on the other columns nor on
//! which thread did what, and there are two ways to share the work:
//!
//! - few columns: an item is some columns over one slice, and another section folds;
//! - many columns: an item is some columns over all slices.

use wattle_kernels::stream::{self, Span, state_len};

use super::cache::BLOCK;
use super::memory::zeros;
use super::mla::Panels;
use super::step::{Step, TOGETHER};
use crate::error::Result;

/// Tokens of a slice: long enough that folding is little beside it, short enough that threads share 4096 tokens evenly.
const SLICE: usize = 512;

/// Most columns of an item. Their states, of 2 KB each with 512 numbers, stay in the second cache together with a block.
const ITEM: usize = 64;

/// Most columns whose states of several slices are kept for folding.
const KEPT: usize = 1024;

/// Buffers of a model's attention, for columns that mix values of `v` numbers. A state is that of [`stream`].
#[derive(Debug)]
pub(crate) struct Attending {
    /// One a worker.
    pub(crate) scratch: Vec<Scratch>,
    /// `(KEPT, state)`: of slices that are not folded yet.
    slices: Vec<f32>,
    /// `(KEPT / 2, state)`: what they are folded into.
    folded: Vec<f32>,
    /// `(columns, v)`
    found: Vec<f32>,
    v: usize,
}

/// What one worker needs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scratch {
    /// `(2, ITEM, state)`: of a slice, and of those before it.
    states: Vec<f32>,
    /// Keys and values of a head, where latent attention builds them.
    pub(crate) panels: Panels,
}

/// The columns of a pass: `streams` times `each`; those of a stream share their rows, and the tokens of a sequence are neighbours in
/// each head. The streams of a sequence are neighbours, as many of each.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Columns {
    pub(crate) streams: usize,
    pub(crate) each: usize,
}

/// Some neighbouring columns of one stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Item {
    pub(crate) stream: usize,
    /// The first, counted over all streams.
    pub(crate) first: usize,
    pub(crate) n: usize,
}

/// What the columns have found, `v` numbers each.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found<'a> {
    data: &'a [f32],
    v: usize,
    each: usize,
    /// Columns from a stream to the next.
    stride: usize,
}

impl<'a> Found<'a> {
    /// That of a column, counted over all streams.
    pub(crate) fn of(&self, column: usize) -> &'a [f32] {
        let at = column / self.each * self.stride + column % self.each;
        &self.data[at * self.v..][..self.v]
    }

    /// Those of the first `n` columns of the first stream, `(n, v)`.
    pub(crate) fn rows(&self, n: usize) -> &'a [f32] {
        assert!(n <= self.each, "columns of one stream");
        &self.data[..n * self.v]
    }
}

impl Columns {
    /// Columns of an item: as many as leave enough items for the threads to share evenly, of which each has some slices.
    fn cut(self, slices: usize, threads: usize) -> usize {
        const SIZES: [usize; 7] = [ITEM, 32, 16, 8, 4, 2, 1];
        // The best kernels take eight columns at once.
        let items = |size: usize| self.streams * self.each.div_ceil(size) * slices;
        let plenty = |&size: &usize| size >= 8 && items(size) >= 4 * threads;
        let even =
            |&size: &usize| self.each.is_multiple_of(size) && items(size).is_multiple_of(threads);
        let mut sizes = SIZES.into_iter();
        sizes
            .clone()
            .find(plenty)
            .or_else(|| sizes.clone().find(even))
            .or_else(|| sizes.find(|&size| items(size) >= threads))
            .unwrap_or(1)
            .min(self.each)
    }

    /// Item `i` of those of `cut` columns.
    fn item(self, i: usize, cut: usize) -> Item {
        let in_stream = self.each.div_ceil(cut);
        let (stream, at) = (i / in_stream, i % in_stream * cut);
        Item {
            stream,
            first: stream * self.each + at,
            n: cut.min(self.each - at),
        }
    }
}

impl Attending {
    /// Buffers for the columns of `heads` heads and at most `batch` tokens, whose values have `v` numbers; those of a sequence are in
    /// `streams` streams.
    pub(crate) fn new(v: usize, streams: usize, heads: usize, batch: usize) -> Result<Self> {
        // Every stream is filled up to whole items, to less than twice its columns.
        let filled_up = (streams * ITEM).max(heads * batch.min(TOGETHER));
        Ok(Self {
            scratch: Vec::new(),
            slices: zeros(&[KEPT, state_len(v)])?,
            folded: zeros(&[KEPT / 2, state_len(v)])?,
            found: zeros(&[heads * batch + filled_up, v])?,
            v,
        })
    }

    /// Gives each of `workers` its scratch; allocates only when their number grows.
    pub(crate) fn prepare(
        &mut self,
        workers: usize,
        panels: impl Fn() -> Result<Panels>,
    ) -> Result<()> {
        while self.scratch.len() < workers {
            self.scratch.push(Scratch {
                states: zeros(&[2, ITEM, state_len(self.v)])?,
                panels: panels()?,
            });
        }
        Ok(())
    }

    /// Attention of all columns over what they see: `block(item, i, span, states)` carries the states of an item's columns over block
    /// `i` of the cache.
    pub(crate) fn run(
        &mut self,
        step: Step<'_>,
        columns: Columns,
        block: impl Fn(Item, usize, Span, &mut [f32]) + Sync,
    ) -> Found<'_> {
        let Step {
            pool, isa, pasts, ..
        } = step;
        let (v, size) = (self.v, state_len(self.v));
        let tokens = step.each();
        let streams = columns.streams / pasts.len();
        let past = |item: Item| pasts[item.stream / streams];
        let slices_after = |past: usize| (past + tokens).div_ceil(SLICE);
        let slices = pasts.iter().map(|past| slices_after(*past));
        let slices = slices.max().unwrap_or(0);
        // The blocks of a slice, as far as they are there: a short sequence has none in the last ones of a long one.
        let over = |item: Item, slice: usize, states: &mut [f32]| {
            stream::begin(v, states);
            let past = past(item);
            let end = (past + tokens).min((slice + 1) * SLICE);
            for i in slice * SLICE / BLOCK..end.div_ceil(BLOCK) {
                let span = Span {
                    before: i * BLOCK,
                    past,
                    tokens,
                    first: item.first,
                };
                block(item, i, span, states);
            }
        };

        let all = columns.streams * columns.each;
        let few = slices > 1 && 2 * all <= KEPT;
        let cut = columns.cut(if few { slices } else { 1 }, pool.threads());
        let items = columns.streams * columns.each.div_ceil(cut);
        let found = &mut self.found[..items * cut * v];
        let width = found.len();
        let finish = |item: Item, states: &[f32], out: &mut [f32]| {
            let columns = states.chunks_exact(size).zip(out.chunks_exact_mut(v));
            for (state, out) in columns.take(item.n) {
                stream::finish(state, out);
            }
        };
        // Items may be filled up, to less than twice the columns.
        if few && 2 * items * cut <= KEPT && items < 4 * pool.threads() {
            let item_len = cut * size;
            let folded = &mut self.folded[..items * item_len];
            stream::begin(v, folded);
            let at_once = self.slices.len() / folded.len();
            for first in (0..slices).step_by(at_once) {
                let n = at_once.min(slices - first);
                let partial = &mut self.slices[..n * items * item_len];
                pool.chunks(partial, item_len, |i, states| {
                    let item = columns.item(i % items, cut);
                    over(item, first + i / items, &mut states[..item.n * size]);
                });
                let partial = &*partial;
                pool.chunks(folded, size, |column, into| {
                    let slices = partial.chunks_exact(items * item_len);
                    for states in slices {
                        stream::fold(isa, v, into, &states[column * size..][..size]);
                    }
                });
            }
            for (i, out) in found.chunks_exact_mut(cut * v).enumerate() {
                finish(columns.item(i, cut), &folded[i * item_len..], out);
            }
        } else {
            let scratch = &mut self.scratch;
            pool.columns_with(scratch, found, width, cut * v, |window, scratch| {
                let item = columns.item(window.index(), cut);
                let (whole, part) = scratch.states.split_at_mut(ITEM * size);
                let (whole, part) = (&mut whole[..item.n * size], &mut part[..item.n * size]);
                over(item, 0, whole);
                for slice in 1..slices_after(past(item)) {
                    over(item, slice, part);
                    stream::fold(isa, v, whole, part);
                }
                finish(item, whole, window.into_row());
            });
        }
        Found {
            data: &self.found,
            v,
            each: columns.each,
            stride: columns.each.next_multiple_of(cut),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_cut_so_that_no_thread_waits() {
        let one = |each| Columns { streams: 1, each };
        for (columns, slices, threads, want) in [
            (one(16), 1, 2, 8),
            (one(16), 1, 4, 4),
            (one(16), 8, 2, 16),
            (one(16), 8, 4, 8),
            (one(128), 1, 2, 16),
            (one(40), 1, 4, 2),
            (one(3), 1, 1, 1),
            (one(1), 1, 4, 1),
            (
                Columns {
                    streams: 8,
                    each: 4,
                },
                1,
                2,
                4,
            ),
        ] {
            assert_eq!(columns.cut(slices, threads), want, "{columns:?}");
        }
    }

    #[test]
    fn items_cover_every_column_once() {
        for (streams, each, cut) in [(1, 16, 8), (3, 5, 2), (2, 7, 64)] {
            let columns = Columns { streams, each };
            let items = streams * each.div_ceil(cut);
            let mut next = 0;
            for i in 0..items {
                let item = columns.item(i, cut);
                assert_eq!((item.first, item.stream), (next, next / each));
                next += item.n;
                assert!(
                    item.n <= cut && next <= (item.stream + 1) * each,
                    "{item:?}"
                );
            }
            assert_eq!(next, streams * each, "all columns");
        }
    }
}
