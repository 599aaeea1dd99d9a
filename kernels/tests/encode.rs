//! Encoding: never worse than ggml's quantisers (`data/quant/make.py` recorded what these lose), and sound on rows of any kind.

#[path = "common/weights.rs"]
mod weights;

use std::fmt::Write as _;

use wattle_kernels::{Format, decode, encode};
use weights::Rng;

/// What `decode` makes of what `encode` makes of `x`.
fn through(format: Format, x: &[f32], importance: Option<&[f32]>) -> Vec<f32> {
    let bytes = format.row_bytes(x.len()).expect("whole blocks");
    let (mut block, mut back) = (vec![0; bytes], vec![0.0; x.len()]);
    encode(format, x, importance, &mut block);
    decode(format, &block, &mut back);
    back
}

/// `sum(w (x - back)^2) / sum(w x^2)`, as `make.py` computes it.
fn loss(x: &[f32], back: &[f32], w: impl Fn(usize) -> f64) -> f64 {
    let (mut error, mut size) = (0.0, 0.0);
    for (i, (x, back)) in x.iter().zip(back).enumerate() {
        let (x, back) = (f64::from(*x), f64::from(*back));
        error += w(i) * (x - back) * (x - back);
        size += w(i) * x * x;
    }
    error / size
}

/// The rows of `make.py`.
mod rows {
    use super::Rng;

    pub(super) const COLS: usize = 1536;
    const COUNT: usize = 24 * COLS;

    fn uniform(rng: &mut Rng) -> f64 {
        (rng.next() >> 40) as f64 / f64::from(1 << 24)
    }

    fn gauss(rng: &mut Rng) -> f64 {
        (0..12).fold(0.0, |sum, _| sum + uniform(rng)) - 6.0
    }

    /// The three kinds, and the importance of a column.
    pub(super) fn all() -> ([(&'static str, Vec<f32>); 3], Vec<f32>) {
        let rng = &mut Rng(20_261_123);
        let even = (0..COUNT).map(|_| gauss(rng) as f32).collect();
        let heavy = |rng: &mut Rng| {
            let (a, b) = (gauss(rng), gauss(rng));
            (a * b * b * b) as f32
        };
        let heavy = (0..COUNT).map(|_| heavy(rng)).collect();
        let fourth = |u: f64| (u * u * u * u + 1e-3) as f32;
        let importance = (0..COLS).map(|_| fourth(uniform(rng))).collect();
        let real = include_bytes!("data/quant/real.f16")
            .as_chunks()
            .0
            .iter()
            .map(|bytes| half::f16::from_le_bytes(*bytes).to_f32())
            .collect();
        (
            [("gauss", even), ("heavy", heavy), ("real", real)],
            importance,
        )
    }
}

#[test]
fn loses_no_more_than_ggml() {
    let (kinds, importance) = rows::all();
    let (mut table, mut worse) = (String::new(), 0);
    for line in include_str!("data/quant/ggml.tsv").lines() {
        let mut fields = line.split('\t');
        let mut field = || fields.next().expect("three fields");
        let (name, label, theirs) = (field(), field(), field().parse::<f64>().expect("a number"));
        let format = Format::ALL
            .iter()
            .find(|f| f.name() == name)
            .expect("known");
        let (kind, weighted) = match label.strip_suffix(" weighted") {
            Some(kind) => (kind, true),
            None => (label, false),
        };
        let x = &kinds
            .iter()
            .find(|k| k.0 == kind)
            .expect("a kind of rows")
            .1;
        let tiled: Vec<f32> = (0..x.len()).map(|i| importance[i % rows::COLS]).collect();
        let back = through(*format, x, weighted.then_some(&tiled));
        let ours = loss(
            x,
            &back,
            |i| if weighted { f64::from(tiled[i]) } else { 1.0 },
        );
        let verdict = if ours <= theirs * (1.0 + 1e-6) {
            ""
        } else {
            "WORSE"
        };
        worse += usize::from(!verdict.is_empty());
        let ratio = ours / theirs;
        writeln!(
            table,
            "{name:7} {label:15} {ours:.4e} {theirs:.4e} {ratio:.4} {verdict}"
        )
        .expect("a string takes it");
    }
    assert_eq!(worse, 0, "format, rows, our loss, ggml's, ratio:\n{table}");
    if std::env::var_os("SHOW").is_some() {
        println!("{table}");
    }
}
