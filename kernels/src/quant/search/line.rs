//! `x = d * q + m`, q from 0 to `top`: the line of a block.

use super::{Unit, nearest, ratio, sum, within};
use half::f16;

/// A line through a block's weights.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Line {
    /// The step.
    pub(crate) d: f32,
    /// The weight of q = 0.
    pub(crate) m: f32,
}

/// What a line makes of a block: `y = (x - m) / d`, `e = y - q`.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sums {
    /// `sum(w)`.
    pub(crate) w: f32,
    /// `sum(w q)`.
    pub(crate) q: f32,
    /// `sum(w q q)`.
    pub(crate) qq: f32,
    /// `sum(w e)`.
    pub(crate) e: f32,
    /// `sum(w e q)`.
    pub(crate) eq: f32,
    /// `sum(w e e)`.
    pub(crate) ee: f32,
}

impl Sums {
    /// Of `y = x * inverse + offset`.
    #[inline(always)]
    fn of<const N: usize>(x: &[f32; N], w: &[f32; N], inverse: f32, offset: f32, top: f32) -> Self {
        let (mut q, mut qq) = ([0.0; N], [0.0; N]);
        let (mut e, mut eq, mut ee) = ([0.0; N], [0.0; N], [0.0; N]);
        for i in 0..N {
            let y = x[i] * inverse + offset;
            let level = nearest(within(y, 0.0, top));
            let left = y - level;
            q[i] = w[i] * level;
            e[i] = w[i] * left;
            qq[i] = w[i] * level * level;
            eq[i] = w[i] * left * level;
            ee[i] = w[i] * left * left;
        }
        Sums {
            w: sum(w),
            q: sum(&q),
            qq: sum(&qq),
            e: sum(&e),
            eq: sum(&eq),
            ee: sum(&ee),
        }
    }

    /// Of the weights at a line. With `d = 0` every q is 0 and e is the error itself.
    #[inline(always)]
    pub(crate) fn at<const N: usize>(x: &[f32; N], w: &[f32; N], line: Line, top: f32) -> Self {
        if line.d == 0.0 {
            return Self::of(x, w, 1.0, -line.m, 0.0);
        }
        let inverse = 1.0 / line.d;
        Self::of(x, w, inverse, -line.m * inverse, top)
    }

    /// Steps that the slope gains (as a fraction) and the line is lifted by for these q, and `sum(w e e)` then.
    ///
    /// The lift is at most `ceiling`.
    #[inline(always)]
    fn fit(self, ceiling: f32) -> (f32, f32, f32) {
        let determinant = self.w * self.qq - self.q * self.q;
        let mut lift = if determinant > 1e-6 * self.w * self.qq {
            (self.qq * self.e - self.q * self.eq) / determinant
        } else {
            0.0
        };
        lift = lift.min(ceiling);
        let eq = self.eq - lift * self.q;
        let slope = ratio(eq, self.qq);
        let error = self.ee - lift * (2.0 * self.e - lift * self.w) - slope * eq;
        (slope, lift, error)
    }
}

/// How a block's lines are tried.
#[derive(Clone, Copy)]
pub(crate) struct Trials {
    /// The highest q.
    pub(crate) top: f32,
    /// The range of the weights is tried as `top - under ..= top + over` steps,
    pub(crate) under: f32,
    /// beyond `top` it is cut at either end or at both,
    pub(crate) over: f32,
    /// in steps of this.
    pub(crate) step: f32,
    /// Whether `m <= 0`: superblocks store `-m` as a product of positive numbers.
    pub(crate) sunk: bool,
}

/// `sum(w * (x - decoded)^2)` of a line.
pub(crate) fn error<const N: usize>(x: &[f32; N], w: &[f32; N], line: Line, top: f32) -> f32 {
    let sums = Sums::at(x, w, line, top);
    let d = if line.d == 0.0 { 1.0 } else { line.d };
    sums.ee * d * d
}

/// The best line of a block, before it is stored.
pub(crate) fn best<const N: usize>(x: &[f32; N], w: &[f32; N], trials: Trials) -> Line {
    let (mut low, mut high) = (x[0], x[0]);
    for x in x {
        low = low.min(*x);
        high = high.max(*x);
    }
    if trials.sunk {
        low = low.min(0.0);
    }
    if high <= low {
        return Line { d: 0.0, m: low };
    }
    let mut best = (Line::default(), f32::INFINITY);
    let count = ((trials.under + trials.over) / trials.step) as i32;
    for i in 0..=count {
        let steps = trials.top - trials.under + trials.step * i as f32;
        let inverse = steps / (high - low);
        let beyond = (steps - trials.top).max(0.0);
        for cut in [0.0, 0.5, 1.0] {
            let next = fitted(x, w, trials, inverse, -low * inverse - cut * beyond);
            if next.1 < best.1 {
                best = next;
            }
            if beyond == 0.0 {
                break;
            }
        }
    }
    for _ in 0..4 {
        let (line, least) = best;
        if line.d == 0.0 {
            break;
        }
        let inverse = 1.0 / line.d;
        let next = fitted(x, w, trials, inverse, -line.m * inverse);
        if next.1 >= least {
            break;
        }
        best = next;
    }
    best.0
}

/// The line that suits the codes of `x * inverse + offset` best, and its error with them.
#[inline(always)]
fn fitted<const N: usize>(
    x: &[f32; N],
    w: &[f32; N],
    trials: Trials,
    inverse: f32,
    offset: f32,
) -> (Line, f32) {
    let ceiling = if trials.sunk { offset } else { f32::INFINITY };
    let sums = Sums::of(x, w, inverse, offset, trials.top);
    let (slope, lift, error) = sums.fit(ceiling);
    let d = 1.0 / inverse;
    let line = Line {
        d: d * (1.0 + slope),
        m: (lift - offset) * d,
    };
    (line, error * d * d)
}

/// The codes of `x` on a line.
pub(crate) fn codes<const N: usize>(x: &[f32; N], line: Line, top: f32, codes: &mut [u8; N]) {
    let inverse = ratio(1.0, line.d);
    let offset = -line.m * inverse;
    for (x, code) in x.iter().zip(codes) {
        *code = nearest(within(x * inverse + offset, 0.0, top)) as u8;
    }
}

/// A whole block of one line: d and m as stored, and the codes.
pub(crate) fn encode<const N: usize>(unit: &Unit<N>, trials: Trials) -> (f16, f16, [u8; N]) {
    let (x, w, top) = (&unit.x, &unit.w, trials.top);
    let line = settle(unit, best(x, w, trials), top);
    let mut out = [0; N];
    codes(x, line, top, &mut out);
    (unit.store(line.d), unit.store(line.m), out)
}

/// The line as it is best stored.
fn settle<const N: usize>(unit: &Unit<N>, line: Line, top: f32) -> Line {
    let (x, w) = (&unit.x, &unit.w);
    let stored = |line: Line| Line {
        d: unit.stored(line.d),
        m: unit.stored(line.m),
    };
    if line.d == 0.0 {
        // A constant: what f16 leaves of it becomes one step.
        let m = unit.stored(line.m);
        return Line {
            d: unit.stored(line.m - m),
            m,
        };
    }
    let mut best = stored(line);
    let mut least = error(x, w, best, top);
    // Where the codes leave room the same line may start lower, at an m that f16 holds better.
    let (mut first, mut last) = (top, 0.0_f32);
    for x in x {
        let q = nearest(within((x - line.m) / line.d, 0.0, top));
        first = first.min(q);
        last = last.max(q);
    }
    let mut shift = -first;
    while shift <= top - last {
        let d = unit.stored(line.d);
        let next = stored(Line {
            d,
            m: line.m - shift * d,
        });
        let error = error(x, w, next, top);
        if error < least {
            (best, least) = (next, error);
        }
        shift += 1.0;
    }
    for _ in 0..4 {
        if best.d == 0.0 {
            break;
        }
        let (slope, lift, _) = Sums::at(x, w, best, top).fit(f32::INFINITY);
        let next = stored(Line {
            d: best.d * (1.0 + slope),
            m: best.m + lift * best.d,
        });
        let error = error(x, w, next, top);
        if error >= least {
            break;
        }
        (best, least) = (next, error);
    }
    best
}
