//! Packs the weights of a model in tiles, and lets go of the file as it proceeds.
//!
//! A tile is eight rows side by side ([`wattle_kernels::pack`]), which the kernels multiply several times as fast as rows. All tiles
//! lie in one piece of memory in huge pages, in the order in which a pass reads them. They have the bytes of the rows; as soon as
//! rows are packed, the pages of the file that held them are let go, so that memory never holds much more than the file. Rows that
//! were decoded to memory of their own ([`crate::rare`]) are given back with the last piece of their tensor.
//!
//! Floats stay in the file, and so does the embedding, of which a token reads one row.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use wattle_kernels::{Format, TILE_ROWS, tile_bytes};

use super::matrix::{Bytes, Matrix};
use super::weights::{Factor, Weights};
use crate::error::Result;
use crate::os::{Advice, Huge};
use crate::pool::Pool;

/// Where a matrix begins: a line of the cache.
const ALIGN: usize = 64;
/// Bytes that a thread packs at a time, at least.
const PIECE: usize = 1 << 20;

/// Some rows of one matrix on their way into whole tiles.
struct Piece {
    source: Matrix,
    rows: Range<usize>,
    format: Format,
    tile: usize,
}

/// Packs what goes in tiles.
///
/// # Errors
/// When there is no memory for the tiles.
pub(super) fn pack(weights: &mut Weights, pool: &Pool) -> Result<()> {
    let mut factors = weights.factors();
    let (mut pieces, mut cuts, mut ranges) = (Vec::new(), Vec::new(), Vec::new());
    let mut end = 0;
    for factor in &factors {
        let start = end;
        let (matrix, parts) = match factor {
            Factor::Matrix(matrix) => (&**matrix, std::iter::once(0..matrix.rows()).collect()),
            Factor::Stack(stack) => {
                let parts: Vec<_> = (0..stack.count()).map(|i| stack.rows_of(i)).collect();
                (stack.matrix(), parts)
            }
        };
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
    if pieces.is_empty() {
        return Ok(());
    }
    cuts.push(end);
    let mut memory = Huge::zeros(end, "the packed weights")?;
    // The pieces alone hold the rows from here on.
    for (factor, _) in factors
        .iter_mut()
        .zip(&ranges)
        .filter(|(_, r)| !r.is_empty())
    {
        match factor {
            Factor::Matrix(matrix) => matrix.let_go(),
            Factor::Stack(stack) => stack.let_go(),
        }
    }
    let mut workers = vec![(); pool.threads()];
    pool.pieces_with(&mut workers, &mut memory, &cuts, |i, tiles, ()| {
        let piece = pieces[i]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(piece) = piece {
            piece.pack(tiles);
        }
    });
    let memory = Arc::new(memory);
    for (factor, range) in factors.into_iter().zip(ranges) {
        if range.is_empty() {
            continue;
        }
        let bytes = Bytes::Packed(Arc::clone(&memory), range);
        match factor {
            Factor::Matrix(matrix) => *matrix = matrix.packed(matrix.rows(), bytes),
            Factor::Stack(stack) => *stack = stack.packed(bytes),
        }
    }
    Ok(())
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
