//! Ranks cached rows for sparse attention: `sum_h counts_h * max(query_h . row, 0)` (DeepSeek-V3.2, section 2.1).
//!
//! A row is read and converted once for [`HEADS`] heads.

use super::attend::{Elem, Elems, HEADS, Rows, score};
use crate::Isa;
use crate::simd::{Simd, SimdOp};

/// The rank of each row; `query` is heads x width.
///
/// # Panics
/// If the lengths do not fit each other.
pub fn rank(isa: Isa, query: &[f32], counts: &[f32], rows: Rows<'_>, out: &mut [f32]) {
    rows.check();
    assert_eq!(
        query.len(),
        counts.len() * rows.width,
        "rank: queries as wide as rows"
    );
    assert_eq!(out.len(), rows.n, "rank: a rank for each row");
    match rows.data {
        Elems::F16(data) => isa.dispatch(Rank {
            query,
            counts,
            data,
            rows,
            out,
        }),
        Elems::F32(data) => isa.dispatch(Rank {
            query,
            counts,
            data,
            rows,
            out,
        }),
    }
}

struct Rank<'a, E> {
    query: &'a [f32],
    counts: &'a [f32],
    data: &'a [E],
    rows: Rows<'a>,
    out: &'a mut [f32],
}

impl<E: Elem> SimdOp for Rank<'_, E> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, s: S) {
        let Rows {
            stride,
            start,
            width,
            ..
        } = self.rows;
        let (fours, ones) = self.counts.as_chunks::<HEADS>();
        for (i, out) in self.out.iter_mut().enumerate() {
            let row = &self.data[i * stride + start..][..width];
            // Zero and not minus zero, which is another rank.
            *out = 0.0;
            for (h, counts) in fours.iter().enumerate() {
                let products = score::<S, E, HEADS>(s, &self.query[h * HEADS * width..], row);
                for (product, count) in products.iter().zip(counts) {
                    *out += count * product.max(0.0);
                }
            }
            for (h, count) in (fours.len() * HEADS..).zip(ones) {
                let [product] = score::<S, E, 1>(s, &self.query[h * width..], row);
                *out += count * product.max(0.0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{reference, store_f16};
    use std::vec;
    use std::vec::Vec;

    #[test]
    fn ranks_are_weighted_sums_of_what_is_above_zero() {
        let wave = |k: usize| ((k as f32 * 0.7).sin() * 64.0).round() / 64.0;
        for (heads, width, n) in [(1, 8, 1), (6, 20, 33), (8, 128, 5), (3, 7, 64)] {
            let query: Vec<f32> = (0..heads * width).map(wave).collect();
            let keys: Vec<f32> = (0..n * width).map(|k| wave(3 * k + 1)).collect();
            let counts: Vec<f32> = (0..heads).map(|h| wave(11 * h + 5)).collect();
            let want = reference::rank(&query, &counts, &keys, width);
            for isa in Isa::available() {
                let mut halves = vec![0; keys.len()];
                store_f16(isa, &keys, &mut halves);
                for data in [Elems::F32(&keys), Elems::F16(&halves)] {
                    let rows = Rows {
                        data,
                        stride: width,
                        start: 0,
                        width,
                        n,
                    };
                    let mut out = vec![f32::NAN; n];
                    rank(isa, &query, &counts, rows, &mut out);
                    for (out, want) in out.iter().zip(&want) {
                        // No number is above 1; as many roundings as additions follow each other.
                        let (size, roundings) = (heads * width, width / 8 + heads + 8);
                        let bound = (size * roundings) as f64 / f64::from(1 << 24);
                        let off = (f64::from(*out) - want).abs();
                        assert!(off <= bound, "{}: {out} is not {want}", isa.name());
                    }
                }
            }
        }
    }
}
