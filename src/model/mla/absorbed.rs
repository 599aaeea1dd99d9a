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
use crate::model::sequence::LayerCaches;
use crate::model::step::{Step, TOGETHER};
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
    /// `(heads, T, kv_lora_rank)`, the mixed latent rows, where states do not lie like that already: states that are wider, tokens
    /// that go one after the other, several sequences.
    mixed: Vec<f32>,
    /// Whether those of one sequence do not.
    apart: bool,
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
        let mixed = if apart { batch } else { batch.min(TOGETHER) };
        Ok(Self {
            nope: zeros(&[batch, heads.heads, heads.nope])?,
            absorbed: zeros(&[batch, heads.heads, heads.kv_lora_rank])?,
            into,
            mixed: zeros(&[heads.heads * mixed, heads.kv_lora_rank])?,
            apart,
        })
    }
}

impl Mla {
    /// Attention of the queries of this pass over all rows of their sequence up to their own, or over a choice of them; into
    /// `output`, `(tokens, heads * v)`.
    pub(super) fn absorbed(
        &self,
        step: Step<'_>,
        heads: &MlaHeads,
        query: Queries<'_>,
        caches: &LayerCaches<'_>,
        choice: Option<Choice<'_>>,
        work: &mut AbsorbedWork,
        attending: &mut Attending,
        acts: &mut ActBuffer,
        output: &mut [f32],
    ) {
        let Step {
            pool,
            tokens,
            pasts,
            ..
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
        let mixed = if pasts.len() == 1 && choice.is_none() && !work.apart {
            let found = into.attend(step, heads, |_| caches.of(0), parts, attending);
            found.rows(count * tokens)
        } else {
            let mixed = &mut work.mixed[..count * tokens * rank];
            // What the tokens of `some` have found, of which the first is `first` in the pass.
            let mut keep = |found: Found<'_>, some: Step<'_>, first: usize| {
                let each = some.each();
                for (head, rows) in mixed.chunks_exact_mut(tokens * rank).enumerate() {
                    let rows = rows[first * rank..].chunks_exact_mut(rank);
                    for (t, row) in rows.take(some.tokens).enumerate() {
                        let column = (t / each * count + head) * each + t % each;
                        row.copy_from_slice(&found.of(column)[..rank]);
                    }
                }
            };
            match choice {
                None => {
                    let found = into.attend(step, heads, |s| caches.of(s), parts, attending);
                    keep(found, step, 0);
                }
                Some(mut choice) => {
                    let each = step.each();
                    for (s, past) in pasts.iter().enumerate() {
                        let (start, end) = (s * each, (s + 1) * each);
                        let dense = choice.dense(*past, each);
                        if dense > 0 {
                            let some = Step {
                                tokens: dense,
                                pasts: &[*past],
                                ..step
                            };
                            let parts = |head: usize, t: usize| parts(head, start + t);
                            let found =
                                into.attend(some, heads, |_| caches.of(s), parts, attending);
                            keep(found, some, start);
                        }
                        for t in start + dense..end {
                            // The only token, behind all but one of its rows.
                            let (rows, n) = choice.rows(step, t, caches);
                            let one = Step {
                                tokens: 1,
                                pasts: &[n - 1],
                                ..step
                            };
                            let parts = |head: usize, _| parts(head, t);
                            keep(into.attend(one, heads, |_| rows, parts, attending), one, t);
                        }
                    }
                }
            }
            &*mixed
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
    /// Attention of the tokens of `step` over the latent rows of their sequences, which all heads share; `parts` gives a head's query of a
    /// token, in latent space and its rotary part. Columns are `(sequences, heads, tokens of each)`.
    fn attend<'q, 'c, 'f>(
        &mut self,
        step: Step<'_>,
        heads: &MlaHeads,
        cache: impl Fn(usize) -> &'c Cache + Sync,
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
        let each = step.each();
        let columns = Columns {
            streams: step.pasts.len(),
            each: heads.heads * each,
        };
        let of = |column: usize| {
            let (head, sequence) = (column / each % heads.heads, column / columns.each);
            parts(head, sequence * each + column % each)
        };
        match self {
            Into::Floats(queries) => {
                let width = rank + rope;
                let queries = &mut queries[..heads.heads * tokens * width];
                for (i, row) in queries.chunks_exact_mut(width).enumerate() {
                    let [latent, rotary] = of(i);
                    row[..rank].copy_from_slice(latent);
                    row[rank..].copy_from_slice(rotary);
                }
                let queries = &*queries;
                attending.run(step, columns, |item, i, span, states| {
                    let q = &queries[item.first * width..][..item.n * width];
                    let cache = cache(item.stream);
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
                let rows = bytes
                    .chunks_mut(tokens * shape.query())
                    .zip(factors.chunks_mut(tokens * products))
                    .zip(starts.chunks_mut(tokens * products));
                let rows = rows.take(heads.heads).enumerate();
                pool.parts(rows, |(i, ((bytes, factors), starts))| {
                    let each = bytes
                        .chunks_exact_mut(shape.query())
                        .zip(factors.chunks_exact_mut(products))
                        .zip(starts.chunks_exact_mut(products));
                    for (t, ((bytes, factors), starts)) in each.enumerate() {
                        let parts = of(i * tokens + t);
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
                    let (words, scales, n) = cache(item.stream).latents(i);
                    latent::attend(isa, shape, queries, words, scales, n, span, states);
                })
            }
        }
    }
}
