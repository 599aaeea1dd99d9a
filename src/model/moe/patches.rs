//! Products of experts with their slots, in the order in which the weights lie in memory.
//!
//! A tile of work is some rows of one matrix of one expert, for all slots of that expert, and gives a *patch* `(slots, rows)`. Tiles
//! follow one another as their weights do: expert by expert, matrix by matrix, from the first row to the last. So a thread that goes
//! through neighbouring tiles reads one long stream; each jump to another place costs it some latencies of memory, near a
//! microsecond, in which it could have read 20 KB or more. Patches lie one behind the other too, so every tile owns a piece of them.

use super::super::memory::{reserved, zeros};
use crate::error::Result;
use crate::pool::Pool;

/// Room for the patches of one phase at a time.
#[derive(Debug)]
pub(super) struct Patches {
    /// Of this phase, as they were added.
    matrices: Vec<Place>,
    tiles: Vec<Tile>,
    /// Where the patch of each tile begins, and the end of the last.
    cuts: Vec<usize>,
    data: Vec<f32>,
}

/// Where the products of a matrix lie, and their shape.
#[derive(Debug, Clone, Copy)]
struct Place {
    start: usize,
    slots: usize,
    height: usize,
    /// Of a tile.
    rows: usize,
}

/// Some rows of a matrix.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tile {
    /// Which of those that were added.
    pub(super) matrix: usize,
    pub(super) first: usize,
    pub(super) rows: usize,
}

impl Patches {
    /// Room for `matrices` matrices, `tiles` tiles, and as many numbers as `shape` has.
    pub(super) fn new(matrices: usize, tiles: usize, shape: &[usize]) -> Result<Self> {
        let what = "the experts chosen in a batch";
        Ok(Self {
            matrices: reserved(matrices, || what.into())?,
            tiles: reserved(tiles, || what.into())?,
            cuts: reserved(tiles + 1, || what.into())?,
            data: zeros(shape)?,
        })
    }

    /// Begins another phase.
    pub(super) fn clear(&mut self) {
        self.matrices.clear();
        self.tiles.clear();
        self.cuts.clear();
    }

    /// Asks for the products of a matrix of `height` rows with `slots` slots, `rows` rows at a time.
    pub(super) fn add(&mut self, slots: usize, height: usize, rows: usize) {
        let last = self.matrices.last();
        let start = last.map_or(0, |last| last.start + last.slots * last.height);
        for first in (0..height).step_by(rows) {
            self.tiles.push(Tile {
                matrix: self.matrices.len(),
                first,
                rows: rows.min(height - first),
            });
            self.cuts.push(start + slots * first);
        }
        self.matrices.push(Place {
            start,
            slots,
            height,
            rows,
        });
    }

    /// Makes all that was asked for: `product(tile, patch)`.
    pub(super) fn fill(&mut self, pool: &Pool, product: impl Fn(Tile, &mut [f32]) + Sync) {
        let last = self.matrices.last();
        let end = last.map_or(0, |last| last.start + last.slots * last.height);
        self.cuts.push(end);
        let tiles = &self.tiles;
        pool.pieces(&mut self.data[..end], &self.cuts, |i, patch| {
            product(tiles[i], patch);
        });
    }

    /// The products of a matrix with one of its slots: in runs of [`run`](Self::run) rows, of which the last may be shorter.
    pub(super) fn of(&self, matrix: usize, slot: usize) -> impl Iterator<Item = &[f32]> {
        let Place {
            start,
            slots,
            height,
            ..
        } = self.matrices[matrix];
        let patches = self.data[start..start + slots * height].chunks(slots * self.run(matrix));
        patches.map(move |patch| {
            let rows = patch.len() / slots;
            &patch[slot * rows..][..rows]
        })
    }

    /// Rows in a run of a matrix. The patches of a lone slot are one.
    pub(super) fn run(&self, matrix: usize) -> usize {
        let place = &self.matrices[matrix];
        if place.slots == 1 {
            place.height
        } else {
            place.rows
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_slot_finds_its_products() {
        // Matrices of 5 rows with 2, 1 and 3 slots, and one of 7 rows with 2, in tiles of 2 and of 3.
        let matrices = [(2, 5, 2), (1, 5, 2), (3, 5, 2), (2, 7, 3)];
        let mut patches = Patches::new(4, 12, &[44]).expect("room");
        for threads in [1, 3, 2] {
            let pool = Pool::start(threads, None).expect("threads");
            patches.clear();
            for (slots, height, rows) in matrices {
                patches.add(slots, height, rows);
            }
            patches.fill(&pool, |tile, patch| {
                let slots = patch.len() / tile.rows;
                assert_eq!(slots, matrices[tile.matrix].0, "slots of {tile:?}");
                for (i, value) in patch.iter_mut().enumerate() {
                    let (slot, row) = (i / tile.rows, tile.first + i % tile.rows);
                    *value = (100 * tile.matrix + 10 * slot + row) as f32;
                }
            });
            for (matrix, (slots, height, rows)) in matrices.into_iter().enumerate() {
                let run = if slots == 1 { height } else { rows };
                assert_eq!(patches.run(matrix), run, "matrix {matrix}");
                for slot in 0..slots {
                    let all: Vec<f32> = patches.of(matrix, slot).flatten().copied().collect();
                    let want: Vec<f32> = (0..height)
                        .map(|row| (100 * matrix + 10 * slot + row) as f32)
                        .collect();
                    assert_eq!(all, want, "matrix {matrix}, slot {slot}");
                }
            }
        }
    }
}
