//! Streaming softmax: attention over a cache that is read once, block by block.
//!
//! As in FlashAttention-2 (Dao 2023, section 3.1), a query carries from block to block the largest score so far `m`, the sum `l` of
//! its weights and the mix `o` of the values, in f32. A block with the scores `x` and the values `v` makes of them
//!
//! ```text
//!   m' = max(m, max x)    c = e^(m - m')    p = e^(x - m')
//!   l' = c l + sum p      o' = c o + sum_i p_i v_i             out = o / l after the last block
//! ```
//!
//! A state is `[o (v) | m | l]`. Parts of a cache may have states of their own, which [`fold`] makes one of.
//!
//! A call takes several queries, its **columns**: heads that share the rows, of one token or of several. A block lies somewhere in the
//! cache, and token `t` of a pass sees what comes before it and itself: [`Span`] tells how much of a block that is.

use super::exp::exp;
use crate::Isa;
use crate::simd::{Simd, SimdOp};

/// Tokens of a block.
pub const BLOCK: usize = 64;

/// Columns whose scores of one block lie on the stack together.
pub(crate) const COLUMNS: usize = 16;

/// Where a block and the columns of a call stand.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// Tokens of the cache before the block.
    pub before: usize,
    /// Tokens of the cache before the pass.
    pub past: usize,
    /// Tokens of the pass. Column `i` of the pass belongs to token `i % tokens`.
    pub tokens: usize,
    /// The first column of the call.
    pub first: usize,
}

impl Span {
    /// How many of the `n` tokens of the block column `i` of the call sees.
    #[inline(always)]
    pub(crate) fn seen(&self, i: usize, n: usize) -> usize {
        let token = (self.first + i) % self.tokens.max(1);
        (self.past + token + 1).saturating_sub(self.before).min(n)
    }
}

/// Floats of a state of a column, over values of `v` numbers.
#[must_use]
pub const fn state_len(v: usize) -> usize {
    v + 2
}

/// Makes states over values of `v` numbers ready for the first block.
///
/// # Panics
/// If they are not whole.
pub fn begin(v: usize, states: &mut [f32]) {
    assert!(states.len().is_multiple_of(state_len(v)), "whole states");
    states.fill(0.0);
    for state in states.chunks_exact_mut(state_len(v)) {
        state[v] = f32::NEG_INFINITY;
    }
}

/// Makes `into` the states of what both have seen. States that have seen nothing change nothing.
///
/// # Panics
/// If they are not as many whole states.
pub fn fold(isa: Isa, v: usize, into: &mut [f32], from: &[f32]) {
    assert!(into.len().is_multiple_of(state_len(v)), "whole states");
    assert_eq!(into.len(), from.len(), "as many states");
    isa.dispatch(Fold { v, into, from });
}

/// What a column has found in the end, `(v)`; `out` may be shorter.
///
/// # Panics
/// If `out` is longer.
pub fn finish(state: &[f32], out: &mut [f32]) {
    let v = state.len() - 2;
    assert!(out.len() <= v, "a result of {v} numbers");
    let scale = 1.0 / state[v + 1];
    for (out, o) in out.iter_mut().zip(state) {
        *out = scale * o;
    }
}

struct Fold<'a> {
    v: usize,
    into: &'a mut [f32],
    from: &'a [f32],
}

impl SimdOp for Fold<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, s: S) {
        let size = state_len(self.v);
        let states = self.into.chunks_exact_mut(size);
        for (into, from) in states.zip(self.from.chunks_exact(size)) {
            let (o, end) = into.split_at_mut(self.v);
            let (other, [m, l, ..]) = from.split_at(self.v) else {
                continue;
            };
            let [into_m, into_l, ..] = end else { continue };
            // Not by its largest score, which a NaN leaves alone.
            if *l == 0.0 {
                continue;
            }
            let new = if *m > *into_m { *m } else { *into_m };
            let (a, b) = (exp(s, s.splat(*into_m - new)), exp(s, s.splat(*m - new)));
            let (o8, o_tail) = o.as_chunks_mut::<8>();
            let (other8, other_tail) = other.as_chunks::<8>();
            for (o, x) in o8.iter_mut().zip(other8) {
                s.store(s.fma(s.load(x), b, s.mul(s.load(o), a)), o);
            }
            let (a, b) = (first(s, a), first(s, b));
            for (o, x) in o_tail.iter_mut().zip(other_tail) {
                *o = *o * a + x * b;
            }
            *into_l = *into_l * a + l * b;
            *into_m = new;
        }
    }
}

/// The first of eight equal numbers.
#[inline(always)]
pub(crate) fn first<S: Simd>(s: S, x: S::F) -> f32 {
    let mut out = [0.0; 8];
    s.store(x, &mut out);
    out[0]
}

/// Turns the scores of a query into weights `e^(x - m')`: `(m', their sum, e^(m - m'))`. Whole eights count.
#[inline(always)]
pub(crate) fn weigh<S: Simd>(s: S, row: &mut [f32], m: f32) -> (f32, f32, S::F) {
    let row = row.as_chunks_mut::<8>().0;
    let mut largest = s.splat(m);
    for x in row.iter() {
        largest = s.max(s.load(x), largest);
    }
    let new = s.max_lane(largest);
    let largest = s.splat(new);
    let mut sum = s.splat(0.0);
    for x in row.iter_mut() {
        let e = exp(s, s.sub(s.load(x), largest));
        sum = s.add(sum, e);
        s.store(e, x);
    }
    (new, s.sum(sum), exp(s, s.sub(s.splat(m), largest)))
}

/// Turns the scores of a column with a block, of which it sees `seen` tokens, into weights, and carries `[m, l]` on. The factor on what
/// was mixed before; `None` when it sees nothing, and then all weights are 0.
#[inline(always)]
pub(crate) fn carry<S: Simd>(
    s: S,
    row: &mut [f32; BLOCK],
    seen: usize,
    end: &mut [f32],
) -> Option<f32> {
    let lanes = seen.next_multiple_of(8).min(BLOCK);
    row[seen.min(BLOCK)..lanes].fill(f32::NEG_INFINITY);
    row[lanes..].fill(0.0);
    let [m, l] = end else { return None };
    if seen == 0 {
        return None;
    }
    let (new, total, factor) = weigh(s, &mut row[..lanes], *m);
    let factor = first(s, factor);
    *l = *l * factor + total;
    *m = new;
    Some(factor)
}
