//! Products of bytes: what the tiers of NEON differ in.

use super::{Neon, Pair, fence};
use crate::lanes::Eight;
use crate::op::latent::Line;
use crate::simd::{FourScales, Fours, Simd, block_by_rows, one_by_one};
use crate::tile::{Codes, Word, nibbles};
use core::arch::aarch64::*;

/// What the tiers differ in.
pub(in crate::isa) trait Products: Copy {
    /// 32 weights of 0 to 63 times activations.
    fn dot_u6(self, w: Pair, a: Pair) -> int32x4_t;
    /// 32 weights of -128 to 127 times activations of -127 to 127.
    fn dot_i8(self, w: Pair, a: Pair) -> int32x4_t;
    /// 16 weights of 0 to 63 times activations.
    fn dot_half(self, w: int8x16_t, a: int8x16_t) -> int32x4_t;
    /// The four activations of each step, as `rows` wants them.
    fn ready<const J: usize>(self, a: &[[i8; 4]; J]) -> [int8x16_t; J];
    /// `start` plus the rows of `R` registers times the same four activations a step; a sum of `F` steps fits i16.
    fn rows<const F: usize, const R: usize, const J: usize>(
        self,
        w: &[[uint8x16_t; R]; J],
        a: &[int8x16_t; J],
        start: [int32x4_t; R],
    ) -> [int32x4_t; R];
    /// See [`Simd::both_nibbles`].
    #[inline(always)]
    fn nibbles(
        self,
        words: &[Word; 4],
        a: &[[i8; 4]; 8],
        start: [[int32x4_t; 2]; 2],
    ) -> [[int32x4_t; 2]; 2] {
        let a = self.ready(a);
        let mut out = start;
        for half in 0..2 {
            let codes = nibbles(Eight::new(Neon(self), half), words);
            out[half] = self.rows::<8, 2, 8>(&codes, &a, start[half]);
            fence(Neon(self));
        }
        out
    }
    /// See [`Simd::store_codes`].
    #[inline(always)]
    fn store_codes(self, codes: &[[uint8x16_t; 2]; 8], out: &mut [[u8; 32]; 8]) {
        for j in 0..8 {
            Neon(self).store_b(codes[j], &mut out[j]);
        }
    }
    /// See [`Simd::products`].
    #[inline(always)]
    fn products<const R: usize, const T: usize, const J: usize>(
        self,
        codes: Codes,
        w: [&[[u8; 32]; J]; R],
        a: [&[[i8; 4]; J]; T],
        starts: [i32; T],
    ) -> [[[float32x4_t; 2]; R]; T] {
        one_by_one(Neon(self), codes, w, a, starts)
    }
    /// See [`Simd::PLANE`].
    const PLANE: u32 = 7;
    /// See [`Simd::LATENT_RATE`].
    const LATENT_RATE: usize = 35;
    /// See [`Simd::many_i8`].
    fn many_i8<const R: usize, const T: usize>(
        self,
        w: [&[Line]; R],
        a: [&[[i8; 4]]; T],
        starts: [i32; T],
    ) -> [[[[float32x4_t; 2]; 2]; R]; T];
    /// See [`Simd::many_planes`].
    #[inline(always)]
    fn many_planes<const R: usize, const T: usize>(
        self,
        w: [&[Line]; R],
        a: [&[[i8; 4]]; T],
    ) -> [[[[float32x4_t; 2]; 2]; R]; T] {
        self.many_i8(w, a, [0; T])
    }
    /// See [`Simd::COARSE`].
    const COARSE: bool = false;
    /// See [`Simd::lay`]: `st4` stores words of four registers in turns.
    #[inline(always)]
    fn lay(self, q: [&[i8; 32]; 4], out: &mut Fours) {
        for (half, out) in out.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            // SAFETY: the token proves NEON; the arrays are as long as the loads and the store.
            unsafe {
                let [a, b, c, d] = q.map(|q| vld1q_s32(q.as_ptr().add(16 * half).cast()));
                vst4q_s32(out.as_mut_ptr().cast(), int32x4x4_t(a, b, c, d));
            }
        }
    }
    /// See [`Simd::block`].
    #[inline(always)]
    fn block<const Q: usize>(
        self,
        w: &[[[u8; 32]; 8]],
        a: [&[Fours]; Q],
        da: [&FourScales; Q],
        d: &[f32; 8],
        sums: &mut [[[f32; 8]; 4]; Q],
    ) {
        block_by_rows(Neon(self), w, a, da, d, sums);
    }
    /// See [`Simd::settle`].
    #[inline(always)]
    fn settle(self, _sums: &mut [[f32; 8]; 4]) {}
}
