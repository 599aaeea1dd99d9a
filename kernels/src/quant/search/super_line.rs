//! `x = d * scale_j * q - dmin * min_j`: the blocks of a superblock, whose steps and minimums are small integers.

use super::line::{Line, Sums, Trials, best, codes, error};
use super::super_scale::{blocks, common};
use super::{Unit, nearest, ratio, within};
use crate::quant::k::K;
use half::f16;

/// A superblock of `B` blocks, as stored.
pub(crate) struct SuperLine<const B: usize> {
    /// The scale of the scales.
    pub(crate) d: f16,
    /// The scale of the minimums.
    pub(crate) dmin: f16,
    /// The scales.
    pub(crate) scales: [u8; B],
    /// The minimums.
    pub(crate) mins: [u8; B],
    /// The codes.
    pub(crate) codes: [u8; K],
}

/// The two scales and the integers that they multiply.
#[derive(Clone, Copy)]
struct Fields<const B: usize> {
    d: f32,
    dmin: f32,
    scales: [f32; B],
    mins: [f32; B],
}

impl<const B: usize> Fields<B> {
    fn line(&self, j: usize) -> Line {
        Line {
            d: self.d * self.scales[j],
            m: -self.dmin * self.mins[j],
        }
    }
}

/// Encodes a superblock: `B` blocks of `N`, scales and minimums from 0 to `end`.
///
/// 1. The best line of each block for itself.
/// 2. The d that turns the steps into integers at the least cost, the minimums free to follow; then, with the steps so
///    rounded, the dmin for the minimums that suit them.
/// 3. In turns, the integers beside each scale and minimum, and the best d and dmin for all the levels.
pub(crate) fn encode<const N: usize, const B: usize>(
    unit: &Unit<K>,
    trials: Trials,
    end: f32,
) -> SuperLine<B> {
    let x = blocks::<N, B>(&unit.x);
    let w = blocks::<N, B>(&unit.w);
    let top = trials.top;
    let mut fields = start(unit, &x, &w, trials, end);
    let mut least = f32::INFINITY;
    for _ in 0..3 {
        let total: f32 = (0..B)
            .map(|j| beside(x[j], w[j], &mut fields, j, top, end))
            .sum();
        if total >= least {
            break;
        }
        least = total;
        let next = refit(unit, &x, &w, &fields, top);
        let total: f32 = (0..B).map(|j| error(x[j], w[j], next.line(j), top)).sum();
        if total >= least {
            break;
        }
        (fields, least) = (next, total);
    }
    let mut out = [0; K];
    for (j, out) in out.as_chunks_mut::<N>().0.iter_mut().enumerate() {
        codes(x[j], fields.line(j), top, out);
    }
    SuperLine {
        d: unit.store(fields.d),
        dmin: unit.store(fields.dmin),
        scales: fields.scales.map(|v| v as u8),
        mins: fields.mins.map(|v| v as u8),
        codes: out,
    }
}

/// Steps 1 and 2.
fn start<const N: usize, const B: usize>(
    unit: &Unit<K>,
    x: &[&[f32; N]; B],
    w: &[&[f32; N]; B],
    trials: Trials,
    end: f32,
) -> Fields<B> {
    let (mut steps, mut mins, mut sums) = ([0.0; B], [0.0; B], [Sums::default(); B]);
    for j in 0..B {
        let line = best(x[j], w[j], trials);
        (steps[j], mins[j]) = (line.d, -line.m);
        sums[j] = Sums::at(x[j], w[j], line, trials.top);
    }
    // What a missed step costs when the minimum follows it, and one missed minimum.
    let curves = sums.map(|s| s.qq - s.q * ratio(s.q, s.w));
    let weights = sums.map(|s| s.w);
    let d = common(unit, &steps, &curves, [0.0, end]);
    let scales = steps.map(|step| nearest(within(step * ratio(1.0, d), 0.0, end)));
    for j in 0..B {
        let mean = ratio(sums[j].q, sums[j].w);
        mins[j] = (mins[j] + mean * (d * scales[j] - steps[j])).max(0.0);
    }
    let dmin = common(unit, &mins, &weights, [0.0, end]);
    let mins = mins.map(|min| nearest(within(min * ratio(1.0, dmin), 0.0, end)));
    Fields {
        d,
        dmin,
        scales,
        mins,
    }
}

/// Moves the scale and the minimum of block `j` to the best of the nine places around them; its error.
fn beside<const N: usize, const B: usize>(
    x: &[f32; N],
    w: &[f32; N],
    fields: &mut Fields<B>,
    j: usize,
    top: f32,
    end: f32,
) -> f32 {
    let (scale, min) = (fields.scales[j], fields.mins[j]);
    let mut best = (scale, min);
    let mut least = error(x, w, fields.line(j), top);
    for (a, b) in [
        (-1.0, 0.0),
        (1.0, 0.0),
        (0.0, -1.0),
        (0.0, 1.0),
        (-1.0, -1.0),
        (1.0, 1.0),
        (-1.0, 1.0),
        (1.0, -1.0),
    ] {
        let (scale, min) = (scale + a, min + b);
        if (0.0..=end).contains(&scale) && (0.0..=end).contains(&min) {
            (fields.scales[j], fields.mins[j]) = (scale, min);
            let error = error(x, w, fields.line(j), top);
            if error < least {
                (best, least) = ((scale, min), error);
            }
        }
    }
    (fields.scales[j], fields.mins[j]) = best;
    least
}

/// The best d and dmin for the codes as they are: two unknowns, least squares over the whole superblock.
///
/// With `r` what is left of the weights, `a = scale * q` and `b = -min`, the corrections solve
/// `[aa ab; ab bb] [dd; ddmin] = [ar; br]`.
fn refit<const N: usize, const B: usize>(
    unit: &Unit<K>,
    x: &[&[f32; N]; B],
    w: &[&[f32; N]; B],
    fields: &Fields<B>,
    top: f32,
) -> Fields<B> {
    let (mut aa, mut ab, mut bb, mut ar, mut br) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for j in 0..B {
        let line = fields.line(j);
        let sums = Sums::at(x[j], w[j], line, top);
        let step = if line.d == 0.0 { 1.0 } else { line.d };
        let (a, b) = (fields.scales[j], -fields.mins[j]);
        aa += a * a * sums.qq;
        ab += a * b * sums.q;
        bb += b * b * sums.w;
        ar += a * step * sums.eq;
        br += b * step * sums.e;
    }
    let determinant = aa * bb - ab * ab;
    let (d, dmin) = if determinant > 1e-6 * aa * bb {
        (
            (bb * ar - ab * br) / determinant,
            (aa * br - ab * ar) / determinant,
        )
    } else {
        (ratio(ar, aa), 0.0)
    };
    Fields {
        d: unit.stored(fields.d + d),
        dmin: unit.stored(fields.dmin + dmin),
        ..*fields
    }
}
