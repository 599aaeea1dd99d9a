//! `Q4_1`: 32 weights of 4 bits above a minimum, in 20 bytes (5 bits a weight).
//!
//! ```text
//!   0 d: f16 | 2 m: f16 | 4 qs: 16 bytes            weight i = d * q_i + m
//!             q 0..15 the low nibbles, q 16..31 the high ones
//! ```

use super::blocks::{Line, decode_blocks, f16_at, field, nibble, u16_at};
use super::search::line::{self, Trials};
use super::search::{encode_blocks, put_f16, put_nibbles};
use super::{Quant, Tiled};
use crate::lanes::Lanes;
use crate::op::acts::Act;
use crate::simd::Simd;
use crate::tile::{Codes, Field, Group, Planes, Sink, nibbles};

/// See the head of this file.
pub(crate) struct Q4_1;

const BYTES: usize = 20;
const D: usize = 0;
const M: usize = 2;
const QS: usize = 4;
const _: () = assert!(QS + 16 == BYTES, "fields fill the block");

/// The range is tried as 8 to 17 steps.
const TRIALS: Trials = Trials {
    top: 15.0,
    under: 7.0,
    over: 2.0,
    step: 0.5,
    sunk: false,
};

impl Quant for Q4_1 {
    const BLOCK: usize = 32;
    const BYTES: usize = BYTES;
    const INT8: bool = true;

    fn decode(bytes: &[u8], out: &mut [f32]) {
        decode_blocks::<BYTES, 32>(bytes, out, |block, out| {
            let (d, m) = (f16_at(block, D), f16_at(block, M));
            for (i, out) in out.iter_mut().enumerate() {
                *out = d * f32::from(nibble(&block[QS..], i)) + m;
            }
        });
    }

    fn encode(x: &[f32], importance: Option<&[f32]>, out: &mut [u8]) {
        encode_blocks::<BYTES, 32>(x, importance, out, |unit, out| {
            let (d, m, q) = line::encode(unit, TRIALS);
            put_f16(out, D, d);
            put_f16(out, M, m);
            put_nibbles(&q, &mut out[QS..]);
        });
    }

    #[inline(always)]
    fn dot<S: Simd, const T: usize>(s: S, row: &[u8], acts: &[Act<'_>; T]) -> [f32; T] {
        Self::dot_lines(s, row, acts)
    }
}

impl Line<BYTES> for Q4_1 {
    #[inline(always)]
    fn line<S: Simd>(s: S, block: &[u8; BYTES]) -> (S::B, f32, f32) {
        (
            s.nibbles(field(block, QS)),
            s.f16(u16_at(block, D)),
            s.f16(u16_at(block, M)),
        )
    }
}

impl Tiled for Q4_1 {
    const FIELDS: &'static [Field] = &[Field::half(D), Field::half(M), Field::words(QS, 4)];
    const CODES: Codes = Codes::U4;
    const HALVES: bool = false;
    const MIN: bool = true;
    const ABOVE: u8 = 0;
    const RANGE: (i32, i32) = (0, 15);
    const ONCE: bool = true;

    #[inline(always)]
    fn groups<L: Lanes>(l: L, planes: &Planes<'_, Self>, b: usize, sink: &mut impl Sink<L>) {
        let d = l.half_f(planes.half(b, 0));
        let m = l.half_f(planes.half(b, 1));
        sink.take(l, b, Group::new(nibbles(l, planes.words(b, 2, 0)), d, m));
    }
}
