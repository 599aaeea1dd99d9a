//! Codes of any format to signed bytes with one scale for a row of a piece: what an int8 panel holds.
//!
//! A weight is `d * (code - ABOVE) + m`, with a `d` for every 16 or 32 columns. One `D` for the row's piece is the largest that any
//! of its weights could be, over 127, and a weight becomes `T = round(weight / D)`: minimums vanish, and every format is the same
//! from here on. The division is one multiplication of bytes, because codes are bytes, and a format has at most 256 of them:
//!
//! ```text
//!   f    = round(|d| / D * 2^s)              0 to 255
//!   base = round((m + d * C) / D * 2^s) - C' f     |base| < 2^15
//!   T    = (code' * f + base) / 2^s          rounded, ties up, and saturated
//! ```
//!
//! where `C` is a code in the middle of the format's range, and where `d` is negative `code'` and `C'` are counted from the largest code
//! downwards. `s` is a constant of the format, such that `f` uses its eight bits; where that would exceed 255, `D` is larger by as much, at
//! most 7 %. So `T` is at most `1/2 + (R/2 + 3/4) / 2^s` off, where `R` is half of the range: [`slack`].
//!
//! All of it is exact or rounded once, without a fused multiplication: every instruction set makes the same panels, bit for bit.

use super::pieces::PIECE;
use crate::quant::Tiled;
use crate::simd::{Simd, each};
use crate::tile::Codes;

/// Groups of 32 columns in a piece.
pub(super) const GROUPS: usize = PIECE / 32;
/// The least `D`: that of rows of zeros, and of weights too small for their inverse to be finite.
pub(crate) const LEAST: f32 = 1e-36;

/// A scale and a minimum of each of eight rows.
#[derive(Clone, Copy)]
pub(crate) struct Scales {
    pub(crate) d: [f32; 8],
    pub(crate) m: [f32; 8],
}

/// Twice half of a format's range: of what `d` multiplies where weights have no minimum, else of what it is around its middle.
pub(crate) const fn twice_range<Q: Tiled>() -> i32 {
    let (low, high) = Q::RANGE;
    if Q::MIN {
        high - low
    } else if -low > high {
        -2 * low
    } else {
        2 * high
    }
}

/// `s`.
pub(crate) const fn shift<Q: Tiled>() -> u32 {
    let mut shift = 0;
    // 2^s * 127 / R is at most 272.
    while 127 << (shift + 2) <= 272 * twice_range::<Q>() {
        shift += 1;
    }
    shift
}

/// `D` of a `d` of 1 without a minimum.
const fn size_of_d<Q: Tiled>() -> f32 {
    let by_range = twice_range::<Q>() as f32 / 254.0;
    let by_byte = (1_u32 << shift::<Q>()) as f32 / 255.0;
    if by_range > by_byte {
        by_range
    } else {
        by_byte
    }
}

/// How far `T` may be from `weight / D`.
#[cfg(feature = "std")]
pub(crate) fn slack<Q: Tiled>() -> f64 {
    let two_to_s = f64::from(1_u32 << shift::<Q>());
    // C may be half a code off the middle of the range.
    0.5 + (0.25 * f64::from(twice_range::<Q>() + 1) + 0.5) / two_to_s
}

/// The largest code, and the one in the middle, as they are before a format's `ABOVE` and the bias of an instruction set.
const fn codes<Q: Tiled>() -> (f32, f32) {
    let most = match Q::CODES {
        Codes::U4 => 15.0,
        Codes::U6 => 63.0,
        Codes::I8 => 255.0,
    };
    let above = match Q::CODES {
        Codes::I8 => 128.0,
        Codes::U4 | Codes::U6 => Q::ABOVE as f32,
    };
    let middle = if Q::MIN {
        0.5 * (Q::RANGE.0 + Q::RANGE.1 + 1) as f32 + above
    } else {
        above
    };
    (most, middle)
}

/// `D` of a piece: of the groups whose scales are these, of the first and of the last 16 columns.
#[inline(always)]
pub(super) fn largest<S: Simd, Q: Tiled>(s: S, low: &[Scales], high: &[Scales]) -> S::F {
    let mut most = [s.splat(LEAST), s.splat(0.0)];
    for (low, high) in low.iter().zip(high) {
        most = with::<S, Q>(s, most, low);
        if Q::HALVES {
            most = with::<S, Q>(s, most, high);
        }
    }
    s.add(most[0], most[1])
}

/// The largest so far, and zeros, or NaN where a scale is none, with those of some more columns.
#[inline(always)]
fn with<S: Simd, Q: Tiled>(s: S, [most, flaw]: [S::F; 2], scales: &Scales) -> [S::F; 2] {
    let d = s.load(&scales.d);
    let (size, of_both) = if Q::MIN {
        let m = s.load(&scales.m);
        let low = s.add(m, s.mul(d, s.splat(Q::RANGE.0 as f32)));
        let high = s.add(m, s.mul(d, s.splat(Q::RANGE.1 as f32)));
        let size = s.mul(s.max(s.abs(low), s.abs(high)), s.splat(1.0 / 127.0));
        let step = const { (1_u32 << shift::<Q>()) as f32 / 255.0 };
        let step = s.mul(s.abs(d), s.splat(step));
        (s.max(size, step), s.add(m, d))
    } else {
        (s.mul(s.abs(d), s.splat(const { size_of_d::<Q>() })), d)
    };
    // Zero times an infinity or NaN is NaN, which a maximum may lose.
    let flawed = s.mul(of_both, s.splat(0.0));
    [s.max(most, size), s.add(flaw, flawed)]
}

/// The codes of a group, plain, become signed bytes over `D`, biased and in the order in which [`Simd::block`] wants them. `inverse` is
/// `2^s / D`.
#[inline(always)]
pub(super) fn rescale<S: Simd, Q: Tiled>(
    s: S,
    inverse: S::F,
    low: &Scales,
    high: &Scales,
    codes: &mut [[u8; 32]; 8],
) {
    let b = each!(8, |j| s.bytes(&codes[j]));
    let done = if Q::HALVES {
        let [a, b] = [[b[0], b[1], b[2], b[3]], [b[4], b[5], b[6], b[7]]];
        let a = by::<S, Q, 4>(s, inverse, low, a);
        let b = by::<S, Q, 4>(s, inverse, high, b);
        [a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3]]
    } else {
        by::<S, Q, 8>(s, inverse, low, b)
    };
    s.store_codes(&done, codes);
}

/// Some words of codes that share their scales.
#[inline(always)]
fn by<S: Simd, Q: Tiled, const J: usize>(
    s: S,
    inverse: S::F,
    scales: &Scales,
    words: [S::B; J],
) -> [S::B; J] {
    let (most, middle) = const { codes::<Q>() };
    let d = s.load(&scales.d);
    let signed = s.round(s.mul(d, inverse));
    let f = s.abs(signed);
    // The largest code where d is negative, else 0: f - signed is 2 at least, or 0.
    let turned = s.min(s.mul(s.sub(f, signed), s.splat(128.0)), s.splat(most));
    let below = s.mul(s.abs(s.sub(turned, s.splat(middle))), f);
    let base = if Q::MIN {
        let at_middle = s.add(s.load(&scales.m), s.mul(d, s.splat(middle)));
        s.sub(s.round(s.mul(at_middle, inverse)), below)
    } else {
        s.sub(s.splat(0.0), below)
    };
    let flip = match Q::CODES {
        // Signed bytes, perhaps biased, count from the least one.
        Codes::I8 if S::BIAS == 0 => s.abs(s.sub(s.splat(128.0), turned)),
        Codes::I8 | Codes::U4 | Codes::U6 => turned,
    };
    let words = s.rescale(words, f, base, flip, const { shift::<Q>() });
    if S::BIAS == 0 {
        words
    } else {
        each!(J, |j| s.flip(words[j], S::BIAS))
    }
}
