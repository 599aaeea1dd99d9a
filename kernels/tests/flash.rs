//! Blocked attention and the layouts that it rests on, on every instruction set of this CPU and around every edge of a band, a strip and
//! a block, against the plain f64 reference.

#[path = "common/weights.rs"]
#[expect(dead_code, reason = "these tests need no quantised weights")]
mod common;

use common::Rng;
use wattle_kernels::{Elems, Isa, Rows, flash, reference, strips};

/// Widths of a case: numbers of a key that are the head's own, that are shared, and of a value.
#[derive(Clone, Copy)]
struct Shape {
    own: usize,
    shared: usize,
    v: usize,
}

fn rows(data: &[f32], width: usize) -> Rows<'_> {
    Rows {
        data: Elems::F32(data),
        stride: width,
        start: 0,
        width,
        n: data.len() / width,
    }
}

fn laid(isa: Isa, data: &[f32], width: usize) -> Vec<f32> {
    let mut out = vec![f32::NAN; strips::strips_len(data.len() / width, width)];
    strips::lay(isa, rows(data, width), &mut out);
    out
}

fn banded(data: &[f32], width: usize, factor: f32) -> Vec<f32> {
    let mut out = vec![0.0; strips::bands_len(data.len() / width, width)];
    for (i, row) in data.chunks_exact(width).enumerate() {
        strips::band_row(i, row, factor, &mut out);
    }
    out
}

/// A matrix of `rows` columns: `data` transposed.
fn transposed(data: &[f32], width: usize) -> Vec<f32> {
    (0..data.len())
        .map(|i| data[i % (data.len() / width) * width + i / (data.len() / width)])
        .collect()
}

/// What `queries` find among `past` tokens and their own, blocks of `size` keys at a time.
fn attend(
    isa: Isa,
    shape: Shape,
    [queries, own, shared, values]: [&[f32]; 4],
    scale: f32,
    size: usize,
) -> Vec<f32> {
    let Shape { v, .. } = shape;
    let context = values.len() / v;
    let tokens = queries.len() / (shape.own + shape.shared);
    let past = context - tokens;
    let bands = banded(queries, shape.own + shape.shared, scale);
    let mut state = vec![f32::NAN; tokens.div_ceil(strips::BAND) * flash::state_len(v)];
    flash::begin(v, &mut state);
    for before in (0..context).step_by(size) {
        let n = size.min(context - before);
        let cut = |data: &[f32], width: usize| data[before * width..][..n * width].to_vec();
        let own = laid(isa, &cut(own, shape.own), shape.own);
        // The shared part lies behind other columns.
        let wide: Vec<f32> = cut(shared, shape.shared)
            .chunks_exact(shape.shared)
            .flat_map(|row| [&[f32::NAN; 3], row].concat())
            .collect();
        let shared = laid(isa, &wide, shape.shared + 3);
        let values = laid(isa, &transposed(&cut(values, v), v), n);
        let part = |data, columns, start, width| strips::Strips {
            data,
            columns,
            start,
            width,
        };
        let block = flash::Block {
            keys: [
                part(&own, shape.own, 0, shape.own),
                part(&shared, shape.shared + 3, 3, shape.shared),
            ],
            values: part(&values, n, 0, n),
            before,
            past,
        };
        flash::attend(isa, &bands, block, v, &mut state);
    }
    let mut out = vec![f32::NAN; tokens * v];
    for (i, out) in out.chunks_exact_mut(v).enumerate() {
        flash::finish(&state, i, out);
    }
    out
}

/// Largest error of all queries, relative to the largest value.
fn worst(isa: Isa, shape: Shape, past: usize, tokens: usize, spread: f32, size: usize) -> f64 {
    let mut rng = Rng((past * 1000 + tokens) as u64);
    let context = past + tokens;
    let width = shape.own + shape.shared;
    let mut floats =
        |n: usize, factor: f32| -> Vec<f32> { rng.floats(n).iter().map(|x| factor * x).collect() };
    let queries = floats(tokens * width, spread);
    let own = floats(context * shape.own, spread);
    let shared = floats(context * shape.shared, spread);
    let values = floats(context * shape.v, spread);
    let scale = 1.0 / (width as f32 * 40.0);
    let got = attend(isa, shape, [&queries, &own, &shared, &values], scale, size);
    let size = values.iter().fold(0_f32, |m, x| m.max(x.abs()));
    let keys: Vec<Vec<f32>> = own
        .chunks_exact(shape.own)
        .zip(shared.chunks_exact(shape.shared))
        .map(|(a, b)| [a, b].concat())
        .collect();
    let values: Vec<Vec<f32>> = values.chunks_exact(shape.v).map(<[f32]>::to_vec).collect();
    let mut worst = 0_f64;
    for (t, (q, got)) in queries
        .chunks_exact(width)
        .zip(got.chunks_exact(shape.v))
        .enumerate()
    {
        let seen = past + t + 1;
        let want = reference::attention(q, &keys[..seen], &values[..seen], f64::from(scale));
        for (want, got) in want.iter().zip(got) {
            let error = (want - f64::from(*got)).abs() / f64::from(size);
            assert!(!error.is_nan(), "{}: {got} for {want}", isa.name());
            worst = worst.max(error);
        }
    }
    worst
}

const SHAPES: [Shape; 3] = [
    Shape {
        own: 12,
        shared: 6,
        v: 20,
    },
    Shape {
        own: 1,
        shared: 1,
        v: 1,
    },
    Shape {
        own: 33,
        shared: 8,
        v: 48,
    },
];

/// Scores stay below 50, so that their rounding, 2^-24 of a score for each of `own + shared` steps, moves no weight by 1e-5 of it.
#[test]
fn blocked_attention_is_the_reference_around_every_edge() {
    for isa in Isa::available() {
        for shape in SHAPES {
            for tokens in [1, 5, 6, 7, 17] {
                for past in [0, 1, 14, 15, 16, 111, 127, 128, 250] {
                    let error = worst(isa, shape, past, tokens, 1.0, flash::BLOCK_KEYS);
                    let name = isa.name();
                    assert!(error < 1e-5, "{name}: {tokens} after {past}: {error:e}");
                }
            }
        }
    }
}

/// Scores of 1e10, where a weight is 1 or 0: all that may go wrong is infinity.
#[test]
fn large_numbers_stay_numbers() {
    for isa in Isa::available() {
        for shape in SHAPES {
            let error = worst(isa, shape, 130, 20, 1e4, flash::BLOCK_KEYS);
            assert!(error < 2e-3, "{}: {error:e}", isa.name());
        }
    }
}

/// A query's bits depend on the blocks alone: not on the other queries of its call, nor on what it must not see.
#[test]
fn a_query_alone_is_as_among_others() {
    let shape = SHAPES[0];
    let (width, past, tokens) = (shape.own + shape.shared, 120, 20);
    let mut rng = Rng(5);
    let mut floats = |n| rng.floats((past + tokens) * n);
    let (own, shared, values) = (floats(shape.own), floats(shape.shared), floats(shape.v));
    let queries = floats(width);
    let queries = &queries[..tokens * width];
    for isa in Isa::available() {
        let size = flash::BLOCK_KEYS;
        let all = attend(isa, shape, [queries, &own, &shared, &values], 0.1, size);
        for t in [0, 3, 7, 8, tokens - 1] {
            let seen = past + t + 1;
            let one = attend(
                isa,
                shape,
                [
                    &queries[t * width..][..width],
                    &own[..seen * shape.own],
                    &shared[..seen * shape.shared],
                    &values[..seen * shape.v],
                ],
                0.1,
                size,
            );
            assert_eq!(one, all[t * shape.v..][..shape.v], "{}: {t}", isa.name());
        }
    }
}

#[test]
fn products_of_bands_and_strips_are_inner_products() {
    let mut rng = Rng(6);
    for (n, columns, width) in [(1, 1, 1), (16, 8, 6), (17, 33, 7), (40, 100, 20)] {
        let data = rng.floats(n * columns);
        let weights = rng.floats(width * columns);
        for isa in Isa::available() {
            let mut bands = vec![f32::NAN; strips::bands_len(width, columns)];
            for c in 0..columns {
                let column: Vec<f32> = weights.iter().skip(c).step_by(columns).copied().collect();
                strips::band_column(c, columns, &column, &mut bands);
            }
            assert_eq!(bands, banded(&weights, columns, 1.0), "by rows, by columns");
            let laid = laid(isa, &data, columns);
            let mut by_rows = vec![0.0; laid.len()];
            for (i, row) in data.chunks_exact(columns).enumerate() {
                strips::strip_row(i, row, &mut by_rows);
            }
            assert_eq!(laid, by_rows, "{}: at once, by rows", isa.name());
            let rows = strips::Strips {
                data: &laid,
                columns,
                start: 0,
                width: columns,
            };
            let mut out = vec![f32::NAN; strips::strips_len(n, width)];
            strips::product(isa, &bands, width, rows, &mut out);
            for (at, got) in out.iter().enumerate() {
                let i = at / (width * strips::STRIP) * strips::STRIP + at % strips::STRIP;
                let j = at / strips::STRIP % width;
                if i >= n {
                    assert_eq!(*got, 0.0, "{}: past the end", isa.name());
                    continue;
                }
                let (a, b) = (&data[i * columns..], &weights[j * columns..]);
                let (a, b) = (&a[..columns], &b[..columns]);
                let size: f32 = a.iter().zip(b).map(|(a, b)| (a * b).abs()).sum();
                let error = (reference::dot(a, b) - f64::from(*got)).abs();
                let bound = f64::from(size) * (columns + 1) as f64 / f64::from(1 << 24) + 1e-30;
                assert!(error <= bound, "{}: row {i}, {j}: {error:e}", isa.name());
            }
        }
    }
}

#[test]
fn rows_come_out_of_f16_as_they_are() {
    let (width, stride, n) = (11, 14, 19);
    let halves: Vec<u16> = (0..n * stride).map(|i| 0x3c00 + i as u16).collect();
    for isa in Isa::available() {
        let rows = Rows {
            data: Elems::F16(&halves),
            stride,
            start: 2,
            width,
            n,
        };
        let mut bands = vec![f32::NAN; strips::bands_len(n, width)];
        strips::lay_bands(isa, rows, &mut bands);
        let mut strips = vec![f32::NAN; strips::strips_len(n, width)];
        strips::lay(isa, rows, &mut strips);
        for (i, c) in (0..n).flat_map(|i| (0..width).map(move |c| (i, c))) {
            let want = half::f16::from_bits(halves[i * stride + 2 + c]).to_f32();
            for (out, size) in [(&strips, strips::STRIP), (&bands, strips::BAND)] {
                let at = (i / size * width + c) * size + i % size;
                assert_eq!(out[at], want, "{}: row {i}, {c} of {size}", isa.name());
            }
        }
        let missing = bands.chunks_exact(strips::BAND).rev().take(width);
        let missing: f32 = missing.flat_map(|band| &band[n % strips::BAND..]).sum();
        assert_eq!(missing, 0.0, "{}: rows that are not there", isa.name());
    }
}
