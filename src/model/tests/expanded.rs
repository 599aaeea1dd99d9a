//! Latent attention with keys and values built for every head: the oracle of the absorbed form.

use super::{MLA, N_EMBD};
use crate::model::matrix::Matrix;
use crate::model::weights::{Mla, Query};

fn decoded(matrix: &Matrix) -> Vec<Vec<f32>> {
    let row = |i| {
        let mut out = vec![0.0; matrix.cols()];
        matrix.decode_row(i, &mut out);
        out
    };
    (0..matrix.rows()).map(row).collect()
}

/// Latent attention as the paper first writes it: keys and values of every head are built. In f64.
pub(super) fn expanded(mla: &Mla, kv_b: &Matrix, x: &[f32]) -> Vec<f32> {
    let Query::Direct(q) = &mla.query else {
        unreachable!("the tests' models have no query rank")
    };
    let product = |m: &[Vec<f32>], x: &[f64]| -> Vec<f64> {
        let dot = |row: &Vec<f32>| row.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum();
        m.iter().map(dot).collect()
    };
    let turn = |x: &mut [f64], pos: usize| {
        for (i, pair) in x.chunks_exact_mut(2).enumerate() {
            let angle = pos as f64 * 100f64.powf(-2.0 * i as f64 / MLA.rope as f64);
            let (s, c) = angle.sin_cos();
            (pair[0], pair[1]) = (pair[0] * c - pair[1] * s, pair[0] * s + pair[1] * c);
        }
    };
    let (q, kv_a, kv_b, output) = (
        decoded(q),
        decoded(&mla.kv_a),
        decoded(kv_b),
        decoded(&mla.output),
    );
    let (mut keys, mut values) = (Vec::new(), Vec::new());
    let mut out = Vec::new();
    for (t, x) in x.chunks_exact(N_EMBD).enumerate() {
        let x: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
        let query = product(&q, &x);
        let (latent, k_rope) = {
            let kv = product(&kv_a, &x);
            let (c, k) = kv.split_at(MLA.kv_lora_rank);
            let size = (c.iter().map(|x| x * x).sum::<f64>() / c.len() as f64 + 1e-6).sqrt();
            let c: Vec<f64> = c
                .iter()
                .zip(&mla.kv_a_norm)
                .map(|(x, w)| x / size * f64::from(*w))
                .collect();
            let mut k = k.to_vec();
            turn(&mut k, t);
            (c, k)
        };
        let both = product(&kv_b, &latent);
        let heads = both.chunks_exact(MLA.nope + MLA.v);
        keys.push(
            heads
                .clone()
                .map(|h| [&h[..MLA.nope], &k_rope].concat())
                .collect::<Vec<_>>(),
        );
        values.push(heads.map(|h| h[MLA.nope..].to_vec()).collect::<Vec<_>>());

        let mut mixed = Vec::new();
        for (head, q) in query.chunks_exact(MLA.nope + MLA.rope).enumerate() {
            let mut q = q.to_vec();
            turn(&mut q[MLA.nope..], t);
            let score = |k: &Vec<Vec<f64>>| -> f64 {
                let dot: f64 = k[head].iter().zip(&q).map(|(a, b)| a * b).sum();
                (f64::from(MLA.scale) * dot).exp()
            };
            let p: Vec<f64> = keys.iter().map(score).collect();
            let sum: f64 = p.iter().sum();
            for i in 0..MLA.v {
                mixed.push(
                    p.iter()
                        .zip(&values)
                        .map(|(p, v)| p / sum * v[head][i])
                        .sum::<f64>(),
                );
            }
        }
        out.extend(product(&output, &mixed).iter().map(|x| *x as f32));
    }
    out
}
