//! Weights times activations: one kernel for decode (one token) and for prefill (many).
//!
//! Rows go by in panels of [`PANEL`], so that a panel stays in the cache while every token passes over it and the weights come from
//! memory once. Tokens go in groups of four, then two, then one: a row is unpacked once for a group. Each token's sum is made in the
//! same order whatever its group, so the result does not depend on how many tokens or rows are asked for at a time.

use super::acts::Acts;
use crate::plan::plan;
use crate::quant::Quant;
use crate::simd::{Simd, SimdOp};
use crate::{Format, Isa};

/// Rows of weights that stay in the cache while all tokens pass.
pub(crate) const PANEL: usize = 16;
/// Tokens that share one unpacking of a row.
pub(crate) const GROUP: usize = 4;

/// One panel's results: token by row.
pub(crate) type Tile = [[f32; PANEL]; GROUP];

/// `out[t][r] = weights[r] . acts[t]`; `weights` are `rows` rows of `acts.cols()` numbers, `out` is `acts.tokens() x rows`.
///
/// # Panics
/// As [`matmul_with`], or if `out` has not `acts.tokens() * rows` numbers.
pub fn matmul(
    isa: Isa,
    format: Format,
    weights: &[u8],
    rows: usize,
    acts: &Acts<'_>,
    out: &mut [f32],
) {
    assert_eq!(
        out.len(),
        acts.tokens() * rows,
        "a product for each row and token"
    );
    plan(isa, format).matmul(weights, rows, acts, &mut |token, row, values| {
        out[token * rows + row..][..values.len()].copy_from_slice(values);
    });
}

/// Like [`matmul`], but hands over the products piecewise: `store(token, first_row, values)`.
///
/// # Panics
/// If `weights` has not the length of `rows` rows, or the format needs int8 activations and `acts` has none.
pub fn matmul_with(
    isa: Isa,
    format: Format,
    weights: &[u8],
    rows: usize,
    acts: &Acts<'_>,
    store: &mut dyn FnMut(usize, usize, &[f32]),
) {
    plan(isa, format).matmul(weights, rows, acts, store);
}

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
