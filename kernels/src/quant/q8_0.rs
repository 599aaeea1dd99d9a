//! `Q8_0`: 32 weights of 8 bits, in 34 bytes (8.5 bits a weight).
//!
//! ```text
//!   0 d: f16 | 2 qs: 32 x i8            weight i = d * q_i
//! ```

use super::blocks::{Codes, decode_blocks, f16_at, field, u16_at};
use super::search::scale::{self, Integers, Trials};
use super::search::{encode_blocks, put_f16};
use super::{Quant, Tiled};
use crate::lanes::Lanes;
use crate::op::acts::Act;
use crate::simd::{Simd, each};
use crate::tile::{self, Field, Group, Planes, Sink};

/// See the head of this file.
pub(crate) struct Q8_0;

const BYTES: usize = 34;
const D: usize = 0;
const QS: usize = 2;
const _: () = assert!(QS + 32 == BYTES, "fields fill the block");

/// The largest weight between level 116 and 127.5, so that no weight is off by more than half a step of `max|x| / 116`. Among the
/// two dozen scales the best loses a quarter less than `max|x| / 127`: each rounds the 32 weights anew.
const TRIALS: Trials = Trials {
    from: 116.0 / 127.0,
    to: 127.5 / 127.0,
    step: 0.5,
};

impl Quant for Q8_0 {
    const BLOCK: usize = 32;
    const BYTES: usize = BYTES;
    const INT8: bool = true;

    fn decode(bytes: &[u8], out: &mut [f32]) {
        decode_blocks::<BYTES, 32>(bytes, out, |block, out| {
            let d = f16_at(block, D);
            for (q, out) in block[QS..].iter().zip(out) {
                *out = d * f32::from(*q as i8);
            }
        });
    }

    fn encode(x: &[f32], importance: Option<&[f32]>, out: &mut [u8]) {
        encode_blocks::<BYTES, 32>(x, importance, out, |unit, out| {
            let (d, q) = scale::encode::<Integers<-127, 127>, 32>(unit, TRIALS);
            put_f16(out, D, d);
            for (out, q) in out[QS..].iter_mut().zip(q) {
                *out = q.wrapping_sub(127);
            }
        });
    }

    #[inline(always)]
    fn dot<S: Simd, const T: usize>(s: S, row: &[u8], acts: &[Act<'_>; T]) -> [f32; T] {
        Self::dot_codes(s, row, acts)
    }
}

impl Codes<BYTES> for Q8_0 {
    #[inline(always)]
    fn codes<S: Simd>(s: S, block: &[u8; BYTES]) -> (S::B, f32) {
        (s.bytes(field(block, QS)), s.f16(u16_at(block, D)))
    }
}

impl Tiled for Q8_0 {
    const FIELDS: &'static [Field] = &[Field::half(D), Field::words(QS, 8)];
    const CODES: tile::Codes = tile::Codes::I8;
    const HALVES: bool = false;
    const MIN: bool = false;
    const ABOVE: u8 = 0;
    const RANGE: (i32, i32) = (-128, 127);
    const ONCE: bool = true;

    #[inline(always)]
    fn groups<L: Lanes>(l: L, planes: &Planes<'_, Self>, b: usize, sink: &mut impl Sink<L>) {
        let d = l.half_f(planes.half(b, 0));
        let words = planes.words::<8>(b, 1, 0);
        let codes = each!(8, |w| l.flip(l.word(&words[w]), L::BIAS));
        sink.take(l, b, Group::symmetric(codes, d));
    }
}
