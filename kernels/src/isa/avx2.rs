//! AVX2 with FMA and F16C: Intel since Haswell (2013), AMD since Zen, Intel N100-class since Gracemont.
//!
//! `maddubs` multiplies unsigned by signed bytes and adds neighbours in i16, so weights of 0 to 63 go in as they are (63 * 127 * 2 =
//! 16002 fits), and signed weights go in as their magnitude with their sign moved to the activation (128 * 127 * 2 = 32512 fits).
//! Neither can saturate as long as no activation is -128, which quantisation never makes.
//!
//! The tiers above AVX2 differ in these products only, so they are a parameter: [`Products`].
//!
//! It has more than 400 lines because the vocabulary has as many operations, each a few lines here.

pub(super) mod latent;

use crate::lanes::{Eight, Lanes};
use crate::op::latent::Line;
use crate::simd::{Simd, SimdOp, one_by_one};
use crate::tile::Codes;
use core::arch::x86_64::*;

/// The token of AVX2 and what stands on it; `P` tells how bytes are multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avx2<P = Maddubs>(pub(super) P);

/// Products by `vpmaddubsw` and `vpmaddwd`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Maddubs(());

/// Products of unsigned bytes with signed ones, four neighbours to a lane: what the tiers of AVX2 differ in.
pub(crate) trait Products: Copy {
    /// See [`Simd::BIAS`].
    const BIAS: u8;
    /// See [`Simd::Lanes`].
    type Lanes: Lanes;
    /// See [`Simd::PARTS`].
    const PARTS: usize;
    /// See [`Simd::part`].
    fn part(self, i: usize) -> Self::Lanes;
    /// `u` at most 128; no pair of products beyond i16.
    fn dot(self, u: __m256i, i: __m256i) -> __m256i;
    /// Sum of the products of `u`, 0 to 15, with the same four activations in every lane.
    fn rows_u4<const J: usize>(self, u: &[__m256i; J], a: &[[i8; 4]; J], start: __m256i)
    -> __m256i;
    /// The same for 0 to 63.
    fn rows_u6<const J: usize>(self, u: &[__m256i; J], a: &[[i8; 4]; J], start: __m256i)
    -> __m256i;
    /// The same for signed bytes with [`Self::BIAS`] added.
    fn rows_i8<const J: usize>(self, w: &[__m256i; J], a: &[[i8; 4]; J], start: __m256i)
    -> __m256i;
    /// See [`Simd::products`].
    #[inline(always)]
    fn products<const R: usize, const T: usize, const J: usize>(
        self,
        codes: Codes,
        w: [&[[u8; 32]; J]; R],
        a: [&[[i8; 4]; J]; T],
        starts: [i32; T],
    ) -> [[__m256; R]; T]
    where
        Avx2<Self>: Simd<F = __m256>,
    {
        one_by_one(Avx2(self), codes, w, a, starts)
    }
    /// See [`Simd::COLUMNS`].
    const COLUMNS: usize = 4;
    /// See [`Simd::TILES`].
    const TILES: usize = 1;
    /// See [`Simd::PLANE`].
    const PLANE: u32 = 7;
    /// See [`Simd::LATENT_RATE`].
    const LATENT_RATE: usize;
    /// See [`Simd::many_i8`].
    fn many_i8<const R: usize, const T: usize>(
        self,
        w: [&[Line]; R],
        a: [&[[i8; 4]]; T],
        starts: [i32; T],
    ) -> [[[__m256; 2]; R]; T];
    /// See [`Simd::many_planes`].
    fn many_planes<const R: usize, const T: usize>(
        self,
        w: [&[Line]; R],
        a: [&[[i8; 4]]; T],
    ) -> [[[__m256; 2]; R]; T];
    /// See [`Simd::turn`].
    #[inline(always)]
    fn turn(self, x: &[Line; 4], out: &mut [Line; 4]) {
        latent::turn(self, x, out);
    }
}

/// The same four activations in every lane.
#[inline(always)]
pub(super) fn four(a: [i8; 4]) -> __m256i {
    // SAFETY: only a token's methods call this, and the token proves AVX2.
    unsafe { _mm256_set1_epi32(i32::from_le_bytes(a.map(i8::cast_unsigned))) }
}

impl Avx2 {
    /// Asks the CPU.
    pub(super) fn new() -> Option<Avx2> {
        if cfg!(miri) {
            return None;
        }
        #[cfg(feature = "std")]
        let has = std::is_x86_feature_detected!("avx2")
            && std::is_x86_feature_detected!("fma")
            && std::is_x86_feature_detected!("f16c");
        #[cfg(not(feature = "std"))]
        let has = cfg!(all(
            target_feature = "avx2",
            target_feature = "fma",
            target_feature = "f16c"
        ));
        has.then_some(Avx2(Maddubs(())))
    }

    /// Runs `op` in a function compiled for AVX2, FMA and F16C.
    #[inline]
    pub(super) fn enter<O: SimdOp>(self, op: O) -> O::Output {
        #[target_feature(enable = "avx2,fma,f16c")]
        fn inside<O: SimdOp>(s: Avx2, op: O) -> O::Output {
            op.eval(s)
        }
        // SAFETY: the token proves that the CPU has these features.
        unsafe { inside(self, op) }
    }
}

impl Products for Maddubs {
    const BIAS: u8 = 0;
    const PLANE: u32 = 6;
    const LATENT_RATE: usize = 12;
    type Lanes = Eight<Avx2>;
    const PARTS: usize = 2;

    #[inline(always)]
    fn part(self, i: usize) -> Eight<Avx2> {
        Eight::new(Avx2(self), i)
    }

    #[inline(always)]
    fn dot(self, u: __m256i, i: __m256i) -> __m256i {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_madd_epi16(_mm256_maddubs_epi16(u, i), _mm256_set1_epi16(1)) }
    }
    #[inline(always)]
    fn rows_u4<const J: usize>(
        self,
        u: &[__m256i; J],
        a: &[[i8; 4]; J],
        start: __m256i,
    ) -> __m256i {
        const { assert!(J <= 8, "8 * 2 * 15 * 127 = 30480 fits i16, more do not") }
        // SAFETY: the token proves AVX2.
        unsafe {
            let mut sum = _mm256_maddubs_epi16(u[0], four(a[0]));
            for j in 1..J {
                sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(u[j], four(a[j])));
            }
            _mm256_add_epi32(start, _mm256_madd_epi16(sum, _mm256_set1_epi16(1)))
        }
    }
    #[inline(always)]
    fn rows_u6<const J: usize>(
        self,
        u: &[__m256i; J],
        a: &[[i8; 4]; J],
        start: __m256i,
    ) -> __m256i {
        // Two steps at a time: 2 * 2 * 63 * 127 = 32004 fits i16.
        // SAFETY: the token proves AVX2.
        unsafe {
            let mut sum = start;
            for (u, a) in u.as_chunks::<2>().0.iter().zip(a.as_chunks::<2>().0) {
                let low = _mm256_maddubs_epi16(u[0], four(a[0]));
                let both = _mm256_add_epi16(low, _mm256_maddubs_epi16(u[1], four(a[1])));
                sum = _mm256_add_epi32(sum, _mm256_madd_epi16(both, _mm256_set1_epi16(1)));
            }
            sum
        }
    }
    #[inline(always)]
    fn rows_i8<const J: usize>(
        self,
        w: &[__m256i; J],
        a: &[[i8; 4]; J],
        start: __m256i,
    ) -> __m256i {
        // SAFETY: the token proves AVX2.
        unsafe {
            let mut sum = start;
            for j in 0..J {
                let signed = _mm256_sign_epi8(four(a[j]), w[j]);
                sum = _mm256_add_epi32(sum, self.dot(_mm256_abs_epi8(w[j]), signed));
            }
            sum
        }
    }
    #[inline(always)]
    fn many_i8<const R: usize, const T: usize>(
        self,
        w: [&[Line]; R],
        a: [&[[i8; 4]]; T],
        starts: [i32; T],
    ) -> [[[__m256; 2]; R]; T] {
        latent::many_i8(self, w, a, starts)
    }
    #[inline(always)]
    fn many_planes<const R: usize, const T: usize>(
        self,
        w: [&[Line]; R],
        a: [&[[i8; 4]]; T],
    ) -> [[[__m256; 2]; R]; T] {
        latent::many_planes(self, w, a)
    }
}

/// For [`Simd::spread`]: which byte of its lane each byte looks at, and at which bit of it.
const SPREAD: [([u8; 32], [u8; 32]); 8] = {
    let mut out = [([0; 32], [0; 32]); 8];
    let mut j = 0;
    while j < 8 {
        let mut i = 0;
        while i < 32 {
            out[j].0[i] = (i % 16 / 4 * 4 + j / 2) as u8;
            out[j].1[i] = 1 << (j % 2 * 4 + i % 4);
            i += 1;
        }
        j += 1;
    }
    out
};

/// Which bytes of a lane of 8 i16 scales make the scales of block `j % 4`: one pair for each half.
const HALVES: [[u8; 32]; 4] = {
    let mut out = [[0; 32]; 4];
    let mut j = 0;
    while j < 4 {
        let mut i = 0;
        while i < 32 {
            out[j][i] = (4 * j + 2 * (i / 16) + i % 2) as u8;
            i += 1;
        }
        j += 1;
    }
    out
};

impl<P: Products> Simd for Avx2<P> {
    type B = __m256i;
    type I = __m256i;
    type A = __m256;
    type F = __m256;
    type S = [__m256i; 2];
    type N = __m256i;
    type Lanes = P::Lanes;

    const BIAS: u8 = P::BIAS;
    const PARTS: usize = P::PARTS;

    #[inline(always)]
    fn part(self, i: usize) -> P::Lanes {
        self.0.part(i)
    }

    #[inline(always)]
    fn bytes(self, x: &[u8; 32]) -> __m256i {
        // SAFETY: the token proves AVX2; the array is as long as the load.
        unsafe { _mm256_loadu_si256(x.as_ptr().cast()) }
    }
    #[inline(always)]
    fn acts(self, x: &[i8; 32]) -> __m256i {
        // SAFETY: the token proves AVX2; the array is as long as the load.
        unsafe { _mm256_loadu_si256(x.as_ptr().cast()) }
    }
    #[inline(always)]
    fn nibbles(self, x: &[u8; 16]) -> __m256i {
        // SAFETY: the token proves AVX2; the array is as long as the load.
        unsafe {
            let x = _mm_loadu_si128(x.as_ptr().cast());
            let both = _mm256_set_m128i(_mm_srli_epi16::<4>(x), x);
            _mm256_and_si256(both, _mm256_set1_epi8(15))
        }
    }
    #[inline(always)]
    fn splat_b(self, x: u8) -> __m256i {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_set1_epi8(x as i8) }
    }
    #[inline(always)]
    fn and(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_and_si256(a, b) }
    }
    #[inline(always)]
    fn or(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_or_si256(a, b) }
    }
    #[inline(always)]
    fn shr<const N: i32>(self, a: __m256i) -> __m256i {
        // SAFETY: the token proves AVX2.
        unsafe {
            _mm256_and_si256(
                _mm256_srli_epi16::<N>(a),
                _mm256_set1_epi8((0xff_u8 >> N) as i8),
            )
        }
    }
    #[inline(always)]
    fn shl<const N: i32>(self, a: __m256i) -> __m256i {
        // SAFETY: the token proves AVX2.
        unsafe {
            _mm256_and_si256(
                _mm256_slli_epi16::<N>(a),
                _mm256_set1_epi8((0xff_u8 << N) as i8),
            )
        }
    }
    #[inline(always)]
    fn test(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the token proves AVX2.
        unsafe {
            let none = _mm256_cmpeq_epi8(_mm256_and_si256(a, b), _mm256_setzero_si256());
            _mm256_xor_si256(none, _mm256_set1_epi8(-1))
        }
    }
    #[inline(always)]
    fn bits(self, bits: u32) -> __m256i {
        // Byte i takes byte i / 8 of the word, then keeps only bit i % 8 of it.
        // SAFETY: the token proves AVX2.
        unsafe {
            let bytes = _mm256_set_epi64x(
                0x0303_0303_0303_0303,
                0x0202_0202_0202_0202,
                0x0101_0101_0101_0101,
                0,
            );
            let bit = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
            let spread = _mm256_shuffle_epi8(_mm256_set1_epi32(bits as i32), bytes);
            _mm256_cmpeq_epi8(_mm256_and_si256(spread, bit), bit)
        }
    }
    #[inline(always)]
    fn table(self, table: &[i8; 16], index: __m256i) -> __m256i {
        // SAFETY: the token proves AVX2; the array is as long as the load.
        unsafe {
            let table = _mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().cast()));
            _mm256_shuffle_epi8(table, index)
        }
    }
    #[inline(always)]
    fn flip(self, a: __m256i, mask: u8) -> __m256i {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_xor_si256(a, _mm256_set1_epi8(mask.cast_signed())) }
    }
    #[inline(always)]
    fn prefetch(self, bytes: &[u8], ahead: usize) {
        // SAFETY: a prefetch of any address whatever has no effect that a program could see.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(bytes.as_ptr().wrapping_add(ahead).cast()) }
    }
    #[inline(always)]
    fn store_b(self, x: __m256i, out: &mut [u8; 32]) {
        // SAFETY: the token proves AVX2; the array is as long as the store.
        unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), x) }
    }

    #[inline(always)]
    fn dot_u6(self, w: __m256i, a: __m256i) -> __m256i {
        self.0.dot(w, a)
    }
    #[inline(always)]
    fn dot_i8(self, w: __m256i, a: __m256i) -> __m256i {
        // SAFETY: the token proves AVX2.
        let (magnitude, signed) = unsafe { (_mm256_abs_epi8(w), _mm256_sign_epi8(a, w)) };
        self.0.dot(magnitude, signed)
    }
    #[inline(always)]
    fn scales(self, x: &[i8; 16]) -> [__m256i; 2] {
        // SAFETY: the token proves AVX2; the array is as long as the load.
        unsafe {
            let wide = _mm256_cvtepi8_epi16(_mm_loadu_si128(x.as_ptr().cast()));
            [
                _mm256_permute2x128_si256::<0x00>(wide, wide),
                _mm256_permute2x128_si256::<0x11>(wide, wide),
            ]
        }
    }
    #[inline(always)]
    fn dot_halves(self, w: __m256i, a: __m256i, scales: [__m256i; 2], j: usize) -> __m256i {
        let pick = self.bytes(&HALVES[j % 4]);
        // SAFETY: the token proves AVX2.
        unsafe {
            let scale = _mm256_shuffle_epi8(scales[j / 4], pick);
            _mm256_madd_epi16(_mm256_maddubs_epi16(w, a), scale)
        }
    }
    #[cfg(test)]
    fn sum_i(self, x: __m256i) -> i32 {
        let mut out = [0_i32; 8];
        // SAFETY: the token proves AVX2; the array is as long as the store.
        unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), x) };
        out.iter().sum()
    }

    #[inline(always)]
    fn spread(self, words: __m256i, j: usize) -> __m256i {
        let (byte, bit) = (self.bytes(&SPREAD[j].0), self.bytes(&SPREAD[j].1));
        // SAFETY: the token proves AVX2.
        unsafe {
            let found = _mm256_and_si256(_mm256_shuffle_epi8(words, byte), bit);
            _mm256_cmpeq_epi8(found, bit)
        }
    }
    #[inline(always)]
    fn start(self, sum: i32, times: i32) -> __m256i {
        // SAFETY: the token proves AVX2. With a power of two the product is a shift.
        unsafe { _mm256_mullo_epi32(_mm256_set1_epi32(sum), _mm256_set1_epi32(times)) }
    }
    #[inline(always)]
    fn rows_u4<const J: usize>(
        self,
        w: &[__m256i; J],
        a: &[[i8; 4]; J],
        start: __m256i,
    ) -> __m256i {
        self.0.rows_u4(w, a, start)
    }
    #[inline(always)]
    fn rows_u6<const J: usize>(
        self,
        w: &[__m256i; J],
        a: &[[i8; 4]; J],
        start: __m256i,
    ) -> __m256i {
        self.0.rows_u6(w, a, start)
    }
    #[inline(always)]
    fn rows_i8<const J: usize>(
        self,
        w: &[__m256i; J],
        a: &[[i8; 4]; J],
        start: __m256i,
    ) -> __m256i {
        self.0.rows_i8(w, a, start)
    }
    #[inline(always)]
    fn products<const R: usize, const T: usize, const J: usize>(
        self,
        codes: Codes,
        w: [&[[u8; 32]; J]; R],
        a: [&[[i8; 4]; J]; T],
        starts: [i32; T],
    ) -> [[__m256; R]; T] {
        self.0.products(codes, w, a, starts)
    }
    const COLUMNS: usize = P::COLUMNS;
    const TILES: usize = P::TILES;
    const PLANE: u32 = P::PLANE;
    const LATENT_RATE: usize = P::LATENT_RATE;
    #[inline(always)]
    fn many_i8<const R: usize, const T: usize>(
        self,
        w: [&[Line]; R],
        a: [&[[i8; 4]]; T],
        starts: [i32; T],
    ) -> [[[__m256; 2]; R]; T] {
        self.0.many_i8(w, a, starts)
    }
    #[inline(always)]
    fn many_planes<const R: usize, const T: usize>(
        self,
        w: [&[Line]; R],
        a: [&[[i8; 4]]; T],
    ) -> [[[__m256; 2]; R]; T] {
        self.0.many_planes(w, a)
    }
    #[inline(always)]
    fn turn(self, x: &[Line; 4], out: &mut [Line; 4]) {
        self.0.turn(x, out);
    }
    #[inline(always)]
    fn planes(self, x: [__m256; 4], high: &mut [i8; 32], low: &mut [i8; 32]) {
        latent::planes(self.0, x, high, low);
    }
    #[inline(always)]
    fn load_n(self, x: &[u8; 32]) -> __m256i {
        self.bytes(x)
    }
    #[inline(always)]
    fn load_n16(self, x: &[u8; 16]) -> __m256i {
        // SAFETY: the token proves AVX2; the array is as long as the load.
        unsafe { _mm256_cvtepu16_epi32(_mm_loadu_si128(x.as_ptr().cast())) }
    }
    #[inline(always)]
    fn bits_n(self, x: __m256i, shift: u32, mask: i32) -> __m256 {
        // SAFETY: the token proves AVX2.
        unsafe {
            let low = _mm256_srl_epi32(x, _mm_cvtsi32_si128(shift.cast_signed()));
            _mm256_cvtepi32_ps(_mm256_and_si256(low, _mm256_set1_epi32(mask)))
        }
    }
    #[inline(always)]
    fn byte_n(self, x: __m256i, i: u32) -> __m256 {
        // SAFETY: the token proves AVX2.
        unsafe {
            let high = _mm256_sll_epi32(x, _mm_cvtsi32_si128((24 - 8 * i).cast_signed()));
            _mm256_cvtepi32_ps(_mm256_srai_epi32::<24>(high))
        }
    }
    #[inline(always)]
    fn to_f(self, x: __m256i) -> __m256 {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_cvtepi32_ps(x) }
    }

    #[inline(always)]
    fn zero(self) -> __m256 {
        self.splat(0.0)
    }
    #[inline(always)]
    fn mac(self, acc: __m256, x: __m256i, scale: f32) -> __m256 {
        // SAFETY: the token proves AVX2 and FMA.
        unsafe { _mm256_fmadd_ps(_mm256_cvtepi32_ps(x), _mm256_set1_ps(scale), acc) }
    }
    #[inline(always)]
    fn sum_a(self, x: __m256) -> f32 {
        self.sum(x)
    }

    #[inline(always)]
    fn splat(self, x: f32) -> __m256 {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_set1_ps(x) }
    }
    #[inline(always)]
    fn load(self, x: &[f32; 8]) -> __m256 {
        // SAFETY: the token proves AVX2; the array is as long as the load.
        unsafe { _mm256_loadu_ps(x.as_ptr()) }
    }
    #[inline(always)]
    fn store(self, x: __m256, out: &mut [f32; 8]) {
        // SAFETY: the token proves AVX2; the array is as long as the store.
        unsafe { _mm256_storeu_ps(out.as_mut_ptr(), x) }
    }
    #[inline(always)]
    fn load_f32_le(self, x: &[u8; 32]) -> __m256 {
        // SAFETY: the token proves AVX2; the array is as long as the load.
        unsafe { _mm256_loadu_ps(x.as_ptr().cast()) }
    }
    #[inline(always)]
    fn load_f16_le(self, x: &[u8; 16]) -> __m256 {
        // SAFETY: the token proves F16C; the array is as long as the load.
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(x.as_ptr().cast())) }
    }
    #[inline(always)]
    fn load_bf16_le(self, x: &[u8; 16]) -> __m256 {
        // SAFETY: the token proves AVX2; the array is as long as the load.
        unsafe {
            let wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(x.as_ptr().cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide))
        }
    }
    #[inline(always)]
    fn load_f16(self, x: &[u16; 8]) -> __m256 {
        // SAFETY: the token proves F16C; the array is as long as the load.
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(x.as_ptr().cast())) }
    }
    #[inline(always)]
    fn store_f16(self, x: __m256, out: &mut [u16; 8]) {
        // SAFETY: the token proves F16C; the array is as long as the store.
        unsafe {
            let half = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(x);
            _mm_storeu_si128(out.as_mut_ptr().cast(), half);
        }
    }
    #[inline(always)]
    fn widen_u8(self, x: &[u8; 8]) -> __m256 {
        // SAFETY: the token proves AVX2; the array is as long as the load.
        unsafe { _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(x.as_ptr().cast()))) }
    }
    #[inline(always)]
    fn widen_i8(self, x: &[i8; 8]) -> __m256 {
        // SAFETY: the token proves AVX2; the array is as long as the load.
        unsafe { _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(x.as_ptr().cast()))) }
    }
    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_div_ps(a, b) }
    }
    #[inline(always)]
    fn fma(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: the token proves FMA.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn min(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_min_ps(a, b) }
    }
    #[inline(always)]
    fn max(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_max_ps(a, b) }
    }
    #[inline(always)]
    fn abs(self, a: __m256) -> __m256 {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_andnot_ps(_mm256_set1_ps(-0.0), a) }
    }
    #[inline(always)]
    fn round(self, a: __m256) -> __m256 {
        // SAFETY: the token proves AVX2.
        unsafe { _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
    }
    #[inline(always)]
    fn pow2(self, a: __m256) -> __m256 {
        // SAFETY: the token proves AVX2.
        unsafe {
            let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(a), _mm256_set1_epi32(127));
            _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent))
        }
    }
    #[inline(always)]
    fn round_i8(self, x: [__m256; 4], out: &mut [i8; 32]) -> [i32; 2] {
        // Packing works within 128-bit lanes, so groups of four come out as 0 2 4 6 1 3 5 7.
        // SAFETY: the token proves AVX2; the array is as long as the store.
        unsafe {
            let [a, b, c, d] = x;
            let (a, b) = (_mm256_cvtps_epi32(a), _mm256_cvtps_epi32(b));
            let (c, d) = (_mm256_cvtps_epi32(c), _mm256_cvtps_epi32(d));
            let bytes = _mm256_packs_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
            let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
            _mm256_storeu_si256(
                out.as_mut_ptr().cast(),
                _mm256_permutevar8x32_epi32(bytes, order),
            );
            let pairs = _mm256_hadd_epi32(_mm256_add_epi32(a, b), _mm256_add_epi32(c, d));
            let sums = _mm256_hadd_epi32(pairs, pairs);
            let sums = _mm_add_epi32(
                _mm256_castsi256_si128(sums),
                _mm256_extracti128_si256::<1>(sums),
            );
            [_mm_extract_epi32::<0>(sums), _mm_extract_epi32::<1>(sums)]
        }
    }
    #[inline(always)]
    fn sum(self, x: __m256) -> f32 {
        // SAFETY: the token proves AVX2.
        unsafe {
            let x = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
            let x = _mm_add_ps(x, _mm_movehl_ps(x, x));
            _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)))
        }
    }
    #[inline(always)]
    fn max_lane(self, x: __m256) -> f32 {
        // SAFETY: the token proves AVX2.
        unsafe {
            let x = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
            let x = _mm_max_ps(x, _mm_movehl_ps(x, x));
            _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)))
        }
    }

    #[inline(always)]
    fn sqrt(self, x: f32) -> f32 {
        // SAFETY: the token proves AVX2.
        unsafe { _mm_cvtss_f32(_mm_sqrt_ps(_mm_set_ss(x))) }
    }
    #[inline(always)]
    fn f16(self, bits: u16) -> f32 {
        // SAFETY: the token proves F16C.
        unsafe { _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(i32::from(bits)))) }
    }
}
