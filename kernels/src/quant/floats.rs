//! What the float formats share: the loop of products with f32 activations, for any number of columns.

use crate::op::acts::Act;
use crate::simd::Simd;

/// Decodes weights of `N` bytes one by one.
pub(crate) fn decode_each<const N: usize>(
    bytes: &[u8],
    out: &mut [f32],
    one: impl Fn(&[u8; N]) -> f32,
) {
    for (bytes, out) in bytes.as_chunks().0.iter().zip(out) {
        *out = one(bytes);
    }
}

/// Encodes weights one by one into `N` bytes.
pub(crate) fn encode_each<const N: usize>(x: &[f32], out: &mut [u8], one: impl Fn(f32) -> [u8; N]) {
    for (x, out) in x.iter().zip(out.as_chunks_mut().0) {
        *out = one(*x);
    }
}

/// A float format; `N` bytes hold 8 weights.
pub(crate) trait Floats<const N: usize> {
    /// 8 weights.
    fn eight<S: Simd>(s: S, bytes: &[u8; N]) -> S::F;

    /// A row times `T` tokens: four sums of 8 lanes a token, so that no addition waits for the one before.
    #[inline(always)]
    fn dot_floats<S: Simd, const T: usize>(s: S, row: &[u8], acts: &[Act<'_>; T]) -> [f32; T] {
        let (eights, rest) = row.as_chunks::<N>();
        let (fours, singles) = eights.as_chunks::<4>();
        let cols = fours.len() * 32 + singles.len() * 8 + rest.len() / (N / 8);
        let mut sums = [[s.splat(0.0); 4]; T];
        let x: [&[f32]; T] = acts.map(|a| &a.x[..cols]);
        let wide: [&[[[f32; 8]; 4]]; T] = x.map(|x| &x.as_chunks().0.as_chunks().0[..fours.len()]);
        for (i, w) in fours.iter().enumerate() {
            for k in 0..4 {
                let w = Self::eight(s, &w[k]);
                for t in 0..T {
                    sums[t][k] = s.fma(w, s.load(&wide[t][i][k]), sums[t][k]);
                }
            }
        }
        for (i, w) in singles.iter().enumerate() {
            let w = Self::eight(s, w);
            for t in 0..T {
                let (x, _) = x[t][fours.len() * 32..].as_chunks::<8>();
                sums[t][i] = s.fma(w, s.load(&x[i]), sums[t][i]);
            }
        }
        if !rest.is_empty() {
            let mut bytes = [0; N];
            bytes[..rest.len()].copy_from_slice(rest);
            let w = Self::eight(s, &bytes);
            for t in 0..T {
                let tail = &x[t][eights.len() * 8..];
                let mut last = [0.0; 8];
                last[..tail.len()].copy_from_slice(tail);
                sums[t][3] = s.fma(w, s.load(&last), sums[t][3]);
            }
        }
        let mut out = [0.0; T];
        for t in 0..T {
            let [a, b, c, d] = sums[t];
            out[t] = s.sum(s.add(s.add(a, b), s.add(c, d)));
        }
        out
    }
}
