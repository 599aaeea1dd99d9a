//! SSE4.1 with SSSE3: Celerons and Atoms without AVX (J4125, N5105), and Intel's Cores before 2011.
//!
//! 32 bytes are two xmm registers, 8 floats two as well. Products of bytes are those of AVX2 at half the width: `pmaddubsw` takes
//! weights of 0 to 63 as they are, signed ones as their magnitude with their sign moved to the activation.
//!
//! Here `pmaddubsw` and `pmaddwd` share one port and nothing broadcasts from memory. So sums stay in i16 as long as they fit, and
//! one load brings the activations of four steps, which `pshufd` then spreads, one step at a time, for both registers.
//!
//! There is no FMA: [`Simd::fma`] rounds twice. There is no F16C: see [`half`].
//!
//! It has more than 400 lines because the vocabulary has as many operations, each a few lines here.

mod half;
mod latent;

use crate::lanes::Eight;
use crate::op::latent::Line;
use crate::simd::{Simd, SimdOp};
use core::arch::x86_64::*;

/// The token of SSE4.1 and SSSE3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sse41(());

impl Sse41 {
    /// Asks the CPU.
    pub(super) fn new() -> Option<Sse41> {
        if cfg!(miri) {
            return None;
        }
        #[cfg(feature = "std")]
        let has = std::is_x86_feature_detected!("sse4.1") && std::is_x86_feature_detected!("ssse3");
        #[cfg(not(feature = "std"))]
        let has = cfg!(all(target_feature = "sse4.1", target_feature = "ssse3"));
        has.then_some(Sse41(()))
    }

    /// Runs `op` in a function compiled for SSE4.1 and SSSE3.
    #[inline]
    pub(super) fn enter<O: SimdOp>(self, op: O) -> O::Output {
        #[target_feature(enable = "sse4.1,ssse3")]
        fn inside<O: SimdOp>(s: Sse41, op: O) -> O::Output {
            op.eval(s)
        }
        // SAFETY: the token proves that the CPU has these features.
        unsafe { inside(self, op) }
    }
}

/// 32 bytes.
type Pair = [__m128i; 2];

/// `pmaddubsw`, then `pmaddwd` to i32; `u` at most 128, no pair of products beyond i16.
#[inline(always)]
fn dot(u: __m128i, i: __m128i) -> __m128i {
    // SAFETY: only the token's methods call this, and the token proves SSSE3.
    unsafe { widen_sums(_mm_maddubs_epi16(u, i)) }
}

/// Neighbours of i16, added up in i32.
#[inline(always)]
fn widen_sums(x: __m128i) -> __m128i {
    // SAFETY: only the token's methods call this, and the token proves SSE2.
    unsafe { _mm_madd_epi16(x, _mm_set1_epi16(1)) }
}

/// The activations of four steps, each the same in every lane.
#[inline(always)]
fn fours(a: &[[i8; 4]; 4]) -> [__m128i; 4] {
    // SAFETY: only the token's methods call this, and the token proves SSE2; the array is as long as the load.
    unsafe {
        let a = _mm_loadu_si128(a.as_ptr().cast());
        [
            _mm_shuffle_epi32::<0x00>(a),
            _mm_shuffle_epi32::<0x55>(a),
            _mm_shuffle_epi32::<0xaa>(a),
            _mm_shuffle_epi32::<0xff>(a),
        ]
    }
}

/// For [`Simd::spread`]: which byte of its half each byte looks at, and at which bit of it.
const SPREAD: [([u8; 16], [u8; 16]); 8] = {
    let mut out = [([0; 16], [0; 16]); 8];
    let mut j = 0;
    while j < 8 {
        let mut i = 0;
        while i < 16 {
            out[j].0[i] = (i / 4 * 4 + j / 2) as u8;
            out[j].1[i] = 1 << (j % 2 * 4 + i % 4);
            i += 1;
        }
        j += 1;
    }
    out
};

/// Which bytes of 8 i16 scales make the scale of each half of block `j % 4`.
const HALVES: [[[u8; 16]; 2]; 4] = {
    let mut out = [[[0; 16]; 2]; 4];
    let mut j = 0;
    while j < 4 {
        let mut i = 0;
        while i < 16 {
            out[j][0][i] = (4 * j + i % 2) as u8;
            out[j][1][i] = (4 * j + 2 + i % 2) as u8;
            i += 1;
        }
        j += 1;
    }
    out
};

/// Loads 16 bytes.
#[inline(always)]
fn load16(x: &[u8; 16]) -> __m128i {
    // SAFETY: only the token's methods call this, and the token proves SSE2; the array is as long as the load.
    unsafe { _mm_loadu_si128(x.as_ptr().cast()) }
}

/// Applies an intrinsic to both halves; what stands behind a semicolon is the same for both.
macro_rules! both {
    ($f:ident, $a:expr, $b:expr) => {{
        let (a, b) = ($a, $b);
        // SAFETY: the token proves SSE4.1.
        unsafe { [$f(a[0], b[0]), $f(a[1], b[1])] }
    }};
    ($f:ident, $a:expr; $b:expr) => {{
        let (a, b) = ($a, $b);
        // SAFETY: the token proves SSE4.1.
        unsafe { [$f(a[0], b), $f(a[1], b)] }
    }};
    ($f:ident, $a:expr) => {{
        let a = $a;
        // SAFETY: the token proves SSE4.1.
        unsafe { [$f(a[0]), $f(a[1])] }
    }};
}

impl Simd for Sse41 {
    type B = Pair;
    type I = __m128i;
    type A = __m128;
    type F = [__m128; 2];
    type S = [__m128i; 2];
    type N = [__m128i; 2];
    type Lanes = Eight<Self>;

    const BIAS: u8 = 0;
    const PARTS: usize = 2;

    #[inline(always)]
    fn part(self, i: usize) -> Self::Lanes {
        Eight::new(self, i)
    }

    #[inline(always)]
    fn bytes(self, x: &[u8; 32]) -> Pair {
        // SAFETY: the token proves SSE4.1; the array is as long as the two loads.
        unsafe {
            [
                _mm_loadu_si128(x.as_ptr().cast()),
                _mm_loadu_si128(x.as_ptr().add(16).cast()),
            ]
        }
    }
    #[inline(always)]
    fn acts(self, x: &[i8; 32]) -> Pair {
        // SAFETY: the token proves SSE4.1; the array is as long as the two loads.
        unsafe {
            [
                _mm_loadu_si128(x.as_ptr().cast()),
                _mm_loadu_si128(x.as_ptr().add(16).cast()),
            ]
        }
    }
    #[inline(always)]
    fn nibbles(self, x: &[u8; 16]) -> Pair {
        let x = load16(x);
        // SAFETY: the token proves SSE4.1.
        unsafe {
            let low = _mm_set1_epi8(15);
            [
                _mm_and_si128(x, low),
                _mm_and_si128(_mm_srli_epi16::<4>(x), low),
            ]
        }
    }
    #[inline(always)]
    fn splat_b(self, x: u8) -> Pair {
        // SAFETY: the token proves SSE4.1.
        unsafe { [_mm_set1_epi8(x.cast_signed()); 2] }
    }
    #[inline(always)]
    fn and(self, a: Pair, b: Pair) -> Pair {
        both!(_mm_and_si128, a, b)
    }
    #[inline(always)]
    fn or(self, a: Pair, b: Pair) -> Pair {
        both!(_mm_or_si128, a, b)
    }
    #[inline(always)]
    fn shr<const N: i32>(self, a: Pair) -> Pair {
        // SAFETY: the token proves SSE4.1.
        let shifted = unsafe { [_mm_srli_epi16::<N>(a[0]), _mm_srli_epi16::<N>(a[1])] };
        self.and(shifted, self.splat_b(0xff >> N))
    }
    #[inline(always)]
    fn shl<const N: i32>(self, a: Pair) -> Pair {
        // SAFETY: the token proves SSE4.1.
        let shifted = unsafe { [_mm_slli_epi16::<N>(a[0]), _mm_slli_epi16::<N>(a[1])] };
        self.and(shifted, self.splat_b(0xff << N))
    }
    #[inline(always)]
    fn test(self, a: Pair, b: Pair) -> Pair {
        let none = both!(_mm_cmpeq_epi8, self.and(a, b), self.splat_b(0));
        self.flip(none, 0xff)
    }
    #[inline(always)]
    fn bits(self, bits: u32) -> Pair {
        // Byte i takes byte i / 8 of the word, then keeps only bit i % 8 of it.
        // SAFETY: the token proves SSE4.1.
        unsafe {
            let word = _mm_cvtsi32_si128(bits.cast_signed());
            let bytes = _mm_unpacklo_epi8(word, word);
            let bit = _mm_set1_epi64x(0x8040_2010_0804_0201_u64.cast_signed());
            let low = _mm_shufflelo_epi16::<0x50>(bytes);
            let high = _mm_shufflelo_epi16::<0xfa>(bytes);
            let low = _mm_and_si128(_mm_unpacklo_epi32(low, low), bit);
            let high = _mm_and_si128(_mm_unpacklo_epi32(high, high), bit);
            [_mm_cmpeq_epi8(low, bit), _mm_cmpeq_epi8(high, bit)]
        }
    }
    #[inline(always)]
    fn table(self, table: &[i8; 16], index: Pair) -> Pair {
        // SAFETY: the token proves SSSE3; the array is as long as the load.
        unsafe {
            let table = _mm_loadu_si128(table.as_ptr().cast());
            [
                _mm_shuffle_epi8(table, index[0]),
                _mm_shuffle_epi8(table, index[1]),
            ]
        }
    }
    #[inline(always)]
    fn flip(self, a: Pair, mask: u8) -> Pair {
        both!(_mm_xor_si128, a, self.splat_b(mask))
    }
    #[inline(always)]
    fn prefetch(self, bytes: &[u8], ahead: usize) {
        // SAFETY: a prefetch of any address whatever has no effect that a program could see.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(bytes.as_ptr().wrapping_add(ahead).cast()) }
    }
    #[inline(always)]
    fn store_b(self, x: Pair, out: &mut [u8; 32]) {
        // SAFETY: the token proves SSE4.1; the array is as long as the two stores.
        unsafe {
            _mm_storeu_si128(out.as_mut_ptr().cast(), x[0]);
            _mm_storeu_si128(out.as_mut_ptr().add(16).cast(), x[1]);
        }
    }

    #[inline(always)]
    fn dot_u6(self, w: Pair, a: Pair) -> __m128i {
        // Of both halves: 2 * 2 * 63 * 127 = 32004 fits i16.
        let pairs = both!(_mm_maddubs_epi16, w, a);
        // SAFETY: the token proves SSE4.1.
        widen_sums(unsafe { _mm_add_epi16(pairs[0], pairs[1]) })
    }
    #[inline(always)]
    fn dot_i8(self, w: Pair, a: Pair) -> __m128i {
        let (magnitude, signed) = (both!(_mm_abs_epi8, w), both!(_mm_sign_epi8, a, w));
        let (low, high) = (dot(magnitude[0], signed[0]), dot(magnitude[1], signed[1]));
        // SAFETY: the token proves SSE4.1.
        unsafe { _mm_add_epi32(low, high) }
    }
    #[inline(always)]
    fn scales(self, x: &[i8; 16]) -> [__m128i; 2] {
        // SAFETY: the token proves SSE4.1; the array is as long as the load.
        unsafe {
            let x = _mm_loadu_si128(x.as_ptr().cast());
            [
                _mm_cvtepi8_epi16(x),
                _mm_cvtepi8_epi16(_mm_srli_si128::<8>(x)),
            ]
        }
    }
    #[inline(always)]
    fn dot_halves(self, w: Pair, a: Pair, scales: [__m128i; 2], j: usize) -> __m128i {
        let (of_both, pick) = (scales[j / 4], &HALVES[j % 4]);
        let pairs = both!(_mm_maddubs_epi16, w, a);
        // SAFETY: the token proves SSE4.1.
        unsafe {
            let low = _mm_madd_epi16(pairs[0], _mm_shuffle_epi8(of_both, load16(&pick[0])));
            let high = _mm_madd_epi16(pairs[1], _mm_shuffle_epi8(of_both, load16(&pick[1])));
            _mm_add_epi32(low, high)
        }
    }
    #[cfg(test)]
    fn sum_i(self, x: __m128i) -> i32 {
        let mut out = [0_i32; 4];
        // SAFETY: the token proves SSE4.1; the array is as long as the store.
        unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), x) };
        out.iter().sum()
    }

    #[inline(always)]
    fn spread(self, words: Pair, j: usize) -> Pair {
        let (byte, bit) = (load16(&SPREAD[j].0), load16(&SPREAD[j].1));
        let found = both!(_mm_shuffle_epi8, words; byte);
        both!(_mm_cmpeq_epi8, both!(_mm_and_si128, found; bit); bit)
    }
    #[inline(always)]
    fn start(self, sum: i32, times: i32) -> [__m128i; 2] {
        // SAFETY: the token proves SSE4.1.
        unsafe { [_mm_set1_epi32(sum * times); 2] }
    }
    #[inline(always)]
    fn rows_u4<const J: usize>(
        self,
        w: &[Pair; J],
        a: &[[i8; 4]; J],
        start: [__m128i; 2],
    ) -> [__m128i; 2] {
        const { assert!(J <= 8, "8 * 2 * 15 * 127 = 30480 fits i16, more do not") }
        const { assert!(J.is_multiple_of(4), "steps come in fours") }
        let mut sums = self.splat_b(0);
        for (w, a) in w.as_chunks::<4>().0.iter().zip(a.as_chunks::<4>().0) {
            let a = fours(a);
            for j in 0..4 {
                sums = both!(_mm_add_epi16, sums, both!(_mm_maddubs_epi16, w[j]; a[j]));
            }
        }
        both!(
            _mm_add_epi32,
            start,
            [widen_sums(sums[0]), widen_sums(sums[1])]
        )
    }
    #[inline(always)]
    fn rows_u6<const J: usize>(
        self,
        w: &[Pair; J],
        a: &[[i8; 4]; J],
        start: [__m128i; 2],
    ) -> [__m128i; 2] {
        const { assert!(J.is_multiple_of(4), "steps come in fours") }
        let mut sums = start;
        for (w, a) in w.as_chunks::<4>().0.iter().zip(a.as_chunks::<4>().0) {
            let a = fours(a);
            // Two steps at a time: 2 * 2 * 63 * 127 = 32004 fits i16.
            for j in [0, 2] {
                let one = both!(_mm_maddubs_epi16, w[j]; a[j]);
                let other = both!(_mm_maddubs_epi16, w[j + 1]; a[j + 1]);
                let two = both!(_mm_add_epi16, one, other);
                sums = both!(
                    _mm_add_epi32,
                    sums,
                    [widen_sums(two[0]), widen_sums(two[1])]
                );
            }
        }
        sums
    }
    #[inline(always)]
    fn rows_i8<const J: usize>(
        self,
        w: &[Pair; J],
        a: &[[i8; 4]; J],
        start: [__m128i; 2],
    ) -> [__m128i; 2] {
        const { assert!(J.is_multiple_of(4), "steps come in fours") }
        let mut sums = start;
        for (w, a) in w.as_chunks::<4>().0.iter().zip(a.as_chunks::<4>().0) {
            let a = fours(a);
            for j in 0..4 {
                let magnitude = both!(_mm_abs_epi8, w[j]);
                let signed = both!(_mm_sign_epi8, [a[j]; 2], w[j]);
                let four = [dot(magnitude[0], signed[0]), dot(magnitude[1], signed[1])];
                sums = both!(_mm_add_epi32, sums, four);
            }
        }
        sums
    }
    const PLANE: u32 = 6;
    const LATENT_RATE: usize = 20;
    #[inline(always)]
    fn many_i8<const R: usize, const T: usize>(
        self,
        w: [&[Line]; R],
        a: [&[[i8; 4]]; T],
        starts: [i32; T],
    ) -> [[[Self::F; 2]; R]; T] {
        latent::many::<R, T, false>(self, w, a, starts)
    }
    #[inline(always)]
    fn many_planes<const R: usize, const T: usize>(
        self,
        w: [&[Line]; R],
        a: [&[[i8; 4]]; T],
    ) -> [[[Self::F; 2]; R]; T] {
        latent::many::<R, T, true>(self, w, a, [0; T])
    }
    #[inline(always)]
    fn turn(self, x: &[Line; 4], out: &mut [Line; 4]) {
        latent::turn(self, x, out);
    }
    #[inline(always)]
    fn planes(self, x: [Self::F; 4], high: &mut [i8; 32], low: &mut [i8; 32]) {
        latent::planes(self, x, high, low);
    }
    #[inline(always)]
    fn load_n(self, x: &[u8; 32]) -> [__m128i; 2] {
        self.bytes(x)
    }
    #[inline(always)]
    fn load_n16(self, x: &[u8; 16]) -> [__m128i; 2] {
        let x = load16(x);
        // SAFETY: the token proves SSE4.1.
        unsafe {
            [
                _mm_cvtepu16_epi32(x),
                _mm_unpackhi_epi16(x, _mm_setzero_si128()),
            ]
        }
    }
    #[inline(always)]
    fn bits_n(self, x: [__m128i; 2], shift: u32, mask: i32) -> Self::F {
        // SAFETY: the token proves SSE4.1.
        let (shift, mask) =
            unsafe { (_mm_cvtsi32_si128(shift.cast_signed()), _mm_set1_epi32(mask)) };
        let low = both!(_mm_srl_epi32, x; shift);
        self.to_f(both!(_mm_and_si128, low; mask))
    }
    #[inline(always)]
    fn byte_n(self, x: [__m128i; 2], i: u32) -> Self::F {
        // SAFETY: the token proves SSE4.1.
        let left = unsafe { _mm_cvtsi32_si128((24 - 8 * i).cast_signed()) };
        let high = both!(_mm_sll_epi32, x; left);
        // SAFETY: the token proves SSE4.1.
        self.to_f(unsafe { [_mm_srai_epi32::<24>(high[0]), _mm_srai_epi32::<24>(high[1])] })
    }
    #[inline(always)]
    fn to_f(self, x: [__m128i; 2]) -> Self::F {
        both!(_mm_cvtepi32_ps, x)
    }

    #[inline(always)]
    fn zero(self) -> __m128 {
        // SAFETY: the token proves SSE4.1.
        unsafe { _mm_setzero_ps() }
    }
    #[inline(always)]
    fn mac(self, acc: __m128, x: __m128i, scale: f32) -> __m128 {
        // SAFETY: the token proves SSE4.1.
        unsafe { _mm_add_ps(_mm_mul_ps(_mm_cvtepi32_ps(x), _mm_set1_ps(scale)), acc) }
    }
    #[inline(always)]
    fn sum_a(self, x: __m128) -> f32 {
        // SAFETY: the token proves SSE4.1.
        unsafe {
            let x = _mm_add_ps(x, _mm_movehl_ps(x, x));
            _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)))
        }
    }

    #[inline(always)]
    fn splat(self, x: f32) -> Self::F {
        // SAFETY: the token proves SSE4.1.
        unsafe { [_mm_set1_ps(x); 2] }
    }
    #[inline(always)]
    fn load(self, x: &[f32; 8]) -> Self::F {
        // SAFETY: the token proves SSE4.1; the array is as long as the two loads.
        unsafe { [_mm_loadu_ps(x.as_ptr()), _mm_loadu_ps(x.as_ptr().add(4))] }
    }
    #[inline(always)]
    fn store(self, x: Self::F, out: &mut [f32; 8]) {
        // SAFETY: the token proves SSE4.1; the array is as long as the two stores.
        unsafe {
            _mm_storeu_ps(out.as_mut_ptr(), x[0]);
            _mm_storeu_ps(out.as_mut_ptr().add(4), x[1]);
        }
    }
    #[inline(always)]
    fn load_f32_le(self, x: &[u8; 32]) -> Self::F {
        both!(_mm_castsi128_ps, self.bytes(x))
    }
    #[inline(always)]
    fn load_f16_le(self, x: &[u8; 16]) -> Self::F {
        half::widen(load16(x))
    }
    #[inline(always)]
    fn load_bf16_le(self, x: &[u8; 16]) -> Self::F {
        let x = load16(x);
        // SAFETY: the token proves SSE4.1.
        unsafe {
            let zero = _mm_setzero_si128();
            [
                _mm_castsi128_ps(_mm_unpacklo_epi16(zero, x)),
                _mm_castsi128_ps(_mm_unpackhi_epi16(zero, x)),
            ]
        }
    }
    #[inline(always)]
    fn load_f16(self, x: &[u16; 8]) -> Self::F {
        // SAFETY: the token proves SSE4.1; the array is as long as the load.
        half::widen(unsafe { _mm_loadu_si128(x.as_ptr().cast()) })
    }
    #[inline(always)]
    fn store_f16(self, x: Self::F, out: &mut [u16; 8]) {
        // SAFETY: the token proves SSE4.1; the array is as long as the store.
        unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), half::narrow(x)) }
    }
    #[inline(always)]
    fn widen_u8(self, x: &[u8; 8]) -> Self::F {
        // SAFETY: the token proves SSE4.1; the array is as long as the load.
        unsafe {
            let x = _mm_loadl_epi64(x.as_ptr().cast());
            self.to_f([
                _mm_cvtepu8_epi32(x),
                _mm_cvtepu8_epi32(_mm_srli_si128::<4>(x)),
            ])
        }
    }
    #[inline(always)]
    fn widen_i8(self, x: &[i8; 8]) -> Self::F {
        // SAFETY: the token proves SSE4.1; the array is as long as the load.
        unsafe {
            let x = _mm_loadl_epi64(x.as_ptr().cast());
            self.to_f([
                _mm_cvtepi8_epi32(x),
                _mm_cvtepi8_epi32(_mm_srli_si128::<4>(x)),
            ])
        }
    }
    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        both!(_mm_add_ps, a, b)
    }
    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        both!(_mm_sub_ps, a, b)
    }
    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        both!(_mm_mul_ps, a, b)
    }
    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        both!(_mm_div_ps, a, b)
    }
    #[inline(always)]
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        self.add(self.mul(a, b), c)
    }
    #[inline(always)]
    fn min(self, a: Self::F, b: Self::F) -> Self::F {
        both!(_mm_min_ps, a, b)
    }
    #[inline(always)]
    fn max(self, a: Self::F, b: Self::F) -> Self::F {
        both!(_mm_max_ps, a, b)
    }
    #[inline(always)]
    fn abs(self, a: Self::F) -> Self::F {
        both!(_mm_andnot_ps, self.splat(-0.0), a)
    }
    #[inline(always)]
    fn round(self, a: Self::F) -> Self::F {
        const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
        // SAFETY: the token proves SSE4.1.
        unsafe { [_mm_round_ps::<NEAREST>(a[0]), _mm_round_ps::<NEAREST>(a[1])] }
    }
    #[inline(always)]
    fn pow2(self, a: Self::F) -> Self::F {
        let a = both!(_mm_cvtps_epi32, a);
        // SAFETY: the token proves SSE4.1.
        unsafe {
            let bias = _mm_set1_epi32(127);
            [
                _mm_castsi128_ps(_mm_slli_epi32::<23>(_mm_add_epi32(a[0], bias))),
                _mm_castsi128_ps(_mm_slli_epi32::<23>(_mm_add_epi32(a[1], bias))),
            ]
        }
    }
    #[inline(always)]
    fn round_i8(self, x: [Self::F; 4], out: &mut [i8; 32]) -> [i32; 2] {
        let mut sums = self.splat_b(0);
        for (k, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let (a, b) = (
                both!(_mm_cvtps_epi32, x[2 * k]),
                both!(_mm_cvtps_epi32, x[2 * k + 1]),
            );
            // SAFETY: the token proves SSE4.1; the array is as long as the store.
            unsafe {
                let bytes =
                    _mm_packs_epi16(_mm_packs_epi32(a[0], a[1]), _mm_packs_epi32(b[0], b[1]));
                _mm_storeu_si128(out.as_mut_ptr().cast(), bytes);
                sums[k] = _mm_add_epi32(_mm_add_epi32(a[0], a[1]), _mm_add_epi32(b[0], b[1]));
            }
        }
        // SAFETY: the token proves SSE4.1.
        unsafe {
            let pairs = _mm_hadd_epi32(sums[0], sums[1]);
            let sums = _mm_hadd_epi32(pairs, pairs);
            [_mm_cvtsi128_si32(sums), _mm_extract_epi32::<1>(sums)]
        }
    }
    #[inline(always)]
    fn sum(self, x: Self::F) -> f32 {
        // SAFETY: the token proves SSE4.1.
        self.sum_a(unsafe { _mm_add_ps(x[0], x[1]) })
    }
    #[inline(always)]
    fn max_lane(self, x: Self::F) -> f32 {
        // SAFETY: the token proves SSE4.1.
        unsafe {
            let x = _mm_max_ps(x[0], x[1]);
            let x = _mm_max_ps(x, _mm_movehl_ps(x, x));
            _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)))
        }
    }

    #[inline(always)]
    fn sqrt(self, x: f32) -> f32 {
        // SAFETY: the token proves SSE4.1.
        unsafe { _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x))) }
    }
    #[inline(always)]
    fn f16(self, bits: u16) -> f32 {
        // SAFETY: the token proves SSE4.1.
        unsafe { _mm_cvtss_f32(half::widen(_mm_cvtsi32_si128(i32::from(bits)))[0]) }
    }
}
