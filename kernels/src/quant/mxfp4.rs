//! MXFP4: 32 weights of 4-bit floats (E2M1) with one power of two (E8M0), in 17 bytes (4.25 bits a weight).
//!
//! ```text
//!   0 e: u8 | 1 qs: 16 bytes            weight i = 2^(e - 127) * E2M1[q_i]
//!             q 0..15 the low nibbles, q 16..31 the high ones
//! ```
//!
//! E2M1 is 0 0.5 1 1.5 2 3 4 6 and the same negative; the table holds the doubles, which are integers, and the scale is halved.
//! An e of 255 is NaN in the OCP MX specification, and so it is here: ggml makes 2^127 of it, a number that looks like a weight.

use super::Quant;
use super::blocks::{Codes, decode_blocks, field, nibble};
use crate::op::acts::Act;
use crate::simd::Simd;

/// See the head of this file.
pub(crate) struct Mxfp4;

/// Twice the values of E2M1.
const TABLE: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

const BYTES: usize = 17;
const E: usize = 0;
const QS: usize = 1;
const _: () = assert!(QS + 16 == BYTES, "fields fill the block");

impl Quant for Mxfp4 {
    const BLOCK: usize = 32;
    const BYTES: usize = BYTES;
    const INT8: bool = true;

    fn decode(bytes: &[u8], out: &mut [f32]) {
        decode_blocks::<BYTES, 32>(bytes, out, |block, out| {
            let d = half_scale(block[E]);
            for (i, out) in out.iter_mut().enumerate() {
                *out = d * f32::from(TABLE[usize::from(nibble(&block[QS..], i))]);
            }
        });
    }

    #[inline(always)]
    fn dot<S: Simd, const T: usize>(s: S, row: &[u8], acts: &[Act<'_>; T]) -> [f32; T] {
        Self::dot_codes(s, row, acts)
    }
}

/// Half of the scale, `2^(e - 128)`, as f32: subnormal for e below 2, NaN for 255.
#[inline(always)]
fn half_scale(e: u8) -> f32 {
    match e {
        0 | 1 => f32::from_bits(0x0020_0000 << e),
        255 => f32::NAN,
        _ => f32::from_bits(u32::from(e - 1) << 23),
    }
}

impl Codes<BYTES> for Mxfp4 {
    #[inline(always)]
    fn codes<S: Simd>(s: S, block: &[u8; BYTES]) -> (S::B, f32) {
        (
            s.table(&TABLE, s.nibbles(field(block, QS))),
            half_scale(block[E]),
        )
    }
}
