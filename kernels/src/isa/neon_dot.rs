//! NEON with the dot product instructions: Cortex-A55, A75, A76 (Raspberry Pi 5, RK3588) and later.
//!
//! `sdot` multiplies 16 pairs of bytes and adds four neighbours to each i32 lane. Its intrinsic is not stable in Rust 1.95, so it is
//! one line of inline assembly, which the register allocator handles like any other instruction.

use super::neon::{Neon, Products};
use crate::op::latent::Line;
use crate::simd::{SimdOp, each};
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
    fn rows<const F: usize, const J: usize>(
        self,
        w: &[[uint8x16_t; 2]; J],
        a: &[[i8; 4]; J],
        start: [int32x4_t; 2],
    ) -> [int32x4_t; 2] {
        // SAFETY: the token proves NEON; four steps of activations are as long as the load.
        unsafe {
            let mut sums = start;
            for (w, a) in w.as_chunks::<4>().0.iter().zip(a.as_chunks::<4>().0) {
                let a = vld1q_s8(a.as_ptr().cast());
                for half in 0..2 {
                    let w = |j: usize| vreinterpretq_s8_u8(w[j][half]);
                    let mut sum = sums[half];
                    sum = sdot_lane::<0>(self, sum, w(0), a);
                    sum = sdot_lane::<1>(self, sum, w(1), a);
                    sum = sdot_lane::<2>(self, sum, w(2), a);
                    sums[half] = sdot_lane::<3>(self, sum, w(3), a);
                }
            }
            sums
        }
    }
    #[inline(always)]
    fn dot_half(self, w: int8x16_t, a: int8x16_t) -> int32x4_t {
        // SAFETY: the token proves NEON.
        sdot(self, unsafe { vdupq_n_s32(0) }, w, a)
    }
    /// Sixteen sums of four columns, and four columns of activations: a load of a line's quarter serves four products.
    #[inline(always)]
    fn many_i8<const R: usize, const T: usize>(
        self,
        w: [&[Line]; R],
        a: [&[[i8; 4]]; T],
        starts: [i32; T],
    ) -> [[[[float32x4_t; 2]; 2]; R]; T] {
        let w = each!(R, |r| w[r].as_chunks::<4>().0);
        let n = w[0].len();
        let w = each!(R, |r| &w[r][..n]);
        let a = each!(T, |t| &a[t].as_chunks::<4>().0[..n]);
        // SAFETY: the token proves NEON; the arrays are as long as the loads.
        unsafe {
            let mut out = [[[[vdupq_n_f32(0.0); 2]; 2]; R]; T];
            for r in 0..R {
                let mut sums = each!(T, |t| [vdupq_n_s32(starts[t]); 4]);
                for j in 0..n {
                    let a = each!(T, |t| vld1q_s8(a[t][j].as_ptr().cast()));
                    let w = &w[r][j];
                    by_lane::<0, T>(self, &w[0], &a, &mut sums);
                    by_lane::<1, T>(self, &w[1], &a, &mut sums);
                    by_lane::<2, T>(self, &w[2], &a, &mut sums);
                    by_lane::<3, T>(self, &w[3], &a, &mut sums);
                }
                for t in 0..T {
                    out[t][r] = each!(2, |half| each!(2, |q| vcvtq_f32_s32(sums[t][2 * half + q])));
                }
            }
            out
        }
    }
}

/// A line with lane `L` of some columns.
#[inline(always)]
fn by_lane<const L: i32, const T: usize>(
    s: Sdot,
    w: &Line,
    a: &[int8x16_t; T],
    sums: &mut [[int32x4_t; 4]; T],
) {
    for (q, w) in w.0.as_chunks::<16>().0.iter().enumerate() {
        // SAFETY: the token proves NEON; the array is as long as the load.
        let w = unsafe { vld1q_s8(w.as_ptr().cast()) };
        for t in 0..T {
            sums[t][q] = sdot_lane::<L>(s, sums[t][q], w, a[t]);
        }
    }
}
