//! `Q4_K`: 256 weights of 4 bits in eight blocks, each above a minimum, in 144 bytes (4.5 bits a weight).
//!
//! ```text
//!   0 d: f16 | 2 dmin: f16 | 4 scales, mins: 8 + 8 of 6 bits | 16 qs: 128 bytes
//!     weight i of block j = d * scale_j * q - dmin * min_j
//!     32 bytes of qs hold two blocks: the low nibbles block 2p, the high ones block 2p + 1
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
pub(crate) struct Q4K;

const BYTES: usize = 144;
const D: usize = 0;
const DMIN: usize = 2;
const SCALES: usize = 4;
const QS: usize = 16;
const _: () = assert!(
    SCALES + 12 == QS && QS + 128 == BYTES,
    "fields fill the block"
);

/// The range is tried as 8 to 17 steps.
const TRIALS: Trials = Trials {
    top: 15.0,
    under: 7.0,
    over: 2.0,
    step: 0.5,
    sunk: true,
};

impl Quant for Q4K {
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
                    let q = block[QS + 32 * (j / 2) + l] >> (4 * (j % 2)) & 15;
                    *out = d * f32::from(q) - m;
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
            for p in 0..4 {
                let x = s.bytes(field(block, QS + 32 * p));
                let (low, high) = (s.and(x, s.splat_b(15)), s.shr::<4>(x));
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

impl Tiled for Q4K {
    const FIELDS: &'static [Field] = &[
        Field::half(D),
        Field::half(DMIN),
        Field::words(SCALES, 3),
        Field::words(QS, 32),
    ];
    const CODES: Codes = Codes::U4;
    const HALVES: bool = false;
    const MIN: bool = true;
    const ABOVE: u8 = 0;
    const RANGE: (i32, i32) = (0, 15);
    const ONCE: bool = true;

    #[inline(always)]
    fn groups<L: Lanes>(l: L, planes: &Planes<'_, Self>, b: usize, sink: &mut impl Sink<L>) {
        let d = l.half_f(planes.half(b, 0));
        let dmin = l.half_f(planes.half(b, 1));
        let (d, m) = scales_mins_of_rows(l, planes.words(b, 2, 0), d, dmin);
        for p in 0..4 {
            let x = planes.words::<8>(b, 3, p);
            let low = each!(8, |w| l.and(l.word(&x[w]), l.splat_b(15)));
            let high = each!(8, |w| l.shr::<4>(l.word(&x[w])));
            for (j, codes) in [(2 * p, low), (2 * p + 1, high)] {
                sink.take(l, 8 * b + j, Group::new(codes, d[j], m[j]));
            }
        }
    }
}
