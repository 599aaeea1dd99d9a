//! The mixture of experts: tokens are sorted by expert, and each expert in use is multiplied once for all its tokens.
//!
//! A *slot* is one choice of one token. Slots are counted and sorted by expert, so that the slots of an expert are neighbours:
//!
//! ```text
//! slot    0      1      2      3      4     ...
//! expert  e3     e3     e7     e7     e7
//! token   t0     t2     t0     t1     t2
//! ```
//!
//! The gate and up phase writes a *patch* `(slots of an expert, some rows)` a tile; patches lie one behind the other, so that every
//! tile owns a contiguous piece. The down phase goes by output rows, and adds the experts of a token in the order of their
//! numbers, whatever the batch: a token's sum never depends on who else is in it.

use wattle_kernels::{self as op, Acts};

use super::acts::ActBuffer;
use super::config::Config;
use super::input::Input;
use super::matrix::{multiply, tile_rows};
use super::memory::{filled, reserved, zeros};
use super::router::{Choice, route};
use super::step::Step;
use super::weights::Moe;
use crate::error::Result;

/// Buffers for a pass, `T` tokens at most, `S = T * used` slots.
#[derive(Debug)]
pub(crate) struct MoeWork {
    /// `(T, experts)`
    scores: Vec<f32>,
    /// `(T, experts)`
    ranks: Vec<f32>,
    /// `(T, used)`
    chosen: Vec<Choice>,
    /// `(experts + 1)`: the slots of expert `e` are `starts[e]..starts[e + 1]`.
    starts: Vec<usize>,
    /// `(S)`: which choice a slot is, as an index into `chosen`.
    choice: Vec<usize>,
    /// `(S, n_embd)`: the inputs, a row a slot. Written only for weights that are multiplied as floats, and for a watch.
    input: Vec<f32>,
    /// Tiles of the gate and up phase.
    tiles: Vec<Tile>,
    /// Where the patch of each tile begins, and the end of the last.
    cuts: Vec<usize>,
    /// `S * ff` numbers in patches.
    patches: Vec<f32>,
    /// `(S, ff)`
    hidden: Vec<f32>,
    /// Two patches of products a worker, `T * tile rows` each.
    scratch: Vec<Vec<f32>>,
    patch: usize,
}

/// Some rows of one expert.
#[derive(Debug, Clone, Copy)]
struct Tile {
    expert: usize,
    row: usize,
    rows: usize,
}

/// Most rows in a tile of either phase.
const MAX_ROWS: usize = 256;

impl MoeWork {
    /// Buffers for the largest of `layers`; none when there are no layers.
    pub(crate) fn fitting<'a>(
        config: &Config,
        layers: impl Iterator<Item = &'a Moe>,
        batch: usize,
    ) -> Result<Option<Self>> {
        let shapes: Vec<_> = layers
            .map(|moe| (moe.gate.count(), moe.gate.rows(), moe.rule.used))
            .collect();
        let most = |of: fn(&(usize, usize, usize)) -> usize| shapes.iter().map(of).max();
        let (Some(experts), Some(ff), Some(used)) = (most(|s| s.0), most(|s| s.1), most(|s| s.2))
        else {
            return Ok(None);
        };
        let slots = batch.saturating_mul(used);
        // An expert in use has at most one tile for every four rows.
        let tiles = experts.min(slots) * ff.div_ceil(4);
        let what = "the experts chosen in a batch";
        Ok(Some(Self {
            scores: zeros(&[batch, experts])?,
            ranks: zeros(&[batch, experts])?,
            chosen: filled(Choice::default(), &[slots], what)?,
            starts: filled(0, &[experts + 1], what)?,
            choice: filled(0, &[slots], what)?,
            input: zeros(&[slots, config.n_embd])?,
            tiles: reserved(tiles, || what.into())?,
            cuts: reserved(tiles + 1, || what.into())?,
            patches: zeros(&[slots, ff])?,
            hidden: zeros(&[slots, ff])?,
            scratch: Vec::new(),
            patch: batch.saturating_mul(2 * MAX_ROWS),
        }))
    }

    /// Gives each worker its scratch; allocates only when their number grows.
    pub(crate) fn prepare(&mut self, workers: usize) -> Result<()> {
        while self.scratch.len() < workers {
            self.scratch.push(zeros(&[self.patch])?);
        }
        Ok(())
    }

    /// Sorts the chosen slots by expert (a counting sort, stable in the order of tokens).
    fn sort(&mut self, slots: usize) {
        self.starts.fill(0);
        for choice in &self.chosen[..slots] {
            self.starts[choice.expert + 1] += 1;
        }
        for e in 1..self.starts.len() {
            self.starts[e] += self.starts[e - 1];
        }
        // Placing a slot moves its expert's start; afterwards each start is the next one's, and all shift back by one.
        for (i, choice) in self.chosen[..slots].iter().enumerate() {
            self.choice[self.starts[choice.expert]] = i;
            self.starts[choice.expert] += 1;
        }
        self.starts.rotate_right(1);
        self.starts[0] = 0;
    }
}

impl Moe {
    /// `y += sum over the chosen experts of weight * expert(h)`, `(tokens, n_embd)`.
    pub(crate) fn add_experts(
        &self,
        step: Step<'_>,
        h: Input<'_>,
        work: &mut MoeWork,
        acts: &mut ActBuffer,
        y: &mut [f32],
    ) {
        let slots = step.tokens * self.rule.used;
        self.choose(step, h, work);
        work.sort(slots);
        self.hidden(step, h, work, acts);
        self.add_down(step, work, acts, y);
    }

    /// Fills `work.chosen`.
    fn choose(&self, step: Step<'_>, h: Input<'_>, work: &mut MoeWork) {
        /// What an expert costs in numbers that are only added up: its exponential, and some looks at its rank.
        const COST: usize = 16;
        let (experts, used) = (self.router.rows(), self.rule.used);
        let scores = &mut work.scores[..step.tokens * experts];
        step.show(&[&self.router], h.rows);
        multiply(step.pool, &[self.router.all()], &h.acts(), scores);
        let each = step.block(step.tokens, COST * experts);
        let parts = scores
            .chunks_mut(each * experts)
            .zip(work.ranks.chunks_mut(each * experts))
            .zip(work.chosen.chunks_mut(each * used));
        step.pool.parts(parts, |((scores, ranks), chosen)| {
            let rows = scores
                .chunks_exact_mut(experts)
                .zip(ranks.chunks_exact_mut(experts));
            for ((scores, ranks), chosen) in rows.zip(chosen.chunks_exact_mut(used)) {
                let bias = self.selection_bias.as_deref();
                route(&self.rule, bias, scores, ranks, chosen);
            }
        });
    }

    /// The inputs of the slots: the rows of `h`, which are quantised, in the order of the slots, copied to `input` and `acts`.
    fn gather<'a>(
        &self,
        step: Step<'_>,
        h: Input<'_>,
        choice: &[usize],
        starts: &[usize],
        input: &'a mut [f32],
        acts: &'a mut ActBuffer,
    ) -> Acts<'a> {
        let (width, used) = (h.cols, self.rule.used);
        let int8 = [&self.gate, &self.up].map(|stack| stack.format().needs_int8());
        let floats = int8.contains(&false) || step.watch.is_some();
        let each = step.block(choice.len(), width);
        let blocks = acts.blocks(input.len(), width, each);
        let parts = input.chunks_mut(each * width).zip(choice.chunks(each));
        step.pool
            .parts(parts.zip(blocks), |((input, choice), mut acts)| {
                for (row, choice) in input.chunks_exact_mut(width).zip(choice) {
                    let token = choice / used;
                    acts.copy(h.int8, token);
                    if floats {
                        row.copy_from_slice(&h.rows[token * width..][..width]);
                    }
                }
            });
        step.show_experts(&self.gate, starts, input);
        // In a merged tensor both are one matrix.
        if step.watch.is_some() && self.up.name() != self.gate.name() {
            step.show_experts(&self.up, starts, input);
        }
        acts.acts(input, width)
    }

    /// `work.hidden = silu(gate x) * up x`, a row a slot, and its int8 form in `acts`.
    fn hidden(&self, step: Step<'_>, h: Input<'_>, work: &mut MoeWork, acts: &mut ActBuffer) {
        let (ff, slots) = (self.gate.rows(), step.tokens * self.rule.used);
        // The slots of a lone token read the same row.
        let gathered = (step.tokens > 1 || step.watch.is_some()).then(|| {
            let (choice, input) = (&work.choice[..slots], &mut work.input[..slots * h.cols]);
            self.gather(step, h, choice, &work.starts, input, acts)
        });

        let row_bytes = (self.gate.bytes_each() + self.up.bytes_each()) / ff;
        let in_use = slots.min(self.gate.count());
        let rows = tile_rows(
            row_bytes,
            ff * in_use,
            step.pool.threads(),
            slots / in_use.max(1),
        )
        .min(MAX_ROWS);
        work.tiles.clear();
        work.cuts.clear();
        let mut cut = 0;
        for expert in 0..self.gate.count() {
            let slots = work.starts[expert + 1] - work.starts[expert];
            if slots == 0 {
                continue;
            }
            for row in (0..ff).step_by(rows) {
                let rows = rows.min(ff - row);
                work.tiles.push(Tile { expert, row, rows });
                work.cuts.push(cut);
                cut += slots * rows;
            }
        }
        work.cuts.push(cut);

        let (tiles, starts) = (&work.tiles, &work.starts);
        let patches = &mut work.patches[..cut];
        step.pool.pieces_with(
            &mut work.scratch,
            patches,
            &work.cuts,
            |i, patch, scratch| {
                let Tile { expert, row, rows } = tiles[i];
                let a = match &gathered {
                    Some(a) => a.rows(starts[expert], starts[expert + 1] - starts[expert]),
                    None => h.acts(),
                };
                let (gate, up) = scratch[..2 * patch.len()].split_at_mut(patch.len());
                self.gate
                    .at(expert)
                    .multiply_range(row..row + rows, &a, gate);
                self.up.at(expert).multiply_range(row..row + rows, &a, up);
                op::silu_mul(step.isa, gate, up, patch);
            },
        );

        // The patches of an expert lie where its slots do, and hold its rows from the first to the last: those of a lone token
        // are rows of slots as they are.
        if step.tokens == 1 {
            core::mem::swap(&mut work.patches, &mut work.hidden);
            acts.quantize(step, &work.hidden[..cut], ff);
        } else {
            let (choice, chosen, patches) = (&work.choice, &work.chosen, &*patches);
            acts.make(step, &mut work.hidden[..cut], ff, |slot, out| {
                let expert = chosen[choice[slot]].expert;
                let slots = starts[expert]..starts[expert + 1];
                let patches = &patches[slots.start * ff..slots.end * ff];
                for (i, out) in out.chunks_mut(rows).enumerate() {
                    let at = i * rows * slots.len() + (slot - slots.start) * out.len();
                    out.copy_from_slice(&patches[at..][..out.len()]);
                }
            });
        }
        step.show_experts(&self.down, &work.starts, &work.hidden[..cut]);
    }

    /// `y += weight * down hidden`, by output rows.
    fn add_down(&self, step: Step<'_>, work: &mut MoeWork, acts: &ActBuffer, y: &mut [f32]) {
        let (ff, used) = (self.down.cols(), self.rule.used);
        let slots = step.tokens * used;
        let a = acts.acts(&work.hidden[..slots * ff], ff);
        let width = step.config.n_embd;
        let row_bytes = self.down.bytes_each() / width * slots.min(self.down.count());
        let rows = tile_rows(row_bytes, width, step.pool.threads(), step.tokens).min(MAX_ROWS);
        let (starts, choice, chosen) = (&work.starts, &work.choice, &work.chosen);
        step.pool
            .columns_with(&mut work.scratch, y, width, rows, |mut window, scratch| {
                let (row, rows) = (window.start(), window.len());
                for expert in 0..self.down.count() {
                    let slots = starts[expert]..starts[expert + 1];
                    if slots.is_empty() {
                        continue;
                    }
                    let products = &mut scratch[..slots.len() * rows];
                    let a = a.rows(slots.start, slots.len());
                    self.down
                        .at(expert)
                        .multiply_range(row..row + rows, &a, products);
                    for (slot, products) in slots.zip(products.chunks_exact(rows)) {
                        let choice_index = choice[slot];
                        let out = window.row_mut(choice_index / used);
                        op::axpy(step.isa, out, chosen[choice_index].weight, products);
                    }
                }
            });
    }
}
