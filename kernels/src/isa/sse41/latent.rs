//! Latent rows in registers of 16 bytes: a line is four of them, four rows each. As on AVX2 (`isa/avx2/latent.rs`), at half the width.

use super::{Sse41, dot, fours, load16, widen_sums};
use crate::op::latent::Line;
use crate::simd::{Simd, each};
use core::arch::x86_64::*;

/// Sixteen rows with some columns, eight rows at a time. With `PLANES` the columns are unsigned and of 6 bits.
#[inline(always)]
pub(super) fn many<const R: usize, const T: usize, const PLANES: bool>(
    s: Sse41,
    w: [&[Line]; R],
    a: [&[[i8; 4]]; T],
    starts: [i32; T],
) -> [[[[__m128; 2]; 2]; R]; T] {
    let w = each!(R, |r| w[r].as_chunks::<4>().0);
    let n = w[0].len();
    let w = each!(R, |r| &w[r][..n]);
    let a = each!(T, |t| &a[t].as_chunks::<4>().0[..n]);
    let mut out = [[[s.splat(0.0); 2]; R]; T];
    // SAFETY: the token proves SSE4.1.
    unsafe {
        for r in 0..R {
            for half in 0..2 {
                let mut sums = each!(T, |t| [_mm_set1_epi32(starts[t]); 2]);
                for j in 0..n {
                    for t in 0..T {
                        let a = fours(&a[t][j]);
                        for q in 0..2 {
                            if PLANES {
                                // Two steps at a time: 2 * 2 * 63 * 127 = 32004 fits i16.
                                for k in [0, 2] {
                                    let both = _mm_add_epi16(
                                        _mm_maddubs_epi16(
                                            a[k],
                                            load16(&w[r][j][k].0.as_chunks::<16>().0[2 * half + q]),
                                        ),
                                        _mm_maddubs_epi16(
                                            a[k + 1],
                                            load16(
                                                &w[r][j][k + 1].0.as_chunks::<16>().0[2 * half + q],
                                            ),
                                        ),
                                    );
                                    sums[t][q] = _mm_add_epi32(sums[t][q], widen_sums(both));
                                }
                            } else {
                                for k in 0..4 {
                                    let w = load16(&w[r][j][k].0.as_chunks::<16>().0[2 * half + q]);
                                    let four = dot(_mm_abs_epi8(w), _mm_sign_epi8(a[k], w));
                                    sums[t][q] = _mm_add_epi32(sums[t][q], four);
                                }
                            }
                        }
                    }
                }
                for t in 0..T {
                    out[t][r][half] = each!(2, |q| _mm_cvtepi32_ps(sums[t][q]));
                }
            }
        }
    }
    out
}

/// Four rows of four columns turned around.
const TURN: [u8; 16] = [0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15];

/// See [`Simd::turn`].
#[inline(always)]
pub(super) fn turn(_: Sse41, x: &[Line; 4], out: &mut [Line; 4]) {
    let order = load16(&TURN);
    for i in 0..4 {
        for j in 0..4 {
            let x = load16(&x[i].0.as_chunks::<16>().0[j]);
            let out = &mut out[j].0.as_chunks_mut::<16>().0[i];
            // SAFETY: the token proves SSSE3; the array is as long as the store.
            unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), _mm_shuffle_epi8(x, order)) }
        }
    }
}

/// See [`Simd::planes`].
#[inline(always)]
pub(super) fn planes(_: Sse41, x: [[__m128; 2]; 4], high: &mut [i8; 32], low: &mut [i8; 32]) {
    let high = high.as_chunks_mut::<16>().0;
    let low = low.as_chunks_mut::<16>().0;
    let mask = (1 << Sse41::PLANE) - 1;
    // SAFETY: the token proves SSE4.1; the arrays are as long as the stores.
    unsafe {
        let by = _mm_cvtsi32_si128(Sse41::PLANE.cast_signed());
        let mask = _mm_set1_epi16(mask);
        for k in 0..2 {
            let [a, b] = each!(2, |i| {
                let [x, y] = x[2 * k + i];
                _mm_packs_epi32(_mm_cvtps_epi32(x), _mm_cvtps_epi32(y))
            });
            let of_high = _mm_packus_epi16(_mm_srl_epi16(a, by), _mm_srl_epi16(b, by));
            let of_low = _mm_packus_epi16(_mm_and_si128(a, mask), _mm_and_si128(b, mask));
            _mm_storeu_si128(high[k].as_mut_ptr().cast(), of_high);
            _mm_storeu_si128(low[k].as_mut_ptr().cast(), of_low);
        }
    }
}
