//! Attention over blocks of int8 latent rows on every instruction set of this CPU, around every edge of a block, against plain f64
//! attention of the same stored numbers.

#[path = "common/weights.rs"]
#[expect(dead_code, reason = "these tests need no quantised weights")]
mod common;

use common::Rng;
use wattle_kernels::latent::{self, Line, Queries, Shape};
use wattle_kernels::stream::{self, BLOCK, Span, state_len};
use wattle_kernels::{Isa, reference};

/// A cache of some blocks.
struct Cache {
    isa: Isa,
    shape: Shape,
    blocks: Vec<(Vec<Line>, Vec<f32>)>,
    n: usize,
    rank: usize,
    rope: usize,
}

impl Cache {
    fn new(isa: Isa, [rank, rope]: [usize; 2], rows: &[f32]) -> Cache {
        let shape = Shape::new(rank, rope);
        let mut blocks = Vec::new();
        let rows = rows.chunks_exact(rank + rope);
        let n = rows.len();
        for (i, row) in rows.enumerate() {
            if i % BLOCK == 0 {
                // What is not written is never part of a result.
                blocks.push((
                    vec![Line([0x55; 64]); shape.words()],
                    vec![7.0; shape.scales()],
                ));
            }
            if let Some((words, scales)) = blocks.last_mut() {
                latent::store(isa, shape, row, i % BLOCK, words, scales);
            }
        }
        Cache {
            isa,
            shape,
            blocks,
            n,
            rank,
            rope,
        }
    }

    /// The rows as they are stored.
    fn rows(&self) -> Vec<Vec<f32>> {
        let row = |i: usize| {
            let (words, scales) = &self.blocks[i / BLOCK];
            let mut row = vec![f32::NAN; self.rank + self.rope];
            latent::load(self.isa, self.shape, words, scales, i % BLOCK, &mut row);
            row
        };
        (0..self.n).map(row).collect()
    }

    /// What queries find, `(columns, rank)`.
    fn attend(&self, q: &[f32], scale: f32, tokens: usize) -> Vec<f32> {
        self.attend_and_show(q, scale, tokens).0
    }

    /// The same, and the queries as they are quantised.
    fn attend_and_show(&self, q: &[f32], scale: f32, tokens: usize) -> (Vec<f32>, Vec<f32>) {
        let (isa, shape) = (self.isa, self.shape);
        let width = self.rank + self.rope;
        let columns = q.len() / width;
        let mut bytes = vec![0; columns * shape.query()];
        let mut factors = vec![0.0; columns * shape.products()];
        let mut starts = vec![0; columns * shape.products()];
        let out = bytes
            .chunks_exact_mut(shape.query())
            .zip(factors.chunks_exact_mut(shape.products()))
            .zip(starts.chunks_exact_mut(shape.products()));
        for (q, ((bytes, factors), starts)) in q.chunks_exact(width).zip(out) {
            let (a, b) = q.split_at(self.rank);
            latent::query(isa, shape, [a, b], scale, bytes, factors, starts);
        }
        let mut stored = Vec::new();
        for i in 0..columns {
            let bytes = &bytes[i * shape.query()..][..shape.query()];
            let factors = &factors[i * shape.products()..][..shape.products()];
            for (c, byte) in bytes[..self.rank].iter().enumerate() {
                stored.push(factors[c / 128] / scale * f32::from(*byte));
            }
            let rotary = (shape.query() - shape.mixed()) / 3;
            let d = factors[shape.products() - 1] / (scale * 128.0);
            for c in 0..self.rope {
                let [high, low] = [0, 1].map(|k| f32::from(bytes[shape.mixed() + k * rotary + c]));
                stored.push(d * (128.0 * high + low));
            }
        }
        let queries = Queries {
            bytes: &bytes,
            factors: &factors,
            starts: &starts,
        };
        let size = state_len(shape.mixed());
        let mut states = vec![f32::NAN; columns * size];
        stream::begin(shape.mixed(), &mut states);
        for (i, (words, scales)) in self.blocks.iter().enumerate() {
            let span = Span {
                before: i * BLOCK,
                past: self.n - tokens,
                tokens,
                first: 0,
            };
            let n = BLOCK.min(self.n - i * BLOCK);
            latent::attend(isa, shape, queries, words, scales, n, span, &mut states);
        }
        let mut out = vec![f32::NAN; columns * self.rank];
        let results = out.chunks_exact_mut(self.rank);
        for (out, state) in results.zip(states.chunks_exact(size)) {
            stream::finish(state, out);
        }
        (out, stored)
    }

    /// The same in f64, of the stored numbers.
    fn reference(&self, q: &[f32], scale: f32, tokens: usize) -> Vec<f64> {
        let rows = self.rows();
        let values: Vec<Vec<f32>> = rows.iter().map(|row| row[..self.rank].to_vec()).collect();
        let queries = q.chunks_exact(self.rank + self.rope).enumerate();
        queries
            .flat_map(|(i, q)| {
                let seen = self.n - tokens + i % tokens + 1;
                reference::attention(q, &rows[..seen], &values[..seen], f64::from(scale))
            })
            .collect()
    }
}

/// Largest error relative to the largest value.
fn worst(want: &[f64], got: &[f32]) -> f64 {
    let size = want.iter().fold(1e-300_f64, |m, x| m.max(x.abs()));
    let gap = want.iter().zip(got).map(|(a, b)| (a - f64::from(*b)).abs());
    gap.fold(0.0, |m, x| if x > m || x.is_nan() { x } else { m }) / size
}

const DIMENSIONS: [[usize; 2]; 5] = [[512, 64], [256, 32], [24, 8], [128, 16], [200, 40]];

#[test]
fn a_stored_row_is_as_near_as_its_scale() {
    let mut rng = Rng(1);
    for isa in Isa::available() {
        for [rank, rope] in DIMENSIONS {
            let rows = rng.floats(70 * (rank + rope));
            let cache = Cache::new(isa, [rank, rope], &rows);
            let stored = cache.rows();
            for (row, stored) in rows.chunks_exact(rank + rope).zip(&stored) {
                let groups = row[..rank].chunks(128).zip(stored.chunks(128));
                let parts = groups.map(|(a, b)| (a, b, 0.5 / 127.0)).chain([(
                    &row[rank..],
                    &stored[rank..],
                    0.5 / 16256.0,
                )]);
                for (a, b, step) in parts {
                    let largest = a.iter().fold(0_f32, |m, x| m.max(x.abs()));
                    for (a, b) in a.iter().zip(b) {
                        let bound = largest * (step + 1e-6);
                        assert!((a - b).abs() <= bound, "{}: {b} for {a}", isa.name());
                    }
                }
            }
        }
    }
}

/// Of the same rows and the same queries; what is left are the weights of 14 or 12 bits, the product of the low planes, 2^-14 of a
/// rotary score, and rounding.
#[test]
fn attention_is_that_of_the_stored_numbers_around_every_edge() {
    let mut rng = Rng(2);
    for [rank, rope] in DIMENSIONS {
        let width = rank + rope;
        for n in [1, 3, 15, 16, 17, 31, 33, 63, 64, 65, 127, 129, 200] {
            for (heads, tokens) in [(1, 1), (3, 1), (16, 1), (4, 5), (17, 3)] {
                if tokens > n {
                    continue;
                }
                let rows = rng.floats(n * width);
                let q = rng.floats(heads * tokens * width);
                let scale = 1.0 / (width as f32).sqrt();
                for isa in Isa::available() {
                    let cache = Cache::new(isa, [rank, rope], &rows);
                    let (got, q) = cache.attend_and_show(&q, scale, tokens);
                    let error = worst(&cache.reference(&q, scale, tokens), &got);
                    let name = isa.name();
                    assert!(error < 2e-3, "{name}, {width}, {n}, {heads}: {error:e}");
                }
            }
        }
    }
}

#[test]
fn a_column_alone_is_as_among_others_and_128_heads_are_as_one() {
    let mut rng = Rng(4);
    let [rank, rope] = [256, 32];
    let width = rank + rope;
    let rows = rng.floats(100 * width);
    let q = rng.floats(128 * width);
    for isa in Isa::available() {
        let cache = Cache::new(isa, [rank, rope], &rows);
        let all = cache.attend(&q, 0.1, 1);
        for (q, all) in q.chunks_exact(width).zip(all.chunks_exact(rank)) {
            assert_eq!(cache.attend(q, 0.1, 1), all, "{}", isa.name());
        }
    }
}

#[test]
fn every_isa_gives_nearly_the_same() {
    let mut rng = Rng(5);
    let [rank, rope] = [512, 64];
    let rows = rng.floats(130 * (rank + rope));
    let q = rng.floats(7 * (rank + rope));
    let scalar = Isa::named("scalar").expect("scalar is everywhere");
    let want = Cache::new(scalar, [rank, rope], &rows).attend(&q, 0.05, 1);
    let want: Vec<f64> = want.into_iter().map(f64::from).collect();
    for isa in Isa::available() {
        let got = Cache::new(isa, [rank, rope], &rows).attend(&q, 0.05, 1);
        let error = worst(&want, &got);
        assert!(error < 1e-3, "{}: {error:e}", isa.name());
    }
}

#[test]
fn large_small_and_missing_numbers() {
    let mut rng = Rng(6);
    let [rank, rope] = [128, 16];
    let width = rank + rope;
    let rows = rng.floats(80 * width);
    let q = rng.floats(4 * width);
    for isa in Isa::available() {
        let name = isa.name();
        let largest = rows.iter().fold(0_f32, |m, x| m.max(x.abs()));
        for factor in [1e4_f32, 1e-30, 0.0] {
            let scaled = |x: &[f32]| -> Vec<f32> { x.iter().map(|x| factor * x).collect() };
            let cache = Cache::new(isa, [rank, rope], &scaled(&rows));
            for x in cache.attend(&scaled(&q), 1.0, 1) {
                assert!(
                    x.abs() <= 1.01 * factor * largest,
                    "{name}: {x} with {factor:e}"
                );
            }
        }
        for bad in [f32::NAN, f32::INFINITY] {
            for at in [3, rank + 3] {
                let mut rows = rows.clone();
                rows[5 * width + at] = bad;
                let out = Cache::new(isa, [rank, rope], &rows).attend(&q, 0.1, 1);
                assert!(out.iter().any(|x| x.is_nan()), "{name}: {bad} is seen");
                let mut q = q.clone();
                q[at] = bad;
                let out = Cache::new(isa, [rank, rope], &rows[..4 * width]).attend(&q, 0.1, 1);
                let seen = out[..rank].iter().all(|x| x.is_nan());
                assert!(seen, "{name}: {bad} in a query");
            }
        }
    }
}

#[test]
fn deepseeks_row_has_660_bytes() {
    let shape = Shape::new(512, 64);
    assert_eq!(shape.token_bytes(), 660);
    assert_eq!(shape.words() * 64 + shape.scales() * 4, 660 * BLOCK);
}
