//! Tiles times many tokens: prefill.
//!
//! Some columns of a tile are unpacked to two *panels* of eight rows, which stay in the cache nearest to the core, and the tokens
//! pass over them four at a time: sixteen rows, or eight and eight ([`Simd::TOGETHER`]), and four tokens, so that each load serves
//! several products. Unpacking then costs next to nothing, whatever the format.
//!
//! ```text
//!   for each strip of STRIP tokens              their sums with TILES tiles are kept
//!     for each DEEP groups of columns           the tokens' activations are laid out in fours
//!       for each tile                           unpacked once
//!         for each four tokens                  DEEP groups without a store
//! ```
//!
//! The arithmetic of a product is that of [`tiles`](super::tiles), in the same order, so results do not depend on how many tokens
//! come at a time.

use core::marker::PhantomData;

use super::acts::Acts;
use super::rescale::Scales;
use super::tiles::{add, offset, split};
use crate::Isa;
use crate::lanes::Eight;
use crate::quant::Tiled;
use crate::simd::{Simd, SimdOp, each};
use crate::tile::{Group, Planes, Sink, TILE_ROWS, chunk_blocks, chunk_bytes};

/// Tokens whose sums are kept while panel after panel passes.
pub(crate) const STRIP: usize = 128;
/// Tiles whose sums are kept.
pub(crate) const TILES: usize = 16;
/// Groups of 32 columns in a panel, a multiple of those of a superblock: two panels are 20 KB.
pub(crate) const DEEP: usize = 16;
/// Tokens that pass together.
const FOUR: usize = 4;
/// Panels of a tile.
pub(crate) const PAIR: usize = 2;
/// Rows of a panel.
const EIGHT: usize = TILE_ROWS / PAIR;

/// The products of a token: by tile, by panel, by row.
pub(crate) type Sums = [[[f32; EIGHT]; PAIR]; TILES];
/// No products.
pub(crate) const ZERO: Sums = [[[0.0; EIGHT]; PAIR]; TILES];
/// The products of a strip of tokens.
pub(crate) type Strip = [Sums; STRIP];

/// Up to [`TILES`] tiles of `bytes` each times up to [`STRIP`] tokens from `first` on: fills that part of `out`.
pub(crate) fn multiply<Q: Tiled>(
    isa: Isa,
    (tiles, bytes): (&[u8], usize),
    acts: &Acts<'_>,
    out: &mut Strip,
) {
    let format = PhantomData::<Q>;
    isa.dispatch(Many {
        tiles,
        bytes,
        acts,
        out,
        format,
    });
}

/// See [`multiply`].
struct Many<'a, Q> {
    tiles: &'a [u8],
    bytes: usize,
    acts: &'a Acts<'a>,
    out: &'a mut Strip,
    format: PhantomData<Q>,
}

impl<Q: Tiled> SimdOp for Many<'_, Q> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, s: S) {
        const {
            assert!(
                (DEEP * 32).is_multiple_of(Q::BLOCK * chunk_blocks::<Q>()),
                "a panel is whole chunks"
            )
        }
        let tokens = self.acts.tokens();
        let fours = tokens.div_ceil(FOUR);
        let mut quads = [[Quad::ZERO; DEEP]; STRIP / FOUR];
        let mut panels = [Panel::ZERO; PAIR];
        for sums in &mut self.out[..fours * FOUR] {
            *sums = ZERO;
        }
        let part = DEEP * 32 / Q::BLOCK * Q::BYTES * TILE_ROWS;
        for (i, start) in (0..self.bytes).step_by(part).enumerate() {
            let part = start..self.bytes.min(start + part);
            let groups = part.len() / (Q::BYTES * TILE_ROWS) * (Q::BLOCK / 32);
            for (n, quads) in quads[..fours].iter_mut().enumerate() {
                fill::<S, Q>(self.acts, n * FOUR, i * DEEP, &mut quads[..groups]);
            }
            for (tile, bytes) in self.tiles.chunks_exact(self.bytes).enumerate() {
                for (half, panel) in panels.iter_mut().enumerate() {
                    unpack::<S, Q, false>(Eight::new(s, half), &bytes[part.clone()], panel);
                }
                for (quads, sums) in quads.iter().zip(self.out.as_chunks_mut().0).take(fours) {
                    let quads = &quads[..groups];
                    if S::TOGETHER == PAIR {
                        pass::<S, Q, PAIR>(s, &panels, quads, sums, tile, 0);
                        continue;
                    }
                    for (half, panel) in panels.iter().enumerate() {
                        let panel = core::array::from_ref(panel);
                        pass::<S, Q, 1>(s, panel, quads, sums, tile, half);
                    }
                }
            }
        }
    }
}

/// 32 activations of each of four tokens.
#[derive(Clone, Copy)]
struct Quad {
    q: [[[i8; 4]; 8]; FOUR],
    d: [f32; FOUR],
    /// Scale times sum, of the first and of the last 16 for formats that have scales for halves, else of all.
    sums: [[f32; 2]; FOUR],
    /// What the products start from, likewise: by half, by token.
    starts: [[i32; FOUR]; 2],
}

impl Quad {
    const ZERO: Quad = Quad {
        q: [[[0; 4]; 8]; FOUR],
        d: [0.0; FOUR],
        sums: [[0.0; 2]; FOUR],
        starts: [[0; FOUR]; 2],
    };
}

/// Lays out the activations of four tokens, or of those that there are: the products of others are not looked at.
#[inline(always)]
fn fill<S: Simd, Q: Tiled>(acts: &Acts<'_>, token: usize, first: usize, quads: &mut [Quad]) {
    for t in 0..FOUR.min(acts.tokens() - token) {
        let [act] = acts.group::<1>(token + t);
        let groups = first..first + quads.len();
        let (q, d, s32) = (
            &act.q[groups.clone()],
            &act.d[groups.clone()],
            &act.s32[groups.clone()],
        );
        let s16 = &act.s16.as_chunks::<2>().0[groups.clone()];
        let q32 = &act.q32[groups.clone()];
        let q16 = &act.q16.as_chunks::<2>().0[groups];
        for (i, quad) in quads.iter_mut().enumerate() {
            if let Some(q) = q[i].as_chunks().0.first_chunk() {
                quad.q[t] = *q;
            }
            quad.d[t] = d[i];
            quad.sums[t] = if Q::HALVES { s16[i] } else { [s32[i], 0.0] };
            let sums = if Q::HALVES { q16[i] } else { [q32[i], 0] };
            for half in 0..2 {
                quad.starts[half][t] = sums[half] * const { -offset::<Eight<S>, Q>() };
            }
        }
    }
}

/// Some groups of a tile, unpacked.
pub(crate) struct Panel {
    /// The place of the first group of the chunk that is being unpacked.
    first: usize,
    /// As [`Simd::products`] wants them, or plain.
    pub(crate) codes: [[[u8; 32]; 8]; DEEP],
    /// Of the first half; of formats that have one scale, of all.
    pub(crate) low: [Scales; DEEP],
    pub(crate) high: [Scales; DEEP],
}

impl Panel {
    pub(crate) const ZERO: Panel = {
        let (d, m) = ([0.0; EIGHT], [0.0; EIGHT]);
        Panel {
            first: 0,
            codes: [[[0; 32]; 8]; DEEP],
            low: [Scales { d, m }; DEEP],
            high: [Scales { d, m }; DEEP],
        }
    };
}

/// Fills a panel from some columns of half of a tile; its codes stay `PLAIN`, four of each row side by side, or get the order of
/// [`Simd::products`].
#[inline(always)]
pub(crate) fn unpack<S: Simd, Q: Tiled, const PLAIN: bool>(
    l: Eight<S>,
    part: &[u8],
    panel: &mut Panel,
) {
    panel.first = 0;
    let mut into = Into::<Q, PLAIN>(panel, PhantomData);
    let chunks = part.chunks_exact(chunk_bytes::<Q>());
    let rest = chunks.remainder();
    for chunk in chunks {
        unpack_chunk::<S, Q, PLAIN>(l, chunk, const { chunk_blocks::<Q>() }, &mut into);
    }
    if const { chunk_blocks::<Q>() > 1 } && !rest.is_empty() {
        let blocks = rest.len() / (Q::BYTES * TILE_ROWS);
        unpack_chunk::<S, Q, PLAIN>(l, rest, blocks, &mut into);
    }
}

/// The next chunk of `blocks` blocks a row.
#[inline(always)]
fn unpack_chunk<S: Simd, Q: Tiled, const PLAIN: bool>(
    l: Eight<S>,
    chunk: &[u8],
    blocks: usize,
    into: &mut Into<'_, Q, PLAIN>,
) {
    let planes = Planes::<Q>::of(chunk, blocks);
    for b in 0..blocks {
        Q::groups(l, &planes, b, into);
    }
    into.0.first += blocks * (Q::BLOCK / 32);
}

/// A panel that takes the groups of a format.
struct Into<'a, Q, const PLAIN: bool>(&'a mut Panel, PhantomData<Q>);

impl<S: Simd, Q: Tiled, const PLAIN: bool> Sink<Eight<S>> for Into<'_, Q, PLAIN> {
    #[inline(always)]
    fn take(&mut self, l: Eight<S>, g: usize, group: Group<Eight<S>>) {
        let s = l.s();
        let i = (self.0.first + g) % DEEP;
        if PLAIN {
            for (code, out) in group.codes.into_iter().zip(&mut self.0.codes[i]) {
                s.store_b(code, out);
            }
        } else {
            s.store_codes(&group.codes, &mut self.0.codes[i]);
        }
        s.store(group.d[0], &mut self.0.low[i].d);
        if Q::HALVES {
            s.store(group.d[1], &mut self.0.high[i].d);
        }
        if Q::MIN {
            s.store(group.m[0], &mut self.0.low[i].m);
            s.store(group.m[1], &mut self.0.high[i].m);
        }
    }
}

/// Four tokens over `R` panels, onto their sums with those of `tile`, from panel `half` on.
#[inline(always)]
fn pass<S: Simd, Q: Tiled, const R: usize>(
    s: S,
    panels: &[Panel; R],
    quads: &[Quad],
    sums: &mut [Sums; FOUR],
    tile: usize,
    half: usize,
) {
    let l = Eight::new(s, half);
    let mut acc = each!(FOUR, |t| each!(R, |r| s.load(&sums[t][tile][half + r])));
    for (i, quad) in quads.iter().enumerate().take(DEEP) {
        let codes = each!(R, |r| &panels[r].codes[i]);
        let a = each!(FOUR, |t| &quad.q[t]);
        let n: [[[S::F; R]; FOUR]; 2] = if Q::HALVES {
            let halves = each!(R, |r| split(codes[r]));
            let a = each!(FOUR, |t| split(a[t]));
            each!(2, |h| s.products(
                Q::CODES,
                each!(R, |r| halves[r][h]),
                each!(FOUR, |t| a[t][h]),
                quad.starts[h]
            ))
        } else {
            [s.products(Q::CODES, codes, a, quad.starts[0]); 2]
        };
        for r in 0..R {
            let (low, high) = (&panels[r].low[i], &panels[r].high[i]);
            let (d0, m0) = (s.load(&low.d), s.load(&low.m));
            let (d1, m1) = if Q::HALVES {
                (s.load(&high.d), s.load(&high.m))
            } else {
                (d0, m0)
            };
            for t in 0..FOUR {
                let sums = [n[0][t][r], n[1][t][r]];
                acc[t][r] = add::<Eight<S>, Q>(
                    l,
                    sums,
                    [d0, d1],
                    [m0, m1],
                    quad.d[t],
                    quad.sums[t],
                    acc[t][r],
                );
            }
        }
    }
    for t in 0..FOUR {
        for r in 0..R {
            s.store(acc[t][r], &mut sums[t][tile][half + r]);
        }
    }
}
