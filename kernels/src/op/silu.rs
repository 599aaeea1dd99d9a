//! The SwiGLU activation: `silu(gate) * up` with `silu(x) = x / (1 + e^-x)`.

use super::exp::exp;
use super::vector::padded;
use crate::Isa;
use crate::simd::{Simd, SimdOp};

/// `out = silu(gate) * up`.
///
/// # Panics
/// If the lengths differ.
pub fn silu_mul(isa: Isa, gate: &[f32], up: &[f32], out: &mut [f32]) {
    assert_eq!(gate.len(), up.len(), "silu_mul: gate and up");
    assert_eq!(gate.len(), out.len(), "silu_mul: room for the result");
    isa.dispatch(SiluMul { gate, up, out });
}

struct SiluMul<'a> {
    gate: &'a [f32],
    up: &'a [f32],
    out: &'a mut [f32],
}

impl SimdOp for SiluMul<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, s: S) {
        let (gate, gate_tail) = self.gate.as_chunks::<8>();
        let (up, up_tail) = self.up.as_chunks::<8>();
        let (out, out_tail) = self.out.as_chunks_mut::<8>();
        for ((gate, up), out) in gate.iter().zip(up).zip(out) {
            eight(s, gate, up, out);
        }
        let mut last = [0.0; 8];
        eight(s, &padded(gate_tail, 0.0), &padded(up_tail, 0.0), &mut last);
        out_tail.copy_from_slice(&last[..out_tail.len()]);
    }
}

#[inline(always)]
fn eight<S: Simd>(s: S, gate: &[f32; 8], up: &[f32; 8], out: &mut [f32; 8]) {
    let x = s.load(gate);
    let below = s.add(s.splat(1.0), exp(s, s.sub(s.splat(0.0), x)));
    s.store(s.mul(s.div(x, below), s.load(up)), out);
}
