//! Weights times activations: one kernel for decode (one token) and for prefill (many).
//!
//! Rows go by in panels of [`PANEL`], so that a panel stays in the cache while every token passes over it and the weights come from
//! memory once. Tokens go in groups of four, then two, then one: a row is unpacked once for a group. Each token's sum is made in the
//! same order whatever its group, so the result does not depend on how many tokens or rows are asked for at a time.

use super::acts::Acts;
use crate::Isa;
use crate::quant::Quant;
use crate::simd::{Simd, SimdOp};

/// Rows of weights that stay in the cache while all tokens pass.
pub(crate) const PANEL: usize = 16;
/// Tokens that share one unpacking of a row.
pub(crate) const GROUP: usize = 4;

/// One panel's results: token by row.
pub(crate) type Tile = [[f32; PANEL]; GROUP];

/// `T` tokens from `token` on times the rows in `weights`.
pub(crate) fn panel<Q: Quant, const T: usize>(
    isa: Isa,
    weights: &[u8],
    row_bytes: usize,
    acts: &Acts<'_>,
    token: usize,
    out: &mut Tile,
) {
    isa.dispatch(Panel::<Q, T> {
        weights,
        row_bytes,
        acts,
        token,
        out,
        format: core::marker::PhantomData,
    });
}

struct Panel<'a, Q, const T: usize> {
    weights: &'a [u8],
    row_bytes: usize,
    acts: &'a Acts<'a>,
    token: usize,
    out: &'a mut Tile,
    format: core::marker::PhantomData<Q>,
}

impl<Q: Quant, const T: usize> SimdOp for Panel<'_, Q, T> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, s: S) {
        let acts = self.acts.group::<T>(self.token);
        for (r, row) in self
            .weights
            .chunks_exact(self.row_bytes)
            .take(PANEL)
            .enumerate()
        {
            let sums = Q::dot(s, row, &acts);
            for t in 0..T {
                self.out[t][r] = sums[t];
            }
        }
    }
}
