//! What the formats with superblocks of 256 share: activations by the superblock, and the 6-bit scales of `Q4_K` and `Q5_K`.
//!
//! ggml multiplies superblocks by activations with one scale per 256; here they keep one per 32, which costs a multiplication per
//! block and halves the rounding error of the activations. The eight factors `d * scale_j * da_j` are made at once.

use super::blocks::u32_at;
use crate::lanes::Lanes;
use crate::op::acts::Act;
use crate::simd::{Simd, each};
use crate::tile::Word;

/// Weights in a superblock.
pub(crate) const K: usize = 256;

/// One token's activations, by the superblock.
#[derive(Clone, Copy)]
pub(crate) struct Supers<'a> {
    /// Eight blocks of 32.
    pub(crate) q: &'a [[[i8; 32]; 8]],
    /// Their scales.
    pub(crate) d: &'a [[f32; 8]],
    /// Scale times sum, per 32.
    pub(crate) s32: &'a [[f32; 8]],
    /// Scale times sum, per 16.
    pub(crate) s16: &'a [[f32; 16]],
}

impl<'a> Supers<'a> {
    /// `T` tokens' activations as `n` superblocks each.
    #[inline(always)]
    pub(crate) fn of<const T: usize>(acts: &[Act<'a>; T], n: usize) -> [Supers<'a>; T] {
        let mut out = [Supers {
            q: &[],
            d: &[],
            s32: &[],
            s16: &[],
        }; T];
        for t in 0..T {
            let a = &acts[t];
            out[t] = Supers {
                q: &a.q.as_chunks().0[..n],
                d: &a.d.as_chunks().0[..n],
                s32: &a.s32.as_chunks().0[..n],
                s16: &a.s16.as_chunks().0[..n],
            };
        }
        out
    }
}

/// `a * b`, eight at once.
#[inline(always)]
pub(crate) fn products<S: Simd>(s: S, a: S::F, b: &[f32; 8]) -> [f32; 8] {
    let mut out = [0.0; 8];
    s.store(s.mul(a, s.load(b)), &mut out);
    out
}

/// The sum of `d * scale_j * s16_j` over the 16 groups of a superblock, times `by`, added lane by lane to `acc`.
#[inline(always)]
pub(crate) fn offsets<S: Simd>(s: S, acc: S::F, scales: [S::F; 2], s16: &[f32; 16]) -> S::F {
    let (halves, _) = s16.as_chunks::<8>();
    s.fma(
        scales[1],
        s.load(&halves[1]),
        s.fma(scales[0], s.load(&halves[0]), acc),
    )
}

/// 16 bytes as two arrays of 8.
#[inline(always)]
pub(crate) fn split<T>(x: &[T; 16]) -> [&[T; 8]; 2] {
    let (halves, _) = x.as_chunks::<8>();
    [&halves[0], &halves[1]]
}

/// The eight 6-bit scales and eight 6-bit mins of `Q4_K` and `Q5_K`, from the 12 bytes at `at`.
///
/// ```text
/// bytes 0-3   mm ssssss   scale 0-3, and the high two bits of scale 4-7
/// bytes 4-7   mm mmmmmm   min   0-3, and the high two bits of min   4-7
/// bytes 8-11  mmmm ssss   the low nibbles of scale 4-7 and of min 4-7
/// ```
#[inline(always)]
pub(crate) fn scales_mins(block: &[u8], at: usize) -> ([u8; 8], [u8; 8]) {
    const SIX: u32 = 0x3f3f_3f3f;
    const FOUR: u32 = 0x0f0f_0f0f;
    const TWO: u32 = 0x0303_0303;
    let (a, b, c) = (
        u32_at(block, at),
        u32_at(block, at + 4),
        u32_at(block, at + 8),
    );
    let pair = |low: u32, high: u32| (u64::from(low) | u64::from(high) << 32).to_le_bytes();
    let scales = pair(a & SIX, c & FOUR | (a >> 6 & TWO) << 4);
    let mins = pair(b & SIX, c >> 4 & FOUR | (b >> 6 & TWO) << 4);
    (scales, mins)
}

/// The same for the rows of a tile, `words` the three words of each: the eight scales times `d`, and the eight mins times `-dmin`.
#[inline(always)]
pub(crate) fn scales_mins_of_rows<L: Lanes>(
    l: L,
    words: &[Word; 3],
    d: L::F,
    dmin: L::F,
) -> ([L::F; 8], [L::F; 8]) {
    let [a, b, c] = each!(3, |i| l.word_n(&words[i]));
    let (sixteen, dmin) = (l.splat(16.0), l.mul(dmin, l.splat(-1.0)));
    let (mut scales, mut mins) = ([d; 8], [dmin; 8]);
    for j in 0..4 {
        let byte = 8 * j as u32;
        let six = |x| l.bits_n(x, byte, 63);
        let split = |x, at| {
            l.fma(
                l.bits_n(x, byte + 6, 3),
                sixteen,
                l.bits_n(c, byte + at, 15),
            )
        };
        scales[j] = l.mul(d, six(a));
        mins[j] = l.mul(dmin, six(b));
        scales[j + 4] = l.mul(d, split(a, 0));
        mins[j + 4] = l.mul(dmin, split(b, 4));
    }
    (scales, mins)
}

/// Bits `2k` and `2k + 1` of each byte at its bottom; those above stay.
#[inline(always)]
pub(crate) fn two_bits<L: Lanes>(l: L, x: L::B, k: usize) -> L::B {
    match k {
        0 => x,
        1 => l.shr::<2>(x),
        2 => l.shr::<4>(x),
        _ => l.shr::<6>(x),
    }
}

/// Writes what [`scales_mins`] reads, to the 12 bytes at the front of `out`.
pub(crate) fn put_scales_mins(scales: &[u8; 8], mins: &[u8; 8], out: &mut [u8]) {
    for j in 0..4 {
        out[j] = scales[j] | (scales[j + 4] >> 4) << 6;
        out[j + 4] = mins[j] | (mins[j + 4] >> 4) << 6;
        out[j + 8] = scales[j + 4] & 15 | mins[j + 4] << 4;
    }
}
