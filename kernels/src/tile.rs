//! Tiles: eight rows of weights, their words side by side, so that one load holds four weights of each row.
//!
//! A file holds a row's weights one behind the other, so a kernel that reads it adds up neighbours of one row at the end, and loads
//! each activation anew for each row. In a tile, lane r of a register belongs to row r: the products of four activations, the same
//! in all lanes, add up in place, and a row's scale is lane r of a register of scales.
//!
//! A block of every format is a few *fields*, each some words of 32 bits (bytes that hold codes, four to a word), or numbers of
//! 16 or 8 bits. A tile is cut in *chunks* of at least 128 columns, and a chunk holds the bytes of its blocks field by field,
//! transposed:
//!
//! ```text
//!   field 0: block 0: word 0 of rows 0 to 7, word 1 of rows 0 to 7, ...   block 1: ...
//!   field 1: block 0: ...
//! ```
//!
//! So a tile has exactly the bytes of its eight rows, the layout is the same on every instruction set, and a row can be taken out
//! again. A chunk is small, so that a pass over a matrix reads one stream, which hardware prefetchers follow; and it is large
//! enough that with fields of words first, and halves next, the usual loads stay inside of one line of the cache (four blocks of
//! `Q4_0` are nine lines: eight of codes, one of scales).

use crate::Format;
use crate::quant::{Tiled, VisitTiled};
use crate::simd::{Simd, each};

/// Rows of a tile.
pub const TILE_ROWS: usize = 8;

/// The number of this layout, for whoever keeps tiles longer than a run: another one once any byte of a tile has another place.
pub const TILE_LAYOUT: u32 = 1;

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

/// Whether the fields fill a block without gap or overlap, words first.
pub(crate) const fn fill(fields: &[Field], bytes: usize) -> bool {
    let (mut total, mut i) = (0, 0);
    while i < fields.len() {
        let field = fields[i];
        let end = field.at + field.unit * field.count;
        total += field.unit * field.count;
        if end > bytes || i > 0 && fields[i - 1].unit < field.unit {
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
const MOST_FIELDS: usize = 5;

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

/// 32 weights of eight rows: `weight = d * (code - above) + m`, with one `d` and `m` for each half and [`Tiled::ABOVE`].
#[derive(Clone, Copy)]
pub(crate) struct Group<S: Simd> {
    /// Codes 4j to 4j + 3 of each row.
    pub(crate) codes: [S::B; 8],
    /// Of the first 16 and of the last 16 weights; formats with one scale ([`Tiled::HALVES`]) give it twice.
    pub(crate) d: [S::F; 2],
    /// Not read for formats that have none ([`Tiled::MIN`]).
    pub(crate) m: [S::F; 2],
}

impl<S: Simd> Group<S> {
    /// One scale and one minimum.
    #[inline(always)]
    pub(crate) fn new(codes: [S::B; 8], d: S::F, m: S::F) -> Self {
        let (d, m) = ([d; 2], [m; 2]);
        Group { codes, d, m }
    }

    /// One scale and no minimum.
    #[inline(always)]
    pub(crate) fn symmetric(codes: [S::B; 8], d: S::F) -> Self {
        Group::new(codes, d, d)
    }
}

/// Codes of four words of nibbles: the low ones, then the high ones.
#[inline(always)]
pub(crate) fn nibbles<S: Simd>(s: S, words: &[[u8; 32]; 4]) -> [S::B; 8] {
    each!(8, |j| if j < 4 {
        s.and(s.bytes(&words[j]), s.splat_b(15))
    } else {
        s.shr::<4>(s.bytes(&words[j - 4]))
    })
}

/// Nibbles, with their fifth bits in another word: bit i belongs to code i.
#[inline(always)]
pub(crate) fn five_bits<S: Simd>(s: S, words: &[[u8; 32]; 4], fifth: &[[u8; 32]; 1]) -> [S::B; 8] {
    let (low, fifth) = (nibbles(s, words), s.bytes(&fifth[0]));
    each!(8, |j| s
        .or(low[j], s.and(s.spread(fifth, j), s.splat_b(16))))
}

/// Takes the groups of a tile, one after the other.
pub(crate) trait Sink<S: Simd> {
    /// Takes group `g`, of the columns `32 g .. 32 g + 32`. Must be `#[inline(always)]`.
    fn take(&mut self, s: S, g: usize, group: Group<S>);
}

/// Blocks of a row in a chunk; the last chunk of a tile may have fewer.
pub(crate) const fn chunk_blocks<Q: Tiled>() -> usize {
    if Q::BLOCK < 128 { 128 / Q::BLOCK } else { 1 }
}

/// Bytes of a chunk, except that the last one may have fewer.
pub(crate) const fn chunk_bytes<Q: Tiled>() -> usize {
    chunk_blocks::<Q>() * Q::BYTES * TILE_ROWS
}

/// The fields of one chunk.
#[derive(Clone, Copy)]
pub(crate) struct Planes<'a>([&'a [u8]; MOST_FIELDS]);

impl<'a> Planes<'a> {
    /// Cuts a chunk of `blocks` blocks a row.
    #[inline(always)]
    pub(crate) fn of<Q: Tiled>(chunk: &'a [u8], blocks: usize) -> Planes<'a> {
        let (mut out, mut rest) = ([&chunk[..0]; MOST_FIELDS], chunk);
        for (out, field) in out.iter_mut().zip(Q::FIELDS) {
            (*out, rest) = rest.split_at(blocks * field.unit * field.count * TILE_ROWS);
        }
        Planes(out)
    }

    /// `N` words of each row; the `i`-th such portion of the field.
    #[inline(always)]
    pub(crate) fn words<const N: usize>(&self, field: usize, i: usize) -> &'a [[u8; 32]; N] {
        &self.0[field].as_chunks::<32>().0.as_chunks().0[i]
    }

    /// The number of 16 bits of each row.
    #[inline(always)]
    pub(crate) fn half(&self, field: usize, block: usize) -> &'a [u8; 16] {
        &self.0[field].as_chunks().0[block]
    }

    /// The byte of each row.
    #[inline(always)]
    pub(crate) fn byte(&self, field: usize, block: usize) -> &'a [u8; 8] {
        &self.0[field].as_chunks().0[block]
    }
}

/// Bytes of a tile of rows of `cols` weights; `None` when the format does not go in tiles, or `cols` is not whole blocks.
pub fn tile_bytes(format: Format, cols: usize) -> Option<usize> {
    let row = format.row_bytes(cols)?;
    format.goes_in_tiles().then_some(())?;
    row.checked_mul(TILE_ROWS)
}

/// Packs rows into a tile: `rows` is 1 to 8 rows of `cols` weights, `tile` has [`tile_bytes`]. Rows that are missing become zeros.
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
            let mut rest = chunk;
            for field in Q::FIELDS {
                let plane;
                (plane, rest) = rest.split_at_mut(blocks * field.unit * field.count * TILE_ROWS);
                for (r, row) in self.rows.chunks_exact(self.row_bytes).enumerate() {
                    let row = &row[i * in_a_row..][..blocks * Q::BYTES];
                    match field.unit {
                        4 => spread_out::<4>(row, Q::BYTES, *field, r, plane),
                        2 => spread_out::<2>(row, Q::BYTES, *field, r, plane),
                        _ => spread_out::<1>(row, Q::BYTES, *field, r, plane),
                    }
                }
            }
        }
    }
}

/// Copies a field of some blocks of row `r` to its places in their chunk.
fn spread_out<const U: usize>(row: &[u8], block: usize, field: Field, r: usize, plane: &mut [u8]) {
    let places = plane.as_chunks_mut::<U>().0.chunks_exact_mut(TILE_ROWS);
    let numbers = row.chunks_exact(block).flat_map(|block| {
        let field = &block[field.at..][..U * field.count];
        field.as_chunks::<U>().0
    });
    for (places, number) in places.zip(numbers) {
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
            let mut rest = chunk;
            for field in Q::FIELDS {
                let plane;
                (plane, rest) =
                    rest.split_at(row.len() / Q::BYTES * field.unit * field.count * TILE_ROWS);
                for (b, block) in row.chunks_exact_mut(Q::BYTES).enumerate() {
                    for i in 0..field.count {
                        let from = ((b * field.count + i) * TILE_ROWS + self.r) * field.unit;
                        block[field.at + i * field.unit..][..field.unit]
                            .copy_from_slice(&plane[from..][..field.unit]);
                    }
                }
            }
        }
    }
}
