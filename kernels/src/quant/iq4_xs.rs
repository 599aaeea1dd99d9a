//! `IQ4_XS`: 256 weights of 4 bits through the table of `IQ4_NL`, a 6-bit scale around 32 for every 32, in 136 bytes (4.25 bits a
//! weight).
//!
//! ```text
//!   0 d: f16 | 2 scales_h: u16 | 4 scales_l: 4 bytes | 8 qs: 128 bytes
//!     weight i of block j = d * (scale_j - 32) * TABLE[q_i]; 16 bytes a block, low nibbles 0..15, high ones 16..31
//!     scale j: low four bits nibble j of scales_l, high two bits bits 2j, 2j+1 of scales_h
//! ```

use super::blocks::{decode_blocks, f16_at, field, nibble, u16_at, u32_at};
use super::iq4_nl::{Steps, TABLE, TRIALS, biased_table};
use super::k::{K, Supers, products};
use super::search::{encode_blocks, put_f16, put_nibbles, super_scale};
use super::{Quant, Tiled};
use crate::lanes::Lanes;
use crate::op::acts::Act;
use crate::simd::{Simd, each};
use crate::tile::{Codes, Field, Group, Planes, Sink, nibbles};

/// See the head of this file.
pub(crate) struct Iq4Xs;

const BYTES: usize = 136;
const D: usize = 0;
const SCALES_H: usize = 2;
const SCALES_L: usize = 4;
const QS: usize = 8;
const _: () = assert!(
    SCALES_L + 4 == QS && QS + 128 == BYTES,
    "fields fill the block"
);

/// The eight scales, less 32.
#[inline(always)]
fn scales(block: &[u8; BYTES]) -> [i8; 8] {
    let (high, low) = (u16_at(block, SCALES_H), u32_at(block, SCALES_L));
    core::array::from_fn(|j| {
        let scale = (low >> (4 * j) & 15) as i8 | ((high >> (2 * j) & 3) as i8) << 4;
        scale - 32
    })
}

impl Quant for Iq4Xs {
    const BLOCK: usize = K;
    const BYTES: usize = BYTES;
    const INT8: bool = true;

    fn decode(bytes: &[u8], out: &mut [f32]) {
        decode_blocks::<BYTES, K>(bytes, out, |block, out| {
            let d = f16_at(block, D);
            let scales = scales(block);
            for (j, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
                let d = d * f32::from(scales[j]);
                for (i, out) in out.iter_mut().enumerate() {
                    *out = d * f32::from(TABLE[usize::from(nibble(&block[QS + 16 * j..], i))]);
                }
            }
        });
    }

    fn encode(x: &[f32], importance: Option<&[f32]>, out: &mut [u8]) {
        encode_blocks::<BYTES, K>(x, importance, out, |unit, out| {
            let block = super_scale::encode::<Steps, 32, 8>(unit, TRIALS, 32);
            put_f16(out, D, block.d);
            let (mut high, mut low) = (0_u16, 0_u32);
            for (j, scale) in block.scales.iter().enumerate() {
                let scale = (scale + 32).cast_unsigned();
                high |= u16::from(scale >> 4) << (2 * j);
                low |= u32::from(scale & 15) << (4 * j);
            }
            out[SCALES_H..SCALES_L].copy_from_slice(&high.to_le_bytes());
            out[SCALES_L..QS].copy_from_slice(&low.to_le_bytes());
            for (j, q) in block.codes.as_chunks::<32>().0.iter().enumerate() {
                put_nibbles(q, &mut out[QS + 16 * j..][..16]);
            }
        });
    }

    #[inline(always)]
    fn dot<S: Simd, const T: usize>(s: S, row: &[u8], acts: &[Act<'_>; T]) -> [f32; T] {
        let blocks = row.as_chunks::<BYTES>().0;
        let acts = Supers::of(acts, blocks.len());
        let mut sums = [s.zero(); T];
        for (i, block) in blocks.iter().enumerate() {
            let scales = s.mul(s.widen_i8(&scales(block)), s.splat(s.f16(u16_at(block, D))));
            let mut factors = [[0.0; 8]; T];
            for t in 0..T {
                factors[t] = products(s, scales, &acts[t].d[i]);
            }
            for j in 0..8 {
                let c = s.table(&TABLE, s.nibbles(field(block, QS + 16 * j)));
                for t in 0..T {
                    let a = s.acts(&acts[t].q[i][j]);
                    sums[t] = s.mac(sums[t], s.dot_i8(c, a), factors[t][j]);
                }
            }
        }
        let mut out = [0.0; T];
        for t in 0..T {
            out[t] = s.sum_a(sums[t]);
        }
        out
    }
}

impl Tiled for Iq4Xs {
    const FIELDS: &'static [Field] = &[
        Field::half(D),
        Field::half(SCALES_H),
        Field::words(SCALES_L, 1),
        Field::words(QS, 32),
    ];
    const CODES: Codes = Codes::I8;
    const HALVES: bool = false;
    const MIN: bool = false;
    const ABOVE: u8 = 0;
    const RANGE: (i32, i32) = (-127, 113);
    const ONCE: bool = true;

    #[inline(always)]
    fn groups<L: Lanes>(l: L, planes: &Planes<'_, Self>, b: usize, sink: &mut impl Sink<L>) {
        let d = l.half_f(planes.half(b, 0));
        let low = l.word_n(&planes.words::<1>(b, 2, 0)[0]);
        let high = l.half_n(planes.half(b, 1));
        for j in 0..8 {
            let shift = j as u32;
            let scale = l.fma(
                l.bits_n(high, 2 * shift, 3),
                l.splat(16.0),
                l.bits_n(low, 4 * shift, 15),
            );
            let d = l.mul(d, l.sub(scale, l.splat(32.0)));
            let q = nibbles(l, planes.words(b, 3, j));
            let codes = each!(8, |w| l.table(biased_table(L::BIAS), q[w]));
            sink.take(l, 8 * b + j, Group::symmetric(codes, d));
        }
    }
}
