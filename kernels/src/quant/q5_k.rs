//! `Q5_K`: 256 weights of 5 bits in eight blocks, each above a minimum, in 176 bytes (5.5 bits a weight).
//!
//! ```text
//!   0 d: f16 | 2 dmin: f16 | 4 scales, mins: 8 + 8 of 6 bits | 16 qh: 32 bytes | 48 qs: 128 bytes
//!     weight i of block j = d * scale_j * q - dmin * min_j
//!     32 bytes of qs hold two blocks: the low nibbles block 2p, the high ones block 2p + 1
//!     bit j of qh[l] is bit 4 of weight l of block j
//! ```

use super::blocks::{decode_blocks, f16_at, field, u16_at};
use super::k::{K, Supers, products, put_scales_mins, scales_mins, scales_mins_of_rows};
use super::search::line::Trials;
use super::search::{encode_blocks, put_f16, put_nibble_pairs, super_line};
use super::{Quant, Tiled};
use crate::lanes::Lanes;
use crate::op::acts::Act;
use crate::simd::{Simd, each};
use crate::tile::{Codes, Field, Group, Planes, Sink};

/// See the head of this file.
pub(crate) struct Q5K;

const BYTES: usize = 176;
const D: usize = 0;
const DMIN: usize = 2;
const SCALES: usize = 4;
const QH: usize = 16;
const QS: usize = 48;
const _: () = assert!(
    SCALES + 12 == QH && QH + 32 == QS && QS + 128 == BYTES,
    "fields fill the block"
);

/// The range is tried as 16 to 33 steps.
const TRIALS: Trials = Trials {
    top: 31.0,
    under: 15.0,
    over: 2.0,
    step: 0.5,
    sunk: true,
};

impl Quant for Q5K {
    const BLOCK: usize = K;
    const BYTES: usize = BYTES;
    const INT8: bool = true;

    fn decode(bytes: &[u8], out: &mut [f32]) {
        decode_blocks::<BYTES, K>(bytes, out, |block, out| {
            let (d, dmin) = (f16_at(block, D), f16_at(block, DMIN));
            let (scales, mins) = scales_mins(block, SCALES);
            for (j, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
                let (d, m) = (d * f32::from(scales[j]), dmin * f32::from(mins[j]));
                for (l, out) in out.iter_mut().enumerate() {
                    let nibble = block[QS + 32 * (j / 2) + l] >> (4 * (j % 2)) & 15;
                    let fifth = block[QH + l] >> j & 1;
                    *out = d * f32::from(nibble | fifth << 4) - m;
                }
            }
        });
    }

    fn encode(x: &[f32], importance: Option<&[f32]>, out: &mut [u8]) {
        encode_blocks::<BYTES, K>(x, importance, out, |unit, out| {
            let block = super_line::encode::<32, 8>(unit, TRIALS, 63.0);
            put_f16(out, D, block.d);
            put_f16(out, DMIN, block.dmin);
            put_scales_mins(&block.scales, &block.mins, &mut out[SCALES..]);
            out[QH..QS].fill(0);
            for (j, q) in block.codes.as_chunks::<32>().0.iter().enumerate() {
                for (l, q) in q.iter().enumerate() {
                    out[QH + l] |= (q >> 4) << j;
                }
            }
            put_nibble_pairs(&block.codes, &mut out[QS..]);
        });
    }

    #[inline(always)]
    fn dot<S: Simd, const T: usize>(s: S, row: &[u8], acts: &[Act<'_>; T]) -> [f32; T] {
        let blocks = row.as_chunks::<BYTES>().0;
        let acts = Supers::of(acts, blocks.len());
        let (mut sums, mut mins) = ([s.zero(); T], [s.splat(0.0); T]);
        for (i, block) in blocks.iter().enumerate() {
            let (scales, lows) = scales_mins(block, SCALES);
            let scales = s.mul(s.widen_u8(&scales), s.splat(s.f16(u16_at(block, D))));
            let lows = s.mul(s.widen_u8(&lows), s.splat(-s.f16(u16_at(block, DMIN))));
            let mut factors = [[0.0; 8]; T];
            for t in 0..T {
                factors[t] = products(s, scales, &acts[t].d[i]);
                mins[t] = s.fma(lows, s.load(&acts[t].s32[i]), mins[t]);
            }
            let qh = s.bytes(field(block, QH));
            for p in 0..4 {
                let x = s.bytes(field(block, QS + 32 * p));
                let fifth = |j: usize| s.and(s.test(qh, s.splat_b(1 << j)), s.splat_b(16));
                let low = s.or(s.and(x, s.splat_b(15)), fifth(2 * p));
                let high = s.or(s.shr::<4>(x), fifth(2 * p + 1));
                for t in 0..T {
                    let a = &acts[t].q[i];
                    sums[t] = s.mac(sums[t], s.dot_u6(low, s.acts(&a[2 * p])), factors[t][2 * p]);
                    sums[t] = s.mac(
                        sums[t],
                        s.dot_u6(high, s.acts(&a[2 * p + 1])),
                        factors[t][2 * p + 1],
                    );
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

impl Tiled for Q5K {
    const FIELDS: &'static [Field] = &[
        Field::half(D),
        Field::half(DMIN),
        Field::words(SCALES, 3),
        Field::words(QH, 8),
        Field::words(QS, 32),
    ];
    const CODES: Codes = Codes::U6;
    const HALVES: bool = false;
    const MIN: bool = true;
    const ABOVE: u8 = 0;
    const RANGE: (i32, i32) = (0, 31);
    const ONCE: bool = false;

    #[inline(always)]
    fn groups<L: Lanes>(l: L, planes: &Planes<'_, Self>, b: usize, sink: &mut impl Sink<L>) {
        let d = l.half_f(planes.half(b, 0));
        let dmin = l.half_f(planes.half(b, 1));
        let (d, m) = scales_mins_of_rows(l, planes.words(b, 2, 0), d, dmin);
        let fifth = planes.words::<8>(b, 3, 0);
        for p in 0..4 {
            let x = planes.words::<8>(b, 4, p);
            let fifth = |w: usize, j: usize| l.choose(l.word(&fifth[w]), 1 << j, 16);
            let low = each!(8, |w| {
                let low = l.and(l.word(&x[w]), l.splat_b(15));
                l.or(low, fifth(w, 2 * p))
            });
            let high = each!(8, |w| l.or(l.shr::<4>(l.word(&x[w])), fifth(w, 2 * p + 1)));
            for (j, codes) in [(2 * p, low), (2 * p + 1, high)] {
                sink.take(l, 8 * b + j, Group::new(codes, d[j], m[j]));
            }
        }
    }
}
