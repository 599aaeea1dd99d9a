//! `Lanes`: the vocabulary in which tiles are unpacked and multiplied: registers with a lane for each of some rows of a tile.
//!
//! A tile has sixteen rows. Where registers are 64 bytes wide, a type has all of them, and an activation is loaded once for sixteen
//! rows; elsewhere [`Eight`] goes by eight, in the words of [`Simd`], first the upper and then the lower half of a chunk.
//!
//! | type | holds                                       |
//! |------|---------------------------------------------|
//! | `B`  | four bytes of each row: byte 4r + i of row r |
//! | `N`  | an i32 of each row                          |
//! | `F`  | an f32 of each row                          |

use crate::simd::{Simd, each};
use crate::tile::TILE_ROWS;

/// The operations. What is loaded and stored is that of a whole tile, of which the value knows its rows.
pub(crate) trait Lanes: Copy {
    /// Four bytes of each row.
    type B: Copy;
    /// An i32 of each row.
    type N: Copy;
    /// An f32 of each row.
    type F: Copy;

    /// See [`Simd::BIAS`].
    const BIAS: u8;

    // ---- out of a tile

    /// Four bytes of each row.
    fn word(self, x: &[u8; 4 * TILE_ROWS]) -> Self::B;
    /// A little-endian u32 of each row.
    fn word_n(self, x: &[u8; 4 * TILE_ROWS]) -> Self::N;
    /// A little-endian u16 of each row.
    fn half_n(self, x: &[u8; 2 * TILE_ROWS]) -> Self::N;
    /// An f16 of each row.
    fn half_f(self, x: &[u8; 2 * TILE_ROWS]) -> Self::F;
    /// What a byte of each row stands for.
    fn byte_f(self, x: &[u8; TILE_ROWS], value: fn(u8) -> f32) -> Self::F;

    /// See [`Simd::prefetch`].
    fn prefetch(self, bytes: &[u8], ahead: usize);

    // ---- bytes, as in `Simd`

    /// The same byte everywhere.
    fn splat_b(self, x: u8) -> Self::B;
    /// Bitwise and.
    fn and(self, a: Self::B, b: Self::B) -> Self::B;
    /// Bitwise or.
    fn or(self, a: Self::B, b: Self::B) -> Self::B;
    /// Each byte shifted right by `N` (1 to 7), zeros come in.
    fn shr<const N: i32>(self, a: Self::B) -> Self::B;
    /// Each byte shifted left by `N` (1 to 7), zeros come in.
    fn shl<const N: i32>(self, a: Self::B) -> Self::B;
    /// `bit` where `a` has it, else 0; `bit` is a power of two.
    fn choose(self, a: Self::B, has: u8, bit: u8) -> Self::B;
    /// `table[i]` for each byte `i` (0 to 15).
    fn table(self, table: &[i8; 16], index: Self::B) -> Self::B;
    /// Exclusive or of each byte with `mask`.
    fn flip(self, a: Self::B, mask: u8) -> Self::B;
    /// Four bits of each row's word, spread: byte `4r + i` is `bit` where bit `4j + i` of word r is set, else 0.
    fn spread(self, words: Self::B, j: usize, bit: u8) -> Self::B;

    // ---- integers

    /// `sum * times` in every row: what the sums of products start from.
    fn start(self, sum: i32, times: i32) -> Self::N;
    /// `start` plus the sum over j and i of `w[j][4r + i] * a[j][i]` for each row r; weights 0 to 15, at most 8 steps.
    fn rows_u4<const J: usize>(self, w: &[Self::B; J], a: &[[i8; 4]; J], start: Self::N)
    -> Self::N;
    /// The same for weights 0 to 63.
    fn rows_u6<const J: usize>(self, w: &[Self::B; J], a: &[[i8; 4]; J], start: Self::N)
    -> Self::N;
    /// The same for weights -128 to 127 with [`Self::BIAS`] added: the sum is that of the biased weights.
    fn rows_i8<const J: usize>(self, w: &[Self::B; J], a: &[[i8; 4]; J], start: Self::N)
    -> Self::N;
    /// `x >> shift & mask` of each row.
    fn bits_n(self, x: Self::N, shift: u32, mask: i32) -> Self::F;
    /// Byte `i` of each row's word, as a signed integer.
    fn byte_n(self, x: Self::N, i: u32) -> Self::F;
    /// To f32, rounded to nearest.
    fn to_f(self, x: Self::N) -> Self::F;

    // ---- floats

    /// The same value in every row.
    fn splat(self, x: f32) -> Self::F;
    /// `a * b`.
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a - b`.
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a * b + c`, rounded once where the CPU can.
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// Stores to the places of its rows.
    fn store(self, x: Self::F, out: &mut [f32; TILE_ROWS]);
}

/// Half of a tile's rows, in registers of a [`Simd`].
#[derive(Clone, Copy)]
pub(crate) struct Eight<S> {
    s: S,
    /// 0 or 1.
    half: usize,
}

impl<S: Simd> Eight<S> {
    /// Rows `8 * half` and on; `half` is 0 or 1.
    #[inline(always)]
    pub(crate) fn new(s: S, half: usize) -> Eight<S> {
        Eight { s, half: half % 2 }
    }

    /// What it is eight rows of.
    #[inline(always)]
    pub(crate) fn s(self) -> S {
        self.s
    }

    /// Its half of `2 * N` numbers.
    #[inline(always)]
    fn mine<T, const N: usize>(self, x: &[T]) -> &[T; N] {
        &x.as_chunks().0[self.half]
    }
}

impl<S: Simd> Lanes for Eight<S> {
    type B = S::B;
    type N = S::N;
    type F = S::F;

    const BIAS: u8 = S::BIAS;

    #[inline(always)]
    fn word(self, x: &[u8; 4 * TILE_ROWS]) -> S::B {
        self.s.bytes(self.mine(x))
    }
    #[inline(always)]
    fn word_n(self, x: &[u8; 4 * TILE_ROWS]) -> S::N {
        self.s.load_n(self.mine(x))
    }
    #[inline(always)]
    fn half_n(self, x: &[u8; 2 * TILE_ROWS]) -> S::N {
        self.s.load_n16(self.mine(x))
    }
    #[inline(always)]
    fn half_f(self, x: &[u8; 2 * TILE_ROWS]) -> S::F {
        self.s.load_f16_le(self.mine(x))
    }
    #[inline(always)]
    fn byte_f(self, x: &[u8; TILE_ROWS], value: fn(u8) -> f32) -> S::F {
        let x: &[u8; 8] = self.mine(x);
        self.s.load(&each!(8, |r| value(x[r])))
    }

    #[inline(always)]
    fn prefetch(self, bytes: &[u8], ahead: usize) {
        self.s.prefetch(bytes, ahead);
    }

    #[inline(always)]
    fn splat_b(self, x: u8) -> S::B {
        self.s.splat_b(x)
    }
    #[inline(always)]
    fn and(self, a: S::B, b: S::B) -> S::B {
        self.s.and(a, b)
    }
    #[inline(always)]
    fn or(self, a: S::B, b: S::B) -> S::B {
        self.s.or(a, b)
    }
    #[inline(always)]
    fn shr<const N: i32>(self, a: S::B) -> S::B {
        self.s.shr::<N>(a)
    }
    #[inline(always)]
    fn shl<const N: i32>(self, a: S::B) -> S::B {
        self.s.shl::<N>(a)
    }
    #[inline(always)]
    fn choose(self, a: S::B, has: u8, bit: u8) -> S::B {
        let set = self.s.test(a, self.s.splat_b(has));
        self.s.and(set, self.s.splat_b(bit))
    }
    #[inline(always)]
    fn table(self, table: &[i8; 16], index: S::B) -> S::B {
        self.s.table(table, index)
    }
    #[inline(always)]
    fn flip(self, a: S::B, mask: u8) -> S::B {
        self.s.flip(a, mask)
    }
    #[inline(always)]
    fn spread(self, words: S::B, j: usize, bit: u8) -> S::B {
        self.s.and(self.s.spread(words, j), self.s.splat_b(bit))
    }

    #[inline(always)]
    fn start(self, sum: i32, times: i32) -> S::N {
        self.s.start(sum, times)
    }
    #[inline(always)]
    fn rows_u4<const J: usize>(self, w: &[S::B; J], a: &[[i8; 4]; J], start: S::N) -> S::N {
        self.s.rows_u4(w, a, start)
    }
    #[inline(always)]
    fn rows_u6<const J: usize>(self, w: &[S::B; J], a: &[[i8; 4]; J], start: S::N) -> S::N {
        self.s.rows_u6(w, a, start)
    }
    #[inline(always)]
    fn rows_i8<const J: usize>(self, w: &[S::B; J], a: &[[i8; 4]; J], start: S::N) -> S::N {
        self.s.rows_i8(w, a, start)
    }
    #[inline(always)]
    fn bits_n(self, x: S::N, shift: u32, mask: i32) -> S::F {
        self.s.bits_n(x, shift, mask)
    }
    #[inline(always)]
    fn byte_n(self, x: S::N, i: u32) -> S::F {
        self.s.byte_n(x, i)
    }
    #[inline(always)]
    fn to_f(self, x: S::N) -> S::F {
        self.s.to_f(x)
    }

    #[inline(always)]
    fn splat(self, x: f32) -> S::F {
        self.s.splat(x)
    }
    #[inline(always)]
    fn mul(self, a: S::F, b: S::F) -> S::F {
        self.s.mul(a, b)
    }
    #[inline(always)]
    fn sub(self, a: S::F, b: S::F) -> S::F {
        self.s.sub(a, b)
    }
    #[inline(always)]
    fn fma(self, a: S::F, b: S::F, c: S::F) -> S::F {
        self.s.fma(a, b, c)
    }
    #[inline(always)]
    fn store(self, x: S::F, out: &mut [f32; TILE_ROWS]) {
        self.s.store(x, &mut out.as_chunks_mut().0[self.half]);
    }
}
