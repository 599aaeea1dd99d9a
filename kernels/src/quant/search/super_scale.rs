//! `x = d * scale_j * level`: the blocks of a superblock, whose scales are small integers.

use super::scale::{Levels, Sums, Trials, best, codes, error, largest};
use super::{Unit, nearest, ratio, within};
use crate::quant::k::K;
use half::f16;

/// A superblock of `B` blocks, as stored.
pub(crate) struct SuperScale<const B: usize> {
    /// The scale of the scales.
    pub(crate) d: f16,
    /// The scales.
    pub(crate) scales: [i8; B],
    /// The codes.
    pub(crate) codes: [u8; K],
}

/// Encodes a superblock: `B` blocks of `N`, scales from `-ends` to `ends - 1`.
///
/// 1. The best scale of each block for itself.
/// 2. The d that turns these into integers at the least cost ([`common`]). Small weights make d a subnormal f16 of few bits; then
///    this choice counts most.
/// 3. In turns, the integers beside each scale, and the best d for all the levels.
pub(crate) fn encode<L: Levels, const N: usize, const B: usize>(
    unit: &Unit<K>,
    trials: Trials,
    ends: u8,
) -> SuperScale<B> {
    let x = blocks::<N, B>(&unit.x);
    let w = blocks::<N, B>(&unit.w);
    let (mut scales, mut curves) = ([0.0; B], [0.0; B]);
    for j in 0..B {
        scales[j] = best::<L, N>(x[j], w[j], trials);
        curves[j] = Sums::of::<L, N>(x[j], w[j], ratio(1.0, scales[j])).qq;
    }
    let ends = f32::from(ends);
    let mut d = common(unit, &scales, &curves, [-ends, ends - 1.0]);
    for scale in &mut scales {
        *scale = nearest(within(*scale * ratio(1.0, d), -ends, ends - 1.0));
    }
    let mut least = f32::INFINITY;
    for _ in 0..3 {
        let total: f32 = (0..B)
            .map(|j| {
                let (scale, error) = beside::<L, N>(x[j], w[j], d, scales[j], ends);
                scales[j] = scale;
                error
            })
            .sum();
        if total >= least {
            break;
        }
        least = total;
        let (mut eq, mut qq) = (0.0, 0.0);
        for j in 0..B {
            let sums = Sums::of::<L, N>(x[j], w[j], ratio(1.0, d * scales[j]));
            let square = scales[j] * scales[j];
            eq += square * sums.eq;
            qq += square * sums.qq;
        }
        let next = unit.stored(d * (1.0 + ratio(eq, qq)));
        let total: f32 = (0..B)
            .map(|j| error::<L, N>(x[j], w[j], next * scales[j]))
            .sum();
        if total >= least {
            break;
        }
        (d, least) = (next, total);
    }
    let mut out = [0; K];
    for (j, out) in out.as_chunks_mut::<N>().0.iter_mut().enumerate() {
        codes::<L, N>(x[j], d * scales[j], out);
    }
    SuperScale {
        d: unit.store(d),
        scales: scales.map(|scale| scale as i8),
        codes: out,
    }
}

/// The blocks of a superblock.
pub(crate) fn blocks<const N: usize, const B: usize>(x: &[f32; K]) -> [&[f32; N]; B] {
    const { assert!(N * B == K, "blocks fill the superblock") };
    core::array::from_fn(|j| &x.as_chunks::<N>().0[j])
}

/// The scale of scales, as stored, of which all `values` are nearly multiples by the integers `low ..= high`; `curves` is what the
/// square of a miss costs.
///
/// The largest value is put at the farther of the two ends and at each integer from there to half of it, each time with d rounded
/// to f16. (Half of the range is enough: what fits below fits twice as high.)
pub(crate) fn common<const B: usize>(
    unit: &Unit<K>,
    values: &[f32; B],
    curves: &[f32; B],
    [low, high]: [f32; 2],
) -> f32 {
    let largest = largest(values);
    let end = if -low > high { low } else { high };
    let (mut best, mut least) = (0.0, f32::INFINITY);
    let mut steps = end.abs();
    while steps >= end.abs() / 2.0 {
        let d = unit.stored(largest / steps.copysign(end));
        let inverse = ratio(1.0, d);
        let cost: f32 = (0..B)
            .map(|j| {
                let miss = values[j] - d * nearest(within(values[j] * inverse, low, high));
                curves[j] * miss * miss
            })
            .sum();
        if cost < least {
            (best, least) = (d, cost);
        }
        steps -= 1.0;
    }
    best
}

/// The best of a scale and the integers beside it, and its error.
fn beside<L: Levels, const N: usize>(
    x: &[f32; N],
    w: &[f32; N],
    d: f32,
    scale: f32,
    ends: f32,
) -> (f32, f32) {
    let mut best = (scale, error::<L, N>(x, w, d * scale));
    for next in [scale - 1.0, scale + 1.0] {
        if (-ends..ends).contains(&next) {
            let error = error::<L, N>(x, w, d * next);
            if error < best.1 {
                best = (next, error);
            }
        }
    }
    best
}
