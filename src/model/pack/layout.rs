//! Where the tiles of each factor lie among the packed weights, and which rows they come from.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use wattle_kernels::{Format, TILE_ROWS, tile_bytes};

use crate::model::matrix::{Bytes, Matrix};
use crate::model::weights::Factor;
use crate::os::Advice;
use crate::pool::Pool;

/// Where a matrix begins: a line of the cache.
const ALIGN: usize = 64;
/// Bytes that a thread packs at a time, at least.
const PIECE: usize = 1 << 20;

/// The places of all tiles.
pub(super) struct Layout {
    /// Each is taken once, by the thread that packs it.
    pieces: Vec<Mutex<Option<Piece>>>,
    /// Where each piece begins, and the end of the last.
    cuts: Vec<usize>,
    /// The bytes of each factor; empty when it does not go in tiles.
    ranges: Vec<Range<usize>>,
}

/// Some rows of one matrix on their way into whole tiles.
struct Piece {
    source: Matrix,
    rows: Range<usize>,
    format: Format,
    tile: usize,
}

/// The matrix that a factor lies in, and the rows of each of its parts.
pub(super) fn parts<'a>(factor: &'a Factor<'_>) -> (&'a Matrix, Vec<Range<usize>>) {
    match factor {
        Factor::Matrix(matrix) => (matrix, std::iter::once(0..matrix.rows()).collect()),
        Factor::Stack(stack) => {
            let parts = (0..stack.count()).map(|i| stack.rows_of(i)).collect();
            (stack.matrix(), parts)
        }
    }
}

impl Layout {
    /// The places of the tiles of `factors`, one behind the other.
    pub(super) fn of(factors: &[Factor<'_>]) -> Self {
        let (mut pieces, mut cuts, mut ranges) = (Vec::new(), Vec::new(), Vec::new());
        let mut end = 0;
        for factor in factors {
            let start = end;
            let (matrix, parts) = parts(factor);
            if let Some(tile) = tile_bytes(matrix.format(), matrix.cols()) {
                let step = PIECE.div_ceil(tile) * TILE_ROWS;
                for part in parts {
                    for first in part.clone().step_by(step) {
                        let rows = first..part.end.min(first + step);
                        cuts.push(end);
                        end += rows.len().div_ceil(TILE_ROWS) * tile;
                        pieces.push(Mutex::new(Some(Piece {
                            source: matrix.clone(),
                            rows,
                            format: matrix.format(),
                            tile,
                        })));
                    }
                }
            }
            ranges.push(start..end);
            end = end.next_multiple_of(ALIGN);
        }
        cuts.push(end);
        Self {
            pieces,
            cuts,
            ranges,
        }
    }

    /// Whether nothing goes in tiles.
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Bytes of all tiles, with the gaps between matrices.
    pub(super) fn bytes(&self) -> usize {
        self.cuts.last().copied().unwrap_or_default()
    }

    /// The bytes of each factor; empty when it does not go in tiles.
    pub(super) fn ranges(&self) -> &[Range<usize>] {
        &self.ranges
    }

    /// Packs all tiles into `memory`, zeros until then, once; rows in memory of their own are freed with the last piece of their tensor.
    pub(super) fn fill(&self, memory: &mut [u8], pool: &Pool) {
        pool.pieces(memory, &self.cuts, |i, tiles| {
            let piece = self.pieces[i]
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            if let Some(piece) = piece {
                piece.pack(tiles);
            }
        });
    }
}

impl Piece {
    /// Fills the tiles at the front of `out`, which may be longer, and lets the pages of the rows go.
    fn pack(&self, out: &mut [u8]) {
        let rows = self.source.row_range(self.rows.clone());
        for (rows, tile) in rows.chunks(self.tile).zip(out.chunks_exact_mut(self.tile)) {
            wattle_kernels::pack(self.format, self.source.cols(), rows, tile);
        }
        let Bytes::Mapped(tensor) = self.source.bytes() else {
            return;
        };
        if let Some((map, range)) = tensor.mapping() {
            let start = range.start + self.rows.start * self.source.row_bytes();
            map.advise(start..start + rows.len(), Advice::DontNeed);
        }
    }
}
