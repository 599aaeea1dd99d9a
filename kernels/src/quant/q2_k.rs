//! `Q2_K`: 256 weights of 2 bits, a 4-bit scale and a 4-bit minimum for every 16, in 84 bytes (2.625 bits a weight).
//!
//! ```text
//!   0 scales: 16 bytes, mmmm ssss | 16 qs: 64 bytes | 80 d: f16 | 82 dmin: f16
//!     weight l of block k of half h (each half four blocks of 32) = d * scale * q - dmin * min
//!     scale and min from byte 8h + 2k + l/16;  q: bits 2k, 2k+1 of qs[32h + l]
//! ```

use super::blocks::{decode_blocks, f16_at, field, u16_at};
use super::k::{K, Supers, offsets, products, split, two_bits};
use super::search::line::Trials;
use super::search::{encode_blocks, put_f16, super_line};
use super::{Quant, Tiled};
use crate::lanes::Lanes;
use crate::op::acts::Act;
use crate::simd::{Simd, each, unrolled};
use crate::tile::{Codes, Field, Group, Planes, Sink};

/// See the head of this file.
pub(crate) struct Q2K;

const BYTES: usize = 84;
const SCALES: usize = 0;
const QS: usize = 16;
const D: usize = 80;
const DMIN: usize = 82;
const _: () = assert!(
    SCALES + 16 == QS && QS + 64 == D && D + 2 == DMIN && DMIN + 2 == BYTES,
    "fields fill the block"
);

/// Four levels: every eighth of a step makes another block.
const TRIALS: Trials = Trials {
    top: 3.0,
    under: 2.0,
    over: 1.0,
    step: 0.125,
    sunk: true,
};

impl Quant for Q2K {
    const BLOCK: usize = K;
    const BYTES: usize = BYTES;
    const INT8: bool = true;

    fn decode(bytes: &[u8], out: &mut [f32]) {
        decode_blocks::<BYTES, K>(bytes, out, |block, out| {
            let (d, dmin) = (f16_at(block, D), f16_at(block, DMIN));
            for (i, out) in out.iter_mut().enumerate() {
                let (h, k, l) = (i / 128, i / 32 % 4, i % 32);
                let q = block[QS + 32 * h + l] >> (2 * k) & 3;
                let byte = block[SCALES + i / 16];
                *out = d * f32::from(byte & 15) * f32::from(q) - dmin * f32::from(byte >> 4);
            }
        });
    }

    fn encode(x: &[f32], importance: Option<&[f32]>, out: &mut [u8]) {
        encode_blocks::<BYTES, K>(x, importance, out, |unit, out| {
            let block = super_line::encode::<16, 16>(unit, TRIALS, 15.0);
            for j in 0..16 {
                out[SCALES + j] = block.scales[j] | block.mins[j] << 4;
            }
            out[QS..D].fill(0);
            for (i, q) in block.codes.iter().enumerate() {
                let (h, k, l) = (i / 128, i / 32 % 4, i % 32);
                out[QS + 32 * h + l] |= q << (2 * k);
            }
            put_f16(out, D, block.d);
            put_f16(out, DMIN, block.dmin);
        });
    }

    #[inline(always)]
    fn dot<S: Simd, const T: usize>(s: S, row: &[u8], acts: &[Act<'_>; T]) -> [f32; T] {
        let blocks = row.as_chunks::<BYTES>().0;
        let acts = Supers::of(acts, blocks.len());
        let (mut sums, mut mins) = ([s.zero(); T], [s.splat(0.0); T]);
        for (i, block) in blocks.iter().enumerate() {
            let d = s.f16(u16_at(block, D));
            let bytes: &[u8; 16] = field(block, SCALES);
            let scales = s.scales(&bytes.map(|v| (v & 15).cast_signed()));
            let lows = bytes.map(|v| v >> 4);
            let (lows, dmin) = (split(&lows), s.splat(-s.f16(u16_at(block, DMIN))));
            let offset = each!(2, |i| s.mul(s.widen_u8(lows[i]), dmin));
            let mut factors = [[0.0; 8]; T];
            for t in 0..T {
                factors[t] = products(s, s.splat(d), &acts[t].d[i]);
                mins[t] = offsets(s, mins[t], offset, &acts[t].s16[i]);
            }
            for h in 0..2 {
                let mut x = s.bytes(field(block, QS + 32 * h));
                for k in 0..4 {
                    let j = 4 * h + k;
                    let q = s.and(x, s.splat_b(3));
                    x = s.shr::<2>(x);
                    for t in 0..T {
                        let a = s.acts(&acts[t].q[i][j]);
                        sums[t] = s.mac(sums[t], s.dot_halves(q, a, scales, j), factors[t][j]);
                    }
                }
            }
        }
        let mut out = [0.0; T];
        for t in 0..T {
            out[t] = s.sum_a(sums[t]) + s.sum(mins[t]);
        }
        out
    }
}

impl Tiled for Q2K {
    const FIELDS: &'static [Field] = &[
        Field::half(D),
        Field::half(DMIN),
        Field::words(SCALES, 4),
        Field::words(QS, 16),
    ];
    const CODES: Codes = Codes::U4;
    const HALVES: bool = true;
    const MIN: bool = true;
    const ABOVE: u8 = 0;
    const RANGE: (i32, i32) = (0, 3);
    const ONCE: bool = false;

    #[inline(always)]
    fn groups<L: Lanes>(l: L, planes: &Planes<'_, Self>, b: usize, sink: &mut impl Sink<L>) {
        let d = l.half_f(planes.half(b, 0));
        let dmin = l.mul(l.half_f(planes.half(b, 1)), l.splat(-1.0));
        let scales = planes.words::<4>(b, 2, 0);
        for h in 0..2 {
            let x = planes.words::<8>(b, 3, h);
            unrolled!(k in [0, 1, 2, 3] {
                let codes = each!(8, |w| l.and(two_bits(l, l.word(&x[w]), k), l.splat_b(3)));
                let word = l.word_n(&scales[2 * h + k / 2]);
                let byte = |i: usize| (8 * (k % 2 * 2 + i)) as u32;
                let d = each!(2, |i| l.mul(d, l.bits_n(word, byte(i), 15)));
                let m = each!(2, |i| l.mul(dmin, l.bits_n(word, byte(i) + 4, 15)));
                sink.take(l, 8 * b + 4 * h + k, Group { codes, d, m });
            });
        }
    }
}
