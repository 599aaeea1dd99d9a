//! NEON as every 64-bit Arm has it: Cortex-A53 and A72 (Raspberry Pi 3 and 4) know no more.
//!
//! 32 bytes are two q registers. Products of bytes go to i16 and from there, two at a time, to i32. Four products of 63 * 127
//! still fit into i16, so weights up to 63 need one such step per 32; signed weights need two (2 * 128 * 127 = 32512 fits).
//!
//! The tiers above differ in these products only, so they are a parameter: [`Products`].
//!
//! With 32 registers, decode takes all rows of a tile at once, and what is made of activations serves sixteen rows; for A72, where
//! the same four activations must fill a register, that is half of these instructions. LLVM loads and unpacks far ahead, as if
//! nothing but latency counted, and then keeps sums in memory: `fence` holds it back, and [`Widening`] has its `Q4_0` in one piece.
//! llvm-mca of `Q4_0`, cortex-a57, MAC/cycle: by eight rows 3.8; by sixteen, register by register, 6.2, with registers on the stack;
//! steps in the order of words 5.1; four steps to a piece 5.7, with fences 5.9; four rows to a piece 6.7.
//!
//! It has more than 400 lines because the vocabulary has as many operations, each a few lines here.

mod latent;
mod products;
mod widening;

pub(super) use products::Products;

use crate::isa::neon_rescale::rescale;
use crate::lanes::{Eight, Sixteen};
use crate::op::latent::Line;
use crate::simd::{FourScales, Fours, Simd, SimdOp, each};
use crate::tile::{Codes, SixBits, Word};
use core::arch::{aarch64::*, asm};

/// The token of NEON; `P` tells how bytes are multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neon<P = Widening>(pub(super) P);

/// Products by `smull`, `smlal` and `sadalp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Widening(());

/// 32 bytes.
type Pair = [int8x16_t; 2];

/// Applies a two-operand intrinsic to both halves.
macro_rules! both {
    ($f:ident, $a:expr, $b:expr) => {{
        let (a, b) = ($a, $b);
        // SAFETY: the token proves NEON.
        unsafe { [$f(a[0], b[0]), $f(a[1], b[1])] }
    }};
    ($f:ident, $a:expr) => {{
        let a = $a;
        // SAFETY: the token proves NEON.
        unsafe { [$f(a[0]), $f(a[1])] }
    }};
}
use both;

impl Neon {
    /// NEON belongs to the architecture.
    pub(super) fn new() -> Option<Neon> {
        (!cfg!(miri)).then_some(Neon(Widening(())))
    }

    /// Runs `op`.
    #[inline]
    pub(super) fn enter<O: SimdOp>(self, op: O) -> O::Output {
        #[target_feature(enable = "neon")]
        fn inside<O: SimdOp>(s: Neon, op: O) -> O::Output {
            op.eval(s)
        }
        // SAFETY: the token proves NEON.
        unsafe { inside(self, op) }
    }
}

/// Which step of `J` comes `i`th: of eight, a low nibble and then the high one of the same word, which then need not be kept.
#[inline(always)]
pub(in crate::isa) fn nth<const J: usize>(i: usize) -> usize {
    if J == 8 { i / 2 + i % 2 * 4 } else { i }
}

/// For [`Simd::spread`]: which byte of its lane each byte looks at, and at which bit of it.
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

/// `a`, with the bits of `mask` from `b`; of the intrinsic, LLVM makes an `and` and an `orr` where it knows some bits of `a`.
#[inline(always)]
fn bit(mut a: uint8x16_t, b: uint8x16_t, mask: uint8x16_t) -> uint8x16_t {
    // SAFETY: only the token's methods call this, and the token proves NEON; `bit` touches nothing but its registers.
    unsafe {
        asm!(
            "bit {a:v}.16b, {b:v}.16b, {mask:v}.16b",
            a = inout(vreg) a,
            b = in(vreg) b,
            mask = in(vreg) mask,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    a
}

/// What loads stay behind: LLVM, which would load all words at once to hide what loads take, and then has no registers for them.
#[inline(always)]
fn fence<P>(_: Neon<P>) {
    // SAFETY: no instruction.
    unsafe { asm!("", options(nostack, preserves_flags)) }
}

/// Two pairs as four.
#[inline(always)]
fn flat<T: Copy>([a, b]: [[T; 2]; 2]) -> [T; 4] {
    [a[0], a[1], b[0], b[1]]
}

/// Four as two pairs.
#[inline(always)]
fn pairs<T: Copy>([a, b, c, d]: [T; 4]) -> [[T; 2]; 2] {
    [[a, b], [c, d]]
}

impl<P: Products> Simd for Neon<P> {
    type B = [uint8x16_t; 2];
    type I = int32x4_t;
    type A = float32x4_t;
    type F = [float32x4_t; 2];
    type S = [i32; 16];
    type N = [int32x4_t; 2];
    type Lanes = Sixteen<Self>;

    const BIAS: u8 = 0;
    const PARTS: usize = 1;

    #[inline(always)]
    fn part(self, _: usize) -> Self::Lanes {
        Sixteen::new(self)
    }
    // Two tiles and four tokens have 16 registers of f32 sums and as many of integers, all that there are, and stores take the
    // pipes of products. llvm-mca of sdot, neoverse-n1: 18.6 MAC/cycle one by one, 13.6 together.
    const TOGETHER: usize = 1;

    #[inline(always)]
    fn bytes(self, x: &[u8; 32]) -> Self::B {
        // SAFETY: the token proves NEON; the array is as long as the two loads.
        unsafe { [vld1q_u8(x.as_ptr()), vld1q_u8(x.as_ptr().add(16))] }
    }
    #[inline(always)]
    fn acts(self, x: &[i8; 32]) -> Self::B {
        // SAFETY: the token proves NEON; the array is as long as the two loads.
        unsafe {
            [
                vld1q_u8(x.as_ptr().cast()),
                vld1q_u8(x.as_ptr().add(16).cast()),
            ]
        }
    }
    #[inline(always)]
    fn nibbles(self, x: &[u8; 16]) -> Self::B {
        // SAFETY: the token proves NEON; the array is as long as the load.
        unsafe {
            let x = vld1q_u8(x.as_ptr());
            [vandq_u8(x, vdupq_n_u8(15)), vshrq_n_u8::<4>(x)]
        }
    }
    #[inline(always)]
    fn splat_b(self, x: u8) -> Self::B {
        // SAFETY: the token proves NEON.
        unsafe { [vdupq_n_u8(x); 2] }
    }
    #[inline(always)]
    fn and(self, a: Self::B, b: Self::B) -> Self::B {
        both!(vandq_u8, a, b)
    }
    #[inline(always)]
    fn or(self, a: Self::B, b: Self::B) -> Self::B {
        both!(vorrq_u8, a, b)
    }
    #[inline(always)]
    fn shr<const N: i32>(self, a: Self::B) -> Self::B {
        // SAFETY: the token proves NEON.
        unsafe { [vshrq_n_u8::<N>(a[0]), vshrq_n_u8::<N>(a[1])] }
    }
    #[inline(always)]
    fn shl<const N: i32>(self, a: Self::B) -> Self::B {
        // SAFETY: the token proves NEON.
        unsafe { [vshlq_n_u8::<N>(a[0]), vshlq_n_u8::<N>(a[1])] }
    }
    #[inline(always)]
    fn test(self, a: Self::B, b: Self::B) -> Self::B {
        both!(vtstq_u8, a, b)
    }
    #[inline(always)]
    fn insert(self, a: Self::B, b: Self::B, mask: u8) -> Self::B {
        let mask = self.splat_b(mask);
        [bit(a[0], b[0], mask[0]), bit(a[1], b[1], mask[1])]
    }
    #[inline(always)]
    fn bits(self, bits: u32) -> Self::B {
        // Each half spreads two bytes of the word, then every lane looks at its own bit.
        // SAFETY: the token proves NEON; the array is as long as the load.
        unsafe {
            let bit =
                vld1q_u8([1_u8, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128].as_ptr());
            let [a, b, c, d] = bits.to_le_bytes();
            let low = vcombine_u8(vdup_n_u8(a), vdup_n_u8(b));
            let high = vcombine_u8(vdup_n_u8(c), vdup_n_u8(d));
            [vtstq_u8(low, bit), vtstq_u8(high, bit)]
        }
    }
    #[inline(always)]
    fn table(self, table: &[i8; 16], index: Self::B) -> Self::B {
        // SAFETY: the token proves NEON; the array is as long as the load.
        unsafe {
            let table = vld1q_u8(table.as_ptr().cast());
            [vqtbl1q_u8(table, index[0]), vqtbl1q_u8(table, index[1])]
        }
    }
    #[inline(always)]
    fn flip(self, a: Self::B, mask: u8) -> Self::B {
        both!(veorq_u8, a, self.splat_b(mask))
    }
    #[inline(always)]
    fn prefetch(self, bytes: &[u8], ahead: usize) {
        // SAFETY: a prefetch of any address whatever has no effect that a program could see.
        unsafe {
            asm!(
                "prfm pldl2strm, [{}]",
                in(reg) bytes.as_ptr().wrapping_add(ahead),
                options(nostack, preserves_flags, readonly)
            );
        }
    }
    #[inline(always)]
    fn store_b(self, x: Self::B, out: &mut [u8; 32]) {
        // SAFETY: the token proves NEON; the array is as long as the two stores.
        unsafe {
            vst1q_u8(out.as_mut_ptr(), x[0]);
            vst1q_u8(out.as_mut_ptr().add(16), x[1]);
        }
    }

    #[inline(always)]
    fn dot_u6(self, w: Self::B, a: Self::B) -> int32x4_t {
        self.0
            .dot_u6(both!(vreinterpretq_s8_u8, w), both!(vreinterpretq_s8_u8, a))
    }
    #[inline(always)]
    fn dot_i8(self, w: Self::B, a: Self::B) -> int32x4_t {
        self.0
            .dot_i8(both!(vreinterpretq_s8_u8, w), both!(vreinterpretq_s8_u8, a))
    }
    #[inline(always)]
    fn scales(self, x: &[i8; 16]) -> [i32; 16] {
        x.map(i32::from)
    }
    #[inline(always)]
    fn dot_halves(self, w: Self::B, a: Self::B, scales: [i32; 16], j: usize) -> int32x4_t {
        let (w, a) = (both!(vreinterpretq_s8_u8, w), both!(vreinterpretq_s8_u8, a));
        let (low, high) = (self.0.dot_half(w[0], a[0]), self.0.dot_half(w[1], a[1]));
        // SAFETY: the token proves NEON.
        unsafe { vmlaq_n_s32(vmulq_n_s32(low, scales[2 * j]), high, scales[2 * j + 1]) }
    }
    #[cfg(test)]
    fn sum_i(self, x: int32x4_t) -> i32 {
        // SAFETY: the token proves NEON.
        unsafe { vaddvq_s32(x) }
    }

    #[inline(always)]
    fn spread(self, words: Self::B, j: usize) -> Self::B {
        let (byte, bit) = &SPREAD[j];
        // SAFETY: the token proves NEON; the arrays are as long as the loads.
        unsafe {
            let (byte, bit) = (vld1q_u8(byte.as_ptr()), vld1q_u8(bit.as_ptr()));
            words.map(|words| vtstq_u8(vqtbl1q_u8(words, byte), bit))
        }
    }
    #[inline(always)]
    fn start(self, sum: i32, times: i32) -> Self::N {
        // SAFETY: the token proves NEON.
        unsafe { [vmulq_n_s32(vdupq_n_s32(sum), times); 2] }
    }
    #[inline(always)]
    fn rows_u4<const J: usize>(
        self,
        w: &[Self::B; J],
        a: &[[i8; 4]; J],
        start: Self::N,
    ) -> Self::N {
        self.0.rows::<8, 2, J>(w, &self.0.ready(a), start)
    }
    #[inline(always)]
    fn both_u4<const J: usize>(
        self,
        w: &[[Self::B; 2]; J],
        a: &[[i8; 4]; J],
        start: [Self::N; 2],
    ) -> [Self::N; 2] {
        let w = each!(J, |j| flat(w[j]));
        pairs(self.0.rows::<8, 4, J>(&w, &self.0.ready(a), flat(start)))
    }
    #[inline(always)]
    fn rows_u6<const J: usize>(
        self,
        w: &[Self::B; J],
        a: &[[i8; 4]; J],
        start: Self::N,
    ) -> Self::N {
        self.0.rows::<4, 2, J>(w, &self.0.ready(a), start)
    }
    #[inline(always)]
    fn both_u6<const J: usize>(
        self,
        w: &[[Self::B; 2]; J],
        a: &[[i8; 4]; J],
        start: [Self::N; 2],
    ) -> [Self::N; 2] {
        let w = each!(J, |j| flat(w[j]));
        pairs(self.0.rows::<4, 4, J>(&w, &self.0.ready(a), flat(start)))
    }
    #[inline(always)]
    fn rows_i8<const J: usize>(
        self,
        w: &[Self::B; J],
        a: &[[i8; 4]; J],
        start: Self::N,
    ) -> Self::N {
        self.0.rows::<2, 2, J>(w, &self.0.ready(a), start)
    }
    #[inline(always)]
    fn both_i8<const J: usize>(
        self,
        w: &[[Self::B; 2]; J],
        a: &[[i8; 4]; J],
        start: [Self::N; 2],
    ) -> [Self::N; 2] {
        let w = each!(J, |j| flat(w[j]));
        pairs(self.0.rows::<2, 4, J>(&w, &self.0.ready(a), flat(start)))
    }
    #[inline(always)]
    fn both_nibbles(
        self,
        words: &[Word; 4],
        a: &[[i8; 4]; 8],
        start: [Self::N; 2],
    ) -> [Self::N; 2] {
        self.0.nibbles(words, a, start)
    }
    #[inline(always)]
    fn both_six<const K: usize>(
        self,
        words: SixBits<'_, 4>,
        a: &[[i8; 4]; 4],
        start: [Self::N; 2],
    ) -> [Self::N; 2] {
        let a = self.0.ready(a);
        let mut out = start;
        for half in 0..2 {
            let codes = words.codes::<_, K>(Eight::new(self, half));
            out[half] = self.0.rows::<4, 2, 4>(&codes, &a, start[half]);
            fence(self);
        }
        out
    }
    #[inline(always)]
    fn store_codes(self, codes: &[Self::B; 8], out: &mut [[u8; 32]; 8]) {
        self.0.store_codes(codes, out);
    }
    #[inline(always)]
    fn products<const R: usize, const T: usize, const J: usize>(
        self,
        codes: Codes,
        w: [&[[u8; 32]; J]; R],
        a: [&[[i8; 4]; J]; T],
        starts: [i32; T],
    ) -> [[Self::F; R]; T] {
        self.0.products(codes, w, a, starts)
    }
    const PLANE: u32 = P::PLANE;
    const LATENT_RATE: usize = P::LATENT_RATE;
    #[inline(always)]
    fn many_i8<const R: usize, const T: usize>(
        self,
        w: [&[Line]; R],
        a: [&[[i8; 4]]; T],
        starts: [i32; T],
    ) -> [[[Self::F; 2]; R]; T] {
        self.0.many_i8(w, a, starts)
    }
    #[inline(always)]
    fn many_planes<const R: usize, const T: usize>(
        self,
        w: [&[Line]; R],
        a: [&[[i8; 4]]; T],
    ) -> [[[Self::F; 2]; R]; T] {
        self.0.many_planes(w, a)
    }
    #[inline(always)]
    fn turn(self, x: &[Line; 4], out: &mut [Line; 4]) {
        latent::turn(self.0, x, out);
    }
    #[inline(always)]
    fn planes(self, x: [Self::F; 4], high: &mut [i8; 32], low: &mut [i8; 32]) {
        latent::planes(self.0, x, high, low);
    }
    const COARSE: bool = P::COARSE;
    #[inline(always)]
    fn rescale<const J: usize>(
        self,
        codes: [Self::B; J],
        f: Self::F,
        base: Self::F,
        flip: Self::F,
        shift: u32,
    ) -> [Self::B; J] {
        // SAFETY: the token proves NEON.
        unsafe { rescale(codes, f, base, flip, shift) }
    }
    #[inline(always)]
    fn lay(self, q: [&[i8; 32]; 4], out: &mut Fours) {
        self.0.lay(q, out);
    }
    #[inline(always)]
    fn block<const Q: usize>(
        self,
        w: &[[[u8; 32]; 8]],
        a: [&[Fours]; Q],
        da: [&FourScales; Q],
        d: &[f32; 8],
        sums: &mut [[[f32; 8]; 4]; Q],
    ) {
        self.0.block(w, a, da, d, sums);
    }
    #[inline(always)]
    fn settle(self, sums: &mut [[f32; 8]; 4]) {
        self.0.settle(sums);
    }
    #[inline(always)]
    fn load_n(self, x: &[u8; 32]) -> Self::N {
        both!(vreinterpretq_s32_u8, self.bytes(x))
    }
    #[inline(always)]
    fn load_n16(self, x: &[u8; 16]) -> Self::N {
        // SAFETY: the token proves NEON; the array is as long as the load.
        unsafe {
            let x = vreinterpretq_u16_u8(vld1q_u8(x.as_ptr()));
            let wide = [vmovl_u16(vget_low_u16(x)), vmovl_high_u16(x)];
            wide.map(|x| vreinterpretq_s32_u32(x))
        }
    }
    #[inline(always)]
    fn bits_n(self, x: Self::N, shift: u32, mask: i32) -> Self::F {
        // SAFETY: the token proves NEON.
        unsafe {
            let (left, mask) = (vdupq_n_s32(-shift.cast_signed()), vdupq_n_s32(mask));
            x.map(|x| {
                let low = vshlq_u32(vreinterpretq_u32_s32(x), left);
                vcvtq_f32_s32(vandq_s32(vreinterpretq_s32_u32(low), mask))
            })
        }
    }
    #[inline(always)]
    fn byte_n(self, x: Self::N, i: u32) -> Self::F {
        // SAFETY: the token proves NEON.
        unsafe {
            let left = vdupq_n_s32((24 - 8 * i).cast_signed());
            x.map(|x| vcvtq_f32_s32(vshrq_n_s32::<24>(vshlq_s32(x, left))))
        }
    }
    #[inline(always)]
    fn to_f(self, x: Self::N) -> Self::F {
        both!(vcvtq_f32_s32, x)
    }

    #[inline(always)]
    fn zero(self) -> float32x4_t {
        // SAFETY: the token proves NEON.
        unsafe { vdupq_n_f32(0.0) }
    }
    #[inline(always)]
    fn mac(self, acc: float32x4_t, x: int32x4_t, scale: f32) -> float32x4_t {
        // SAFETY: the token proves NEON.
        unsafe { vfmaq_n_f32(acc, vcvtq_f32_s32(x), scale) }
    }
    #[inline(always)]
    fn sum_a(self, x: float32x4_t) -> f32 {
        // SAFETY: the token proves NEON.
        unsafe { vaddvq_f32(x) }
    }

    #[inline(always)]
    fn splat(self, x: f32) -> Self::F {
        // SAFETY: the token proves NEON.
        unsafe { [vdupq_n_f32(x); 2] }
    }
    #[inline(always)]
    fn load(self, x: &[f32; 8]) -> Self::F {
        // SAFETY: the token proves NEON; the array is as long as the two loads.
        unsafe { [vld1q_f32(x.as_ptr()), vld1q_f32(x.as_ptr().add(4))] }
    }
    #[inline(always)]
    fn store(self, x: Self::F, out: &mut [f32; 8]) {
        // SAFETY: the token proves NEON; the array is as long as the two stores.
        unsafe {
            vst1q_f32(out.as_mut_ptr(), x[0]);
            vst1q_f32(out.as_mut_ptr().add(4), x[1]);
        }
    }
    #[inline(always)]
    fn load_f32_le(self, x: &[u8; 32]) -> Self::F {
        both!(vreinterpretq_f32_u8, self.bytes(x))
    }
    #[inline(always)]
    fn load_f16_le(self, x: &[u8; 16]) -> Self::F {
        // SAFETY: the token proves NEON; the array is as long as the load.
        unsafe {
            let half = vreinterpretq_f16_u8(vld1q_u8(x.as_ptr()));
            [vcvt_f32_f16(vget_low_f16(half)), vcvt_high_f32_f16(half)]
        }
    }
    #[inline(always)]
    fn load_bf16_le(self, x: &[u8; 16]) -> Self::F {
        // SAFETY: the token proves NEON; the array is as long as the load.
        unsafe {
            let x = vreinterpretq_u16_u8(vld1q_u8(x.as_ptr()));
            let (low, high) = (
                vshll_n_u16::<16>(vget_low_u16(x)),
                vshll_high_n_u16::<16>(x),
            );
            [vreinterpretq_f32_u32(low), vreinterpretq_f32_u32(high)]
        }
    }
    #[inline(always)]
    fn load_f16(self, x: &[u16; 8]) -> Self::F {
        // SAFETY: the token proves NEON; the array is as long as the load.
        unsafe {
            let half = vreinterpretq_f16_u16(vld1q_u16(x.as_ptr()));
            [vcvt_f32_f16(vget_low_f16(half)), vcvt_high_f32_f16(half)]
        }
    }
    #[inline(always)]
    fn store_f16(self, x: Self::F, out: &mut [u16; 8]) {
        // SAFETY: the token proves NEON; the array is as long as the store.
        unsafe {
            let half = vcvt_high_f16_f32(vcvt_f16_f32(x[0]), x[1]);
            vst1q_u16(out.as_mut_ptr(), vreinterpretq_u16_f16(half));
        }
    }
    #[inline(always)]
    fn widen_u8(self, x: &[u8; 8]) -> Self::F {
        // SAFETY: the token proves NEON; the array is as long as the load.
        unsafe {
            let x = vmovl_u8(vld1_u8(x.as_ptr()));
            [
                vcvtq_f32_u32(vmovl_u16(vget_low_u16(x))),
                vcvtq_f32_u32(vmovl_high_u16(x)),
            ]
        }
    }
    #[inline(always)]
    fn widen_i8(self, x: &[i8; 8]) -> Self::F {
        // SAFETY: the token proves NEON; the array is as long as the load.
        unsafe {
            let x = vmovl_s8(vld1_s8(x.as_ptr()));
            [
                vcvtq_f32_s32(vmovl_s16(vget_low_s16(x))),
                vcvtq_f32_s32(vmovl_high_s16(x)),
            ]
        }
    }
    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        both!(vaddq_f32, a, b)
    }
    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        both!(vsubq_f32, a, b)
    }
    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        both!(vmulq_f32, a, b)
    }
    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        both!(vdivq_f32, a, b)
    }
    #[inline(always)]
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        // SAFETY: the token proves NEON.
        unsafe { [vfmaq_f32(c[0], a[0], b[0]), vfmaq_f32(c[1], a[1], b[1])] }
    }
    #[inline(always)]
    fn min(self, a: Self::F, b: Self::F) -> Self::F {
        both!(vminq_f32, a, b)
    }
    #[inline(always)]
    fn max(self, a: Self::F, b: Self::F) -> Self::F {
        both!(vmaxq_f32, a, b)
    }
    #[inline(always)]
    fn abs(self, a: Self::F) -> Self::F {
        both!(vabsq_f32, a)
    }
    #[inline(always)]
    fn round(self, a: Self::F) -> Self::F {
        both!(vrndnq_f32, a)
    }
    #[inline(always)]
    fn pow2(self, a: Self::F) -> Self::F {
        // SAFETY: the token proves NEON.
        unsafe {
            let bias = vdupq_n_s32(127);
            let (low, high) = (
                vaddq_s32(vcvtq_s32_f32(a[0]), bias),
                vaddq_s32(vcvtq_s32_f32(a[1]), bias),
            );
            [
                vreinterpretq_f32_s32(vshlq_n_s32::<23>(low)),
                vreinterpretq_f32_s32(vshlq_n_s32::<23>(high)),
            ]
        }
    }
    #[inline(always)]
    fn round_i8(self, x: [Self::F; 4], out: &mut [i8; 32]) -> [i32; 2] {
        let mut sums = [0; 2];
        let (out, _) = out.as_chunks_mut::<16>();
        for k in 0..2 {
            // SAFETY: the token proves NEON; the array is as long as the store.
            unsafe {
                let (a, b) = (vcvtnq_s32_f32(x[2 * k][0]), vcvtnq_s32_f32(x[2 * k][1]));
                let (c, d) = (
                    vcvtnq_s32_f32(x[2 * k + 1][0]),
                    vcvtnq_s32_f32(x[2 * k + 1][1]),
                );
                let low = vqmovn_s16(vcombine_s16(vqmovn_s32(a), vqmovn_s32(b)));
                let high = vqmovn_s16(vcombine_s16(vqmovn_s32(c), vqmovn_s32(d)));
                vst1q_s8(out[k].as_mut_ptr(), vcombine_s8(low, high));
                sums[k] = vaddvq_s32(vaddq_s32(vaddq_s32(a, b), vaddq_s32(c, d)));
            }
        }
        sums
    }
    #[inline(always)]
    fn sum(self, x: Self::F) -> f32 {
        // SAFETY: the token proves NEON.
        unsafe { vaddvq_f32(vaddq_f32(x[0], x[1])) }
    }
    #[inline(always)]
    fn max_lane(self, x: Self::F) -> f32 {
        // SAFETY: the token proves NEON.
        unsafe { vmaxvq_f32(vmaxq_f32(x[0], x[1])) }
    }

    #[inline(always)]
    fn sqrt(self, x: f32) -> f32 {
        // SAFETY: the token proves NEON.
        unsafe { vget_lane_f32::<0>(vsqrt_f32(vdup_n_f32(x))) }
    }
    #[inline(always)]
    fn f16(self, bits: u16) -> f32 {
        // SAFETY: the token proves NEON.
        unsafe { vgetq_lane_f32::<0>(vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(bits)))) }
    }
}
