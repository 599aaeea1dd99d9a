//! A self-test: every kernel of an instruction set against the plain f64 reference, on this CPU.
//!
//! The tests of this crate do the same with many sizes; this is for a program whose user doubts a machine: memory that is clocked too
//! high, an emulator, a compiler that is new. Some milliseconds for each instruction set.
//!
//! Each result is an error as a share of the bound that rounding allows; above 1 the kernel is wrong. The file is long for it has an input,
//! a reference and a bound of every operation.

use std::vec;
use std::vec::Vec;

use crate::op::strips::{BAND, Strips, band_row, bands_len, lay, strips_len};
use crate::{
    Acts, Elems, Format, Isa, Rows, TILE_ROWS, attend, decode, encode, flash, latent, pack, plan,
    quantize, reference, rmsnorm, scale_len, silu_mul, softmax, store_f16, stream, sum_len,
    tile_bytes,
};

/// The result of one kernel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Check {
    /// The format, or the operation.
    pub kernel: &'static str,
    /// How the weights lie: `rows` as in the file, `tiles` packed; empty for an operation without weights.
    pub layout: &'static str,
    /// The largest error, as a share of the bound; infinite for a result that is no number.
    pub worst: f64,
}

impl Check {
    /// Whether the kernel computes right.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.worst <= 1.0
    }
}

/// An operation's largest error, as a share of its bound.
type Operation = fn(Isa, &mut Random) -> f64;

/// The operations without weights.
const OPERATIONS: &[(&str, Operation)] = &[
    ("dot", dot),
    ("rmsnorm", norm),
    ("silu_mul", silu),
    ("softmax", soft),
    ("quantize", acts),
    ("store_f16", halves),
    ("attention", attention),
    ("latent", latents),
    ("flash", blocked),
];

/// Runs every kernel of `isa`: each format by rows and, where it has tiles, by tiles; then the other operations.
///
/// ```
/// use wattle_kernels::{Isa, check};
///
/// assert!(check::all(Isa::best()).iter().all(|kernel| kernel.passed()));
/// ```
#[must_use]
pub fn all(isa: Isa) -> Vec<Check> {
    let mut random = Random(1);
    let mut found = Vec::new();
    for &format in Format::ALL {
        found.extend(products(isa, format, &mut random));
    }
    for &(kernel, run) in OPERATIONS {
        found.push(Check {
            kernel,
            layout: "",
            worst: run(isa, &mut random),
        });
    }
    found
}

/// Rows of weights, not whole tiles of them.
const ROWS: usize = TILE_ROWS + 3;
/// Two of the largest blocks.
const COLS: usize = 512;
/// Decoding, a few tokens, and enough for the kernels of prefill.
const TOKENS: [usize; 3] = [1, 3, 11];
/// Half an ulp of 1.
const HALF_ULP: f64 = 1.0 / (1 << 24) as f64;

/// The two kernels of a format.
fn products(isa: Isa, format: Format, random: &mut Random) -> Vec<Check> {
    let row_bytes = format.row_bytes(COLS).unwrap_or(0);
    let mut rows = vec![0; ROWS * row_bytes];
    for row in rows.chunks_exact_mut(row_bytes) {
        encode(format, &random.floats(COLS), None, row);
    }
    let mut found = vec![Check {
        kernel: format.name(),
        layout: "rows",
        worst: 0.0,
    }];
    let tiles = tile_bytes(format, COLS).map(|bytes| {
        let mut tiles = vec![0; ROWS.div_ceil(TILE_ROWS) * bytes];
        for (rows, tile) in rows.chunks(bytes).zip(tiles.chunks_mut(bytes)) {
            pack(format, COLS, rows, tile);
        }
        tiles
    });
    if tiles.is_some() {
        found.push(Check {
            layout: "tiles",
            ..found[0]
        });
    }
    for tokens in TOKENS {
        let x = random.floats(tokens * COLS);
        let (mut q, mut scales) = (vec![0; x.len()], vec![0.0; tokens * scale_len(COLS)]);
        let mut sums = vec![0; tokens * sum_len(COLS)];
        quantize(isa, &x, COLS, &mut q, &mut scales, &mut sums);
        let acts = match format.needs_int8() {
            true => Acts::new(COLS, &x, &q, &scales, &sums),
            false => Acts::floats(COLS, &x),
        };
        let seen: Vec<f32> = match format.needs_int8() {
            true => {
                let scale = |i: usize| scales[i / COLS * scale_len(COLS) + i % COLS / 32];
                let q = q.iter().enumerate();
                q.map(|(i, q)| f32::from(*q) * scale(i)).collect()
            }
            false => x.clone(),
        };
        let kernel = plan(isa, format);
        for (check, by_tiles) in found.iter_mut().zip([false, true]) {
            let mut out = vec![f32::NAN; tokens * ROWS];
            let mut store = |t: usize, r: usize, values: &[f32]| {
                out[t * ROWS + r..][..values.len()].copy_from_slice(values);
            };
            match tiles.as_deref().filter(|_| by_tiles) {
                Some(tiles) => kernel.multiply_tiles(tiles, ROWS, &acts, &mut store),
                None => kernel.matmul(&rows, ROWS, &acts, &mut store),
            }
            check.worst = check.worst.max(product_error(format, &rows, &seen, &out));
        }
    }
    found
}

/// The largest error of products with `x`, `tokens x COLS`, as the kernel saw it.
///
/// A product goes through at most `COLS / 4 / 32` additions into one lane, a handful of roundings before and eight after, each of
/// half an ulp of the size so far: the sum of `|w| |x|`, with the largest `|w|` of a block for each of its weights, since formats with
/// an offset sum unsigned weights first. The offset adds a second such sum.
fn product_error(format: Format, rows: &[u8], x: &[f32], out: &[f32]) -> f64 {
    let mut w = vec![0.0; ROWS * COLS];
    decode(format, rows, &mut w);
    let values = reference::matmul(&w, x, COLS);
    for block in w.chunks_mut(format.block().max(32)) {
        let largest = block.iter().fold(0.0_f32, |m, w| m.max(w.abs()));
        block.fill(largest);
    }
    let absolute: Vec<f32> = x.iter().map(|x| x.abs()).collect();
    let sizes = reference::matmul(&w, &absolute, COLS);
    let steps = COLS as f64 / 16.0 + 24.0;
    let of = out.iter().zip(values.iter().zip(&sizes));
    worst(of.map(|(out, (want, size))| (*out, *want, size * steps)))
}

/// The largest error of `(out, want, size)` as a share of its bound, half an ulp of `size`.
fn worst(results: impl Iterator<Item = (f32, f64, f64)>) -> f64 {
    results.fold(0.0, |worst: f64, (out, want, size)| {
        let error = (f64::from(out) - want).abs() / (size * HALF_ULP + 1e-37);
        match error.is_nan() {
            true => f64::INFINITY,
            false => worst.max(error),
        }
    })
}

fn dot(isa: Isa, random: &mut Random) -> f64 {
    let (a, b) = (random.floats(577), random.floats(577));
    let size: f64 = a.iter().zip(&b).map(|(a, b)| f64::from(a * b).abs()).sum();
    let out = crate::dot(isa, &a, &b);
    let steps = 577.0 / 16.0 + 12.0;
    worst([(out, reference::dot(&a, &b), size * steps)].into_iter())
}

fn norm(isa: Isa, random: &mut Random) -> f64 {
    let (x, w) = (random.floats(577), random.floats(577));
    let mut out = vec![f32::NAN; 577];
    rmsnorm(isa, &x, &w, 1e-6, &mut out);
    let want = reference::rmsnorm(&x, &w, 1e-6);
    let steps = 577.0 / 16.0 + 16.0;
    worst(
        out.iter()
            .zip(want)
            .map(|(out, want)| (*out, want, want.abs() * steps)),
    )
}

/// Below -88 the exponential is infinite and the result a zero.
fn silu(isa: Isa, random: &mut Random) -> f64 {
    let gate: Vec<f32> = (0..1001_u16)
        .map(|i| 0.17 * (f32::from(i) - 500.0))
        .collect();
    let up = random.floats(gate.len());
    let mut out = vec![f32::NAN; gate.len()];
    silu_mul(isa, &gate, &up, &mut out);
    let of = gate.iter().zip(&up).zip(&out);
    worst(of.map(|((gate, up), out)| {
        let want = reference::silu(*gate) * f64::from(*up);
        (*out, want, want.abs() * 8.0)
    }))
}

/// `x - max` rounds once, and its error is multiplied by the exponential's slope.
fn soft(isa: Isa, random: &mut Random) -> f64 {
    let x = random.floats(100);
    let mut out = x.clone();
    softmax(isa, &mut out);
    let of = x.iter().zip(&out).zip(reference::softmax(&x));
    worst(of.map(|((x, out), want)| {
        let spread = f64::from(x.abs()) + 20.0;
        (*out, want, want * (100.0 / 8.0 + 16.0 + spread))
    }))
}

/// Every instruction set gives the bits that the plainest gives: 0, or infinity.
fn acts(isa: Isa, random: &mut Random) -> f64 {
    let x = random.floats(2 * COLS);
    let run = |isa| {
        let (mut q, mut scales) = (vec![0; x.len()], vec![0.0; 2 * scale_len(COLS)]);
        let mut sums = vec![0; 2 * sum_len(COLS)];
        quantize(isa, &x, COLS, &mut q, &mut scales, &mut sums);
        (q, scales, sums)
    };
    exact(run(isa) == run(plainest()))
}

/// As [`acts`].
fn halves(isa: Isa, random: &mut Random) -> f64 {
    let x = random.floats(577);
    let run = |isa| {
        let mut out = vec![0; x.len()];
        store_f16(isa, &x, &mut out);
        out
    };
    exact(run(isa) == run(plainest()))
}

fn exact(same: bool) -> f64 {
    if same { 0.0 } else { f64::INFINITY }
}

fn plainest() -> Isa {
    Isa::available().next().unwrap_or_else(Isa::best)
}

/// A token after 32 others.
const LAST: stream::Span = stream::Span {
    before: 0,
    past: 32,
    tokens: 1,
    first: 0,
};

/// Three heads over 33 rows, as decoding does it.
fn attention(isa: Isa, random: &mut Random) -> f64 {
    let (width, n) = (72, LAST.past + 1);
    let q = random.floats(3 * width);
    let data: Vec<f32> = random.floats(n * width).iter().map(|x| x * 0.1).collect();
    let rows = rows_of(&data, width);
    let scale = 1.0 / (width as f32).sqrt();
    let mut states = vec![f32::NAN; 3 * stream::state_len(width)];
    stream::begin(width, &mut states);
    attend(isa, &q, rows, rows, scale, LAST, &mut states);
    let mut out = vec![f32::NAN; 3 * width];
    finish(&states, width, &mut out);
    attention_error(&q, &data, width, &out, |_| n, scale)
}

/// A head over 33 latent rows of int8, which are read back for the reference. A query of zeros weighs them alike, so what is left
/// are the weights, of 12 bits at least, each half a step wrong at most, and the rows are below 2.
fn latents(isa: Isa, random: &mut Random) -> f64 {
    let (rank, rope, n) = (136, 8, LAST.past + 1);
    let shape = latent::Shape::new(rank, rope);
    let mut words = vec![latent::Line([0; 64]); shape.words()];
    let mut scales = vec![0.0; shape.scales()];
    let mut sums = vec![0.0; rank];
    for i in 0..n {
        let row: Vec<f32> = random.floats(rank + rope).iter().map(|x| x * 0.1).collect();
        latent::store(isa, shape, &row, i, &mut words, &mut scales);
        let mut stored = vec![f32::NAN; rank + rope];
        latent::load(isa, shape, &words, &scales, i, &mut stored);
        let sums = sums.iter_mut().zip(&stored);
        sums.for_each(|(sum, x)| *sum += f64::from(*x));
    }
    let mut bytes = vec![0; shape.query()];
    let mut factors = vec![0.0; shape.products()];
    let mut starts = vec![0; shape.products()];
    let parts = [&vec![0.0; rank][..], &vec![0.0; rope][..]];
    latent::query(
        isa,
        shape,
        parts,
        1.0,
        &mut bytes,
        &mut factors,
        &mut starts,
    );
    let queries = latent::Queries {
        bytes: &bytes,
        factors: &factors,
        starts: &starts,
    };
    let mixed = shape.mixed();
    let mut states = vec![f32::NAN; stream::state_len(mixed)];
    stream::begin(mixed, &mut states);
    latent::attend(isa, shape, queries, &words, &scales, n, LAST, &mut states);
    let mut out = vec![f32::NAN; rank];
    finish(&states, mixed, &mut out);
    let of = out.iter().zip(&sums);
    worst(of.map(|(out, sum)| (*out, sum / n as f64, 2.0 / 4096.0 / HALF_ULP)))
}

/// What each state over values of `v` numbers found.
fn finish(states: &[f32], v: usize, out: &mut [f32]) {
    let columns = states.chunks_exact(stream::state_len(v));
    let width = out.len() / columns.len();
    for (state, out) in columns.zip(out.chunks_exact_mut(width)) {
        stream::finish(state, out);
    }
}

/// The same by blocks, as prefill does it: seven queries after 26 tokens, each of which sees itself.
fn blocked(isa: Isa, random: &mut Random) -> f64 {
    let (width, n, tokens) = (72, 33, 7);
    let q = random.floats(tokens * width);
    let data: Vec<f32> = random.floats(n * width).iter().map(|x| x * 0.1).collect();
    let scale = 1.0 / (width as f32).sqrt();
    let mut bands = vec![0.0; bands_len(tokens, width)];
    for (i, row) in q.chunks_exact(width).enumerate() {
        band_row(i, row, scale, &mut bands);
    }
    let mut keys = vec![0.0; strips_len(n, width)];
    lay(isa, rows_of(&data, width), &mut keys);
    let turned: Vec<f32> = (0..n * width)
        .map(|i| data[i % n * width + i / n])
        .collect();
    let mut values = vec![0.0; strips_len(width, n)];
    lay(isa, rows_of(&turned, n), &mut values);
    // A key of two parts: the first 40 numbers and the rest.
    let part = |start, width| Strips {
        data: &keys,
        columns: 72,
        start,
        width,
    };
    let block = flash::Block {
        keys: [part(0, 40), part(40, 32)],
        values: Strips {
            data: &values,
            columns: n,
            start: 0,
            width: n,
        },
        before: 0,
        past: n - tokens,
    };
    let mut state = vec![0.0; tokens.div_ceil(BAND) * flash::state_len(width)];
    flash::begin(width, &mut state);
    flash::attend(isa, &bands, block, width, &mut state);
    let mut out = vec![f32::NAN; tokens * width];
    for (i, out) in out.chunks_exact_mut(width).enumerate() {
        flash::finish(&state, i, out);
    }
    attention_error(&q, &data, width, &out, |t| n - tokens + t + 1, scale)
}

/// Keys and values are the same rows; query `t` sees the first `seen(t)`. Scores are below 40 and carry their rounding into the
/// exponential; values are below 2.
fn attention_error(
    q: &[f32],
    data: &[f32],
    width: usize,
    out: &[f32],
    seen: impl Fn(usize) -> usize,
    scale: f32,
) -> f64 {
    let rows: Vec<Vec<f32>> = data.chunks_exact(width).map(<[f32]>::to_vec).collect();
    let steps = rows.len() as f64 + 16.0 + 40.0 * (width as f64 / 8.0 + 12.0);
    let of = q
        .chunks_exact(width)
        .zip(out.chunks_exact(width))
        .enumerate();
    of.fold(0.0, |so_far: f64, (t, (q, out))| {
        let seen = &rows[..seen(t)];
        let want = reference::attention(q, seen, seen, f64::from(scale));
        let of = out.iter().zip(want);
        so_far.max(worst(of.map(|(out, want)| (*out, want, 2.0 * steps))))
    })
}

fn rows_of(data: &[f32], width: usize) -> Rows<'_> {
    Rows {
        data: Elems::F32(data),
        stride: width,
        start: 0,
        width,
        n: data.len() / width,
    }
}

/// A small generator (splitmix64): a self-test repeats exactly.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From -1 to 1, now and then twenty times as large: activations have outliers.
    fn floats(&mut self, n: usize) -> Vec<f32> {
        let mut float = || {
            let x = (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0;
            if self.next().is_multiple_of(40) {
                20.0 * x
            } else {
                x
            }
        };
        (0..n).map(|_| float()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_of_every_isa_passes() {
        for isa in Isa::available() {
            let found = all(isa);
            for check in &found {
                assert!(check.passed(), "{}: {check:?}", isa.name());
            }
            let of = |layout: &str| found.iter().filter(|c| c.layout == layout).count();
            let tiled = Format::ALL.iter().filter(|f| f.goes_in_tiles()).count();
            assert_eq!(of("rows"), Format::ALL.len());
            assert_eq!(of("tiles"), tiled);
            assert_eq!(of(""), OPERATIONS.len());
        }
    }

    /// One bit of a weight, one product that is missing, one that is no number.
    #[test]
    fn a_wrong_product_is_seen() {
        let mut random = Random(3);
        let format = Format::Q8_0;
        let row_bytes = format.row_bytes(COLS).expect("whole blocks");
        let mut rows = vec![0; ROWS * row_bytes];
        for row in rows.chunks_exact_mut(row_bytes) {
            encode(format, &random.floats(COLS), None, row);
        }
        let x = random.floats(COLS);
        let mut w = vec![0.0; ROWS * COLS];
        decode(format, &rows, &mut w);
        let right: Vec<f32> = reference::matmul(&w, &x, COLS)
            .iter()
            .map(|y| *y as f32)
            .collect();
        assert!(product_error(format, &rows, &x, &right) < 1.0);
        for wrong in [f32::NAN, f32::INFINITY, 0.0] {
            let mut out = right.clone();
            out[7] = wrong;
            assert!(product_error(format, &rows, &x, &out) > 1.0, "{wrong}");
        }
        let mut flipped = rows.clone();
        flipped[3 * row_bytes + 20] ^= 0x10;
        assert!(product_error(format, &flipped, &x, &right) > 1.0);
        assert_eq!(exact(false), f64::INFINITY);
    }
}
