//! The activation of networks without a gate: `max(x, 0)^2` (So et al. 2021, Primer).

use super::vector::padded;
use crate::Isa;
use crate::simd::{Simd, SimdOp};

/// `out = max(x, 0)^2`; NaN stays NaN.
///
/// # Panics
/// If the lengths differ.
pub fn relu_squared(isa: Isa, x: &[f32], out: &mut [f32]) {
    assert_eq!(x.len(), out.len(), "relu_squared: room for the result");
    isa.dispatch(ReluSquared { x, out });
}

struct ReluSquared<'a> {
    x: &'a [f32],
    out: &'a mut [f32],
}

impl SimdOp for ReluSquared<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, s: S) {
        let (x, x_tail) = self.x.as_chunks::<8>();
        let (out, out_tail) = self.out.as_chunks_mut::<8>();
        for (x, out) in x.iter().zip(out) {
            eight(s, x, out);
        }
        let mut last = [0.0; 8];
        eight(s, &padded(x_tail, 0.0), &mut last);
        out_tail.copy_from_slice(&last[..out_tail.len()]);
    }
}

#[inline(always)]
fn eight<S: Simd>(s: S, x: &[f32; 8], out: &mut [f32; 8]) {
    let x = s.max(s.splat(0.0), s.load(x));
    s.store(s.mul(x, x), out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference;
    use std::vec;
    use std::vec::Vec;

    #[test]
    fn it_is_the_reference_at_every_length() {
        for n in [1, 7, 8, 9, 33, 577] {
            let x: Vec<f32> = (0..n).map(|i| 3.0 * (i as f32 + 0.3).sin()).collect();
            for isa in Isa::available() {
                let mut out = vec![f32::NAN; n];
                relu_squared(isa, &x, &mut out);
                for (x, out) in x.iter().zip(&out) {
                    let want = reference::relu_squared(*x);
                    let off = (f64::from(*out) - want).abs();
                    // A product, rounded once.
                    assert!(off <= want / f64::from(1 << 24), "{}: {x}", isa.name());
                }
            }
        }
    }

    #[test]
    fn it_keeps_what_is_no_number() {
        for isa in Isa::available() {
            let mut out = [7.0; 5];
            let x = [f32::INFINITY, f32::NEG_INFINITY, -0.0, 1e30, f32::NAN];
            relu_squared(isa, &x, &mut out);
            let want = [f32::INFINITY, 0.0, 0.0, f32::INFINITY];
            assert_eq!(out[..4], want, "{}", isa.name());
            assert!(out[4].is_nan(), "{} hides NaN", isa.name());
        }
    }
}
