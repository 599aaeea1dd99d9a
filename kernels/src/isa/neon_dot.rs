//! NEON with the dot product instructions: Cortex-A55, A75, A76 (Raspberry Pi 5, RK3588) and later.
//!
//! `sdot` multiplies 16 pairs of bytes and adds four neighbours to each i32 lane. Its intrinsic is not stable in Rust 1.95, so it is
//! one line of inline assembly, which the register allocator handles like any other instruction.

use super::neon::{Neon, Products, nth};
use crate::simd::{SimdOp, each, unrolled};
use core::arch::{aarch64::*, asm};

/// Products by `sdot`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sdot(());

/// The token of NEON with dot products.
pub(super) type NeonDot = Neon<Sdot>;

impl NeonDot {
    /// Asks the CPU.
    pub(super) fn new() -> Option<NeonDot> {
        if cfg!(miri) {
            return None;
        }
        #[cfg(feature = "std")]
        let has = std::arch::is_aarch64_feature_detected!("dotprod");
        #[cfg(not(feature = "std"))]
        let has = cfg!(target_feature = "dotprod");
        has.then_some(Neon(Sdot(())))
    }

    /// Runs `op` in a function compiled for NEON with dot products.
    #[inline]
    pub(super) fn enter<O: SimdOp>(self, op: O) -> O::Output {
        #[target_feature(enable = "neon,dotprod")]
        fn inside<O: SimdOp>(s: NeonDot, op: O) -> O::Output {
            op.eval(s)
        }
        // SAFETY: the token proves NEON and dot products.
        unsafe { inside(self, op) }
    }
}

/// `acc` plus 16 products, four neighbours to a lane.
#[inline(always)]
fn sdot(_: Sdot, mut acc: int32x4_t, w: int8x16_t, a: int8x16_t) -> int32x4_t {
    // SAFETY: the token proves the dot product instructions; `sdot` touches nothing but its registers.
    unsafe {
        asm!(
            ".arch_extension dotprod",
            "sdot {acc:v}.4s, {w:v}.16b, {a:v}.16b",
            acc = inout(vreg) acc,
            w = in(vreg) w,
            a = in(vreg) a,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    acc
}

/// `acc` plus 16 products with the four activations of lane `L`, four neighbours to a lane.
#[inline(always)]
fn sdot_lane<const L: i32>(_: Sdot, mut acc: int32x4_t, w: int8x16_t, a: int8x16_t) -> int32x4_t {
    // SAFETY: the token proves the dot product instructions; `sdot` touches nothing but its registers.
    unsafe {
        asm!(
            ".arch_extension dotprod",
            "sdot {acc:v}.4s, {w:v}.16b, {a:v}.4b[{lane}]",
            acc = inout(vreg) acc,
            w = in(vreg) w,
            a = in(vreg) a,
            lane = const L,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    acc
}

impl Products for Sdot {
    #[inline(always)]
    fn dot_u6(self, w: [int8x16_t; 2], a: [int8x16_t; 2]) -> int32x4_t {
        self.dot_i8(w, a)
    }
    #[inline(always)]
    fn dot_i8(self, w: [int8x16_t; 2], a: [int8x16_t; 2]) -> int32x4_t {
        sdot(self, self.dot_half(w[0], a[0]), w[1], a[1])
    }
    #[inline(always)]
    fn ready<const J: usize>(self, a: &[[i8; 4]; J]) -> [int8x16_t; J] {
        let a = a.as_chunks::<4>().0;
        // SAFETY: the token proves NEON; four steps of activations are as long as the load.
        unsafe { each!(J, |j| vld1q_s8(a[j / 4].as_ptr().cast())) }
    }
    #[inline(always)]
    fn rows<const F: usize, const R: usize, const J: usize>(
        self,
        w: &[[uint8x16_t; R]; J],
        a: &[int8x16_t; J],
        start: [int32x4_t; R],
    ) -> [int32x4_t; R] {
        let mut sums = start;
        unrolled!(i in [0, 1, 2, 3, 4, 5, 6, 7] {
            if i < J {
                let j = nth::<J>(i);
                for r in 0..R {
                    // SAFETY: the token proves NEON.
                    let w = unsafe { vreinterpretq_s8_u8(w[j][r]) };
                    sums[r] = match j % 4 {
                        0 => sdot_lane::<0>(self, sums[r], w, a[j]),
                        1 => sdot_lane::<1>(self, sums[r], w, a[j]),
                        2 => sdot_lane::<2>(self, sums[r], w, a[j]),
                        _ => sdot_lane::<3>(self, sums[r], w, a[j]),
                    };
                }
            }
        });
        sums
    }
    #[inline(always)]
    fn dot_half(self, w: int8x16_t, a: int8x16_t) -> int32x4_t {
        // SAFETY: the token proves NEON.
        sdot(self, unsafe { vdupq_n_s32(0) }, w, a)
    }
}
