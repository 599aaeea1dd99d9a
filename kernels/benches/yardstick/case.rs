//! One product to compute: weights, activations, and what must come out.
//!
//! **The bound.** Rounding activations adds to each an error that is as good as independent of the others, of a variance known
//! from the rounding alone: `d^2 / 12` for int8 with step `d`. The error of a product then has the variance
//! `sum(w_i^2 var_i)`, and an answer may be off by [`SIGMAS`] standard deviations of it, and by what f32 sums lose at worst,
//! `(cols + 8) 2^-24 |w| |x|`. With a scale for 32 activations that is 7 to 11 % of a typical answer, with one for 256 (ggml's
//! K-quants) 13 to 20 %; a wrong row, token or scale is off by about 100 %. That the errors are what this says shows in the
//! worst of 2048: for every format and both contenders it is at 36 to 57 % of the bound, 2.5 to 4 sigma.
//!
//! A batch repeats [`DISTINCT`] tokens in an order that puts each in different places of a tile, so that every answer of a large
//! batch is checked, at the price of a few reference products.

use wattle_kernels::{Format, reference};

use crate::common::{Rng, rows_of};

/// Different tokens in a batch.
const DISTINCT: usize = 8;

/// Of millions of normally distributed errors none is as far out: 7 sigma is one in 10^11.
const SIGMAS: f64 = 7.0;

/// Weights whose squares are summed together; no rounding has a smaller block.
const PIECE: usize = 32;

/// What a contender does to the activations before it multiplies.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rounding {
    /// Nothing.
    None,
    /// To floats of as many significant bits.
    #[cfg_attr(
        not(feature = "ggml"),
        expect(dead_code, reason = "only ggml rounds activations so")
    )]
    Float {
        /// Significant bits, the implicit one included.
        bits: i32,
    },
    /// To int8, a scale for each block, the largest becoming 127; the scale itself may be rounded to f16.
    Int8 {
        /// Activations with one scale; a last block may be shorter.
        block: usize,
    },
}

/// A product to compute.
pub(crate) struct Case {
    pub(crate) format: Format,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    /// Rows as a file holds them.
    pub(crate) weights: Vec<u8>,
    /// `(tokens, cols)`.
    pub(crate) x: Vec<f32>,
    /// The different tokens, `(distinct, cols)`.
    distinct: Vec<f32>,
    /// Their products in f64, `(distinct, rows)`.
    want: Vec<f64>,
    /// Sums of the squares of [`PIECE`] weights, `(rows, cols / PIECE)`.
    squares: Vec<f64>,
}

impl Case {
    pub(crate) fn new(format: Format, [rows, cols]: [usize; 2], tokens: usize) -> Self {
        let mut rng = Rng(1);
        let weights = rows_of(format, rows, cols, &mut rng);
        let distinct = rng.floats(tokens.min(DISTINCT) * cols);
        let x = (0..tokens)
            .flat_map(|t| token(&distinct, cols, place(t, tokens)).to_vec())
            .collect();
        let w = reference::weights(format, &weights, rows, cols);
        Self {
            format,
            rows,
            cols,
            weights,
            x,
            want: reference::matmul(&w, &distinct, cols),
            squares: pieces(&w).collect(),
            distinct,
        }
    }

    /// Holds `out`, `(tokens, rows)`, against the reference.
    pub(crate) fn check(&self, who: &str, rounding: Rounding, out: &[f32]) {
        let tokens = self.x.len() / self.cols;
        assert_eq!(out.len(), tokens * self.rows, "{who}: answers");
        let bounds: Vec<Vec<f64>> = (0..tokens.min(DISTINCT))
            .map(|t| self.bounds(token(&self.distinct, self.cols, t), rounding))
            .collect();
        for (t, out) in out.chunks(self.rows).enumerate() {
            let same = place(t, tokens);
            let want = &self.want[same * self.rows..][..self.rows];
            for (r, (out, want)) in out.iter().zip(want).enumerate() {
                let error = (f64::from(*out) - want).abs();
                let bound = bounds[same][r];
                assert!(
                    error <= bound,
                    "{who}, {} {}x{}, token {t} of {tokens}, row {r}: {out}, not {want}: off by {error}, allowed is {bound}",
                    self.format.name(),
                    self.rows,
                    self.cols,
                );
            }
        }
    }

    /// How far an answer for that token may be off, row by row.
    fn bounds(&self, x: &[f32], rounding: Rounding) -> Vec<f64> {
        let variances = rounding.variances(x);
        let x_norm = pieces(x).sum::<f64>().sqrt();
        let lost = (self.cols + 8) as f64 * 2f64.powi(-24) * x_norm;
        self.squares
            .chunks(variances.len())
            .map(|squares| {
                let noise: f64 = squares.iter().zip(&variances).map(|(w, v)| w * v).sum();
                SIGMAS * noise.sqrt() + lost * squares.iter().sum::<f64>().sqrt()
            })
            .collect()
    }
}

impl Rounding {
    /// The variance of an activation's error, for each [`PIECE`].
    fn variances(self, x: &[f32]) -> Vec<f64> {
        // An error of at most `half` on either side, each as likely.
        let uniform = |half: f64| half * half / 3.0;
        let largest = |x: &[f32]| f64::from(x.iter().fold(0f32, |m, x| m.max(x.abs())));
        match self {
            Self::None => vec![0.0; x.len() / PIECE],
            Self::Float { bits } => x
                .chunks(PIECE)
                .map(|x| uniform(largest(x) * 2f64.powi(-bits)))
                .collect(),
            Self::Int8 { block } => x
                .chunks(block)
                .flat_map(|x| {
                    let step = uniform(largest(x) / 254.0);
                    // A scale in f16 is off by up to 2^-11, and with it the sum of the piece.
                    pieces(x).map(move |square| step + square * uniform(2f64.powi(-11)))
                })
                .collect(),
        }
    }
}

/// Which of the different tokens stands at place `t` of a batch.
fn place(t: usize, tokens: usize) -> usize {
    let distinct = tokens.min(DISTINCT);
    (t + t / distinct) % distinct
}

fn token(x: &[f32], cols: usize, t: usize) -> &[f32] {
    &x[t * cols..][..cols]
}

/// Sums of squares, piece by piece.
fn pieces(x: &[f32]) -> impl Iterator<Item = f64> + '_ {
    x.chunks(PIECE).map(|x| reference::dot(x, x))
}
