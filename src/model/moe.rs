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
//! rows; [few] tokens, who wait for the weights, have phases of their own. Either adds the experts of a token to the shared one in
//! the order of their numbers: a token's sum never depends on who else is in the batch, but for one thing: in a pass that has
//! [pieces](super::acts), an expert with few tokens is multiplied exactly, and one with more in pieces.

mod few;
mod patches;

use wattle_kernels::{self as op, Acts, TILE_ROWS};

use self::few::{FEW, FewWork};
use self::patches::{Patches, Tile};
use super::acts::ActBuffer;
use super::config::Config;
use super::ffn::GatedWork;
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
    /// The experts that have slots, in the order of their numbers.
    in_use: Vec<usize>,
    /// `(experts)`: where an expert with slots stands among those.
    place: Vec<usize>,
    /// `(S, n_embd)`: the inputs, a row a slot. Written only for weights that are multiplied as floats, and for a watch.
    input: Vec<f32>,
    patches: Patches,
    /// `(S, ff)`
    hidden: Vec<f32>,
    /// Products of a tile of the down phase, `(T, tile rows)` a worker.
    scratch: Vec<Vec<f32>>,
    patch: usize,
    few: FewWork,
}

/// Most rows in a tile of either phase.
const MAX_ROWS: usize = 256;
/// The gate and the up matrix, as an expert's first and second.
const GATE: usize = 0;
const UP: usize = 1;
const GATE_UP: usize = 2;

impl MoeWork {
    /// Buffers for the largest of `layers`; none when there are no layers.
    pub(crate) fn fitting<'a>(
        config: &Config,
        layers: impl Iterator<Item = &'a Moe>,
        batch: usize,
    ) -> Result<Option<Self>> {
        let layers: Vec<_> = layers.collect();
        let most = |of: fn(&Moe) -> usize| layers.iter().map(|moe| of(moe)).max();
        let (Some(experts), Some(ff), Some(used)) = (
            most(|moe| moe.gate.count()),
            most(|moe| moe.gate.rows()),
            most(|moe| moe.rule.used),
        ) else {
            return Ok(None);
        };
        let shared = most(|moe| moe.shared.as_ref().map_or(0, |s| s.gate.rows())).unwrap_or(0);
        let slots = batch.saturating_mul(used);
        let in_use = experts.min(slots);
        let tiles = |rows: usize| rows.div_ceil(TILE_ROWS);
        let tiles = (in_use + 1) * (GATE_UP * tiles(ff) + tiles(config.n_embd));
        let few = batch.min(FEW);
        let most = slots
            .saturating_mul(GATE_UP * ff)
            .saturating_add(few.saturating_mul(config.n_embd))
            .max(few.saturating_mul(used.saturating_mul(config.n_embd)));
        let what = "the experts chosen in a batch";
        Ok(Some(Self {
            scores: zeros(&[batch, experts])?,
            ranks: zeros(&[batch, experts])?,
            chosen: filled(Choice::default(), &[slots], what)?,
            starts: filled(0, &[experts + 1], what)?,
            choice: filled(0, &[slots], what)?,
            in_use: reserved(in_use, || what.into())?,
            place: filled(0, &[experts], what)?,
            input: zeros(&[slots, config.n_embd])?,
            patches: Patches::new(GATE_UP * in_use + 1, tiles, &[most])?,
            hidden: zeros(&[slots, ff])?,
            scratch: Vec::new(),
            patch: batch.saturating_mul(MAX_ROWS),
            few: FewWork::new(few, experts, shared)?,
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

        self.in_use.clear();
        for (expert, ends) in self.starts.windows(2).enumerate() {
            if ends[0] < ends[1] {
                self.place[expert] = self.in_use.len();
                self.in_use.push(expert);
            }
        }
    }
}

impl Moe {
    /// `y = shared(h) + sum over the chosen experts of weight * expert(h)`, `(tokens, n_embd)`.
    pub(crate) fn forward(
        &self,
        step: Step<'_>,
        h: Input<'_>,
        gated: &mut GatedWork,
        work: &mut MoeWork,
        acts: &mut ActBuffer,
        y: &mut [f32],
    ) {
        // Who watches is shown the input of one matrix after the other.
        if step.tokens <= FEW && step.watch.is_none() {
            self.few(step, h, work, acts, y);
            return;
        }
        match &self.shared {
            Some(shared) => shared.forward(step, h, gated, acts, y),
            None => y.fill(0.0),
        }
        self.choose(step, h, work);
        work.sort(step.tokens * self.rule.used);
        self.ask_gate_up(step, work);
        let MoeWork {
            choice,
            starts,
            in_use,
            input,
            patches,
            ..
        } = work;
        let choice = &choice[..step.tokens * self.rule.used];
        let gathered = self.gathered(step, h, choice, starts, input, acts);
        patches.fill(step.pool, |tile, patch| {
            self.gate_up(in_use, starts, h, gathered.as_ref(), tile, patch);
        });
        self.hidden(step, work, acts);
        let hidden = &work.hidden[..step.tokens * self.rule.used * self.down.cols()];
        step.show_experts(&self.down, &work.starts, hidden);
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

    /// The inputs of the slots; `None` where they all have the same, that of a lone token.
    fn gathered<'a>(
        &self,
        step: Step<'_>,
        h: Input<'_>,
        choice: &[usize],
        starts: &[usize],
        input: &'a mut [f32],
        acts: &'a mut ActBuffer,
    ) -> Option<Acts<'a>> {
        (step.tokens > 1 || step.watch.is_some()).then(|| {
            let input = &mut input[..choice.len() * h.cols];
            self.gather(step, h, choice, starts, input, acts)
        })
    }

    /// Asks for gate and up of the experts in use: matrices `2i` and `2i + 1` of the `i`th.
    fn ask_gate_up(&self, step: Step<'_>, work: &mut MoeWork) {
        let (ff, in_use) = (self.gate.rows(), work.in_use.len());
        let each = step.tokens * self.rule.used / in_use.max(1);
        let bytes = self.gate.bytes_each().max(self.up.bytes_each()) / ff;
        let rows = tile_rows(bytes, GATE_UP * ff * in_use, step.pool.threads(), each);
        work.patches.clear();
        for &expert in &work.in_use {
            let slots = work.starts[expert + 1] - work.starts[expert];
            for _ in [GATE, UP] {
                work.patches.add(slots, ff, rows.min(MAX_ROWS));
            }
        }
    }

    /// Makes a tile that was asked for there.
    fn gate_up(
        &self,
        in_use: &[usize],
        starts: &[usize],
        h: Input<'_>,
        gathered: Option<&Acts<'_>>,
        tile: Tile,
        patch: &mut [f32],
    ) {
        let expert = in_use[tile.matrix / GATE_UP];
        let a = match gathered {
            Some(a) => a.rows(starts[expert], starts[expert + 1] - starts[expert]),
            None => h.acts(),
        };
        let stack = [&self.gate, &self.up][tile.matrix % GATE_UP];
        let rows = tile.first..tile.first + tile.rows;
        stack.at(expert).multiply_range(rows, &a, patch);
    }

    /// `work.hidden = silu(gate x) * up x` from the patches of gate and up, a row a slot, and its int8 form in `acts`.
    fn hidden(&self, step: Step<'_>, work: &mut MoeWork, acts: &mut ActBuffer) {
        let (ff, slots) = (self.gate.rows(), step.tokens * self.rule.used);
        let (chosen, choice, patches) = (&work.chosen, &work.choice, &work.patches);
        let (starts, place) = (&work.starts, &work.place);
        acts.make(step, &mut work.hidden[..slots * ff], ff, |slot, out| {
            let expert = chosen[choice[slot]].expert;
            let (first, slot) = (GATE_UP * place[expert], slot - starts[expert]);
            let gate = patches.of(first + GATE, slot);
            let up = patches.of(first + UP, slot);
            let runs = out.chunks_mut(patches.run(first));
            for ((gate, up), out) in gate.zip(up).zip(runs) {
                op::silu_mul(step.isa, gate, up, out);
            }
        });
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
