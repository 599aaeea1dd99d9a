//! The yardstick: whole products of real shapes on one thread, from f32 activations to f32 results; with the feature `ggml`, ours
//! beside ggml's on the same weights and activations in the same process.
//!
//! ```text
//!   gemv/ROWSxCOLS/FORMAT/WHO    one token: bytes of weights a second
//!   gemm/TOKENS/FORMAT/WHO       2 to 512 tokens times 2048 x 2048: multiplications a second
//! ```
//!
//! WHO is `ours`, `ggml` (weights as in the file) or `ggml-repacked` (interleaved as llama.cpp loads them, where it does). Every
//! answer is held against the reference before it is timed; `cargo test --bench yardstick` does only that.
//!
//! `cargo bench -p wattle-kernels --features ggml --bench yardstick -- gemv/2048x2048/Q4_0`; `WATTLE_ISA` caps ours, and
//! `WATTLE_GGML_FLAGS` at build time theirs.

#![expect(missing_docs, reason = "`criterion_group!` makes a public function")]

use std::cell::LazyCell;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use criterion::{criterion_group, criterion_main};
use wattle_kernels::Format;

#[path = "yardstick/case.rs"]
mod case;
#[path = "../tests/common/weights.rs"]
mod common;
#[path = "yardstick/ours.rs"]
mod ours;
#[cfg(feature = "ggml")]
#[path = "yardstick/theirs.rs"]
mod theirs;

use case::{Case, Rounding};

/// Rows and columns: a projection of DeepSeek-V2-Lite, an expert's gate, and its down (whose 1408 columns no superblock divides).
const GEMV: [[usize; 2]; 3] = [[2048, 2048], [1408, 2048], [2048, 1408]];

/// Speculation and small batches, a small prompt, and a whole one.
const GEMM: [usize; 5] = [2, 4, 8, 64, 512];

/// Whoever multiplies a case.
trait Contender {
    /// The product, from f32 activations on.
    fn compute(&mut self);

    /// Its result, `(tokens, rows)`.
    fn out(&self) -> &[f32];
}

/// A contender of one format: its name, how it rounds activations, and how it gets ready for a case.
struct Entry {
    name: &'static str,
    rounding: Rounding,
    make: fn(&Case) -> Box<dyn Contender>,
}

/// Ours, and ggml's when it is there.
fn entries(format: Format) -> Vec<Entry> {
    #[cfg(feature = "ggml")]
    let theirs = theirs::entries(format);
    #[cfg(not(feature = "ggml"))]
    let theirs = None;
    std::iter::once(ours::entry(format)).chain(theirs).collect()
}

/// Checks and times everybody on one case; what the filter leaves out is not even made.
fn contest(
    group: &mut BenchmarkGroup<'_, WallTime>,
    format: Format,
    shape: [usize; 2],
    tokens: usize,
) {
    let case = LazyCell::new(|| Case::new(format, shape, tokens));
    for entry in entries(format) {
        let mut ready = None;
        group.bench_function(BenchmarkId::new(format.name(), entry.name), |bencher| {
            let contender = ready.get_or_insert_with(|| {
                let mut made = (entry.make)(&case);
                made.compute();
                case.check(entry.name, entry.rounding, made.out());
                made
            });
            bencher.iter(|| contender.compute());
        });
    }
}

fn gemv(c: &mut Criterion) {
    for [rows, cols] in GEMV {
        let mut group = c.benchmark_group(format!("gemv/{rows}x{cols}"));
        for &format in Format::ALL {
            if let Some(row) = format.row_bytes(cols) {
                group.throughput(Throughput::BytesDecimal((rows * row) as u64));
                contest(&mut group, format, [rows, cols], 1);
            }
        }
        group.finish();
    }
}

fn gemm(c: &mut Criterion) {
    let [rows, cols] = GEMV[0];
    for tokens in GEMM {
        let mut group = c.benchmark_group(format!("gemm/{tokens}"));
        group.throughput(Throughput::Elements((rows * cols * tokens) as u64));
        for &format in Format::ALL {
            contest(&mut group, format, [rows, cols], tokens);
        }
        group.finish();
    }
}

/// Says who competes.
fn about(_: &mut Criterion) {
    eprintln!("ours on {}", ours::isa().name());
    #[cfg(feature = "ggml")]
    eprintln!("{}, {}", wattle_ggml_sys::SOURCE, wattle_ggml_sys::FLAGS);
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = about, gemv, gemm
}
criterion_main!(benches);
