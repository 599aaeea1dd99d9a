//! All sixteen rows of a tile in registers of 64 bytes: decode.
//!
//! One load has four weights of each of sixteen rows, and `vpdpbusd` takes the four activations that meet them from memory, the
//! same in every lane. With eight rows a tile has twice as many of these loads, and from the second cache they are what bounds the
//! products: Zen 4 reads `Q4_0` at 64 GB/s a core this way, and at 46 GB/s by eight.

use super::Evex;
use crate::lanes::Lanes;
use crate::tile::{TILE_ROWS, Word};
use core::arch::x86_64::*;

/// Registers of 64 bytes, on a CPU that has AVX-512-VNNI.
#[derive(Clone, Copy)]
pub(crate) struct Wide(pub(super) Evex);

/// The same four activations in every lane.
#[inline(always)]
fn four(_: Wide, a: [i8; 4]) -> __m512i {
    // SAFETY: the token proves AVX-512.
    unsafe { _mm512_set1_epi32(i32::from_le_bytes(a.map(i8::cast_unsigned))) }
}

/// For [`Lanes::spread`]: which byte of its lane each byte looks at, and at which bit of it.
const SPREAD: [(Word, Word); 8] = {
    let mut out = [([0; 64], [0; 64]); 8];
    let mut j = 0;
    while j < 8 {
        let mut i = 0;
        while i < 64 {
            out[j].0[i] = (i % 16 / 4 * 4 + j / 2) as u8;
            out[j].1[i] = 1 << (j % 2 * 4 + i % 4);
            i += 1;
        }
        j += 1;
    }
    out
};

impl Lanes for Wide {
    type B = __m512i;
    type N = __m512i;
    type F = __m512;

    const BIAS: u8 = 128;

    #[inline(always)]
    fn word(self, x: &Word) -> __m512i {
        // SAFETY: the token proves AVX-512; the array is as long as the load.
        unsafe { _mm512_loadu_si512(x.as_ptr().cast()) }
    }
    #[inline(always)]
    fn word_n(self, x: &Word) -> __m512i {
        self.word(x)
    }
    #[inline(always)]
    fn half_n(self, x: &[u8; 2 * TILE_ROWS]) -> __m512i {
        // SAFETY: the token proves AVX-512; the array is as long as the load.
        unsafe { _mm512_cvtepu16_epi32(_mm256_loadu_si256(x.as_ptr().cast())) }
    }
    #[inline(always)]
    fn half_f(self, x: &[u8; 2 * TILE_ROWS]) -> __m512 {
        // SAFETY: the token proves AVX-512; the array is as long as the load.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(x.as_ptr().cast())) }
    }
    #[inline(always)]
    fn byte_f(self, x: &[u8; TILE_ROWS], value: fn(u8) -> f32) -> __m512 {
        let x = x.map(value);
        // SAFETY: the token proves AVX-512; the array is as long as the load.
        unsafe { _mm512_loadu_ps(x.as_ptr()) }
    }

    #[inline(always)]
    fn prefetch(self, bytes: &[u8], ahead: usize) {
        // SAFETY: a prefetch of any address whatever has no effect that a program could see.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(bytes.as_ptr().wrapping_add(ahead).cast()) }
    }

    #[inline(always)]
    fn splat_b(self, x: u8) -> __m512i {
        // SAFETY: the token proves AVX-512.
        unsafe { _mm512_set1_epi8(x.cast_signed()) }
    }
    #[inline(always)]
    fn and(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the token proves AVX-512.
        unsafe { _mm512_and_si512(a, b) }
    }
    #[inline(always)]
    fn or(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the token proves AVX-512.
        unsafe { _mm512_or_si512(a, b) }
    }
    #[inline(always)]
    fn shr<const N: i32>(self, a: __m512i) -> __m512i {
        // SAFETY: the token proves AVX-512.
        unsafe {
            let bits = _mm512_srl_epi16(a, _mm_cvtsi32_si128(N));
            _mm512_and_si512(bits, self.splat_b(0xff_u8 >> N))
        }
    }
    #[inline(always)]
    fn shl<const N: i32>(self, a: __m512i) -> __m512i {
        // SAFETY: the token proves AVX-512.
        unsafe {
            let bits = _mm512_sll_epi16(a, _mm_cvtsi32_si128(N));
            _mm512_and_si512(bits, self.splat_b(0xff_u8 << N))
        }
    }
    #[inline(always)]
    fn choose(self, a: __m512i, has: u8, bit: u8) -> __m512i {
        // SAFETY: the token proves AVX-512.
        unsafe {
            let set = _mm512_test_epi8_mask(a, self.splat_b(has));
            _mm512_maskz_mov_epi8(set, self.splat_b(bit))
        }
    }
    #[inline(always)]
    fn table(self, table: &[i8; 16], index: __m512i) -> __m512i {
        // SAFETY: the token proves AVX-512; the array is as long as the load.
        unsafe {
            let table = _mm512_broadcast_i32x4(_mm_loadu_si128(table.as_ptr().cast()));
            _mm512_shuffle_epi8(table, index)
        }
    }
    #[inline(always)]
    fn flip(self, a: __m512i, mask: u8) -> __m512i {
        // SAFETY: the token proves AVX-512.
        unsafe { _mm512_xor_si512(a, self.splat_b(mask)) }
    }
    #[inline(always)]
    fn spread(self, words: __m512i, j: usize, bit: u8) -> __m512i {
        let (byte, at) = (self.word(&SPREAD[j].0), self.word(&SPREAD[j].1));
        // SAFETY: the token proves AVX-512.
        unsafe {
            let set = _mm512_test_epi8_mask(_mm512_shuffle_epi8(words, byte), at);
            _mm512_maskz_mov_epi8(set, self.splat_b(bit))
        }
    }

    #[inline(always)]
    fn start(self, sum: i32, times: i32) -> __m512i {
        // SAFETY: the token proves AVX-512. With a power of two the product is a shift.
        unsafe { _mm512_mullo_epi32(_mm512_set1_epi32(sum), _mm512_set1_epi32(times)) }
    }
    #[inline(always)]
    fn rows_u4<const J: usize>(
        self,
        w: &[__m512i; J],
        a: &[[i8; 4]; J],
        start: __m512i,
    ) -> __m512i {
        const { assert!(J.is_multiple_of(2), "two sums, each half as long a chain") }
        // SAFETY: the token proves AVX-512-VNNI.
        unsafe {
            let mut sums = [start, _mm512_setzero_si512()];
            for j in 0..J / 2 {
                for half in 0..2 {
                    let j = half * (J / 2) + j;
                    sums[half] = _mm512_dpbusd_epi32(sums[half], w[j], four(self, a[j]));
                }
            }
            _mm512_add_epi32(sums[0], sums[1])
        }
    }
    #[inline(always)]
    fn rows_u6<const J: usize>(
        self,
        w: &[__m512i; J],
        a: &[[i8; 4]; J],
        start: __m512i,
    ) -> __m512i {
        self.rows_u4(w, a, start)
    }
    #[inline(always)]
    fn rows_i8<const J: usize>(
        self,
        w: &[__m512i; J],
        a: &[[i8; 4]; J],
        start: __m512i,
    ) -> __m512i {
        self.rows_u4(w, a, start)
    }
    #[inline(always)]
    fn bits_n(self, x: __m512i, shift: u32, mask: i32) -> __m512 {
        // SAFETY: the token proves AVX-512.
        unsafe {
            let low = _mm512_srl_epi32(x, _mm_cvtsi32_si128(shift.cast_signed()));
            _mm512_cvtepi32_ps(_mm512_and_si512(low, _mm512_set1_epi32(mask)))
        }
    }
    #[inline(always)]
    fn byte_n(self, x: __m512i, i: u32) -> __m512 {
        // SAFETY: the token proves AVX-512.
        unsafe {
            let high = _mm512_sll_epi32(x, _mm_cvtsi32_si128((24 - 8 * i).cast_signed()));
            _mm512_cvtepi32_ps(_mm512_srai_epi32::<24>(high))
        }
    }
    #[inline(always)]
    fn to_f(self, x: __m512i) -> __m512 {
        // SAFETY: the token proves AVX-512.
        unsafe { _mm512_cvtepi32_ps(x) }
    }

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        // SAFETY: the token proves AVX-512.
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token proves AVX-512.
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token proves AVX-512.
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: the token proves AVX-512.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn store(self, x: __m512, out: &mut [f32; TILE_ROWS]) {
        // SAFETY: the token proves AVX-512; the array is as long as the store.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), x) }
    }
}
