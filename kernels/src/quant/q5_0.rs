//! `Q5_0`: 32 weights of 5 bits around 16, in 22 bytes (5.5 bits a weight).
//!
//! ```text
//!   0 d: f16 | 2 qh: u32 | 6 qs: 16 bytes           weight i = d * (q_i - 16)
//!     nibbles 0..15 the low ones, 16..31 the high ones; bit i of qh is bit 4 of q_i
//! ```

use super::blocks::{Line, decode_blocks, f16_at, five_bits, nibble, u16_at, u32_at};
use super::search::scale::{self, Integers, Trials};
use super::search::{encode_blocks, fifth_bits, put_f16, put_nibbles};
use super::{Quant, Tiled};
use crate::lanes::Lanes;
use crate::op::acts::Act;
use crate::simd::Simd;
use crate::tile::{Codes, Field, Group, Planes, Sink, five_bits as five};

/// See the head of this file.
pub(crate) struct Q5_0;

const BYTES: usize = 22;
const D: usize = 0;
const QH: usize = 2;
const QS: usize = 6;
const _: () = assert!(QS + 16 == BYTES, "fields fill the block");

/// The largest weight between level 8 and 18, past the end of 16.
const TRIALS: Trials = Trials {
    from: 0.5,
    to: 1.125,
    step: 0.5,
};

impl Quant for Q5_0 {
    const BLOCK: usize = 32;
    const BYTES: usize = BYTES;
    const INT8: bool = true;

    fn decode(bytes: &[u8], out: &mut [f32]) {
        decode_blocks::<BYTES, 32>(bytes, out, |block, out| {
            let (d, qh) = (f16_at(block, D), u32_at(block, QH));
            for (i, out) in out.iter_mut().enumerate() {
                let q = nibble(&block[QS..], i) | ((qh >> i & 1) << 4) as u8;
                *out = d * (f32::from(q) - 16.0);
            }
        });
    }

    fn encode(x: &[f32], importance: Option<&[f32]>, out: &mut [u8]) {
        encode_blocks::<BYTES, 32>(x, importance, out, |unit, out| {
            let (d, q) = scale::encode::<Integers<-16, 15>, 32>(unit, TRIALS);
            put_f16(out, D, d);
            out[QH..QS].copy_from_slice(&fifth_bits(&q).to_le_bytes());
            put_nibbles(&q, &mut out[QS..]);
        });
    }

    #[inline(always)]
    fn dot<S: Simd, const T: usize>(s: S, row: &[u8], acts: &[Act<'_>; T]) -> [f32; T] {
        Self::dot_lines(s, row, acts)
    }
}

impl Line<BYTES> for Q5_0 {
    #[inline(always)]
    fn line<S: Simd>(s: S, block: &[u8; BYTES]) -> (S::B, f32, f32) {
        let d = s.f16(u16_at(block, D));
        (five_bits(s, block, QH, QS), d, -16.0 * d)
    }
}

impl Tiled for Q5_0 {
    const FIELDS: &'static [Field] = &[Field::half(D), Field::words(QH, 1), Field::words(QS, 4)];
    const CODES: Codes = Codes::U6;
    const HALVES: bool = false;
    const MIN: bool = false;
    const ABOVE: u8 = 16;
    const RANGE: (i32, i32) = (-16, 15);
    const ONCE: bool = true;

    #[inline(always)]
    fn groups<L: Lanes>(l: L, planes: &Planes<'_, Self>, b: usize, sink: &mut impl Sink<L>) {
        let d = l.half_f(planes.half(b, 0));
        let codes = five(l, planes.words(b, 2, 0), planes.words(b, 1, 0));
        sink.take(l, b, Group::symmetric(codes, d));
    }
}
