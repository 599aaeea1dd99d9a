//! NEON with the 8-bit matrix products: Cortex-A510, A710, A720, Neoverse N2 and V1, and later.
//!
//! `smmla` multiplies two rows by two tokens, eight columns of each: 32 products where `sdot` has 16. Every code of every format
//! fits a signed byte, so it serves all of them, in prefill. One token cannot use it, so decode is that of
//! [`neon_dot`](super::neon_dot); nor is there a use for `usdot`, which the extension also brings.
//!
//! ```text
//!   Vn: eight columns of row 0 | of row 1        Vd: row 0 * token 0, row 0 * token 1,
//!   Vm: eight columns of token 0 | of token 1        row 1 * token 0, row 1 * token 1
//! ```
//!
//! A word of a tile has four columns, so two words are zipped. That is done when a panel is unpacked, where `st2` does it while it
//! stores. A pass over a panel that zips itself would spend one vector instruction on it for every two `smmla`.
//!
//! Its intrinsic is not stable in Rust 1.95, so `smmla` is one line of inline assembly, as `sdot` is.

use super::neon::{Neon, Products};
use super::neon_dot::{MAGIC, NeonDot, Sdot, magic, without_magic};
use crate::op::latent::Line;
use crate::simd::{FourScales, Fours, SimdOp, each, unrolled};
use crate::tile::Codes;
use core::arch::{aarch64::*, asm};

/// Products by `smmla`, of single tokens by `sdot`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct I8mm(Sdot);

/// The token of NEON with dot products and matrix products.
pub(super) type NeonI8mm = Neon<I8mm>;

impl NeonI8mm {
    /// Asks the CPU.
    pub(super) fn new() -> Option<NeonI8mm> {
        let Neon(sdot) = NeonDot::new()?;
        #[cfg(feature = "std")]
        let has = std::arch::is_aarch64_feature_detected!("i8mm");
        #[cfg(not(feature = "std"))]
        let has = cfg!(target_feature = "i8mm");
        has.then_some(Neon(I8mm(sdot)))
    }

    /// Runs `op` in a function compiled for these.
    #[inline]
    pub(super) fn enter<O: SimdOp>(self, op: O) -> O::Output {
        #[target_feature(enable = "neon,dotprod,i8mm")]
        fn inside<O: SimdOp>(s: NeonI8mm, op: O) -> O::Output {
            op.eval(s)
        }
        // SAFETY: the token proves that the CPU has these features.
        unsafe { inside(self, op) }
    }
}

/// `acc` plus two rows times two tokens, eight columns of each.
#[inline(always)]
fn smmla(_: I8mm, mut acc: int32x4_t, w: int8x16_t, a: int8x16_t) -> int32x4_t {
    // SAFETY: the token proves the matrix products; `smmla` touches nothing but its registers.
    unsafe {
        asm!(
            ".arch_extension i8mm",
            "smmla {acc:v}.4s, {w:v}.16b, {a:v}.16b",
            acc = inout(vreg) acc,
            w = in(vreg) w,
            a = in(vreg) a,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    acc
}

/// Eight columns of two tokens beside each other: those of the first eight of 16, then of the last.
#[inline(always)]
fn side_by_side(a: &[[i8; 4]; 4], b: &[[i8; 4]; 4]) -> [int8x16_t; 2] {
    // SAFETY: only the token's methods call this, and the token proves NEON; the arrays are as long as the loads.
    unsafe {
        let (a, b) = (vld1q_s64(a.as_ptr().cast()), vld1q_s64(b.as_ptr().cast()));
        [
            vreinterpretq_s8_s64(vzip1q_s64(a, b)),
            vreinterpretq_s8_s64(vzip2q_s64(a, b)),
        ]
    }
}

/// The `i`th four steps, 16 columns, of all tiles and tokens.
#[inline(always)]
fn four_steps<const R: usize, const T: usize, const J: usize>(
    s: I8mm,
    i: usize,
    w: [&[[u8; 32]; J]; R],
    a: [&[[i8; 4]; J]; T],
    sums: &mut [[[int32x4_t; 4]; R]; T],
) {
    let a = each!(T, |t| &a[t].as_chunks().0[i]);
    for eight in 0..2 {
        for t in (0..T).step_by(2) {
            let a = side_by_side(a[t], a[t + 1])[eight];
            for r in 0..R {
                for two in 0..4 {
                    let w = &w[r][4 * i + 2 * eight + two / 2].as_chunks::<16>().0[two % 2];
                    // SAFETY: only the token's methods call this, and the token proves NEON; the array is as long as the load.
                    let w = unsafe { vld1q_s8(w.as_ptr().cast()) };
                    sums[t][r][two] = smmla(s, sums[t][r][two], w, a);
                }
            }
        }
    }
}

impl Products for I8mm {
    const COARSE: bool = true;
    /// Eight columns of each of four tokens, twice over.
    #[inline(always)]
    fn lay(self, q: [&[i8; 32]; 4], out: &mut Fours) {
        for (half, out) in out.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            // SAFETY: the token proves NEON; the arrays are as long as the loads and the store.
            unsafe {
                let [a, b, c, d] = q.map(|q| vld1q_s64(q.as_ptr().add(16 * half).cast()));
                vst4q_s64(out.as_mut_ptr().cast(), int64x2x4_t(a, b, c, d));
            }
        }
    }
    /// Eight rows and eight tokens are 16 registers of sums; a step of eight columns loads four registers of weights and four of
    /// activations for 16 products. Sums of two rows and two tokens stay as they are until all columns are through.
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
            // Of four tokens, of two rows, of two tokens.
            let mut acc = each!(Q, |_q| each!(4, |_two| each!(2, |_t| magic(self.0))));
            for (g, w) in w.iter().enumerate() {
                unrolled!(e in [0, 1, 2, 3] {
                    let w = w[2 * e].as_ptr().cast::<i8>();
                    let w = each!(4, |two| vld1q_s8(w.add(16 * two)));
                    for q in 0..Q {
                        let a = a[q].add(g).cast::<i8>().add(32 * e);
                        let a = [vld1q_s8(a), vld1q_s8(a.add(16))];
                        for two in 0..4 {
                            for t in 0..2 {
                                acc[q][two][t] = smmla(self, acc[q][two][t], w[two], a[t]);
                            }
                        }
                    }
                });
            }
            let d = [vld1q_f32(d.as_ptr()), vld1q_f32(d.as_ptr().add(4))];
            let of_both = [
                vzip1q_f32(d[0], d[0]),
                vzip2q_f32(d[0], d[0]),
                vzip1q_f32(d[1], d[1]),
                vzip2q_f32(d[1], d[1]),
            ];
            for q in 0..Q {
                let da = vld1q_f32(da[q].d.as_ptr());
                let da = [
                    vcombine_f32(vget_low_f32(da), vget_low_f32(da)),
                    vcombine_f32(vget_high_f32(da), vget_high_f32(da)),
                ];
                for two in 0..4 {
                    for t in 0..2 {
                        let sum = sums[q][two].as_mut_ptr().add(4 * t);
                        let scale = vmulq_f32(of_both[two], da[t]);
                        let products = without_magic(acc[q][two][t]);
                        vst1q_f32(sum, vfmaq_f32(vld1q_f32(sum), products, scale));
                    }
                }
            }
        }
    }
    /// From two rows, two tokens, row, token.
    #[inline(always)]
    fn settle(self, sums: &mut [[f32; 8]; 4]) {
        let from = *sums;
        for (t, sums) in sums.iter_mut().enumerate() {
            *sums = each!(8, |r| from[r / 2][t / 2 * 4 + r % 2 * 2 + t % 2]);
        }
    }
    #[inline(always)]
    fn dot_u6(self, w: [int8x16_t; 2], a: [int8x16_t; 2]) -> int32x4_t {
        self.0.dot_u6(w, a)
    }
    #[inline(always)]
    fn dot_i8(self, w: [int8x16_t; 2], a: [int8x16_t; 2]) -> int32x4_t {
        self.0.dot_i8(w, a)
    }
    #[inline(always)]
    fn ready<const J: usize>(self, a: &[[i8; 4]; J]) -> [int8x16_t; J] {
        self.0.ready(a)
    }
    #[inline(always)]
    fn rows<const F: usize, const R: usize, const J: usize>(
        self,
        w: &[[uint8x16_t; R]; J],
        a: &[int8x16_t; J],
        start: [int32x4_t; R],
    ) -> [int32x4_t; R] {
        self.0.rows::<F, R, J>(w, a, start)
    }
    #[inline(always)]
    fn dot_half(self, w: int8x16_t, a: int8x16_t) -> int32x4_t {
        self.0.dot_half(w, a)
    }
    #[inline(always)]
    fn many_i8<const R: usize, const T: usize>(
        self,
        w: [&[Line]; R],
        a: [&[[i8; 4]]; T],
        starts: [i32; T],
    ) -> [[[[float32x4_t; 2]; 2]; R]; T] {
        self.0.many_i8(w, a, starts)
    }
    /// Two words and eight rows are 64 bytes: eight columns of row 0, of row 1, and so on.
    #[inline(always)]
    fn store_codes(self, codes: &[[uint8x16_t; 2]; 8], out: &mut [[u8; 32]; 8]) {
        for j in [0, 2, 4, 6] {
            for half in 0..2 {
                // SAFETY: the token proves NEON; the array is as long as what `st2` stores.
                unsafe {
                    let words = uint32x4x2_t(
                        vreinterpretq_u32_u8(codes[j][half]),
                        vreinterpretq_u32_u8(codes[j + 1][half]),
                    );
                    vst2q_u32(out[j + half].as_mut_ptr().cast(), words);
                }
            }
        }
    }
    #[inline(always)]
    fn products<const R: usize, const T: usize, const J: usize>(
        self,
        _: Codes,
        w: [&[[u8; 32]; J]; R],
        a: [&[[i8; 4]; J]; T],
        starts: [i32; T],
    ) -> [[[float32x4_t; 2]; R]; T] {
        const { assert!(J == 4 || J == 8, "fours are unrolled by hand") }
        const { assert!(T.is_multiple_of(2), "tokens come in pairs") }
        // SAFETY: the token proves NEON.
        unsafe {
            // Of tokens t and t + 1 where t is even, and of tile r, four times two rows.
            let magic = vreinterpretq_s32_f32(vdupq_n_f32(MAGIC));
            let mut sums = each!(T, |t| {
                let (even, odd) = (starts[t / 2 * 2], starts[t / 2 * 2 + 1]);
                let of_both = vzip1q_s32(vdupq_n_s32(even), vdupq_n_s32(odd));
                [[vaddq_s32(magic, of_both); 4]; R]
            });
            four_steps(self, 0, w, a, &mut sums);
            if J == 8 {
                four_steps(self, 1, w, a, &mut sums);
            }
            each!(T, |t| each!(R, |r| {
                let of_both = sums[t / 2 * 2][r];
                if t % 2 == 0 {
                    each!(2, |half| {
                        without_magic(vuzp1q_s32(of_both[2 * half], of_both[2 * half + 1]))
                    })
                } else {
                    each!(2, |half| {
                        without_magic(vuzp2q_s32(of_both[2 * half], of_both[2 * half + 1]))
                    })
                }
            }))
        }
    }
}
