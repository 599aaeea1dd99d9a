//! Latent attention without keys and values: queries go into the latent space, and the mix of latent rows comes out of it.
//!
//! ```text
//! score(t) = scale * ( (K_h q_nope) . c_t  +  q_rope . k_rope_t )
//! out_h    = V_h ( sum_t softmax(score)(t) c_t )
//! ```
//!
//! Every head reads the same row, `kv_lora_rank + rope` numbers a token: the form for few tokens, which wait for memory.

use super::sparse::Choice;
use super::{MlaHeads, Queries};
use crate::error::Result;
use crate::model::acts::ActBuffer;
use crate::model::attend::{Attending, Columns, Found};
use crate::model::cache::{Cache, Layout};
use crate::model::memory::{filled, zeros};
use crate::model::step::Step;
use crate::model::weights::Mla;
use wattle_kernels::latent::{self, Shape};
use wattle_kernels::{self as op};

/// Buffers for a pass, `T` tokens at most, in the shapes of the comments.
#[derive(Debug)]
pub(super) struct AbsorbedWork {
    /// `(heads, T, nope)`
    nope: Vec<f32>,
    /// `(heads, T, kv_lora_rank)`, the queries in latent space.
    absorbed: Vec<f32>,
    into: Into,
    /// `(heads, T, kv_lora_rank)`, the mixed latent rows, where states are wider or tokens go one after the other.
    mixed: Vec<f32>,
}

/// The queries as the rows of the cache want them, `(heads, T)` of each.
#[derive(Debug)]
enum Into {
    /// `(kv_lora_rank + rope)`
    Floats(Vec<f32>),
    /// [`latent::Queries`]
    Latent {
        shape: Shape,
        bytes: Vec<i8>,
        factors: Vec<f32>,
        starts: Vec<i32>,
    },
}

/// Numbers that a column mixes.
pub(crate) fn mixed(heads: &MlaHeads, layout: Layout) -> usize {
    match layout {
        Layout::Latent(shape) => shape.mixed(),
        _ => heads.kv_lora_rank,
    }
}

impl AbsorbedWork {
    /// Some tokens have a choice of rows if it is `sparse`.
    pub(super) fn new(
        heads: &MlaHeads,
        layout: Layout,
        batch: usize,
        sparse: bool,
    ) -> Result<Self> {
        let columns = heads.heads * batch;
        let into = match layout {
            Layout::Latent(shape) => {
                let what = "the buffers of a batch";
                Into::Latent {
                    shape,
                    bytes: filled(0, &[columns, shape.query()], what)?,
                    factors: zeros(&[columns, shape.products()])?,
                    starts: filled(0, &[columns, shape.products()], what)?,
                }
            }
            _ => Into::Floats(zeros(&[columns, heads.kv_lora_rank + heads.rope])?),
        };
        let apart = sparse || mixed(heads, layout) > heads.kv_lora_rank;
        Ok(Self {
            nope: zeros(&[batch, heads.heads, heads.nope])?,
            absorbed: zeros(&[batch, heads.heads, heads.kv_lora_rank])?,
            into,
            mixed: zeros(&[if apart { columns } else { 0 }, heads.kv_lora_rank])?,
        })
    }
}

impl Mla {
    /// Attention of the queries of this pass over all rows of `cache` up to their own, or over a choice of them; into `output`,
    /// `(tokens, heads * v)`.
    pub(super) fn absorbed(
        &self,
        step: Step<'_>,
        heads: &MlaHeads,
        query: Queries<'_>,
        cache: &Cache,
        choice: Option<Choice<'_>>,
        work: &mut AbsorbedWork,
        attending: &mut Attending,
        acts: &mut ActBuffer,
        output: &mut [f32],
    ) {
        let Step {
            pool, tokens, past, ..
        } = step;
        let MlaHeads {
            heads: count,
            nope,
            v,
            kv_lora_rank: rank,
            ..
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
        let absorbed = &*absorbed;
        let parts = |head: usize, t: usize| {
            let rotary = &query.of(t, head)[nope..];
            [&absorbed[(head * tokens + t) * rank..][..rank], rotary]
        };
        let into = &mut work.into;
        let mixed = match (&mut work.mixed[..], choice) {
            ([], None) => {
                let found = into.attend(step, heads, cache, parts, attending);
                found.rows(count * tokens)
            }
            (mixed, choice) => {
                let mixed = &mut mixed[..count * tokens * rank];
                let mut keep = |found: Found<'_>, first: usize, n: usize| {
                    for (head, rows) in mixed.chunks_exact_mut(tokens * rank).enumerate() {
                        for (t, row) in rows[first * rank..]
                            .chunks_exact_mut(rank)
                            .take(n)
                            .enumerate()
                        {
                            row.copy_from_slice(&found.of(head * n + t)[..rank]);
                        }
                    }
                };
                let dense = choice.as_ref().map_or(tokens, |c| c.dense(past, tokens));
                if dense > 0 {
                    let some = Step {
                        tokens: dense,
                        ..step
                    };
                    keep(into.attend(some, heads, cache, parts, attending), 0, dense);
                }
                if let Some(mut choice) = choice {
                    for t in dense..tokens {
                        // The only token, behind all but one of its rows.
                        let (rows, n) = choice.rows(step, t, cache);
                        let one = Step {
                            tokens: 1,
                            past: n - 1,
                            ..step
                        };
                        let parts = |head: usize, _| parts(head, t);
                        keep(into.attend(one, heads, rows, parts, attending), t, 1);
                    }
                }
                &*mixed
            }
        };

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

impl Into {
    /// Attention of the tokens of `step` over the latent rows, which all heads share; `parts` gives a head's query of a token, in latent
    /// space and its rotary part.
    fn attend<'q, 'f>(
        &mut self,
        step: Step<'_>,
        heads: &MlaHeads,
        cache: &Cache,
        parts: impl Fn(usize, usize) -> [&'q [f32]; 2] + Sync,
        attending: &'f mut Attending,
    ) -> Found<'f> {
        let Step {
            pool, isa, tokens, ..
        } = step;
        let MlaHeads {
            rope,
            kv_lora_rank: rank,
            scale,
            ..
        } = *heads;
        let columns = Columns {
            streams: 1,
            each: heads.heads * tokens,
        };
        match self {
            Into::Floats(queries) => {
                let width = rank + rope;
                let queries = &mut queries[..heads.heads * tokens * width];
                for (i, row) in queries.chunks_exact_mut(width).enumerate() {
                    let [latent, rotary] = parts(i / tokens, i % tokens);
                    row[..rank].copy_from_slice(latent);
                    row[rank..].copy_from_slice(rotary);
                }
                let queries = &*queries;
                attending.run(step, columns, |item, i, span, states| {
                    let q = &queries[item.first * width..][..item.n * width];
                    let (keys, values) = (cache.rows(i, 0, width), cache.rows(i, 0, rank));
                    op::attend(isa, q, keys, values, scale, span, states);
                })
            }
            Into::Latent {
                shape,
                bytes,
                factors,
                starts,
            } => {
                let (shape, products) = (*shape, shape.products());
                let per_head = bytes
                    .chunks_mut(tokens * shape.query())
                    .zip(factors.chunks_mut(tokens * products))
                    .zip(starts.chunks_mut(tokens * products));
                let per_head = per_head.take(heads.heads).enumerate();
                pool.parts(per_head, |(head, ((bytes, factors), starts))| {
                    let each = bytes
                        .chunks_exact_mut(shape.query())
                        .zip(factors.chunks_exact_mut(products))
                        .zip(starts.chunks_exact_mut(products));
                    for (t, ((bytes, factors), starts)) in each.enumerate() {
                        let parts = parts(head, t);
                        latent::query(isa, shape, parts, scale, bytes, factors, starts);
                    }
                });
                let (bytes, factors, starts) = (&*bytes, &*factors, &*starts);
                attending.run(step, columns, |item, i, span, states| {
                    let (first, n) = (item.first, item.n);
                    let queries = latent::Queries {
                        bytes: &bytes[first * shape.query()..][..n * shape.query()],
                        factors: &factors[first * products..][..n * products],
                        starts: &starts[first * products..][..n * products],
                    };
                    let (words, scales, n) = cache.latents(i);
                    latent::attend(isa, shape, queries, words, scales, n, span, states);
                })
            }
        }
    }
}
