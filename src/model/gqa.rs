//! Grouped-query attention (Ainslie et al. 2023): several query heads share a key and a value head.

use super::acts::ActBuffer;
use super::attend::{Attending, Columns};
use super::config::{GqaHeads, Heads};
use super::input::Input;
use super::matrix::multiply;
use super::memory::zeros;
use super::sequence::LayerCaches;
use super::step::{Angles, Step, rotate};
use super::weights::{Gqa, Linear};
use crate::error::Result;
use wattle_kernels as op;

/// Buffers for a pass, `T` tokens at most.
#[derive(Debug)]
pub(crate) struct GqaWork {
    /// `(T, heads * k | kv_heads * k | kv_heads * v)`: queries, then the row for the cache.
    projected: Vec<f32>,
    /// `(sequences, heads, tokens of each, k)`, the queries with those of a key head together.
    query: Vec<f32>,
    /// `(T, heads * v)`
    output: Vec<f32>,
}

impl GqaWork {
    pub(crate) fn new(heads: &GqaHeads, batch: usize) -> Result<Self> {
        let row = heads.heads * heads.k + heads.kv_heads * (heads.k + heads.v);
        Ok(Self {
            projected: zeros(&[batch, row])?,
            query: zeros(&[heads.heads, batch, heads.k])?,
            output: zeros(&[batch, heads.heads, heads.v])?,
        })
    }
}

impl Gqa {
    /// `y = attention(h)`; appends keys and values of these tokens to `caches`.
    pub(crate) fn forward(
        &self,
        step: Step<'_>,
        h: Input<'_>,
        angles: &Angles,
        mut caches: LayerCaches<'_>,
        work: &mut GqaWork,
        attending: &mut Attending,
        acts: &mut ActBuffer,
        y: &mut [f32],
    ) {
        let Heads::Gqa(heads) = step.config.heads else {
            unreachable!("grouped-query attention in a model configured without it");
        };
        let GqaHeads {
            heads,
            kv_heads,
            k,
            v,
            scale,
        } = heads;
        let Step {
            pool,
            isa,
            tokens,
            config,
            ..
        } = step;

        let each = step.each();
        let stride = heads * k + kv_heads * (k + v);
        let projected = &mut work.projected[..tokens * stride];
        let parts = [&self.q, &self.k, &self.v].map(|linear| linear.weight.all());
        step.show(
            &[&self.q, &self.k, &self.v].map(|linear| &linear.weight),
            h.rows,
        );
        multiply(pool, &parts, &h.acts(), projected);
        for (t, row) in projected.chunks_exact_mut(stride).enumerate() {
            let (query, cached) = row.split_at_mut(heads * k);
            let (keys, values) = cached.split_at_mut(kv_heads * k);
            self.q.add_bias(step, query);
            self.k.add_bias(step, keys);
            self.v.add_bias(step, values);
            for head in query.chunks_exact_mut(k).chain(keys.chunks_exact_mut(k)) {
                rotate(step, angles, t, head);
            }
            caches.push(t / each, isa, cached);
        }

        // One sequence after the other. Heads of one key head are neighbours, so they share its rows.
        let projected = &*projected;
        let query = &mut work.query[..heads * tokens * k];
        for (i, query) in query.chunks_exact_mut(k).enumerate() {
            let (head, t) = (i / each % heads, i / (each * heads) * each + i % each);
            query.copy_from_slice(&projected[t * stride + head * k..][..k]);
        }
        let (query, caches) = (&*query, &caches);
        let columns = Columns {
            streams: step.pasts.len() * kv_heads,
            each: heads / kv_heads * each,
        };
        let found = attending.run(step, columns, |item, i, span, states| {
            let query = &query[item.first * k..][..item.n * k];
            let cache = caches.of(item.stream / kv_heads);
            let kv_head = item.stream % kv_heads;
            let keys = cache.rows(i, kv_head * k, k);
            let values = cache.rows(i, kv_heads * k + kv_head * v, v);
            op::attend(isa, query, keys, values, scale, span, states);
        });
        let output = &mut work.output[..tokens * heads * v];
        pool.columns(output, heads * v, v, |mut window, _| {
            let head = window.index();
            for t in 0..tokens {
                let column = (t / each * heads + head) * each + t % each;
                window.row_mut(t).copy_from_slice(found.of(column));
            }
        });
        step.show(&[&self.output.weight], output);
        let a = acts.quantize(step, output, heads * v);
        multiply(pool, &[self.output.weight.all()], &a, y);
        for row in y.chunks_exact_mut(config.n_embd) {
            self.output.add_bias(step, row);
        }
    }
}

impl Linear {
    /// Adds the bias, when there is one, to a row of the product.
    fn add_bias(&self, step: Step<'_>, row: &mut [f32]) {
        if let Some(bias) = &self.bias {
            op::add(step.isa, row, bias);
        }
    }
}
