//! Latent rows in registers of 64 bytes: a line is one of them, sixteen rows.
//!
//! Two lines meet eight columns: sixteen sums, enough to hide how long `vpdpbusd` takes, at two lines and eight broadcasts, all of them
//! from memory, for sixteen products.

use super::Evex;
use crate::op::latent::Line;
use crate::simd::each;
use core::arch::x86_64::*;

/// See [`crate::simd::Simd::COLUMNS`].
pub(super) const COLUMNS: usize = 8;
/// See [`crate::simd::Simd::TILES`].
pub(super) const TILES: usize = 2;
/// See [`crate::simd::Simd::LATENT_RATE`].
pub(super) const RATE: usize = 50;

/// The line.
#[inline(always)]
fn load(_: Evex, x: &Line) -> __m512i {
    // SAFETY: the token proves AVX-512; the array is as long as the load.
    unsafe { _mm512_loadu_si512(x.0.as_ptr().cast()) }
}

/// Sixteen rows with some columns. `PLANES` tells which of the two is unsigned.
#[inline(always)]
pub(super) fn many<const R: usize, const T: usize, const PLANES: bool>(
    evex: Evex,
    w: [&[Line]; R],
    a: [&[[i8; 4]]; T],
    starts: [i32; T],
) -> [[[__m256; 2]; R]; T] {
    let n = w[0].len();
    let (w, a) = (each!(R, |r| &w[r][..n]), each!(T, |t| &a[t][..n]));
    // SAFETY: the token proves AVX-512-VNNI.
    unsafe {
        let mut sums = each!(T, |t| [_mm512_set1_epi32(starts[t]); R]);
        for j in 0..n {
            let w = each!(R, |r| load(evex, &w[r][j]));
            for t in 0..T {
                let four = i32::from_le_bytes(a[t][j].map(i8::cast_unsigned));
                let a = _mm512_set1_epi32(four);
                for r in 0..R {
                    let (u, i) = if PLANES { (a, w[r]) } else { (w[r], a) };
                    sums[t][r] = _mm512_dpbusd_epi32(sums[t][r], u, i);
                }
            }
        }
        each!(T, |t| each!(R, |r| {
            let x = _mm512_castps_pd(_mm512_cvtepi32_ps(sums[t][r]));
            [
                _mm256_castpd_ps(_mm512_castpd512_pd256(x)),
                _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(x)),
            ]
        }))
    }
}

/// Four rows of four columns turned around, in each 16 bytes.
const TURN: [u8; 16] = [0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15];

/// See [`crate::simd::Simd::turn`]: 16 bytes turn, and four times four of 16 bytes change places.
#[inline(always)]
pub(super) fn turn(evex: Evex, x: &[Line; 4], out: &mut [Line; 4]) {
    // SAFETY: the token proves AVX-512; the arrays are as long as loads and stores.
    unsafe {
        let order = _mm512_broadcast_i32x4(_mm_loadu_si128(TURN.as_ptr().cast()));
        let bias = _mm512_set1_epi8(-128);
        let x = each!(4, |i| {
            _mm512_xor_si512(_mm512_shuffle_epi8(load(evex, &x[i]), order), bias)
        });
        let low = [
            _mm512_shuffle_i32x4::<0x44>(x[0], x[1]),
            _mm512_shuffle_i32x4::<0x44>(x[2], x[3]),
        ];
        let high = [
            _mm512_shuffle_i32x4::<0xee>(x[0], x[1]),
            _mm512_shuffle_i32x4::<0xee>(x[2], x[3]),
        ];
        let turned = [
            _mm512_shuffle_i32x4::<0x88>(low[0], low[1]),
            _mm512_shuffle_i32x4::<0xdd>(low[0], low[1]),
            _mm512_shuffle_i32x4::<0x88>(high[0], high[1]),
            _mm512_shuffle_i32x4::<0xdd>(high[0], high[1]),
        ];
        for (x, out) in turned.into_iter().zip(out) {
            _mm512_storeu_si512(out.0.as_mut_ptr().cast(), x);
        }
    }
}
