//! What the encoders share: weights brought to unit size, how much each counts, scales as f16; the searches are in `search/`.
//!
//! An encoder looks for the block that minimises `sum(w_i * (x_i - decoded_i)^2)` with the *stored* fields: scales are rounded to f16
//! (or to their 6 bits) before the last rounding of the weights, not after. `w` is the importance of the column (the mean square
//! of the activation that meets it, so that the sum is the error of the product). Where that is not known, `w` is `|x|` plus its
//! mean: a network leans on its large weights, which equal weighing is the first to cut. (SmolLM2 as `Q4_0`: KL 0.243 and 0.460
//! from its source on two texts, where equal weighing gives 0.270 and 0.504, and `x^2`, which goes too far, 0.291 and 0.499.)
//!
//! Three searches serve every format:
//! - `scale`: `x = d * level`, levels signed integers or a table;
//! - `line`: `x = d * q + m`;
//! - `super_scale` and `super_line`: the same for the blocks of a superblock, whose scales are small integers themselves.
//!
//! All of them try many inverse scales, and for each solve the least-squares problem of the levels that it rounds to. With
//! `y = x / d`, `q` the level nearest to y and `e = y - q` the best correction of d is `1 + sum(w e q) / sum(w q q)`: sums of
//! small numbers, so f32 is enough even for eight bits, where `sum(x^2) - sum(x q)^2 / sum(q^2)` would cancel.
//!
//! Sums run in eight lanes, which is what lets the compiler use vectors: it may not reorder f32 additions itself.

use half::f16;

pub(crate) mod line;
pub(crate) mod scale;
pub(crate) mod super_line;
pub(crate) mod super_scale;

/// Weights of a block or superblock, divided by the power of two of their largest, so that no square over- or underflows.
pub(crate) struct Unit<const N: usize> {
    /// The weights; the largest magnitude lies in `1 .. 2`, or all are 0.
    pub(crate) x: [f32; N],
    /// What the square of an error counts; above 0, unless all weights are 0.
    pub(crate) w: [f32; N],
    /// The weights are `x * 2^exponent`.
    exponent: i32,
}

impl<const N: usize> Unit<N> {
    /// NaN counts as 0, infinities as the largest f32; importance that is no positive number counts as 0.
    pub(crate) fn new(x: &[f32; N], importance: Option<&[f32; N]>) -> Self {
        let x = x.map(finite);
        let largest = x.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
        let exponent = log2(largest);
        let (a, b) = powers(-exponent);
        let x = x.map(|x| x * a * b);
        let w = importance.and_then(by_importance);
        Unit {
            x,
            w: w.unwrap_or_else(|| by_size(&x)),
            exponent,
        }
    }

    /// The finite f16 nearest to a scale of `x`, for the weights themselves.
    pub(crate) fn store(&self, d: f32) -> f16 {
        let (a, b) = powers(self.exponent);
        to_f16(d * a * b)
    }

    /// What a stored scale is for `x`; exact.
    pub(crate) fn load(&self, d: f16) -> f32 {
        let (a, b) = powers(-self.exponent);
        d.to_f32() * a * b
    }

    /// A scale of `x` as it will be read back.
    pub(crate) fn stored(&self, d: f32) -> f32 {
        self.load(self.store(d))
    }

    /// `floor(log2)` of the largest weight.
    pub(crate) fn exponent(&self) -> i32 {
        self.exponent
    }
}

/// Importance relative to the largest; `None` where no column has any. A column that never saw an activation still counts a
/// millionth: its weights stay sensible.
fn by_importance<const N: usize>(importance: &[f32; N]) -> Option<[f32; N]> {
    let sound = importance.map(|v| if v > 0.0 { v.min(f32::MAX) } else { 0.0 });
    let largest = sound.iter().fold(0.0_f32, |m, v| m.max(*v));
    (largest > 0.0).then(|| sound.map(|v| v / largest + 1.0 / 1_048_576.0))
}

/// Magnitude plus the mean magnitude.
fn by_size<const N: usize>(x: &[f32; N]) -> [f32; N] {
    let size = x.map(f32::abs);
    let mean = sum(&size) / N as f32;
    size.map(|size| mean + size)
}

/// NaN as 0, infinities as the largest f32.
pub(crate) fn finite(x: f32) -> f32 {
    if x.is_nan() {
        0.0
    } else {
        x.clamp(-f32::MAX, f32::MAX)
    }
}

/// The nearest f16, the largest finite one for all beyond.
pub(crate) fn to_f16(x: f32) -> f16 {
    f16::from_f32(x.clamp(f16::MIN.to_f32(), f16::MAX.to_f32()))
}

/// `floor(log2(x))` of a finite `x >= 0`, subnormal ones too; 0 for 0.
fn log2(x: f32) -> i32 {
    let bits = x.to_bits().cast_signed();
    match bits >> 23 {
        0 if bits == 0 => 0,
        0 => bits.ilog2().cast_signed() - 149,
        exponent => exponent - 127,
    }
}

/// Two factors whose product is `2^k`, for `k` from -252 to 252: each is a normal f32 where the product may be none.
fn powers(k: i32) -> (f32, f32) {
    (power(k / 2), power(k - k / 2))
}

/// `2^k`, for `k` from -126 to 127.
pub(crate) fn power(k: i32) -> f32 {
    f32::from_bits((127 + k).cast_unsigned() << 23)
}

/// The nearest integer, ties to even, for `|x| < 2^22`. (`core` has no rounding, and this one is two additions.)
#[inline(always)]
pub(crate) fn nearest(x: f32) -> f32 {
    const BIG: f32 = 12_582_912.0;
    (x + BIG) - BIG
}

/// `x` between `low` and `high`, as one minimum and one maximum (`f32::clamp` minds NaN, which costs the loops a third).
#[inline(always)]
pub(crate) fn within(x: f32, low: f32, high: f32) -> f32 {
    let x = if x < high { x } else { high };
    if x > low { x } else { low }
}

/// The sum, in eight lanes.
#[inline(always)]
pub(crate) fn sum<const N: usize>(terms: &[f32; N]) -> f32 {
    let mut lanes = [0.0; 8];
    for terms in terms.as_chunks::<8>().0 {
        for i in 0..8 {
            lanes[i] += terms[i];
        }
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

/// `a / b`, or 0 where `b` is 0.
#[inline(always)]
pub(crate) fn ratio(a: f32, b: f32) -> f32 {
    if b == 0.0 { 0.0 } else { a / b }
}

/// Encodes block by block: `N` bytes from `W` weights.
pub(crate) fn encode_blocks<const N: usize, const W: usize>(
    x: &[f32],
    importance: Option<&[f32]>,
    out: &mut [u8],
    one: impl Fn(&Unit<W>, &mut [u8; N]),
) {
    let blocks = x.as_chunks::<W>().0;
    let importance = importance.map(|v| v.as_chunks::<W>().0);
    for (i, out) in out.as_chunks_mut::<N>().0.iter_mut().enumerate() {
        one(&Unit::new(&blocks[i], importance.map(|v| &v[i])), out);
    }
}

/// Two bytes at a fixed place of a block.
pub(crate) fn put_f16(block: &mut [u8], at: usize, value: f16) {
    block[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

/// 32 nibbles into 16 bytes: low nibbles first, then high ones; bits above the fourth are left out.
pub(crate) fn put_nibbles(q: &[u8; 32], out: &mut [u8]) {
    for (i, out) in out.iter_mut().enumerate() {
        *out = q[i] & 15 | q[i + 16] << 4;
    }
}

/// 256 nibbles into 128 bytes, 64 at a time: low nibbles the first 32, high ones the others; bits above the fourth are left out.
pub(crate) fn put_nibble_pairs(q: &[u8; 256], out: &mut [u8]) {
    let pairs = q.as_chunks::<64>().0;
    for (two, out) in pairs.iter().zip(out.as_chunks_mut::<32>().0) {
        for (l, out) in out.iter_mut().enumerate() {
            *out = two[l] & 15 | two[l + 32] << 4;
        }
    }
}

/// The fifth bits of 32 codes.
pub(crate) fn fifth_bits(q: &[u8; 32]) -> u32 {
    (0..32).fold(0, |bits, i| bits | u32::from(q[i] >> 4 & 1) << i)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unit_size_is_exact_for_every_exponent() {
        for largest in [f32::MAX, 65504.0, 1.0, 1e-30, f32::MIN_POSITIVE, 1e-45] {
            let unit = Unit::new(&[largest, -0.0], None);
            assert!((1.0..2.0).contains(&unit.x[0]), "{largest:e}");
            let (a, b) = powers(unit.exponent());
            assert_eq!(unit.x[0] * a * b, largest);
        }
        assert_eq!(Unit::new(&[0.0; 4], None).x, [0.0; 4]);
    }

    #[test]
    fn what_is_no_number_counts_as_one() {
        let unit = Unit::new(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY], None);
        assert_eq!(unit.x[0], 0.0);
        assert_eq!(unit.x[1], -unit.x[2]);
        assert_eq!(unit.store(1.0), f16::MAX);
    }

    #[test]
    fn without_importance_large_weights_count_more() {
        let x = [1.0, -1.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0];
        let w = [
            1.3125, 1.3125, 0.8125, 0.3125, 0.3125, 0.3125, 0.3125, 0.3125,
        ];
        for importance in [
            None,
            Some(&[0.0; 8]),
            Some(&[f32::NAN; 8]),
            Some(&[-1.0; 8]),
        ] {
            assert_eq!(Unit::new(&x, importance).w, w);
        }
    }

    #[test]
    fn importance_may_be_anything() {
        let x = [1.0; 3];
        let w = Unit::new(&x, Some(&[f32::INFINITY, 1e-30, 0.0])).w;
        assert!(w.iter().all(|w| *w > 0.0 && w.is_finite()), "{w:?}");
    }
}
