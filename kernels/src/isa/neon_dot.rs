//! NEON with the dot product instructions: Cortex-A55, A75, A76 (Raspberry Pi 5, RK3588) and later.
//!
//! `sdot` multiplies 16 pairs of bytes and adds four neighbours to each i32 lane. Its intrinsic is not stable in Rust 1.95, so it is
//! one line of inline assembly, which the register allocator handles like any other instruction.

use super::neon::{Neon, Products, nth};
use crate::op::latent::Line;
use crate::simd::{FourScales, Fours, SimdOp, each, unrolled};
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

/// What sums start from: the bits of 3 * 2^22 as f32 are an integer that, with n added, are the bits of 3 * 2^22 + n, as long as n
/// is within 2^22. 256 * 128 * 127 is. The subtraction is exact, and takes a quarter of `scvtf` on Cortex-A76 and Neoverse N2.
pub(super) const MAGIC: f32 = 12_582_912.0;

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

/// The bits of [`MAGIC`], from memory each time: copies of a register would take the pipes of the products, of which the sums of a
/// block have sixteen.
#[inline(always)]
pub(super) fn magic(_: Sdot) -> int32x4_t {
    const FROM: &[f32; 4] = &[MAGIC; 4];
    let out;
    // SAFETY: the token proves NEON; the array is as long as the load.
    unsafe {
        asm!(
            "ldr {out:q}, [{from}]",
            out = out(vreg) out,
            from = in(reg) FROM.as_ptr(),
            options(nostack, readonly, preserves_flags),
        );
    }
    out
}

/// [`MAGIC`] and the sum that was added to its bits, as f32.
#[inline(always)]
pub(super) fn without_magic(x: int32x4_t) -> float32x4_t {
    // SAFETY: only the methods of tokens call this, and they prove NEON.
    unsafe { vsubq_f32(vreinterpretq_f32_s32(x), vdupq_n_f32(MAGIC)) }
}

impl Products for Sdot {
    const COARSE: bool = true;
    /// Eight rows and eight tokens are 16 registers of sums; a step of four columns loads two registers of weights and two of
    /// activations for 16 products.
    #[inline(always)]
    fn block<const Q: usize>(
        self,
        w: &[[[u8; 32]; 8]],
        a: [&[Fours]; Q],
        da: [&FourScales; Q],
        d: &[f32; 8],
        sums: &mut [[[f32; 8]; 4]; Q],
    ) {
        // After this, no step asks whether there is another.
        let a = a.map(|a| a[..w.len()].as_ptr());
        // SAFETY: the token proves NEON; the arrays are as long as the loads and stores, and there are as many groups of `a` as of `w`.
        unsafe {
            let mut acc = each!(Q, |_q| each!(4, |_t| each!(2, |_half| magic(self))));
            for (g, w) in w.iter().enumerate() {
                unrolled!(j in [0, 1, 2, 3, 4, 5, 6, 7] {
                    let w = w[j].as_ptr().cast();
                    let w = [vld1q_s8(w), vld1q_s8(w.add(16))];
                    for q in 0..Q {
                        let a = vld1q_s8(a[q].add(g).cast::<i8>().add(16 * j));
                        for half in 0..2 {
                            acc[q][0][half] = sdot_lane::<0>(self, acc[q][0][half], w[half], a);
                            acc[q][1][half] = sdot_lane::<1>(self, acc[q][1][half], w[half], a);
                            acc[q][2][half] = sdot_lane::<2>(self, acc[q][2][half], w[half], a);
                            acc[q][3][half] = sdot_lane::<3>(self, acc[q][3][half], w[half], a);
                        }
                    }
                });
            }
            let d = [vld1q_f32(d.as_ptr()), vld1q_f32(d.as_ptr().add(4))];
            for q in 0..Q {
                let da = vld1q_f32(da[q].d.as_ptr());
                for half in 0..2 {
                    let scales = [
                        vmulq_laneq_f32::<0>(d[half], da),
                        vmulq_laneq_f32::<1>(d[half], da),
                        vmulq_laneq_f32::<2>(d[half], da),
                        vmulq_laneq_f32::<3>(d[half], da),
                    ];
                    for t in 0..4 {
                        let sum = sums[q][t].as_mut_ptr().add(4 * half);
                        let products = without_magic(acc[q][t][half]);
                        vst1q_f32(sum, vfmaq_f32(vld1q_f32(sum), products, scales[t]));
                    }
                }
            }
        }
    }
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
