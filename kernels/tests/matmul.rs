//! Products of every format, on every instruction set of this CPU, by rows and by tiles, against the plain f64 reference.

#[path = "common/weights.rs"]
mod common;

use common::{Rng, rows_of};
use wattle_kernels::{
    Acts, Format, Isa, TILE_ROWS, decode, matmul, pack, plan, quantize, reference, scale_len,
    sum_len, tile_bytes, unpack,
};

/// Rows and columns to try: one block, several, more rows than a panel, tails for the formats that have them.
fn sizes(format: Format) -> Vec<(usize, usize)> {
    match format.block() {
        1 => vec![(1, 1), (3, 7), (2, 8), (2, 31), (17, 33), (2, 100)],
        32 => vec![(1, 32), (3, 96), (17, 64), (2, 576)],
        _ => vec![(1, 256), (17, 512), (2, 768)],
    }
}

/// A product and how large its terms are.
struct Product {
    value: f64,
    /// The sum of |w| |x|, and for the offset formats of the larger unsigned weights: what rounding errors are relative to.
    size: f64,
}

/// Weights times activations as the kernels see them: int8 with scales, or f32.
fn expected(format: Format, weights: &[u8], rows: usize, x: &[f32], cols: usize) -> Vec<Product> {
    let w = reference::weights(format, weights, rows, cols);
    let seen: Vec<f32> = if format.needs_int8() {
        let (mut q, mut scales) = (
            vec![0; x.len()],
            vec![0.0; x.len() / cols * scale_len(cols)],
        );
        // Every instruction set quantises to the same bits: tests/ops.rs.
        let mut sums = vec![0; x.len() / cols * sum_len(cols)];
        quantize(Isa::best(), x, cols, &mut q, &mut scales, &mut sums);
        q.iter()
            .enumerate()
            .map(|(i, q)| f32::from(*q) * scales[i / cols * scale_len(cols) + i % cols / 32])
            .collect()
    } else {
        x.to_vec()
    };
    let values = reference::matmul(&w, &seen, cols);
    // Formats with an offset sum unsigned weights first and take the offset off after, so rounding is relative to the block's
    // step times its largest q. That is within a factor of 2 of the largest |w| of a block that uses its range, as random bits
    // do.
    let block = format.block().max(32);
    let largest: Vec<f32> = w
        .chunks(cols)
        .flat_map(|row| {
            row.chunks(block).flat_map(|b| {
                let m = b.iter().fold(0.0_f32, |m, w| m.max(w.abs()));
                std::iter::repeat_n(m, b.len())
            })
        })
        .collect();
    let absolute: Vec<f32> = seen.iter().map(|x| x.abs()).collect();
    let sizes = reference::matmul(&largest, &absolute, cols);
    values
        .into_iter()
        .zip(sizes)
        .map(|(value, size)| Product { value, size })
        .collect()
}

fn run(isa: Isa, format: Format, weights: &[u8], rows: usize, x: &[f32], cols: usize) -> Vec<f32> {
    let tokens = x.len() / cols;
    let mut out = vec![f32::NAN; tokens * rows];
    if format.needs_int8() {
        let (mut q, mut scales) = (vec![0; x.len()], vec![0.0; tokens * scale_len(cols)]);
        let mut sums = vec![0; tokens * sum_len(cols)];
        quantize(isa, x, cols, &mut q, &mut scales, &mut sums);
        matmul(
            isa,
            format,
            weights,
            rows,
            &Acts::new(cols, x, &q, &scales, &sums),
            &mut out,
        );
    } else {
        matmul(isa, format, weights, rows, &Acts::floats(cols, x), &mut out);
    }
    out
}

/// The same product with the weights in tiles; `None` for formats of floats.
fn run_tiles(
    isa: Isa,
    format: Format,
    weights: &[u8],
    rows: usize,
    x: &[f32],
    cols: usize,
) -> Option<Vec<f32>> {
    let tiles = tiles_of(format, weights, rows, cols)?;
    let tokens = x.len() / cols;
    let (mut q, mut scales) = (vec![0; x.len()], vec![0.0; tokens * scale_len(cols)]);
    let mut sums = vec![0; tokens * sum_len(cols)];
    quantize(isa, x, cols, &mut q, &mut scales, &mut sums);
    let mut out = vec![f32::NAN; tokens * rows];
    let acts = Acts::new(cols, x, &q, &scales, &sums);
    plan(isa, format).multiply_tiles(&tiles, rows, &acts, &mut |t, r, values| {
        out[t * rows + r..][..values.len()].copy_from_slice(values);
    });
    Some(out)
}

fn tiles_of(format: Format, weights: &[u8], rows: usize, cols: usize) -> Option<Vec<u8>> {
    let bytes = tile_bytes(format, cols)?;
    let mut tiles = vec![0xee; rows.div_ceil(TILE_ROWS) * bytes];
    for (rows, tile) in weights.chunks(bytes).zip(tiles.chunks_mut(bytes)) {
        pack(format, cols, rows, tile);
    }
    Some(tiles)
}

#[test]
fn a_packed_row_comes_out_as_it_went_in() {
    let mut rng = Rng(10);
    let mut packed = 0;
    for &format in Format::ALL {
        for (rows, cols) in sizes(format) {
            let weights = rows_of(format, rows, cols, &mut rng);
            let Some(tiles) = tiles_of(format, &weights, rows, cols) else {
                continue;
            };
            packed += 1;
            let row_bytes = weights.len() / rows;
            let mut back = vec![0; row_bytes];
            for (r, row) in weights.chunks(row_bytes).enumerate() {
                let tile = &tiles[r / TILE_ROWS * row_bytes * TILE_ROWS..][..row_bytes * TILE_ROWS];
                unpack(format, cols, tile, r % TILE_ROWS, &mut back);
                assert_eq!(back, row, "{}: row {r} of {rows}x{cols}", format.name());
            }
        }
    }
    assert!(packed > 40, "{packed} sizes of formats in tiles");
}

/// Many tokens go over unpacked panels, a few do not; panels end inside of long rows, strips of sums inside of many tokens.
#[test]
fn tiles_are_the_reference_and_no_token_depends_on_the_others() {
    let mut rng = Rng(11);
    for &format in Format::ALL {
        let block = format.block().max(32);
        for (rows, cols, tokens) in [(9, 768, 11), (3, 2048 + block, 9), (8, block, 150)] {
            let weights = rows_of(format, rows, cols, &mut rng);
            let x = rng.floats(tokens * cols);
            let expected = expected(format, &weights, rows, &x, cols);
            for isa in Isa::available() {
                let Some(out) = run_tiles(isa, format, &weights, rows, &x, cols) else {
                    continue;
                };
                let name = format!("{} on {}, {rows}x{cols}", format.name(), isa.name());
                check(&name, &out, &expected, cols);
                for n in [1, 2, 4, 6, 9] {
                    let start = tokens - n;
                    let few = run_tiles(isa, format, &weights, rows, &x[start * cols..], cols);
                    assert_eq!(
                        few.as_deref(),
                        Some(&out[start * rows..]),
                        "{name}: the last {n} tokens alone"
                    );
                }
            }
        }
    }
}

/// Rounding: a product goes through at most `cols / 4 / 32` additions into one lane, a handful of roundings before and eight
/// after, each of half an ulp (2^-24) of at most the size so far. The offset adds a second such sum.
fn bound(cols: usize, size: f64) -> f64 {
    let steps = cols as f64 / 16.0 + 24.0;
    size * steps * 2.0_f64.powi(-24)
}

/// Asserts that every product is within the bound.
fn check(name: &str, out: &[f32], expected: &[Product], cols: usize) {
    assert_eq!(out.len(), expected.len(), "{name}");
    for (i, (out, want)) in out.iter().zip(expected).enumerate() {
        let (error, bound) = ((f64::from(*out) - want.value).abs(), bound(cols, want.size));
        assert!(
            error <= bound,
            "{name}, product {i}: {out}, not {}, off by {:.1} times the bound",
            want.value,
            error / bound
        );
    }
}

#[test]
fn every_format_on_every_isa_is_the_reference() {
    let mut rng = Rng(7);
    for &format in Format::ALL {
        for (rows, cols) in sizes(format) {
            for tokens in [1, 2, 3, 4, 7] {
                let weights = rows_of(format, rows, cols, &mut rng);
                let x = rng.floats(tokens * cols);
                let expected = expected(format, &weights, rows, &x, cols);
                for isa in Isa::available() {
                    let name = format!(
                        "{} on {}, {rows}x{cols}, {tokens} tokens",
                        format.name(),
                        isa.name()
                    );
                    let out = run(isa, format, &weights, rows, &x, cols);
                    check(&name, &out, &expected, cols);
                    if let Some(out) = run_tiles(isa, format, &weights, rows, &x, cols) {
                        check(&format!("{name}, in tiles"), &out, &expected, cols);
                    }
                }
            }
        }
    }
}

#[test]
fn split_rows_and_single_tokens_give_the_same_bits() {
    let mut rng = Rng(8);
    for &format in Format::ALL {
        for (rows, cols) in sizes(format) {
            let weights = rows_of(format, rows, cols, &mut rng);
            let x = rng.floats(7 * cols);
            let row_bytes = weights.len() / rows;
            for isa in Isa::available() {
                let whole = run(isa, format, &weights, rows, &x, cols);
                for t in 0..7 {
                    let one = run(isa, format, &weights, rows, &x[t * cols..][..cols], cols);
                    assert_eq!(
                        one,
                        whole[t * rows..][..rows],
                        "{} on {}: token {t} alone",
                        format.name(),
                        isa.name()
                    );
                }
                for r in 0..rows {
                    let row = run(
                        isa,
                        format,
                        &weights[r * row_bytes..][..row_bytes],
                        1,
                        &x,
                        cols,
                    );
                    let column: Vec<f32> = whole.iter().skip(r).step_by(rows).copied().collect();
                    assert_eq!(
                        row,
                        column,
                        "{} on {}: row {r} alone",
                        format.name(),
                        isa.name()
                    );
                }
            }
        }
    }
}

#[test]
fn flawed_activations_stay_visible() {
    let mut rng = Rng(9);
    for &format in Format::ALL {
        let cols = 256;
        let weights = rows_of(format, 1, cols, &mut rng);
        let mut w = vec![0.0; cols];
        decode(format, &weights, &mut w);
        for flaw in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut x = rng.floats(cols);
            x[77] = flaw;
            for isa in Isa::available() {
                let out = run(isa, format, &weights, 1, &x, cols);
                assert!(
                    !out[0].is_finite(),
                    "{} on {} hides {flaw}",
                    format.name(),
                    isa.name()
                );
                if let Some(out) = run_tiles(isa, format, &weights, 1, &x, cols) {
                    assert!(
                        !out[0].is_finite(),
                        "{} on {}, in tiles, hides {flaw}",
                        format.name(),
                        isa.name()
                    );
                }
            }
        }
    }
}

#[test]
#[should_panic(expected = "Q4_K: bytes of 2 rows of 256")]
fn a_short_matrix_is_refused() {
    run(Isa::best(), Format::Q4K, &[0; 287], 2, &[0.0; 256], 256);
}

#[test]
#[should_panic(expected = "Q6_K: 288 columns are not whole blocks")]
fn half_a_block_is_refused() {
    run(Isa::best(), Format::Q6K, &[0; 210], 1, &[0.0; 288], 288);
}

#[test]
#[should_panic(expected = "Q8_0 multiplies int8 activations")]
fn missing_int8_is_refused() {
    let mut out = [0.0];
    matmul(
        Isa::best(),
        Format::Q8_0,
        &[0; 34],
        1,
        &Acts::floats(32, &[0.0; 32]),
        &mut out,
    );
}
