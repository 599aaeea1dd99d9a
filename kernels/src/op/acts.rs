//! Activations, and their quantisation to int8.
//!
//! A block of 32 activations becomes int8 with one f32 scale, `d = max|x| / 127`, rounded to nearest (ties to even); no value is
//! -128, on which the integer kernels rely. With it come the sums that formats with a minimum or an offset need,
//! `d * sum(q)` over 32 and over 16, so that a row pays one multiplication for its minimum and not 32; and, for products that start
//! from what a constant offset of the weights comes to, `sum(q)` itself.
//!
//! All companions of a row lie together, `scale_len(cols)` floats and `sum_len(cols)` integers in all:
//!
//! ```text
//!   scales   d: cols/32 | s32: cols/32 | s16: cols/16        sums   q32: cols/32 | q16: cols/16
//! ```
//!
//! A block that holds an infinity or NaN gets the scale NaN, so that what is wrong stays visible in the result.

use super::pieces::piece_len;
use crate::Isa;
use crate::simd::{Simd, SimdOp};

/// Activations in a block.
const BLOCK: usize = 32;

/// Floats that go with a row of `cols` quantised activations: scales and sums.
pub const fn scale_len(cols: usize) -> usize {
    cols / BLOCK * 4
}

/// Integers that go with a row of `cols` quantised activations: sums.
pub const fn sum_len(cols: usize) -> usize {
    cols / BLOCK * 3
}

/// Rows of activations, one a token, for [`crate::matmul`].
#[derive(Clone, Copy, Debug)]
pub struct Acts<'a> {
    cols: usize,
    tokens: usize,
    x: &'a [f32],
    q: &'a [i8],
    scales: &'a [f32],
    sums: &'a [i32],
    /// The same with one scale for a piece, and these scales.
    pieces: (&'a [i8], &'a [f32]),
}

impl<'a> Acts<'a> {
    /// Activations with their int8 form, as [`quantize`] makes it: `x` and `q` are `tokens x cols`, `scales` is
    /// `tokens x scale_len(cols)`, `sums` is `tokens x sum_len(cols)`.
    ///
    /// # Panics
    /// If the lengths do not fit each other, or `cols` is not a multiple of 32.
    pub fn new(
        cols: usize,
        x: &'a [f32],
        q: &'a [i8],
        scales: &'a [f32],
        sums: &'a [i32],
    ) -> Acts<'a> {
        let acts = Acts {
            q,
            scales,
            sums,
            ..Acts::floats(cols, x)
        };
        assert!(
            cols.is_multiple_of(BLOCK),
            "{cols} columns are not whole blocks of {BLOCK}"
        );
        assert_eq!(q.len(), x.len(), "as many int8 activations as f32 ones");
        assert_eq!(
            scales.len(),
            acts.tokens * scale_len(cols),
            "scales and sums of all tokens"
        );
        assert_eq!(
            sums.len(),
            acts.tokens * sum_len(cols),
            "integer sums of all tokens"
        );
        acts
    }

    /// Activations for the float formats only (see [`crate::Format::needs_int8`]); any number of columns.
    ///
    /// # Panics
    /// If `cols` is 0 or `x` is not whole rows.
    pub fn floats(cols: usize, x: &'a [f32]) -> Acts<'a> {
        assert!(cols > 0, "a row of activations has columns");
        assert!(
            x.len().is_multiple_of(cols),
            "{} activations are not whole rows of {cols}",
            x.len()
        );
        Acts {
            cols,
            tokens: x.len() / cols,
            x,
            q: &[],
            scales: &[],
            sums: &[],
            pieces: (&[], &[]),
        }
    }

    /// The same activations with their second int8 form beside the first, as [`quantize_pieces`](crate::quantize_pieces) makes it: `q` is
    /// `tokens x cols`, `scales` is `tokens x piece_len(cols)`. Products of many tokens take it, and are faster and coarser then;
    /// those of a few tokens, and those of rows that are in no tiles, stay what they are.
    ///
    /// # Panics
    /// If the lengths do not fit, or there is no first form.
    #[must_use]
    pub fn with_pieces(self, q: &'a [i8], scales: &'a [f32]) -> Acts<'a> {
        assert!(self.has_int8(), "pieces come beside the first int8 form");
        assert_eq!(
            q.len(),
            self.x.len(),
            "as many int8 activations as f32 ones"
        );
        assert_eq!(
            scales.len(),
            self.tokens * piece_len(self.cols),
            "scales of the pieces of all tokens"
        );
        let pieces = (q, scales);
        Acts { pieces, ..self }
    }

    /// Numbers in a row.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Rows.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Whether the int8 form is there.
    pub fn has_int8(&self) -> bool {
        !self.q.is_empty() || self.tokens == 0
    }

    /// Whether the second int8 form is there.
    pub(crate) fn has_pieces(&self) -> bool {
        !self.pieces.0.is_empty()
    }

    /// The second int8 form of a token: by 32 columns, and a scale and a sum of each piece.
    #[inline(always)]
    pub(crate) fn pieces(&self, token: usize) -> (&'a [[i8; BLOCK]], &'a [[f32; 2]]) {
        let (q, scales) = self.pieces;
        let each = piece_len(self.cols);
        (
            q[token * self.cols..][..self.cols].as_chunks().0,
            scales[token * each..][..each].as_chunks().0,
        )
    }

    /// The rows of tokens `start .. start + n`.
    ///
    /// # Panics
    /// If there are not as many.
    pub fn rows(&self, start: usize, n: usize) -> Acts<'a> {
        let cut = |width: usize| start * width..(start + n) * width;
        let (q, scales, sums) = if self.q.is_empty() {
            (self.q, self.scales, self.sums)
        } else {
            (
                &self.q[cut(self.cols)],
                &self.scales[cut(scale_len(self.cols))],
                &self.sums[cut(sum_len(self.cols))],
            )
        };
        let pieces = if self.has_pieces() {
            let (q, scales) = self.pieces;
            (&q[cut(self.cols)], &scales[cut(piece_len(self.cols))])
        } else {
            self.pieces
        };
        Acts {
            cols: self.cols,
            tokens: n,
            x: &self.x[cut(self.cols)],
            q,
            scales,
            sums,
            pieces,
        }
    }

    /// `T` rows from `start`, as the kernels read them; the last one again where there are no more.
    #[inline(always)]
    pub(crate) fn group<const T: usize>(&self, start: usize) -> [Act<'a>; T] {
        let mut out = [Act {
            x: &[],
            q: &[],
            d: &[],
            s32: &[],
            s16: &[],
            q32: &[],
            q16: &[],
        }; T];
        for t in 0..T {
            let row = self.rows((start + t).min(self.tokens() - 1), 1);
            let n = row.q.len() / BLOCK;
            let (d, sums) = row.scales.split_at(n);
            let (s32, s16) = sums.split_at(n);
            let (q32, q16) = row.sums.split_at(n);
            out[t] = Act {
                x: row.x,
                q: row.q.as_chunks().0,
                d,
                s32,
                s16,
                q32,
                q16,
            };
        }
        out
    }
}

/// One token's activations.
#[derive(Clone, Copy)]
pub(crate) struct Act<'a> {
    /// As they were.
    pub(crate) x: &'a [f32],
    /// As int8, by the block.
    pub(crate) q: &'a [[i8; 32]],
    /// A block's scale.
    pub(crate) d: &'a [f32],
    /// Scale times sum, per block.
    pub(crate) s32: &'a [f32],
    /// Scale times sum, per half of a block.
    pub(crate) s16: &'a [f32],
    /// Sum, per block.
    pub(crate) q32: &'a [i32],
    /// Sum, per half of a block.
    pub(crate) q16: &'a [i32],
}

impl Act<'_> {
    /// `n` blocks of each from `first` on: after this the compiler knows the lengths and checks no index below `n`.
    #[inline(always)]
    pub(crate) fn cut<const T: usize>(acts: &[Self; T], first: usize, n: usize) -> [Self; T] {
        let mut out = *acts;
        for a in &mut out {
            a.q = &a.q[first..][..n];
            a.d = &a.d[first..][..n];
            a.s32 = &a.s32[first..][..n];
            a.s16 = &a.s16[2 * first..][..2 * n];
            a.q32 = &a.q32[first..][..n];
            a.q16 = &a.q16[2 * first..][..2 * n];
        }
        out
    }
}

/// Quantises rows of `cols` activations: `q` as long as `x`, `scales` `scale_len(cols)` and `sums` `sum_len(cols)` a row.
///
/// # Panics
/// If the lengths do not fit each other, or `cols` is not a multiple of 32.
pub fn quantize(
    isa: Isa,
    x: &[f32],
    cols: usize,
    q: &mut [i8],
    scales: &mut [f32],
    sums: &mut [i32],
) {
    assert!(
        cols > 0 && cols.is_multiple_of(BLOCK),
        "{cols} columns are not whole blocks of {BLOCK}"
    );
    assert!(
        x.len().is_multiple_of(cols),
        "{} activations are not whole rows of {cols}",
        x.len()
    );
    assert_eq!(q.len(), x.len(), "as many int8 activations as f32 ones");
    assert_eq!(
        scales.len(),
        x.len() / cols * scale_len(cols),
        "scales and sums of all tokens"
    );
    assert_eq!(
        sums.len(),
        x.len() / cols * sum_len(cols),
        "integer sums of all tokens"
    );
    let rows = x.chunks_exact(cols).zip(q.chunks_exact_mut(cols));
    let companions = scales
        .chunks_exact_mut(scale_len(cols))
        .zip(sums.chunks_exact_mut(sum_len(cols)));
    for ((x, q), (scales, sums)) in rows.zip(companions) {
        isa.dispatch(Quantize { x, q, scales, sums });
    }
}

/// Quantises one row.
struct Quantize<'a> {
    x: &'a [f32],
    q: &'a mut [i8],
    scales: &'a mut [f32],
    sums: &'a mut [i32],
}

impl SimdOp for Quantize<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, s: S) {
        let n = self.x.len() / BLOCK;
        let (d, sums) = self.scales.split_at_mut(n);
        let (s32, s16) = sums.split_at_mut(n);
        let (s16, _) = s16.as_chunks_mut::<2>();
        let (q32, q16) = self.sums.split_at_mut(n);
        let (q16, _) = q16.as_chunks_mut::<2>();
        let (x, _) = self.x.as_chunks::<8>();
        let (x, _) = x.as_chunks::<4>();
        let (q, _) = self.q.as_chunks_mut::<BLOCK>();
        let integers = q32.iter_mut().zip(q16);
        for (((((x, q), d), s32), s16), (q32, q16)) in
            x.iter().zip(q).zip(d).zip(s32).zip(s16).zip(integers)
        {
            let (scale, [low, high]) = block(s, x, q);
            (*q32, *q16) = (low + high, [low, high]);
            *d = scale;
            *s32 = scale * (low + high) as f32;
            *s16 = [scale * low as f32, scale * high as f32];
        }
    }
}

/// Quantises 32 activations; their scale, and the sums of the two halves of `q`.
#[inline(always)]
fn block<S: Simd>(s: S, x: &[[f32; 8]; 4], q: &mut [i8; 32]) -> (f32, [i32; 2]) {
    let x = [s.load(&x[0]), s.load(&x[1]), s.load(&x[2]), s.load(&x[3])];
    let (mut largest, mut flaw) = (s.splat(0.0), s.splat(0.0));
    for x in x {
        largest = s.max(s.abs(x), largest);
        flaw = s.fma(x, s.splat(0.0), flaw);
    }
    // Zero times a finite number is zero, times an infinity or NaN it is NaN.
    let flaw = s.sum(flaw);
    let d = if flaw == 0.0 {
        s.max_lane(largest) / 127.0
    } else {
        f32::NAN
    };
    let inverse = if d > 0.0 { 1.0 / d } else { 0.0 };
    if inverse.is_finite() && inverse > 0.0 {
        let scale = s.splat(inverse);
        let limit = s.splat(127.0);
        let lowest = s.splat(-127.0);
        let [x0, x1, x2, x3] = x;
        let scaled = |x| s.max(lowest, s.min(limit, s.mul(x, scale)));
        (
            d,
            s.round_i8([scaled(x0), scaled(x1), scaled(x2), scaled(x3)], q),
        )
    } else {
        // All zero, too small to divide by (below 2^-121 or so), or flawed.
        q.fill(0);
        (if flaw == 0.0 { 0.0 } else { f32::NAN }, [0; 2])
    }
}
