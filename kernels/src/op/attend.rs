//! Attention over cached rows: scores of queries with keys, and mixtures of values.
//!
//! Several heads that share the rows (grouped queries, or all heads of latent attention) go in one call: a row is read and
//! converted once for [`HEADS`] of them.

use super::vector::padded;
use crate::Isa;
use crate::simd::{Simd, SimdOp};

/// Heads that share one conversion of a row.
const HEADS: usize = 4;

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

/// `out[h][i] = scale * q[h] . row_i`; `q` is heads x width, `out` heads x n.
///
/// # Panics
/// If the lengths do not fit each other.
pub fn scores(isa: Isa, q: &[f32], keys: Rows<'_>, scale: f32, out: &mut [f32]) {
    keys.check();
    let heads = q.len() / keys.width;
    assert_eq!(
        q.len(),
        heads * keys.width,
        "scores: queries as wide as keys"
    );
    assert_eq!(
        out.len(),
        heads * keys.n,
        "scores: a score for each head and key"
    );
    match keys.data {
        Elems::F16(data) => isa.dispatch(Scores {
            q,
            data,
            keys,
            scale,
            out,
        }),
        Elems::F32(data) => isa.dispatch(Scores {
            q,
            data,
            keys,
            scale,
            out,
        }),
    }
}

/// `out[h] = sum_i p[h][i] * row_i`; `p` is heads x n, `out` heads x width.
///
/// # Panics
/// If the lengths do not fit each other.
pub fn mix(isa: Isa, p: &[f32], values: Rows<'_>, out: &mut [f32]) {
    values.check();
    let heads = out.len() / values.width;
    assert_eq!(
        out.len(),
        heads * values.width,
        "mix: results as wide as values"
    );
    assert_eq!(
        p.len(),
        heads * values.n,
        "mix: a weight for each head and value"
    );
    match values.data {
        Elems::F16(data) => isa.dispatch(Mix {
            p,
            data,
            values,
            out,
        }),
        Elems::F32(data) => isa.dispatch(Mix {
            p,
            data,
            values,
            out,
        }),
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
    out: &'a mut [f32],
}

impl<E: Elem> SimdOp for Scores<'_, E> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, s: S) {
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
                        self.out[(h + k) * n + i] = self.scale * sum;
                    }
                    h += HEADS;
                } else {
                    let [sum] = score::<S, E, 1>(s, &self.q[h * width..], row);
                    self.out[h * n + i] = self.scale * sum;
                    h += 1;
                }
            }
        }
    }
}

/// One row times `H` queries. Two sums a head, so that a single head does not wait for its additions.
#[inline(always)]
fn score<S: Simd, E: Elem, const H: usize>(s: S, q: &[f32], row: &[E]) -> [f32; H] {
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
    p: &'a [f32],
    data: &'a [E],
    values: Rows<'a>,
    out: &'a mut [f32],
}

/// Columns that are summed in registers while the rows go by: a cache line of f16.
const STRIP: usize = 32;

impl<E: Elem> SimdOp for Mix<'_, E> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(mut self, s: S) {
        let Rows { width, .. } = self.values;
        let heads = self.out.len() / width;
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
}

impl<E: Elem> Mix<'_, E> {
    /// `strip` columns from `column` on of the heads `h .. h + H`.
    #[inline(always)]
    fn strip<S: Simd, const H: usize>(&mut self, s: S, h: usize, column: usize, strip: usize) {
        let Rows {
            stride,
            start,
            width,
            n,
            ..
        } = self.values;
        let mut weights = [&[] as &[f32]; H];
        for (weights, p) in weights
            .iter_mut()
            .zip(self.p[h * n..].chunks_exact(n.max(1)))
        {
            *weights = p;
        }
        let weights = weights.map(|p| &p[..p.len().min(n)]);
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
                let p = s.splat(weights[k][i]);
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
            self.out[(h + k) * width + column..][..strip].copy_from_slice(&out[..strip]);
        }
    }
}
