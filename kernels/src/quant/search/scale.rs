//! `x = d * level`: the scale of a block, whatever its levels.

use super::{Unit, nearest, ratio, sum, within};
use half::f16;

/// The levels of a format, and the codes that stand for them.
pub(crate) trait Levels: Copy {
    /// The lowest.
    const LOW: f32;
    /// The highest.
    const HIGH: f32;

    /// The level nearest to `y`.
    fn nearest(y: f32) -> f32;

    /// The code of a level.
    fn code(level: f32) -> u8;
}

/// The integers from `LOW` to `HIGH`; a code counts from `LOW`.
#[derive(Clone, Copy)]
pub(crate) struct Integers<const LOW: i8, const HIGH: i8>;

impl<const LOW: i8, const HIGH: i8> Levels for Integers<LOW, HIGH> {
    const LOW: f32 = LOW as f32;
    const HIGH: f32 = HIGH as f32;

    #[inline(always)]
    fn nearest(y: f32) -> f32 {
        nearest(within(y, Self::LOW, Self::HIGH))
    }

    fn code(level: f32) -> u8 {
        (level - Self::LOW) as u8
    }
}

/// What a scale makes of a block, `y = x / d`, `e = y - level`.
#[derive(Clone, Copy)]
pub(crate) struct Sums {
    /// `sum(w e e)`.
    pub(crate) ee: f32,
    /// `sum(w e level)`.
    pub(crate) eq: f32,
    /// `sum(w level level)`.
    pub(crate) qq: f32,
}

impl Sums {
    /// Of `x` divided by `1 / inverse`.
    #[inline(always)]
    pub(crate) fn of<L: Levels, const N: usize>(x: &[f32; N], w: &[f32; N], inverse: f32) -> Self {
        let (mut ee, mut eq, mut qq) = ([0.0; N], [0.0; N], [0.0; N]);
        for i in 0..N {
            let y = x[i] * inverse;
            let q = L::nearest(y);
            let e = y - q;
            let (we, wq) = (w[i] * e, w[i] * q);
            ee[i] = we * e;
            eq[i] = we * q;
            qq[i] = wq * q;
        }
        Sums {
            ee: sum(&ee),
            eq: sum(&eq),
            qq: sum(&qq),
        }
    }

    /// By how much `d` is to be multiplied to suit these levels best.
    pub(crate) fn correction(self) -> f32 {
        1.0 + ratio(self.eq, self.qq)
    }

    /// The error after that, in units of `d^2`.
    pub(crate) fn corrected(self) -> f32 {
        self.ee - self.eq * ratio(self.eq, self.qq)
    }
}

/// `sum(w * (x - d * level)^2)`.
pub(crate) fn error<L: Levels, const N: usize>(x: &[f32; N], w: &[f32; N], d: f32) -> f32 {
    if d == 0.0 {
        return square(x, w);
    }
    Sums::of::<L, N>(x, w, 1.0 / d).ee * d * d
}

/// `sum(w * x^2)`.
fn square<const N: usize>(x: &[f32; N], w: &[f32; N]) -> f32 {
    x.iter().zip(w).map(|(x, w)| w * x * x).sum()
}

/// Which levels the largest weight is tried at: `from, from + step, ..= to`, as fractions of `LOW` and of `HIGH`.
#[derive(Clone, Copy)]
pub(crate) struct Trials {
    /// The first.
    pub(crate) from: f32,
    /// The last.
    pub(crate) to: f32,
    /// In levels.
    pub(crate) step: f32,
}

/// The best scale of a block, before it is stored; 0 for a block of zeros.
///
/// The largest weight is put at every level that `trials` names, on the low and on the high side (which differ by a level, and by
/// the sign of d). The level may lie beyond the end: then the largest weight is cut, and the others get finer steps.
pub(crate) fn best<L: Levels, const N: usize>(x: &[f32; N], w: &[f32; N], trials: Trials) -> f32 {
    let largest = largest(x);
    if largest == 0.0 {
        return 0.0;
    }
    let (mut best, mut least) = (0.0, f32::INFINITY);
    for end in [L::LOW, L::HIGH] {
        let count = ((trials.to - trials.from) * end.abs() / trials.step) as i32;
        for i in 0..=count {
            let level = trials.to * end - (i as f32 * trials.step).copysign(end);
            let sums = Sums::of::<L, N>(x, w, level / largest);
            let d = largest / level;
            let error = sums.corrected() * d * d;
            if error < least {
                (best, least) = (bounded::<L>(d * sums.correction(), largest, trials), error);
            }
        }
    }
    best
}

/// The weight of the largest magnitude, with its sign.
pub(crate) fn largest<const N: usize>(x: &[f32; N]) -> f32 {
    x.iter()
        .fold(0.0, |m: f32, x| if x.abs() > m.abs() { *x } else { m })
}

/// `d`, made large enough that `largest` lies at level `to` or below: no weight is cut by more than `trials` says.
fn bounded<L: Levels>(d: f32, largest: f32, trials: Trials) -> f32 {
    let end = if largest * d < 0.0 { L::LOW } else { L::HIGH };
    let least = (largest / (trials.to * end)).abs();
    if d.abs() < least {
        least.copysign(d)
    } else {
        d
    }
}

/// Stores a scale: as the f16 near `d` that serves the block best, after at most four corrections.
fn settle<L: Levels, const N: usize>(unit: &Unit<N>, d: f32, trials: Trials) -> f16 {
    let largest = largest(&unit.x);
    let mut stored = unit.store(d);
    let mut least = error::<L, N>(&unit.x, &unit.w, unit.load(stored));
    for _ in 0..4 {
        let d = unit.load(stored);
        if d == 0.0 {
            break;
        }
        let sums = Sums::of::<L, N>(&unit.x, &unit.w, 1.0 / d);
        let next = unit.store(bounded::<L>(d * sums.correction(), largest, trials));
        let error = error::<L, N>(&unit.x, &unit.w, unit.load(next));
        if next == stored || error >= least {
            break;
        }
        (stored, least) = (next, error);
    }
    stored
}

/// The codes of `x` at a scale; a scale of 0 gives the code of level 0.
pub(crate) fn codes<L: Levels, const N: usize>(x: &[f32; N], d: f32, codes: &mut [u8; N]) {
    let inverse = ratio(1.0, d);
    for (x, code) in x.iter().zip(codes) {
        *code = L::code(L::nearest(x * inverse));
    }
}

/// A whole block of one scale: the scale as stored, and the codes.
pub(crate) fn encode<L: Levels, const N: usize>(unit: &Unit<N>, trials: Trials) -> (f16, [u8; N]) {
    let d = settle::<L, N>(unit, best::<L, N>(&unit.x, &unit.w, trials), trials);
    let mut out = [0; N];
    codes::<L, N>(&unit.x, unit.load(d), &mut out);
    (d, out)
}
