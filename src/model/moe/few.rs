//! The mixture for a few tokens, which wait for the weights: three phases, each one list of work over several matrices.
//!
//! ```text
//!   router, gate and up of the shared expert                   of the same input
//!   gate and up of the chosen experts, down of the shared one
//!   down of the chosen experts
//! ```
//!
//! Where a phase ends, threads wait for one another, and for the serial part before the next; nothing comes from memory then. So matrices
//! of one phase are one list, though three phases in place of five are no gain that could be measured yet
//! (tests/record/x86-icelake/2026-11-29-decode.md). Each phase goes through its weights in the order of memory ([`patches`](super::patches)).

use wattle_kernels as op;

use super::patches::Patches;
use super::{Choice, GATE_UP, Moe, MoeWork};
use crate::error::Result;
use crate::model::acts::ActBuffer;
use crate::model::input::Input;
use crate::model::matrix::{Rows, multiply, tile_rows};
use crate::model::memory::zeros;
use crate::model::router::route;
use crate::model::step::Step;

/// So many tokens at most are few.
pub(super) const FEW: usize = 8;

/// Buffers for a pass of `T` tokens, [`FEW`] at most.
#[derive(Debug)]
pub(super) struct FewWork {
    /// `(T, experts | gate | up)`: the router's scores, and two products of the shared expert.
    first: Vec<f32>,
    /// `(T, ff)`, of the shared expert.
    hidden: Vec<f32>,
    /// The same in int8.
    acts: ActBuffer,
}

impl FewWork {
    /// Buffers for `tokens` tokens, and a shared expert of `width` hidden numbers at most.
    pub(super) fn new(tokens: usize, experts: usize, width: usize) -> Result<Self> {
        Ok(Self {
            first: zeros(&[tokens, experts + 2 * width])?,
            hidden: zeros(&[tokens, width])?,
            acts: ActBuffer::new(tokens, width, false)?,
        })
    }
}

impl Moe {
    /// As [`forward`](Moe::forward).
    pub(super) fn few(
        &self,
        step: Step<'_>,
        h: Input<'_>,
        work: &mut MoeWork,
        acts: &mut ActBuffer,
        y: &mut [f32],
    ) {
        self.choose_of_few(step, h, work);
        work.sort(step.tokens * self.rule.used);
        self.gate_up_of_few(step, h, work, acts, y);
        self.hidden(step, work, acts);
        self.add_down_of_few(step, work, acts, y);
    }

    /// Fills `work.chosen`, and the hidden rows of the shared expert.
    fn choose_of_few(&self, step: Step<'_>, h: Input<'_>, work: &mut MoeWork) {
        let (experts, used) = (self.router.rows(), self.rule.used);
        let width = self.shared.as_ref().map_or(0, |shared| shared.gate.rows());
        let stride = experts + 2 * width;
        let few = &mut work.few;
        let first = &mut few.first[..step.tokens * stride];
        match &self.shared {
            Some(shared) => {
                let parts = [self.router.all(), shared.gate.all(), shared.up.all()];
                multiply(step.pool, &parts, &h.acts(), first);
            }
            None => multiply(step.pool, &[self.router.all()], &h.acts(), first),
        }
        let chosen = work.chosen.chunks_exact_mut(used);
        let ranks = work.ranks.chunks_exact_mut(experts);
        for ((row, chosen), ranks) in first.chunks_exact_mut(stride).zip(chosen).zip(ranks) {
            let bias = self.selection_bias.as_deref();
            route(&self.rule, bias, &mut row[..experts], ranks, chosen);
        }
        if self.shared.is_some() {
            let (first, hidden) = (&*first, &mut few.hidden[..step.tokens * width]);
            few.acts.make(step, hidden, width, |t, hidden| {
                let (gate, up) = first[t * stride..][experts..stride].split_at(width);
                op::silu_mul(step.isa, gate, up, hidden);
            });
        }
    }

    /// Fills the patches of gate and up of the chosen experts, and makes `y` what the shared expert gives.
    fn gate_up_of_few(
        &self,
        step: Step<'_>,
        h: Input<'_>,
        work: &mut MoeWork,
        acts: &mut ActBuffer,
        y: &mut [f32],
    ) {
        self.ask_gate_up(step, work);
        let shared_down = GATE_UP * work.in_use.len();
        if let Some(shared) = &self.shared {
            ask(step, &mut work.patches, step.tokens, shared.down.all(), 1);
        }
        let MoeWork {
            choice,
            starts,
            in_use,
            input,
            patches,
            few,
            ..
        } = work;
        let choice = &choice[..step.tokens * self.rule.used];
        let gathered = self.gathered(step, h, choice, starts, input, acts);
        patches.fill(step.pool, |tile, patch| match &self.shared {
            Some(shared) if tile.matrix == shared_down => {
                let width = shared.down.cols();
                let a = few.acts.acts(&few.hidden[..step.tokens * width], width);
                let rows = tile.first..tile.first + tile.rows;
                shared.down.all().multiply_range(rows, &a, patch);
            }
            _ => self.gate_up(in_use, starts, h, gathered.as_ref(), tile, patch),
        });
        if self.shared.is_none() {
            y.fill(0.0);
            return;
        }
        for (t, y) in y.chunks_exact_mut(step.config.n_embd).enumerate() {
            let runs = y.chunks_mut(patches.run(shared_down));
            for (products, y) in patches.of(shared_down, t).zip(runs) {
                y.copy_from_slice(products);
            }
        }
    }

    /// `y += weight * down hidden`.
    fn add_down_of_few(&self, step: Step<'_>, work: &mut MoeWork, acts: &ActBuffer, y: &mut [f32]) {
        let (ff, width) = (self.down.cols(), step.config.n_embd);
        let slots = step.tokens * self.rule.used;
        let a = acts.acts(&work.hidden[..slots * ff], ff);
        let (starts, in_use, patches) = (&work.starts, &work.in_use, &mut work.patches);
        patches.clear();
        for &expert in in_use {
            let slots = starts[expert + 1] - starts[expert];
            ask(step, patches, slots, self.down.at(expert), in_use.len());
        }
        patches.fill(step.pool, |tile, patch| {
            let expert = in_use[tile.matrix];
            let a = a.rows(starts[expert], starts[expert + 1] - starts[expert]);
            let rows = tile.first..tile.first + tile.rows;
            self.down.at(expert).multiply_range(rows, &a, patch);
        });
        for (slot, &choice) in work.choice[..slots].iter().enumerate() {
            let Choice { expert, weight } = work.chosen[choice];
            let matrix = work.place[expert];
            let out = &mut y[choice / self.rule.used * width..][..width];
            let runs = out.chunks_mut(patches.run(matrix));
            let products = patches.of(matrix, slot - starts[expert]);
            for (products, out) in products.zip(runs) {
                op::axpy(step.isa, out, weight, products);
            }
        }
    }
}

/// Asks for the products of a matrix, one of `count` of its kind in this phase, with `slots` rows of activations.
fn ask(step: Step<'_>, patches: &mut Patches, slots: usize, matrix: Rows<'_>, count: usize) {
    let height = matrix.len();
    let row_bytes = matrix.n_bytes() / height.max(1);
    let rows = tile_rows(row_bytes, height * count, step.pool.threads(), slots);
    patches.add(slots, height, rows);
}
