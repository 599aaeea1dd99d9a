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
//! The gate and up phase fills [patches], which the next step turns into hidden rows. The down phase of many tokens goes by output
//! rows; that of few, who wait for the weights, fills patches too. Either adds the experts of a token in the order of their numbers:
//! a token's sum never depends on who else is in the batch, but for one thing: in a pass that has [pieces](super::acts), an expert
//! with few tokens is multiplied exactly, and one with more in pieces.

mod patches;

use wattle_kernels::{self as op, Acts, TILE_ROWS};

use self::patches::Patches;
use super::acts::ActBuffer;
use super::config::Config;
use super::input::Input;
use super::matrix::{multiply, tile_rows};
use super::memory::{filled, zeros};
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
    patches: Patches,
    /// `(S, ff)`
    hidden: Vec<f32>,
    /// Products of a tile of the down phase, `(T, tile rows)` a worker.
    scratch: Vec<Vec<f32>>,
    patch: usize,
}

/// Most rows in a tile of either phase.
const MAX_ROWS: usize = 256;
/// A down phase of at most so many tokens waits for its weights, and fills patches.
const FEW: usize = 8;
/// The gate and the up matrix, as an expert's first and second.
const GATE: usize = 0;
const UP: usize = 1;

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
        let rows = 2 * ff.div_ceil(TILE_ROWS) + config.n_embd.div_ceil(TILE_ROWS);
        let few = batch.min(FEW).saturating_mul(used);
        let most = slots
            .saturating_mul(2 * ff)
            .max(few.saturating_mul(config.n_embd));
        let what = "the experts chosen in a batch";
        Ok(Some(Self {
            scores: zeros(&[batch, experts])?,
            ranks: zeros(&[batch, experts])?,
            chosen: filled(Choice::default(), &[slots], what)?,
            starts: filled(0, &[experts + 1], what)?,
            choice: filled(0, &[slots], what)?,
            input: zeros(&[slots, config.n_embd])?,
            patches: Patches::new(experts.min(slots) * rows, &[most])?,
            hidden: zeros(&[slots, ff])?,
            scratch: Vec::new(),
            patch: batch.saturating_mul(MAX_ROWS),
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
        if step.tokens <= FEW {
            self.add_down_of_few(step, work, acts, y);
        } else {
            self.add_down(step, work, acts, y);
        }
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
        let blocks = acts.blocks(step.tokens, input.len(), width, each);
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

        let in_use = slots.min(self.gate.count());
        let stacks = [&self.gate, &self.up];
        let bytes = stacks.map(|stack| stack.bytes_each() / ff);
        let each = slots / in_use.max(1);
        let rows = tile_rows(
            bytes[GATE].max(bytes[UP]),
            2 * ff * in_use,
            step.pool.threads(),
            each,
        );
        let shape = [stacks.len(), ff, rows.min(MAX_ROWS)];
        let starts = &work.starts;
        work.patches.fill(step.pool, starts, shape, |tile, patch| {
            let a = match &gathered {
                Some(a) => a.rows(
                    starts[tile.expert],
                    starts[tile.expert + 1] - starts[tile.expert],
                ),
                None => h.acts(),
            };
            let rows = tile.first..tile.first + tile.rows;
            let stack = stacks[tile.stack].at(tile.expert);
            stack.multiply_range(rows, &a, patch);
        });

        let (choice, chosen, patches) = (&work.choice, &work.chosen, &work.patches);
        let hidden = &mut work.hidden[..slots * ff];
        acts.make(step, hidden, ff, |slot, out| {
            let expert = chosen[choice[slot]].expert;
            let slots = starts[expert]..starts[expert + 1];
            let gate = patches.of(&slots, GATE, slot);
            let up = patches.of(&slots, UP, slot);
            let runs = out.chunks_mut(patches.run(slots.len()));
            for ((gate, up), out) in gate.zip(up).zip(runs) {
                op::silu_mul(step.isa, gate, up, out);
            }
        });
        step.show_experts(&self.down, &work.starts, &work.hidden[..slots * ff]);
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

    /// The same where the weights are waited for: each is read once, in the order of memory.
    fn add_down_of_few(&self, step: Step<'_>, work: &mut MoeWork, acts: &ActBuffer, y: &mut [f32]) {
        let (ff, width) = (self.down.cols(), step.config.n_embd);
        let slots = step.tokens * self.rule.used;
        let a = acts.acts(&work.hidden[..slots * ff], ff);
        let in_use = slots.min(self.down.count());
        let rows = tile_rows(
            self.down.bytes_each() / width,
            width * in_use,
            step.pool.threads(),
            slots / in_use.max(1),
        );
        let (starts, shape) = (&work.starts, [1, width, rows]);
        work.patches.fill(step.pool, starts, shape, |tile, patch| {
            let slots = starts[tile.expert]..starts[tile.expert + 1];
            let rows = tile.first..tile.first + tile.rows;
            let a = a.rows(slots.start, slots.len());
            self.down.at(tile.expert).multiply_range(rows, &a, patch);
        });
        for (slot, &choice) in work.choice[..slots].iter().enumerate() {
            let Choice { expert, weight } = work.chosen[choice];
            let slots = starts[expert]..starts[expert + 1];
            let out = &mut y[choice / self.rule.used * width..][..width];
            let runs = out.chunks_mut(work.patches.run(slots.len()));
            for (products, out) in work.patches.of(&slots, 0, slot).zip(runs) {
                op::axpy(step.isa, out, weight, products);
            }
        }
    }
}
