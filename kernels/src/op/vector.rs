//! Plain vector arithmetic: add, scaled add, inner product, conversion to and from f16; and how every operation treats lengths that are not
//! whole eights.

use crate::Isa;
use crate::simd::{Simd, SimdOp};

/// A last piece of fewer than 8 numbers, filled up with `fill`.
#[inline(always)]
pub(crate) fn padded(tail: &[f32], fill: f32) -> [f32; 8] {
    let mut out = [fill; 8];
    out[..tail.len()].copy_from_slice(tail);
    out
}

/// `y += x`.
///
/// # Panics
/// If the lengths differ.
pub fn add(isa: Isa, y: &mut [f32], x: &[f32]) {
    axpy(isa, y, 1.0, x);
}

/// `y += a * x`.
///
/// # Panics
/// If the lengths differ.
pub fn axpy(isa: Isa, y: &mut [f32], a: f32, x: &[f32]) {
    assert_eq!(y.len(), x.len(), "axpy: lengths");
    isa.dispatch(Axpy { y, a, x });
}

struct Axpy<'a> {
    y: &'a mut [f32],
    a: f32,
    x: &'a [f32],
}

impl SimdOp for Axpy<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, s: S) {
        let a = s.splat(self.a);
        let (x, x_tail) = self.x.as_chunks::<8>();
        let (y, y_tail) = self.y.as_chunks_mut::<8>();
        for (y, x) in y.iter_mut().zip(x) {
            s.store(s.fma(a, s.load(x), s.load(y)), y);
        }
        let mut last = padded(y_tail, 0.0);
        s.store(
            s.fma(a, s.load(&padded(x_tail, 0.0)), s.load(&last)),
            &mut last,
        );
        y_tail.copy_from_slice(&last[..y_tail.len()]);
    }
}

/// The inner product.
///
/// # Panics
/// If the lengths differ.
pub fn dot(isa: Isa, a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "dot: lengths");
    isa.dispatch(Dot { a, b })
}

struct Dot<'a> {
    a: &'a [f32],
    b: &'a [f32],
}

impl SimdOp for Dot<'_> {
    type Output = f32;

    #[inline(always)]
    fn eval<S: Simd>(self, s: S) -> f32 {
        let (a, a_tail) = self.a.as_chunks::<8>();
        let (b, b_tail) = self.b.as_chunks::<8>();
        let (a4, a1) = a.as_chunks::<4>();
        let (b4, b1) = b.as_chunks::<4>();
        let mut sums = [s.splat(0.0); 4];
        for (a, b) in a4.iter().zip(b4) {
            for k in 0..4 {
                sums[k] = s.fma(s.load(&a[k]), s.load(&b[k]), sums[k]);
            }
        }
        for ((a, b), sum) in a1.iter().zip(b1).zip(&mut sums) {
            *sum = s.fma(s.load(a), s.load(b), *sum);
        }
        let (a, b) = (padded(a_tail, 0.0), padded(b_tail, 0.0));
        sums[3] = s.fma(s.load(&a), s.load(&b), sums[3]);
        s.sum(s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3])))
    }
}

/// Converts to f16: rounded to nearest even, too large becomes infinite (IEEE 754).
///
/// # Panics
/// If the lengths differ.
pub fn store_f16(isa: Isa, x: &[f32], out: &mut [u16]) {
    assert_eq!(x.len(), out.len(), "store_f16: lengths");
    isa.dispatch(StoreF16 { x, out });
}

struct StoreF16<'a> {
    x: &'a [f32],
    out: &'a mut [u16],
}

impl SimdOp for StoreF16<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, s: S) {
        let (x, x_tail) = self.x.as_chunks::<8>();
        let (out, out_tail) = self.out.as_chunks_mut::<8>();
        for (x, out) in x.iter().zip(out) {
            s.store_f16(s.load(x), out);
        }
        let mut last = [0; 8];
        s.store_f16(s.load(&padded(x_tail, 0.0)), &mut last);
        out_tail.copy_from_slice(&last[..out_tail.len()]);
    }
}

/// The f32 of f16 bits.
///
/// # Panics
/// If the lengths differ.
pub fn load_f16(isa: Isa, x: &[u16], out: &mut [f32]) {
    assert_eq!(x.len(), out.len(), "load_f16: lengths");
    isa.dispatch(LoadF16 { x, out });
}

struct LoadF16<'a> {
    x: &'a [u16],
    out: &'a mut [f32],
}

impl SimdOp for LoadF16<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, s: S) {
        let (x, x_tail) = self.x.as_chunks::<8>();
        let (out, out_tail) = self.out.as_chunks_mut::<8>();
        for (x, out) in x.iter().zip(out) {
            s.store(s.load_f16(x), out);
        }
        for (x, out) in x_tail.iter().zip(out_tail) {
            *out = s.f16(*x);
        }
    }
}
