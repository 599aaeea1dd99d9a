//! Latent attention with the keys and values of every head built, for passes of many tokens.
//!
//! The paper's first form (DeepSeek-V2, section 2.1): head `h` has keys `[K_h' c | k_rope]` and values `V_h c`. A key costs
//! `kv_lora_rank * nope` products to build, whichever number of queries sees it; a query then pays `nope + rope + v` a key, and not
//! the `2 kv_lora_rank + rope` of the absorbed form. What is built lives for [`CHUNK`] tokens of one head:
//!
//! ```text
//!   for each chunk of the cache
//!       latents to f32, in strips (keys) and in int8 (values)            shared by all heads
//!       for each head                                                    a head a tile of work
//!           keys = K_h' c in f32, values = V_h c in int8
//!           carry every query over them (kernels/src/op/flash.rs)
//! ```
//!
//! so that memory does not grow with the context: for DeepSeek-V2-Lite 2.8 MB for all, 0.8 MB a worker, and 21 KB a token of the batch.

use wattle_kernels::{self as op, Acts, Isa, flash, strips};

use super::{MlaHeads, Queries};
use crate::error::Result;
use crate::model::acts::ActBuffer;
use crate::model::attend::Scratch;
use crate::model::cache::Cache;
use crate::model::matrix::Rows;
use crate::model::memory::{reserved, zeros};
use crate::model::step::Step;
use crate::model::weights::Mla;

/// Tokens whose keys and values are built at a time. The weights of a head are decoded once a chunk.
const CHUNK: usize = 512;

/// Fewest tokens of a pass that are ever expanded. Below, a pass gives the same bits however its tokens are cut into passes.
pub(super) const LEAST_TOKENS: usize = 64;

/// Time of a product in the absorbed form: f16 rows, one query a call.
const ABSORBED_PS: u64 = 67;
/// Time of a product in f32 registers.
const BLOCKED_PS: u64 = 25;
/// Time of a product in int8.
const INT8_PS: u64 = 8;
/// Time to take a weight out of its tile.
const DECODE_PS: u64 = 1500;

/// Whether building keys and values for `tokens` tokens after `past` costs less than staying in latent space.
///
/// Products of one head, times what one takes on the machine they were measured on (Zen 4 at AVX-512-VNNI); other machines have
/// other times and nearly the same ratios.
pub(crate) fn pays(heads: &MlaHeads, past: usize, tokens: usize) -> bool {
    let MlaHeads {
        nope,
        rope,
        v,
        kv_lora_rank: rank,
        ..
    } = *heads;
    let context = past + tokens;
    let pairs = tokens * past + tokens * (tokens + 1) / 2;
    let time = |products: usize, ps: u64| (products as u64).saturating_mul(ps);
    let absorbed = time(pairs * (2 * rank + rope), ABSORBED_PS)
        .saturating_add(time(tokens * (nope + v) * rank, INT8_PS));
    let expanded = time(pairs * (nope + rope + v), BLOCKED_PS)
        .saturating_add(time(context * nope * rank, BLOCKED_PS))
        .saturating_add(time(context * v * rank, INT8_PS))
        .saturating_add(time(context.div_ceil(CHUNK) * nope * rank, DECODE_PS));
    tokens >= LEAST_TOKENS && expanded < absorbed
}

/// Buffers for a pass of `T` tokens at most.
#[derive(Debug)]
pub(super) struct ExpandedWork {
    /// `(CHUNK / 16, kv_lora_rank + rope, 16)`: the rows of the cache in strips.
    strips: Vec<f32>,
    /// `(CHUNK, kv_lora_rank)`, and their int8 form.
    latents: Vec<f32>,
    acts: ActBuffer,
    /// For each head, its queries in bands and what they carry from block to block.
    heads: Vec<f32>,
}

/// What one worker needs for the keys and values of a head.
#[derive(Debug, Clone, Default)]
pub(crate) struct Panels {
    /// `(nope / 6, kv_lora_rank, 6)`: the transposed key projection in bands.
    weights: Vec<f32>,
    /// A row of it, and its bytes out of a tile.
    row: Vec<f32>,
    bytes: Vec<u8>,
    /// `(CHUNK / 16, nope, 16)`
    keys: Vec<f32>,
    /// `(v / 16, CHUNK, 16)`
    values: Vec<f32>,
}

impl Panels {
    pub(crate) fn new(heads: &MlaHeads) -> Result<Self> {
        let MlaHeads {
            nope,
            v,
            kv_lora_rank: rank,
            ..
        } = *heads;
        // No format has longer rows than f32.
        let bytes = reserved(nope * size_of::<f32>(), || "a row of weights".into())?;
        Ok(Self {
            weights: zeros(&[strips::bands_len(nope, rank)])?,
            row: zeros(&[nope])?,
            bytes,
            keys: zeros(&[CHUNK, nope])?,
            values: zeros(&[strips::strips_len(v, CHUNK)])?,
        })
    }
}

impl ExpandedWork {
    pub(super) fn new(heads: &MlaHeads, batch: usize) -> Result<Self> {
        let rank = heads.kv_lora_rank;
        Ok(Self {
            strips: zeros(&[CHUNK, rank + heads.rope])?,
            latents: zeros(&[CHUNK, rank])?,
            acts: ActBuffer::new(CHUNK, rank)?,
            heads: zeros(&[heads.heads, Desk::of(heads, batch).len()])?,
        })
    }
}

/// What belongs to a head: queries, then states.
#[derive(Debug, Clone, Copy)]
struct Desk {
    queries: usize,
    states: usize,
}

impl Desk {
    fn of(heads: &MlaHeads, tokens: usize) -> Self {
        let bands = tokens.div_ceil(strips::BAND);
        Self {
            queries: strips::bands_len(tokens, heads.nope + heads.rope),
            states: bands * flash::state_len(heads.v),
        }
    }

    fn len(self) -> usize {
        self.queries + self.states
    }
}

impl Mla {
    /// As [`absorbed`](Self::absorbed).
    pub(super) fn expanded(
        &self,
        step: Step<'_>,
        heads: &MlaHeads,
        query: Queries<'_>,
        cache: &Cache,
        work: &mut ExpandedWork,
        scratch: &mut [Scratch],
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
            rope,
            v,
            kv_lora_rank: rank,
            scale,
            ..
        } = *heads;
        let desk = Desk::of(heads, tokens);
        let desks = &mut work.heads[..count * desk.len()];
        pool.chunks(desks, desk.len(), |head, own| {
            let (queries, states) = own.split_at_mut(desk.queries);
            queries.fill(0.0);
            for t in 0..tokens {
                strips::band_row(t, query.of(t, head), scale, queries);
            }
            flash::begin(v, states);
        });

        let context = past + tokens;
        for before in (0..context).step_by(CHUNK) {
            let n = CHUNK.min(context - before);
            let rows = cache.rows_from(before, n, 0, rank + rope);
            let latents = &mut work.latents[..n * rank];
            strips::floats(
                isa,
                op::Rows {
                    width: rank,
                    ..rows
                },
                latents,
            );
            let acts = work.acts.quantize(isa, latents, rank);
            let all = &mut work.strips[..strips::strips_len(n, rank + rope)];
            let size = strips::STRIP * (rank + rope);
            pool.chunks(all, size, |i, out| {
                let n = strips::STRIP.min(n - i * strips::STRIP);
                let rows = cache.rows_from(before + i * strips::STRIP, n, 0, rank + rope);
                strips::lay(isa, rows, out);
            });
            let chunk = Chunk {
                rows: all,
                acts,
                before,
                n,
            };
            let width = desks.len();
            pool.columns_with(scratch, desks, width, desk.len(), |window, scratch| {
                let head = window.index();
                let panels = &mut scratch.panels;
                panels.fill(isa, heads, &chunk, self.k_b.at(head), self.v_b.at(head));
                let (queries, states) = window.into_row().split_at_mut(desk.queries);
                for at in (0..n).step_by(flash::BLOCK_KEYS) {
                    let block = panels.block(heads, &chunk, at, past);
                    flash::attend(isa, queries, block, v, states);
                }
            });
        }

        let desks = &*desks;
        pool.columns(output, count * v, v, |mut window, _| {
            let own = &desks[window.index() * desk.len()..][..desk.len()];
            for t in 0..tokens {
                flash::finish(&own[desk.queries..], t, window.row_mut(t));
            }
        });
    }
}

/// Some tokens of the cache, for all heads.
struct Chunk<'a> {
    /// Latents and rotary keys, in strips.
    rows: &'a [f32],
    /// The latents.
    acts: Acts<'a>,
    /// Tokens before them.
    before: usize,
    n: usize,
}

impl Panels {
    /// Builds the keys and values of a head: `k_b` is `(kv_lora_rank, nope)`, `v_b` is `(v, kv_lora_rank)`.
    fn fill(
        &mut self,
        isa: Isa,
        heads: &MlaHeads,
        chunk: &Chunk<'_>,
        k_b: Rows<'_>,
        v_b: Rows<'_>,
    ) {
        let MlaHeads {
            nope,
            rope,
            v,
            kv_lora_rank: rank,
            ..
        } = *heads;
        for r in 0..rank {
            k_b.decode_row(r, &mut self.bytes, &mut self.row);
            strips::band_column(r, rank, &self.row, &mut self.weights);
        }
        let latents = strips::Strips {
            data: chunk.rows,
            columns: rank + rope,
            start: 0,
            width: rank,
        };
        let keys = &mut self.keys[..strips::strips_len(chunk.n, nope)];
        strips::product(isa, &self.weights, nope, latents, keys);
        let values = &mut self.values[..strips::strips_len(v, chunk.n)];
        v_b.multiply_strips(&chunk.acts, values);
    }

    /// The tokens of a block from token `at` of the chunk on.
    fn block<'a>(
        &'a self,
        heads: &MlaHeads,
        chunk: &Chunk<'a>,
        at: usize,
        past: usize,
    ) -> flash::Block<'a> {
        let (rank, rope) = (heads.kv_lora_rank, heads.rope);
        let part = |data: &'a [f32], columns, start, width| strips::Strips {
            data: &data[at * columns..],
            columns,
            start,
            width,
        };
        flash::Block {
            keys: [
                part(&self.keys, heads.nope, 0, heads.nope),
                part(chunk.rows, rank + rope, rank, rope),
            ],
            values: strips::Strips {
                data: &self.values,
                columns: chunk.n,
                start: at,
                width: flash::BLOCK_KEYS.min(chunk.n - at),
            },
            before: chunk.before + at,
            past,
        }
    }
}
