//! Rows as int8 panels hold them, weight by weight: the arithmetic of `op::rescale` in plain integers.

use core::marker::PhantomData;
use std::vec;
use std::vec::Vec;

use crate::lanes::Eight;
use crate::op::panels::{DEEP, PAIR, Panel, unpack};
use crate::op::pieces::PIECE;
use crate::op::rescale::{LEAST, Scales, shift, slack, twice_range};
use crate::quant::{Tiled, VisitTiled};
use crate::simd::{Simd, SimdOp};
use crate::tile::{Codes, TILE_ROWS, pack};
use crate::{Format, Isa, tile_bytes};

/// Rows of weights in pieces: a weight is about `t * d`.
#[derive(Debug)]
pub struct Panels {
    /// `rows x cols`
    pub t: Vec<i8>,
    /// `rows x pieces of a row`
    pub d: Vec<f32>,
    /// How far a weight may be from `t * d`, in units of `d`.
    pub slack: f64,
}

/// What panels hold of rows of `cols` weights; `None` when the format does not go in tiles.
///
/// # Panics
/// If `weights` has not the length of `rows` rows.
pub fn panels(format: Format, weights: &[u8], rows: usize, cols: usize) -> Option<Panels> {
    let bytes = tile_bytes(format, cols)?;
    let mut out = Panels {
        t: Vec::new(),
        d: Vec::new(),
        slack: 0.0,
    };
    let mut tile = vec![0; bytes];
    for weights in weights.chunks(bytes) {
        pack(format, cols, weights, &mut tile);
        format.visit_tiled(Tile {
            tile: &tile,
            rows: rows.min(weights.len() * TILE_ROWS / bytes),
            cols,
            out: &mut out,
        })?;
    }
    Some(out)
}

/// The first `rows` rows of a tile.
struct Tile<'a> {
    tile: &'a [u8],
    rows: usize,
    cols: usize,
    out: &'a mut Panels,
}

impl VisitTiled for Tile<'_> {
    type Output = ();
    fn visit<Q: Tiled>(self) {
        let scalar = Isa::available().next().expect("scalar is everywhere");
        scalar.dispatch(Rows::<Q>(self, PhantomData));
    }
}

struct Rows<'a, Q>(Tile<'a>, PhantomData<Q>);

impl<Q: Tiled> SimdOp for Rows<'_, Q> {
    type Output = ();

    fn eval<S: Simd>(self, s: S) {
        let Rows(tile, _) = self;
        tile.out.slack = slack::<Q>();
        let part = DEEP * 32 / Q::BLOCK * Q::BYTES * TILE_ROWS;
        for r in 0..tile.rows {
            let mut row = Vec::new();
            for part in tile.tile.chunks(part) {
                let mut panel = Panel::ZERO;
                unpack::<S, Q, true>(Eight::new(s, r * PAIR / TILE_ROWS), part, &mut panel);
                for (g, codes) in panel.codes.iter().enumerate() {
                    for i in 0..32 {
                        let half: &Scales = if Q::HALVES && i >= 16 {
                            &panel.high[g]
                        } else {
                            &panel.low[g]
                        };
                        row.push(Weight {
                            code: codes[i / 4][r % 8 * 4 + i % 4],
                            d: half.d[r % 8],
                            m: if Q::MIN { half.m[r % 8] } else { 0.0 },
                        });
                    }
                }
            }
            for piece in row[..tile.cols].chunks(PIECE) {
                let d = piece.iter().map(Weight::largest::<Q>).fold(LEAST, f32::max);
                tile.out.d.push(d);
                let t = piece.iter().map(|w| w.over::<S, Q>(d));
                tile.out.t.extend(t);
            }
        }
    }
}

/// `d * (code - ABOVE) + m`
struct Weight {
    code: u8,
    d: f32,
    m: f32,
}

impl Weight {
    /// The least `D` that this weight's scale and minimum allow.
    fn largest<Q: Tiled>(&self) -> f32 {
        let by_byte = (1_u32 << shift::<Q>()) as f32 / 255.0;
        if Q::MIN {
            let end = |x: i32| (self.m + self.d * x as f32).abs();
            let size = end(Q::RANGE.0).max(end(Q::RANGE.1));
            (size * (1.0 / 127.0)).max(self.d.abs() * by_byte)
        } else {
            self.d.abs() * (twice_range::<Q>() as f32 / 254.0).max(by_byte)
        }
    }

    /// `T`.
    fn over<S: Simd, Q: Tiled>(&self, d: f32) -> i8 {
        let (most, above, code) = match Q::CODES {
            Codes::U4 => (15, i32::from(Q::ABOVE), i32::from(self.code)),
            Codes::U6 => (63, i32::from(Q::ABOVE), i32::from(self.code)),
            // As signed bytes they may be biased; here they count from -128.
            Codes::I8 => (255, 128, i32::from(self.code ^ S::BIAS ^ 128)),
        };
        let shift = shift::<Q>();
        let inverse = (1_u32 << shift) as f32 / d;
        let middle = if Q::MIN {
            (Q::RANGE.0 + Q::RANGE.1 + 1) / 2 + above
        } else {
            above
        };
        let f = (self.d * inverse).round_ties_even() as i32;
        let (code, below) = if f < 0 {
            (most - code, most - middle)
        } else {
            (code, middle)
        };
        let at_middle = if Q::MIN {
            self.m + self.d * middle as f32
        } else {
            0.0
        };
        let base = (at_middle * inverse).round_ties_even() as i32 - below * f.abs();
        let rounded = (code * f.abs() + base + (1 << (shift - 1))) >> shift;
        rounded.clamp(-128, 127) as i8
    }
}
