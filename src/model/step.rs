//! One pass: what its blocks need to know, the angles of its positions, how its rows are shared out, and how a
//! row is rotated.

use wattle_kernels::{self as op, Isa};

use super::config::Config;
use super::memory::zeros;
use super::watch::Watch;
use crate::error::Result;
use crate::pool::{PARTS, Pool};

/// What every block of one pass needs to know.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step<'a> {
    pub(crate) pool: &'a Pool,
    pub(crate) isa: Isa,
    pub(crate) config: &'a Config,
    /// Tokens in this pass, as many of each sequence, one sequence after the other.
    pub(crate) tokens: usize,
    /// Tokens in the cache of each sequence before it: the position of its first.
    pub(crate) pasts: &'a [usize],
    /// Is shown what goes into the matrices.
    pub(crate) watch: Option<&'a dyn Watch>,
}

/// Most sequences of a pass. Products of so many tokens have the bits of each alone, and so has a mixture of experts.
pub(crate) const TOGETHER: usize = 8;

/// Numbers at least that a thread takes at a time: with some nanoseconds for each, enough to be worth its coming.
const LEAST: usize = 1 << 14;

impl Step<'_> {
    /// Tokens of one sequence.
    pub(crate) fn each(&self) -> usize {
        self.tokens / self.pasts.len()
    }

    /// Where token `t` of the pass stands in its sequence.
    pub(crate) fn position(&self, t: usize) -> usize {
        self.pasts[t / self.each()] + t % self.each()
    }

    /// How many of `rows` rows a thread takes at a time, where the work goes by rows of `cols` numbers; all when they are few.
    pub(crate) fn block(&self, rows: usize, cols: usize) -> usize {
        let parts = (4 * self.pool.threads()).min(PARTS);
        rows.div_ceil(parts).max(LEAST.div_ceil(cols.max(1)))
    }
}

/// Cosines and sines for the positions of a pass.
#[derive(Debug)]
pub(crate) struct Angles {
    pairs: usize,
    /// Tokens that every sequence has room for.
    context: usize,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl Angles {
    pub(crate) fn new(pairs: usize, batch: usize, context: usize) -> Result<Self> {
        Ok(Self {
            pairs,
            context,
            cos: zeros(&[batch, pairs])?,
            sin: zeros(&[batch, pairs])?,
        })
    }

    /// Computes the angles of the positions of a pass.
    pub(crate) fn fill(&mut self, step: Step<'_>) {
        let rope = step.config.rope.of_context(self.context);
        for t in 0..step.tokens {
            let range = t * self.pairs..(t + 1) * self.pairs;
            let (cos, sin) = (&mut self.cos[range.clone()], &mut self.sin[range]);
            rope.angles(step.position(t), cos, sin);
        }
    }

    /// Cosines and sines of token `t` of the pass.
    pub(crate) fn of(&self, t: usize) -> (&[f32], &[f32]) {
        let range = t * self.pairs..(t + 1) * self.pairs;
        (&self.cos[range.clone()], &self.sin[range])
    }
}

/// Turns a head's row, or its leading dimensions when only they rotate, by the angles of token `t` of this pass.
pub(crate) fn rotate(step: Step<'_>, angles: &Angles, t: usize, x: &mut [f32]) {
    let (cos, sin) = angles.of(t);
    op::rope(&mut x[..2 * cos.len()], cos, sin, step.config.rope.kind());
}
