//! F16: IEEE 754 half precision, two bytes a weight. Multiplies f32 activations.

use super::Quant;
use super::floats::{Floats, decode_each, encode_each};
use super::search::finite;
use super::search::to_f16;
use crate::op::acts::Act;
use crate::simd::Simd;

/// See the head of this file.
pub(crate) struct F16;

impl Quant for F16 {
    const BLOCK: usize = 1;
    const BYTES: usize = 2;
    const INT8: bool = false;

    fn decode(bytes: &[u8], out: &mut [f32]) {
        decode_each(bytes, out, |b: &[u8; 2]| {
            half::f16::from_le_bytes(*b).to_f32()
        });
    }

    fn encode(x: &[f32], _importance: Option<&[f32]>, out: &mut [u8]) {
        encode_each(x, out, |x| to_f16(finite(x)).to_le_bytes());
    }

    #[inline(always)]
    fn dot<S: Simd, const T: usize>(s: S, row: &[u8], acts: &[Act<'_>; T]) -> [f32; T] {
        Self::dot_floats(s, row, acts)
    }
}

impl Floats<16> for F16 {
    #[inline(always)]
    fn eight<S: Simd>(s: S, bytes: &[u8; 16]) -> S::F {
        s.load_f16_le(bytes)
    }
}
