//! Products of experts with their slots, in the order in which the weights lie in memory.
//!
//! A tile of work is some rows of one matrix of one expert, for all slots of that expert, and gives a *patch* `(slots, rows)`. Tiles
//! follow one another as their weights do: expert by expert, matrix by matrix, from the first row to the last. So a thread that goes
//! through neighbouring tiles reads one long stream; each jump to another place costs it some latencies of memory, near a
//! microsecond, in which it could have read 20 KB or more. Patches lie one behind the other too, so every tile owns a piece of them.

use std::ops::Range;

use super::super::memory::{reserved, zeros};
use crate::error::Result;
use crate::pool::Pool;

/// Room for the patches of one phase at a time.
#[derive(Debug)]
pub(super) struct Patches {
    tiles: Vec<Tile>,
    /// Where the patch of each tile begins, and the end of the last.
    cuts: Vec<usize>,
    data: Vec<f32>,
    /// Of this phase: matrices of an expert, rows of a matrix, rows of a tile.
    stacks: usize,
    height: usize,
    rows: usize,
}

/// Some rows of a matrix of an expert.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tile {
    pub(super) expert: usize,
    /// Which of the expert's matrices.
    pub(super) stack: usize,
    pub(super) first: usize,
    pub(super) rows: usize,
}

impl Patches {
    /// Room for `tiles` tiles and as many numbers as `shape` has.
    pub(super) fn new(tiles: usize, shape: &[usize]) -> Result<Self> {
        let what = "the experts chosen in a batch";
        Ok(Self {
            tiles: reserved(tiles, || what.into())?,
            cuts: reserved(tiles + 1, || what.into())?,
            data: zeros(shape)?,
            stacks: 0,
            height: 0,
            rows: 0,
        })
    }

    /// Fills `stacks` matrices of `height` rows for each expert, `rows` at a time: `product(tile, patch)`. The slots of expert `e` are
    /// `starts[e]..starts[e + 1]`.
    pub(super) fn fill(
        &mut self,
        pool: &Pool,
        starts: &[usize],
        [stacks, height, rows]: [usize; 3],
        product: impl Fn(Tile, &mut [f32]) + Sync,
    ) {
        (self.stacks, self.height, self.rows) = (stacks, height, rows);
        self.tiles.clear();
        self.cuts.clear();
        let mut cut = 0;
        for (expert, ends) in starts.windows(2).enumerate() {
            let slots = ends[1] - ends[0];
            if slots == 0 {
                continue;
            }
            for stack in 0..stacks {
                for first in (0..height).step_by(rows) {
                    let rows = rows.min(height - first);
                    self.tiles.push(Tile {
                        expert,
                        stack,
                        first,
                        rows,
                    });
                    self.cuts.push(cut);
                    cut += slots * rows;
                }
            }
        }
        self.cuts.push(cut);
        let tiles = &self.tiles;
        pool.pieces(&mut self.data[..cut], &self.cuts, |i, patch| {
            product(tiles[i], patch);
        });
    }

    /// The products of `slot`, one of the `slots` of an expert, with its matrix `stack`: in runs of [`run`](Self::run) rows, of which the
    /// last may be shorter.
    pub(super) fn of(
        &self,
        slots: &Range<usize>,
        stack: usize,
        slot: usize,
    ) -> impl Iterator<Item = &[f32]> {
        let n = slots.len();
        let start = self.height * (self.stacks * slots.start + stack * n);
        let patches = self.data[start..start + n * self.height].chunks(n * self.run(n));
        patches.map(move |patch| {
            let rows = patch.len() / n;
            &patch[(slot - slots.start) * rows..][..rows]
        })
    }

    /// Rows in a run where an expert has `slots` slots. The patches of a lone slot are one.
    pub(super) fn run(&self, slots: usize) -> usize {
        if slots == 1 { self.height } else { self.rows }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_slot_finds_its_products() {
        // Experts with 2, 0, 1 and 3 slots; 5 rows in tiles of 2.
        let starts = [0, 2, 2, 3, 6];
        let (stacks, height) = (2, 5);
        for threads in [1, 3] {
            let pool = Pool::start(threads, None).expect("threads");
            let mut patches = Patches::new(18, &[6, stacks, height]).expect("room");
            patches.fill(&pool, &starts, [stacks, height, 2], |tile, patch| {
                let slots = patch.len() / tile.rows;
                for (i, value) in patch.iter_mut().enumerate() {
                    let (slot, row) = (i / tile.rows, tile.first + i % tile.rows);
                    assert_eq!(slots, starts[tile.expert + 1] - starts[tile.expert]);
                    let slot = starts[tile.expert] + slot;
                    *value = (100 * slot + 10 * tile.stack + row) as f32;
                }
            });
            for ends in starts.windows(2) {
                for slot in ends[0]..ends[1] {
                    for stack in 0..stacks {
                        let all: Vec<f32> = patches
                            .of(&(ends[0]..ends[1]), stack, slot)
                            .flatten()
                            .copied()
                            .collect();
                        let want: Vec<f32> = (0..height)
                            .map(|row| (100 * slot + 10 * stack + row) as f32)
                            .collect();
                        assert_eq!(all, want, "slot {slot}, matrix {stack}");
                    }
                }
            }
        }
    }
}
