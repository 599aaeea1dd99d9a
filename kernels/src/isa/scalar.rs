//! Plain Rust, for every CPU: arrays of the widths that the vocabulary names, which the compiler vectorises with whatever the
//! target has at the least (SSE2 on x86-64).
//!
//! What takes a loop stays a function of its own. Dissolved into every kernel of every format, as in the other tiers, arrays of bytes come
//! apart into single bytes, which no compiler puts together again: that was a sixth of the program, and not faster.

use crate::lanes::Sixteen;
use crate::simd::{Simd, SimdOp};
use core::array::from_fn;
use half::f16;

/// The token: every CPU has plain Rust.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scalar(());

impl Scalar {
    /// The token.
    pub(super) const HERE: Scalar = Scalar(());

    /// Always there.
    pub(super) fn new() -> Option<Scalar> {
        Some(Scalar::HERE)
    }

    /// Runs `op`.
    pub(super) fn enter<O: SimdOp>(self, op: O) -> O::Output {
        op.eval(self)
    }
}

/// An f16 as f32, without branches, which is twice as fast in a row of F16 as `half`'s.
///
/// Exponent and fraction move to their places in an f32, whose exponents are 112 higher: a multiplication by 2^112 mends that,
/// and makes subnormals normal. Infinity and NaN get the largest exponent instead.
#[inline(always)]
fn widen(bits: u16) -> f32 {
    let magnitude = (u32::from(bits) & 0x7fff) << 13;
    let finite = (f32::from_bits(magnitude) * f32::from_bits(0x7780_0000)).to_bits();
    let special = magnitude | 0x7f80_0000;
    let sign = (u32::from(bits) & 0x8000) << 16;
    f32::from_bits(
        sign | if magnitude < 0x0f80_0000 {
            finite
        } else {
            special
        },
    )
}

/// 8 sums of the products `from * 8 .. to * 8`: lane l takes every eighth, which keeps all of it in i16 lanes and vertical.
///
/// The caller sees to it that the products of a lane fit: four of 63 * 127, or two of 128 * 127.
#[inline(always)]
fn eighths(w: &[u8; 32], a: &[u8; 32], from: usize, to: usize) -> [i32; 8] {
    let mut out = [0_i16; 8];
    for k in from..to {
        for l in 0..8 {
            out[l] += i16::from(w[8 * k + l] as i8) * i16::from(a[8 * k + l] as i8);
        }
    }
    out.map(i32::from)
}

/// `start` plus eight rows times the same activations, four columns a step.
#[inline(never)]
fn rows(w: &[[u8; 32]], a: &[[i8; 4]], start: [i32; 8]) -> [i32; 8] {
    let mut out = start;
    for (w, a) in w.iter().zip(a) {
        for r in 0..8 {
            for i in 0..4 {
                out[r] += i32::from(w[4 * r + i] as i8) * i32::from(a[i]);
            }
        }
    }
    out
}

/// Bits `4 * (j % 2)` and on of byte `j / 2` of each word, a byte each: 0 or 255.
#[inline(never)]
fn spread(words: &[u8; 32], j: usize) -> [u8; 32] {
    from_fn(|i| {
        if words[i / 4 * 4 + j / 2] >> (j % 2 * 4 + i % 4) & 1 == 0 {
            0
        } else {
            0xff
        }
    })
}

/// `table[i]` for each byte `i`.
#[inline(never)]
fn table(table: &[i8; 16], index: &[u8; 32]) -> [u8; 32] {
    from_fn(|i| table[usize::from(index[i] & 15)] as u8)
}

impl Simd for Scalar {
    type B = [u8; 32];
    type I = [i32; 8];
    type A = [f32; 8];
    type F = [f32; 8];
    type S = [i32; 16];
    type N = [i32; 8];
    type Lanes = Sixteen<Self>;

    const BIAS: u8 = 0;
    const PARTS: usize = 1;

    #[inline(always)]
    fn part(self, _: usize) -> Self::Lanes {
        Sixteen::new(self)
    }

    #[inline(always)]
    fn bytes(self, x: &[u8; 32]) -> [u8; 32] {
        *x
    }
    #[inline(always)]
    fn acts(self, x: &[i8; 32]) -> [u8; 32] {
        x.map(|v| v as u8)
    }
    #[inline(never)]
    fn nibbles(self, x: &[u8; 16]) -> [u8; 32] {
        let mut out = [0; 32];
        for i in 0..16 {
            out[i] = x[i] & 15;
        }
        for i in 0..16 {
            out[i + 16] = x[i] >> 4;
        }
        out
    }
    #[inline(always)]
    fn splat_b(self, x: u8) -> [u8; 32] {
        [x; 32]
    }
    #[inline(never)]
    fn and(self, a: [u8; 32], b: [u8; 32]) -> [u8; 32] {
        from_fn(|i| a[i] & b[i])
    }
    #[inline(never)]
    fn or(self, a: [u8; 32], b: [u8; 32]) -> [u8; 32] {
        from_fn(|i| a[i] | b[i])
    }
    #[inline(never)]
    fn shr<const N: i32>(self, a: [u8; 32]) -> [u8; 32] {
        from_fn(|i| a[i] >> N)
    }
    #[inline(never)]
    fn shl<const N: i32>(self, a: [u8; 32]) -> [u8; 32] {
        from_fn(|i| a[i] << N)
    }
    #[inline(never)]
    fn test(self, a: [u8; 32], b: [u8; 32]) -> [u8; 32] {
        from_fn(|i| if a[i] & b[i] == 0 { 0 } else { 0xff })
    }
    #[inline(never)]
    fn bits(self, bits: u32) -> [u8; 32] {
        from_fn(|i| if bits >> i & 1 == 0 { 0 } else { 0xff })
    }
    #[inline(always)]
    fn table(self, values: &[i8; 16], index: [u8; 32]) -> [u8; 32] {
        table(values, &index)
    }
    #[inline(never)]
    fn flip(self, a: [u8; 32], mask: u8) -> [u8; 32] {
        a.map(|a| a ^ mask)
    }
    #[inline(always)]
    fn prefetch(self, _: &[u8], _: usize) {}
    #[inline(always)]
    fn store_b(self, x: [u8; 32], out: &mut [u8; 32]) {
        *out = x;
    }

    #[inline(never)]
    fn dot_u6(self, w: [u8; 32], a: [u8; 32]) -> [i32; 8] {
        eighths(&w, &a, 0, 4)
    }
    #[inline(never)]
    fn dot_i8(self, w: [u8; 32], a: [u8; 32]) -> [i32; 8] {
        let (low, high) = (eighths(&w, &a, 0, 2), eighths(&w, &a, 2, 4));
        from_fn(|i| low[i] + high[i])
    }
    #[inline(always)]
    fn scales(self, x: &[i8; 16]) -> [i32; 16] {
        x.map(i32::from)
    }
    #[inline(never)]
    fn dot_halves(self, w: [u8; 32], a: [u8; 32], scales: [i32; 16], j: usize) -> [i32; 8] {
        let (low, high) = (eighths(&w, &a, 0, 2), eighths(&w, &a, 2, 4));
        from_fn(|i| low[i] * scales[2 * j] + high[i] * scales[2 * j + 1])
    }
    #[cfg(test)]
    fn sum_i(self, x: [i32; 8]) -> i32 {
        x.iter().sum()
    }

    #[inline(always)]
    fn spread(self, words: [u8; 32], j: usize) -> [u8; 32] {
        spread(&words, j)
    }
    #[inline(always)]
    fn start(self, sum: i32, times: i32) -> [i32; 8] {
        [sum * times; 8]
    }
    #[inline(always)]
    fn rows_u4<const J: usize>(
        self,
        w: &[[u8; 32]; J],
        a: &[[i8; 4]; J],
        start: [i32; 8],
    ) -> [i32; 8] {
        rows(w, a, start)
    }
    #[inline(always)]
    fn rows_u6<const J: usize>(
        self,
        w: &[[u8; 32]; J],
        a: &[[i8; 4]; J],
        start: [i32; 8],
    ) -> [i32; 8] {
        rows(w, a, start)
    }
    #[inline(always)]
    fn rows_i8<const J: usize>(
        self,
        w: &[[u8; 32]; J],
        a: &[[i8; 4]; J],
        start: [i32; 8],
    ) -> [i32; 8] {
        rows(w, a, start)
    }
    #[inline(never)]
    fn load_n(self, x: &[u8; 32]) -> [i32; 8] {
        from_fn(|r| i32::from_le_bytes([x[4 * r], x[4 * r + 1], x[4 * r + 2], x[4 * r + 3]]))
    }
    #[inline(never)]
    fn load_n16(self, x: &[u8; 16]) -> [i32; 8] {
        from_fn(|r| u16::from_le_bytes([x[2 * r], x[2 * r + 1]]).into())
    }
    #[inline(never)]
    fn bits_n(self, x: [i32; 8], shift: u32, mask: i32) -> [f32; 8] {
        x.map(|x| ((x.cast_unsigned() >> shift).cast_signed() & mask) as f32)
    }
    #[inline(never)]
    fn byte_n(self, x: [i32; 8], i: u32) -> [f32; 8] {
        x.map(|x| ((x >> (8 * i)) as i8).into())
    }
    #[inline(never)]
    fn to_f(self, x: [i32; 8]) -> [f32; 8] {
        x.map(|x| x as f32)
    }

    #[inline(always)]
    fn zero(self) -> [f32; 8] {
        [0.0; 8]
    }
    #[inline(always)]
    fn mac(self, acc: [f32; 8], x: [i32; 8], scale: f32) -> [f32; 8] {
        from_fn(|i| acc[i] + x[i] as f32 * scale)
    }
    #[inline(always)]
    fn sum_a(self, x: [f32; 8]) -> f32 {
        self.sum(x)
    }

    #[inline(always)]
    fn splat(self, x: f32) -> [f32; 8] {
        [x; 8]
    }
    #[inline(always)]
    fn load(self, x: &[f32; 8]) -> [f32; 8] {
        *x
    }
    #[inline(always)]
    fn store(self, x: [f32; 8], out: &mut [f32; 8]) {
        *out = x;
    }
    #[inline(always)]
    fn load_f32_le(self, x: &[u8; 32]) -> [f32; 8] {
        from_fn(|i| f32::from_le_bytes([x[4 * i], x[4 * i + 1], x[4 * i + 2], x[4 * i + 3]]))
    }
    #[inline(never)]
    fn load_f16_le(self, x: &[u8; 16]) -> [f32; 8] {
        from_fn(|i| widen(u16::from_le_bytes([x[2 * i], x[2 * i + 1]])))
    }
    #[inline(never)]
    fn load_bf16_le(self, x: &[u8; 16]) -> [f32; 8] {
        from_fn(|i| f32::from_le_bytes([0, 0, x[2 * i], x[2 * i + 1]]))
    }
    #[inline(never)]
    fn load_f16(self, x: &[u16; 8]) -> [f32; 8] {
        x.map(widen)
    }
    #[inline(never)]
    fn store_f16(self, x: [f32; 8], out: &mut [u16; 8]) {
        *out = x.map(|v| f16::from_f32(v).to_bits());
    }
    #[inline(always)]
    fn widen_u8(self, x: &[u8; 8]) -> [f32; 8] {
        x.map(f32::from)
    }
    #[inline(always)]
    fn widen_i8(self, x: &[i8; 8]) -> [f32; 8] {
        x.map(f32::from)
    }
    #[inline(always)]
    fn add(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        from_fn(|i| a[i] + b[i])
    }
    #[inline(always)]
    fn sub(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        from_fn(|i| a[i] - b[i])
    }
    #[inline(always)]
    fn mul(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        from_fn(|i| a[i] * b[i])
    }
    #[inline(always)]
    fn div(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        from_fn(|i| a[i] / b[i])
    }
    #[inline(never)]
    fn fma(self, a: [f32; 8], b: [f32; 8], c: [f32; 8]) -> [f32; 8] {
        from_fn(|i| a[i] * b[i] + c[i])
    }
    #[inline(always)]
    fn min(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        from_fn(|i| if a[i] < b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn max(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        from_fn(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn abs(self, a: [f32; 8]) -> [f32; 8] {
        a.map(|v| f32::from_bits(v.to_bits() & 0x7fff_ffff))
    }
    #[inline(always)]
    fn round(self, a: [f32; 8]) -> [f32; 8] {
        // Adding 1.5 * 2^23 pushes the fraction out of the mantissa, rounded to nearest even.
        a.map(|v| (v + 12_582_912.0) - 12_582_912.0)
    }
    #[inline(always)]
    fn pow2(self, a: [f32; 8]) -> [f32; 8] {
        a.map(|v| f32::from_bits(((v as i32).wrapping_add(127) as u32) << 23))
    }
    #[inline(never)]
    fn round_i8(self, x: [[f32; 8]; 4], out: &mut [i8; 32]) -> [i32; 2] {
        let mut sums = [0; 2];
        for (k, (x, out)) in x.iter().zip(out.as_chunks_mut::<8>().0).enumerate() {
            let x = self.round(*x);
            for i in 0..8 {
                out[i] = x[i] as i8;
                sums[k / 2] += x[i] as i32;
            }
        }
        sums
    }
    #[inline(always)]
    fn sum(self, x: [f32; 8]) -> f32 {
        ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7]))
    }
    #[inline(always)]
    fn max_lane(self, x: [f32; 8]) -> f32 {
        x.into_iter()
            .fold(f32::NEG_INFINITY, |m, v| if v > m { v } else { m })
    }

    #[inline(always)]
    fn sqrt(self, x: f32) -> f32 {
        // Newton in f64, from half the exponent: each step doubles the digits, and 53 bits round to the right 24.
        if x <= 0.0 || !x.is_finite() {
            return if x < 0.0 { f32::NAN } else { x };
        }
        let x = f64::from(x);
        let mut y = f64::from_bits((x.to_bits() >> 1) + 0x1ff8_0000_0000_0000);
        for _ in 0..5 {
            y = 0.5 * (y + x / y);
        }
        y as f32
    }
    #[inline(always)]
    fn f16(self, bits: u16) -> f32 {
        widen(bits)
    }
}
