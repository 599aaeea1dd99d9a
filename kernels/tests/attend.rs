//! Attention over blocks of rows on every instruction set of this CPU, around every edge of a block, against the plain f64 reference.

#[path = "common/weights.rs"]
#[expect(dead_code, reason = "these tests need no quantised weights")]
mod common;

use common::Rng;
use wattle_kernels::stream::{self, BLOCK, Span, state_len};
use wattle_kernels::{Elems, Isa, Rows, attend, reference, store_f16};

/// Rows of keys and, behind them, of values; what lies between and around them is of no concern.
struct Case {
    width: usize,
    v: usize,
    data: Vec<f32>,
}

impl Case {
    const GAP: usize = 5;

    fn new(width: usize, v: usize, n: usize, rng: &mut Rng) -> Case {
        // Numbers that f16 holds exactly, so that both kinds of cache hold the same.
        let data = (0..(width + v + 2 * Case::GAP) * n)
            .map(|_| (rng.next() % 4096) as f32 / 1024.0 - 2.0)
            .collect();
        Case { width, v, data }
    }

    fn stride(&self) -> usize {
        self.width + self.v + 2 * Case::GAP
    }

    fn rows(&self, start: usize, width: usize) -> Vec<Vec<f32>> {
        let rows = self.data.chunks_exact(self.stride());
        rows.map(|row| row[start..][..width].to_vec()).collect()
    }

    /// What the columns find, block by block, in parts of `slice` blocks that are folded.
    fn attend(&self, isa: Isa, q: &[f32], half: bool, tokens: usize, slice: usize) -> Vec<f32> {
        let (stride, v) = (self.stride(), self.v);
        let n = self.data.len() / stride;
        let mut halves = vec![0; self.data.len()];
        store_f16(isa, &self.data, &mut halves);
        let columns = q.len() / self.width;
        let mut whole = vec![f32::NAN; columns * state_len(v)];
        stream::begin(v, &mut whole);
        let blocks: Vec<usize> = (0..n).step_by(BLOCK).collect();
        for part in blocks.chunks(slice) {
            let mut states = vec![f32::NAN; whole.len()];
            stream::begin(v, &mut states);
            for &before in part {
                let rows = |start, width| Rows {
                    data: match half {
                        true => Elems::F16(&halves[before * stride..]),
                        false => Elems::F32(&self.data[before * stride..]),
                    },
                    stride,
                    start,
                    width,
                    n: BLOCK.min(n - before),
                };
                let (keys, values) = (
                    rows(Case::GAP, self.width),
                    rows(2 * Case::GAP + self.width, v),
                );
                let span = Span {
                    before,
                    past: n - tokens,
                    tokens,
                    first: 0,
                };
                attend(isa, q, keys, values, self.scale(), span, &mut states);
            }
            stream::fold(isa, v, &mut whole, &states);
        }
        let mut out = vec![f32::NAN; columns * v];
        let states = whole.chunks_exact(state_len(v));
        for (out, state) in out.chunks_exact_mut(v).zip(states) {
            stream::finish(state, out);
        }
        out
    }

    fn scale(&self) -> f32 {
        1.0 / (self.width as f32).sqrt()
    }
}

#[test]
fn attention_is_the_reference() {
    let mut rng = Rng(6);
    for (width, v, n, heads, tokens) in [
        (1, 1, 1, 1, 1),
        (8, 16, 3, 2, 1),
        (31, 33, 63, 3, 2),
        (64, 64, 64, 5, 3),
        (72, 8, 65, 4, 8),
        (100, 20, 129, 17, 1),
        (24, 40, 300, 9, 4),
    ] {
        let case = Case::new(width, v, n, &mut rng);
        let q = rng.floats(heads * tokens * width);
        let (keys, values) = (
            case.rows(Case::GAP, width),
            case.rows(2 * Case::GAP + width, v),
        );
        for isa in Isa::available() {
            let name = isa.name();
            let got = case.attend(isa, &q, false, tokens, 100);
            for (i, (q, got)) in q.chunks(width).zip(got.chunks(v)).enumerate() {
                let seen = n - tokens + i % tokens + 1;
                let scale = f64::from(case.scale());
                let want = reference::attention(q, &keys[..seen], &values[..seen], scale);
                for (got, want) in got.iter().zip(want) {
                    // Values are below 2. Scores of up to 40 carry their rounding, 2^-24 of their size a step, into the exponential.
                    let bound = 2.0 * (n + 16 + 40 * (width / 8 + 12)) as f64 / f64::from(1 << 24);
                    let error = (f64::from(*got) - want).abs();
                    assert!(error <= bound, "{name}, {n} tokens, column {i}: {error:e}");
                }
            }
            assert_eq!(got, case.attend(isa, &q, true, tokens, 100), "{name}: f16");
            // Folded from parts, it is the same up to rounding; and a column alone has the bits that it has among others.
            let parts = case.attend(isa, &q, false, tokens, 1);
            for (a, b) in got.iter().zip(&parts) {
                assert!((a - b).abs() <= 1e-4, "{name}: {a} in one, {b} in parts");
            }
            if tokens == 1 {
                for (q, got) in q.chunks(width).zip(got.chunks(v)) {
                    assert_eq!(case.attend(isa, q, false, 1, 100), got, "{name}: alone");
                }
            }
        }
    }
}

#[test]
fn what_is_no_number_stays_visible_and_large_numbers_stay_numbers() {
    let mut rng = Rng(7);
    let mut case = Case::new(16, 16, 70, &mut rng);
    let q: Vec<f32> = rng.floats(2 * 16).iter().map(|x| 1e4 * x).collect();
    for isa in Isa::available() {
        for x in case.attend(isa, &q, false, 1, 1) {
            assert!(x.abs() <= 2.0, "{}: {x}", isa.name());
        }
    }
    case.data[Case::GAP] = f32::NAN;
    for isa in Isa::available() {
        for slice in [1, 100] {
            let out = case.attend(isa, &q, false, 1, slice);
            assert!(out.iter().all(|x| x.is_nan()), "{}: {out:?}", isa.name());
        }
    }
}

#[test]
#[should_panic(expected = "2 rows do not fit into 19 numbers")]
fn rows_beyond_the_data_are_refused() {
    let rows = Rows {
        data: Elems::F32(&[0.0; 19]),
        stride: 10,
        start: 2,
        width: 8,
        n: 2,
    };
    let span = Span {
        before: 0,
        past: 1,
        tokens: 1,
        first: 0,
    };
    let mut states = [0.0; state_len(8)];
    attend(Isa::best(), &[0.0; 8], rows, rows, 1.0, span, &mut states);
}
