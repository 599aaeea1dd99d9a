//! Matrices laid out for products in f32 registers, and that product.
//!
//! One factor lies in **strips**: sixteen of its rows side by side, column by column, so that a load takes eight rows and the lanes of
//! a register are rows. The other lies in **bands** of six rows, whose numbers are broadcast:
//!
//! ```text
//!   strips  [rows / 16][columns][16]         bands  [rows / 6][columns][6]
//! ```
//!
//! A band times a strip is 6 x 16 sums in 12 registers of 8 floats (24 of 4), and a step along the columns is 12 multiply-adds for two
//! loads and six broadcasts: the multipliers are the limit, not the loads. What is missing of a last strip or band is zeros.

use super::attend::{Elem, Elems, Rows, last};
use crate::Isa;
use crate::simd::{Simd, SimdOp, each};

/// Rows of a strip.
pub const STRIP: usize = 16;
/// Rows of a band.
pub const BAND: usize = 6;

/// Part of the columns of some strips.
#[derive(Clone, Copy, Debug)]
pub struct Strips<'a> {
    /// `[strips][columns][STRIP]`
    pub data: &'a [f32],
    /// Columns that a strip has.
    pub columns: usize,
    /// The first of them that is meant.
    pub start: usize,
    /// How many are meant.
    pub width: usize,
}

impl<'a> Strips<'a> {
    /// The columns of strip `i`.
    #[inline(always)]
    pub(crate) fn strip(&self, i: usize) -> &'a [[f32; STRIP]] {
        let at = (i * self.columns + self.start) * STRIP;
        self.data[at..][..self.width * STRIP].as_chunks().0
    }

    /// Checks that `n` strips are there.
    pub(crate) fn check(&self, n: usize) {
        assert!(
            self.start + self.width <= self.columns && n * self.columns * STRIP <= self.data.len(),
            "{n} strips of columns {} to {} in {} numbers, {} columns each",
            self.start,
            self.start + self.width,
            self.data.len(),
            self.columns
        );
    }
}

/// Floats of a matrix of `rows` rows in strips.
#[must_use]
pub const fn strips_len(rows: usize, columns: usize) -> usize {
    rows.div_ceil(STRIP) * STRIP * columns
}

/// Floats of a matrix of `rows` rows in bands.
#[must_use]
pub const fn bands_len(rows: usize, columns: usize) -> usize {
    rows.div_ceil(BAND) * BAND * columns
}

/// Lays rows out in strips.
///
/// # Panics
/// If `out` is not `strips_len(rows.n, rows.width)` long, or the rows do not fit into their data.
pub fn lay(isa: Isa, rows: Rows<'_>, out: &mut [f32]) {
    rows.check();
    assert_eq!(
        out.len(),
        strips_len(rows.n, rows.width),
        "lay: room for whole strips"
    );
    match rows.data {
        Elems::F16(data) => isa.dispatch(Lay::<_, STRIP> { data, rows, out }),
        Elems::F32(data) => isa.dispatch(Lay::<_, STRIP> { data, rows, out }),
    }
}

/// Lays rows out in bands.
///
/// # Panics
/// If `out` is not `bands_len(rows.n, rows.width)` long, or the rows do not fit into their data.
pub fn lay_bands(isa: Isa, rows: Rows<'_>, out: &mut [f32]) {
    rows.check();
    assert_eq!(
        out.len(),
        bands_len(rows.n, rows.width),
        "lay_bands: room for whole bands"
    );
    match rows.data {
        Elems::F16(data) => isa.dispatch(Lay::<_, BAND> { data, rows, out }),
        Elems::F32(data) => isa.dispatch(Lay::<_, BAND> { data, rows, out }),
    }
}

/// Makes `row` row `i` of the strips `out`.
///
/// # Panics
/// If there is no such row.
pub fn strip_row(i: usize, row: &[f32], out: &mut [f32]) {
    let size = STRIP * row.len();
    let strip = out[i / STRIP * size..][..size].as_chunks_mut::<STRIP>().0;
    for (out, x) in strip.iter_mut().zip(row) {
        out[i % STRIP] = *x;
    }
}

/// Makes `factor * row` row `i` of the bands `out`.
///
/// # Panics
/// If there is no such row.
pub fn band_row(i: usize, row: &[f32], factor: f32, out: &mut [f32]) {
    let size = BAND * row.len();
    let band = out[i / BAND * size..][..size].as_chunks_mut::<BAND>().0;
    for (out, x) in band.iter_mut().zip(row) {
        out[i % BAND] = factor * x;
    }
}

/// Makes `column` column `i` of `columns` of the bands `out`; what is missing of the last band becomes zeros.
///
/// # Panics
/// If there is no such column, or the bands are not those of `column.len()` rows.
pub fn band_column(i: usize, columns: usize, column: &[f32], out: &mut [f32]) {
    assert!(i < columns, "column {i} of {columns}");
    assert_eq!(
        out.len(),
        bands_len(column.len(), columns),
        "band_column: bands"
    );
    let bands = out.chunks_exact_mut(BAND * columns);
    for (band, x) in bands.zip(column.chunks(BAND)) {
        let at = &mut band[i * BAND..][..BAND];
        at.fill(0.0);
        at[..x.len()].copy_from_slice(x);
    }
}

/// `out[i][j] = bands[j] . rows[i]`: the products of `width` rows in bands with each row in strips, in strips again.
///
/// # Panics
/// If `bands` is not `width` rows as long as those of `rows`, or `out` holds other strips than `rows`.
pub fn product(isa: Isa, bands: &[f32], width: usize, rows: Strips<'_>, out: &mut [f32]) {
    assert_eq!(
        bands.len(),
        bands_len(width, rows.width),
        "product: bands as wide as the rows"
    );
    assert!(
        width > 0 && out.len().is_multiple_of(STRIP * width),
        "product: whole strips of results"
    );
    rows.check(out.len() / (STRIP * width));
    isa.dispatch(Product {
        bands,
        width,
        rows,
        out,
    });
}

/// Six by sixteen sums.
pub(crate) type Sums<S> = [[<S as Simd>::F; 2]; BAND];

/// `sums[i] += sum over the columns of band[column][i] * strip[column]`.
#[inline(always)]
pub(crate) fn multiply<S: Simd>(
    s: S,
    band: &[[f32; BAND]],
    strip: &[[f32; STRIP]],
    mut sums: Sums<S>,
) -> Sums<S> {
    for (x, row) in band.iter().zip(strip) {
        let row = row.as_chunks::<8>().0;
        let row = [s.load(&row[0]), s.load(&row[1])];
        for i in 0..BAND {
            let x = s.splat(x[i]);
            sums[i] = [s.fma(x, row[0], sums[i][0]), s.fma(x, row[1], sums[i][1])];
        }
    }
    sums
}

/// Stores eight and eight.
#[inline(always)]
pub(crate) fn store<S: Simd>(s: S, x: [S::F; 2], out: &mut [f32; STRIP]) {
    let out = out.as_chunks_mut::<8>().0;
    s.store(x[0], &mut out[0]);
    s.store(x[1], &mut out[1]);
}

struct Product<'a> {
    bands: &'a [f32],
    width: usize,
    rows: Strips<'a>,
    out: &'a mut [f32],
}

impl SimdOp for Product<'_> {
    type Output = ();

    /// A strip stays in the first cache while the bands pass over it.
    #[inline(always)]
    fn eval<S: Simd>(self, s: S) {
        let strips = self.out.as_chunks_mut::<STRIP>().0;
        for (i, out) in strips.chunks_exact_mut(self.width).enumerate() {
            let strip = self.rows.strip(i);
            let bands = self.bands.as_chunks::<BAND>().0;
            let bands = bands.chunks_exact(self.rows.width.max(1));
            for (band, out) in bands.zip(out.chunks_mut(BAND)) {
                let zero = s.splat(0.0);
                let sums = multiply(s, band, strip, [[zero; 2]; BAND]);
                for (out, sum) in out.iter_mut().zip(sums) {
                    store(s, sum, out);
                }
            }
        }
    }
}

/// Rows side by side, `N` at a time.
struct Lay<'a, E, const N: usize> {
    data: &'a [E],
    rows: Rows<'a>,
    out: &'a mut [f32],
}

impl<E: Elem, const N: usize> SimdOp for Lay<'_, E, N> {
    type Output = ();

    /// Eight columns at a time.
    #[inline(always)]
    fn eval<S: Simd>(self, s: S) {
        let Rows {
            stride,
            start,
            width,
            n,
            ..
        } = self.rows;
        for (group, out) in self.out.chunks_exact_mut(N * width).enumerate() {
            let out = out.as_chunks_mut::<N>().0;
            for (c, out) in out.chunks_mut(8).enumerate() {
                let mut block = [[0.0; 8]; N];
                for (i, eight) in block.iter_mut().enumerate().take(n - group * N) {
                    let row = &self.data[(group * N + i) * stride + start..][..width][8 * c..];
                    let x = match row.first_chunk() {
                        Some(x) => E::eight(s, x),
                        None => last(s, row),
                    };
                    s.store(x, eight);
                }
                for (k, out) in out.iter_mut().enumerate() {
                    *out = each!(N, |i| block[i][k]);
                }
            }
        }
    }
}
