//! Encoding: never worse than ggml's quantisers (`data/quant/make.py` recorded what these lose), and sound on rows of any kind.

#[path = "common/weights.rs"]
#[expect(dead_code, reason = "the rows of these tests are its own kinds")]
mod weights;

use std::fmt::Write as _;

use proptest::prelude::*;
use wattle_kernels::{Format, decode, encode};
use weights::{Rng, rows_of};

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

/// The formats that store values as they are, to f16 or better.
const FLOATS: [Format; 3] = [Format::F32, Format::F16, Format::Bf16];

#[test]
fn zeros_stay_zeros() {
    for format in Format::ALL {
        for zero in [0.0, -0.0] {
            let back = through(*format, &[zero; 512], None);
            assert!(back.iter().all(|v| *v == 0.0), "{}", format.name());
        }
    }
}

/// One level serves these rows, so only the rounding of scales is lost; the unequal steps of MXFP4 lose more, and `IQ4_NL` and
/// `IQ4_XS` have no zero, only a hundredth of their largest.
#[test]
fn a_constant_and_a_single_weight_survive() {
    for format in Format::ALL {
        let bound = match format {
            Format::Mxfp4 => 0.04,
            Format::Iq4Nl | Format::Iq4Xs => 0.02,
            Format::Bf16 => 1.0 / 65536.0,
            _ => 4e-6,
        };
        for value in [3.7, -3.7] {
            let mut single = [0.0; 256];
            single[77] = value;
            for x in [[value; 256], single] {
                let lost = loss(&x, &through(*format, &x, None), |_| 1.0);
                assert!(lost <= bound, "{}: {value}, {lost:e}", format.name());
            }
        }
    }
}

#[test]
fn what_no_scale_holds_becomes_the_largest() {
    for format in Format::ALL {
        for huge in [1e30, -1e30, f32::INFINITY, f32::MAX] {
            let mut x = [0.0; 256];
            x[5] = huge;
            x[9] = f32::NAN;
            let back = through(*format, &x, None);
            let name = format.name();
            assert!(back.iter().all(|v| v.is_finite()), "{name}: {huge:e}");
            assert!(back[5].signum() == huge.signum(), "{name}: {huge:e}");
            assert!(back[5].abs() >= 65504.0, "{name}: {huge:e}, {:e}", back[5]);
        }
        let tiny = [1e-42; 256];
        let back = through(*format, &tiny, None);
        assert!(back.iter().all(|v| v.abs() <= 2e-42), "{}", format.name());
    }
}

/// With importance, the error that counts is smaller and the other may grow; columns without any stay in the range of their row.
#[test]
fn importance_moves_the_error() {
    let (kinds, importance) = rows::all();
    let x = &kinds[0].1[..rows::COLS];
    let rare: Vec<f32> = importance
        .iter()
        .map(|v| if *v > 0.1 { *v } else { 0.0 })
        .collect();
    let w = |i: usize| f64::from(rare[i]);
    for format in Format::ALL.iter().filter(|f| !FLOATS.contains(f)) {
        let (with, without) = (through(*format, x, Some(&rare)), through(*format, x, None));
        let name = format.name();
        assert!(loss(x, &with, w) < loss(x, &without, w), "{name}");
        assert!(with.iter().all(|v| v.abs() < 8.0), "{name}: range");
        let none = through(*format, x, Some(&vec![0.0; x.len()]));
        assert_eq!(none, without, "{name}: importance that says nothing");
    }
}

/// Makes of random bits a block that an encoder may have written.
fn as_encoders_write(format: Format, block: &mut [u8]) {
    // Steps go upwards from a minimum below zero, and every block reaches its lowest and its highest level, and one
    // between them that no coarser step meets.
    let whole_range = |levels: &mut [u8], every: usize| {
        for block in levels.chunks_exact_mut(every) {
            (block[0], block[1], block[2]) = (0, 0xff, 0x55);
        }
    };
    match format {
        // Level -128 is left out, here as in ggml.
        Format::Q8_0 => {
            for q in &mut block[2..] {
                *q = if *q == 128 { 129 } else { *q };
            }
        }
        Format::Q4K => {
            (block[1], block[3]) = (block[1] & 0x7f, block[3] & 0x7f);
            whole_range(&mut block[16..], 32);
        }
        Format::Q5K => {
            (block[1], block[3]) = (block[1] & 0x7f, block[3] & 0x7f);
            whole_range(&mut block[16..], 32);
        }
        // Without the lowest level, which has no opposite, the sign of a scale would be open, and -128 and -32 have none either.
        Format::Q3K => whole_range(&mut block[..96], 16),
        Format::Q6K => whole_range(&mut block[..192], 16),
        Format::Q2K => {
            (block[81], block[83]) = (block[81] & 0x7f, block[83] & 0x7f);
            whole_range(&mut block[16..80], 16);
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// What a block holds, it holds again.
    #[test]
    fn decoded_blocks_encode_to_themselves(seed: u64) {
        for format in Format::ALL {
            let mut blocks = rows_of(*format, 1, 512, &mut Rng(seed));
            for block in blocks.chunks_exact_mut(format.block_bytes()) {
                as_encoders_write(*format, block);
            }
            let mut x = vec![0.0; 512];
            decode(*format, &blocks, &mut x);
            let back = through(*format, &x, None);
            if format.block() < 256 {
                let other = x.iter().zip(&back).position(|(x, back)| x != back);
                prop_assert_eq!(other, None, "{}", format.name());
            } else {
                let lost = loss(&x, &back, |_| 1.0);
                prop_assert!(lost <= 1e-6, "{}: {:e}", format.name(), lost);
            }
        }
    }

    /// Any bits at all, in the weights and in the importance: the blocks are finite.
    #[test]
    fn any_row_encodes(seed: u64, spread in 0_u32..3) {
        let mut rng = Rng(seed);
        let mut any = |_| match spread {
            0 => f32::from_bits(rng.next() as u32),
            1 => f32::from_bits(rng.next() as u32 & 0x80ff_ffff),
            _ => rng.float() * f32::from_bits((rng.next() as u32 % 255) << 23),
        };
        let x: Vec<f32> = (0..512).map(&mut any).collect();
        let importance: Vec<f32> = (0..512).map(&mut any).collect();
        for format in Format::ALL {
            for importance in [None, Some(&importance[..])] {
                let back = through(*format, &x, importance);
                prop_assert!(back.iter().all(|v| v.is_finite()), "{}", format.name());
            }
        }
    }
}

#[test]
#[should_panic(expected = "Q4_0: bytes of 33 weights")]
fn a_cut_row_is_refused() {
    encode(Format::Q4_0, &[0.0; 33], None, &mut [0; 18]);
}

#[test]
#[should_panic(expected = "Q4_0: importance of a row")]
fn importance_of_another_length_is_refused() {
    encode(Format::Q4_0, &[0.0; 32], Some(&[1.0; 31]), &mut [0; 18]);
}
