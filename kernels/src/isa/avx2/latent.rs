//! Latent rows in registers of 32 bytes: a line is two of them, eight rows each.
//!
//! `vpmaddubsw` wants one unsigned operand. In scores that is the magnitude of a row's bytes, taken once for all columns, while each
//! column gets their signs; one step fills i16. In the mix it is the column's plane, of 6 bits, so that two steps fit (2 * 2 * 63 * 127 = 32004).

use super::{Maddubs, Products, four};
use crate::op::latent::Line;
use crate::simd::each;
use core::arch::x86_64::*;

/// The two halves of a line.
#[inline(always)]
pub(in crate::isa) fn halves<P: Products>(_: P, x: &Line) -> [__m256i; 2] {
    let x = x.0.as_chunks::<32>().0;
    // SAFETY: the token proves AVX2; the arrays are as long as the loads.
    unsafe {
        [
            _mm256_loadu_si256(x[0].as_ptr().cast()),
            _mm256_loadu_si256(x[1].as_ptr().cast()),
        ]
    }
}

/// See [`crate::simd::Simd::many_i8`].
#[inline(always)]
pub(super) fn many_i8<const R: usize, const T: usize>(
    m: Maddubs,
    w: [&[Line]; R],
    a: [&[[i8; 4]]; T],
    starts: [i32; T],
) -> [[[__m256; 2]; R]; T] {
    let n = w[0].len();
    let (w, a) = (each!(R, |r| &w[r][..n]), each!(T, |t| &a[t][..n]));
    // SAFETY: the token proves AVX2.
    unsafe {
        let mut sums = each!(T, |t| [[_mm256_set1_epi32(starts[t]); 2]; R]);
        for r in 0..R {
            for half in 0..2 {
                let mut own = each!(T, |t| sums[t][r][half]);
                for j in 0..n {
                    let w = halves(m, &w[r][j])[half];
                    let magnitude = _mm256_abs_epi8(w);
                    for t in 0..T {
                        let signed = _mm256_sign_epi8(four(a[t][j]), w);
                        own[t] = _mm256_add_epi32(own[t], m.dot(magnitude, signed));
                    }
                }
                for t in 0..T {
                    sums[t][r][half] = own[t];
                }
            }
        }
        each!(T, |t| each!(R, |r| each!(2, |half| {
            _mm256_cvtepi32_ps(sums[t][r][half])
        })))
    }
}

/// See [`crate::simd::Simd::many_planes`].
#[inline(always)]
pub(super) fn many_planes<const R: usize, const T: usize>(
    m: Maddubs,
    w: [&[Line]; R],
    a: [&[[i8; 4]]; T],
) -> [[[__m256; 2]; R]; T] {
    let w = each!(R, |r| w[r].as_chunks::<2>().0);
    let n = w[0].len();
    let w = each!(R, |r| &w[r][..n]);
    let a = each!(T, |t| &a[t].as_chunks::<2>().0[..n]);
    // SAFETY: the token proves AVX2.
    unsafe {
        let mut sums = [[[_mm256_setzero_si256(); 2]; R]; T];
        for r in 0..R {
            for half in 0..2 {
                let mut own = [_mm256_setzero_si256(); T];
                for j in 0..n {
                    let [x, y] = &w[r][j];
                    let (x, y) = (halves(m, x)[half], halves(m, y)[half]);
                    for t in 0..T {
                        let [p, q] = a[t][j];
                        let both = _mm256_add_epi16(
                            _mm256_maddubs_epi16(four(p), x),
                            _mm256_maddubs_epi16(four(q), y),
                        );
                        let both = _mm256_madd_epi16(both, _mm256_set1_epi16(1));
                        own[t] = _mm256_add_epi32(own[t], both);
                    }
                }
                for t in 0..T {
                    sums[t][r][half] = own[t];
                }
            }
        }
        each!(T, |t| each!(R, |r| each!(2, |half| {
            _mm256_cvtepi32_ps(sums[t][r][half])
        })))
    }
}

/// Four rows of four columns turned around.
const TURN: [u8; 16] = [0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15];

/// For [`crate::simd::Simd::turn`]: the same in each 16 bytes.
#[inline(always)]
pub(in crate::isa) fn turn<P: Products>(_: P, x: &[Line; 4], out: &mut [Line; 4]) {
    // SAFETY: the token proves AVX2; the arrays are as long as loads and stores.
    unsafe {
        let (order, bias) = (
            _mm_loadu_si128(TURN.as_ptr().cast()),
            _mm_set1_epi8(P::BIAS.cast_signed()),
        );
        for i in 0..4 {
            for j in 0..4 {
                let x = &x[i].0.as_chunks::<16>().0[j];
                let x = _mm_shuffle_epi8(_mm_loadu_si128(x.as_ptr().cast()), order);
                let out = &mut out[j].0.as_chunks_mut::<16>().0[i];
                _mm_storeu_si128(out.as_mut_ptr().cast(), _mm_xor_si128(x, bias));
            }
        }
    }
}

/// See [`crate::simd::Simd::planes`]. Packing works within 128-bit lanes, so groups of four come out as 0 2 4 6 1 3 5 7.
#[inline(always)]
pub(super) fn planes<P: Products>(_: P, x: [__m256; 4], high: &mut [i8; 32], low: &mut [i8; 32]) {
    // SAFETY: the token proves AVX2; the arrays are as long as the stores.
    unsafe {
        let [a, b, c, d] = x;
        let ab = _mm256_packs_epi32(_mm256_cvtps_epi32(a), _mm256_cvtps_epi32(b));
        let cd = _mm256_packs_epi32(_mm256_cvtps_epi32(c), _mm256_cvtps_epi32(d));
        let by = _mm_cvtsi32_si128(P::PLANE.cast_signed());
        let mask = _mm256_set1_epi16((1 << P::PLANE) - 1);
        let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
        let of_high = _mm256_packus_epi16(_mm256_srl_epi16(ab, by), _mm256_srl_epi16(cd, by));
        let of_low = _mm256_packus_epi16(_mm256_and_si256(ab, mask), _mm256_and_si256(cd, mask));
        _mm256_storeu_si256(
            high.as_mut_ptr().cast(),
            _mm256_permutevar8x32_epi32(of_high, order),
        );
        _mm256_storeu_si256(
            low.as_mut_ptr().cast(),
            _mm256_permutevar8x32_epi32(of_low, order),
        );
    }
}
