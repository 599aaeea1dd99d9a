//! The vector operations, on every instruction set of this CPU and at every length around the vector width, against the plain
//! f64 reference.

#[path = "common/weights.rs"]
#[expect(dead_code, reason = "these tests need no quantised weights")]
mod common;

use common::Rng;
use wattle_kernels::{
    Isa, RopeKind, add, axpy, dot, quantize, reference, rmsnorm, rope, scale_len, silu_mul,
    softmax, store_f16, sum_len,
};

const LENGTHS: [usize; 14] = [1, 2, 7, 8, 9, 15, 16, 31, 32, 33, 63, 64, 100, 577];
const EPS: f64 = 1.0 / (1 << 24) as f64;

/// Asserts that `out` is `want` within `ulps` half-ulps of `size`.
fn near(out: f32, want: f64, size: f64, roundings: f64, what: &str) {
    let bound = size * roundings * EPS + 1e-37;
    let error = (f64::from(out) - want).abs();
    assert!(
        error <= bound,
        "{what}: {out:e}, not {want:e}, off by {:.2} times the bound",
        error / bound
    );
}

#[test]
fn dot_axpy_and_add_are_the_reference() {
    let mut rng = Rng(1);
    for n in LENGTHS {
        let (a, b) = (rng.floats(n), rng.floats(n));
        let want = reference::dot(&a, &b);
        let size: f64 = a.iter().zip(&b).map(|(a, b)| f64::from(a * b).abs()).sum();
        for isa in Isa::available() {
            near(
                dot(isa, &a, &b),
                want,
                size,
                n as f64 / 16.0 + 12.0,
                isa.name(),
            );
            let mut y = a.clone();
            axpy(isa, &mut y, 0.3, &b);
            let mut z = a.clone();
            add(isa, &mut z, &b);
            for i in 0..n {
                let (a, b) = (f64::from(a[i]), f64::from(b[i]));
                near(
                    y[i],
                    a + f64::from(0.3_f32) * b,
                    a.abs() + b.abs(),
                    2.0,
                    "axpy",
                );
                near(z[i], a + b, a.abs() + b.abs(), 1.0, "add");
            }
        }
    }
}

#[test]
fn rmsnorm_is_the_reference() {
    let mut rng = Rng(2);
    for n in LENGTHS {
        let (x, w) = (rng.floats(n), rng.floats(n));
        let want = reference::rmsnorm(&x, &w, 1e-6);
        for isa in Isa::available() {
            let mut out = vec![f32::NAN; n];
            rmsnorm(isa, &x, &w, 1e-6, &mut out);
            for i in 0..n {
                near(
                    out[i],
                    want[i],
                    want[i].abs(),
                    n as f64 / 16.0 + 16.0,
                    isa.name(),
                );
            }
        }
    }
}

#[test]
fn silu_is_the_reference_over_the_whole_range() {
    // Exponential 2 ulp, then addition, division, product.
    let mut rng = Rng(3);
    let gate: Vec<f32> = (0..4001)
        .map(|i| (i - 2000) as f32 * 0.05 + rng.float() * 0.01)
        .collect();
    let up = vec![1.0; gate.len()];
    for isa in Isa::available() {
        let mut out = vec![f32::NAN; gate.len()];
        silu_mul(isa, &gate, &up, &mut out);
        for (x, out) in gate.iter().zip(&out) {
            let want = reference::silu(*x);
            // Below -88 the exponential is infinite and the result a zero, which is right to 1e-36.
            if *x < -88.0 {
                assert!(out.abs() < 1e-36, "{}: silu({x}) = {out}", isa.name());
            } else {
                near(*out, want, want.abs(), 7.0, isa.name());
            }
        }
        for (x, want) in [
            (f32::INFINITY, f32::INFINITY),
            (0.0, 0.0),
            (-3e38, 0.0),
            (3e38, 3e38),
        ] {
            let mut out = [f32::NAN];
            silu_mul(isa, &[x], &[1.0], &mut out);
            assert_eq!(out[0].abs(), want, "{}: silu({x})", isa.name());
        }
        let mut out = [0.0];
        silu_mul(isa, &[f32::NAN], &[1.0], &mut out);
        assert!(out[0].is_nan(), "{} hides NaN", isa.name());
    }
}

#[test]
fn softmax_is_the_reference() {
    let mut rng = Rng(4);
    for n in LENGTHS {
        let mut x = rng.floats(n);
        if n > 8 {
            x[5] = f32::NEG_INFINITY;
            x[n - 1] = -200.0;
        }
        let want = reference::softmax(&x);
        for isa in Isa::available() {
            let mut out = x.clone();
            softmax(isa, &mut out);
            for i in 0..n {
                // x - max rounds once, and an error of it is multiplied by the exponential's slope.
                let spread = f64::from(x[i]).abs().min(90.0) + 20.0;
                near(
                    out[i],
                    want[i],
                    want[i],
                    n as f64 / 8.0 + 16.0 + spread,
                    isa.name(),
                );
            }
            if n > 8 {
                assert_eq!(
                    (out[5], out[n - 1]),
                    (0.0, 0.0),
                    "{}: no chance is none",
                    isa.name()
                );
            }
        }
    }
    for isa in Isa::available() {
        softmax(isa, &mut []);
    }
}

#[test]
fn rope_is_the_reference() {
    let mut rng = Rng(5);
    for half in [1, 2, 5, 32] {
        let angles: Vec<f64> = (0..half).map(|_| f64::from(rng.float()) * 10.0).collect();
        let (cos, sin): (Vec<f32>, Vec<f32>) = angles
            .iter()
            .map(|a| (a.cos() as f32, a.sin() as f32))
            .unzip();
        for kind in [RopeKind::Norm, RopeKind::Neox] {
            let x = rng.floats(3 * 2 * half);
            let mut out = x.clone();
            rope(&mut out, &cos, &sin, kind);
            for (part, out) in x.chunks(2 * half).zip(out.chunks(2 * half)) {
                let size = part.iter().fold(0.0, |m: f64, x| m.max(f64::from(x.abs())));
                for (out, want) in out.iter().zip(reference::rope(part, &angles, kind)) {
                    near(*out, want, 2.0 * size, 4.0, "rope");
                }
            }
        }
    }
}

#[test]
fn f16_rounds_to_nearest_even() {
    // 1 + 2^-11 lies between 1 and 1 + 2^-10: the even one is 1. 65520 is the first that rounds to infinity.
    let x = [
        1.000_488_3,
        1.001_464_8,
        65519.0,
        65520.0,
        -1e9,
        5.960_464_5e-8,
        2.98e-8,
        -0.0,
        f32::INFINITY,
    ];
    let want = [0x3c00, 0x3c02, 0x7bff, 0x7c00, 0xfc00, 1, 0, 0x8000, 0x7c00];
    for isa in Isa::available() {
        let mut out = [0; 9];
        store_f16(isa, &x, &mut out);
        assert_eq!(out, want, "{}", isa.name());
        let mut nan = [0];
        store_f16(isa, &[f32::NAN], &mut nan);
        assert!(nan[0] & 0x7fff > 0x7c00, "{}: NaN stays NaN", isa.name());
    }
}

#[test]
fn quantised_activations_are_near_and_their_sums_exact() {
    let mut rng = Rng(7);
    let (cols, tokens) = (96, 3);
    let mut x = rng.floats(cols * tokens);
    x[..32].fill(0.0);
    x[40] = 1e-40; // alone in no block
    x[64..96].fill(1e-42);
    let mut first: Option<(Vec<i8>, Vec<f32>)> = None;
    for isa in Isa::available() {
        let (mut q, mut scales) = (vec![99; x.len()], vec![f32::NAN; tokens * scale_len(cols)]);
        let mut sums = vec![i32::MAX; tokens * sum_len(cols)];
        quantize(isa, &x, cols, &mut q, &mut scales, &mut sums);
        for t in 0..tokens {
            let (q32, q16) = sums[t * sum_len(cols)..][..sum_len(cols)].split_at(3);
            let (q, x) = (&q[t * cols..][..cols], &x[t * cols..][..cols]);
            let scales = &scales[t * scale_len(cols)..][..scale_len(cols)];
            let (d, s32, s16) = (&scales[..3], &scales[3..6], &scales[6..]);
            for i in 0..cols {
                let d = d[i / 32];
                assert!((-127..=127).contains(&q[i]));
                assert!(
                    (x[i] - f32::from(q[i]) * d).abs() <= 0.5001 * d + 1e-39,
                    "{} at {i}",
                    isa.name()
                );
            }
            for half in 0..6 {
                let sum: i32 = q[half * 16..][..16].iter().map(|q| i32::from(*q)).sum();
                assert_eq!(q16[half], sum);
                assert_eq!(s16[half], d[half / 2] * sum as f32);
            }
            for block in 0..3 {
                let sum: i32 = q[block * 32..][..32].iter().map(|q| i32::from(*q)).sum();
                assert_eq!(q32[block], sum);
                assert_eq!(s32[block], d[block] * sum as f32);
            }
        }
        let (first_q, first_scales) = first.get_or_insert_with(|| (q.clone(), scales.clone()));
        assert_eq!(
            (&*first_q, &*first_scales),
            (&q, &scales),
            "{} differs from scalar",
            isa.name()
        );
    }
}
