//! Speed of the products: bytes of weights per second, for every format and instruction set, for one token (decode) and
//! for sixteen (prefill, where the weights pass once for every four tokens). Each answer is held against the reference before it is timed.
//!
//! `cargo bench -p wattle-kernels -- Q4_K/avx2`

#![expect(missing_docs, reason = "`criterion_group!` makes a public function")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use wattle_kernels::{Acts, Format, Isa, plan, quantize, reference, scale_len, sum_len};

#[path = "../tests/common/weights.rs"]
mod common;

/// A panel's worth of rows, small enough for the second-level cache: what the core can do, not what the memory can.
const ROWS: usize = 64;
const COLS: usize = 2048;

fn products(c: &mut Criterion) {
    let mut rng = common::Rng(1);
    for tokens in [1, 16] {
        let mut group = c.benchmark_group(format!("matmul_{tokens}"));
        for &format in Format::ALL {
            let weights = common::rows_of(format, ROWS, COLS, &mut rng);
            let x = rng.floats(tokens * COLS);
            let w = reference::weights(format, &weights, ROWS, COLS);
            let wanted = reference::matmul(&w, &x, COLS);
            let size = reference::matmul(
                &w.iter().map(|w| w.abs()).collect::<Vec<_>>(),
                &x.iter().map(|x| x.abs()).collect::<Vec<_>>(),
                COLS,
            );
            group.throughput(Throughput::Bytes(
                (weights.len() * tokens.div_ceil(4)) as u64,
            ));
            for isa in Isa::available() {
                let (mut q, mut scales) = (vec![0; x.len()], vec![0.0; tokens * scale_len(COLS)]);
                let mut sums = vec![0; tokens * sum_len(COLS)];
                quantize(isa, &x, COLS, &mut q, &mut scales, &mut sums);
                let acts = Acts::new(COLS, &x, &q, &scales, &sums);
                let kernel = plan(isa, format);
                let mut out = vec![0.0; tokens * ROWS];
                let mut run = || {
                    kernel.matmul(black_box(&weights), ROWS, &acts, &mut |t, r, values| {
                        out[t * ROWS + r..][..values.len()].copy_from_slice(values);
                    });
                };
                run();
                group.bench_function(BenchmarkId::new(format.name(), isa.name()), |b| {
                    b.iter(&mut run)
                });
                for ((out, want), size) in out.iter().zip(&wanted).zip(&size) {
                    // int8 activations: half a step of 1/127 of a block's largest.
                    let error = (f64::from(*out) - want).abs();
                    assert!(
                        error <= 0.08 * size,
                        "{} on {}: {out}, not {want}",
                        format.name(),
                        isa.name()
                    );
                }
            }
        }
        group.finish();
    }
}

criterion_group!(benches, products);
criterion_main!(benches);
