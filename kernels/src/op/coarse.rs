//! Tiles times many tokens, with coarse scales: prefill at the rate of the dot product instructions.
//!
//! The exact form ([`panels`](super::panels)) scales every 32 products by a row's and a token's scale, and on ARM that costs as much
//! as the products. Here a panel has signed bytes with one scale for a row of a *piece* of [`PIECE`] columns
//! ([`rescale`](super::rescale)), and so have the activations ([`pieces`](super::pieces)): integers are summed over a whole piece, exactly, and then scaled.
//!
//! ```text
//!   for each strip of STRIP tokens              their sums with TILES tiles are kept
//!     for each DEEP groups of columns           the tokens' activations are laid out in fours
//!       for each tile, for each half of it      eight rows: unpacked once, then rescaled
//!         for each eight tokens                 64 sums, 16 registers of integers
//!           for each piece                      64 steps of four columns: two loads of weights, two of activations, 16 products
//! ```
//!
//! What it costs: a weight is at most one unit off (`Q2_K` 1.25), where 127 units are the largest weight of the piece. A product of few tokens has
//! no use for panels and stays exact, so that a token's result depends on whether more than a few share the pass.

use core::marker::PhantomData;

use super::acts::Acts;
use super::panels::{DEEP, PAIR, Panel, STRIP, TILES, unpack};
use super::pieces::PIECE;
use super::rescale::{GROUPS, largest, rescale, shift};
use crate::Isa;
use crate::lanes::Eight;
use crate::quant::Tiled;
use crate::simd::{FourScales, Fours, Simd, SimdOp};
use crate::tile::TILE_ROWS;

/// Tokens that are laid out together.
const FOUR: usize = 4;
/// Rows of a panel.
const EIGHT: usize = TILE_ROWS / PAIR;
/// Pieces in a panel.
const PIECES: usize = DEEP / GROUPS;

/// The products of a strip: by tile, by panel, by four tokens, by token, by row.
pub(crate) type Sums = [[[[[f32; EIGHT]; FOUR]; STRIP / FOUR]; PAIR]; TILES];
/// No products.
pub(crate) static ZERO: Sums = [[[[[0.0; EIGHT]; FOUR]; STRIP / FOUR]; PAIR]; TILES];

/// Up to [`TILES`] tiles of `bytes` each times up to [`STRIP`] tokens, whose activations have pieces: fills that part of `out`.
pub(crate) fn multiply<Q: Tiled>(
    isa: Isa,
    (tiles, bytes): (&[u8], usize),
    acts: &Acts<'_>,
    out: &mut Sums,
) {
    let format = PhantomData::<Q>;
    isa.dispatch(Coarse {
        tiles,
        bytes,
        acts,
        out,
        format,
    });
}

/// See [`multiply`].
struct Coarse<'a, Q> {
    tiles: &'a [u8],
    bytes: usize,
    acts: &'a Acts<'a>,
    out: &'a mut Sums,
    format: PhantomData<Q>,
}

/// Some groups of four tokens.
#[derive(Clone, Copy)]
struct Four {
    q: [Fours; DEEP],
    scales: [FourScales; PIECES],
}

impl Four {
    const ZERO: Four = {
        let scales = FourScales {
            d: [0.0; FOUR],
            starts: [0; FOUR],
        };
        Four {
            q: [[[[0; 4]; FOUR]; 8]; DEEP],
            scales: [scales; PIECES],
        }
    };
}

impl<Q: Tiled> SimdOp for Coarse<'_, Q> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, s: S) {
        const { assert!(DEEP.is_multiple_of(GROUPS), "a panel is whole pieces") }
        if const { !S::COARSE } {
            unreachable!("Isa::takes_pieces says where there is code");
        }
        let fours = self.acts.tokens().div_ceil(FOUR);
        let mut acts = [Four::ZERO; STRIP / FOUR];
        let mut panel = Panel::ZERO;
        for sums in self.out[..self.tiles.len() / self.bytes].as_flattened_mut() {
            sums[..fours].fill([[0.0; EIGHT]; FOUR]);
        }
        let part = DEEP * 32 / Q::BLOCK * Q::BYTES * TILE_ROWS;
        for (i, start) in (0..self.bytes).step_by(part).enumerate() {
            let part = start..self.bytes.min(start + part);
            let groups = part.len() / (Q::BYTES * TILE_ROWS) * (Q::BLOCK / 32);
            for (n, four) in acts[..fours].iter_mut().enumerate() {
                lay(s, self.acts, n * FOUR, i * DEEP, groups, four);
            }
            let tiles = self.tiles.chunks_exact(self.bytes);
            for (bytes, out) in tiles.zip(self.out.iter_mut()) {
                for (half, out) in out.iter_mut().enumerate() {
                    unpack::<S, Q, true>(Eight::new(s, half), &bytes[part.clone()], &mut panel);
                    let d = to_pieces::<S, Q>(s, &mut panel, groups);
                    let panel = &panel.codes[..groups];
                    let (eights, rest) = out[..fours].as_chunks_mut::<2>();
                    let (acts_eights, acts_rest) = acts[..fours].as_chunks::<2>();
                    for (acts, sums) in acts_eights.iter().zip(eights) {
                        pass(s, panel, acts, &d, sums);
                    }
                    for (acts, sums) in acts_rest.as_chunks::<1>().0.iter().zip(rest) {
                        pass(s, panel, acts, &d, core::array::from_mut(sums));
                    }
                }
            }
        }
        for sums in self.out[..self.tiles.len() / self.bytes].as_flattened_mut() {
            for sums in &mut sums[..fours] {
                s.settle(sums);
            }
        }
    }
}

/// Four tokens, or those of them that there are, over some groups of a panel of eight rows.
#[inline(always)]
fn pass<S: Simd, const F: usize>(
    s: S,
    panel: &[[[u8; 32]; 8]],
    acts: &[Four; F],
    d: &[[f32; EIGHT]; PIECES],
    sums: &mut [[[f32; EIGHT]; FOUR]; F],
) {
    for (p, (w, d)) in panel.chunks(GROUPS).zip(d).enumerate() {
        let groups = p * GROUPS..p * GROUPS + w.len();
        let a = acts.each_ref().map(|four| &four.q[groups.clone()]);
        let scales = acts.each_ref().map(|four| &four.scales[p]);
        s.block(w, a, scales, d, sums);
    }
}

/// Lays out `groups` groups of four tokens, or of those that there are: the products of others are not looked at.
#[inline(always)]
fn lay<S: Simd>(s: S, acts: &Acts<'_>, token: usize, first: usize, groups: usize, four: &mut Four) {
    let last = acts.tokens() - 1;
    /// Activations by 32, and a scale and a sum for each piece of them.
    type Row<'a> = (&'a [[i8; 32]], &'a [[f32; 2]]);
    let rows: [Row<'_>; FOUR] = core::array::from_fn(|t| acts.pieces((token + t).min(last)));
    let rows_q = rows.map(|(q, _)| &q[first..first + groups]);
    for (i, out) in four.q[..groups].iter_mut().enumerate() {
        s.lay(rows_q.map(|q| &q[i]), out);
    }
    for (p, scales) in four.scales[..groups.div_ceil(GROUPS)]
        .iter_mut()
        .enumerate()
    {
        for (t, (_, pieces)) in rows.iter().enumerate() {
            let [d, sum] = pieces[first / GROUPS + p];
            scales.d[t] = d;
            scales.starts[t] = -i32::from(S::BIAS) * sum as i32;
        }
    }
}

/// Makes the codes of a panel signed bytes with one scale for a row of a piece: these scales.
#[inline(always)]
fn to_pieces<S: Simd, Q: Tiled>(s: S, panel: &mut Panel, groups: usize) -> [[f32; EIGHT]; PIECES] {
    let mut out = [[0.0; EIGHT]; PIECES];
    for (p, out) in out.iter_mut().enumerate() {
        let piece = (p * GROUPS).min(groups)..((p + 1) * GROUPS).min(groups);
        let d = largest::<S, Q>(s, &panel.low[piece.clone()], &panel.high[piece.clone()]);
        s.store(d, out);
        let inverse = s.div(s.splat(const { (1_u32 << shift::<Q>()) as f32 }), d);
        for i in piece {
            let (low, high) = (&panel.low[i], &panel.high[i]);
            rescale::<S, Q>(s, inverse, low, high, &mut panel.codes[i]);
        }
    }
    out
}

const _: () = assert!(PIECE.is_multiple_of(32), "a piece is whole groups");
