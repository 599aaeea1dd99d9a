//! `IQ4_NL`: 32 weights of 4 bits through a table of 16 unequal steps, in 18 bytes (4.5 bits a weight).
//!
//! ```text
//!   0 d: f16 | 2 qs: 16 bytes            weight i = d * TABLE[q_i]
//!             q 0..15 the low nibbles, q 16..31 the high ones
//! ```

use super::blocks::{Codes, decode_blocks, f16_at, field, nibble, u16_at};
use super::search::scale::{self, Levels, Trials};
use super::search::{encode_blocks, put_f16, put_nibbles};
use super::{Quant, Tiled};
use crate::lanes::Lanes;
use crate::op::acts::Act;
use crate::simd::{Simd, each};
use crate::tile::{self, Field, Group, Planes, Sink, nibbles};

/// See the head of this file.
pub(crate) struct Iq4Nl;

/// The steps, finer around zero, where most weights lie.
pub(crate) const TABLE: [i8; 16] = [
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
];

const BYTES: usize = 18;
const D: usize = 0;
const QS: usize = 2;
const _: () = assert!(QS + 16 == BYTES, "fields fill the block");

/// The table as f32.
const LEVELS: [f32; 16] = {
    let mut out = [0.0; 16];
    let mut k = 0;
    while k < 16 {
        out[k] = TABLE[k] as f32;
        k += 1;
    }
    out
};

/// From where on a level is nearer than the one below it; the first has none.
const MIDDLES: [f32; 16] = {
    let mut out = [f32::NEG_INFINITY; 16];
    let mut k = 1;
    while k < 16 {
        out[k] = (LEVELS[k - 1] + LEVELS[k]) / 2.0;
        k += 1;
    }
    out
};

/// The levels of the table; the code of a level is its place.
#[derive(Clone, Copy)]
pub(crate) struct Steps;

impl Levels for Steps {
    const LOW: f32 = LEVELS[0];
    const HIGH: f32 = LEVELS[15];

    #[inline(always)]
    fn nearest(y: f32) -> f32 {
        let mut out = Self::LOW;
        for k in 1..16 {
            out = if y > MIDDLES[k] { LEVELS[k] } else { out };
        }
        out
    }

    fn code(level: f32) -> u8 {
        LEVELS.iter().take_while(|v| **v < level).count() as u8
    }
}

/// The largest weight between level 89 and 140.
pub(crate) const TRIALS: Trials = Trials {
    from: 0.7,
    to: 1.2,
    step: 3.0,
};

impl Quant for Iq4Nl {
    const BLOCK: usize = 32;
    const BYTES: usize = BYTES;
    const INT8: bool = true;

    fn decode(bytes: &[u8], out: &mut [f32]) {
        decode_blocks::<BYTES, 32>(bytes, out, |block, out| {
            let d = f16_at(block, D);
            for (i, out) in out.iter_mut().enumerate() {
                *out = d * f32::from(TABLE[usize::from(nibble(&block[QS..], i))]);
            }
        });
    }

    fn encode(x: &[f32], importance: Option<&[f32]>, out: &mut [u8]) {
        encode_blocks::<BYTES, 32>(x, importance, out, |unit, out| {
            let (d, q) = scale::encode::<Steps, 32>(unit, TRIALS);
            put_f16(out, D, d);
            put_nibbles(&q, &mut out[QS..]);
        });
    }

    #[inline(always)]
    fn dot<S: Simd, const T: usize>(s: S, row: &[u8], acts: &[Act<'_>; T]) -> [f32; T] {
        Self::dot_codes(s, row, acts)
    }
}

impl Codes<BYTES> for Iq4Nl {
    #[inline(always)]
    fn codes<S: Simd>(s: S, block: &[u8; BYTES]) -> (S::B, f32) {
        (
            s.table(&TABLE, s.nibbles(field(block, QS))),
            s.f16(u16_at(block, D)),
        )
    }
}

impl Tiled for Iq4Nl {
    const FIELDS: &'static [Field] = &[Field::half(D), Field::words(QS, 4)];
    const CODES: tile::Codes = tile::Codes::I8;
    const HALVES: bool = false;
    const MIN: bool = false;
    const ABOVE: u8 = 0;
    const RANGE: (i32, i32) = (-127, 113);
    const ONCE: bool = true;

    #[inline(always)]
    fn groups<L: Lanes>(l: L, planes: &Planes<'_, Self>, b: usize, sink: &mut impl Sink<L>) {
        let d = l.half_f(planes.half(b, 0));
        let q = nibbles(l, planes.words(b, 1, 0));
        let codes = each!(8, |w| l.table(biased_table(L::BIAS), q[w]));
        sink.take(l, b, Group::symmetric(codes, d));
    }
}

/// The table with `bias` added: 0 or 128.
#[inline(always)]
pub(crate) fn biased_table(bias: u8) -> &'static [i8; 16] {
    const FLIPPED: [i8; 16] = {
        let (mut out, mut k) = (TABLE, 0);
        while k < 16 {
            out[k] ^= i8::MIN;
            k += 1;
        }
        out
    };
    if bias == 0 { &TABLE } else { &FLIPPED }
}
