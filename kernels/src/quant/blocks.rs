//! What the formats with blocks of 32 share: reading fields, decoding block by block, and the two loops of products.

use crate::op::acts::Act;
use crate::simd::Simd;

/// `N` bytes at a fixed place of a block. With constant `at` the check is done by the compiler.
#[inline(always)]
pub(crate) fn field<const N: usize>(block: &[u8], at: usize) -> &[u8; N] {
    match block[at..].first_chunk() {
        Some(field) => field,
        None => unreachable!("a field lies inside its block"),
    }
}

/// A little-endian u16 at a fixed place of a block: most often the bits of an f16.
#[inline(always)]
pub(crate) fn u16_at(block: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(*field(block, at))
}

/// A little-endian u32 at a fixed place of a block.
#[inline(always)]
pub(crate) fn u32_at(block: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*field(block, at))
}

/// An f16 at a fixed place of a block, as f32; for decoding, where speed does not matter.
pub(crate) fn f16_at(block: &[u8], at: usize) -> f32 {
    half::f16::from_bits(u16_at(block, at)).to_f32()
}

/// Decodes blocks of `N` bytes and `W` weights one by one.
pub(crate) fn decode_blocks<const N: usize, const W: usize>(
    bytes: &[u8],
    out: &mut [f32],
    one: impl Fn(&[u8; N], &mut [f32; W]),
) {
    for (block, out) in bytes.as_chunks().0.iter().zip(out.as_chunks_mut().0) {
        one(block, out);
    }
}

/// The nibble of weight `i` of 32: low nibbles first, then high ones.
pub(crate) fn nibble(qs: &[u8], i: usize) -> u8 {
    if i < 16 { qs[i] & 15 } else { qs[i - 16] >> 4 }
}

/// 32 weights of 5 bits: nibbles at `qs`, the fifth bits in the u32 at `qh`.
#[inline(always)]
pub(crate) fn five_bits<S: Simd>(s: S, block: &[u8], qh: usize, qs: usize) -> S::B {
    let fifth = s.and(s.bits(u32_at(block, qh)), s.splat_b(16));
    s.or(s.nibbles(field(block, qs)), fifth)
}

/// A format whose weights are `y = d * q + m`, q from 0 to 63, `N` bytes a block.
pub(crate) trait Line<const N: usize> {
    /// The block's q, d and m.
    fn line<S: Simd>(s: S, block: &[u8; N]) -> (S::B, f32, f32);

    /// A row times `T` tokens.
    #[inline(always)]
    fn dot_lines<S: Simd, const T: usize>(s: S, row: &[u8], acts: &[Act<'_>; T]) -> [f32; T] {
        let blocks = row.as_chunks::<N>().0;
        let acts = Act::cut(acts, 0, blocks.len());
        let (mut sums, mut mins) = ([s.zero(); T], [0.0; T]);
        for (i, block) in blocks.iter().enumerate() {
            let (q, d, m) = Self::line(s, block);
            for t in 0..T {
                let a = &acts[t];
                sums[t] = s.mac(sums[t], s.dot_u6(q, s.acts(&a.q[i])), d * a.d[i]);
                mins[t] += m * a.s32[i];
            }
        }
        let mut out = mins;
        for t in 0..T {
            out[t] += s.sum_a(sums[t]);
        }
        out
    }
}

/// A format whose weights are `y = d * c`, c a signed byte, `N` bytes a block.
pub(crate) trait Codes<const N: usize> {
    /// The block's c and d.
    fn codes<S: Simd>(s: S, block: &[u8; N]) -> (S::B, f32);

    /// A row times `T` tokens.
    #[inline(always)]
    fn dot_codes<S: Simd, const T: usize>(s: S, row: &[u8], acts: &[Act<'_>; T]) -> [f32; T] {
        let blocks = row.as_chunks::<N>().0;
        let acts = Act::cut(acts, 0, blocks.len());
        let mut sums = [s.zero(); T];
        for (i, block) in blocks.iter().enumerate() {
            let (c, d) = Self::codes(s, block);
            for t in 0..T {
                let a = &acts[t];
                sums[t] = s.mac(sums[t], s.dot_i8(c, s.acts(&a.q[i])), d * a.d[i]);
            }
        }
        let mut out = [0.0; T];
        for t in 0..T {
            out[t] = s.sum_a(sums[t]);
        }
        out
    }
}
