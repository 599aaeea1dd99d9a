//! The mix: weights of a block's tokens times their latents.

use super::attend::Weights;
use super::{GROUP, Line, TILE};
use crate::op::stream::{BLOCK, COLUMNS};
use crate::simd::{Simd, each};

/// The two planes of the weights of a column, high before low.
type Planes = [[[i8; 4]; BLOCK / 4]; 2];

/// The mix of up to 128 latent columns.
pub(super) struct Mix<'a> {
    /// `[strips of 16 columns][tokens / 4][16 columns][4]`
    pub(super) turned: &'a [Line; GROUP * BLOCK / 64],
    pub(super) tiles: usize,
    /// The first column.
    pub(super) start: usize,
    pub(super) strips: usize,
    /// From a state to the next.
    pub(super) size: usize,
}

impl Mix<'_> {
    #[inline(always)]
    pub(super) fn run<S: Simd>(
        &self,
        s: S,
        weights: &Weights,
        scales: &[f32],
        factors: &[f32; COLUMNS],
        states: &mut [f32],
    ) {
        let n = states.len() / self.size;
        let mut i = 0;
        while i < n {
            let states = &mut states[i * self.size..];
            if S::COLUMNS == 8 && n - i >= 4 {
                self.columns::<S, 4, 8>(s, &weights[i..], scales, &factors[i..], states);
                i += 4;
            } else if n - i >= 2 {
                self.columns::<S, 2, 4>(s, &weights[i..], scales, &factors[i..], states);
                i += 2;
            } else {
                self.columns::<S, 1, 2>(s, &weights[i..], scales, &factors[i..], states);
                i += 1;
            }
        }
    }

    /// `C` columns, whose planes are `T`.
    #[inline(always)]
    fn columns<S: Simd, const C: usize, const T: usize>(
        &self,
        s: S,
        weights: &[[f32; BLOCK]],
        scales: &[f32],
        factors: &[f32],
        states: &mut [f32],
    ) {
        let mut planes: [Planes; C] = [[[[0; 4]; BLOCK / 4]; 2]; C];
        let steps = each!(C, |c| weigh(
            s,
            &weights[c],
            scales,
            self.tiles,
            &mut planes[c]
        ));
        let mut strip = 0;
        while strip < self.strips {
            if S::TILES == 2 && self.strips - strip >= 2 {
                self.strips::<S, 2, C, T>(s, strip, &planes, &steps, factors, states);
                strip += 2;
            } else {
                self.strips::<S, 1, C, T>(s, strip, &planes, &steps, factors, states);
                strip += 1;
            }
        }
    }

    #[inline(always)]
    fn strips<S: Simd, const R: usize, const C: usize, const T: usize>(
        &self,
        s: S,
        strip: usize,
        planes: &[Planes; C],
        steps: &[f32; C],
        factors: &[f32],
        states: &mut [f32],
    ) {
        let n = self.tiles * TILE / 4;
        let w = each!(R, |r| &self.turned[(strip + r) * TILE..][..n]);
        let a = each!(T, |t| &planes[t / 2][t % 2][..n]);
        let found = s.many_planes(w, a);
        let high = s.splat((1_u32 << S::PLANE) as f32);
        for c in 0..C {
            let (step, factor) = (s.splat(steps[c]), s.splat(factors[c]));
            let start = c * self.size + self.start + strip * 16;
            let out = states[start..][..16 * R].as_chunks_mut::<8>().0;
            for r in 0..R {
                for half in 0..2 {
                    let out = &mut out[2 * r + half];
                    let (of_high, of_low) = (found[2 * c][r][half], found[2 * c + 1][r][half]);
                    let x = s.fma(of_high, high, of_low);
                    s.store(s.fma(x, step, s.mul(s.load(out), factor)), out);
                }
            }
        }
    }
}

/// The weights of a column times the scales of the rows, in two planes; what one step of them stands for.
#[inline(always)]
fn weigh<S: Simd>(
    s: S,
    weights: &[f32; BLOCK],
    scales: &[f32],
    tiles: usize,
    planes: &mut Planes,
) -> f32 {
    // The largest integer, and the least that its inverse can be taken of.
    let levels = ((1_u32 << (2 * S::PLANE)) - 1) as f32;
    const LEAST: f32 = 1e-33;
    let weights = weights.as_chunks::<8>().0;
    let scales = scales.as_chunks::<8>().0;
    let n = 2 * tiles;
    let mut products = [[0.0; 8]; BLOCK / 8];
    let mut largest = s.splat(0.0);
    for ((out, p), d) in products.iter_mut().zip(weights).zip(scales).take(n) {
        let x = s.mul(s.load(p), s.load(d));
        largest = s.max(x, largest);
        s.store(x, out);
    }
    let largest = s.max_lane(largest);
    if largest < LEAST {
        return 0.0;
    }
    let factor = s.splat(levels / largest);
    let [high, low] = planes;
    let out = high.as_flattened_mut().as_chunks_mut::<32>().0;
    let out = out
        .iter_mut()
        .zip(low.as_flattened_mut().as_chunks_mut::<32>().0);
    for ((high, low), x) in out.zip(products.as_chunks::<4>().0).take(tiles.div_ceil(2)) {
        let x = each!(4, |k| s.mul(s.load(&x[k]), factor));
        s.planes(x, high, low);
    }
    largest / levels
}
