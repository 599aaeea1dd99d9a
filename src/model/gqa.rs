//! Grouped-query attention (Ainslie et al. 2023): several query heads share a key and a value head.

use super::acts::ActBuffer;
use super::attend::{Scratch, attend};
use super::cache::Cache;
use super::config::{GqaHeads, Heads};
use super::input::Input;
use super::matrix::multiply;
use super::memory::zeros;
use super::step::{Angles, Step, rotate};
use super::weights::{Gqa, Linear};
use crate::error::Result;
use wattle_kernels as op;

/// Buffers for a pass, `T` tokens at most.
#[derive(Debug)]
pub(crate) struct GqaWork {
    /// `(T, heads * k | kv_heads * k | kv_heads * v)`: queries, then the row for the cache.
    projected: Vec<f32>,
    /// `(T, heads * v)`
    output: Vec<f32>,
}

impl GqaWork {
    pub(crate) fn new(heads: &GqaHeads, batch: usize) -> Result<Self> {
        let row = heads.heads * heads.k + heads.kv_heads * (heads.k + heads.v);
        Ok(Self {
            projected: zeros(&[batch, row])?,
            output: zeros(&[batch, heads.heads, heads.v])?,
        })
    }
}

impl Gqa {
    /// `y = attention(h)`; appends keys and values of these tokens to `cache`.
    pub(crate) fn forward(
        &self,
        step: Step<'_>,
        h: Input<'_>,
        angles: &Angles,
        cache: &mut Cache,
        work: &mut GqaWork,
        scratch: &mut [Scratch],
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
            past,
            ..
        } = step;

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
            cache.push(isa, cached);
        }

        // A head of a token a tile.
        let projected = &*projected;
        let cache = &*cache;
        let output = &mut work.output[..tokens * heads * v];
        let width = output.len();
        pool.columns_with(scratch, output, width, v, |window, scratch| {
            let (t, head) = (window.index() / heads, window.index() % heads);
            let query = &projected[t * stride + head * k..][..k];
            let kv_head = head * kv_heads / heads;
            let seen = past + t + 1;
            attend(
                isa,
                query,
                cache.rows(seen, kv_head * k, k),
                cache.rows(seen, kv_heads * k + kv_head * v, v),
                scale,
                &mut scratch.scores,
                window.into_row(),
            );
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
