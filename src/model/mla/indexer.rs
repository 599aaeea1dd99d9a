//! Which rows of the cache a token attends to (DeepSeek-V3.2, section 2.1, "lightning indexer").
//!
//! ```text
//! score(t) = sum_h w_h * relu(q_h . k_t)        w = W_w x / sqrt(heads * width)
//! q_h      = rope(W_q low)_h                    low: the query at its low rank
//! k_t      = rope(layernorm(W_k x_t))           one key a token, kept beside its latent row
//! ```
//!
//! The `top_k` best rows are taken, of equal ones the first. The published code turns queries and keys by a Hadamard matrix before it rounds
//! them to FP8; that leaves products as they are, and here nothing is rounded to eight bits. Rotary dimensions come first, in
//! halves, whatever they are in the queries of attention.

use wattle_kernels::{self as op, Acts, RopeKind, Rows};

use super::super::cache::{BLOCK, Cache, Layout};
use super::super::config::{Config, Sparse};
use super::super::input::Input;
use super::super::matrix::multiply;
use super::super::memory::{filled, zeros};
use super::super::sequence::LayerCaches;
use super::super::step::{Angles, Step};
use super::super::weights::Indexer;
use crate::error::Result;

/// `eps` of the layer norm of keys.
const NORM_EPS: f32 = 1e-6;

/// The keys of one layer, a row a token, in blocks as the latent rows.
#[derive(Debug)]
pub(crate) struct IndexKeys(pub(crate) Cache);

impl IndexKeys {
    /// None where a sequence of `context` tokens never has to choose. In f32 where the cache is, else in f16.
    pub(crate) fn new(layout: Layout, config: &Config, context: usize) -> Result<Option<Self>> {
        let Some(Sparse { width, .. }) = config.sparse.filter(|s| context > s.top_k) else {
            return Ok(None);
        };
        let layout = match layout {
            Layout::F32(_) => Layout::F32(width),
            Layout::F16(_) | Layout::Latent(_) => Layout::F16(width),
        };
        Cache::new(layout, context).map(|keys| Some(Self(keys)))
    }

    /// The first `n` keys of block `i`.
    fn rows(&self, i: usize, n: usize, width: usize) -> Rows<'_> {
        Rows {
            n,
            ..self.0.rows(i, 0, width)
        }
    }
}

/// Buffers for a pass, `T` tokens at most, in a sequence of `context` tokens.
#[derive(Debug)]
pub(super) struct IndexWork {
    /// `(T, width | heads)`: keys, then what the heads count.
    projected: Vec<f32>,
    /// `(T, heads * width)`
    query: Vec<f32>,
    /// `(context)`, of one token.
    scores: Vec<f32>,
    /// `(context)`, rows in the order of choice.
    order: Vec<u32>,
}

impl IndexWork {
    pub(super) fn new(sparse: &Sparse, batch: usize, context: usize) -> Result<Self> {
        Ok(Self {
            projected: zeros(&[batch, sparse.width + sparse.heads])?,
            query: zeros(&[batch, sparse.heads, sparse.width])?,
            scores: zeros(&[context])?,
            order: filled(0, &[context], "the choice of rows")?,
        })
    }
}

impl Indexer {
    /// Appends the keys of this pass, and makes ready what the heads count.
    pub(super) fn keys(
        &self,
        step: Step<'_>,
        h: Input<'_>,
        angles: &Angles,
        caches: &mut LayerCaches<'_>,
        work: &mut IndexWork,
    ) {
        let (width, heads) = (self.k.rows(), self.weights.rows());
        let projected = &mut work.projected[..step.tokens * (width + heads)];
        let parts = [self.k.all(), self.weights.all()];
        multiply(step.pool, &parts, &h.acts(), projected);
        let [weight, bias] = &self.k_norm;
        let scale = 1.0 / ((heads * width) as f32).sqrt();
        for (t, row) in projected.chunks_exact_mut(width + heads).enumerate() {
            let (key, counts) = row.split_at_mut(width);
            layer_norm(key, weight, bias);
            rotate(angles, t, key);
            if let Some(keys) = caches.index_mut(t / step.each()) {
                keys.0.push(step.isa, key);
            }
            counts.iter_mut().for_each(|w| *w *= scale);
        }
    }

    /// Makes the queries of this pass from its rows at the low rank.
    pub(super) fn queries(
        &self,
        step: Step<'_>,
        low: &Acts<'_>,
        angles: &Angles,
        work: &mut IndexWork,
    ) {
        let (width, heads) = (self.k.rows(), self.weights.rows());
        let query = &mut work.query[..step.tokens * heads * width];
        multiply(step.pool, &[self.q_b.all()], low, query);
        for (i, query) in query.chunks_exact_mut(width).enumerate() {
            rotate(angles, i / heads, query);
        }
    }

    /// The `top_k` rows that token `t` of this pass attends to, in their order. It must have more.
    pub(super) fn choose<'a>(
        &self,
        step: Step<'_>,
        t: usize,
        top_k: usize,
        keys: &IndexKeys,
        work: &'a mut IndexWork,
    ) -> &'a [u32] {
        let (width, heads) = (self.k.rows(), self.weights.rows());
        let query = &work.query[t * heads * width..][..heads * width];
        let counts = &work.projected[t * (width + heads) + width..][..heads];
        let seen = step.position(t) + 1;
        let scores = &mut work.scores[..seen];
        step.pool.chunks(scores, BLOCK, |i, out| {
            let rows = keys.rows(i, out.len(), width);
            op::rank(step.isa, query, counts, rows, out);
        });
        let scores = &*scores;
        let order = &mut work.order[..seen];
        // Not more tokens than fit u32: a context is a u32 in every file and flag.
        order.iter_mut().zip(0..).for_each(|(at, i)| *at = i);
        let better = |a: &u32, b: &u32| {
            let by_score = scores[*b as usize].total_cmp(&scores[*a as usize]);
            by_score.then(a.cmp(b))
        };
        order.select_nth_unstable_by(top_k - 1, better);
        let chosen = &mut order[..top_k];
        chosen.sort_unstable();
        chosen
    }
}

/// `(x - mean) / sqrt(variance + eps) * weight + bias`; a few numbers a token: plain code.
fn layer_norm(x: &mut [f32], weight: &[f32], bias: &[f32]) {
    let n = x.len() as f32;
    let mean = x.iter().sum::<f32>() / n;
    let variance = x.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() / n;
    let scale = 1.0 / (variance + NORM_EPS).sqrt();
    for ((x, weight), bias) in x.iter_mut().zip(weight).zip(bias) {
        *x = (*x - mean) * scale * weight + bias;
    }
}

/// Turns the leading dimensions by the angles of token `t` of this pass.
fn rotate(angles: &Angles, t: usize, x: &mut [f32]) {
    let (cos, sin) = angles.of(t);
    op::rope(&mut x[..2 * cos.len()], cos, sin, RopeKind::Neox);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_norm_has_the_mean_and_deviation_that_it_is_told() {
        let mut x: Vec<f32> = (0..128).map(|i| 5.0 + (i as f32).sin()).collect();
        layer_norm(&mut x, &[2.0; 128], &[0.5; 128]);
        let mean = x.iter().sum::<f32>() / 128.0;
        let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / 128.0;
        assert!((mean - 0.5).abs() < 1e-5, "{mean}");
        assert!((variance - 4.0).abs() < 1e-4, "{variance}");
    }
}
