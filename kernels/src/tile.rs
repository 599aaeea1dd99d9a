//! Tiles: sixteen rows of weights, their words side by side, so that one load holds four weights of each row.
//!
//! A file holds a row's weights one behind the other, so a kernel that reads it adds up neighbours of one row at the end, and loads
//! each activation anew for each row. In a tile, lane r of a register belongs to row r: the products of four activations, the same
//! in all lanes, add up in place, and a row's scale is lane r of a register of scales.
//!
//! A block of every format is a few *fields*, each some words of 32 bits (bytes that hold codes, four to a word), or a number of
//! 16 or 8 bits. A tile is cut in *chunks* of at least 128 columns. A chunk has first the small numbers of all its blocks, field by
//! field, then the words, block by block, as they are read:
//!
//! ```text
//!   small field 0: of block 0: of rows 0 to 15   of block 1: of rows 0 to 15   ...
//!   small field 1: ...
//!   block 0: word 0 of rows 0 to 15   word 1 of rows 0 to 15   ...
//!   block 1: ...
//! ```
//!
//! So a tile has exactly the bytes of its sixteen rows, the layout is the same on every instruction set, and a row can be taken out
//! again. A word of all rows is a line of the cache, and lies on one as long as there are whole chunks. Registers of 64 bytes take it
//! whole; narrower ones take the upper and then the lower half of a chunk ([`Lanes`]). A pass over a matrix reads one stream, line
//! by line, which hardware prefetchers follow best.

use core::marker::PhantomData;

use crate::Format;
use crate::lanes::Lanes;
use crate::quant::{Tiled, VisitTiled};
use crate::simd::each;

/// Rows of a tile.
pub const TILE_ROWS: usize = 16;

/// The number of this layout, for whoever keeps tiles longer than a run: another one once any byte of a tile has another place.
pub const TILE_LAYOUT: u32 = 2;

/// Four bytes of each row of a tile.
pub(crate) type Word = [u8; 4 * TILE_ROWS];

/// Some numbers of one size at a fixed place of a block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    /// Where the first is.
    pub(crate) at: usize,
    /// Bytes of each: 4, 2 or 1.
    pub(crate) unit: usize,
    /// How many.
    pub(crate) count: usize,
}

impl Field {
    /// `count` words of 32 bits.
    pub(crate) const fn words(at: usize, count: usize) -> Field {
        let unit = 4;
        Field { at, unit, count }
    }

    /// One number of 16 bits.
    pub(crate) const fn half(at: usize) -> Field {
        let (unit, count) = (2, 1);
        Field { at, unit, count }
    }

    /// One byte.
    pub(crate) const fn byte(at: usize) -> Field {
        let (unit, count) = (1, 1);
        Field { at, unit, count }
    }
}

/// Whether the fields fill a block without gap or overlap, words last.
pub(crate) const fn fill(fields: &[Field], bytes: usize) -> bool {
    let (mut total, mut i) = (0, 0);
    while i < fields.len() {
        let field = fields[i];
        let end = field.at + field.unit * field.count;
        total += field.unit * field.count;
        if end > bytes || i > 0 && fields[i - 1].unit == 4 && field.unit < 4 {
            return false;
        }
        let mut j = 0;
        while j < i {
            let other = fields[j];
            if field.at < other.at + other.unit * other.count && other.at < end {
                return false;
            }
            j += 1;
        }
        i += 1;
    }
    total == bytes && fields.len() <= MOST_FIELDS
}

/// Most fields of a format.
const MOST_FIELDS: usize = 8;

/// What the products of a row of weights need to know about a format's codes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codes {
    /// 0 to 15.
    U4,
    /// 0 to 63.
    U6,
    /// -128 to 127.
    I8,
}

/// 32 weights of some rows: `weight = d * (code - above) + m`, with one `d` and `m` for each half and [`Tiled::ABOVE`].
#[derive(Clone, Copy)]
pub(crate) struct Group<L: Lanes> {
    /// Codes 4j to 4j + 3 of each row.
    pub(crate) codes: [L::B; 8],
    /// Of the first 16 and of the last 16 weights; formats with one scale ([`Tiled::HALVES`]) give it twice.
    pub(crate) d: [L::F; 2],
    /// Not read for formats that have none ([`Tiled::MIN`]).
    pub(crate) m: [L::F; 2],
}

impl<L: Lanes> Group<L> {
    /// One scale and one minimum.
    #[inline(always)]
    pub(crate) fn new(codes: [L::B; 8], d: L::F, m: L::F) -> Self {
        let (d, m) = ([d; 2], [m; 2]);
        Group { codes, d, m }
    }

    /// One scale and no minimum.
    #[inline(always)]
    pub(crate) fn symmetric(codes: [L::B; 8], d: L::F) -> Self {
        Group::new(codes, d, d)
    }
}

/// Codes of four words of nibbles: the low ones, then the high ones.
#[inline(always)]
pub(crate) fn nibbles<L: Lanes>(l: L, words: &[Word; 4]) -> [L::B; 8] {
    each!(8, |j| if j < 4 {
        l.and(l.word(&words[j]), l.splat_b(15))
    } else {
        l.shr::<4>(l.word(&words[j - 4]))
    })
}

/// Nibbles, with their fifth bits in another word: bit i belongs to code i.
#[inline(always)]
pub(crate) fn five_bits<L: Lanes>(l: L, words: &[Word; 4], fifth: &[Word; 1]) -> [L::B; 8] {
    let (low, fifth) = (nibbles(l, words), l.word(&fifth[0]));
    each!(8, |j| l.or(low[j], l.spread(fifth, j, 16)))
}

/// `N` words with nibbles of some codes, and `N` with their upper two bits.
#[derive(Clone, Copy)]
pub(crate) struct SixBits<'a, const N: usize> {
    pub(crate) low: &'a [Word; N],
    pub(crate) high: &'a [Word; N],
}

impl<const N: usize> SixBits<'_, N> {
    /// The codes of block `K` of four: their nibbles are the low ones in blocks 0 and 1, their upper bits are bits 2K and 2K + 1.
    #[inline(always)]
    pub(crate) fn codes<L: Lanes, const K: usize>(self, l: L) -> [L::B; N] {
        each!(N, |w| {
            let x = l.word(&self.low[w]);
            let four = if K < 2 {
                l.and(x, l.splat_b(15))
            } else {
                l.shr::<4>(x)
            };
            let x = l.word(&self.high[w]);
            let two = match K {
                0 => l.shl::<4>(x),
                1 => l.shl::<2>(x),
                2 => x,
                _ => l.shr::<2>(x),
            };
            l.insert(four, two, 0x30)
        })
    }
}

impl<'a> SixBits<'a, 8> {
    /// Of the first and of the last half of the codes.
    #[inline(always)]
    pub(crate) fn halves(self) -> [SixBits<'a, 4>; 2] {
        let (low, high) = (self.low.as_chunks().0, self.high.as_chunks().0);
        each!(2, |i| SixBits {
            low: &low[i],
            high: &high[i],
        })
    }
}

/// Takes the groups of a tile, one after the other. Methods must be `#[inline(always)]`.
pub(crate) trait Sink<L: Lanes> {
    /// Takes group `g`, of the columns `32 g .. 32 g + 32`.
    fn take(&mut self, l: L, g: usize, group: Group<L>);
    /// The same of codes that are [`nibbles`].
    #[inline(always)]
    fn take_nibbles(&mut self, l: L, g: usize, words: &[Word; 4], d: L::F, m: L::F) {
        self.take(l, g, Group::new(nibbles(l, words), d, m));
    }
    /// The same of codes that are [`SixBits`], with scales for halves.
    #[inline(always)]
    fn take_six<const K: usize>(&mut self, l: L, g: usize, words: SixBits<'_, 8>, d: [L::F; 2]) {
        let codes = words.codes::<_, K>(l);
        self.take(l, g, Group { codes, d, m: d });
    }
}

/// Blocks of a row in a chunk, so many that words begin on a line of the cache; the last chunk of a tile may have fewer.
pub(crate) const fn chunk_blocks<Q: Tiled>() -> usize {
    let mut blocks = if Q::BLOCK < 128 { 128 / Q::BLOCK } else { 1 };
    while !(blocks * Layout::<Q>::SMALL * TILE_ROWS).is_multiple_of(size_of::<Word>()) {
        blocks *= 2;
    }
    blocks
}

/// Bytes of a chunk, except that the last one may have fewer.
pub(crate) const fn chunk_bytes<Q: Tiled>() -> usize {
    chunk_blocks::<Q>() * Q::BYTES * TILE_ROWS
}

/// Where the fields of a format lie in a chunk.
struct Layout<Q>(PhantomData<Q>);

impl<Q: Tiled> Layout<Q> {
    /// Bytes of a block that are not words.
    const SMALL: usize = Self::before(MOST_FIELDS, false);
    /// Bytes of a block that lie before a field: those of the small ones, or those of the words.
    const BEFORE: [usize; MOST_FIELDS] = {
        let (mut out, mut i) = ([0; MOST_FIELDS], 0);
        while i < Q::FIELDS.len() {
            out[i] = Self::before(i, Q::FIELDS[i].unit == 4);
            i += 1;
        }
        out
    };

    /// Bytes of a block in the fields before the `end`th that are words, or that are not.
    const fn before(end: usize, words: bool) -> usize {
        let (mut sum, mut i) = (0, 0);
        while i < end && i < Q::FIELDS.len() {
            let field = Q::FIELDS[i];
            if (field.unit == 4) == words {
                sum += field.unit * field.count;
            }
            i += 1;
        }
        sum
    }

    /// Where field `f` of block `b` begins in a chunk of `blocks` blocks.
    #[inline(always)]
    fn place(blocks: usize, b: usize, f: usize) -> usize {
        let (field, before) = (Q::FIELDS[f], Self::BEFORE[f]);
        TILE_ROWS
            * if field.unit < 4 {
                before * blocks + b * field.unit * field.count
            } else {
                Self::SMALL * blocks + b * (Q::BYTES - Self::SMALL) + before
            }
    }
}

/// The fields of one chunk.
#[derive(Clone, Copy)]
pub(crate) struct Planes<'a, Q> {
    chunk: &'a [u8],
    blocks: usize,
    format: PhantomData<Q>,
}

impl<'a, Q: Tiled> Planes<'a, Q> {
    /// A chunk of `blocks` blocks a row.
    #[inline(always)]
    pub(crate) fn of(chunk: &'a [u8], blocks: usize) -> Self {
        let format = PhantomData;
        Planes {
            chunk,
            blocks,
            format,
        }
    }

    /// `N` words of field `f` of block `b`, the `i`-th such portion of them.
    #[inline(always)]
    pub(crate) fn words<const N: usize>(&self, b: usize, f: usize, i: usize) -> &'a [Word; N] {
        let at = i * N * size_of::<Word>();
        let (words, _) = self.at(b, f)[at..].as_chunks::<{ size_of::<Word>() }>();
        &words.as_chunks().0[0]
    }

    /// The number of 16 bits of each row.
    #[inline(always)]
    pub(crate) fn half(&self, b: usize, f: usize) -> &'a [u8; 2 * TILE_ROWS] {
        &self.at(b, f).as_chunks().0[0]
    }

    /// The byte of each row.
    #[inline(always)]
    pub(crate) fn byte(&self, b: usize, f: usize) -> &'a [u8; TILE_ROWS] {
        &self.at(b, f).as_chunks().0[0]
    }

    /// The chunk from a field of a block on.
    #[inline(always)]
    fn at(&self, b: usize, f: usize) -> &'a [u8] {
        &self.chunk[Layout::<Q>::place(self.blocks, b, f)..]
    }
}

/// Bytes of a tile of rows of `cols` weights; `None` when the format does not go in tiles, or `cols` is not whole blocks.
pub fn tile_bytes(format: Format, cols: usize) -> Option<usize> {
    let row = format.row_bytes(cols)?;
    format.goes_in_tiles().then_some(())?;
    row.checked_mul(TILE_ROWS)
}

/// Packs rows into a tile: `rows` is 1 to 16 rows of `cols` weights, `tile` has [`tile_bytes`]. Rows that are missing become zeros.
///
/// # Panics
/// If the format does not go in tiles, or a length does not fit.
pub fn pack(format: Format, cols: usize, rows: &[u8], tile: &mut [u8]) {
    let row_bytes = checked(format, cols, tile.len());
    assert!(
        !rows.is_empty() && rows.len() <= tile.len() && rows.len().is_multiple_of(row_bytes),
        "{}: {} bytes are not 1 to {TILE_ROWS} rows of {cols}",
        format.name(),
        rows.len()
    );
    format.visit_tiled(Pack {
        row_bytes,
        rows,
        tile,
    });
}

/// Takes row `r` out of a tile again, as the file had it.
///
/// # Panics
/// If the format does not go in tiles, a length does not fit, or there is no such row.
pub fn unpack(format: Format, cols: usize, tile: &[u8], r: usize, row: &mut [u8]) {
    let row_bytes = checked(format, cols, tile.len());
    assert!(r < TILE_ROWS, "row {r} of a tile");
    assert_eq!(row.len(), row_bytes, "{}: bytes of a row", format.name());
    format.visit_tiled(Unpack { tile, r, row });
}

/// Bytes of a row, when the tile is as long as a tile of such rows is.
fn checked(format: Format, cols: usize, bytes: usize) -> usize {
    let name = format.name();
    assert_eq!(
        tile_bytes(format, cols),
        Some(bytes),
        "{name}: bytes of a tile of {cols} columns"
    );
    bytes / TILE_ROWS
}

struct Pack<'a> {
    row_bytes: usize,
    rows: &'a [u8],
    tile: &'a mut [u8],
}

impl VisitTiled for Pack<'_> {
    type Output = ();

    fn visit<Q: Tiled>(self) {
        if self.rows.len() < self.tile.len() {
            self.tile.fill(0);
        }
        let in_a_row = chunk_blocks::<Q>() * Q::BYTES;
        for (i, chunk) in self.tile.chunks_mut(chunk_bytes::<Q>()).enumerate() {
            let blocks = chunk.len() / TILE_ROWS / Q::BYTES;
            for (r, row) in self.rows.chunks_exact(self.row_bytes).enumerate() {
                let row = &row[i * in_a_row..][..blocks * Q::BYTES];
                for (b, block) in row.chunks_exact(Q::BYTES).enumerate() {
                    for (f, field) in Q::FIELDS.iter().enumerate() {
                        let from = &block[field.at..][..field.unit * field.count];
                        let to = &mut chunk[Layout::<Q>::place(blocks, b, f)..];
                        match field.unit {
                            4 => spread_out::<4>(from, r, to),
                            2 => spread_out::<2>(from, r, to),
                            _ => spread_out::<1>(from, r, to),
                        }
                    }
                }
            }
        }
    }
}

/// Copies numbers of `U` bytes of row `r` to their places.
#[inline(always)]
fn spread_out<const U: usize>(from: &[u8], r: usize, to: &mut [u8]) {
    let places = to.as_chunks_mut::<U>().0.chunks_exact_mut(TILE_ROWS);
    for (places, number) in places.zip(from.as_chunks::<U>().0) {
        places[r] = *number;
    }
}

struct Unpack<'a> {
    tile: &'a [u8],
    r: usize,
    row: &'a mut [u8],
}

impl VisitTiled for Unpack<'_> {
    type Output = ();

    fn visit<Q: Tiled>(self) {
        let rows = self.row.chunks_mut(chunk_blocks::<Q>() * Q::BYTES);
        for (row, chunk) in rows.zip(self.tile.chunks(chunk_bytes::<Q>())) {
            let blocks = row.len() / Q::BYTES;
            for (b, block) in row.chunks_exact_mut(Q::BYTES).enumerate() {
                for (f, field) in Q::FIELDS.iter().enumerate() {
                    let from = &chunk[Layout::<Q>::place(blocks, b, f)..];
                    let to = &mut block[field.at..][..field.unit * field.count];
                    for (i, to) in to.chunks_exact_mut(field.unit).enumerate() {
                        let at = (i * TILE_ROWS + self.r) * field.unit;
                        to.copy_from_slice(&from[at..][..field.unit]);
                    }
                }
            }
        }
    }
}
