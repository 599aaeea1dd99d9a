//! The products of both tiers that have `vpdpbusd`, whatever its encoding.

/// Implements `Products` for the token `$token` by the intrinsic `$dpbusd`; a tile's rows go by in `$parts` of `$lanes`. How latent rows
/// are multiplied is in the module `$latent`.
macro_rules! dpbusd {
    ($token:ident, $dpbusd:ident, $latent:ident, $lanes:ty, $parts:literal, |$me:ident, $i:ident| $part:expr) => {
        impl super::avx2::Products for $token {
            const BIAS: u8 = 128;
            type Lanes = $lanes;
            const PARTS: usize = $parts;

            #[inline(always)]
            fn part(self, $i: usize) -> Self::Lanes {
                let $me = self;
                $part
            }

            #[inline(always)]
            fn dot(self, u: __m256i, i: __m256i) -> __m256i {
                // SAFETY: the token proves the instruction.
                unsafe { $dpbusd(_mm256_setzero_si256(), u, i) }
            }
            #[inline(always)]
            fn rows_u4<const J: usize>(
                self,
                u: &[__m256i; J],
                a: &[[i8; 4]; J],
                start: __m256i,
            ) -> __m256i {
                const { assert!(J.is_multiple_of(2), "two sums, each half as long a chain") }
                // SAFETY: the token proves the instruction.
                unsafe {
                    let mut sums = [start, _mm256_setzero_si256()];
                    for j in 0..J / 2 {
                        for half in 0..2 {
                            let j = half * (J / 2) + j;
                            sums[half] = $dpbusd(sums[half], u[j], super::avx2::four(a[j]));
                        }
                    }
                    _mm256_add_epi32(sums[0], sums[1])
                }
            }
            #[inline(always)]
            fn products<const R: usize, const T: usize, const J: usize>(
                self,
                _: crate::tile::Codes,
                w: [&[[u8; 32]; J]; R],
                a: [&[[i8; 4]; J]; T],
                starts: [i32; T],
            ) -> [[__m256; R]; T] {
                // SAFETY: the token proves the instruction; the arrays are as long as the loads.
                unsafe {
                    let mut sums = crate::simd::each!(T, |t| [_mm256_set1_epi32(starts[t]); R]);
                    for j in 0..J {
                        let w =
                            crate::simd::each!(R, |r| _mm256_loadu_si256(w[r][j].as_ptr().cast()));
                        for t in 0..T {
                            let a = super::avx2::four(a[t][j]);
                            for r in 0..R {
                                sums[t][r] = $dpbusd(sums[t][r], w[r], a);
                            }
                        }
                    }
                    crate::simd::each!(T, |t| crate::simd::each!(R, |r| {
                        _mm256_cvtepi32_ps(sums[t][r])
                    }))
                }
            }
            #[inline(always)]
            fn rows_u6<const J: usize>(
                self,
                u: &[__m256i; J],
                a: &[[i8; 4]; J],
                start: __m256i,
            ) -> __m256i {
                self.rows_u4(u, a, start)
            }
            #[inline(always)]
            fn rows_i8<const J: usize>(
                self,
                w: &[__m256i; J],
                a: &[[i8; 4]; J],
                start: __m256i,
            ) -> __m256i {
                self.rows_u4(w, a, start)
            }
            const COLUMNS: usize = $latent::COLUMNS;
            const TILES: usize = $latent::TILES;
            const LATENT_RATE: usize = $latent::RATE;
            #[inline(always)]
            fn many_i8<const R: usize, const T: usize>(
                self,
                w: [&[crate::op::latent::Line]; R],
                a: [&[[i8; 4]]; T],
                starts: [i32; T],
            ) -> [[[__m256; 2]; R]; T] {
                $latent::many::<R, T, false>(self, w, a, starts)
            }
            #[inline(always)]
            fn many_planes<const R: usize, const T: usize>(
                self,
                w: [&[crate::op::latent::Line]; R],
                a: [&[[i8; 4]]; T],
            ) -> [[[__m256; 2]; R]; T] {
                $latent::many::<R, T, true>(self, w, a, [0; T])
            }
            #[inline(always)]
            fn turn(
                self,
                x: &[crate::op::latent::Line; 4],
                out: &mut [crate::op::latent::Line; 4],
            ) {
                $latent::turn(self, x, out);
            }
        }
    };
}
pub(super) use dpbusd;
