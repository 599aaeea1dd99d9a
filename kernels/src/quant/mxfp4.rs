//! MXFP4: 32 weights of 4-bit floats (E2M1) with one power of two (E8M0), in 17 bytes (4.25 bits a weight).
//!
//! ```text
//!   0 e: u8 | 1 qs: 16 bytes            weight i = 2^(e - 127) * E2M1[q_i]
//!             q 0..15 the low nibbles, q 16..31 the high ones
//! ```
//!
//! E2M1 is 0 0.5 1 1.5 2 3 4 6 and the same negative; the table holds the doubles, which are integers, and the scale is halved.
//! An e of 255 is NaN in the OCP MX specification, and so it is here: ggml makes 2^127 of it, a number that looks like a weight.

use super::blocks::{Codes, decode_blocks, field, nibble};
use super::search::scale::{Levels, Sums, codes};
use super::search::{Unit, encode_blocks, power, put_nibbles};
use super::{Quant, Tiled};
use crate::lanes::Lanes;
use crate::op::acts::Act;
use crate::simd::{Simd, each};
use crate::tile::{self, Field, Group, Planes, Sink, nibbles};

/// See the head of this file.
pub(crate) struct Mxfp4;

/// Twice the values of E2M1.
const TABLE: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

const BYTES: usize = 17;
const E: usize = 0;
const QS: usize = 1;
const _: () = assert!(QS + 16 == BYTES, "fields fill the block");

/// Twice the values of E2M1, as levels.
#[derive(Clone, Copy)]
struct E2m1;

impl Levels for E2m1 {
    const LOW: f32 = -12.0;
    const HIGH: f32 = 12.0;

    /// Ties go to the even code, as the specification rounds.
    #[inline(always)]
    fn nearest(y: f32) -> f32 {
        let size = y.abs();
        let mut out = 0.0;
        for code in 1..8 {
            let (below, level) = (f32::from(TABLE[code - 1]), f32::from(TABLE[code]));
            let middle = (below + level) / 2.0;
            let above = if code % 2 == 0 {
                size >= middle
            } else {
                size > middle
            };
            out = if above { level } else { out };
        }
        out.copysign(y)
    }

    /// Zero is code 0, whatever its sign.
    fn code(level: f32) -> u8 {
        let place = TABLE.iter().position(|v| f32::from(*v) == level);
        place.map_or(0, |code| code as u8)
    }
}

/// The highest e whose every level is finite. Beyond it lie no values of their own: what 254 holds below infinity, `2^126` times
/// 1, 2 and 3, is 4, 8 and 12 here.
const HIGHEST: i32 = 252;

/// The best e for a block, and `2^(128 - e)` in units of `unit.x`, which makes levels of these.
///
/// The specification's own choice puts the largest weight, 1 to 2 times its power of two, at level 8 to 16, where all above
/// 12 is cut; one binade up and one down are tried beside it.
fn exponent(unit: &Unit<32>) -> (u8, f32) {
    let (mut best, mut least) = ((0, 1.0), f32::INFINITY);
    for above in [0, 1, -1] {
        let e = (unit.exponent() + 125 + above).clamp(0, HIGHEST);
        let inverse = power(unit.exponent() + 128 - e);
        let sums = Sums::of::<E2m1, 32>(&unit.x, &unit.w, inverse);
        let error = sums.ee / (inverse * inverse);
        if error < least {
            (best, least) = ((e as u8, inverse), error);
        }
    }
    best
}

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

    fn encode(x: &[f32], importance: Option<&[f32]>, out: &mut [u8]) {
        encode_blocks::<BYTES, 32>(x, importance, out, |unit, out| {
            let (e, inverse) = exponent(unit);
            let mut q = [0; 32];
            codes::<E2m1, 32>(&unit.x, 1.0 / inverse, &mut q);
            out[E] = e;
            put_nibbles(&q, &mut out[QS..]);
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

impl Tiled for Mxfp4 {
    const FIELDS: &'static [Field] = &[Field::byte(E), Field::words(QS, 4)];
    const CODES: tile::Codes = tile::Codes::U6;
    const HALVES: bool = false;
    const MIN: bool = false;
    const ABOVE: u8 = 12;
    const RANGE: (i32, i32) = (-12, 12);
    const ONCE: bool = true;

    #[inline(always)]
    fn groups<L: Lanes>(l: L, planes: &Planes<'_, Self>, b: usize, sink: &mut impl Sink<L>) {
        let d = l.byte_f(planes.byte(b, 0), half_scale);
        let q = nibbles(l, planes.words(b, 1, 0));
        let codes = each!(8, |w| l.table(&ABOVE, q[w]));
        sink.take(l, b, Group::symmetric(codes, d));
    }
}

/// The table, 12 higher: unsigned codes multiply faster.
const ABOVE: [i8; 16] = {
    let (mut out, mut k) = (TABLE, 0);
    while k < 16 {
        out[k] += 12;
        k += 1;
    }
    out
};

#[cfg(test)]
mod tests {
    use super::*;

    /// Doubled values of E2M1: halfway between two levels the one of even code is taken, on both sides of zero.
    #[test]
    fn ties_go_to_the_even_code() {
        let ties = [0.5, 1.5, 2.5, 3.5, 5.0, 7.0, 10.0];
        let codes = [0, 2, 2, 4, 4, 6, 6];
        for (tie, code) in ties.into_iter().zip(codes) {
            assert_eq!(E2m1::code(E2m1::nearest(tie)), code, "{tie}");
            let negative = if code == 0 { 0 } else { code | 8 };
            assert_eq!(E2m1::code(E2m1::nearest(-tie)), negative, "-{tie}");
        }
        assert_eq!(E2m1::code(E2m1::nearest(100.0)), 7);
    }

    #[test]
    fn every_exponent_is_finite() {
        for largest in [f32::MAX, 1.0, f32::MIN_POSITIVE, 1e-45, 0.0] {
            let (mut x, mut block) = ([0.0; 32], [0; BYTES]);
            x[3] = largest;
            Mxfp4::encode(&x, None, &mut block);
            assert!(block[E] <= 252, "{largest:e}: {}", block[E]);
        }
    }
}
