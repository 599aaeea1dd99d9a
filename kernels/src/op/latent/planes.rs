//! Numbers to int8: one plane with a scale, or two planes for 15 bits.

use crate::op::vector::padded;
use crate::simd::{Simd, each};

/// Largest number of two planes: 127 * 128.
pub(super) const LEVELS: f32 = 16256.0;

/// The scale by which the largest of some numbers becomes `levels`, and its inverse. The scale is NaN if one of them is none or
/// infinite; the inverse is 0 then, and where all are too small to divide by.
#[inline(always)]
pub(super) fn scale<S: Simd>(s: S, x: &[f32], levels: f32) -> (f32, f32) {
    let (mut largest, mut flaw) = (s.splat(0.0), s.splat(0.0));
    let (x8, tail) = x.as_chunks::<8>();
    let last = padded(tail, 0.0);
    for x in x8.iter().chain([&last]) {
        let x = s.load(x);
        largest = s.max(s.abs(x), largest);
        // Zero times a finite number is zero, times an infinity or NaN it is NaN.
        flaw = s.fma(x, s.splat(0.0), flaw);
    }
    if s.sum(flaw) != 0.0 {
        return (f32::NAN, 0.0);
    }
    let d = s.max_lane(largest) / levels;
    let inverse = 1.0 / d;
    match inverse.is_finite() && inverse > 0.0 {
        true => (d, inverse),
        false => (0.0, 0.0),
    }
}

/// Up to 32 numbers times `inverse`, rounded; where that is 0, zeros.
#[inline(always)]
pub(super) fn one_plane<S: Simd>(s: S, x: &[f32], inverse: f32, out: &mut [i8; 32]) {
    let mut all = [0.0; 32];
    if inverse != 0.0 {
        all[..x.len()].copy_from_slice(x);
    }
    rounded(s, &all, inverse, out);
}

/// The same in two planes, `128 high + low`.
#[inline(always)]
pub(super) fn two_planes<S: Simd>(
    s: S,
    x: &[f32],
    inverse: f32,
    high: &mut [i8; 32],
    low: &mut [i8; 32],
) {
    let mut all = [0.0; 32];
    if inverse != 0.0 {
        for (all, x) in all.iter_mut().zip(x) {
            *all = inverse * x;
        }
    }
    rounded(s, &all, 1.0 / 128.0, high);
    for (all, high) in all.iter_mut().zip(high) {
        *all -= 128.0 * f32::from(*high);
    }
    rounded(s, &all, 1.0, low);
}

/// 32 numbers times `factor`, rounded, -127 to 127.
#[inline(always)]
fn rounded<S: Simd>(s: S, x: &[f32; 32], factor: f32, out: &mut [i8; 32]) {
    let (limit, lowest, factor) = (s.splat(127.0), s.splat(-127.0), s.splat(factor));
    let x = x.as_chunks::<8>().0;
    let scaled = each!(4, |k| s
        .max(lowest, s.min(limit, s.mul(s.load(&x[k]), factor))));
    s.round_i8(scaled, out);
}
