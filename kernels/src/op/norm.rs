//! `RMSNorm`: `out_i = x_i * w_i / sqrt(mean(x^2) + eps)`.

use super::vector::padded;
use crate::Isa;
use crate::simd::{Simd, SimdOp};

/// Normalises one row `x` by its root mean square and multiplies by `w`.
///
/// # Panics
/// If the lengths differ.
pub fn rmsnorm(isa: Isa, x: &[f32], w: &[f32], eps: f32, out: &mut [f32]) {
    assert_eq!(x.len(), w.len(), "rmsnorm: as many weights as numbers");
    assert_eq!(x.len(), out.len(), "rmsnorm: room for the result");
    let mean = super::vector::dot(isa, x, x) / x.len().max(1) as f32;
    isa.dispatch(Scaled {
        x,
        w,
        mean: mean + eps,
        out,
    });
}

/// `out = x * w / sqrt(mean)`.
struct Scaled<'a> {
    x: &'a [f32],
    w: &'a [f32],
    mean: f32,
    out: &'a mut [f32],
}

impl SimdOp for Scaled<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, s: S) {
        let scale = s.splat(1.0 / s.sqrt(self.mean));
        let (x, x_tail) = self.x.as_chunks::<8>();
        let (w, w_tail) = self.w.as_chunks::<8>();
        let (out, out_tail) = self.out.as_chunks_mut::<8>();
        for ((x, w), out) in x.iter().zip(w).zip(out) {
            s.store(s.mul(s.mul(s.load(x), scale), s.load(w)), out);
        }
        let mut last = [0.0; 8];
        s.store(
            s.mul(
                s.mul(s.load(&padded(x_tail, 0.0)), scale),
                s.load(&padded(w_tail, 0.0)),
            ),
            &mut last,
        );
        out_tail.copy_from_slice(&last[..out_tail.len()]);
    }
}
