//! F32: four bytes a weight, little-endian. Multiplies f32 activations.

use super::Quant;
use super::floats::{Floats, decode_each, encode_each};
use super::search::finite;
use crate::op::acts::Act;
use crate::simd::Simd;

/// See the head of this file.
pub(crate) struct F32;

impl Quant for F32 {
    const BLOCK: usize = 1;
    const BYTES: usize = 4;
    const INT8: bool = false;

    fn decode(bytes: &[u8], out: &mut [f32]) {
        decode_each(bytes, out, |b: &[u8; 4]| f32::from_le_bytes(*b));
    }

    fn encode(x: &[f32], _importance: Option<&[f32]>, out: &mut [u8]) {
        encode_each(x, out, |x| finite(x).to_le_bytes());
    }

    #[inline(always)]
    fn dot<S: Simd, const T: usize>(s: S, row: &[u8], acts: &[Act<'_>; T]) -> [f32; T] {
        Self::dot_floats(s, row, acts)
    }
}

impl Floats<32> for F32 {
    #[inline(always)]
    fn eight<S: Simd>(s: S, bytes: &[u8; 32]) -> S::F {
        s.load_f32_le(bytes)
    }
}
