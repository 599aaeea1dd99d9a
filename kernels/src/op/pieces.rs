//! Activations for int8 panels: one scale for a *piece* of [`PIECE`] columns, so that integer sums run over all of it.
//!
//! A row's last piece has the columns that are left. As in [`acts`](super::acts), `d = max|x| / 127`, rounded to nearest (ties to
//! even), and a piece that holds an infinity or NaN gets the scale NaN. Beside the scale lies the sum of the piece's integers,
//! which f32 holds exactly:
//!
//! ```text
//!   piece 0: d, sum | piece 1: d, sum | ...
//! ```

use crate::Isa;
use crate::simd::{Simd, SimdOp, each};

/// Columns that share a scale, of activations and of panels.
pub const PIECE: usize = 256;
/// Columns that are rounded together.
const BLOCK: usize = 32;

/// Floats that go with a row of `cols` activations in pieces: a scale and a sum for each.
pub const fn piece_len(cols: usize) -> usize {
    cols.div_ceil(PIECE) * 2
}

/// Quantises rows of `cols` activations with one scale a piece: `q` as long as `x`, `scales` [`piece_len`] a row.
///
/// # Panics
/// If the lengths do not fit each other, or `cols` is not a multiple of 32.
pub fn quantize_pieces(isa: Isa, x: &[f32], cols: usize, q: &mut [i8], scales: &mut [f32]) {
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
        x.len() / cols * piece_len(cols),
        "scales of the pieces of all tokens"
    );
    let rows = x.chunks_exact(cols).zip(q.chunks_exact_mut(cols));
    for ((x, q), scales) in rows.zip(scales.chunks_exact_mut(piece_len(cols))) {
        isa.dispatch(Quantize { x, q, scales });
    }
}

/// Quantises one row.
struct Quantize<'a> {
    x: &'a [f32],
    q: &'a mut [i8],
    scales: &'a mut [f32],
}

impl SimdOp for Quantize<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, s: S) {
        let pieces = self.x.chunks(PIECE).zip(self.q.chunks_mut(PIECE));
        for ((x, q), scale) in pieces.zip(self.scales.as_chunks_mut::<2>().0) {
            *scale = piece(s, x.as_chunks().0, q);
        }
    }
}

/// Quantises a piece; its scale, and the sum of `q`.
#[inline(always)]
fn piece<S: Simd>(s: S, x: &[[f32; 8]], q: &mut [i8]) -> [f32; 2] {
    // Four at a time, as a maximum waits for the one before.
    let mut largest = [s.splat(0.0); 4];
    let mut flaw = [s.splat(0.0); 4];
    for x in x.as_chunks::<4>().0 {
        for i in 0..4 {
            let x = s.load(&x[i]);
            largest[i] = s.max(s.abs(x), largest[i]);
            // Zero times a finite number is zero, times an infinity or NaN it is NaN.
            flaw[i] = s.fma(x, s.splat(0.0), flaw[i]);
        }
    }
    let [a, b] = each!(2, |i| s.max(largest[2 * i], largest[2 * i + 1]));
    let largest = s.max_lane(s.max(a, b));
    let flaw = s.sum(s.add(s.add(flaw[0], flaw[1]), s.add(flaw[2], flaw[3])));
    let d = largest / 127.0;
    let inverse = if flaw == 0.0 && d > 0.0 { 1.0 / d } else { 0.0 };
    if !(inverse.is_finite() && inverse > 0.0) {
        // All zero, too small to divide by (below 2^-121 or so), or flawed.
        q.fill(0);
        return [if flaw == 0.0 { 0.0 } else { f32::NAN }, 0.0];
    }
    let (scale, limit, lowest) = (s.splat(inverse), s.splat(127.0), s.splat(-127.0));
    let mut sum = 0;
    for (x, q) in x
        .as_chunks::<4>()
        .0
        .iter()
        .zip(q.as_chunks_mut::<BLOCK>().0)
    {
        let scaled = each!(4, |i| {
            let x = s.mul(s.load(&x[i]), scale);
            s.max(lowest, s.min(limit, x))
        });
        let [low, high] = s.round_i8(scaled, q);
        sum += low + high;
    }
    [d, sum as f32]
}
