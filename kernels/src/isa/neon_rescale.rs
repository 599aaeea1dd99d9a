//! [`Simd::rescale`](crate::simd::Simd::rescale) on NEON: seven instructions for sixteen weights.
//!
//! A word has four codes of each of four rows, so a row's byte is wanted four times over, and its 16 bits as well: `tbl` spreads them.
//! Then `eor`, `umlal` onto the base, and `sqrshrn`, which shifts, rounds, saturates and narrows at once.

use crate::simd::each;
use core::arch::aarch64::*;

/// Byte 0 of each 32 bits, four times.
const BYTE: [u8; 16] = [0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12];
/// Bytes 0 and 1 of the first two of 32 bits, four times, and of the last two.
const HALVES: [[u8; 16]; 2] = [
    [0, 1, 0, 1, 0, 1, 0, 1, 4, 5, 4, 5, 4, 5, 4, 5],
    [8, 9, 8, 9, 8, 9, 8, 9, 12, 13, 12, 13, 12, 13, 12, 13],
];

/// What the codes of four rows are multiplied by, and so on, spread over 16 bytes.
#[derive(Clone, Copy)]
struct By {
    f: uint8x16_t,
    flip: uint8x16_t,
    base: [uint16x8_t; 2],
}

/// See [`Simd::rescale`](crate::simd::Simd::rescale).
///
/// # Safety
/// The CPU has NEON.
#[inline(always)]
pub(super) unsafe fn rescale<const J: usize>(
    codes: [[uint8x16_t; 2]; J],
    f: [float32x4_t; 2],
    base: [float32x4_t; 2],
    flip: [float32x4_t; 2],
    shift: u32,
) -> [[uint8x16_t; 2]; J] {
    // SAFETY: the caller's CPU has NEON; the arrays are as long as the loads.
    unsafe {
        let byte = vld1q_u8(BYTE.as_ptr());
        let halves = [vld1q_u8(HALVES[0].as_ptr()), vld1q_u8(HALVES[1].as_ptr())];
        let of = |x: float32x4_t| vreinterpretq_u8_s32(vcvtq_s32_f32(x));
        let by = each!(2, |half| {
            let base = of(base[half]);
            By {
                f: vqtbl1q_u8(of(f[half]), byte),
                flip: vqtbl1q_u8(of(flip[half]), byte),
                base: each!(2, |i| vreinterpretq_u16_u8(vqtbl1q_u8(base, halves[i]))),
            }
        });
        each!(J, |j| each!(2, |half| {
            let by = by[half];
            let code = veorq_u8(codes[j][half], by.flip);
            let low = vmlal_u8(by.base[0], vget_low_u8(code), vget_low_u8(by.f));
            let high = vmlal_high_u8(by.base[1], code, by.f);
            let sums = [vreinterpretq_s16_u16(low), vreinterpretq_s16_u16(high)];
            vreinterpretq_u8_s8(match shift {
                1 => narrow::<1>(sums),
                2 => narrow::<2>(sums),
                3 => narrow::<3>(sums),
                4 => narrow::<4>(sums),
                5 => narrow::<5>(sums),
                6 => narrow::<6>(sums),
                7 => narrow::<7>(sums),
                _ => narrow::<8>(sums),
            })
        }))
    }
}

/// Shifted right by `N`, rounded, saturated.
///
/// # Safety
/// The CPU has NEON.
#[inline(always)]
unsafe fn narrow<const N: i32>(x: [int16x8_t; 2]) -> int8x16_t {
    // SAFETY: the caller's CPU has NEON.
    unsafe { vqrshrn_high_n_s16::<N>(vqrshrn_n_s16::<N>(x[0]), x[1]) }
}
