//! Tiles of eight rows times activations.
//!
//! One inner step serves every format, every number of tokens, and both phases: 32 weights of eight rows, unpacked to codes,
//! multiply one token's 32 activations; the eight integer sums, exact, become f32 and are scaled by row and by token.
//!
//! - *A few tokens* (decode): each group is unpacked in registers and multiplied with up to [`FEW`] tokens.
//! - *Many tokens* (prefill): groups are unpacked to panels, over which all tokens pass ([`panels`](super::panels)).
//!
//! A token's sum is made in the same order in both, so results do not depend on how many tokens come at a time.

use core::marker::PhantomData;

use super::acts::{Act, Acts};
use crate::Isa;
use crate::quant::Tiled;
use crate::simd::{Simd, SimdOp};
use crate::tile::{Codes, Group, Planes, Sink, TILE_ROWS, chunk_bytes};

/// Most tokens that multiply a group while it is in registers.
pub(crate) const FEW: usize = 4;
/// Bytes of a line of the cache, or fewer.
const LINE: usize = 64;
/// How many bytes ahead of the products weights are asked for, into the second cache: at 25 GB/s, 330 ns. Measured against 2,
/// 4, 12 and 16 KB, and against the first cache, whose few outstanding misses are the limit then.
const AHEAD: usize = 8192;

/// Some tiles of `bytes` each times up to [`FEW`] tokens: `store(token, tile, products of its rows)`.
pub(crate) fn multiply<Q: Tiled>(
    isa: Isa,
    tiles: (&[u8], usize),
    acts: &Acts<'_>,
    store: &mut dyn FnMut(usize, usize, &[f32; TILE_ROWS]),
) {
    match acts.tokens() {
        0 => {}
        1 => few::<Q, 1>(isa, tiles, acts, store),
        2 => few::<Q, 2>(isa, tiles, acts, store),
        3 => few::<Q, 3>(isa, tiles, acts, store),
        FEW => few::<Q, FEW>(isa, tiles, acts, store),
        more => unreachable!("{more} tokens at once, {FEW} at most"),
    }
}

/// `T` tokens.
fn few<Q: Tiled, const T: usize>(
    isa: Isa,
    (tiles, bytes): (&[u8], usize),
    acts: &Acts<'_>,
    store: &mut dyn FnMut(usize, usize, &[f32; TILE_ROWS]),
) {
    isa.dispatch(Few::<Q, T> {
        tiles,
        bytes,
        acts,
        store,
        format: PhantomData,
    });
}

/// A group times one token.
#[inline(always)]
fn step<S: Simd, Q: Tiled>(s: S, group: &Group<S>, g: usize, act: &Act<'_>, acc: S::F) -> S::F {
    let (a, _) = act.q[g].as_chunks::<4>();
    let Some(a) = a.first_chunk::<8>() else {
        unreachable!("32 activations are eight times four")
    };
    let (sums, act_sums) = if Q::HALVES {
        let ([low, high], [a_low, a_high]) = (split(&group.codes), split(a));
        let [of_low, of_high] = [2 * g, 2 * g + 1].map(|i| start::<S, Q>(s, act.q16, i));
        let low = rows::<S, Q, 4>(s, low, a_low, of_low);
        let high = rows::<S, Q, 4>(s, high, a_high, of_high);
        (
            [s.to_f(low), s.to_f(high)],
            [act.s16[2 * g], act.s16[2 * g + 1]],
        )
    } else {
        let sum = s.to_f(rows::<S, Q, 8>(
            s,
            &group.codes,
            a,
            start::<S, Q>(s, act.q32, g),
        ));
        ([sum; 2], [act.s32[g], 0.0])
    };
    add::<S, Q>(s, sums, group.d, group.m, act.d[g], act_sums, acc)
}

/// How often the sum of activations is in a sum of codes times activations, and should not be.
pub(super) const fn offset<S: Simd, Q: Tiled>() -> i32 {
    let bias = match Q::CODES {
        Codes::U4 | Codes::U6 => 0,
        Codes::I8 => S::BIAS,
    };
    Q::ABOVE as i32 + bias as i32
}

/// What the products of group or half `i` start from, so that their sum is that of the weights.
#[inline(always)]
fn start<S: Simd, Q: Tiled>(s: S, sums: &[i32], i: usize) -> S::N {
    let times = const { -offset::<S, Q>() };
    s.start(if times == 0 { 0 } else { sums[i] }, times)
}

/// `acc + d * da * sum + m * (da * sum(a))` row by row, from `sums` of weights over `d` times activations, for each half where
/// the format has scales for halves; `act_sums` are the sums of activations, scaled by `da`.
#[inline(always)]
pub(super) fn add<S: Simd, Q: Tiled>(
    s: S,
    sums: [S::F; 2],
    d: [S::F; 2],
    m: [S::F; 2],
    da: f32,
    act_sums: [f32; 2],
    acc: S::F,
) -> S::F {
    if Q::HALVES {
        let sum = s.fma(sums[1], d[1], s.mul(sums[0], d[0]));
        let acc = s.fma(sum, s.splat(da), acc);
        if !Q::MIN {
            return acc;
        }
        let acc = s.fma(m[0], s.splat(act_sums[0]), acc);
        s.fma(m[1], s.splat(act_sums[1]), acc)
    } else {
        let acc = s.fma(sums[0], s.mul(d[0], s.splat(da)), acc);
        if Q::MIN {
            s.fma(m[0], s.splat(act_sums[0]), acc)
        } else {
            acc
        }
    }
}

/// `start` plus the integer sums of a group's codes.
#[inline(always)]
fn rows<S: Simd, Q: Tiled, const J: usize>(
    s: S,
    w: &[S::B; J],
    a: &[[i8; 4]; J],
    start: S::N,
) -> S::N {
    match Q::CODES {
        Codes::U4 => s.rows_u4(w, a, start),
        Codes::U6 => s.rows_u6(w, a, start),
        Codes::I8 => s.rows_i8(w, a, start),
    }
}

/// The two halves of eight.
#[inline(always)]
pub(super) fn split<T>(x: &[T; 8]) -> [&[T; 4]; 2] {
    let (low, high) = x.split_at(4);
    match (low.first_chunk(), high.first_chunk()) {
        (Some(low), Some(high)) => [low, high],
        _ => unreachable!("eight are twice four"),
    }
}

/// Decode: groups are multiplied as they are unpacked.
struct Few<'a, Q, const T: usize> {
    tiles: &'a [u8],
    bytes: usize,
    acts: &'a Acts<'a>,
    store: &'a mut dyn FnMut(usize, usize, &[f32; TILE_ROWS]),
    format: PhantomData<Q>,
}

impl<Q: Tiled, const T: usize> SimdOp for Few<'_, Q, T> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, s: S) {
        // Each chunk asks for what comes AHEAD of it, and nothing has asked for these.
        for line in (0..AHEAD.min(self.tiles.len())).step_by(LINE) {
            s.prefetch(self.tiles, line);
        }
        let acts: [Act<'_>; T] = self.acts.group(0);
        let mut out = [0.0; TILE_ROWS];
        for (i, tile) in self.tiles.chunks_exact(self.bytes).enumerate() {
            let mut sums = Running::<S, Q, T> {
                acts,
                first: 0,
                acc: [s.splat(0.0); T],
                format: PhantomData,
            };
            for chunk in tile.chunks(chunk_bytes::<Q>()) {
                for line in (0..chunk_bytes::<Q>()).step_by(LINE) {
                    s.prefetch(chunk, AHEAD + line);
                }
                let blocks = chunk.len() / (Q::BYTES * TILE_ROWS);
                let planes = Planes::of::<Q>(chunk, blocks);
                for b in 0..blocks {
                    Q::groups(s, &planes, b, &mut sums);
                }
                sums.first += blocks * (Q::BLOCK / 32);
            }
            for t in 0..T {
                s.store(sums.acc[t], &mut out);
                (self.store)(t, i, &out);
            }
        }
    }
}

/// The sums of `T` tokens so far.
struct Running<'a, S: Simd, Q, const T: usize> {
    acts: [Act<'a>; T],
    /// The first group of the chunk.
    first: usize,
    acc: [S::F; T],
    format: PhantomData<Q>,
}

impl<S: Simd, Q: Tiled, const T: usize> Sink<S> for Running<'_, S, Q, T> {
    #[inline(always)]
    fn take(&mut self, s: S, g: usize, group: Group<S>) {
        for t in 0..T {
            self.acc[t] = step::<S, Q>(s, &group, self.first + g, &self.acts[t], self.acc[t]);
        }
    }
}
