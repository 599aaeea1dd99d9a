//! The oracle: every operation once more, in f64, in the plainest way there is.
//!
//! Nothing here is fast and nothing here is clever. Tests and benches hold each kernel of each instruction set against it.

mod panels;

pub use panels::{Panels, panels};

use crate::{Format, RopeKind, decode};
use std::vec;
use std::vec::Vec;

/// A matrix as f32: `rows x cols`.
///
/// # Panics
/// If `weights` has not the length of `rows` rows.
pub fn weights(format: Format, weights: &[u8], rows: usize, cols: usize) -> Vec<f32> {
    let mut out = vec![0.0; rows * cols];
    decode(format, weights, &mut out);
    out
}

/// `out[t][r] = w[r] . x[t]`, `w` of `rows x cols`, `x` of `tokens x cols`.
pub fn matmul(w: &[f32], x: &[f32], cols: usize) -> Vec<f64> {
    x.chunks(cols)
        .flat_map(|x| w.chunks(cols).map(move |w| dot(w, x)))
        .collect()
}

/// The inner product.
pub fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(a, b)| f64::from(*a) * f64::from(*b))
        .sum()
}

/// `x * w / sqrt(mean(x^2) + eps)`.
pub fn rmsnorm(x: &[f32], w: &[f32], eps: f32) -> Vec<f64> {
    let mean = dot(x, x) / x.len() as f64;
    let scale = 1.0 / (mean + f64::from(eps)).sqrt();
    x.iter()
        .zip(w)
        .map(|(x, w)| f64::from(*x) * scale * f64::from(*w))
        .collect()
}

/// `e^x / sum(e^x)`.
pub fn softmax(x: &[f32]) -> Vec<f64> {
    let max = x
        .iter()
        .fold(f64::NEG_INFINITY, |m, x| m.max(f64::from(*x)));
    let e: Vec<f64> = x.iter().map(|x| (f64::from(*x) - max).exp()).collect();
    let sum: f64 = e.iter().sum();
    e.into_iter().map(|e| e / sum).collect()
}

/// `x / (1 + e^-x)`.
pub fn silu(x: f32) -> f64 {
    f64::from(x) / (1.0 + (-f64::from(x)).exp())
}

/// `max(x, 0)^2`.
pub fn relu_squared(x: f32) -> f64 {
    f64::from(x).max(0.0).powi(2)
}

/// `sum_h counts_h * max(query_h . key, 0)` for each key of `width` numbers.
pub fn rank(query: &[f32], counts: &[f32], keys: &[f32], width: usize) -> Vec<f64> {
    let of = |key: &[f32]| {
        let heads = query.chunks(width).zip(counts);
        heads
            .map(|(query, count)| f64::from(*count) * dot(query, key).max(0.0))
            .sum()
    };
    keys.chunks(width).map(of).collect()
}

/// One part rotated: the pairs of `kind` turned by the angles.
pub fn rope(x: &[f32], angles: &[f64], kind: RopeKind) -> Vec<f64> {
    let mut out = vec![0.0; x.len()];
    for (i, angle) in angles.iter().enumerate() {
        let (a, b) = match kind {
            RopeKind::Norm => (2 * i, 2 * i + 1),
            RopeKind::Neox => (i, i + angles.len()),
        };
        let (x, y) = (f64::from(x[a]), f64::from(x[b]));
        (out[a], out[b]) = (
            x * angle.cos() - y * angle.sin(),
            x * angle.sin() + y * angle.cos(),
        );
    }
    out
}

/// One query over keys and values (a row each token): `softmax(scale * q . k) v`.
pub fn attention(q: &[f32], keys: &[Vec<f32>], values: &[Vec<f32>], scale: f64) -> Vec<f64> {
    let scores: Vec<f64> = keys.iter().map(|k| scale * dot(q, k)).collect();
    let max = scores.iter().fold(f64::NEG_INFINITY, |m, x| m.max(*x));
    let e: Vec<f64> = scores.iter().map(|x| (x - max).exp()).collect();
    let sum: f64 = e.iter().sum();
    let width = values.first().map_or(0, Vec::len);
    (0..width)
        .map(|c| {
            e.iter()
                .zip(values)
                .map(|(e, v)| e / sum * f64::from(v[c]))
                .sum()
        })
        .collect()
}
