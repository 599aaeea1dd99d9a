//! Multi-head Latent Attention (DeepSeek-V2, section 2.1), absorbed.
//!
//! The cache holds a latent row `c` and one rotary key `k_rope` a token; keys and values of head `h` would be
//! `k = [K_h' c | k_rope]` and `v = V_h c`. They are never built. The key projection is absorbed into the query instead, and the
//! value projection follows the mix:
//!
//! ```text
//! score(t) = scale * ( (K_h q_nope) . c_t  +  q_rope . k_rope_t )
//! out_h    = V_h ( sum_t softmax(score)(t) c_t )
//! ```
//!
//! so that a token costs `kv_lora_rank + rope` numbers of memory whatever the number of heads.

use super::acts::ActBuffer;
use super::attend::{Scratch, attend};
use super::cache::Cache;
use super::config::{Heads, MlaHeads};
use super::input::Input;
use super::matrix::multiply;
use super::memory::zeros;
use super::step::{Angles, Step, norm, rotate};
use super::weights::{Mla, Query};
use crate::error::Result;
use wattle_kernels as op;

/// Buffers for a pass, `T` tokens at most, in the shapes of the comments.
#[derive(Debug)]
pub(crate) struct MlaWork {
    /// `(T, query | kv_lora_rank + rope)`, the query at its low rank when there is one.
    projected: Vec<f32>,
    /// `(T, q_lora_rank)`
    low: Vec<f32>,
    /// `(T, heads * (nope + rope))`, only behind a low rank.
    query: Vec<f32>,
    /// `(kv_lora_rank + rope)`, a row for the cache.
    row: Vec<f32>,
    /// `(heads, T, nope)`
    nope: Vec<f32>,
    /// `(heads, T, kv_lora_rank)`, the queries in latent space.
    absorbed: Vec<f32>,
    /// `(heads, T, kv_lora_rank)`, the mixed latent rows.
    mixed: Vec<f32>,
    /// `(T, heads * v)`
    output: Vec<f32>,
}

impl MlaWork {
    pub(crate) fn new(heads: &MlaHeads, batch: usize, q_lora_rank: usize) -> Result<Self> {
        let query = heads.heads * (heads.nope + heads.rope);
        let row = heads.kv_lora_rank + heads.rope;
        let behind_rank = if q_lora_rank > 0 { query } else { 0 };
        Ok(Self {
            projected: zeros(&[batch, query.max(q_lora_rank) + row])?,
            low: zeros(&[batch, q_lora_rank])?,
            query: zeros(&[batch, behind_rank])?,
            row: zeros(&[row])?,
            nope: zeros(&[batch, heads.heads, heads.nope])?,
            absorbed: zeros(&[batch, heads.heads, heads.kv_lora_rank])?,
            mixed: zeros(&[batch, heads.heads, heads.kv_lora_rank])?,
            output: zeros(&[batch, heads.heads, heads.v])?,
        })
    }
}

impl Mla {
    /// `y = attention(h)`; appends the latent rows of these tokens to `cache`.
    pub(crate) fn forward(
        &self,
        step: Step<'_>,
        h: Input<'_>,
        angles: &Angles,
        cache: &mut Cache,
        work: &mut MlaWork,
        scratch: &mut [Scratch],
        acts: &mut ActBuffer,
        y: &mut [f32],
    ) {
        let Heads::Mla(heads) = step.config.heads else {
            unreachable!("latent attention in a model configured without it");
        };
        let Step {
            pool,
            isa,
            tokens,
            config,
            past,
            ..
        } = step;
        let MlaHeads {
            nope,
            rope,
            v,
            kv_lora_rank: rank,
            scale,
            ..
        } = heads;
        let head_width = nope + rope;

        // One phase for the query (or its low rank) and the latent: both read h.
        let first = match &self.query {
            Query::Direct(q) => q,
            Query::LowRank { a, .. } => a,
        };
        let stride = first.rows() + rank + rope;
        let projected = &mut work.projected[..tokens * stride];
        step.show(&[first, &self.kv_a], h.rows);
        multiply(pool, &[first.all(), self.kv_a.all()], &h.acts(), projected);

        for (t, row) in projected.chunks_exact(stride).enumerate() {
            let kv = &row[first.rows()..];
            let cached = &mut work.row[..];
            op::rmsnorm(
                isa,
                &kv[..rank],
                &self.kv_a_norm,
                config.norm_eps,
                &mut cached[..rank],
            );
            if let Some(kv_b) = &self.kv_b {
                step.show(&[kv_b], &cached[..rank]);
            }
            cached[rank..].copy_from_slice(&kv[rank..]);
            rotate(step, angles, t, &mut cached[rank..]);
            cache.push(isa, cached);
        }

        // Queries, one row a token at `stride`, whichever way they were made.
        let (query, stride): (&mut [f32], usize) = match &self.query {
            Query::Direct(_) => (projected, stride),
            Query::LowRank { a, norm: w, b } => {
                let q_rank = a.rows();
                let low = &mut work.low[..tokens * q_rank];
                for (row, low) in projected
                    .chunks_exact(stride)
                    .zip(low.chunks_exact_mut(q_rank))
                {
                    norm(step, &row[..q_rank], w, low);
                }
                let query = &mut work.query[..tokens * b.rows()];
                step.show(&[b], low);
                let a = acts.quantize(step, low, q_rank);
                multiply(pool, &[b.all()], &a, query);
                (query, b.rows())
            }
        };
        for t in 0..tokens {
            for head in 0..heads.heads {
                let q = &mut query[t * stride + head * head_width..][..head_width];
                rotate(step, angles, t, &mut q[nope..]);
                work.nope[(head * tokens + t) * nope..][..nope].copy_from_slice(&q[..nope]);
            }
        }

        // Into the latent space, a head a tile.
        let nopes = &work.nope[..heads.heads * tokens * nope];
        if self.kv_b.is_none() {
            step.show_heads(&self.k_b, nopes);
        }
        let a = acts.quantize(step, nopes, nope);
        let absorbed = &mut work.absorbed[..heads.heads * tokens * rank];
        pool.chunks(absorbed, tokens * rank, |head, out| {
            let a = a.rows(head * tokens, tokens);
            self.k_b.at(head).multiply_range(0..rank, &a, out);
        });

        // Attention over the latent rows, a head of a token a tile.
        let absorbed = &*absorbed;
        let query = &*query;
        let cache = &*cache;
        let mixed = &mut work.mixed[..heads.heads * tokens * rank];
        let width = mixed.len();
        pool.columns_with(scratch, mixed, width, rank, |window, scratch| {
            let (head, t) = (window.index() / tokens, window.index() % tokens);
            let start = window.start();
            let q = &mut scratch.query[..];
            q[..rank].copy_from_slice(&absorbed[start..][..rank]);
            let rotated = &query[t * stride + head * head_width + nope..][..rope];
            q[rank..].copy_from_slice(rotated);
            let seen = past + t + 1;
            attend(
                isa,
                q,
                cache.rows(seen, 0, rank + rope),
                cache.rows(seen, 0, rank),
                scale,
                &mut scratch.scores,
                window.into_row(),
            );
        });

        // Back out of it, a head a tile.
        if self.kv_b.is_none() {
            step.show_heads(&self.v_b, mixed);
        }
        let a = acts.quantize(step, mixed, rank);
        let output = &mut work.output[..tokens * heads.heads * v];
        pool.columns(output, heads.heads * v, v, |mut window, _| {
            let head = window.index();
            let a = a.rows(head * tokens, tokens);
            self.v_b.at(head).multiply_columns(0..v, &a, 0, &mut window);
        });
        step.show(&[&self.output], output);
        let a = acts.quantize(step, output, heads.heads * v);
        multiply(pool, &[self.output.all()], &a, y);
    }
}
