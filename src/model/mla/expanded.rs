//! Latent attention with the keys and values of every head built, for passes of many tokens.
//!
//! The paper's first form (DeepSeek-V2, section 2.1): head `h` has keys `[K_h' c | k_rope]` and values `V_h c`. A key costs
//! `kv_lora_rank * nope` products to build, whichever number of queries sees it; a query then pays `nope + rope + v` a key, and not
//! the `2 kv_lora_rank + rope` of the absorbed form. What is built lives for [`CHUNK`] tokens of one head:
//!
//! ```text
//!   for each chunk of the cache
//!       latents to f32, in strips (for keys) and in bands (for values)   shared by all heads
//!       for each head                                                    a head a tile of work
//!           keys = K_h' c, values = V_h c, in f32
//!           carry every query over them (kernels/src/op/flash.rs)
//! ```
//!
//! so that memory does not grow with the context: for DeepSeek-V2-Lite 3.4 MB for all, 1.1 MB a worker, and 21 KB a token of the batch.

use wattle_kernels::{self as op, Isa, flash, latent, strips};

use super::{MlaHeads, Queries};
use crate::error::Result;
use crate::model::attend::Scratch;
use crate::model::cache::{Cache, Layout};
use crate::model::matrix::Rows;
use crate::model::memory::{reserved, zeros};
use crate::model::step::Step;
use crate::model::weights::Mla;

/// Tokens whose keys and values are built at a time. The weights of a head are decoded once a chunk.
const CHUNK: usize = 512;

/// Fewest tokens of a pass that are ever expanded. Below, a pass gives the same bits however its tokens are cut into passes.
pub(super) const LEAST_TOKENS: usize = 64;

/// Picoseconds of a product in the absorbed form, of rows of floats: 15 G/s a core.
const ABSORBED_PS: u64 = 67;
/// Picoseconds of a product in blocks of f32: 43 G/s in attention, 50 G/s where keys are built, and some laying out.
const BLOCKED_PS: u64 = 25;
/// Picoseconds of a product in int8, about.
const INT8_PS: u64 = 8;
/// Picoseconds to take a weight out of its tile: 1 ns by profile, and its way into the panel.
const DECODE_PS: u64 = 1500;

/// Whether building keys and values for `tokens` tokens after `past` costs less than staying in latent space.
///
/// Products of one head, times what one takes on a core of Zen 4 with AVX-512-VNNI; it is their ratios that decide. For DeepSeek-V2-Lite
/// without past the forms meet near 120 tokens.
pub(crate) fn pays(isa: Isa, heads: &MlaHeads, layout: Layout, past: usize, tokens: usize) -> bool {
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
    let weights = (nope + v) * rank;
    // How fast int8 rows are multiplied, beside floats in blocks, differs from one instruction set to the other.
    let pair_ps = match layout {
        Layout::Latent(shape) => (10 * shape.macs() / latent::rate(isa)) as u64 * BLOCKED_PS,
        _ => (2 * rank + rope) as u64 * ABSORBED_PS,
    };
    let absorbed = time(pairs, pair_ps).saturating_add(time(tokens * weights, INT8_PS));
    let expanded = time(pairs * (nope + rope + v), BLOCKED_PS)
        .saturating_add(time(context * weights, BLOCKED_PS))
        .saturating_add(time(context.div_ceil(CHUNK) * weights, DECODE_PS));
    tokens >= LEAST_TOKENS && expanded < absorbed
}

/// Buffers for a pass of `T` tokens at most.
#[derive(Debug)]
pub(super) struct ExpandedWork {
    /// `(CHUNK, kv_lora_rank + rope)`: the rows of the cache.
    rows: Vec<f32>,
    /// `(CHUNK / 16, kv_lora_rank + rope, 16)`: the same in strips.
    strips: Vec<f32>,
    /// `(CHUNK / 6, kv_lora_rank, 6)`: the latents in bands.
    bands: Vec<f32>,
    /// For each head, its queries in bands and what they carry from block to block.
    heads: Vec<f32>,
}

/// What one worker needs for the keys and values of a head.
#[derive(Debug, Clone, Default)]
pub(crate) struct Panels {
    /// `(nope / 6, kv_lora_rank, 6)`: the transposed key projection in bands.
    to_keys: Vec<f32>,
    /// `(v / 16, kv_lora_rank, 16)`: the value projection in strips.
    to_values: Vec<f32>,
    /// A row of either, and its bytes out of a tile.
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
        let widest = nope.max(rank);
        let bytes = reserved(widest * size_of::<f32>(), || "a row of weights".into())?;
        Ok(Self {
            to_keys: zeros(&[strips::bands_len(nope, rank)])?,
            to_values: zeros(&[strips::strips_len(v, rank)])?,
            row: zeros(&[widest])?,
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
            rows: zeros(&[CHUNK, rank + heads.rope])?,
            strips: zeros(&[CHUNK, rank + heads.rope])?,
            bands: zeros(&[strips::bands_len(CHUNK, rank)])?,
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
    /// As [`absorbed`](Self::absorbed), for the tokens of one sequence.
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
            pool, isa, tokens, ..
        } = step;
        let past = step.pasts[0];
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
            let width = rank + rope;
            let rows = &mut work.rows[..n * width];
            pool.chunks(rows, strips::STRIP * width, |i, out| {
                for (t, row) in out.chunks_exact_mut(width).enumerate() {
                    cache.load(isa, before + i * strips::STRIP + t, row);
                }
            });
            let rows = &*rows;
            let part = |first: usize, n: usize, numbers: usize| op::Rows {
                data: op::Elems::F32(&rows[first * width..]),
                stride: width,
                start: 0,
                width: numbers,
                n,
            };
            let bands = &mut work.bands[..strips::bands_len(n, rank)];
            pool.chunks(bands, strips::BAND * rank, |i, out| {
                let first = i * strips::BAND;
                let n = strips::BAND.min(n - first);
                strips::lay_bands(isa, part(first, n, rank), out);
            });
            let all = &mut work.strips[..strips::strips_len(n, width)];
            let size = strips::STRIP * width;
            pool.chunks(all, size, |i, out| {
                let n = strips::STRIP.min(n - i * strips::STRIP);
                strips::lay(isa, part(i * strips::STRIP, n, width), out);
            });
            let chunk = Chunk {
                rows: all,
                bands,
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
    /// The latents, in bands.
    bands: &'a [f32],
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
        let row = &mut self.row[..nope];
        for r in 0..rank {
            k_b.decode_row(r, &mut self.bytes, row);
            strips::band_column(r, rank, row, &mut self.to_keys);
        }
        let row = &mut self.row[..rank];
        for r in 0..v {
            v_b.decode_row(r, &mut self.bytes, row);
            strips::strip_row(r, row, &mut self.to_values);
        }
        let latents = strips::Strips {
            data: chunk.rows,
            columns: rank + rope,
            start: 0,
            width: rank,
        };
        let keys = &mut self.keys[..strips::strips_len(chunk.n, nope)];
        strips::product(isa, &self.to_keys, nope, latents, keys);
        let to_values = strips::Strips {
            data: &self.to_values,
            columns: rank,
            start: 0,
            width: rank,
        };
        let values = &mut self.values[..strips::strips_len(v, chunk.n)];
        strips::product(isa, chunk.bands, chunk.n, to_values, values);
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
