//! Rows of a matrix, and their products with a batch of activations.

use std::ops::Range;

use wattle_kernels::{Acts, TILE_ROWS};

use super::Matrix;
use crate::os::Columns;
use crate::pool::Pool;

/// Some consecutive rows of a matrix.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    pub(super) matrix: &'a Matrix,
    pub(super) first: usize,
    pub(super) len: usize,
}

impl Rows<'_> {
    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of these rows.
    #[must_use]
    pub fn n_bytes(&self) -> usize {
        self.len * self.matrix.row_bytes
    }

    /// `out[t * range.len() + r] = row[range.start + r] . acts[t]`, on this thread.
    pub fn multiply_range(&self, range: Range<usize>, acts: &Acts<'_>, out: &mut [f32]) {
        let width = range.len();
        assert_eq!(out.len(), acts.tokens() * width, "room for the products");
        self.products(range, acts, &mut |t, r, values| {
            out[t * width + r..][..values.len()].copy_from_slice(values);
        });
    }

    /// The products of rows `range` with every activation row, into columns `at..` of `out`, on this thread.
    pub(crate) fn multiply_columns(
        &self,
        range: Range<usize>,
        acts: &Acts<'_>,
        at: usize,
        out: &mut Columns<'_, f32>,
    ) {
        self.products(range, acts, &mut |t, r, values| {
            out.row_mut(t)[at + r..][..values.len()].copy_from_slice(values);
        });
    }

    /// Decodes row `i` into `out`, as [`Matrix::decode_row_with`].
    ///
    /// # Panics
    /// When there is no such row.
    pub(crate) fn decode_row(&self, i: usize, scratch: &mut Vec<u8>, out: &mut [f32]) {
        assert!(i < self.len, "row {i} of {}", self.len);
        self.matrix.decode_row_with(self.first + i, scratch, out);
    }

    fn products(
        &self,
        range: Range<usize>,
        acts: &Acts<'_>,
        store: &mut dyn FnMut(usize, usize, &[f32]),
    ) {
        assert!(range.end <= self.len, "rows {range:?} of {}", self.len);
        let rows = self.first + range.start..self.first + range.end;
        if !self.matrix.tiles {
            let weights = self.matrix.row_range(rows);
            self.matrix.kernel.matmul(weights, range.len(), acts, store);
            return;
        }
        // Whole tiles are multiplied; of the first, the rows before the range are left out.
        let tiles = rows.start / TILE_ROWS..rows.end.div_ceil(TILE_ROWS);
        let before = rows.start % TILE_ROWS;
        let height = rows.end - tiles.start * TILE_ROWS;
        let weights = self.matrix.tile_range(tiles);
        let kernel = self.matrix.kernel;
        kernel.multiply_tiles(
            weights,
            height,
            acts,
            &mut |t, r, values| match r.checked_sub(before) {
                Some(r) => store(t, r, values),
                None => store(t, 0, &values[before..]),
            },
        );
    }
}

/// Weights that a thread takes at a time: long enough to stream, short enough to balance unequal cores.
const TILE_BYTES: usize = 96 << 10;

/// `out[t] = [m_0 a_t | m_1 a_t | ...]` for every activation row `a_t`: several matrices over one input in one phase.
///
/// # Panics
/// When `out` is not `(tokens, sum of rows)`.
pub fn multiply(pool: &Pool, parts: &[Rows<'_>], acts: &Acts<'_>, out: &mut [f32]) {
    let width: usize = parts.iter().map(Rows::len).sum();
    assert_eq!(out.len(), width * acts.tokens(), "shape of a product");
    let bytes: usize = parts.iter().map(Rows::n_bytes).sum();
    let tile = tile_rows(bytes / width.max(1), width, pool.threads(), acts.tokens());
    pool.columns(out, width, tile, |mut columns, _| {
        let window = columns.start()..columns.start() + columns.len();
        let mut start = 0;
        for part in parts {
            let (low, high) = (window.start.max(start), window.end.min(start + part.len()));
            if low < high {
                part.multiply_columns(
                    low - start..high - start,
                    acts,
                    low - window.start,
                    &mut columns,
                );
            }
            start += part.len();
        }
    });
}

/// Rows of a tile of work, a multiple of [`TILE_ROWS`]: about [`TILE_BYTES`] for few tokens, 256 for many, which are laid out once a
/// tile; and where there are enough, four tiles a thread.
pub(crate) fn tile_rows(row_bytes: usize, rows: usize, threads: usize, tokens: usize) -> usize {
    let by_bytes = TILE_BYTES / row_bytes.max(1);
    let by_tokens = if tokens < 32 {
        by_bytes
    } else {
        by_bytes.max(256)
    };
    let by_threads = rows.div_ceil(4 * threads);
    by_tokens.min(by_threads).max(1).next_multiple_of(TILE_ROWS)
}
