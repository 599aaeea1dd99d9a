//! Products in pieces (int8 panels with coarse scales), of every format, on every instruction set of this CPU, against the same
//! arithmetic in plain numbers.

#[path = "common/weights.rs"]
mod common;

use common::{Rng, rows_of};
use proptest::prelude::*;
use wattle_kernels::{
    Acts, Format, Isa, PIECE, TILE_ROWS, decode, pack, piece_len, plan, quantize, quantize_pieces,
    reference, scale_len, sum_len, tile_bytes,
};

fn formats() -> impl Iterator<Item = Format> {
    Format::ALL.iter().copied().filter(|f| f.goes_in_tiles())
}

fn tiles_of(format: Format, weights: &[u8], rows: usize, cols: usize) -> Vec<u8> {
    let bytes = tile_bytes(format, cols).expect("it goes in tiles");
    let mut tiles = vec![0xee; rows.div_ceil(TILE_ROWS) * bytes];
    for (rows, tile) in weights.chunks(bytes).zip(tiles.chunks_mut(bytes)) {
        pack(format, cols, rows, tile);
    }
    tiles
}

/// The products of tiles with the rows of `x`; `pieces` or not.
fn run(
    isa: Isa,
    format: Format,
    tiles: &[u8],
    rows: usize,
    x: &[f32],
    cols: usize,
    pieces: bool,
) -> Vec<f32> {
    let tokens = x.len() / cols;
    let (mut q, mut scales) = (vec![0; x.len()], vec![0.0; tokens * scale_len(cols)]);
    let mut sums = vec![0; tokens * sum_len(cols)];
    quantize(isa, x, cols, &mut q, &mut scales, &mut sums);
    let (mut whole, mut of_pieces) = (vec![0; x.len()], vec![0.0; tokens * piece_len(cols)]);
    quantize_pieces(isa, x, cols, &mut whole, &mut of_pieces);
    let mut acts = Acts::new(cols, x, &q, &scales, &sums);
    if pieces {
        acts = acts.with_pieces(&whole, &of_pieces);
    }
    let mut out = vec![f32::NAN; tokens * rows];
    plan(isa, format).multiply_tiles(tiles, rows, &acts, &mut |t, r, values| {
        out[t * rows + r..][..values.len()].copy_from_slice(values);
    });
    out
}

/// Activations in pieces, plainly: integers and the scale of each.
fn in_pieces(x: &[f32]) -> (Vec<i32>, Vec<f32>) {
    let (mut q, mut d) = (Vec::new(), Vec::new());
    for piece in x.chunks(PIECE) {
        let scale = piece.iter().fold(0.0_f32, |m, x| m.max(x.abs())) / 127.0;
        let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
        d.push(scale);
        q.extend(
            piece
                .iter()
                .map(|x| (x * inverse).clamp(-127.0, 127.0).round_ties_even() as i32),
        );
    }
    (q, d)
}

/// A product in pieces: integers are summed exactly, then scaled and added in f64; and the sum of the sizes of these terms.
fn expected(t: &[i8], d: &[f32], q: &[i32], da: &[f32]) -> (f64, f64) {
    let (mut value, mut size) = (0.0, 0.0);
    for (i, (t, q)) in t.chunks(PIECE).zip(q.chunks(PIECE)).enumerate() {
        let sum: i64 = t
            .iter()
            .zip(q)
            .map(|(t, q)| i64::from(*t) * i64::from(*q))
            .sum();
        let term = sum as f64 * f64::from(d[i]) * f64::from(da[i]);
        value += term;
        size += term.abs();
    }
    (value, size)
}

/// Where an instruction set takes no pieces, they change nothing. Elsewhere holds all products against [`expected`]: a term is rounded twice as it is scaled and once as it is added, each by 2^-24 of at
/// most the sum of all sizes. A wrong integer would be off by more: one of 2^16 is the size of a sum here.
fn check(isa: Isa, format: Format, weights: &[u8], rows: usize, x: &[f32], cols: usize) {
    let tiles = tiles_of(format, weights, rows, cols);
    let panels = reference::panels(format, weights, rows, cols).expect("it goes in tiles");
    let out = run(isa, format, &tiles, rows, x, cols, true);
    if !isa.takes_pieces() {
        let exact = run(isa, format, &tiles, rows, x, cols, false);
        assert_eq!(out, exact, "{} on {}", format.name(), isa.name());
        return;
    }
    let pieces = cols.div_ceil(PIECE);
    let bound = (pieces + 2) as f64 * 2.0_f64.powi(-24);
    for (t, (x, out)) in x.chunks(cols).zip(out.chunks(rows)).enumerate() {
        let (q, da) = in_pieces(x);
        for (r, out) in out.iter().enumerate() {
            let weights = &panels.t[r * cols..][..cols];
            let (value, size) = expected(weights, &panels.d[r * pieces..][..pieces], &q, &da);
            let error = (f64::from(*out) - value).abs();
            assert!(
                error <= bound * size,
                "{} on {}, {rows}x{cols}, row {r} of token {t}: {out}, not {value}, off by {:.1} times the bound",
                format.name(),
                isa.name(),
                error / (bound * size)
            );
        }
    }
}

#[test]
fn a_panel_is_as_near_to_its_weights_as_it_says() {
    let mut rng = Rng(20);
    for format in formats() {
        let (rows, cols) = (19, 2 * PIECE.max(format.block()) + format.block());
        let weights = rows_of(format, rows, cols, &mut rng);
        let panels = reference::panels(format, &weights, rows, cols).expect("it goes in tiles");
        let mut decoded = vec![0.0; rows * cols];
        decode(format, &weights, &mut decoded);
        let pieces = cols.div_ceil(PIECE);
        let mut sum = 0.0;
        for (i, (w, t)) in decoded.iter().zip(&panels.t).enumerate() {
            let d = f64::from(panels.d[i / cols * pieces + i % cols / PIECE]);
            let error = f64::from(*w) / d - f64::from(*t);
            sum += error * error;
            assert!(
                error.abs() <= panels.slack + 1e-4,
                "{}: weight {i} is {w}, {t} times {d}",
                format.name()
            );
        }
        // Rounding has a mean square of 1/12, and a factor and a base of few bits add to it. The codes of Q2_K are the fewest: with one bit
        // behind the point half of the sums are ties, 1/8, factors add 1/38 and bases 1/48.
        let mean = sum / (rows * cols) as f64;
        let (slack, most) = match format {
            Format::Q2K => (1.25, 0.18),
            _ => (1.0, 0.15),
        };
        assert!(panels.slack <= slack, "{}: {}", format.name(), panels.slack);
        assert!(mean < most, "{}: mean square {mean}", format.name());
    }
}

#[test]
fn every_format_on_every_isa_is_the_reference() {
    let mut rng = Rng(21);
    for format in formats() {
        let block = format.block();
        for (rows, cols, tokens) in [(17, block, 9), (3, 2048 + block, 12), (9, 3 * block, 131)] {
            let weights = rows_of(format, rows, cols, &mut rng);
            let x = rng.floats(tokens * cols);
            for isa in Isa::available() {
                check(isa, format, &weights, rows, &x, cols);
            }
        }
    }
}

#[test]
fn few_tokens_stay_exact_and_more_do_not_depend_on_each_other() {
    let mut rng = Rng(22);
    let (rows, cols) = (20, 512);
    for format in formats() {
        let weights = rows_of(format, rows, cols, &mut rng);
        let tiles = tiles_of(format, &weights, rows, cols);
        let x = rng.floats(150 * cols);
        for isa in Isa::available() {
            let name = format!("{} on {}", format.name(), isa.name());
            for tokens in [1, 3, 8] {
                let x = &x[..tokens * cols];
                let exact = run(isa, format, &tiles, rows, x, cols, false);
                let out = run(isa, format, &tiles, rows, x, cols, true);
                assert_eq!(out, exact, "{name}: {tokens} tokens");
            }
            let all = run(isa, format, &tiles, rows, &x, cols, true);
            for tokens in [9, 12, 13, 30] {
                let last = &x[(150 - tokens) * cols..];
                let out = run(isa, format, &tiles, rows, last, cols, true);
                assert_eq!(
                    out,
                    all[(150 - tokens) * rows..],
                    "{name}: the last {tokens} tokens alone"
                );
            }
        }
    }
}

#[test]
fn flaws_and_zeros_stay_visible() {
    let mut rng = Rng(23);
    let (rows, cols, tokens) = (16, 256, 9);
    for format in formats() {
        let weights = rows_of(format, rows, cols, &mut rng);
        let tiles = tiles_of(format, &weights, rows, cols);
        let zeros = vec![0; weights.len()];
        let zeros = tiles_of(format, &zeros, rows, cols);
        for isa in Isa::available() {
            let name = format!("{} on {}", format.name(), isa.name());
            for flaw in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut x = rng.floats(tokens * cols);
                x[3 * cols + 77] = flaw;
                let out = run(isa, format, &tiles, rows, &x, cols, true);
                let flawed: Vec<bool> = out.iter().map(|x| !x.is_finite()).collect();
                let third = 3 * rows..4 * rows;
                assert!(
                    flawed[third.clone()].iter().all(|x| *x),
                    "{name} hides {flaw}"
                );
                assert!(
                    !flawed[..third.start].contains(&true),
                    "{name} spreads {flaw}"
                );
            }
            let x = vec![0.0; tokens * cols];
            let out = run(isa, format, &tiles, rows, &x, cols, true);
            assert!(
                out.iter().all(|x| *x == 0.0),
                "{name}: nothing times weights"
            );
            let x = rng.floats(tokens * cols);
            let out = run(isa, format, &zeros, rows, &x, cols, true);
            let most = out.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
            assert!(most < 1e-30, "{name}: blocks of zeros give {most}");
        }
    }
}

#[test]
fn a_flawed_weight_stays_visible() {
    let (cols, mut rng) = (256, Rng(24));
    for half in [0x7c00_u16, 0xfc00, 0x7e00] {
        for (format, at) in [
            (Format::Q4_0, 0),
            (Format::Q4K, 0),
            (Format::Q4K, 2),
            (Format::Q6K, 208),
        ] {
            let mut weights = rows_of(format, 2, cols, &mut rng);
            weights[at..at + 2].copy_from_slice(&half.to_le_bytes());
            let tiles = tiles_of(format, &weights, 2, cols);
            let x = rng.floats(9 * cols);
            for isa in Isa::available() {
                let out = run(isa, format, &tiles, 2, &x, cols, true);
                for (t, out) in out.chunks(2).enumerate() {
                    let name = format!("{} on {}, token {t}", format.name(), isa.name());
                    assert!(!out[0].is_finite(), "{name} hides {half:x}: {}", out[0]);
                    assert!(out[1].is_finite(), "{name} spreads {half:x}");
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_shape_is_the_reference(
        format in proptest::sample::select(formats().collect::<Vec<_>>()),
        rows in 1usize..50, blocks in 1usize..=128, tokens in 1usize..=300, seed: u64,
    ) {
        // Columns from 32 to 4096, and not all of the three large at once.
        let cols = (blocks * 32).next_multiple_of(format.block());
        let tokens = tokens.min(1 + 600_000 / (rows * cols)).max(9);
        let mut rng = Rng(seed);
        let weights = rows_of(format, rows, cols, &mut rng);
        let x = rng.floats(tokens * cols);
        for isa in Isa::available() {
            check(isa, format, &weights, rows, &x, cols);
        }
    }
}
