//! What goes into a block: the residual stream, normed, in floats and in int8.
//!
//! Between two blocks a row of the stream is read three times: the output of the last block is added to it, it is normed for the
//! next, and that is quantised for all products which read it. Here the three are one walk over the rows, shared by all threads;
//! a few rows stay on the calling one.

use wattle_kernels::{self as op, Acts};

use super::acts::ActBuffer;
use super::memory::zeros;
use super::step::Step;
use crate::error::Result;

/// Room for the input of a block of `T` tokens.
#[derive(Debug)]
pub(crate) struct InputBuffer {
    /// `(T, n_embd)`
    rows: Vec<f32>,
    acts: ActBuffer,
}

/// The input of a block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Input<'a> {
    /// `(tokens, cols)`
    pub(crate) rows: &'a [f32],
    /// The same in int8.
    pub(crate) int8: &'a ActBuffer,
    pub(crate) cols: usize,
}

impl<'a> Input<'a> {
    /// As a product takes it.
    pub(crate) fn acts(&self) -> Acts<'a> {
        self.int8.acts(self.rows, self.cols)
    }
}

impl InputBuffer {
    pub(crate) fn new(batch: usize, n_embd: usize, pieces: bool) -> Result<Self> {
        Ok(Self {
            rows: zeros(&[batch, n_embd])?,
            acts: ActBuffer::new(batch, n_embd, pieces)?,
        })
    }

    /// `x += branch * y`, when there is a `y`, and the input of the next block, `norm(x) * weight`: both `(tokens, n_embd)`.
    pub(crate) fn fill(
        &mut self,
        step: Step<'_>,
        x: &mut [f32],
        y: Option<&[f32]>,
        weight: &[f32],
    ) -> Input<'_> {
        let cols = weight.len();
        let rows = &mut self.rows[..x.len()];
        let each = step.block(x.len() / cols, cols);
        let blocks = self.acts.blocks(step.tokens, rows.len(), cols, each);
        let mut y = y.map(|y| y.chunks(each * cols));
        let parts = x
            .chunks_mut(each * cols)
            .zip(rows.chunks_mut(each * cols))
            .zip(blocks)
            .map(|part| (part, y.as_mut().and_then(Iterator::next)));
        step.pool.parts(parts, |(((x, rows), mut acts), y)| {
            let x = x.chunks_exact_mut(cols).zip(rows.chunks_exact_mut(cols));
            for (t, (x, row)) in x.enumerate() {
                if let Some(y) = y {
                    let branch = step.config.scales.branch;
                    op::axpy(step.isa, x, branch, &y[t * cols..][..cols]);
                }
                op::rmsnorm(step.isa, x, weight, step.config.norm_eps, row);
                acts.quantize(step.isa, row);
            }
        });
        Input {
            rows,
            int8: &self.acts,
            cols,
        }
    }
}
