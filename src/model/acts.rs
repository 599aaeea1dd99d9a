//! Activations on their way into a product: quantised to int8 in blocks of 32, with the floats beside them.

use wattle_kernels::{Acts, Isa, quantize, scale_len, sum_len};

use super::memory::{filled, zeros};
use crate::error::Result;

/// Columns in a block of activations.
const BLOCK: usize = 32;

/// Room for the quantised form of one activation matrix at a time.
#[derive(Debug)]
pub(crate) struct ActBuffer {
    q: Vec<i8>,
    /// Scales and sums, row by row.
    scales: Vec<f32>,
    /// Integer sums, row by row.
    sums: Vec<i32>,
}

impl ActBuffer {
    /// Room for `rows` rows of `width` activations.
    pub(crate) fn new(rows: usize, width: usize) -> Result<Self> {
        let q = filled(0, &[rows, width], "the activations of a batch")?;
        let blocks = q.len().next_multiple_of(BLOCK);
        let scales = zeros(&[scale_len(blocks)])?;
        let sums = filled(0, &[sum_len(blocks)], "the activations of a batch")?;
        Ok(Self { q, scales, sums })
    }

    /// The rows of `x`, `(tokens, cols)`, ready for a product.
    ///
    /// Rows that are not whole blocks stay floats only: no integer format has such rows.
    pub(crate) fn quantize<'a>(&'a mut self, isa: Isa, x: &'a [f32], cols: usize) -> Acts<'a> {
        if !cols.is_multiple_of(BLOCK) {
            return Acts::floats(cols, x);
        }
        let q = &mut self.q[..x.len()];
        let scales = &mut self.scales[..scale_len(x.len())];
        let sums = &mut self.sums[..sum_len(x.len())];
        quantize(isa, x, cols, q, scales, sums);
        Acts::new(cols, x, q, scales, sums)
    }
}
