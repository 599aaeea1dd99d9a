//! Latent attention over int8 rows: a block of the cache, and attention that reads it once for all heads.
//!
//! A row is `[c (rank) | r (rope)]`. The latent `c` is int8 with a scale for every 128 numbers; the rotary key `r`, which few numbers
//! of very different size carry, has one scale and two planes of int8, 15 bits: `r = d (128 h + l)`. For DeepSeek's 512 + 64 numbers
//! that is 512 + 128 bytes and five f32, 660 bytes a token.
//!
//! **Layout.** Sixteen tokens are a tile. A tile holds four bytes of each token side by side, so that in registers of 64, 32 or 16 bytes
//! the lanes are tokens, and an instruction multiplies four columns of them by the same four numbers of a query:
//!
//! ```text
//!   words   [4 tiles][columns / 4][16 tokens][4]       columns: c, filled up to 16s | h, filled up | l, filled up
//!   scales  [one for each 128 of c, one for r][64 tokens]
//! ```
//!
//! Bytes carry `Simd::BIAS` where the products want one. The file has more than 400 lines because storing, quantising and attending must
//! agree on every byte of this.
//!
//! **Scores.** A query is quantised alike, in 128s with f32 scales, its rotary part in two planes. With `Q` for the int8 of a query,
//! and the softmax's factor in its scales,
//!
//! ```text
//!   x = sum over 128s  dq dk (Q . K)   +   dq dk ( 2^14 Qh . Kh  +  2^7 [Ql | Qh] . [Kh | Kl] )
//! ```
//!
//! where the product of the low planes, 2^-14 of the whole, is left out. All sums of a line are exact integers.
//!
//! **Mix.** Weights `p` become `n = p dk / step` for each 128, an integer of 14 bits in two planes (12 where products of 7 bits do not add up
//! in i16), and the bytes of the block are turned so that lanes are columns and four tokens meet in one instruction:
//!
//! ```text
//!   o = c o + step ( 2^7 N_high . K  +  N_low . K )
//! ```
//!
//! Both passes are the same product of sixteen rows with a few columns, at the rate of the machine's int8 products.

use super::stream::{BLOCK, COLUMNS, Span, carry, state_len};
use super::vector::padded;
use crate::Isa;
use crate::simd::{Simd, SimdOp, each};

/// Tokens of a tile.
const TILE: usize = 16;
/// Numbers with one scale.
const GROUP: usize = 128;
/// Largest number of two planes: 127 * 128.
const LEVELS: f32 = 16256.0;

/// Four bytes of each token of a tile, where registers of 64 bytes want them.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Line(pub [u8; 64]);

/// The numbers of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    rank: usize,
    rope: usize,
}

impl Shape {
    /// Rows of `rank` latent numbers and a rotary key of `rope`.
    #[must_use]
    pub const fn new(rank: usize, rope: usize) -> Shape {
        Shape { rank, rope }
    }

    /// Latent numbers that a block has room for: whole 16s. States mix as many.
    #[must_use]
    pub const fn mixed(self) -> usize {
        self.rank.next_multiple_of(16)
    }

    /// The same of the rotary key.
    const fn rotary(self) -> usize {
        self.rope.next_multiple_of(16)
    }

    /// Scales of the latent.
    const fn groups(self) -> usize {
        self.rank.div_ceil(GROUP)
    }

    /// Words of a tile.
    const fn tile(self) -> usize {
        (self.mixed() + 2 * self.rotary()) / 4
    }

    /// Words of a block.
    #[must_use]
    pub const fn words(self) -> usize {
        BLOCK / TILE * self.tile()
    }

    /// Scales of a block.
    #[must_use]
    pub const fn scales(self) -> usize {
        (self.groups() + 1) * BLOCK
    }

    /// Bytes of a quantised query.
    #[must_use]
    pub const fn query(self) -> usize {
        self.mixed() + 3 * self.rotary()
    }

    /// Products of a query and a row, each with a factor and a start.
    #[must_use]
    pub const fn products(self) -> usize {
        self.groups() + 2
    }

    /// Products of int8 of a query with a row, those of the mix in two planes included.
    #[must_use]
    pub const fn macs(self) -> usize {
        3 * (self.mixed() + self.rotary())
    }

    /// Bytes of a token.
    #[must_use]
    pub const fn token_bytes(self) -> usize {
        self.tile() * 4 + (self.groups() + 1) * 4
    }

    fn check(self, words: &[Line], scales: &[f32]) {
        assert_eq!(words.len(), self.words(), "words of a block");
        assert_eq!(scales.len(), self.scales(), "scales of a block");
    }

    /// Product `i`: its columns in a row, its first byte in a query, its row of scales.
    #[inline(always)]
    fn product(self, i: usize) -> Product {
        let (groups, mixed, rotary) = (self.groups(), self.mixed(), self.rotary());
        if i < groups {
            return Product {
                start: i * GROUP,
                len: GROUP.min(mixed - i * GROUP),
                query: i * GROUP,
                scales: i,
            };
        }
        let both = i - groups;
        Product {
            start: mixed,
            len: rotary * (1 + both),
            query: mixed + rotary * both,
            scales: groups,
        }
    }
}

/// See [`Shape::product`].
#[derive(Clone, Copy)]
struct Product {
    start: usize,
    len: usize,
    query: usize,
    scales: usize,
}

/// What is added to the bytes of a block on `isa`.
#[must_use]
pub fn bias(isa: Isa) -> u8 {
    isa.dispatch(Traits).0
}

/// How many products of int8 in [`attend`] take the time of ten products of f32 in [`flash`](super::flash), about.
#[must_use]
pub fn rate(isa: Isa) -> usize {
    isa.dispatch(Traits).1
}

struct Traits;

impl SimdOp for Traits {
    type Output = (u8, usize);

    #[inline(always)]
    fn eval<S: Simd>(self, _: S) -> (u8, usize) {
        (S::BIAS, S::LATENT_RATE)
    }
}

/// The scale by which the largest of some numbers becomes `levels`, and its inverse. The scale is NaN if one of them is none or
/// infinite; the inverse is 0 then, and where all are too small to divide by.
#[inline(always)]
fn scale<S: Simd>(s: S, x: &[f32], levels: f32) -> (f32, f32) {
    let (mut largest, mut flaw) = (s.splat(0.0), s.splat(0.0));
    let (x8, tail) = x.as_chunks::<8>();
    let last = padded(tail, 0.0);
    for x in x8.iter().chain([&last]) {
        let x = s.load(x);
        largest = s.max(s.abs(x), largest);
        // Zero times a finite number is zero, times an infinity or NaN it is NaN.
        flaw = s.fma(x, s.splat(0.0), flaw);
    }
    if s.sum(flaw) != 0.0 {
        return (f32::NAN, 0.0);
    }
    let d = s.max_lane(largest) / levels;
    let inverse = 1.0 / d;
    match inverse.is_finite() && inverse > 0.0 {
        true => (d, inverse),
        false => (0.0, 0.0),
    }
}

/// Up to 32 numbers times `inverse`, rounded; where that is 0, zeros.
#[inline(always)]
fn one_plane<S: Simd>(s: S, x: &[f32], inverse: f32, out: &mut [i8; 32]) {
    let mut all = [0.0; 32];
    if inverse != 0.0 {
        all[..x.len()].copy_from_slice(x);
    }
    rounded(s, &all, inverse, out);
}

/// The same in two planes, `128 high + low`.
#[inline(always)]
fn two_planes<S: Simd>(s: S, x: &[f32], inverse: f32, high: &mut [i8; 32], low: &mut [i8; 32]) {
    let mut all = [0.0; 32];
    if inverse != 0.0 {
        for (all, x) in all.iter_mut().zip(x) {
            *all = inverse * x;
        }
    }
    rounded(s, &all, 1.0 / 128.0, high);
    for (all, high) in all.iter_mut().zip(high) {
        *all -= 128.0 * f32::from(*high);
    }
    rounded(s, &all, 1.0, low);
}

/// 32 numbers times `factor`, rounded, -127 to 127.
#[inline(always)]
fn rounded<S: Simd>(s: S, x: &[f32; 32], factor: f32, out: &mut [i8; 32]) {
    let (limit, lowest, factor) = (s.splat(127.0), s.splat(-127.0), s.splat(factor));
    let x = x.as_chunks::<8>().0;
    let scaled = each!(4, |k| s
        .max(lowest, s.min(limit, s.mul(s.load(&x[k]), factor))));
    s.round_i8(scaled, out);
}

/// Makes `row`, `(rank + rope)`, that of token `i` of a block.
///
/// # Panics
/// If the lengths are not those of `shape`, or there is no such token.
pub fn store(
    isa: Isa,
    shape: Shape,
    row: &[f32],
    i: usize,
    words: &mut [Line],
    scales: &mut [f32],
) {
    assert_eq!(row.len(), shape.rank + shape.rope, "store: a row");
    assert!(i < BLOCK, "store: token {i} of a block of {BLOCK}");
    shape.check(words, scales);
    isa.dispatch(Store {
        shape,
        row,
        i,
        words,
        scales,
    });
}

struct Store<'a> {
    shape: Shape,
    row: &'a [f32],
    i: usize,
    words: &'a mut [Line],
    scales: &'a mut [f32],
}

impl SimdOp for Store<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, s: S) {
        let Store {
            shape,
            row,
            i,
            words,
            scales,
        } = self;
        let tile = &mut words[i / TILE * shape.tile()..][..shape.tile()];
        let at = i % TILE * 4;
        let mut put = |column: usize, n: usize, bytes: &[i8; 32]| {
            let words = &mut tile[column / 4..][..n.div_ceil(4)];
            for (word, four) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
                word.0[at..at + 4].copy_from_slice(&four.map(|b| b.cast_unsigned() ^ S::BIAS));
            }
        };
        let (mut high, mut low) = ([0; 32], [0; 32]);
        let (latent, rotary) = row.split_at(shape.rank);
        for (g, x) in latent.chunks(GROUP).enumerate() {
            let (d, inverse) = scale(s, x, 127.0);
            scales[g * BLOCK + i] = d;
            for (k, x) in x.chunks(32).enumerate() {
                one_plane(s, x, inverse, &mut high);
                put(g * GROUP + 32 * k, x.len(), &high);
            }
        }
        let (d, inverse) = scale(s, rotary, LEVELS);
        scales[shape.groups() * BLOCK + i] = d;
        for (k, x) in rotary.chunks(32).enumerate() {
            two_planes(s, x, inverse, &mut high, &mut low);
            put(shape.mixed() + 32 * k, x.len(), &high);
            put(shape.mixed() + shape.rotary() + 32 * k, x.len(), &low);
        }
    }
}

/// The row of token `i` of a block as numbers, `(rank + rope)`.
///
/// # Panics
/// As [`store`].
pub fn load(isa: Isa, shape: Shape, words: &[Line], scales: &[f32], i: usize, row: &mut [f32]) {
    assert_eq!(row.len(), shape.rank + shape.rope, "load: a row");
    assert!(i < BLOCK, "load: token {i} of a block of {BLOCK}");
    shape.check(words, scales);
    let bias = bias(isa);
    let tile = &words[i / TILE * shape.tile()..][..shape.tile()];
    let at = i % TILE * 4;
    let byte = |column: usize| (tile[column / 4].0[at + column % 4] ^ bias).cast_signed();
    let (latent, rotary) = row.split_at_mut(shape.rank);
    for (g, x) in latent.chunks_mut(GROUP).enumerate() {
        let d = scales[g * BLOCK + i];
        for (k, x) in x.chunks_mut(4).enumerate() {
            let four = &tile[g * GROUP / 4 + k].0[at..at + 4];
            for (x, byte) in x.iter_mut().zip(four) {
                *x = d * f32::from((byte ^ bias).cast_signed());
            }
        }
    }
    let d = scales[shape.groups() * BLOCK + i];
    for (k, x) in rotary.iter_mut().enumerate() {
        let high = byte(shape.mixed() + k);
        let low = byte(shape.mixed() + shape.rotary() + k);
        *x = d * (128.0 * f32::from(high) + f32::from(low));
    }
}

/// Queries ready for blocks of a shape.
#[derive(Clone, Copy, Debug)]
pub struct Queries<'a> {
    /// `(columns, Shape::query)`
    pub bytes: &'a [i8],
    /// `(columns, Shape::products)`: what an integer sum is multiplied by, beside the row's scale.
    pub factors: &'a [f32],
    /// `(columns, Shape::products)`: what an integer sum starts from.
    pub starts: &'a [i32],
}

/// Quantises a query: `latent`, `(rank)`, and `rotary`, `(rope)`. Its scores will be multiplied by `factor`. Into one column of
/// [`Queries`].
///
/// # Panics
/// If the lengths are not those of `shape`.
pub fn query(
    isa: Isa,
    shape: Shape,
    [latent, rotary]: [&[f32]; 2],
    factor: f32,
    bytes: &mut [i8],
    factors: &mut [f32],
    starts: &mut [i32],
) {
    assert_eq!(latent.len(), shape.rank, "query: the latent part");
    assert_eq!(rotary.len(), shape.rope, "query: the rotary part");
    assert_eq!(bytes.len(), shape.query(), "query: bytes");
    assert_eq!(factors.len(), shape.products(), "query: factors");
    assert_eq!(starts.len(), shape.products(), "query: starts");
    isa.dispatch(Query {
        shape,
        latent,
        rotary,
        factor,
        bytes,
        factors,
        starts,
    });
}

struct Query<'a> {
    shape: Shape,
    latent: &'a [f32],
    rotary: &'a [f32],
    factor: f32,
    bytes: &'a mut [i8],
    factors: &'a mut [f32],
    starts: &'a mut [i32],
}

impl SimdOp for Query<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, s: S) {
        let Query { shape, factor, .. } = self;
        let (mut high, mut low) = ([0; 32], [0; 32]);
        self.bytes.fill(0);
        for (g, x) in self.latent.chunks(GROUP).enumerate() {
            let (d, inverse) = scale(s, x, 127.0);
            self.factors[g] = factor * d;
            for (k, x) in x.chunks(32).enumerate() {
                one_plane(s, x, inverse, &mut high);
                let out = &mut self.bytes[g * GROUP + 32 * k..][..x.len()];
                out.copy_from_slice(&high[..x.len()]);
            }
        }
        let (d, inverse) = scale(s, self.rotary, LEVELS);
        let [.., to_high, to_both] = self.factors else {
            return;
        };
        (*to_high, *to_both) = (factor * d * 16384.0, factor * d * 128.0);
        let (_, rotary) = self.bytes.split_at_mut(shape.mixed());
        let (first, both) = rotary.split_at_mut(shape.rotary());
        let (of_low, of_high) = both.split_at_mut(shape.rotary());
        for (k, x) in self.rotary.chunks(32).enumerate() {
            two_planes(s, x, inverse, &mut high, &mut low);
            let range = 32 * k..32 * k + x.len();
            first[range.clone()].copy_from_slice(&high[..x.len()]);
            of_high[range.clone()].copy_from_slice(&high[..x.len()]);
            of_low[range].copy_from_slice(&low[..x.len()]);
        }
        for (i, start) in self.starts.iter_mut().enumerate() {
            let product = shape.product(i);
            let bytes = &self.bytes[product.query..][..product.len];
            let sum: i32 = bytes.iter().map(|x| i32::from(*x)).sum();
            *start = -i32::from(S::BIAS) * sum;
        }
    }
}

/// Carries the states of some columns over the first `n` tokens of a block, over values of [`Shape::mixed`] numbers (see
/// [`stream`](super::stream)).
///
/// # Panics
/// If the lengths do not fit each other.
pub fn attend(
    isa: Isa,
    shape: Shape,
    queries: Queries<'_>,
    words: &[Line],
    scales: &[f32],
    n: usize,
    span: Span,
    states: &mut [f32],
) {
    shape.check(words, scales);
    assert!(n <= BLOCK, "attend: {n} tokens in a block of {BLOCK}");
    let columns = queries.bytes.len() / shape.query();
    assert_eq!(
        queries.bytes.len(),
        columns * shape.query(),
        "attend: whole queries"
    );
    assert_eq!(
        queries.factors.len(),
        columns * shape.products(),
        "attend: factors of all queries"
    );
    assert_eq!(
        queries.starts.len(),
        columns * shape.products(),
        "attend: starts of all queries"
    );
    assert_eq!(
        states.len(),
        columns * state_len(shape.mixed()),
        "attend: a state for each query"
    );
    isa.dispatch(Attend {
        shape,
        queries,
        words,
        scales,
        n,
        span,
        states,
    });
}

struct Attend<'a> {
    shape: Shape,
    queries: Queries<'a>,
    words: &'a [Line],
    scales: &'a [f32],
    n: usize,
    span: Span,
    states: &'a mut [f32],
}

/// Scores, then weights, of some columns.
type Weights = [[f32; BLOCK]; COLUMNS];

/// The two planes of the weights of a column, high before low.
type Planes = [[[i8; 4]; BLOCK / 4]; 2];

impl SimdOp for Attend<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, s: S) {
        let shape = self.shape;
        let size = state_len(shape.mixed());
        let columns = self.states.len() / size;
        let mut weights: Weights = [[0.0; BLOCK]; COLUMNS];
        let mut turned = [Line([0; 64]); GROUP * BLOCK / 64];
        for first in (0..columns).step_by(COLUMNS) {
            let n = COLUMNS.min(columns - first);
            let mut seen = [0; COLUMNS];
            let mut most = 0;
            for (i, seen) in seen.iter_mut().enumerate().take(n) {
                *seen = self.span.seen(first + i, self.n);
                most = most.max(*seen);
            }
            if most == 0 {
                continue;
            }
            let tiles = most.div_ceil(TILE);
            self.scores(s, first, n, tiles, &mut weights);
            let states = &mut self.states[first * size..][..n * size];
            let mut factors = [1.0; COLUMNS];
            for (i, state) in states.chunks_exact_mut(size).enumerate().take(COLUMNS) {
                let end = &mut state[shape.mixed()..];
                factors[i] = carry(s, &mut weights[i], seen[i], end).unwrap_or(1.0);
            }
            for g in 0..shape.groups() {
                let product = shape.product(g);
                for tile in 0..tiles {
                    let words = &self.words[tile * shape.tile() + product.start / 4..];
                    let words = words[..product.len / 4].as_chunks::<4>().0;
                    for (words, out) in words.iter().zip(turned.chunks_exact_mut(TILE)) {
                        if let Some(out) = out.as_chunks_mut::<4>().0.get_mut(tile) {
                            s.turn(words, out);
                        }
                    }
                }
                let mix = Mix {
                    turned: &turned,
                    tiles,
                    start: product.start,
                    strips: product.len / 16,
                    size,
                };
                let scales = &self.scales[g * BLOCK..][..BLOCK];
                mix.run(s, &weights, scales, &factors, states);
            }
        }
    }
}

impl Attend<'_> {
    /// The scores of columns `first .. first + n` with the first tiles.
    #[inline(always)]
    fn scores<S: Simd>(&self, s: S, first: usize, n: usize, tiles: usize, out: &mut Weights) {
        let mut i = 0;
        while i < n {
            let out = &mut out[i..];
            if S::COLUMNS == 8 && n - i >= 8 {
                self.score::<S, 8>(s, first + i, tiles, out);
                i += 8;
            } else if n - i >= 4 {
                self.score::<S, 4>(s, first + i, tiles, out);
                i += 4;
            } else {
                self.score::<S, 1>(s, first + i, tiles, out);
                i += 1;
            }
        }
    }

    #[inline(always)]
    fn score<S: Simd, const T: usize>(
        &self,
        s: S,
        first: usize,
        tiles: usize,
        out: &mut [[f32; BLOCK]],
    ) {
        let mut tile = 0;
        while tile < tiles {
            if S::TILES == 2 && tiles - tile >= 2 {
                self.tiles::<S, 2, T>(s, first, tile, out);
                tile += 2;
            } else {
                self.tiles::<S, 1, T>(s, first, tile, out);
                tile += 1;
            }
        }
    }

    /// `R` tiles with `T` columns.
    #[inline(always)]
    fn tiles<S: Simd, const R: usize, const T: usize>(
        &self,
        s: S,
        first: usize,
        tile: usize,
        out: &mut [[f32; BLOCK]],
    ) {
        let shape = self.shape;
        let count = shape.products();
        let mut sums = [[[s.splat(0.0); 2]; R]; T];
        for p in 0..count {
            let product = shape.product(p);
            let w = each!(R, |r| {
                let start = (tile + r) * shape.tile() + product.start / 4;
                &self.words[start..][..product.len / 4]
            });
            let a = each!(T, |t| {
                let start = (first + t) * shape.query() + product.query;
                self.queries.bytes[start..][..product.len]
                    .as_chunks::<4>()
                    .0
            });
            let starts = each!(T, |t| self.queries.starts[(first + t) * count + p]);
            let found = s.many_i8(w, a, starts);
            let scales = &self.scales[product.scales * BLOCK + tile * TILE..][..R * TILE];
            let scales = scales.as_chunks::<8>().0;
            for t in 0..T {
                let factor = s.splat(self.queries.factors[(first + t) * count + p]);
                for r in 0..R {
                    for half in 0..2 {
                        let x = s.mul(found[t][r][half], factor);
                        let scale = s.load(&scales[2 * r + half]);
                        sums[t][r][half] = s.fma(x, scale, sums[t][r][half]);
                    }
                }
            }
        }
        for t in 0..T {
            let out = out[t][tile * TILE..].as_chunks_mut::<8>().0;
            for r in 0..R {
                s.store(sums[t][r][0], &mut out[2 * r]);
                s.store(sums[t][r][1], &mut out[2 * r + 1]);
            }
        }
    }
}

/// The mix of up to 128 latent columns.
struct Mix<'a> {
    /// `[strips of 16 columns][tokens / 4][16 columns][4]`
    turned: &'a [Line; GROUP * BLOCK / 64],
    tiles: usize,
    /// The first column.
    start: usize,
    strips: usize,
    /// From a state to the next.
    size: usize,
}

impl Mix<'_> {
    #[inline(always)]
    fn run<S: Simd>(
        &self,
        s: S,
        weights: &Weights,
        scales: &[f32],
        factors: &[f32; COLUMNS],
        states: &mut [f32],
    ) {
        let n = states.len() / self.size;
        let mut i = 0;
        while i < n {
            let states = &mut states[i * self.size..];
            if S::COLUMNS == 8 && n - i >= 4 {
                self.columns::<S, 4, 8>(s, &weights[i..], scales, &factors[i..], states);
                i += 4;
            } else if n - i >= 2 {
                self.columns::<S, 2, 4>(s, &weights[i..], scales, &factors[i..], states);
                i += 2;
            } else {
                self.columns::<S, 1, 2>(s, &weights[i..], scales, &factors[i..], states);
                i += 1;
            }
        }
    }

    /// `C` columns, whose planes are `T`.
    #[inline(always)]
    fn columns<S: Simd, const C: usize, const T: usize>(
        &self,
        s: S,
        weights: &[[f32; BLOCK]],
        scales: &[f32],
        factors: &[f32],
        states: &mut [f32],
    ) {
        let mut planes: [Planes; C] = [[[[0; 4]; BLOCK / 4]; 2]; C];
        let steps = each!(C, |c| weigh(
            s,
            &weights[c],
            scales,
            self.tiles,
            &mut planes[c]
        ));
        let mut strip = 0;
        while strip < self.strips {
            if S::TILES == 2 && self.strips - strip >= 2 {
                self.strips::<S, 2, C, T>(s, strip, &planes, &steps, factors, states);
                strip += 2;
            } else {
                self.strips::<S, 1, C, T>(s, strip, &planes, &steps, factors, states);
                strip += 1;
            }
        }
    }

    #[inline(always)]
    fn strips<S: Simd, const R: usize, const C: usize, const T: usize>(
        &self,
        s: S,
        strip: usize,
        planes: &[Planes; C],
        steps: &[f32; C],
        factors: &[f32],
        states: &mut [f32],
    ) {
        let n = self.tiles * TILE / 4;
        let w = each!(R, |r| &self.turned[(strip + r) * TILE..][..n]);
        let a = each!(T, |t| &planes[t / 2][t % 2][..n]);
        let found = s.many_planes(w, a);
        let high = s.splat((1_u32 << S::PLANE) as f32);
        for c in 0..C {
            let (step, factor) = (s.splat(steps[c]), s.splat(factors[c]));
            let start = c * self.size + self.start + strip * 16;
            let out = states[start..][..16 * R].as_chunks_mut::<8>().0;
            for r in 0..R {
                for half in 0..2 {
                    let out = &mut out[2 * r + half];
                    let (of_high, of_low) = (found[2 * c][r][half], found[2 * c + 1][r][half]);
                    let x = s.fma(of_high, high, of_low);
                    s.store(s.fma(x, step, s.mul(s.load(out), factor)), out);
                }
            }
        }
    }
}

/// The weights of a column times the scales of the rows, in two planes; what one step of them stands for.
#[inline(always)]
fn weigh<S: Simd>(
    s: S,
    weights: &[f32; BLOCK],
    scales: &[f32],
    tiles: usize,
    planes: &mut Planes,
) -> f32 {
    // The largest integer, and the least that its inverse can be taken of.
    let levels = ((1_u32 << (2 * S::PLANE)) - 1) as f32;
    const LEAST: f32 = 1e-33;
    let weights = weights.as_chunks::<8>().0;
    let scales = scales.as_chunks::<8>().0;
    let n = 2 * tiles;
    let mut products = [[0.0; 8]; BLOCK / 8];
    let mut largest = s.splat(0.0);
    for ((out, p), d) in products.iter_mut().zip(weights).zip(scales).take(n) {
        let x = s.mul(s.load(p), s.load(d));
        largest = s.max(x, largest);
        s.store(x, out);
    }
    let largest = s.max_lane(largest);
    if largest < LEAST {
        return 0.0;
    }
    let factor = s.splat(levels / largest);
    let [high, low] = planes;
    let out = high.as_flattened_mut().as_chunks_mut::<32>().0;
    let out = out
        .iter_mut()
        .zip(low.as_flattened_mut().as_chunks_mut::<32>().0);
    for ((high, low), x) in out.zip(products.as_chunks::<4>().0).take(tiles.div_ceil(2)) {
        let x = each!(4, |k| s.mul(s.load(&x[k]), factor));
        s.planes(x, high, low);
    }
    largest / levels
}
