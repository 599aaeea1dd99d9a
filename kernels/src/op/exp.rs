//! e^x for vectors.
//!
//! `x = n ln 2 + r` with |r| at most half of ln 2; ln 2 goes in two parts so that r is exact to the last bit. `e^r` is its
//! Taylor polynomial of degree 7 (the rest, r^8 / 8!, is below 6e-9 of it), and `2^n` is written into the exponent.
//!
//! Within 2 units in the last place from -87.3 to 88.3. Below -87.7 the result is 0 (no subnormals), from 88.4 on it is infinity;
//! NaN stays NaN.

use crate::simd::Simd;

/// `e^x`, eight at once.
#[inline(always)]
pub(crate) fn exp<S: Simd>(s: S, x: S::F) -> S::F {
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = s.max(s.splat(-88.0), s.min(s.splat(89.0), x));
    let n = s.round(s.mul(x, s.splat(core::f32::consts::LOG2_E)));
    let r = s.fma(n, s.splat(-LN2_HIGH), x);
    let r = s.fma(n, s.splat(-LN2_LOW), r);
    let mut p = s.splat(1.0 / 5040.0);
    for c in [
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ] {
        p = s.fma(p, r, s.splat(c));
    }
    s.mul(p, s.pow2(n))
}
