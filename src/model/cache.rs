//! What attention remembers: one row a token and layer.
//!
//! A row of latent attention is `[latent (kv_lora_rank) | rotary key (rope)]`, shared by all heads; one of grouped-query
//! attention is `[keys of all kv heads | values of all kv heads]`. Memory is reserved once, so a row never moves, and touched
//! only when a token arrives.

use wattle_kernels::{self as op, Elems, Isa, Rows};

use super::memory::reserved;
use crate::error::Result;

/// How the numbers of the cache are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CacheType {
    /// Half precision.
    #[default]
    F16,
    /// Single precision: twice the memory, for exact comparisons.
    F32,
}

impl CacheType {
    /// Bytes of a number.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::F16 => 2,
            Self::F32 => 4,
        }
    }
}

/// The cache of one layer.
#[derive(Debug)]
pub(crate) struct Cache {
    rows: Numbers,
    width: usize,
}

#[derive(Debug)]
enum Numbers {
    F16(Vec<u16>),
    F32(Vec<f32>),
}

impl Cache {
    /// An empty cache with room for `capacity` rows of `width` numbers.
    pub(crate) fn new(kind: CacheType, width: usize, capacity: usize) -> Result<Self> {
        let n = width.saturating_mul(capacity);
        let what = || format!("a layer's cache of {capacity} tokens");
        let rows = match kind {
            CacheType::F16 => Numbers::F16(reserved(n, what)?),
            CacheType::F32 => Numbers::F32(reserved(n, what)?),
        };
        Ok(Self { rows, width })
    }

    /// Appends a row, `(width)`.
    pub(crate) fn push(&mut self, isa: Isa, row: &[f32]) {
        assert_eq!(row.len(), self.width, "width of a cache row");
        match &mut self.rows {
            Numbers::F16(rows) => {
                let start = rows.len();
                rows.resize(start + row.len(), 0);
                op::store_f16(isa, row, &mut rows[start..]);
            }
            Numbers::F32(rows) => rows.extend_from_slice(row),
        }
    }

    /// Forgets all rows from `len` on.
    pub(crate) fn truncate(&mut self, len: usize) {
        match &mut self.rows {
            Numbers::F16(rows) => rows.truncate(len * self.width),
            Numbers::F32(rows) => rows.truncate(len * self.width),
        }
    }

    /// Numbers `start..start + width` of the first `n` rows.
    pub(crate) fn rows(&self, n: usize, start: usize, width: usize) -> Rows<'_> {
        self.rows_from(0, n, start, width)
    }

    /// Numbers `start..start + width` of `n` rows from row `first` on.
    pub(crate) fn rows_from(&self, first: usize, n: usize, start: usize, width: usize) -> Rows<'_> {
        let first = first * self.width;
        let data = match &self.rows {
            Numbers::F16(rows) => Elems::F16(&rows[first..]),
            Numbers::F32(rows) => Elems::F32(&rows[first..]),
        };
        Rows {
            data,
            stride: self.width,
            start,
            width,
            n,
        }
    }
}
