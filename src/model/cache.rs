//! What attention remembers: one row a token and layer, in blocks of 64 tokens.
//!
//! A row of latent attention is `[latent (kv_lora_rank) | rotary key (rope)]`, shared by all heads; one of grouped-query
//! attention is `[keys of all kv heads | values of all kv heads]`. A cache grows by whole blocks, which are never copied nor moved, so
//! that a long context costs memory only when tokens arrive. What is forgotten leaves its block to the tokens that follow.
//!
//! **Branches share blocks.** A second sequence with the same beginning has the same blocks, not copies of them. Who writes to a block that
//! others have too gets a copy of it first, in [`Cache::reserve`], which is before the pass. As rows are only ever written behind the last
//! one, that is at most the last block of a layer, once; full blocks stay shared for as long as both sequences live.

use std::collections::HashMap;
use std::sync::Arc;

use wattle_kernels::latent::{self, Line, Shape};
use wattle_kernels::{self as op, Elems, Isa, Rows};

mod stored;

use super::config::Heads;
use super::memory::{filled, reserved};
use crate::error::Result;

/// Tokens of a block.
pub(crate) const BLOCK: usize = op::stream::BLOCK;

/// How the numbers of the cache are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CacheType {
    /// Latent rows as int8 with a scale for 128, their rotary key in 15 bits; rows of grouped-query attention in half precision.
    Q8,
    /// Half precision.
    #[default]
    F16,
    /// Single precision: twice the memory, for exact comparisons.
    F32,
}

impl CacheType {
    /// Every type, from the smallest.
    pub const ALL: &[Self] = &[Self::Q8, Self::F16, Self::F32];

    /// Its name, as flags and reports have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Q8 => "q8",
            Self::F16 => "f16",
            Self::F32 => "f32",
        }
    }

    /// Bytes of a token in one layer with a latent row of `rank` numbers and a rotary key of `rope`.
    #[must_use]
    pub fn latent_bytes(self, rank: usize, rope: usize) -> usize {
        match self {
            Self::Q8 => Shape::new(rank, rope).token_bytes(),
            Self::F16 => 2 * (rank + rope),
            Self::F32 => 4 * (rank + rope),
        }
    }

    /// Bytes of a token in one layer with keys and values of `width` numbers.
    #[must_use]
    pub fn row_bytes(self, width: usize) -> usize {
        match self {
            Self::Q8 | Self::F16 => 2 * width,
            Self::F32 => 4 * width,
        }
    }
}

/// How the rows of a layer lie in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Rows of so many numbers, f16.
    F16(usize),
    /// Rows of so many numbers, f32.
    F32(usize),
    /// `kernels/src/op/latent.rs`
    Latent(Shape),
}

impl Layout {
    /// That of `heads` with numbers of a type.
    pub(crate) fn new(heads: &Heads, kind: CacheType) -> Self {
        let width = heads.cache_width();
        match (kind, heads) {
            (CacheType::Q8, Heads::Mla(h)) => Self::Latent(Shape::new(h.kv_lora_rank, h.rope)),
            (CacheType::Q8 | CacheType::F16, _) => Self::F16(width),
            (CacheType::F32, _) => Self::F32(width),
        }
    }
}

impl Layout {
    /// Bytes of a block; `None` where no machine has so many.
    fn block_bytes(self) -> Option<usize> {
        let rows = |width: usize, size: usize| width.checked_mul(BLOCK * size);
        match self {
            Self::F16(width) => rows(width, 2),
            Self::F32(width) => rows(width, 4),
            Self::Latent(shape) => {
                let words = shape.words().checked_mul(size_of::<Line>())?;
                words.checked_add(shape.scales().checked_mul(4)?)
            }
        }
    }
}

/// The rows of 64 tokens in one layer.
#[derive(Debug)]
pub(crate) enum Block {
    /// `(64, width)`, as bits.
    F16(Box<[u16]>),
    /// `(64, width)`
    F32(Box<[f32]>),
    /// Bytes and scales.
    Latent(Box<[Line]>, Box<[f32]>),
}

impl Block {
    /// A block of zeros.
    fn new(layout: Layout) -> Result<Self> {
        Ok(match layout {
            Layout::F16(width) => Self::F16(filled(0, &[BLOCK, width], WHAT)?.into()),
            Layout::F32(width) => Self::F32(filled(0.0, &[BLOCK, width], WHAT)?.into()),
            Layout::Latent(shape) => Self::Latent(
                filled(Line([0; 64]), &[shape.words()], WHAT)?.into(),
                filled(0.0, &[shape.scales()], WHAT)?.into(),
            ),
        })
    }

    /// The same rows in memory of their own.
    fn copied(&self) -> Result<Self> {
        Ok(match self {
            Self::F16(rows) => Self::F16(copied(rows)?),
            Self::F32(rows) => Self::F32(copied(rows)?),
            Self::Latent(words, scales) => Self::Latent(copied(words)?, copied(scales)?),
        })
    }

    /// Makes `row` that of token `i` of the block, the last one.
    fn store(&mut self, isa: Isa, layout: Layout, i: usize, row: &[f32]) {
        // What was forgotten here must not be multiplied, not even by 0: it may have been no number.
        if i == 0 {
            self.clear(0);
        }
        self.put(isa, layout, i, row);
    }

    /// Makes `row` that of token `i` of the block.
    fn put(&mut self, isa: Isa, layout: Layout, i: usize, row: &[f32]) {
        let range = i * row.len()..(i + 1) * row.len();
        match (self, layout) {
            (Self::F16(rows), _) => op::store_f16(isa, row, &mut rows[range]),
            (Self::F32(rows), _) => rows[range].copy_from_slice(row),
            (Self::Latent(words, scales), Layout::Latent(shape)) => {
                latent::store(isa, shape, row, i, words, scales);
            }
            _ => unreachable!("a cache has blocks of its layout"),
        }
    }

    /// The row of token `i` of the block.
    fn load(&self, isa: Isa, layout: Layout, i: usize, row: &mut [f32]) {
        let range = i * row.len()..(i + 1) * row.len();
        match (self, layout) {
            (Self::F16(rows), _) => op::load_f16(isa, &rows[range], row),
            (Self::F32(rows), _) => row.copy_from_slice(&rows[range]),
            (Self::Latent(words, scales), Layout::Latent(shape)) => {
                latent::load(isa, shape, words, scales, i, row);
            }
            _ => unreachable!("a cache has blocks of its layout"),
        }
    }

    /// Bytes of its rows.
    fn n_bytes(&self) -> usize {
        match self {
            Self::F16(rows) => size_of_val::<[u16]>(rows),
            Self::F32(rows) => size_of_val::<[f32]>(rows),
            Self::Latent(words, scales) => {
                size_of_val::<[Line]>(words) + size_of_val::<[f32]>(scales)
            }
        }
    }

    /// Forgets all tokens from `i` on.
    fn clear(&mut self, i: usize) {
        if let Self::Latent(_, scales) = self {
            for scales in scales.chunks_exact_mut(BLOCK) {
                scales[i..].fill(0.0);
            }
        }
    }
}

/// A block that no other cache has; [`Cache::reserve`] has seen to that.
fn own(block: &mut Arc<Block>) -> &mut Block {
    match Arc::get_mut(block) {
        Some(block) => block,
        None => unreachable!("rows are reserved before they are written"),
    }
}

/// What a block is to those who miss it.
const WHAT: &str = "64 tokens of a layer's cache";

fn copied<T: Clone>(from: &[T]) -> Result<Box<[T]>> {
    let mut to = reserved(from.len(), || WHAT.into())?;
    to.extend_from_slice(from);
    Ok(to.into())
}

/// The cache of one layer.
#[derive(Debug)]
pub(crate) struct Cache {
    layout: Layout,
    /// Those that hold tokens, which branches may share, and those that are reserved.
    blocks: Vec<Arc<Block>>,
    len: usize,
    /// Tokens that its sequence can hold.
    capacity: usize,
    /// Rows behind the last one are still in its block, which others have too.
    stale: bool,
}

impl Cache {
    /// An empty cache, for up to `capacity` tokens.
    pub(crate) fn new(layout: Layout, capacity: usize) -> Result<Self> {
        let blocks = capacity.div_ceil(BLOCK);
        Ok(Self {
            layout,
            blocks: reserved(blocks, || format!("the cache of {capacity} tokens"))?,
            len: 0,
            capacity,
            stale: false,
        })
    }

    /// A second cache with the same rows, in the same blocks.
    pub(crate) fn branch(&self) -> Result<Self> {
        let mut branch = Self::new(self.layout, self.capacity)?;
        let used = &self.blocks[..self.len.div_ceil(BLOCK)];
        branch.blocks.extend(used.iter().cloned());
        branch.len = self.len;
        branch.stale = self.stale;
        Ok(branch)
    }

    /// Makes room for `more` tokens: the only time that a cache asks for memory. On an error it is as before.
    pub(crate) fn reserve(&mut self, more: usize) -> Result<()> {
        let at = self.len % BLOCK;
        if let Some(last) = self.blocks.get_mut(self.len / BLOCK)
            && more > 0
        {
            if Arc::get_mut(last).is_none() {
                *last = Arc::new(last.copied()?);
            }
            if self.stale {
                own(last).clear(at);
                self.stale = false;
            }
        }
        while self.blocks.len() * BLOCK < self.len + more {
            self.blocks.push(Arc::new(Block::new(self.layout)?));
        }
        Ok(())
    }

    /// Appends a row, `(width)`, for which there must be room.
    pub(crate) fn push(&mut self, isa: Isa, row: &[f32]) {
        let block = own(&mut self.blocks[self.len / BLOCK]);
        block.store(isa, self.layout, self.len % BLOCK, row);
        self.len += 1;
    }

    /// Has the blocks of all rows from `first` on for itself. On an error it is as before, but for copies.
    pub(crate) fn own_from(&mut self, first: usize) -> Result<()> {
        let end = self.len.div_ceil(BLOCK);
        for block in &mut self.blocks[(first / BLOCK).min(end)..end] {
            if Arc::get_mut(block).is_none() {
                *block = Arc::new(block.copied()?);
            }
        }
        Ok(())
    }

    /// Forgets `discard` rows from `keep` on; those behind go through `rotate`, and through `row`, `(width)`, and move up, in place. It
    /// must [have](Self::own_from) the blocks from `keep` on for itself.
    pub(crate) fn shift(
        &mut self,
        isa: Isa,
        keep: usize,
        discard: usize,
        row: &mut [f32],
        rotate: &dyn Fn(&mut [f32]),
    ) {
        for from in keep + discard..self.len {
            self.load(isa, from, row);
            rotate(row);
            let to = from - discard;
            own(&mut self.blocks[to / BLOCK]).put(isa, self.layout, to % BLOCK, row);
        }
        self.truncate(self.len - discard);
    }

    /// Forgets all rows from `len` on.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
        let mut used = self.len.div_ceil(BLOCK);
        // Blocks behind the last row are kept for those that follow, unless others have them.
        self.blocks.retain_mut(|block| {
            let keep = used > 0 || Arc::get_mut(block).is_some();
            used = used.saturating_sub(1);
            keep
        });
        if let Some(last) = self.blocks.get_mut(self.len / BLOCK) {
            match Arc::get_mut(last) {
                Some(last) => last.clear(self.len % BLOCK),
                None => self.stale = true,
            }
        }
    }

    /// Adds the blocks of its rows to those that are counted: each once, by its address, with its bytes.
    pub(crate) fn count(&self, blocks: &mut HashMap<usize, usize>) {
        for block in &self.blocks {
            blocks.insert(Arc::as_ptr(block).addr(), block.n_bytes());
        }
    }

    /// How its rows lie.
    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    /// The row of a token, `(width)`, as numbers.
    pub(crate) fn load(&self, isa: Isa, token: usize, row: &mut [f32]) {
        assert!(token < self.len, "token {token} of {}", self.len);
        self.blocks[token / BLOCK].load(isa, self.layout, token % BLOCK, row);
    }

    /// Numbers `start..start + width` of the rows of block `i`, where rows are floats.
    pub(crate) fn rows(&self, i: usize, start: usize, width: usize) -> Rows<'_> {
        let (data, stride) = match (&*self.blocks[i], self.layout) {
            (Block::F16(rows), Layout::F16(stride)) => (Elems::F16(rows), stride),
            (Block::F32(rows), Layout::F32(stride)) => (Elems::F32(rows), stride),
            _ => unreachable!("rows of floats"),
        };
        Rows {
            data,
            stride,
            start,
            width,
            n: self.tokens(i),
        }
    }

    /// Bytes and scales of block `i`, where rows are int8, and how many tokens it has.
    pub(crate) fn latents(&self, i: usize) -> (&[Line], &[f32], usize) {
        let Block::Latent(words, scales) = &*self.blocks[i] else {
            unreachable!("latent rows of int8");
        };
        (words, scales, self.tokens(i))
    }

    /// Tokens in block `i`.
    fn tokens(&self, i: usize) -> usize {
        BLOCK.min(self.len - i * BLOCK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(i: usize, width: usize) -> Vec<f32> {
        (0..width).map(|c| (3 * i + c) as f32 / 8.0).collect()
    }

    #[test]
    fn rows_come_back_around_the_edges_of_blocks() {
        let isa = Isa::best();
        for layout in [
            Layout::F16(9),
            Layout::F32(9),
            Layout::Latent(Shape::new(6, 3)),
        ] {
            let width = 9;
            // Of latent rows, half a step of int8.
            let bound = match layout {
                Layout::Latent(_) => 0.5 / 127.0,
                _ => 0.0,
            };
            let same = |got: &[f32], want: &[f32]| {
                let largest = want.iter().fold(0_f32, |m, x| m.max(*x));
                let pairs = got.iter().zip(want);
                pairs.fold(true, |same, (a, b)| {
                    same && (a - b).abs() <= 1.001 * bound * largest
                })
            };
            let mut cache = Cache::new(layout, 200).expect("room");
            for (len, blocks) in [(1, 1), (63, 1), (64, 1), (65, 2), (128, 2), (129, 3)] {
                cache.reserve(len - cache.len).expect("room");
                assert_eq!(cache.blocks.len(), blocks, "{len} tokens");
                while cache.len < len {
                    let i = cache.len;
                    cache.push(isa, &row(i, width));
                }
                let mut got = vec![0.0; width];
                for i in 0..len {
                    cache.load(isa, i, &mut got);
                    assert!(same(&got, &row(i, width)), "{layout:?} {i}: {got:?}");
                }
            }
            cache.truncate(64);
            cache.push(isa, &row(7, width));
            let mut got = vec![0.0; width];
            cache.load(isa, 64, &mut got);
            assert!(
                same(&got, &row(7, width)),
                "in the place of what was forgotten"
            );
            assert_eq!(cache.tokens(1), 1, "rows that are there");
        }
    }
}
