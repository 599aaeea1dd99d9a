//! Attention over a block of cached rows of floats: scores of queries with keys, and mixtures of values.
//!
//! Several heads that share the rows (grouped queries, or all heads of latent attention) go in one call, and so do several tokens: a
//! row is read and converted once for [`HEADS`] queries.

use super::stream::{BLOCK, COLUMNS, Span, carry, state_len};
use super::vector::padded;
use crate::Isa;
use crate::simd::{Simd, SimdOp};

/// Heads that share one conversion of a row.
pub(crate) const HEADS: usize = 4;

/// Cached numbers.
#[derive(Clone, Copy, Debug)]
pub enum Elems<'a> {
    /// Half precision, as bits.
    F16(&'a [u16]),
    /// Single precision.
    F32(&'a [f32]),
}

/// `n` rows of `width` numbers, row i at `data[i * stride + start ..]`.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// Where the rows lie.
    pub data: Elems<'a>,
    /// From one row to the next.
    pub stride: usize,
    /// Where a row's numbers begin.
    pub start: usize,
    /// Numbers of a row.
    pub width: usize,
    /// Rows.
    pub n: usize,
}

impl Rows<'_> {
    /// Checks that all rows lie inside the data.
    pub(crate) fn check(&self) {
        let len = match self.data {
            Elems::F16(x) => x.len(),
            Elems::F32(x) => x.len(),
        };
        let end = match self.n {
            0 => Some(0),
            n => (n - 1)
                .checked_mul(self.stride)
                .and_then(|last| last.checked_add(self.start)?.checked_add(self.width)),
        };
        assert!(self.width > 0, "rows have a width");
        assert!(
            end.is_some_and(|end| end <= len),
            "{} rows do not fit into {len} numbers",
            self.n
        );
    }
}

/// Carries the states of some columns over a block of rows.
///
/// `q` is columns x `keys.width`; the rows of `values` belong to those of `keys`; scores are `scale * q . key`; `states` are those of
/// [`stream`](super::stream), a column each over values of `values.width` numbers.
///
/// # Panics
/// If the lengths do not fit each other, or a block has more than [`BLOCK`] rows.
pub fn attend(
    isa: Isa,
    q: &[f32],
    keys: Rows<'_>,
    values: Rows<'_>,
    scale: f32,
    span: Span,
    states: &mut [f32],
) {
    keys.check();
    values.check();
    let columns = q.len() / keys.width;
    assert!(keys.n <= BLOCK, "{} rows in a block of {BLOCK}", keys.n);
    assert_eq!(keys.n, values.n, "attend: a value for each key");
    assert_eq!(
        q.len(),
        columns * keys.width,
        "attend: queries as wide as keys"
    );
    assert_eq!(
        states.len(),
        columns * state_len(values.width),
        "attend: a state for each query"
    );
    match (keys.data, values.data) {
        (Elems::F16(keys_in), Elems::F16(values_in)) => isa.dispatch(Attend {
            q,
            keys_in,
            values_in,
            keys,
            values,
            scale,
            span,
            states,
        }),
        (Elems::F32(keys_in), Elems::F32(values_in)) => isa.dispatch(Attend {
            q,
            keys_in,
            values_in,
            keys,
            values,
            scale,
            span,
            states,
        }),
        _ => unreachable!("keys and values of one cache"),
    }
}

struct Attend<'a, E> {
    q: &'a [f32],
    keys_in: &'a [E],
    values_in: &'a [E],
    keys: Rows<'a>,
    values: Rows<'a>,
    scale: f32,
    span: Span,
    states: &'a mut [f32],
}

impl<E: Elem> SimdOp for Attend<'_, E> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, s: S) {
        let Attend {
            keys, values, span, ..
        } = self;
        let size = state_len(values.width);
        let groups = self.q.chunks(COLUMNS * keys.width);
        for (group, (q, states)) in groups
            .zip(self.states.chunks_mut(COLUMNS * size))
            .enumerate()
        {
            let first = group * COLUMNS;
            let columns = states.len() / size;
            let mut most = 0;
            for i in 0..columns {
                most = most.max(span.seen(first + i, keys.n));
            }
            if most == 0 {
                continue;
            }
            let mut weights = [[0.0; BLOCK]; COLUMNS];
            Scores {
                q,
                data: self.keys_in,
                keys: Rows { n: most, ..keys },
                scale: self.scale,
                out: &mut weights,
            }
            .run(s);
            let mut factors = [1.0; COLUMNS];
            for (i, state) in states.chunks_exact_mut(size).enumerate() {
                let seen = span.seen(first + i, keys.n);
                let end = &mut state[values.width..];
                factors[i] = carry(s, &mut weights[i], seen, end).unwrap_or(1.0);
            }
            Mix {
                p: &weights,
                factors: &factors,
                data: self.values_in,
                values: Rows { n: most, ..values },
                columns,
                states,
            }
            .run(s);
        }
    }
}

/// A cached number.
pub(crate) trait Elem: Copy + Default {
    fn eight<S: Simd>(s: S, x: &[Self; 8]) -> S::F;
}

impl Elem for u16 {
    #[inline(always)]
    fn eight<S: Simd>(s: S, x: &[u16; 8]) -> S::F {
        s.load_f16(x)
    }
}

impl Elem for f32 {
    #[inline(always)]
    fn eight<S: Simd>(s: S, x: &[f32; 8]) -> S::F {
        s.load(x)
    }
}

/// Fewer than 8 numbers, filled up with zeros.
#[inline(always)]
pub(crate) fn last<S: Simd, E: Elem>(s: S, tail: &[E]) -> S::F {
    let mut x = [E::default(); 8];
    x[..tail.len()].copy_from_slice(tail);
    E::eight(s, &x)
}

struct Scores<'a, E> {
    q: &'a [f32],
    data: &'a [E],
    keys: Rows<'a>,
    scale: f32,
    out: &'a mut [[f32; BLOCK]; COLUMNS],
}

impl<E: Elem> Scores<'_, E> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Rows {
            stride,
            start,
            width,
            n,
            ..
        } = self.keys;
        let heads = self.q.len() / width;
        for i in 0..n {
            let row = &self.data[i * stride + start..][..width];
            let mut h = 0;
            while h < heads {
                if heads - h >= HEADS {
                    let sums = score::<S, E, HEADS>(s, &self.q[h * width..], row);
                    for (k, sum) in sums.into_iter().enumerate() {
                        self.out[h + k][i] = self.scale * sum;
                    }
                    h += HEADS;
                } else {
                    let [sum] = score::<S, E, 1>(s, &self.q[h * width..], row);
                    self.out[h][i] = self.scale * sum;
                    h += 1;
                }
            }
        }
    }
}

/// One row times `H` queries. Two sums a head, so that a single head does not wait for its additions.
#[inline(always)]
pub(crate) fn score<S: Simd, E: Elem, const H: usize>(s: S, q: &[f32], row: &[E]) -> [f32; H] {
    let (row8, tail) = row.as_chunks::<8>();
    let (pairs, single) = row8.as_chunks::<2>();
    let mut heads = [&[] as &[f32]; H];
    for (head, q) in heads.iter_mut().zip(q.chunks_exact(row.len())) {
        *head = q;
    }
    let mut sums = [[s.splat(0.0); 2]; H];
    let mut wide = [&[] as &[[[f32; 8]; 2]]; H];
    for h in 0..H {
        wide[h] = &heads[h].as_chunks::<8>().0.as_chunks::<2>().0[..pairs.len()];
    }
    for (i, pair) in pairs.iter().enumerate() {
        let (a, b) = (E::eight(s, &pair[0]), E::eight(s, &pair[1]));
        for h in 0..H {
            let [x, y] = &wide[h][i];
            sums[h] = [
                s.fma(a, s.load(x), sums[h][0]),
                s.fma(b, s.load(y), sums[h][1]),
            ];
        }
    }
    let done = row8.len() * 8;
    for h in 0..H {
        if let Some(x) = single.first() {
            let q = &heads[h].as_chunks::<8>().0[row8.len() - 1];
            sums[h][0] = s.fma(E::eight(s, x), s.load(q), sums[h][0]);
        }
        if !tail.is_empty() {
            sums[h][1] = s.fma(
                last(s, tail),
                s.load(&padded(&heads[h][done..], 0.0)),
                sums[h][1],
            );
        }
    }
    let mut out = [0.0; H];
    for h in 0..H {
        out[h] = s.sum(s.add(sums[h][0], sums[h][1]));
    }
    out
}

struct Mix<'a, E> {
    p: &'a [[f32; BLOCK]; COLUMNS],
    /// On what each column has mixed before.
    factors: &'a [f32; COLUMNS],
    data: &'a [E],
    values: Rows<'a>,
    columns: usize,
    states: &'a mut [f32],
}

/// Columns that are summed in registers while the rows go by: a cache line of f16.
const STRIP: usize = 32;

impl<E: Elem> Mix<'_, E> {
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let Rows { width, .. } = self.values;
        let heads = self.columns;
        let mut column = 0;
        while column < width {
            let strip = STRIP.min(width - column);
            let mut h = 0;
            while h < heads {
                if heads - h >= 2 {
                    self.strip::<S, 2>(s, h, column, strip);
                    h += 2;
                } else {
                    self.strip::<S, 1>(s, h, column, strip);
                    h += 1;
                }
            }
            column += strip;
        }
    }

    /// `strip` numbers from `column` on of the queries `h .. h + H`.
    #[inline(always)]
    fn strip<S: Simd, const H: usize>(&mut self, s: S, h: usize, column: usize, strip: usize) {
        let Rows {
            stride,
            start,
            width,
            n,
            ..
        } = self.values;
        let mut sums = [[s.splat(0.0); STRIP / 8]; H];
        for i in 0..n {
            let row = &self.data[i * stride + start + column..][..strip];
            let values = match row.first_chunk::<STRIP>() {
                Some(row) => {
                    let x = row.as_chunks::<8>().0;
                    [
                        E::eight(s, &x[0]),
                        E::eight(s, &x[1]),
                        E::eight(s, &x[2]),
                        E::eight(s, &x[3]),
                    ]
                }
                None => {
                    let mut x = [E::default(); STRIP];
                    x[..strip].copy_from_slice(row);
                    let x = x.as_chunks::<8>().0;
                    [
                        E::eight(s, &x[0]),
                        E::eight(s, &x[1]),
                        E::eight(s, &x[2]),
                        E::eight(s, &x[3]),
                    ]
                }
            };
            for k in 0..H {
                let p = s.splat(self.p[(h + k) % COLUMNS][i % BLOCK]);
                for (sum, value) in sums[k].iter_mut().zip(values) {
                    *sum = s.fma(p, value, *sum);
                }
            }
        }
        for k in 0..H {
            let mut out = [0.0; STRIP];
            for (out, sum) in out.as_chunks_mut::<8>().0.iter_mut().zip(sums[k]) {
                s.store(sum, out);
            }
            let into = &mut self.states[(h + k) * state_len(width) + column..][..strip];
            let factor = self.factors[(h + k) % COLUMNS];
            for (into, out) in into.iter_mut().zip(out) {
                *into = *into * factor + out;
            }
        }
    }
}
