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
//! Bytes carry `Simd::BIAS` where the products want one. On every byte of this [`store`], [`query`] and [`attend`] agree.
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

use super::stream::BLOCK;
use crate::Isa;
use crate::simd::{Simd, SimdOp};

mod attend;
mod mix;
mod planes;
mod query;
mod rows;

pub use attend::attend;
pub use query::{Queries, query};
pub use rows::{load, store};

/// Tokens of a tile.
const TILE: usize = 16;
/// Numbers with one scale.
const GROUP: usize = 128;

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
