//! `Simd`: the vocabulary in which every kernel is written, once, for all instruction sets.
//!
//! Six types, each as wide as its work wants it and not as the registers happen to be:
//!
//! | type | holds                                    | AVX2    | SSE4.1  | NEON             | scalar      |
//! |------|------------------------------------------|---------|---------|------------------|-------------|
//! | `B`  | 32 bytes: one block of weights or acts   | one ymm | two xmm | two q registers  | `[u8; 32]`  |
//! | `I`  | i32 partial sums of one block            | 8 lanes | 4 lanes | 4 lanes          | 8 lanes     |
//! | `A`  | f32 sums of many blocks, lanes as in `I` | 8 lanes | 4 lanes | 4 lanes          | 8 lanes     |
//! | `F`  | 8 floats of a vector                     | one ymm | two xmm | two q registers  | `[f32; 8]`  |
//! | `S`  | 16 integer scales of a superblock        | two ymm | two xmm | 16 i32 in memory | `[i32; 16]` |
//! | `N`  | 8 i32, one for each row of a tile        | one ymm | two xmm | two q registers  | `[i32; 8]`  |
//!
//! `I` is as narrow as the machine allows because each of its registers costs a conversion to f32 per block. `F` is always 8, so
//! that loads and stores take arrays and need neither bounds checks nor `unsafe`.
//!
//! The file is long because the vocabulary is, and each word says what it means.
//!
//! Every method is `#[inline(always)]`: it must dissolve into the `#[target_feature]` function that [`crate::isa`] enters.

use crate::lanes::{Eight, Lanes};
use crate::op::latent::Line;
use crate::tile::{Codes, SixBits, Word, nibbles};

/// `each!(N, |i| x)` is `[x for 0, x for 1, ...]`, as [`core::array::from_fn`] has it, without a closure: a closure that is not
/// dissolved itself is compiled without the instruction set, and then every intrinsic in it is a call.
macro_rules! each {
    ($n:expr, |$i:ident| $x:expr) => {{
        let $i = 0;
        let mut out = [$x; $n];
        let mut next = 1;
        while next < $n {
            let $i = next;
            out[$i] = $x;
            next += 1;
        }
        out
    }};
}
pub(crate) use each;

/// `unrolled!(k in [0, 1] { x })` is `x` for 0, then for 1, with `k` a constant in each: LLVM leaves a long body in a loop, and then
/// chooses what depends on `k` by masks.
macro_rules! unrolled {
    ($i:ident in [$($n:literal),*] $x:block) => {
        $({
            let $i: usize = $n;
            $x
        })*
    };
}
pub(crate) use unrolled;

/// One computation, to be run with some instruction set: [`crate::Isa::dispatch`] calls `eval` inside a function compiled for it.
pub(crate) trait SimdOp {
    /// What the computation returns.
    type Output;
    /// The computation. Must be `#[inline(always)]`, and so must all it calls in inner loops.
    fn eval<S: Simd>(self, s: S) -> Self::Output;
}

/// The operations. `self` is the token that proves the CPU has them.
pub(crate) trait Simd: Copy {
    /// 32 bytes.
    type B: Copy;
    /// i32 partial sums.
    type I: Copy;
    /// f32 accumulators, lanes as in `I`.
    type A: Copy;
    /// 8 floats.
    type F: Copy;
    /// 16 integer scales, ready for [`Simd::dot_halves`].
    type S: Copy;
    /// 8 i32, one for each row of a tile.
    type N: Copy;

    /// What `rows_i8` wants added to its weights: 128 where the instruction multiplies unsigned bytes by signed ones, else 0.
    const BIAS: u8;
    /// How many tiles four tokens pass together in prefill, 1 or 2: more sums in flight, as long as there are registers for them.
    const TOGETHER: usize = 2;
    /// The rows of a tile that go by together in decode: all where registers are 64 bytes wide, or there are 32 of them
    /// ([`Sixteen`](crate::lanes::Sixteen)), else eight ([`Eight`]).
    type Lanes: Lanes;
    /// In how many parts a tile's rows go by, 1 or 2.
    const PARTS: usize;
    /// Part `i` of them.
    fn part(self, i: usize) -> Self::Lanes;

    // ---- bytes

    /// 32 weight bytes.
    fn bytes(self, x: &[u8; 32]) -> Self::B;
    /// 32 activations.
    fn acts(self, x: &[i8; 32]) -> Self::B;
    /// The low nibbles of 16 bytes, then their high nibbles.
    fn nibbles(self, x: &[u8; 16]) -> Self::B;
    /// The same byte 32 times.
    fn splat_b(self, x: u8) -> Self::B;
    /// Bitwise and.
    fn and(self, a: Self::B, b: Self::B) -> Self::B;
    /// Bitwise or.
    fn or(self, a: Self::B, b: Self::B) -> Self::B;
    /// Each byte shifted right by `N` (1 to 7), zeros come in.
    fn shr<const N: i32>(self, a: Self::B) -> Self::B;
    /// Each byte shifted left by `N` (1 to 7), zeros come in.
    fn shl<const N: i32>(self, a: Self::B) -> Self::B;
    /// 0xff where `a & b` is not zero, else 0.
    fn test(self, a: Self::B, b: Self::B) -> Self::B;
    /// `a` and the bits of `mask` of `b`, which `a` has not.
    #[inline(always)]
    fn insert(self, a: Self::B, b: Self::B, mask: u8) -> Self::B {
        self.or(a, self.and(b, self.splat_b(mask)))
    }
    /// 0xff where the bit is set, else 0; bit 0 is byte 0.
    fn bits(self, bits: u32) -> Self::B;
    /// `table[i]` for each byte `i` (0 to 15).
    fn table(self, table: &[i8; 16], index: Self::B) -> Self::B;
    /// Exclusive or of each byte with `mask`.
    fn flip(self, a: Self::B, mask: u8) -> Self::B;
    /// Asks for the line that is `ahead` bytes behind the start of `bytes`, inside of them or not, into the second cache.
    fn prefetch(self, bytes: &[u8], ahead: usize);
    /// Stores 32 bytes.
    fn store_b(self, x: Self::B, out: &mut [u8; 32]);

    // ---- integer products: exact

    /// Weights 0 to 63 times activations -127 to 127; the lanes add up to the sum over 32.
    fn dot_u6(self, w: Self::B, a: Self::B) -> Self::I;
    /// Weights -128 to 127 times activations -127 to 127; the lanes add up to the sum over 32.
    fn dot_i8(self, w: Self::B, a: Self::B) -> Self::I;
    /// Makes scales ready.
    fn scales(self, x: &[i8; 16]) -> Self::S;
    /// Like `dot_u6`, but the first 16 products count `scales[2j]` times and the last 16 `scales[2j + 1]` times.
    fn dot_halves(self, w: Self::B, a: Self::B, scales: Self::S, j: usize) -> Self::I;
    /// Sum of the lanes.
    #[cfg(test)]
    fn sum_i(self, x: Self::I) -> i32;

    // ---- eight of the rows of a tile: byte 4r + i belongs to row r

    /// Four bits of each row's word, spread: byte `4r + i` is 0xff where bit `4j + i` of word r is set, else 0.
    fn spread(self, words: Self::B, j: usize) -> Self::B;
    /// `sum * times` in every row: what the sums of products start from.
    fn start(self, sum: i32, times: i32) -> Self::N;
    /// `start` plus the sum over j and i of `w[j][4r + i] * a[j][i]` for each row r; weights 0 to 15, at most 8 steps.
    fn rows_u4<const J: usize>(self, w: &[Self::B; J], a: &[[i8; 4]; J], start: Self::N)
    -> Self::N;
    /// The same for weights 0 to 63.
    fn rows_u6<const J: usize>(self, w: &[Self::B; J], a: &[[i8; 4]; J], start: Self::N)
    -> Self::N;
    /// The same for weights -128 to 127 with [`Simd::BIAS`] added: the sum is that of the biased weights.
    fn rows_i8<const J: usize>(self, w: &[Self::B; J], a: &[[i8; 4]; J], start: Self::N)
    -> Self::N;
    /// `rows_u4` of both halves of a tile.
    #[inline(always)]
    fn both_u4<const J: usize>(
        self,
        w: &[[Self::B; 2]; J],
        a: &[[i8; 4]; J],
        start: [Self::N; 2],
    ) -> [Self::N; 2] {
        each!(2, |i| self.rows_u4(&each!(J, |j| w[j][i]), a, start[i]))
    }
    /// `rows_u6` of both halves of a tile.
    #[inline(always)]
    fn both_u6<const J: usize>(
        self,
        w: &[[Self::B; 2]; J],
        a: &[[i8; 4]; J],
        start: [Self::N; 2],
    ) -> [Self::N; 2] {
        each!(2, |i| self.rows_u6(&each!(J, |j| w[j][i]), a, start[i]))
    }
    /// `rows_i8` of both halves of a tile.
    #[inline(always)]
    fn both_i8<const J: usize>(
        self,
        w: &[[Self::B; 2]; J],
        a: &[[i8; 4]; J],
        start: [Self::N; 2],
    ) -> [Self::N; 2] {
        each!(2, |i| self.rows_i8(&each!(J, |j| w[j][i]), a, start[i]))
    }
    /// [`Lanes::nibbles_rows`] of both halves of a tile.
    #[inline(always)]
    fn both_nibbles(
        self,
        words: &[Word; 4],
        a: &[[i8; 4]; 8],
        start: [Self::N; 2],
    ) -> [Self::N; 2] {
        each!(2, |i| self.rows_u4(
            &nibbles(Eight::new(self, i), words),
            a,
            start[i]
        ))
    }
    /// [`Lanes::six_rows`] of both halves of a tile.
    #[inline(always)]
    fn both_six<const K: usize>(
        self,
        words: SixBits<'_, 4>,
        a: &[[i8; 4]; 4],
        start: [Self::N; 2],
    ) -> [Self::N; 2] {
        each!(2, |i| self.rows_u6(
            &words.codes::<_, K>(Eight::new(self, i)),
            a,
            start[i]
        ))
    }
    /// Stores a group's codes in the order in which `products` wants them; half of them fill half of the bytes.
    #[inline(always)]
    fn store_codes(self, codes: &[Self::B; 8], out: &mut [[u8; 32]; 8]) {
        for j in 0..8 {
            self.store_b(codes[j], &mut out[j]);
        }
    }
    /// `rows_u4`, `rows_u6` or `rows_i8`, as the codes are, of `R` tiles that `store_codes` stored with each of `T` tokens, each with
    /// its start; as f32, exactly, for which some have a shorter way than `to_f`.
    #[inline(always)]
    fn products<const R: usize, const T: usize, const J: usize>(
        self,
        codes: Codes,
        w: [&[[u8; 32]; J]; R],
        a: [&[[i8; 4]; J]; T],
        starts: [i32; T],
    ) -> [[Self::F; R]; T] {
        one_by_one(self, codes, w, a, starts)
    }
    // ---- int8 panels with one scale for a row of a piece: see `op::coarse`

    /// Whether products of many tokens take them, where they are asked for: measured, tier by tier. Elsewhere there is no
    /// code for them either, which a compiler would take minutes for.
    const COARSE: bool = false;
    /// `(code ^ flip) * f + base` of each byte, over `2^shift`, rounded (ties up) and saturated to a signed byte; `f`, `base` and `flip`
    /// are integers of each row: 0 to 255, within i16, and 0 to 255. The sum is within i16 too; `shift` is 1 to 8.
    #[inline(always)]
    fn rescale<const J: usize>(
        self,
        codes: [Self::B; J],
        f: Self::F,
        base: Self::F,
        flip: Self::F,
        shift: u32,
    ) -> [Self::B; J] {
        rescale_by_one(self, codes, f, base, flip, shift)
    }
    /// Lays 32 columns of four tokens out for `block`.
    #[inline(always)]
    fn lay(self, q: [&[i8; 32]; 4], out: &mut Fours) {
        for (t, q) in q.into_iter().enumerate() {
            for (out, q) in out.iter_mut().zip(q.as_chunks::<4>().0) {
                out[t] = *q;
            }
        }
    }
    /// `sums += d * da * (w . a)` of eight rows and `4 Q` tokens: `w` are the groups of a piece as `store_codes` stored them, of
    /// signed bytes with [`Simd::BIAS`] added, and `a` as many as `lay` laid out. The sums are in an order that `settle` undoes.
    #[inline(always)]
    fn block<const Q: usize>(
        self,
        w: &[[[u8; 32]; 8]],
        a: [&[Fours]; Q],
        da: [&FourScales; Q],
        d: &[f32; 8],
        sums: &mut [[[f32; 8]; 4]; Q],
    ) {
        block_by_rows(self, w, a, da, d, sums);
    }
    /// Puts sums of four tokens in order: token by token, row by row.
    #[inline(always)]
    fn settle(self, _sums: &mut [[f32; 8]; 4]) {}
    /// A little-endian u32 a row.
    fn load_n(self, x: &[u8; 32]) -> Self::N;
    /// A little-endian u16 a row.
    fn load_n16(self, x: &[u8; 16]) -> Self::N;
    /// `x >> shift & mask` of each row.
    fn bits_n(self, x: Self::N, shift: u32, mask: i32) -> Self::F;
    /// Byte `i` of each row's word, as a signed integer.
    fn byte_n(self, x: Self::N, i: u32) -> Self::F;
    /// To f32, rounded to nearest.
    fn to_f(self, x: Self::N) -> Self::F;

    // ---- latent rows: sixteen rows, tokens or columns, by a few columns; byte 4r + i of a line belongs to row r

    /// How many columns go together in `many_i8` and `many_planes`, 4 or 8: as many as have registers for their sums.
    const COLUMNS: usize = 4;
    /// How many times sixteen rows, 1 or 2.
    const TILES: usize = 1;
    /// How many products of latent rows take the time of ten products of f32 in blocks, about: by the multipliers that there are for each.
    const LATENT_RATE: usize = 10;
    /// Bits of a plane: 7, or 6 where four products must add up in i16.
    const PLANE: u32 = 7;
    /// For each of `T` columns and `R` times sixteen rows, the start plus the sum over the lines j of `w[r][j][4 row + i] * a[t][j][i]`;
    /// weights -127 to 127 with [`Simd::BIAS`] added. The lines are a multiple of four. As f32: sums stay below 2^24.
    #[inline(always)]
    fn many_i8<const R: usize, const T: usize>(
        self,
        w: [&[Line]; R],
        a: [&[[i8; 4]]; T],
        starts: [i32; T],
    ) -> [[[Self::F; 2]; R]; T] {
        plain(self, w, a, starts)
    }
    /// The same for weights without a bias and columns of 0 to `2^PLANE - 1`.
    #[inline(always)]
    fn many_planes<const R: usize, const T: usize>(
        self,
        w: [&[Line]; R],
        a: [&[[i8; 4]]; T],
    ) -> [[[Self::F; 2]; R]; T] {
        plain(self, w, a, [0; T])
    }
    /// Turns sixteen rows of sixteen columns around: lines of four columns of each row become lines of four rows of each column, and
    /// lose their bias.
    #[inline(always)]
    fn turn(self, x: &[Line; 4], out: &mut [Line; 4]) {
        for (i, x) in x.iter().enumerate() {
            for (j, out) in out.iter_mut().enumerate() {
                for row in 0..4 {
                    for c in 0..4 {
                        out.0[16 * i + 4 * c + row] = x.0[16 * j + 4 * row + c] ^ Self::BIAS;
                    }
                }
            }
        }
    }
    /// 32 numbers of 0 to `4^PLANE - 1`, rounded to integers, as `2^PLANE high + low`.
    #[inline(always)]
    fn planes(self, x: [Self::F; 4], high: &mut [i8; 32], low: &mut [i8; 32]) {
        let (high, low) = (high.as_chunks_mut::<8>().0, low.as_chunks_mut::<8>().0);
        for ((x, high), low) in x.into_iter().zip(high).zip(low) {
            let mut all = [0.0; 8];
            self.store(self.round(x), &mut all);
            for i in 0..8 {
                let n = all[i] as u32;
                high[i] = (n >> Self::PLANE) as i8;
                low[i] = (n & ((1 << Self::PLANE) - 1)) as i8;
            }
        }
    }

    // ---- accumulators

    /// Zeros.
    fn zero(self) -> Self::A;
    /// `acc + x * scale`, lane by lane.
    fn mac(self, acc: Self::A, x: Self::I, scale: f32) -> Self::A;
    /// Sum of the lanes.
    fn sum_a(self, x: Self::A) -> f32;

    // ---- 8 floats

    /// The same value 8 times.
    fn splat(self, x: f32) -> Self::F;
    /// Loads 8 floats.
    fn load(self, x: &[f32; 8]) -> Self::F;
    /// Stores 8 floats.
    fn store(self, x: Self::F, out: &mut [f32; 8]);
    /// Loads 8 f32 from file bytes.
    fn load_f32_le(self, x: &[u8; 32]) -> Self::F;
    /// Loads 8 f16 from file bytes.
    fn load_f16_le(self, x: &[u8; 16]) -> Self::F;
    /// Loads 8 bfloat16 from file bytes.
    fn load_bf16_le(self, x: &[u8; 16]) -> Self::F;
    /// Loads 8 f16.
    fn load_f16(self, x: &[u16; 8]) -> Self::F;
    /// Stores 8 f16, rounded to nearest even; what is too large becomes infinite (IEEE 754).
    fn store_f16(self, x: Self::F, out: &mut [u16; 8]);
    /// 8 small unsigned integers.
    fn widen_u8(self, x: &[u8; 8]) -> Self::F;
    /// 8 small signed integers.
    fn widen_i8(self, x: &[i8; 8]) -> Self::F;
    /// `a + b`.
    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a - b`.
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a * b`.
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a / b`.
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a * b + c`, rounded once where the CPU can.
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// The smaller; a NaN in `b` is kept.
    fn min(self, a: Self::F, b: Self::F) -> Self::F;
    /// The larger; a NaN in `b` is kept.
    fn max(self, a: Self::F, b: Self::F) -> Self::F;
    /// Without the sign.
    fn abs(self, a: Self::F) -> Self::F;
    /// To the nearest integer, ties to even; |a| below 2^22.
    fn round(self, a: Self::F) -> Self::F;
    /// 2 to the power of `a`, an integer from -127 (gives 0) to 128 (gives infinity).
    fn pow2(self, a: Self::F) -> Self::F;
    /// Rounds 32 floats of -127 to 127 to integers, ties to even; the sums of the first and of the last 16 of them.
    fn round_i8(self, x: [Self::F; 4], out: &mut [i8; 32]) -> [i32; 2];
    /// Sum of the 8.
    fn sum(self, x: Self::F) -> f32;
    /// Largest of the 8, none of them NaN.
    fn max_lane(self, x: Self::F) -> f32;

    // ---- scalars

    /// The square root, rounded to nearest.
    fn sqrt(self, x: f32) -> f32;
    /// An f16 as f32.
    fn f16(self, bits: u16) -> f32;
}

/// [`Simd::many_i8`] without a bias, in plain Rust.
#[inline(always)]
fn plain<S: Simd, const R: usize, const T: usize>(
    s: S,
    w: [&[Line]; R],
    a: [&[[i8; 4]]; T],
    starts: [i32; T],
) -> [[[S::F; 2]; R]; T] {
    each!(T, |t| each!(R, |r| {
        let mut sums = [starts[t]; 16];
        for (w, a) in w[r].iter().zip(a[t]) {
            for (sum, w) in sums.iter_mut().zip(w.0.as_chunks::<4>().0) {
                for i in 0..4 {
                    *sum += i32::from(w[i].cast_signed()) * i32::from(a[i]);
                }
            }
        }
        let sums = sums.as_chunks::<8>().0;
        each!(2, |half| s.load(&each!(8, |k| sums[half][k] as f32)))
    }))
}

/// [`Simd::products`], a tile and a token at a time.
#[inline(always)]
pub(crate) fn one_by_one<S: Simd, const R: usize, const T: usize, const J: usize>(
    s: S,
    codes: Codes,
    w: [&[[u8; 32]; J]; R],
    a: [&[[i8; 4]; J]; T],
    starts: [i32; T],
) -> [[S::F; R]; T] {
    each!(T, |t| each!(R, |r| {
        let w = each!(J, |j| s.bytes(&w[r][j]));
        let start = s.start(starts[t], 1);
        s.to_f(match codes {
            Codes::U4 => s.rows_u4(&w, a[t], start),
            Codes::U6 => s.rows_u6(&w, a[t], start),
            Codes::I8 => s.rows_i8(&w, a[t], start),
        })
    }))
}

/// 32 columns of four tokens: for each four columns, those of each token.
pub(crate) type Fours = [[[i8; 4]; 4]; 8];

/// What goes with a piece of four tokens.
#[derive(Clone, Copy)]
pub(crate) struct FourScales {
    /// Scales.
    pub(crate) d: [f32; 4],
    /// What the products start from, so that their sum is that of weights without [`Simd::BIAS`].
    pub(crate) starts: [i32; 4],
}

/// [`Simd::rescale`], byte by byte.
#[inline(always)]
pub(crate) fn rescale_by_one<S: Simd, const J: usize>(
    s: S,
    codes: [S::B; J],
    f: S::F,
    base: S::F,
    flip: S::F,
    shift: u32,
) -> [S::B; J] {
    let mut rows = [[0.0; 8]; 3];
    s.store(f, &mut rows[0]);
    s.store(base, &mut rows[1]);
    s.store(flip, &mut rows[2]);
    let [f, base, flip] = rows.map(|x| each!(32, |i| x[i / 4] as i32));
    each!(J, |j| {
        let mut code = [0; 32];
        s.store_b(codes[j], &mut code);
        for i in 0..32 {
            let x = (i32::from(code[i]) ^ flip[i]) * f[i] + base[i];
            let rounded = (x + (1 << (shift - 1))) >> shift;
            code[i] = (rounded.clamp(-128, 127) as i8).cast_unsigned();
        }
        s.bytes(&code)
    })
}

/// [`Simd::block`] by `rows_i8`, group by group.
#[inline(always)]
pub(crate) fn block_by_rows<S: Simd, const Q: usize>(
    s: S,
    w: &[[[u8; 32]; 8]],
    a: [&[Fours]; Q],
    da: [&FourScales; Q],
    d: &[f32; 8],
    sums: &mut [[[f32; 8]; 4]; Q],
) {
    for q in 0..Q {
        let mut acc = each!(4, |t| s.start(da[q].starts[t], 1));
        for (w, a) in w.iter().zip(a[q]) {
            let w = each!(8, |j| s.bytes(&w[j]));
            for t in 0..4 {
                acc[t] = s.rows_i8(&w, &each!(8, |j| a[j][t]), acc[t]);
            }
        }
        let d = s.load(d);
        for t in 0..4 {
            let scale = s.mul(d, s.splat(da[q].d[t]));
            let sum = s.fma(s.to_f(acc[t]), scale, s.load(&sums[q][t]));
            s.store(sum, &mut sums[q][t]);
        }
    }
}

#[cfg(test)]
mod tests;
