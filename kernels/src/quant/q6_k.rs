//! `Q6_K`: 256 weights of 6 bits around 32, a signed 8-bit scale for every 16, in 210 bytes (6.5625 bits a weight).
//!
//! ```text
//!   0 ql: 128 bytes | 128 qh: 64 bytes | 192 scales: 16 x i8 | 208 d: f16
//!     weight l of block k of half h (each half four blocks of 32) = d * scales[8h + 2k + l/16] * (q - 32)
//!     low four bits: k = 0, 1 the low nibbles of ql[64h + 32k + l], k = 2, 3 the high ones of ql[64h + 32(k-2) + l]
//!     high two bits: bits 2k, 2k+1 of qh[32h + l]
//! ```
//!
//! The products stay unsigned; the offset of 32 is taken off through the activations' sums per 16.

use super::blocks::{decode_blocks, f16_at, field, u16_at};
use super::k::{K, Supers, offsets, products, split};
use super::search::scale::{Integers, Trials};
use super::search::{encode_blocks, put_f16, super_scale};
use super::{Quant, Tiled};
use crate::lanes::Lanes;
use crate::op::acts::Act;
use crate::simd::{Simd, each, unrolled};
use crate::tile::{Codes, Field, Planes, Sink, SixBits};

/// See the head of this file.
pub(crate) struct Q6K;

const BYTES: usize = 210;
const QL: usize = 0;
const QH: usize = 128;
const SCALES: usize = 192;
const D: usize = 208;
const _: () = assert!(
    QL + 128 == QH && QH + 64 == SCALES && SCALES + 16 == D && D + 2 == BYTES,
    "fields fill the block"
);

/// The largest weight between level 16 and 34, past the end of 32.
const TRIALS: Trials = Trials {
    from: 0.5,
    to: 1.0625,
    step: 0.5,
};

impl Quant for Q6K {
    const BLOCK: usize = K;
    const BYTES: usize = BYTES;
    const INT8: bool = true;

    fn decode(bytes: &[u8], out: &mut [f32]) {
        decode_blocks::<BYTES, K>(bytes, out, |block, out| {
            let d = f16_at(block, D);
            for (i, out) in out.iter_mut().enumerate() {
                let (h, k, l) = (i / 128, i / 32 % 4, i % 32);
                let low = block[QL + 64 * h + 32 * (k % 2) + l] >> (4 * (k / 2)) & 15;
                let high = block[QH + 32 * h + l] >> (2 * k) & 3;
                let scale = f32::from(block[SCALES + i / 16] as i8);
                *out = d * scale * (f32::from(low | high << 4) - 32.0);
            }
        });
    }

    fn encode(x: &[f32], importance: Option<&[f32]>, out: &mut [u8]) {
        encode_blocks::<BYTES, K>(x, importance, out, |unit, out| {
            let block = super_scale::encode::<Integers<-32, 31>, 16, 16>(unit, TRIALS, 128);
            out[..SCALES].fill(0);
            for (i, q) in block.codes.iter().enumerate() {
                let (h, k, l) = (i / 128, i / 32 % 4, i % 32);
                out[QL + 64 * h + 32 * (k % 2) + l] |= (q & 15) << (4 * (k / 2));
                out[QH + 32 * h + l] |= (q >> 4) << (2 * k);
            }
            for (out, scale) in out[SCALES..D].iter_mut().zip(block.scales) {
                *out = scale.cast_unsigned();
            }
            put_f16(out, D, block.d);
        });
    }

    #[inline(always)]
    fn dot<S: Simd, const T: usize>(s: S, row: &[u8], acts: &[Act<'_>; T]) -> [f32; T] {
        let blocks = row.as_chunks::<BYTES>().0;
        let acts = Supers::of(acts, blocks.len());
        let (mut sums, mut mins) = ([s.zero(); T], [s.splat(0.0); T]);
        for (i, block) in blocks.iter().enumerate() {
            let d = s.f16(u16_at(block, D));
            let bytes: [i8; 16] = field(block, SCALES).map(u8::cast_signed);
            let scales = s.scales(&bytes);
            let offset = split(&bytes).map(|x| s.mul(s.widen_i8(x), s.splat(-32.0 * d)));
            let mut factors = [[0.0; 8]; T];
            for t in 0..T {
                factors[t] = products(s, s.splat(d), &acts[t].d[i]);
                mins[t] = offsets(s, mins[t], offset, &acts[t].s16[i]);
            }
            for h in 0..2 {
                let (a, b) = (
                    s.bytes(field(block, QL + 64 * h)),
                    s.bytes(field(block, QL + 64 * h + 32)),
                );
                let qh = s.bytes(field(block, QH + 32 * h));
                let (low, high) = (s.splat_b(15), s.splat_b(0x30));
                let q = [
                    s.or(s.and(a, low), s.and(s.shl::<4>(qh), high)),
                    s.or(s.and(b, low), s.and(s.shl::<2>(qh), high)),
                    s.or(s.shr::<4>(a), s.and(qh, high)),
                    s.or(s.shr::<4>(b), s.and(s.shr::<2>(qh), high)),
                ];
                for k in 0..4 {
                    let j = 4 * h + k;
                    for t in 0..T {
                        let a = s.acts(&acts[t].q[i][j]);
                        sums[t] = s.mac(sums[t], s.dot_halves(q[k], a, scales, j), factors[t][j]);
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

impl Tiled for Q6K {
    const FIELDS: &'static [Field] = &[
        Field::half(D),
        Field::words(SCALES, 4),
        // A half: the nibbles of two blocks, the high bits of all four, the nibbles of the other two.
        Field::words(QL, 8),
        Field::words(QH, 8),
        Field::words(QL + 32, 8),
        Field::words(QL + 64, 8),
        Field::words(QH + 32, 8),
        Field::words(QL + 96, 8),
    ];
    const CODES: Codes = Codes::U6;
    const HALVES: bool = true;
    const MIN: bool = false;
    const ABOVE: u8 = 32;
    const RANGE: (i32, i32) = (-32, 31);
    const ONCE: bool = false;

    #[inline(always)]
    fn groups<L: Lanes>(l: L, planes: &Planes<'_, Self>, b: usize, sink: &mut impl Sink<L>) {
        let d = l.half_f(planes.half(b, 0));
        let scales = planes.words::<4>(b, 1, 0);
        for h in 0..2 {
            let high = planes.words::<8>(b, 3 + 3 * h, 0);
            unrolled!(k in [0, 1, 2, 3] {
                let low = planes.words::<8>(b, 2 + 3 * h + k % 2 * 2, 0);
                let word = l.word_n(&scales[2 * h + k / 2]);
                let d = each!(2, |i| l.mul(d, l.byte_n(word, (k % 2 * 2 + i) as u32)));
                let (g, words) = (8 * b + 4 * h + k, SixBits { low, high });
                match k {
                    0 => sink.take_six::<0>(l, g, words, d),
                    1 => sink.take_six::<1>(l, g, words, d),
                    2 => sink.take_six::<2>(l, g, words, d),
                    _ => sink.take_six::<3>(l, g, words, d),
                }
            });
        }
    }
}
