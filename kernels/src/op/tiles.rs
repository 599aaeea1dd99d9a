//! Tiles times activations.
//!
//! One inner step serves every format, every number of tokens, and both phases: 32 weights of each row, unpacked to codes,
//! multiply one token's 32 activations; the integer sums, exact, become f32 and are scaled by row and by token.
//!
//! - *A few tokens* (decode): each group is unpacked in registers and multiplied with up to [`FEW`] tokens.
//! - *Many tokens* (prefill): groups are unpacked to panels, over which all tokens pass ([`panels`](super::panels)).
//!
//! A token's sum is made in the same order in both, so results do not depend on how many tokens come at a time.

use core::marker::PhantomData;

use super::acts::{Act, Acts};
use crate::Isa;
use crate::lanes::Lanes;
use crate::quant::Tiled;
use crate::simd::{Simd, SimdOp, each};
use crate::tile::{
    Codes, Group, Planes, Sink, SixBits, TILE_ROWS, Word, chunk_blocks, chunk_bytes, nibbles,
};

/// Most tokens that multiply a group while it is in registers.
pub(crate) const FEW: usize = 4;
/// Most parts in which a tile's rows go by.
const PARTS: usize = 2;
/// Bytes of a line of the cache, or fewer.
const LINE: usize = 64;
/// How many bytes ahead of the products weights are asked for, into the second cache, a group's share with each group: at 25 GB/s,
/// 330 ns. Measured against 2, 4, 12 and 16 KB, and against the first cache, whose few outstanding misses are the limit then.
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
        // Three of four: a kernel of their own would save a quarter of the products, and was a quarter of this code.
        3..=FEW => few::<Q, FEW>(isa, tiles, acts, store),
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
fn step<L: Lanes, Q: Tiled>(l: L, group: &Group<L>, g: usize, act: &Act<'_>, acc: L::F) -> L::F {
    let a = steps(&act.q[g]);
    let sums = if Q::HALVES {
        let ([low, high], [a_low, a_high]) = (split(&group.codes), split(a));
        let [of_low, of_high] = each!(2, |i| start::<L, Q>(l, act.q16, 2 * g + i));
        let low = rows::<L, Q, 4>(l, low, a_low, of_low);
        let high = rows::<L, Q, 4>(l, high, a_high, of_high);
        [l.to_f(low), l.to_f(high)]
    } else {
        let of_all = start::<L, Q>(l, act.q32, g);
        [l.to_f(rows::<L, Q, 8>(l, &group.codes, a, of_all)); 2]
    };
    scaled::<L, Q>(l, sums, (group.d, group.m), g, act, acc)
}

/// `acc` plus the `sums` of a group's products, scaled by its `d` and `m` and by the token's.
#[inline(always)]
fn scaled<L: Lanes, Q: Tiled>(
    l: L,
    sums: [L::F; 2],
    (d, m): ([L::F; 2], [L::F; 2]),
    g: usize,
    act: &Act<'_>,
    acc: L::F,
) -> L::F {
    let act_sums = if !Q::MIN {
        [0.0; 2]
    } else if Q::HALVES {
        [act.s16[2 * g], act.s16[2 * g + 1]]
    } else {
        [act.s32[g], 0.0]
    };
    add::<L, Q>(l, sums, d, m, act.d[g], act_sums, acc)
}

/// The activations of a group, as four of each step.
#[inline(always)]
fn steps(q: &[i8; 32]) -> &[[i8; 4]; 8] {
    match q.as_chunks().0.first_chunk() {
        Some(steps) => steps,
        None => unreachable!("32 activations are eight times four"),
    }
}

/// How often the sum of activations is in a sum of codes times activations, and should not be.
pub(super) const fn offset<L: Lanes, Q: Tiled>() -> i32 {
    let bias = match Q::CODES {
        Codes::U4 | Codes::U6 => 0,
        Codes::I8 => L::BIAS,
    };
    Q::ABOVE as i32 + bias as i32
}

/// What the products of group or half `i` start from, so that their sum is that of the weights.
#[inline(always)]
fn start<L: Lanes, Q: Tiled>(l: L, sums: &[i32], i: usize) -> L::N {
    let times = const { -offset::<L, Q>() };
    l.start(if times == 0 { 0 } else { sums[i] }, times)
}

/// `acc + d * da * sum + m * (da * sum(a))` row by row, from `sums` of weights over `d` times activations, for each half where
/// the format has scales for halves; `act_sums` are the sums of activations, scaled by `da`.
#[inline(always)]
pub(super) fn add<L: Lanes, Q: Tiled>(
    l: L,
    sums: [L::F; 2],
    d: [L::F; 2],
    m: [L::F; 2],
    da: f32,
    act_sums: [f32; 2],
    acc: L::F,
) -> L::F {
    if Q::HALVES {
        let sum = l.fma(sums[1], d[1], l.mul(sums[0], d[0]));
        let acc = l.fma(sum, l.splat(da), acc);
        if !Q::MIN {
            return acc;
        }
        let acc = l.fma(m[0], l.splat(act_sums[0]), acc);
        l.fma(m[1], l.splat(act_sums[1]), acc)
    } else {
        let acc = l.fma(sums[0], l.mul(d[0], l.splat(da)), acc);
        if Q::MIN {
            l.fma(m[0], l.splat(act_sums[0]), acc)
        } else {
            acc
        }
    }
}

/// `start` plus the integer sums of a group's codes.
#[inline(always)]
fn rows<L: Lanes, Q: Tiled, const J: usize>(
    l: L,
    w: &[L::B; J],
    a: &[[i8; 4]; J],
    start: L::N,
) -> L::N {
    match Q::CODES {
        Codes::U4 => l.rows_u4(w, a, start),
        Codes::U6 => l.rows_u6(w, a, start),
        Codes::I8 => l.rows_i8(w, a, start),
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
        if const { asks::<S, Q>() } {
            // Each group asks for what comes AHEAD of it, and nothing has asked for these.
            for line in (0..AHEAD.min(self.tiles.len())).step_by(LINE) {
                s.prefetch(self.tiles, line);
            }
        }
        let tokens = self.acts.tokens().min(T);
        let acts: [Act<'_>; T] = self.acts.group(0);
        let mut out = [[0.0; TILE_ROWS]; T];
        for (i, tile) in self.tiles.chunks_exact(self.bytes).enumerate() {
            let mut acc = each!(PARTS, |part| [s.part(part).splat(0.0); T]);
            let n = const { chunk_blocks::<Q>() * (Q::BLOCK / 32) };
            let chunks = tile.chunks_exact(chunk_bytes::<Q>());
            let rest = chunks.remainder();
            let mut first = 0;
            for chunk in chunks {
                let acts = cut::<S::Lanes, Q, T>(&acts, first, n);
                multiply_chunk::<S, Q, T>(s, chunk, const { chunk_blocks::<Q>() }, &acts, &mut acc);
                first += n;
            }
            if const { chunk_blocks::<Q>() > 1 } && !rest.is_empty() {
                let blocks = rest.len() / (Q::BYTES * TILE_ROWS);
                let acts = cut::<S::Lanes, Q, T>(&acts, first, blocks * (Q::BLOCK / 32));
                multiply_chunk::<S, Q, T>(s, rest, blocks, &acts, &mut acc);
            }
            for (part, acc) in acc.iter().take(S::PARTS).enumerate() {
                for t in 0..T {
                    s.part(part).store(acc[t], &mut out[t]);
                }
            }
            for (t, out) in out[..tokens].iter().enumerate() {
                (self.store)(t, i, out);
            }
        }
    }
}

/// `n` groups of each from `first` on, of what [`step`] reads: a chunk's lengths are checked once, and only these.
#[inline(always)]
fn cut<'a, L: Lanes, Q: Tiled, const T: usize>(
    acts: &[Act<'a>; T],
    first: usize,
    n: usize,
) -> [Act<'a>; T] {
    let mut out = *acts;
    let sums = const { offset::<L, Q>() != 0 };
    for a in &mut out {
        a.q = &a.q[first..][..n];
        a.d = &a.d[first..][..n];
        if Q::HALVES && Q::MIN {
            a.s16 = &a.s16[2 * first..][..2 * n];
        } else if Q::MIN {
            a.s32 = &a.s32[first..][..n];
        }
        if Q::HALVES && sums {
            a.q16 = &a.q16[2 * first..][..2 * n];
        } else if sums {
            a.q32 = &a.q32[first..][..n];
        }
    }
    out
}

/// Whether weights are asked for ahead. Loads of whole lines in order are faster alone: on Zen 4 `Q4_0` comes from memory at 31 GB/s a
/// core, and at 24 GB/s when it is asked for; but `Q6_K`, which goes back for its high bits, at 15 GB/s, and 25 GB/s. A Cortex-A76 loads
/// 14.9 of the 17.1 GB/s of a Raspberry Pi 5 in order without asking (sbc-bench); of other Arm cores this is not measured.
const fn asks<S: Simd, Q: Tiled>() -> bool {
    S::PARTS > 1 || !Q::ONCE
}

/// A chunk of `blocks` blocks a row times as many columns of `T` tokens, onto `acc`.
#[inline(always)]
fn multiply_chunk<S: Simd, Q: Tiled, const T: usize>(
    s: S,
    chunk: &[u8],
    blocks: usize,
    acts: &[Act<'_>; T],
    acc: &mut [[<S::Lanes as Lanes>::F; T]; PARTS],
) {
    let planes = Planes::<Q>::of(chunk, blocks);
    for (part, acc) in acc.iter_mut().take(S::PARTS).enumerate() {
        let mut sums = Running::<S::Lanes, Q, T> {
            chunk: (const { asks::<S, Q>() } && part == 0).then_some(chunk),
            acts,
            acc: *acc,
            format: PhantomData,
        };
        for b in 0..blocks {
            Q::groups(s.part(part), &planes, b, &mut sums);
        }
        *acc = sums.acc;
    }
}

/// The sums of `T` tokens so far.
struct Running<'a, L: Lanes, Q, const T: usize> {
    /// Where to ask for what is ahead, once for all rows.
    chunk: Option<&'a [u8]>,
    /// Those of the chunk.
    acts: &'a [Act<'a>; T],
    acc: [L::F; T],
    format: PhantomData<Q>,
}

impl<L: Lanes, Q: Tiled, const T: usize> Running<'_, L, Q, T> {
    /// Asks for group `g`'s share of what is ahead.
    #[inline(always)]
    fn ask(&self, l: L, g: usize) {
        if let Some(chunk) = self.chunk {
            let bytes = const { chunk_bytes::<Q>() / (chunk_blocks::<Q>() * Q::BLOCK / 32) };
            if L::FROM_WORDS {
                // So many instructions less that it may ask for a line twice.
                for line in 0..const { chunk_bytes::<Q>() * 32 / (chunk_blocks::<Q>() * Q::BLOCK) }
                    .div_ceil(LINE)
                {
                    l.prefetch(chunk, AHEAD + g * bytes + line * LINE);
                }
                return;
            }
            for line in g * bytes / LINE..(g + 1) * bytes / LINE {
                l.prefetch(chunk, AHEAD + line * LINE);
            }
        }
    }
}

impl<L: Lanes, Q: Tiled, const T: usize> Sink<L> for Running<'_, L, Q, T> {
    #[inline(always)]
    fn take(&mut self, l: L, g: usize, group: Group<L>) {
        self.ask(l, g);
        for t in 0..T {
            self.acc[t] = step::<L, Q>(l, &group, g, &self.acts[t], self.acc[t]);
        }
    }

    #[inline(always)]
    fn take_nibbles(&mut self, l: L, g: usize, words: &[Word; 4], d: L::F, m: L::F) {
        if T > 1 || Q::HALVES || !L::FROM_WORDS {
            return self.take(l, g, Group::new(nibbles(l, words), d, m));
        }
        self.ask(l, g);
        let act = &self.acts[0];
        let of_all = start::<L, Q>(l, act.q32, g);
        let sum = l.to_f(l.nibbles_rows(words, steps(&act.q[g]), of_all));
        self.acc[0] = scaled::<L, Q>(l, [sum; 2], ([d; 2], [m; 2]), g, act, self.acc[0]);
    }

    #[inline(always)]
    fn take_six<const K: usize>(&mut self, l: L, g: usize, words: SixBits<'_, 8>, d: [L::F; 2]) {
        if T > 1 || !Q::HALVES || !L::FROM_WORDS {
            let codes = words.codes::<_, K>(l);
            return self.take(l, g, Group { codes, d, m: d });
        }
        self.ask(l, g);
        let act = &self.acts[0];
        let (words, a) = (words.halves(), split(steps(&act.q[g])));
        let sums = each!(2, |i| {
            let of_half = start::<L, Q>(l, act.q16, 2 * g + i);
            l.to_f(l.six_rows::<K>(words[i], a[i], of_half))
        });
        self.acc[0] = scaled::<L, Q>(l, sums, (d, d), g, act, self.acc[0]);
    }
}
