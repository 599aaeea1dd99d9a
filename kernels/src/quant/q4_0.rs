//! `Q4_0`: 32 weights of 4 bits around 8, in 18 bytes (4.5 bits a weight).
//!
//! ```text
//!   0 d: f16 | 2 qs: 16 bytes            weight i = d * (q_i - 8)
//!             q 0..15 the low nibbles, q 16..31 the high ones
//! ```

use super::blocks::{Line, decode_blocks, f16_at, field, nibble, u16_at};
use super::search::scale::{self, Integers, Trials};
use super::search::{encode_blocks, put_f16, put_nibbles};
use super::{Quant, Tiled};
use crate::lanes::Lanes;
use crate::op::acts::Act;
use crate::simd::Simd;
use crate::tile::{Codes, Field, Planes, Sink};

/// See the head of this file.
pub(crate) struct Q4_0;

const BYTES: usize = 18;
const D: usize = 0;
const QS: usize = 2;
const _: () = assert!(QS + 16 == BYTES, "fields fill the block");

/// Four bits: worth trying to cut the largest weights.
const TRIALS: Trials = Trials {
    from: 0.5,
    to: 1.25,
    step: 0.25,
};

impl Quant for Q4_0 {
    const BLOCK: usize = 32;
    const BYTES: usize = BYTES;
    const INT8: bool = true;

    fn decode(bytes: &[u8], out: &mut [f32]) {
        decode_blocks::<BYTES, 32>(bytes, out, |block, out| {
            let d = f16_at(block, D);
            for (i, out) in out.iter_mut().enumerate() {
                *out = d * (f32::from(nibble(&block[QS..], i)) - 8.0);
            }
        });
    }

    fn encode(x: &[f32], importance: Option<&[f32]>, out: &mut [u8]) {
        encode_blocks::<BYTES, 32>(x, importance, out, |unit, out| {
            let (d, q) = scale::encode::<Integers<-8, 7>, 32>(unit, TRIALS);
            put_f16(out, D, d);
            put_nibbles(&q, &mut out[QS..]);
        });
    }

    #[inline(always)]
    fn dot<S: Simd, const T: usize>(s: S, row: &[u8], acts: &[Act<'_>; T]) -> [f32; T] {
        Self::dot_lines(s, row, acts)
    }
}

impl Line<BYTES> for Q4_0 {
    #[inline(always)]
    fn line<S: Simd>(s: S, block: &[u8; BYTES]) -> (S::B, f32, f32) {
        let d = s.f16(u16_at(block, D));
        (s.nibbles(field(block, QS)), d, -8.0 * d)
    }
}

impl Tiled for Q4_0 {
    const FIELDS: &'static [Field] = &[Field::half(D), Field::words(QS, 4)];
    const CODES: Codes = Codes::U4;
    const HALVES: bool = false;
    const MIN: bool = false;
    const ABOVE: u8 = 8;
    const RANGE: (i32, i32) = (-8, 7);
    const ONCE: bool = true;

    #[inline(always)]
    fn groups<L: Lanes>(l: L, planes: &Planes<'_, Self>, b: usize, sink: &mut impl Sink<L>) {
        let d = l.half_f(planes.half(b, 0));
        sink.take_nibbles(l, b, planes.words(b, 1, 0), d, d);
    }
}
