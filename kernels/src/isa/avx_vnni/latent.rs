//! Latent rows in registers of 32 bytes: a line is two of them, which four columns meet, eight sums.

use super::Vex;
use crate::isa::avx2::four;
use crate::isa::avx2::latent::halves;
use crate::op::latent::Line;
use crate::simd::each;
use core::arch::x86_64::*;

pub(super) use crate::isa::avx2::latent::turn;

/// See [`crate::simd::Simd::COLUMNS`].
pub(super) const COLUMNS: usize = 4;
/// See [`crate::simd::Simd::TILES`].
pub(super) const TILES: usize = 1;
/// See [`crate::simd::Simd::LATENT_RATE`].
pub(super) const RATE: usize = 20;

/// Sixteen rows with some columns. `PLANES` tells which of the two is unsigned.
#[inline(always)]
pub(super) fn many<const R: usize, const T: usize, const PLANES: bool>(
    vex: Vex,
    w: [&[Line]; R],
    a: [&[[i8; 4]]; T],
    starts: [i32; T],
) -> [[[__m256; 2]; R]; T] {
    let n = w[0].len();
    let (w, a) = (each!(R, |r| &w[r][..n]), each!(T, |t| &a[t][..n]));
    // SAFETY: the token proves the instruction.
    unsafe {
        let mut sums = each!(T, |t| [[_mm256_set1_epi32(starts[t]); 2]; R]);
        for j in 0..n {
            for r in 0..R {
                let w = halves(vex, &w[r][j]);
                for t in 0..T {
                    let a = four(a[t][j]);
                    for half in 0..2 {
                        let (u, i) = if PLANES { (a, w[half]) } else { (w[half], a) };
                        sums[t][r][half] = _mm256_dpbusd_avx_epi32(sums[t][r][half], u, i);
                    }
                }
            }
        }
        each!(T, |t| each!(R, |r| each!(2, |half| {
            _mm256_cvtepi32_ps(sums[t][r][half])
        })))
    }
}
