//! Scores of a block's rows, and the states carried over it.

use super::mix::Mix;
use super::{GROUP, Line, Queries, Shape, TILE};
use crate::Isa;
use crate::op::stream::{BLOCK, COLUMNS, Span, carry, state_len};
use crate::simd::{Simd, SimdOp, each};

/// Carries the states of some columns over the first `n` tokens of a block, over values of [`Shape::mixed`] numbers (see
/// [`stream`](crate::stream)).
///
/// # Panics
/// If the lengths do not fit each other.
pub fn attend(
    isa: Isa,
    shape: Shape,
    queries: Queries<'_>,
    words: &[Line],
    scales: &[f32],
    n: usize,
    span: Span,
    states: &mut [f32],
) {
    shape.check(words, scales);
    assert!(n <= BLOCK, "attend: {n} tokens in a block of {BLOCK}");
    let columns = queries.bytes.len() / shape.query();
    assert_eq!(
        queries.bytes.len(),
        columns * shape.query(),
        "attend: whole queries"
    );
    assert_eq!(
        queries.factors.len(),
        columns * shape.products(),
        "attend: factors of all queries"
    );
    assert_eq!(
        queries.starts.len(),
        columns * shape.products(),
        "attend: starts of all queries"
    );
    assert_eq!(
        states.len(),
        columns * state_len(shape.mixed()),
        "attend: a state for each query"
    );
    isa.dispatch(Attend {
        shape,
        queries,
        words,
        scales,
        n,
        span,
        states,
    });
}

struct Attend<'a> {
    shape: Shape,
    queries: Queries<'a>,
    words: &'a [Line],
    scales: &'a [f32],
    n: usize,
    span: Span,
    states: &'a mut [f32],
}

/// Scores, then weights, of some columns.
pub(super) type Weights = [[f32; BLOCK]; COLUMNS];

impl SimdOp for Attend<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, s: S) {
        let shape = self.shape;
        let size = state_len(shape.mixed());
        let columns = self.states.len() / size;
        let mut weights: Weights = [[0.0; BLOCK]; COLUMNS];
        let mut turned = [Line([0; 64]); GROUP * BLOCK / 64];
        for first in (0..columns).step_by(COLUMNS) {
            let n = COLUMNS.min(columns - first);
            let mut seen = [0; COLUMNS];
            let mut most = 0;
            for (i, seen) in seen.iter_mut().enumerate().take(n) {
                *seen = self.span.seen(first + i, self.n);
                most = most.max(*seen);
            }
            if most == 0 {
                continue;
            }
            let tiles = most.div_ceil(TILE);
            self.scores(s, first, n, tiles, &mut weights);
            let states = &mut self.states[first * size..][..n * size];
            let mut factors = [1.0; COLUMNS];
            for (i, state) in states.chunks_exact_mut(size).enumerate().take(COLUMNS) {
                let end = &mut state[shape.mixed()..];
                factors[i] = carry(s, &mut weights[i], seen[i], end).unwrap_or(1.0);
            }
            for g in 0..shape.groups() {
                let product = shape.product(g);
                for tile in 0..tiles {
                    let words = &self.words[tile * shape.tile() + product.start / 4..];
                    let words = words[..product.len / 4].as_chunks::<4>().0;
                    for (words, out) in words.iter().zip(turned.chunks_exact_mut(TILE)) {
                        if let Some(out) = out.as_chunks_mut::<4>().0.get_mut(tile) {
                            s.turn(words, out);
                        }
                    }
                }
                let mix = Mix {
                    turned: &turned,
                    tiles,
                    start: product.start,
                    strips: product.len / 16,
                    size,
                };
                let scales = &self.scales[g * BLOCK..][..BLOCK];
                mix.run(s, &weights, scales, &factors, states);
            }
        }
    }
}

impl Attend<'_> {
    /// The scores of columns `first .. first + n` with the first tiles.
    #[inline(always)]
    fn scores<S: Simd>(&self, s: S, first: usize, n: usize, tiles: usize, out: &mut Weights) {
        let mut i = 0;
        while i < n {
            let out = &mut out[i..];
            if S::COLUMNS == 8 && n - i >= 8 {
                self.score::<S, 8>(s, first + i, tiles, out);
                i += 8;
            } else if n - i >= 4 {
                self.score::<S, 4>(s, first + i, tiles, out);
                i += 4;
            } else {
                self.score::<S, 1>(s, first + i, tiles, out);
                i += 1;
            }
        }
    }

    #[inline(always)]
    fn score<S: Simd, const T: usize>(
        &self,
        s: S,
        first: usize,
        tiles: usize,
        out: &mut [[f32; BLOCK]],
    ) {
        let mut tile = 0;
        while tile < tiles {
            if S::TILES == 2 && tiles - tile >= 2 {
                self.tiles::<S, 2, T>(s, first, tile, out);
                tile += 2;
            } else {
                self.tiles::<S, 1, T>(s, first, tile, out);
                tile += 1;
            }
        }
    }

    /// `R` tiles with `T` columns.
    #[inline(always)]
    fn tiles<S: Simd, const R: usize, const T: usize>(
        &self,
        s: S,
        first: usize,
        tile: usize,
        out: &mut [[f32; BLOCK]],
    ) {
        let shape = self.shape;
        let count = shape.products();
        let mut sums = [[[s.splat(0.0); 2]; R]; T];
        for p in 0..count {
            let product = shape.product(p);
            let w = each!(R, |r| {
                let start = (tile + r) * shape.tile() + product.start / 4;
                &self.words[start..][..product.len / 4]
            });
            let a = each!(T, |t| {
                let start = (first + t) * shape.query() + product.query;
                self.queries.bytes[start..][..product.len]
                    .as_chunks::<4>()
                    .0
            });
            let starts = each!(T, |t| self.queries.starts[(first + t) * count + p]);
            let found = s.many_i8(w, a, starts);
            let scales = &self.scales[product.scales * BLOCK + tile * TILE..][..R * TILE];
            let scales = scales.as_chunks::<8>().0;
            for t in 0..T {
                let factor = s.splat(self.queries.factors[(first + t) * count + p]);
                for r in 0..R {
                    for half in 0..2 {
                        let x = s.mul(found[t][r][half], factor);
                        let scale = s.load(&scales[2 * r + half]);
                        sums[t][r][half] = s.fma(x, scale, sums[t][r][half]);
                    }
                }
            }
        }
        for t in 0..T {
            let out = out[t][tile * TILE..].as_chunks_mut::<8>().0;
            for r in 0..R {
                s.store(sums[t][r][0], &mut out[2 * r]);
                s.store(sums[t][r][1], &mut out[2 * r + 1]);
            }
        }
    }
}
