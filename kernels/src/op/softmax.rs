//! Softmax: `x_i = e^(x_i - max) / sum_j e^(x_j - max)`.

use super::exp::exp;
use super::vector::padded;
use crate::Isa;
use crate::simd::{Simd, SimdOp};

/// Turns scores into probabilities, in place. Minus infinity becomes 0, unless all are.
pub fn softmax(isa: Isa, x: &mut [f32]) {
    isa.dispatch(Softmax { x });
}

struct Softmax<'a> {
    x: &'a mut [f32],
}

impl SimdOp for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, s: S) {
        let (x, tail) = self.x.as_chunks_mut::<8>();
        let mut last = padded(tail, f32::NEG_INFINITY);
        let mut max = s.load(&last);
        for x in x.iter() {
            max = s.max(s.load(x), max);
        }
        let max = s.splat(s.max_lane(max));
        let mut sum = s.splat(0.0);
        for x in x.iter_mut().chain([&mut last]) {
            let e = exp(s, s.sub(s.load(x), max));
            sum = s.add(sum, e);
            s.store(e, x);
        }
        let scale = s.splat(1.0 / s.sum(sum));
        for x in x.iter_mut().chain([&mut last]) {
            s.store(s.mul(s.load(x), scale), x);
        }
        tail.copy_from_slice(&last[..tail.len()]);
    }
}
