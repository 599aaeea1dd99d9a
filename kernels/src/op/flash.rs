//! Attention of many queries over keys and values of their own head, block by block, in f32.
//!
//! Streaming softmax as in FlashAttention-2 (Dao 2023, section 3.1): no score leaves the first cache. For each query a block gives its
//! scores `x`, and the largest score so far `m`, the sum `l` and the mix `o` are carried on:
//!
//! ```text
//!   m' = max(m, max x)    c = e^(m - m')    p = e^(x - m')
//!   l' = c l + sum p      o' = c o + sum_i p_i v_i             out = o / l after the last block
//! ```
//!
//! Queries go in [bands](super::strips) of six. Scores are a band times strips of sixteen keys (lanes = keys), the mix is a band of
//! probabilities times strips of sixteen value dimensions (lanes = dimensions, columns = keys), both by the same 6 x 16 product.
//! Query `i` of the pass sees keys `0 ..= past + i`: strips that no query of a band sees are skipped, what one of them must not see gets
//! the score minus infinity.
//!
//! Whatever the number of queries, a query's sums are made in the same order, which depends on the positions of the blocks alone.

use super::stream::weigh;
use super::strips::{BAND, STRIP, Strips, bands_len, multiply, store};
use crate::Isa;
use crate::simd::{Simd, SimdOp, each};

/// Most keys of a block: with 192 numbers a key and 128 a value, 160 KB that stay in the second cache while all queries pass.
pub const BLOCK_KEYS: usize = 128;

/// Keys and values of some neighbouring tokens, as one head sees them.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    /// The keys in strips, in two parts: numbers of the head's own, then numbers that several heads share.
    pub keys: [Strips<'a>; 2],
    /// The values, transposed: rows are dimensions, columns the tokens of the block.
    pub values: Strips<'a>,
    /// Tokens that come before the block.
    pub before: usize,
    /// Tokens that come before the first query.
    pub past: usize,
}

/// Floats that a band of queries carries from block to block, for values of `v` numbers: `max 8 | sum 8 | [v / 16][6][16]`.
#[must_use]
pub const fn state_len(v: usize) -> usize {
    BANDS_HEAD + v.div_ceil(STRIP) * STRIP * BAND
}

/// Largest scores and sums.
const BANDS_HEAD: usize = 16;

/// Makes `state`, of bands over values of `v` numbers, ready for the first block.
///
/// # Panics
/// If it is not whole bands.
pub fn begin(v: usize, state: &mut [f32]) {
    assert!(state.len().is_multiple_of(state_len(v)), "states of bands");
    state.fill(0.0);
    for band in state.chunks_exact_mut(state_len(v)) {
        band[..8].fill(f32::NEG_INFINITY);
    }
}

/// Carries `state` of `queries`, which are in bands and scaled, over a block. The first block must be one that all queries see.
///
/// # Panics
/// If the lengths do not fit each other.
pub fn attend(isa: Isa, queries: &[f32], block: Block<'_>, v: usize, state: &mut [f32]) {
    let n = block.values.width;
    let bands = state.len() / state_len(v);
    assert!(n <= BLOCK_KEYS, "{n} keys in a block of {BLOCK_KEYS}");
    let width = block.keys[0].width + block.keys[1].width;
    assert_eq!(state.len(), bands * state_len(v), "attend: states of bands");
    assert_eq!(
        queries.len(),
        bands_len(bands * BAND, width),
        "attend: queries as wide as keys, a state for each band"
    );
    for part in block.keys {
        part.check(n.div_ceil(STRIP));
    }
    block.values.check(v.div_ceil(STRIP));
    isa.dispatch(Flash {
        queries,
        block,
        v,
        state,
    });
}

/// What query `i` has found in the end, `(v)`.
///
/// # Panics
/// If there is no such query.
pub fn finish(state: &[f32], i: usize, out: &mut [f32]) {
    let size = state_len(out.len());
    let (head, mix) = state[i / BAND * size..][..size].split_at(BANDS_HEAD);
    let i = i % BAND;
    let scale = 1.0 / head[8 + i];
    let strips = mix.as_chunks::<STRIP>().0.chunks_exact(BAND);
    for (out, strip) in out.chunks_mut(STRIP).zip(strips) {
        for (out, x) in out.iter_mut().zip(strip[i]) {
            *out = scale * x;
        }
    }
}

struct Flash<'a> {
    queries: &'a [f32],
    block: Block<'a>,
    v: usize,
    state: &'a mut [f32],
}

impl SimdOp for Flash<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, s: S) {
        let [own, shared] = self.block.keys;
        let width = (own.width + shared.width).max(1);
        let queries = self.queries.as_chunks::<BAND>().0.chunks_exact(width);
        let states = self.state.chunks_exact_mut(state_len(self.v));
        let mut scores = [[0.0; BLOCK_KEYS]; BAND];
        for (band, (query, state)) in queries.zip(states).enumerate() {
            let n = self.block.values.width;
            let first = self.block.past + band * BAND + 1;
            let seen = each!(BAND, |i| (first + i)
                .saturating_sub(self.block.before)
                .min(n));
            let most = seen[BAND - 1];
            if most == 0 {
                continue;
            }
            let (to_own, to_shared) = query.split_at(own.width);
            let zero = [[s.splat(0.0); 2]; BAND];
            for j in 0..most.div_ceil(STRIP) {
                let sums = multiply(s, to_own, own.strip(j), zero);
                let sums = multiply(s, to_shared, shared.strip(j), sums);
                for i in 0..BAND {
                    if let Some(out) = scores[i].as_chunks_mut().0.get_mut(j) {
                        store(s, sums[i], out);
                    }
                }
            }
            let (head, mix) = state.split_at_mut(BANDS_HEAD);
            let (largest, sum) = head.split_at_mut(8);
            let mut factors = [s.splat(1.0); BAND];
            for i in 0..BAND {
                let row = &mut scores[i][..most.next_multiple_of(STRIP)];
                row[seen[i]..].fill(f32::NEG_INFINITY);
                let total;
                (largest[i], total, factors[i]) = weigh(s, row, largest[i]);
                let [carried, ..] = lanes(s, factors[i]);
                sum[i] = sum[i] * carried + total;
            }
            let strips = mix.as_chunks_mut::<STRIP>().0.chunks_exact_mut(BAND);
            for (j, out) in strips.enumerate() {
                let values = &self.block.values.strip(j)[..most];
                let mut sums = each!(BAND, |i| {
                    let out = out[i].as_chunks::<8>().0;
                    [
                        s.mul(s.load(&out[0]), factors[i]),
                        s.mul(s.load(&out[1]), factors[i]),
                    ]
                });
                for (key, row) in values.iter().enumerate().take(BLOCK_KEYS) {
                    let row = row.as_chunks::<8>().0;
                    let row = [s.load(&row[0]), s.load(&row[1])];
                    for i in 0..BAND {
                        let p = s.splat(scores[i][key]);
                        sums[i] = [s.fma(p, row[0], sums[i][0]), s.fma(p, row[1], sums[i][1])];
                    }
                }
                for (out, sums) in out.iter_mut().zip(sums) {
                    store(s, sums, out);
                }
            }
        }
    }
}

#[inline(always)]
fn lanes<S: Simd>(s: S, x: S::F) -> [f32; 8] {
    let mut out = [0.0; 8];
    s.store(x, &mut out);
    out
}
