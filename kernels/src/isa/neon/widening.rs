//! Products of NEON itself: `smull`, `smlal` and `sadalp`, to i16 first.

use super::{Pair, Products, Widening, both, latent, nth};
use crate::op::latent::Line;
use crate::simd::{each, unrolled};
use crate::tile::Word;
use core::arch::{aarch64::*, asm};

/// The products of four steps, of byte i of each row: those of the lower two rows, and those of the upper two.
///
/// Of the intrinsics for upper halves, LLVM sees that those of activations are the lower ones, and moves the weights instead.
#[inline(always)]
fn four(_: Widening, w: [int8x16_t; 4], a: [int8x16_t; 4]) -> [int16x8_t; 2] {
    let (low, high);
    // SAFETY: the token proves NEON; the instructions touch nothing but their registers.
    unsafe {
        asm!(
            "smull {low:v}.8h, {w0:v}.8b, {a0:v}.8b",
            "smull2 {high:v}.8h, {w0:v}.16b, {a0:v}.16b",
            "smlal {low:v}.8h, {w1:v}.8b, {a1:v}.8b",
            "smlal2 {high:v}.8h, {w1:v}.16b, {a1:v}.16b",
            "smlal {low:v}.8h, {w2:v}.8b, {a2:v}.8b",
            "smlal2 {high:v}.8h, {w2:v}.16b, {a2:v}.16b",
            "smlal {low:v}.8h, {w3:v}.8b, {a3:v}.8b",
            "smlal2 {high:v}.8h, {w3:v}.16b, {a3:v}.16b",
            low = out(vreg) low,
            high = out(vreg) high,
            w0 = in(vreg) w[0], w1 = in(vreg) w[1], w2 = in(vreg) w[2], w3 = in(vreg) w[3],
            a0 = in(vreg) a[0], a1 = in(vreg) a[1], a2 = in(vreg) a[2], a3 = in(vreg) a[3],
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    [low, high]
}

/// `sums` plus the products of four steps.
#[inline(always)]
fn four_more(
    _: Widening,
    sums: [int16x8_t; 2],
    w: [int8x16_t; 4],
    a: [int8x16_t; 4],
) -> [int16x8_t; 2] {
    let [mut low, mut high] = sums;
    // SAFETY: the token proves NEON; the instructions touch nothing but their registers.
    unsafe {
        asm!(
            "smlal {low:v}.8h, {w0:v}.8b, {a0:v}.8b",
            "smlal2 {high:v}.8h, {w0:v}.16b, {a0:v}.16b",
            "smlal {low:v}.8h, {w1:v}.8b, {a1:v}.8b",
            "smlal2 {high:v}.8h, {w1:v}.16b, {a1:v}.16b",
            "smlal {low:v}.8h, {w2:v}.8b, {a2:v}.8b",
            "smlal2 {high:v}.8h, {w2:v}.16b, {a2:v}.16b",
            "smlal {low:v}.8h, {w3:v}.8b, {a3:v}.8b",
            "smlal2 {high:v}.8h, {w3:v}.16b, {a3:v}.16b",
            low = inout(vreg) low,
            high = inout(vreg) high,
            w0 = in(vreg) w[0], w1 = in(vreg) w[1], w2 = in(vreg) w[2], w3 = in(vreg) w[3],
            a0 = in(vreg) a[0], a1 = in(vreg) a[1], a2 = in(vreg) a[2], a3 = in(vreg) a[3],
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    [low, high]
}

/// Rows 4R to 4R + 3 of 32 columns of nibbles: sixteen instructions multiply, four load, eight unpack, two add up.
///
/// They are one piece so that eight registers of activations, the same for all rows, stay where they are: LLVM unpacks words of
/// other rows meanwhile, until registers are short.
#[inline(always)]
fn four_rows<const R: usize>(_: Widening, words: &[Word; 4], a: &[int8x16_t; 8]) -> int32x4_t {
    let out;
    // SAFETY: the token proves NEON; the loads are inside of the four words, 64 bytes each.
    unsafe {
        asm!(
            "ldr {w0:q}, [{words}, #16*{r}]",
            "ldr {w1:q}, [{words}, #16*{r}+64]",
            "ldr {w2:q}, [{words}, #16*{r}+128]",
            "ldr {w3:q}, [{words}, #16*{r}+192]",
            "and {x:v}.16b, {w0:v}.16b, {low:v}.16b",
            "ushr {w0:v}.16b, {w0:v}.16b, #4",
            "and {y:v}.16b, {w1:v}.16b, {low:v}.16b",
            "ushr {w1:v}.16b, {w1:v}.16b, #4",
            "smull {out:v}.8h, {x:v}.8b, {a0:v}.8b",
            "smull2 {x:v}.8h, {x:v}.16b, {a0:v}.16b",
            "smlal {out:v}.8h, {w0:v}.8b, {a4:v}.8b",
            "smlal2 {x:v}.8h, {w0:v}.16b, {a4:v}.16b",
            "and {w0:v}.16b, {w2:v}.16b, {low:v}.16b",
            "ushr {w2:v}.16b, {w2:v}.16b, #4",
            "smlal {out:v}.8h, {y:v}.8b, {a1:v}.8b",
            "smlal2 {x:v}.8h, {y:v}.16b, {a1:v}.16b",
            "smlal {out:v}.8h, {w1:v}.8b, {a5:v}.8b",
            "smlal2 {x:v}.8h, {w1:v}.16b, {a5:v}.16b",
            "and {y:v}.16b, {w3:v}.16b, {low:v}.16b",
            "ushr {w3:v}.16b, {w3:v}.16b, #4",
            "smlal {out:v}.8h, {w0:v}.8b, {a2:v}.8b",
            "smlal2 {x:v}.8h, {w0:v}.16b, {a2:v}.16b",
            "smlal {out:v}.8h, {w2:v}.8b, {a6:v}.8b",
            "smlal2 {x:v}.8h, {w2:v}.16b, {a6:v}.16b",
            "smlal {out:v}.8h, {y:v}.8b, {a3:v}.8b",
            "smlal2 {x:v}.8h, {y:v}.16b, {a3:v}.16b",
            "smlal {out:v}.8h, {w3:v}.8b, {a7:v}.8b",
            "smlal2 {x:v}.8h, {w3:v}.16b, {a7:v}.16b",
            // Two bytes of a row: 16 * 15 * 127 = 30480 fits i16.
            "addp {out:v}.8h, {out:v}.8h, {x:v}.8h",
            "saddlp {out:v}.4s, {out:v}.8h",
            words = in(reg) words.as_ptr(),
            r = const R,
            low = in(vreg) vdupq_n_u8(15),
            a0 = in(vreg) a[0], a1 = in(vreg) a[1], a2 = in(vreg) a[2], a3 = in(vreg) a[3],
            a4 = in(vreg) a[4], a5 = in(vreg) a[5], a6 = in(vreg) a[6], a7 = in(vreg) a[7],
            w0 = out(vreg) _, w1 = out(vreg) _, w2 = out(vreg) _, w3 = out(vreg) _,
            x = out(vreg) _, y = out(vreg) _,
            out = out(vreg) out,
            options(pure, readonly, nostack, preserves_flags),
        );
    }
    out
}

/// The products of two steps, as in [`four`].
#[inline(always)]
fn two(_: Widening, w: [int8x16_t; 2], a: [int8x16_t; 2]) -> [int16x8_t; 2] {
    let (low, high);
    // SAFETY: the token proves NEON; the instructions touch nothing but their registers.
    unsafe {
        asm!(
            "smull {low:v}.8h, {w0:v}.8b, {a0:v}.8b",
            "smull2 {high:v}.8h, {w0:v}.16b, {a0:v}.16b",
            "smlal {low:v}.8h, {w1:v}.8b, {a1:v}.8b",
            "smlal2 {high:v}.8h, {w1:v}.16b, {a1:v}.16b",
            low = out(vreg) low,
            high = out(vreg) high,
            w0 = in(vreg) w[0], w1 = in(vreg) w[1],
            a0 = in(vreg) a[0], a1 = in(vreg) a[1],
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    [low, high]
}

impl Products for Widening {
    #[inline(always)]
    fn dot_u6(self, w: Pair, a: Pair) -> int32x4_t {
        // SAFETY: the token proves NEON.
        unsafe {
            let sums = vmull_s8(vget_low_s8(w[0]), vget_low_s8(a[0]));
            let sums = vmlal_high_s8(sums, w[0], a[0]);
            let sums = vmlal_s8(sums, vget_low_s8(w[1]), vget_low_s8(a[1]));
            vpaddlq_s16(vmlal_high_s8(sums, w[1], a[1]))
        }
    }
    #[inline(always)]
    fn dot_i8(self, w: Pair, a: Pair) -> int32x4_t {
        // SAFETY: the token proves NEON.
        unsafe {
            let low = vmlal_high_s8(vmull_s8(vget_low_s8(w[0]), vget_low_s8(a[0])), w[0], a[0]);
            let high = vmlal_high_s8(vmull_s8(vget_low_s8(w[1]), vget_low_s8(a[1])), w[1], a[1]);
            vpadalq_s16(vpaddlq_s16(low), high)
        }
    }
    #[inline(always)]
    fn ready<const J: usize>(self, a: &[[i8; 4]; J]) -> [int8x16_t; J] {
        let a = a.as_chunks::<4>().0;
        // SAFETY: the token proves NEON; four steps of activations are as long as the load.
        unsafe {
            each!(J, |j| {
                let four = vld1q_s32(a[j / 4].as_ptr().cast());
                vreinterpretq_s8_s32(match j % 4 {
                    0 => vdupq_laneq_s32::<0>(four),
                    1 => vdupq_laneq_s32::<1>(four),
                    2 => vdupq_laneq_s32::<2>(four),
                    _ => vdupq_laneq_s32::<3>(four),
                })
            })
        }
    }
    #[inline(always)]
    fn rows<const F: usize, const R: usize, const J: usize>(
        self,
        w: &[[uint8x16_t; R]; J],
        a: &[int8x16_t; J],
        start: [int32x4_t; R],
    ) -> [int32x4_t; R] {
        // SAFETY: the token proves NEON.
        unsafe {
            let a = each!(J, |i| a[nth::<J>(i)]);
            let mut out = start;
            for r in 0..R {
                let w = each!(J, |i| vreinterpretq_s8_u8(w[nth::<J>(i)][r]));
                let (w2, a2) = (w.as_chunks::<2>().0, a.as_chunks::<2>().0);
                let (w4, a4) = (w.as_chunks::<4>().0, a.as_chunks::<4>().0);
                let sum = match F {
                    8 => {
                        let mut sums = four(self, w4[0], a4[0]);
                        if J == 8 {
                            sums = four_more(self, sums, w4[1], a4[1]);
                        }
                        // Two bytes of a row: 16 * 15 * 127 = 30480 fits i16.
                        vpaddlq_s16(vpaddq_s16(sums[0], sums[1]))
                    }
                    4 => {
                        let [low, high] = four(self, w4[0], a4[0]);
                        let mut sums = [vpaddlq_s16(low), vpaddlq_s16(high)];
                        if J == 8 {
                            let [low, high] = four(self, w4[1], a4[1]);
                            sums = [vpadalq_s16(sums[0], low), vpadalq_s16(sums[1], high)];
                        }
                        vpaddq_s32(sums[0], sums[1])
                    }
                    _ => {
                        let [low, high] = two(self, w2[0], a2[0]);
                        let mut sums = [vpaddlq_s16(low), vpaddlq_s16(high)];
                        unrolled!(i in [1, 2, 3] {
                            if i < J / 2 {
                                let [low, high] = two(self, w2[i], a2[i]);
                                sums = [vpadalq_s16(sums[0], low), vpadalq_s16(sums[1], high)];
                            }
                        });
                        vpaddq_s32(sums[0], sums[1])
                    }
                };
                out[r] = vaddq_s32(start[r], sum);
            }
            out
        }
    }
    const PLANE: u32 = 6;
    const LATENT_RATE: usize = 16;
    #[inline(always)]
    fn many_i8<const R: usize, const T: usize>(
        self,
        w: [&[Line]; R],
        a: [&[[i8; 4]]; T],
        starts: [i32; T],
    ) -> [[[[float32x4_t; 2]; 2]; R]; T] {
        latent::many::<2, R, T>(self, w, a, starts)
    }
    #[inline(always)]
    fn many_planes<const R: usize, const T: usize>(
        self,
        w: [&[Line]; R],
        a: [&[[i8; 4]]; T],
    ) -> [[[[float32x4_t; 2]; 2]; R]; T] {
        latent::many::<4, R, T>(self, w, a, [0; T])
    }
    #[inline(always)]
    fn nibbles(
        self,
        words: &[Word; 4],
        a: &[[i8; 4]; 8],
        start: [[int32x4_t; 2]; 2],
    ) -> [[int32x4_t; 2]; 2] {
        let a = self.ready(a);
        let sums = [
            [
                four_rows::<0>(self, words, &a),
                four_rows::<1>(self, words, &a),
            ],
            [
                four_rows::<2>(self, words, &a),
                four_rows::<3>(self, words, &a),
            ],
        ];
        [
            both!(vaddq_s32, start[0], sums[0]),
            both!(vaddq_s32, start[1], sums[1]),
        ]
    }
    #[inline(always)]
    fn dot_half(self, w: int8x16_t, a: int8x16_t) -> int32x4_t {
        // SAFETY: the token proves NEON.
        unsafe {
            vpaddlq_s16(vmlal_high_s8(
                vmull_s8(vget_low_s8(w), vget_low_s8(a)),
                w,
                a,
            ))
        }
    }
}
