//! `Q3_K`: 256 weights of 3 bits around 4, a 6-bit scale around 32 for every 16, in 110 bytes (3.4375 bits a weight).
//!
//! ```text
//!   0 hmask: 32 bytes | 32 qs: 64 bytes | 96 scales: 16 of 6 bits in 12 bytes | 108 d: f16
//!     weight l of block k of half h (each half four blocks of 32) = d * (scale[8h + 2k + l/16] - 32) * (q - 4)
//!     low two bits: bits 2k, 2k+1 of qs[32h + l];  high bit: bit 4h + k of hmask[l]
//!     scale j: low four bits the nibbles of bytes 0-7 (low ones 0-7, high ones 8-15),
//!              high two bits bits 2(j/4), 2(j/4)+1 of byte 8 + j%4
//! ```
//!
//! The products stay unsigned; the offset of 4 is taken off through the activations' sums per 16.

use super::blocks::{decode_blocks, f16_at, field, u16_at, u32_at};
use super::k::{K, Supers, offsets, products, split, two_bits};
use super::search::scale::{Integers, Trials};
use super::search::{encode_blocks, put_f16, super_scale};
use super::{Quant, Tiled};
use crate::lanes::Lanes;
use crate::op::acts::Act;
use crate::simd::{Simd, each};
use crate::tile::{Codes, Field, Group, Planes, Sink};

/// See the head of this file.
pub(crate) struct Q3K;

const BYTES: usize = 110;
const HMASK: usize = 0;
const QS: usize = 32;
const SCALES: usize = 96;
const D: usize = 108;
const _: () = assert!(
    HMASK + 32 == QS && QS + 64 == SCALES && SCALES + 12 == D && D + 2 == BYTES,
    "fields fill the block"
);

/// The 16 scales, less 32.
#[inline(always)]
fn scales(block: &[u8; BYTES]) -> [i8; 16] {
    const FOUR: u32 = 0x0f0f_0f0f;
    const TWO: u32 = 0x0303_0303;
    let (a, b, c) = (
        u32_at(block, SCALES),
        u32_at(block, SCALES + 4),
        u32_at(block, SCALES + 8),
    );
    let words = [
        a & FOUR | (c & TWO) << 4,
        b & FOUR | (c >> 2 & TWO) << 4,
        a >> 4 & FOUR | (c >> 4 & TWO) << 4,
        b >> 4 & FOUR | (c >> 6 & TWO) << 4,
    ];
    let mut out = [0; 16];
    for (out, word) in out.as_chunks_mut::<4>().0.iter_mut().zip(words) {
        *out = word.to_le_bytes().map(|v| v.wrapping_sub(32).cast_signed());
    }
    out
}

/// Eight levels: up to a quarter of the range is cut.
const TRIALS: Trials = Trials {
    from: 0.5,
    to: 1.25,
    step: 0.125,
};

impl Quant for Q3K {
    const BLOCK: usize = K;
    const BYTES: usize = BYTES;
    const INT8: bool = true;

    fn decode(bytes: &[u8], out: &mut [f32]) {
        decode_blocks::<BYTES, K>(bytes, out, |block, out| {
            let d = f16_at(block, D);
            let scales = scales(block);
            for (i, out) in out.iter_mut().enumerate() {
                let (h, k, l) = (i / 128, i / 32 % 4, i % 32);
                let low = block[QS + 32 * h + l] >> (2 * k) & 3;
                let high = block[HMASK + l] >> (4 * h + k) & 1;
                *out = d * f32::from(scales[i / 16]) * (f32::from(low | high << 2) - 4.0);
            }
        });
    }

    fn encode(x: &[f32], importance: Option<&[f32]>, out: &mut [u8]) {
        encode_blocks::<BYTES, K>(x, importance, out, |unit, out| {
            let block = super_scale::encode::<Integers<-4, 3>, 16, 16>(unit, TRIALS, 32);
            out.fill(0);
            for (i, q) in block.codes.iter().enumerate() {
                let (h, k, l) = (i / 128, i / 32 % 4, i % 32);
                out[QS + 32 * h + l] |= (q & 3) << (2 * k);
                out[HMASK + l] |= (q >> 2) << (4 * h + k);
            }
            for (j, scale) in block.scales.iter().enumerate() {
                let scale = (scale + 32).cast_unsigned();
                out[SCALES + j % 8] |= (scale & 15) << (4 * (j / 8));
                out[SCALES + 8 + j % 4] |= (scale >> 4) << (2 * (j / 4));
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
            let bytes = scales(block);
            let scales = s.scales(&bytes);
            let bytes = split(&bytes);
            let offset = each!(2, |i| s.mul(s.widen_i8(bytes[i]), s.splat(-4.0 * d)));
            let mut factors = [[0.0; 8]; T];
            for t in 0..T {
                factors[t] = products(s, s.splat(d), &acts[t].d[i]);
                mins[t] = offsets(s, mins[t], offset, &acts[t].s16[i]);
            }
            let hmask = s.bytes(field(block, HMASK));
            for h in 0..2 {
                let mut x = s.bytes(field(block, QS + 32 * h));
                for k in 0..4 {
                    let j = 4 * h + k;
                    let high = s.and(s.test(hmask, s.splat_b(1 << j)), s.splat_b(4));
                    let q = s.or(s.and(x, s.splat_b(3)), high);
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

impl Tiled for Q3K {
    const FIELDS: &'static [Field] = &[
        Field::half(D),
        Field::words(SCALES, 3),
        Field::words(HMASK, 8),
        Field::words(QS, 16),
    ];
    const CODES: Codes = Codes::U4;
    const HALVES: bool = true;
    const MIN: bool = false;
    const ABOVE: u8 = 4;
    const RANGE: (i32, i32) = (-4, 3);
    const ONCE: bool = false;

    #[inline(always)]
    fn groups<L: Lanes>(l: L, planes: &Planes<'_, Self>, b: usize, sink: &mut impl Sink<L>) {
        let d = l.half_f(planes.half(b, 0));
        let words = planes.words::<3>(b, 1, 0);
        let words = each!(3, |i| l.word_n(&words[i]));
        let hmask = planes.words::<8>(b, 2, 0);
        for h in 0..2 {
            let x = planes.words::<8>(b, 3, h);
            for k in 0..4 {
                let j = 4 * h + k;
                let codes = each!(8, |w| {
                    let low = l.and(two_bits(l, l.word(&x[w]), k), l.splat_b(3));
                    l.or(low, l.choose(l.word(&hmask[w]), 1 << j, 4))
                });
                let d = each!(2, |i| {
                    let (n, byte) = (2 * j + i, (2 * j + i) as u32 % 4 * 8);
                    let low = l.bits_n(words[n / 4 % 2], byte + (n / 8 * 4) as u32, 15);
                    let high = l.bits_n(words[2], byte + (n / 4 * 2) as u32, 3);
                    let scale = l.fma(high, l.splat(16.0), low);
                    l.mul(d, l.sub(scale, l.splat(32.0)))
                });
                sink.take(l, 8 * b + j, Group { codes, d, m: d });
            }
        }
    }
}
