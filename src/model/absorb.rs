//! Splits the key and value projections of a legacy file into the two stacks that absorbed attention needs.
//!
//! A legacy tensor holds, for each head, `nope` rows that map a latent row to the head's key, then `v` rows that map it to the
//! value. The value rows serve as they are. Absorption multiplies by the *transposed* key rows, so these are decoded, transposed and
//! encoded again: floats in their own format, everything else as `Q8_0`, or as F16 where rows are no whole blocks. The copy
//! is small: 30 MB for DeepSeek-V2-Lite.

use std::sync::Arc;

use wattle_kernels::{Format, Isa, encode};

use super::matrix::{Bytes, Matrix, Stack};

/// `(k_b, v_b)` of `kv_b`, `(heads * (nope + v), rank)`.
///
/// # Panics
/// When `kv_b` has another number of rows.
pub(crate) fn split_kv_b(
    isa: Isa,
    kv_b: &Matrix,
    heads: usize,
    nope: usize,
    v: usize,
) -> (Stack, Stack) {
    assert_eq!(kv_b.rows(), heads * (nope + v), "rows of attn_kv_b");
    let rank = kv_b.cols();
    let format = transposed_format(kv_b.format(), nope);
    let row_bytes = format
        .row_bytes(nope)
        .expect("the format was chosen for these rows");
    let mut bytes = vec![0; heads * rank * row_bytes];
    let mut key = vec![0.0; nope * rank];
    let mut row = vec![0.0; nope];
    for (head, out) in bytes.chunks_exact_mut(rank * row_bytes).enumerate() {
        for (i, key) in key.chunks_exact_mut(rank).enumerate() {
            kv_b.decode_row(head * (nope + v) + i, key);
        }
        for (r, out) in out.chunks_exact_mut(row_bytes).enumerate() {
            for (i, value) in row.iter_mut().enumerate() {
                *value = key[i * rank + r];
            }
            encode(format, &row, None, out);
        }
    }
    let bytes = Bytes::Owned(Arc::from(bytes));
    let k_b = Matrix::new(isa, format, heads * rank, nope, bytes)
        .and_then(|matrix| Stack::new(matrix, 0, rank, rank, heads));
    let v_b = Stack::new(kv_b.clone(), nope, nope + v, v, heads);
    match (k_b, v_b) {
        (Some(k_b), Some(v_b)) => (k_b, v_b),
        _ => unreachable!("both stacks lie inside the rows counted above"),
    }
}

/// Bytes that `split_kv_b` leaves of `attn_kv_b` in `source`, `(heads * (nope + v), rank)`: keys stored anew, and values. `None` when rows are no
/// whole blocks, or too many.
#[must_use]
pub fn split_bytes(
    source: Format,
    rank: usize,
    heads: usize,
    nope: usize,
    v: usize,
) -> Option<usize> {
    let keys = transposed_format(source, nope).row_bytes(nope)?;
    let keys = heads.checked_mul(rank)?.checked_mul(keys)?;
    let values = heads.checked_mul(v)?.checked_mul(source.row_bytes(rank)?)?;
    keys.checked_add(values)
}

/// How the transposed key rows, `cols` wide, are stored.
fn transposed_format(source: Format, cols: usize) -> Format {
    match source {
        Format::F32 | Format::F16 | Format::Bf16 => source,
        _ if cols.is_multiple_of(32) => Format::Q8_0,
        _ => Format::F16,
    }
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::*;

    /// `rows` rows of `Q4_0`: blocks of an f16 scale and 16 bytes that look random.
    fn q4_0(rows: usize, cols: usize) -> Matrix {
        let mut bytes = Vec::new();
        let mut noise = 1_u32;
        for block in 0..rows * cols / 32 {
            let scale = f16::from_f32(0.01 * (1 + block % 5) as f32);
            bytes.extend_from_slice(&scale.to_le_bytes());
            for _ in 0..16 {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                bytes.push(noise.to_be_bytes()[0]);
            }
        }
        let bytes = Bytes::Owned(Arc::from(bytes));
        Matrix::new(Isa::best(), Format::Q4_0, rows, cols, bytes).expect("whole rows")
    }

    /// What old quantised files go through: key rows are transposed and stored anew, value rows stay where they are.
    #[test]
    fn quantised_projections_are_split_and_transposed() {
        let (heads, v, rank) = (3, 8, 64);
        // Half a step of the new format, and the rounding of its scale to f16, both relative to the largest of a row.
        let q8_0 = 0.5 / 127.0 + 1.0 / 2048.0;
        for (nope, format, bound) in [(32, Format::Q8_0, q8_0), (24, Format::F16, 1.0 / 2048.0)] {
            let kv_b = q4_0(heads * (nope + v), rank);
            let (k_b, v_b) = split_kv_b(Isa::best(), &kv_b, heads, nope, v);
            assert_eq!((k_b.format(), v_b.format()), (format, Format::Q4_0));
            let bytes = heads * (k_b.bytes_each() + v_b.bytes_each());
            assert_eq!(split_bytes(Format::Q4_0, rank, heads, nope, v), Some(bytes));
            assert_eq!((k_b.count(), k_b.rows(), k_b.cols()), (heads, rank, nope));
            let mut row = vec![0.0; rank];
            for head in 0..heads {
                let (keys, values) = (k_b.decode(head), v_b.decode(head));
                for i in 0..nope {
                    kv_b.decode_row(head * (nope + v) + i, &mut row);
                    for (r, want) in row.iter().enumerate() {
                        let transposed = &keys[r * nope..][..nope];
                        let largest = transposed.iter().fold(0_f32, |m, x| m.max(x.abs()));
                        let error = (transposed[i] - want).abs();
                        assert!(error <= bound * largest, "head {head}, {i}, {r}: {error}");
                    }
                }
                for i in 0..v {
                    kv_b.decode_row(head * (nope + v) + nope + i, &mut row);
                    assert_eq!(
                        values[i * rank..][..rank],
                        row,
                        "head {head}, value row {i}"
                    );
                }
            }
        }
    }
}
