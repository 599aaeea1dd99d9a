//! Latent attention without keys and values: queries go into the latent space, and the mix of latent rows comes out of it.
//!
//! ```text
//! score(t) = scale * ( (K_h q_nope) . c_t  +  q_rope . k_rope_t )
//! out_h    = V_h ( sum_t softmax(score)(t) c_t )
//! ```
//!
//! Every head reads the same row, `kv_lora_rank + rope` numbers a token: the form for few tokens, which wait for memory.

use super::{MlaHeads, Queries};
use crate::error::Result;
use crate::model::acts::ActBuffer;
use crate::model::attend::{Scratch, attend, together};
use crate::model::cache::Cache;
use crate::model::memory::zeros;
use crate::model::step::Step;
use crate::model::weights::Mla;

/// Buffers for a pass, `T` tokens at most, in the shapes of the comments.
#[derive(Debug)]
pub(super) struct AbsorbedWork {
    /// `(heads, T, nope)`
    nope: Vec<f32>,
    /// `(heads, T, kv_lora_rank)`, the queries in latent space.
    absorbed: Vec<f32>,
    /// `(heads, T, kv_lora_rank)`, the mixed latent rows.
    mixed: Vec<f32>,
}

impl AbsorbedWork {
    pub(super) fn new(heads: &MlaHeads, batch: usize) -> Result<Self> {
        Ok(Self {
            nope: zeros(&[batch, heads.heads, heads.nope])?,
            absorbed: zeros(&[batch, heads.heads, heads.kv_lora_rank])?,
            mixed: zeros(&[batch, heads.heads, heads.kv_lora_rank])?,
        })
    }
}

impl Mla {
    /// Attention of the queries of this pass over all rows of `cache` up to their own; into `output`, `(tokens, heads * v)`.
    pub(super) fn absorbed(
        &self,
        step: Step<'_>,
        heads: &MlaHeads,
        query: Queries<'_>,
        cache: &Cache,
        work: &mut AbsorbedWork,
        scratch: &mut [Scratch],
        acts: &mut ActBuffer,
        output: &mut [f32],
    ) {
        let Step {
            pool,
            isa,
            tokens,
            past,
            ..
        } = step;
        let MlaHeads {
            heads: count,
            nope,
            rope,
            v,
            kv_lora_rank: rank,
            scale,
        } = *heads;

        // Into the latent space, a head a tile.
        let nopes = &mut work.nope[..count * tokens * nope];
        for (i, out) in nopes.chunks_exact_mut(nope).enumerate() {
            out.copy_from_slice(&query.of(i % tokens, i / tokens)[..nope]);
        }
        if self.kv_b.is_none() {
            step.show_heads(&self.k_b, nopes);
        }
        let a = acts.quantize(step, nopes, nope);
        let absorbed = &mut work.absorbed[..count * tokens * rank];
        pool.chunks(absorbed, tokens * rank, |head, out| {
            let a = a.rows(head * tokens, tokens);
            self.k_b.at(head).multiply_range(0..rank, &a, out);
        });

        // Attention over the latent rows: some heads of the only token a tile, or a head of a token.
        let absorbed = &*absorbed;
        let mixed = &mut work.mixed[..count * tokens * rank];
        let size = match tokens {
            1 => together(count, pool.threads()),
            _ => 1,
        };
        let width = mixed.len();
        pool.columns_with(scratch, mixed, width, size * rank, |window, scratch| {
            let (first, t) = (window.index() * size / tokens, window.index() % tokens);
            let into = &absorbed[window.start()..][..size * rank];
            let q = &mut scratch.query[..size * (rank + rope)];
            for (i, q) in q.chunks_exact_mut(rank + rope).enumerate() {
                q[..rank].copy_from_slice(&into[i * rank..][..rank]);
                q[rank..].copy_from_slice(&query.of(t, first + i)[nope..]);
            }
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
        pool.columns(output, count * v, v, |mut window, _| {
            let head = window.index();
            let a = a.rows(head * tokens, tokens);
            self.v_b.at(head).multiply_columns(0..v, &a, 0, &mut window);
        });
    }
}
