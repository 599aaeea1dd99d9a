//! Tiles of eight rows times activations.
//!
//! One inner step serves every format, every number of tokens, and both phases: 32 weights of eight rows, unpacked to codes,
//! multiply one token's 32 activations; the eight integer sums, exact, become f32 and are scaled by row and by token.
//!
//! - *A few tokens* (decode): each group is unpacked in registers and multiplied with up to [`FEW`] tokens.
//! - *Many tokens* (prefill): groups are unpacked to a panel of [`PANEL`] groups that stays in the cache nearest to the core, and all
//!   tokens pass over it. Unpacking then costs next to nothing, whatever the format.
//!
//! A token's sum is made in the same order in both, so results do not depend on how many tokens come at a time.

use core::marker::PhantomData;
use core::ops::Range;

use super::acts::{Act, Acts};
use crate::Isa;
use crate::quant::Tiled;
use crate::simd::{Simd, SimdOp, each};
use crate::tile::{Codes, Group, Planes, Sink, TILE_ROWS, chunk_bytes};

/// Most tokens that multiply a group while it is in registers.
pub(crate) const FEW: usize = 4;
/// Tokens whose sums are kept while panel after panel passes.
pub(crate) const STRIP: usize = 128;
/// Groups of 32 columns in a panel: 18 KB with their scales.
const PANEL: usize = 64;
/// Bytes of a line of the cache, or fewer.
const LINE: usize = 64;
/// How many bytes ahead of the products weights are asked for.
const AHEAD: usize = 2048;

/// Products of one tile: token by row.
pub(crate) type Sums = [[f32; TILE_ROWS]];

/// One tile times up to [`STRIP`] tokens: `out` has a row for each token.
pub(crate) fn multiply<Q: Tiled>(
    isa: Isa,
    tile: &[u8],
    acts: &Acts<'_>,
    first: usize,
    out: &mut Sums,
) {
    let format = PhantomData::<Q>;
    if out.len() > 2 * FEW {
        isa.dispatch(Many {
            tile,
            acts,
            first,
            out,
            format,
        });
        return;
    }
    let mut done = 0;
    while done < out.len() {
        let (token, rest) = (first + done, &mut out[done..]);
        done += match rest.len() {
            FEW.. => few::<Q, FEW>(isa, tile, acts, token, rest),
            2.. => few::<Q, 2>(isa, tile, acts, token, rest),
            _ => few::<Q, 1>(isa, tile, acts, token, rest),
        };
    }
}

/// `T` tokens from `token` on; returns `T`.
fn few<Q: Tiled, const T: usize>(
    isa: Isa,
    tile: &[u8],
    acts: &Acts<'_>,
    token: usize,
    out: &mut Sums,
) -> usize {
    isa.dispatch(Few::<Q, T> {
        tile,
        acts,
        token,
        out,
        format: PhantomData,
    });
    T
}

/// A group times one token: `acc + d * da * sum(code * a) + m * (da * sum(a))`, row by row.
#[inline(always)]
fn step<S: Simd, Q: Tiled>(s: S, group: &Group<S>, g: usize, act: &Act<'_>, acc: S::F) -> S::F {
    let (a, _) = act.q[g].as_chunks::<4>();
    let Some(a) = a.first_chunk::<8>() else {
        unreachable!("32 activations are eight times four")
    };
    let with_min = Q::MIN || S::BIAS != 0 && matches!(Q::CODES, Codes::I8);
    if Q::HALVES {
        let (low, high) = halves(&group.codes);
        let (a_low, a_high) = halves(a);
        let low = s.to_f(rows::<S, Q, 4>(s, low, a_low));
        let high = s.to_f(rows::<S, Q, 4>(s, high, a_high));
        let sum = s.fma(high, group.d[1], s.mul(low, group.d[0]));
        let acc = s.fma(sum, s.splat(act.d[g]), acc);
        if !with_min {
            return acc;
        }
        let acc = s.fma(group.m[0], s.splat(act.s16[2 * g]), acc);
        s.fma(group.m[1], s.splat(act.s16[2 * g + 1]), acc)
    } else {
        let sum = s.to_f(rows::<S, Q, 8>(s, &group.codes, a));
        let acc = s.fma(sum, s.mul(group.d[0], s.splat(act.d[g])), acc);
        if with_min {
            s.fma(group.m[0], s.splat(act.s32[g]), acc)
        } else {
            acc
        }
    }
}

/// Integer sums of a group's codes.
#[inline(always)]
fn rows<S: Simd, Q: Tiled, const J: usize>(s: S, w: &[S::B; J], a: &[[i8; 4]; J]) -> S::N {
    match Q::CODES {
        Codes::U4 => s.rows_u4(w, a),
        Codes::U6 => s.rows_u6(w, a),
        Codes::I8 => s.rows_i8(w, a),
    }
}

/// The two halves of eight.
#[inline(always)]
fn halves<T>(x: &[T; 8]) -> (&[T; 4], &[T; 4]) {
    let (low, high) = x.split_at(4);
    match (low.first_chunk(), high.first_chunk()) {
        (Some(low), Some(high)) => (low, high),
        _ => unreachable!("eight are twice four"),
    }
}

/// Decode: groups are multiplied as they are unpacked.
struct Few<'a, Q, const T: usize> {
    tile: &'a [u8],
    acts: &'a Acts<'a>,
    token: usize,
    out: &'a mut Sums,
    format: PhantomData<Q>,
}

impl<Q: Tiled, const T: usize> SimdOp for Few<'_, Q, T> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, s: S) {
        let mut sums = Running::<S, Q, T> {
            acts: self.acts.group(self.token),
            first: 0,
            acc: [s.splat(0.0); T],
            format: PhantomData,
        };
        for chunk in self.tile.chunks(chunk_bytes::<Q>()) {
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
            s.store(sums.acc[t], &mut self.out[t]);
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

/// Some groups of a tile, unpacked.
struct Panel {
    /// The place of the chunk's first group.
    first: usize,
    codes: [[[u8; 32]; 8]; PANEL],
    d: [[[f32; TILE_ROWS]; 2]; PANEL],
    m: [[[f32; TILE_ROWS]; 2]; PANEL],
}

impl<S: Simd> Sink<S> for Panel {
    #[inline(always)]
    fn take(&mut self, s: S, g: usize, group: Group<S>) {
        let i = (self.first + g) % PANEL;
        for j in 0..8 {
            s.store_b(group.codes[j], &mut self.codes[i][j]);
        }
        for h in 0..2 {
            s.store(group.d[h], &mut self.d[i][h]);
            s.store(group.m[h], &mut self.m[i][h]);
        }
    }
}

/// Prefill: tokens pass over panels.
struct Many<'a, Q> {
    tile: &'a [u8],
    acts: &'a Acts<'a>,
    first: usize,
    out: &'a mut Sums,
    format: PhantomData<Q>,
}

impl<Q: Tiled> SimdOp for Many<'_, Q> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, s: S) {
        self.out.fill([0.0; TILE_ROWS]);
        let at_a_time = PANEL * 32 / Q::BLOCK * Q::BYTES * TILE_ROWS;
        let mut panel = Panel {
            first: 0,
            codes: [[[0; 32]; 8]; PANEL],
            d: [[[0.0; TILE_ROWS]; 2]; PANEL],
            m: [[[0.0; TILE_ROWS]; 2]; PANEL],
        };
        for (i, part) in self.tile.chunks(at_a_time).enumerate() {
            panel.first = 0;
            for chunk in part.chunks(chunk_bytes::<Q>()) {
                let blocks = chunk.len() / (Q::BYTES * TILE_ROWS);
                let planes = Planes::of::<Q>(chunk, blocks);
                for b in 0..blocks {
                    Q::groups(s, &planes, b, &mut panel);
                }
                panel.first += blocks * (Q::BLOCK / 32);
            }
            let groups = i * PANEL..i * PANEL + panel.first;
            let mut token = 0;
            while token < self.out.len() {
                let acts = (self.acts, self.first + token);
                let rest = &mut self.out[token..];
                token += match rest.len() {
                    FEW.. => pass::<S, Q, FEW>(s, &panel, groups.clone(), acts, rest),
                    2.. => pass::<S, Q, 2>(s, &panel, groups.clone(), acts, rest),
                    _ => pass::<S, Q, 1>(s, &panel, groups.clone(), acts, rest),
                };
            }
        }
    }
}

/// `T` tokens over a panel, onto their sums; returns `T`.
#[inline(always)]
fn pass<S: Simd, Q: Tiled, const T: usize>(
    s: S,
    panel: &Panel,
    groups: Range<usize>,
    (acts, token): (&Acts<'_>, usize),
    out: &mut Sums,
) -> usize {
    let acts: [Act<'_>; T] = acts.group(token);
    let mut acc = [s.splat(0.0); T];
    for t in 0..T {
        acc[t] = s.load(&out[t]);
    }
    let parts = panel.codes.iter().zip(&panel.d).zip(&panel.m);
    for (g, ((codes, d), m)) in groups.zip(parts) {
        let group = Group::<S> {
            codes: load_all(s, codes),
            d: [s.load(&d[0]), s.load(&d[1])],
            m: [s.load(&m[0]), s.load(&m[1])],
        };
        for t in 0..T {
            acc[t] = step::<S, Q>(s, &group, g, &acts[t], acc[t]);
        }
    }
    for t in 0..T {
        s.store(acc[t], &mut out[t]);
    }
    T
}

/// Eight registers of codes.
#[inline(always)]
fn load_all<S: Simd>(s: S, codes: &[[u8; 32]; 8]) -> [S::B; 8] {
    each!(8, |j| s.bytes(&codes[j]))
}
