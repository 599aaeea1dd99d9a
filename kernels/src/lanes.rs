//! `Lanes`: the vocabulary in which tiles are unpacked and multiplied: registers with a lane for each of some rows of a tile.
//!
//! A tile has sixteen rows. Where registers are 64 bytes wide, a type has all of them, and an activation is loaded once for sixteen
//! rows; elsewhere [`Eight`] goes by eight, in the words of [`Simd`], first the upper and then the lower half of a chunk. Where
//! there are many registers, [`Sixteen`] has both halves in twice as many of them.
//!
//! | type | holds                                       |
//! |------|---------------------------------------------|
//! | `B`  | four bytes of each row: byte 4r + i of row r |
//! | `N`  | an i32 of each row                          |
//! | `F`  | an f32 of each row                          |
//!
//! The file is long because each operation stands here three times, in a line or two: as a word, and for either width.

use crate::simd::{Simd, each};
use crate::tile::{SixBits, TILE_ROWS, Word, nibbles};

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
    /// `a` and the bits of `mask` of `b`, which `a` has not.
    #[inline(always)]
    fn insert(self, a: Self::B, b: Self::B, mask: u8) -> Self::B {
        self.or(a, self.and(b, self.splat_b(mask)))
    }
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
    /// Whether one token's products are made from words, with [`Self::nibbles_rows`] and [`Self::six_rows`], and not from codes: for
    /// registers that do not hold all codes of a group.
    const FROM_WORDS: bool = false;
    /// `rows_u4` of the codes of [`nibbles`].
    #[inline(always)]
    fn nibbles_rows(self, words: &[Word; 4], a: &[[i8; 4]; 8], start: Self::N) -> Self::N {
        self.rows_u4(&nibbles(self, words), a, start)
    }
    /// `rows_u6` of [`SixBits::codes`].
    #[inline(always)]
    fn six_rows<const K: usize>(
        self,
        words: SixBits<'_, 4>,
        a: &[[i8; 4]; 4],
        start: Self::N,
    ) -> Self::N {
        self.rows_u6(&words.codes::<_, K>(self), a, start)
    }
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
    fn insert(self, a: S::B, b: S::B, mask: u8) -> S::B {
        self.s.insert(a, b, mask)
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

/// All rows of a tile, in twice as many registers of a [`Simd`]: what is made of activations serves both halves.
#[derive(Clone, Copy)]
pub(crate) struct Sixteen<S>(S);

impl<S: Simd> Sixteen<S> {
    /// All rows.
    #[inline(always)]
    pub(crate) fn new(s: S) -> Sixteen<S> {
        Sixteen(s)
    }

    /// The upper and the lower half.
    #[inline(always)]
    fn halves(self) -> [Eight<S>; 2] {
        [Eight::new(self.0, 0), Eight::new(self.0, 1)]
    }
}

/// The same of both halves; what varies with the half is named.
macro_rules! both {
    ($lanes:expr, |$l:ident $(, $x:ident)*| $of:expr) => {{
        let [upper, lower] = $lanes.halves();
        [
            { let $l = upper; $(let $x = $x[0];)* $of },
            { let $l = lower; $(let $x = $x[1];)* $of },
        ]
    }};
}

impl<S: Simd> Lanes for Sixteen<S> {
    type B = [S::B; 2];
    type N = [S::N; 2];
    type F = [S::F; 2];

    const BIAS: u8 = S::BIAS;
    const FROM_WORDS: bool = true;

    #[inline(always)]
    fn word(self, x: &[u8; 4 * TILE_ROWS]) -> Self::B {
        both!(self, |l| l.word(x))
    }
    #[inline(always)]
    fn word_n(self, x: &[u8; 4 * TILE_ROWS]) -> Self::N {
        both!(self, |l| l.word_n(x))
    }
    #[inline(always)]
    fn half_n(self, x: &[u8; 2 * TILE_ROWS]) -> Self::N {
        both!(self, |l| l.half_n(x))
    }
    #[inline(always)]
    fn half_f(self, x: &[u8; 2 * TILE_ROWS]) -> Self::F {
        both!(self, |l| l.half_f(x))
    }
    #[inline(always)]
    fn byte_f(self, x: &[u8; TILE_ROWS], value: fn(u8) -> f32) -> Self::F {
        both!(self, |l| l.byte_f(x, value))
    }

    #[inline(always)]
    fn prefetch(self, bytes: &[u8], ahead: usize) {
        self.0.prefetch(bytes, ahead);
    }

    #[inline(always)]
    fn splat_b(self, x: u8) -> Self::B {
        both!(self, |l| l.splat_b(x))
    }
    #[inline(always)]
    fn and(self, a: Self::B, b: Self::B) -> Self::B {
        both!(self, |l, a, b| l.and(a, b))
    }
    #[inline(always)]
    fn or(self, a: Self::B, b: Self::B) -> Self::B {
        both!(self, |l, a, b| l.or(a, b))
    }
    #[inline(always)]
    fn shr<const N: i32>(self, a: Self::B) -> Self::B {
        both!(self, |l, a| l.shr::<N>(a))
    }
    #[inline(always)]
    fn shl<const N: i32>(self, a: Self::B) -> Self::B {
        both!(self, |l, a| l.shl::<N>(a))
    }
    #[inline(always)]
    fn choose(self, a: Self::B, has: u8, bit: u8) -> Self::B {
        both!(self, |l, a| l.choose(a, has, bit))
    }
    #[inline(always)]
    fn insert(self, a: Self::B, b: Self::B, mask: u8) -> Self::B {
        both!(self, |l, a, b| l.insert(a, b, mask))
    }
    #[inline(always)]
    fn table(self, table: &[i8; 16], index: Self::B) -> Self::B {
        both!(self, |l, index| l.table(table, index))
    }
    #[inline(always)]
    fn flip(self, a: Self::B, mask: u8) -> Self::B {
        both!(self, |l, a| l.flip(a, mask))
    }
    #[inline(always)]
    fn spread(self, words: Self::B, j: usize, bit: u8) -> Self::B {
        both!(self, |l, words| l.spread(words, j, bit))
    }

    #[inline(always)]
    fn start(self, sum: i32, times: i32) -> Self::N {
        both!(self, |l| l.start(sum, times))
    }
    #[inline(always)]
    fn rows_u4<const J: usize>(
        self,
        w: &[Self::B; J],
        a: &[[i8; 4]; J],
        start: Self::N,
    ) -> Self::N {
        self.0.both_u4(w, a, start)
    }
    #[inline(always)]
    fn rows_u6<const J: usize>(
        self,
        w: &[Self::B; J],
        a: &[[i8; 4]; J],
        start: Self::N,
    ) -> Self::N {
        self.0.both_u6(w, a, start)
    }
    #[inline(always)]
    fn rows_i8<const J: usize>(
        self,
        w: &[Self::B; J],
        a: &[[i8; 4]; J],
        start: Self::N,
    ) -> Self::N {
        self.0.both_i8(w, a, start)
    }
    #[inline(always)]
    fn nibbles_rows(self, words: &[Word; 4], a: &[[i8; 4]; 8], start: Self::N) -> Self::N {
        self.0.both_nibbles(words, a, start)
    }
    #[inline(always)]
    fn six_rows<const K: usize>(
        self,
        words: SixBits<'_, 4>,
        a: &[[i8; 4]; 4],
        start: Self::N,
    ) -> Self::N {
        self.0.both_six::<K>(words, a, start)
    }
    #[inline(always)]
    fn bits_n(self, x: Self::N, shift: u32, mask: i32) -> Self::F {
        both!(self, |l, x| l.bits_n(x, shift, mask))
    }
    #[inline(always)]
    fn byte_n(self, x: Self::N, i: u32) -> Self::F {
        both!(self, |l, x| l.byte_n(x, i))
    }
    #[inline(always)]
    fn to_f(self, x: Self::N) -> Self::F {
        both!(self, |l, x| l.to_f(x))
    }

    #[inline(always)]
    fn splat(self, x: f32) -> Self::F {
        both!(self, |l| l.splat(x))
    }
    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        both!(self, |l, a, b| l.mul(a, b))
    }
    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        both!(self, |l, a, b| l.sub(a, b))
    }
    #[inline(always)]
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        both!(self, |l, a, b, c| l.fma(a, b, c))
    }
    #[inline(always)]
    fn store(self, x: Self::F, out: &mut [f32; TILE_ROWS]) {
        let [upper, lower] = self.halves();
        upper.store(x[0], out);
        lower.store(x[1], out);
    }
}
