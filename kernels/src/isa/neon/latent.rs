//! Latent rows on NEON: a line is four registers, four rows each.
//!
//! Without dot products, bytes are multiplied to i16 and added two neighbours at a time to i32. Two products of 127 * 127 fit i16, four of
//! 63 * 127 do, so the planes of the mix have 6 bits and need half as many of these additions, which have a pipe of their own on Cortex-A72.

use super::{Products, Widening};
use crate::op::latent::Line;
use crate::simd::each;
use core::arch::aarch64::*;

/// Sixteen rows with some columns, eight rows at a time; the products of `F` lines fit i16.
#[inline(always)]
pub(super) fn many<const F: usize, const R: usize, const T: usize>(
    _: Widening,
    w: [&[Line]; R],
    a: [&[[i8; 4]]; T],
    starts: [i32; T],
) -> [[[[float32x4_t; 2]; 2]; R]; T] {
    let w = each!(R, |r| w[r].as_chunks::<F>().0);
    let n = w[0].len();
    let w = each!(R, |r| &w[r][..n]);
    let a = each!(T, |t| &a[t].as_chunks::<F>().0[..n]);
    // SAFETY: the token proves NEON; the arrays are as long as the loads.
    unsafe {
        let mut out = [[[[vdupq_n_f32(0.0); 2]; 2]; R]; T];
        for r in 0..R {
            for half in 0..2 {
                // Of each column and four rows: sums of two neighbours, for two rows each.
                let mut sums = [[[vdupq_n_s32(0); 2]; 2]; T];
                for j in 0..n {
                    let w = each!(2, |q| each!(F, |k| {
                        let quarters = w[r][j][k].0.as_chunks::<16>().0;
                        vld1q_s8(quarters[2 * half + q].as_ptr().cast())
                    }));
                    for t in 0..T {
                        let a = each!(F, |k| {
                            let four = i32::from_le_bytes(a[t][j][k].map(i8::cast_unsigned));
                            vreinterpretq_s8_s32(vdupq_n_s32(four))
                        });
                        for q in 0..2 {
                            let mut low = vmull_s8(vget_low_s8(w[q][0]), vget_low_s8(a[0]));
                            let mut high = vmull_high_s8(w[q][0], a[0]);
                            for k in 1..F {
                                low = vmlal_s8(low, vget_low_s8(w[q][k]), vget_low_s8(a[k]));
                                high = vmlal_high_s8(high, w[q][k], a[k]);
                            }
                            sums[t][q][0] = vpadalq_s16(sums[t][q][0], low);
                            sums[t][q][1] = vpadalq_s16(sums[t][q][1], high);
                        }
                    }
                }
                for t in 0..T {
                    out[t][r][half] = each!(2, |q| {
                        let sum = vpaddq_s32(sums[t][q][0], sums[t][q][1]);
                        vcvtq_f32_s32(vaddq_s32(sum, vdupq_n_s32(starts[t])))
                    });
                }
            }
        }
        out
    }
}

/// Four rows of four columns turned around.
const TURN: [u8; 16] = [0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15];

/// See [`crate::simd::Simd::turn`].
#[inline(always)]
pub(super) fn turn<P: Products>(_: P, x: &[Line; 4], out: &mut [Line; 4]) {
    // SAFETY: the token proves NEON; the arrays are as long as loads and stores.
    unsafe {
        let order = vld1q_u8(TURN.as_ptr());
        for i in 0..4 {
            for j in 0..4 {
                let x = vld1q_u8(x[i].0.as_chunks::<16>().0[j].as_ptr());
                let out = &mut out[j].0.as_chunks_mut::<16>().0[i];
                vst1q_u8(out.as_mut_ptr(), vqtbl1q_u8(x, order));
            }
        }
    }
}

/// See [`crate::simd::Simd::planes`].
#[inline(always)]
pub(super) fn planes<P: Products>(
    _: P,
    x: [[float32x4_t; 2]; 4],
    high: &mut [i8; 32],
    low: &mut [i8; 32],
) {
    let high = high.as_chunks_mut::<8>().0;
    let low = low.as_chunks_mut::<8>().0;
    // SAFETY: the token proves NEON; the arrays are as long as the stores.
    unsafe {
        let by = vdupq_n_s16(-(P::PLANE.cast_signed() as i16));
        let mask = vdupq_n_s16((1 << P::PLANE) - 1);
        for k in 0..4 {
            let n = vcombine_s16(
                vmovn_s32(vcvtnq_s32_f32(x[k][0])),
                vmovn_s32(vcvtnq_s32_f32(x[k][1])),
            );
            vst1_s8(high[k].as_mut_ptr(), vmovn_s16(vshlq_s16(n, by)));
            vst1_s8(low[k].as_mut_ptr(), vmovn_s16(vandq_s16(n, mask)));
        }
    }
}
