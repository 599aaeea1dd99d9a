//! Multi-head Latent Attention (DeepSeek-V2, section 2.1).
//!
//! The cache holds a latent row `c` and one rotary key `k_rope` a token, `kv_lora_rank + rope` numbers whatever the number of heads.
//! Keys and values of head `h` are `k = [K_h' c | k_rope]` and `v = V_h c`, and there are two ways to attend:
//!
//! - [absorbed]: they are never built. `K_h` goes into the query instead, and `V_h` follows the mix.
//! - [expanded]: they are built for some tokens at a time, and every query of the pass uses them.
//!
//! The first reads least, the second multiplies least where many queries share a key. Both are the same up to rounding: activations
//! become int8 where they meet the weights, which are the query and the mix in the first, the latent on its way to a value in the
//! second.
//!
//! A model with an [indexer] attends to a choice of rows where there are many, which is absorbed and [sparse].

mod absorbed;
mod expanded;
mod indexer;
mod sparse;

use wattle_kernels as op;

use self::absorbed::AbsorbedWork;
pub(crate) use self::absorbed::mixed;
use self::expanded::ExpandedWork;
pub(crate) use self::expanded::{Panels, pays};
pub(crate) use self::indexer::IndexKeys;
use self::sparse::{Choice, SparseWork};
use super::acts::ActBuffer;
use super::attend::Attending;
use super::cache::Layout;
use super::config::{Config, Heads, MlaHeads};
use super::input::Input;
use super::matrix::multiply;
use super::memory::zeros;
use super::sequence::LayerCaches;
use super::step::{Angles, Step, rotate};
use super::weights::{Mla, Query};
use crate::error::Result;

/// `eps` of the norms at a low rank. The models' own code leaves it at this whatever the `eps` of the residual stream is, which is
/// the only one that a file states.
const RANK_EPS: f32 = 1e-6;

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
    absorbed: AbsorbedWork,
    /// None where no pass has as many tokens.
    expanded: Option<ExpandedWork>,
    /// None where no token ever has to choose rows.
    sparse: Option<SparseWork>,
    /// `(T, heads * v)`
    output: Vec<f32>,
}

impl MlaWork {
    pub(crate) fn new(
        heads: &MlaHeads,
        config: &Config,
        layout: Layout,
        batch: usize,
        q_lora_rank: usize,
        context: usize,
    ) -> Result<Self> {
        let query = heads.heads * (heads.nope + heads.rope);
        let row = heads.kv_lora_rank + heads.rope;
        let behind_rank = if q_lora_rank > 0 { query } else { 0 };
        let expands = batch >= expanded::LEAST_TOKENS;
        Ok(Self {
            projected: zeros(&[batch, query.max(q_lora_rank) + row])?,
            low: zeros(&[batch, q_lora_rank])?,
            query: zeros(&[batch, behind_rank])?,
            row: zeros(&[row])?,
            absorbed: AbsorbedWork::new(heads, layout, batch, config.sparse.is_some())?,
            expanded: expands
                .then(|| ExpandedWork::new(heads, batch))
                .transpose()?,
            sparse: config
                .sparse
                .filter(|sparse| context > sparse.top_k)
                .map(|sparse| SparseWork::new(&sparse, &config.heads, layout, batch, context))
                .transpose()?,
            output: zeros(&[batch, heads.heads, heads.v])?,
        })
    }

    /// Whether a pass may build keys and values, for which every worker needs [`Panels`].
    pub(crate) fn expands(&self) -> bool {
        self.expanded.is_some()
    }
}

/// The queries of a pass, rotated.
#[derive(Debug, Clone, Copy)]
struct Queries<'a> {
    /// Rows of all heads, a token each.
    data: &'a [f32],
    /// From one row to the next.
    stride: usize,
    /// `nope + rope`
    width: usize,
}

impl<'a> Queries<'a> {
    /// `[nope | rope]` of a head of a token.
    fn of(&self, token: usize, head: usize) -> &'a [f32] {
        &self.data[token * self.stride + head * self.width..][..self.width]
    }
}

impl Mla {
    /// `y = attention(h)`; appends the latent rows of these tokens to `caches`, and what they are found by.
    pub(crate) fn forward(
        &self,
        step: Step<'_>,
        h: Input<'_>,
        angles: &Angles,
        mut caches: LayerCaches<'_>,
        work: &mut MlaWork,
        attending: &mut Attending,
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
            pasts,
            ..
        } = step;
        let each = step.each();
        let MlaHeads {
            nope,
            rope,
            v,
            kv_lora_rank: rank,
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
                RANK_EPS,
                &mut cached[..rank],
            );
            if let Some(kv_b) = &self.kv_b {
                step.show(&[kv_b], &cached[..rank]);
            }
            cached[rank..].copy_from_slice(&kv[rank..]);
            rotate(step, angles, t, &mut cached[rank..]);
            caches.push(t / each, isa, cached);
        }

        // Within top_k tokens nothing is ever chosen, and there are no keys to choose by.
        if let Some(indexer) = &self.indexer {
            step.show(&[&indexer.k, &indexer.weights], h.rows);
            if let Some(work) = &mut work.sparse {
                indexer.keys(step, h, angles, &mut caches, &mut work.index);
            }
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
                    op::rmsnorm(isa, &row[..q_rank], w, RANK_EPS, low);
                }
                let query = &mut work.query[..tokens * b.rows()];
                step.show(&[b], low);
                let a = acts.quantize(step, low, q_rank);
                multiply(pool, &[b.all()], &a, query);
                if let Some(indexer) = &self.indexer {
                    step.show(&[&indexer.q_b], low);
                    if let Some(work) = &mut work.sparse {
                        indexer.queries(step, &a, angles, &mut work.index);
                    }
                }
                (query, b.rows())
            }
        };
        for t in 0..tokens {
            for head in 0..heads.heads {
                let q = &mut query[t * stride + head * head_width..][..head_width];
                rotate(step, angles, t, &mut q[nope..]);
            }
        }
        let query = Queries {
            data: query,
            stride,
            width: head_width,
        };

        // A watched pass stays absorbed: the inputs of the two stacks, which it is shown, arise there only.
        let output = &mut work.output[..tokens * heads.heads * v];
        let sparse = work.sparse.as_mut();
        let sparse = sparse.filter(|work| pasts.iter().any(|past| work.dense(*past, each) < each));
        let choice = match (&self.indexer, sparse) {
            (Some(indexer), Some(work)) => Some(Choice { indexer, work }),
            _ => None,
        };
        let caches = &caches;
        let absorb = choice.is_some()
            || step.watch.is_some()
            || pasts.len() > 1
            || !pays(isa, &heads, caches.layout(), pasts[0], tokens);
        match &mut work.expanded {
            Some(work) if !absorb => {
                let scratch = &mut attending.scratch;
                self.expanded(step, &heads, query, caches.of(0), work, scratch, output);
            }
            _ => {
                let work = &mut work.absorbed;
                self.absorbed(
                    step, &heads, query, caches, choice, work, attending, acts, output,
                );
            }
        }
        step.show(&[&self.output], output);
        let a = acts.quantize(step, output, heads.heads * v);
        multiply(pool, &[self.output.all()], &a, y);
    }
}
