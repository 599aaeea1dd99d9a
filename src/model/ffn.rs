//! The feed-forward block: one network, with a gate or without, or a mixture of them.

use wattle_kernels as op;

use super::acts::ActBuffer;
use super::config::Config;
use super::input::Input;
use super::matrix::multiply;
use super::memory::zeros;
use super::moe::MoeWork;
use super::step::Step;
use super::weights::{Ffn, Gated, Layer, Squared};
use crate::error::Result;

/// Buffers of the feed-forward blocks of a model, used by one layer after the other.
#[derive(Debug)]
pub(crate) struct FfnWork {
    pub(crate) gated: GatedWork,
    /// None in a model without experts.
    moe: Option<MoeWork>,
}

impl FfnWork {
    /// Buffers that fit the widest block of `layers`.
    pub(crate) fn new(config: &Config, layers: &[Layer], batch: usize) -> Result<Self> {
        let widest = |ffn: &Ffn| match ffn {
            Ffn::Dense(gated) => gated.gate.rows(),
            Ffn::Squared(squared) => squared.up.rows(),
            Ffn::Moe(moe) => moe.shared.as_ref().map_or(0, |s| s.gate.rows()),
        };
        let width = layers.iter().map(|l| widest(&l.ffn)).max().unwrap_or(0);
        let moe = layers.iter().filter_map(|l| match &l.ffn {
            Ffn::Dense(_) | Ffn::Squared(_) => None,
            Ffn::Moe(moe) => Some(moe),
        });
        Ok(Self {
            gated: GatedWork {
                gate_up: zeros(&[batch, 2, width])?,
                hidden: zeros(&[batch, width])?,
            },
            moe: MoeWork::fitting(config, moe, batch)?,
        })
    }

    /// Gives each worker its scratch.
    pub(crate) fn prepare(&mut self, workers: usize) -> Result<()> {
        match &mut self.moe {
            Some(moe) => moe.prepare(workers),
            None => Ok(()),
        }
    }
}

/// Buffers of a network of its own.
#[derive(Debug)]
pub(crate) struct GatedWork {
    /// `(T, gate | up)`, or `(T, up)` without a gate.
    gate_up: Vec<f32>,
    /// `(T, ff)`
    hidden: Vec<f32>,
}

impl Ffn {
    /// `y = ffn(h)`, `(tokens, n_embd)`.
    pub(crate) fn forward(
        &self,
        step: Step<'_>,
        h: Input<'_>,
        work: &mut FfnWork,
        acts: &mut ActBuffer,
        y: &mut [f32],
    ) {
        match (self, &mut work.moe) {
            (Self::Dense(gated), _) => gated.forward(step, h, &mut work.gated, acts, y),
            (Self::Squared(squared), _) => squared.forward(step, h, &mut work.gated, acts, y),
            (Self::Moe(moe), Some(mixture)) => {
                moe.forward(step, h, &mut work.gated, mixture, acts, y);
            }
            (Self::Moe(_), None) => unreachable!("buffers were made for these layers"),
        }
    }
}

impl Gated {
    /// `y = down(silu(gate h) * up h)`.
    pub(crate) fn forward(
        &self,
        step: Step<'_>,
        h: Input<'_>,
        work: &mut GatedWork,
        acts: &mut ActBuffer,
        y: &mut [f32],
    ) {
        let width = self.gate.rows();
        let gate_up = &mut work.gate_up[..step.tokens * 2 * width];
        let hidden = &mut work.hidden[..step.tokens * width];
        step.show(&[&self.gate, &self.up], h.rows);
        let parts = [self.gate.all(), self.up.all()];
        multiply(step.pool, &parts, &h.acts(), gate_up);
        let gate_up = &*gate_up;
        acts.make(step, hidden, width, |t, hidden| {
            let (gate, up) = gate_up[t * 2 * width..][..2 * width].split_at(width);
            op::silu_mul(step.isa, gate, up, hidden);
        });
        step.show(&[&self.down], hidden);
        let a = acts.acts(hidden, width);
        multiply(step.pool, &[self.down.all()], &a, y);
    }
}

impl Squared {
    /// `y = down(relu(up h)^2)`.
    fn forward(
        &self,
        step: Step<'_>,
        h: Input<'_>,
        work: &mut GatedWork,
        acts: &mut ActBuffer,
        y: &mut [f32],
    ) {
        let width = self.up.rows();
        let up = &mut work.gate_up[..step.tokens * width];
        let hidden = &mut work.hidden[..step.tokens * width];
        step.show(&[&self.up], h.rows);
        multiply(step.pool, &[self.up.all()], &h.acts(), up);
        let up = &*up;
        acts.make(step, hidden, width, |t, hidden| {
            op::relu_squared(step.isa, &up[t * width..][..width], hidden);
        });
        step.show(&[&self.down], hidden);
        let a = acts.acts(hidden, width);
        multiply(step.pool, &[self.down.all()], &a, y);
    }
}
