//! The weight formats of GGUF files.
//!
//! A format is one file in `quant/` and one line in `quants!`. It says how its block lies in the file, how a block decodes to
//! f32 ([`Quant::decode`], plain and exact), how f32 become a block ([`Quant::encode`], by the searches of `search`), and how a row multiplies activations ([`Quant::dot`], written over
//! [`Simd`]).
//!
//! Three shapes cover all of them:
//! - *floats*: the weights become f32 and multiply f32 activations;
//! - *lines*, `y = d * q + m` with q from 0 to 63: the block sum is `d * da * sum(q * a) + m * (da * sum(a))`, and the
//!   last factor comes ready with the activations. Formats with an offset (`d * (q - 8)`) are lines with `m = -8 d`, which saves
//!   making the weights signed;
//! - *codes*, `y = d * c` with c a signed byte, from the file or out of a table of 16.
//!
//! The layouts are ggml's (`ggml-common.h`, `ggml-quants.c` of llama.cpp), redrawn at the head of each file; decoding is held bit for
//! bit against the numpy decoder of the `gguf` package (`tests/formats.rs`).

use crate::lanes::Lanes;
use crate::op::acts::Act;
use crate::simd::Simd;
use crate::tile::{self, Codes, Field, Planes, Sink};

pub(crate) mod blocks;
pub(crate) mod floats;
pub(crate) mod k;
pub(crate) mod search;

mod bf16;
mod f16;
mod f32;
mod iq4_nl;
mod iq4_xs;
mod mxfp4;
mod q2_k;
mod q3_k;
mod q4_0;
mod q4_1;
mod q4_k;
mod q5_0;
mod q5_1;
mod q5_k;
mod q6_k;
mod q8_0;

/// What a format's file gives.
pub(crate) trait Quant {
    /// Weights in a block.
    const BLOCK: usize;
    /// Bytes of a block.
    const BYTES: usize;
    /// Whether it multiplies int8 activations (else f32).
    const INT8: bool;

    /// Decodes whole blocks; `out.len() = bytes.len() / BYTES * BLOCK`.
    fn decode(bytes: &[u8], out: &mut [f32]);

    /// Encodes whole blocks, with the least error that its search finds; `out.len() = x.len() / BLOCK * BYTES`.
    ///
    /// `importance` has the length of `x`. NaN in `x` counts as 0 and what is too large as the largest value there is, so that
    /// every block decodes to finite weights.
    fn encode(x: &[f32], importance: Option<&[f32]>, out: &mut [u8]);

    /// One row of weights times `T` tokens, unpacking the row once.
    ///
    /// `row` holds whole blocks for as many columns as the activations have.
    fn dot<S: Simd, const T: usize>(s: S, row: &[u8], acts: &[Act<'_>; T]) -> [f32; T];
}

/// A format whose rows go in tiles of eight.
pub(crate) trait Tiled: Quant + Sized {
    /// The fields of a block: halves and bytes, then words, as they are read. [`Tiled::groups`] counts them in this order.
    const FIELDS: &'static [Field];
    /// What its codes are.
    const CODES: Codes;
    /// Whether the two halves of 32 weights have scales of their own.
    const HALVES: bool;
    /// Whether weights have a minimum of their own, `m`.
    const MIN: bool;
    /// How far codes are above the weights that `d` multiplies; for signed codes without what an instruction wants added.
    const ABOVE: u8;
    /// The least and the largest that `d` multiplies: codes without [`Tiled::ABOVE`].
    const RANGE: (i32, i32);

    /// Whether each word is read once, in order: one stream, which a hardware prefetcher follows.
    const ONCE: bool;

    /// Unpacks block `b`, group by group.
    fn groups<L: Lanes>(l: L, planes: &Planes<'_, Self>, b: usize, sink: &mut impl Sink<L>);
}

/// A computation that is generic over the formats that go in tiles.
pub(crate) trait VisitTiled {
    /// What it returns.
    type Output;
    /// The computation.
    fn visit<Q: Tiled>(self) -> Self::Output;
}

/// `Some` of a visit for a format that goes in tiles, else `None`.
macro_rules! tiled {
    (tiles $v:ident $ty:ty) => {
        Some($v.visit::<$ty>())
    };
    (rows $v:ident $ty:ty) => {
        None
    };
}

macro_rules! quants {
    ($($id:literal $name:literal $variant:ident $ty:ty: $form:ident),* $(,)?) => {
        /// A weight format.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Format {
            $(
                #[doc = concat!("`", $name, "`")]
                $variant,
            )*
        }

        impl Format {
            /// Every format there are kernels for.
            pub const ALL: &'static [Format] = &[$(Format::$variant),*];

            /// The format with that ggml type id, if there are kernels for it.
            pub fn from_ggml(id: u32) -> Option<Format> {
                match id {
                    $($id => Some(Format::$variant),)*
                    _ => None,
                }
            }

            /// Its type id in GGUF files.
            pub fn ggml_id(self) -> u32 {
                match self { $(Format::$variant => $id),* }
            }

            /// Its name, as llama.cpp prints it.
            pub fn name(self) -> &'static str {
                match self { $(Format::$variant => $name),* }
            }

            /// Weights in a block.
            pub fn block(self) -> usize {
                match self { $(Format::$variant => <$ty>::BLOCK),* }
            }

            /// Bytes of a block.
            pub fn block_bytes(self) -> usize {
                match self { $(Format::$variant => <$ty>::BYTES),* }
            }

            /// Whether its kernels want activations as int8 ([`crate::quantize`]); if not, they read the f32.
            pub fn needs_int8(self) -> bool {
                match self { $(Format::$variant => <$ty>::INT8),* }
            }

            /// Whether [`encode`] knows it.
            pub fn can_encode(self) -> bool {
                true
            }

            /// As [`visit`](Self::visit), for the formats that go in tiles.
            pub(crate) fn visit_tiled<V: VisitTiled>(self, v: V) -> Option<V::Output> {
                match self { $(Format::$variant => tiled!($form v $ty)),* }
            }

            /// Calls `v` with the type behind the value.
            pub(crate) fn visit<V: Visit>(self, v: V) -> V::Output {
                match self { $(Format::$variant => v.visit::<$ty>()),* }
            }
        }
    };
}

/// A computation that is generic over the format.
pub(crate) trait Visit {
    /// What it returns.
    type Output;
    /// The computation.
    fn visit<Q: Quant>(self) -> Self::Output;
}

quants! {
    0 "F32" F32 f32::F32: rows,
    1 "F16" F16 f16::F16: rows,
    30 "BF16" Bf16 bf16::Bf16: rows,
    2 "Q4_0" Q4_0 q4_0::Q4_0: tiles,
    3 "Q4_1" Q4_1 q4_1::Q4_1: tiles,
    6 "Q5_0" Q5_0 q5_0::Q5_0: tiles,
    7 "Q5_1" Q5_1 q5_1::Q5_1: tiles,
    8 "Q8_0" Q8_0 q8_0::Q8_0: tiles,
    10 "Q2_K" Q2K q2_k::Q2K: tiles,
    11 "Q3_K" Q3K q3_k::Q3K: tiles,
    12 "Q4_K" Q4K q4_k::Q4K: tiles,
    13 "Q5_K" Q5K q5_k::Q5K: tiles,
    14 "Q6_K" Q6K q6_k::Q6K: tiles,
    20 "IQ4_NL" Iq4Nl iq4_nl::Iq4Nl: tiles,
    23 "IQ4_XS" Iq4Xs iq4_xs::Iq4Xs: tiles,
    39 "MXFP4" Mxfp4 mxfp4::Mxfp4: tiles,
}

impl Format {
    /// Whether rows of it can be packed in [tiles](crate::pack): all but the formats of floats.
    pub fn goes_in_tiles(self) -> bool {
        struct Known;
        impl VisitTiled for Known {
            type Output = ();
            fn visit<Q: Tiled>(self) {
                const { assert!(tile::fill(Q::FIELDS, Q::BYTES), "fields fill the block") }
            }
        }
        self.visit_tiled(Known).is_some()
    }

    /// Bytes of a row of `cols` weights; `None` when `cols` is not whole blocks, or the product overflows.
    pub fn row_bytes(self, cols: usize) -> Option<usize> {
        if !cols.is_multiple_of(self.block()) {
            return None;
        }
        (cols / self.block()).checked_mul(self.block_bytes())
    }
}

/// Decodes whole blocks to f32: exactly what the format defines, rounded once.
///
/// # Panics
/// If `bytes` is not whole blocks or `out` has not their length.
pub fn decode(format: Format, bytes: &[u8], out: &mut [f32]) {
    struct Decode<'a>(&'a [u8], &'a mut [f32]);
    impl Visit for Decode<'_> {
        type Output = ();
        fn visit<Q: Quant>(self) {
            Q::decode(self.0, self.1);
        }
    }
    let blocks = bytes.len() / format.block_bytes();
    assert_eq!(
        bytes.len(),
        blocks * format.block_bytes(),
        "{}: not whole blocks",
        format.name()
    );
    assert_eq!(
        out.len(),
        blocks * format.block(),
        "{}: wrong length to decode into",
        format.name()
    );
    format.visit(Decode(bytes, out));
}

/// Encodes whole blocks: the stored block is the one of least squared error that the format's search finds.
///
/// `importance` is what the square of an error counts, column by column: the mean square of the activation that meets the
/// weight. Without it a large weight counts a little more than a small one. NaN counts as 0 (in `x` and in `importance`), and what a format cannot
/// hold as the largest that it can: every block decodes to finite weights.
///
/// ```
/// use wattle_kernels::{Format, decode, encode};
///
/// let x: [f32; 32] = core::array::from_fn(|i| 0.25 * (i as f32 - 16.0));
/// let mut block = [0; 22];
/// encode(Format::Q5_0, &x, None, &mut block);
/// let mut back = [0.0; 32];
/// decode(Format::Q5_0, &block, &mut back);
/// assert_eq!(back, x); // 32 levels, and Q5_0 has as many
/// ```
///
/// # Panics
/// If `x` is not whole blocks, `importance` has not its length, or `out` not the bytes of these blocks.
pub fn encode(format: Format, x: &[f32], importance: Option<&[f32]>, out: &mut [u8]) {
    struct Encode<'a>(&'a [f32], Option<&'a [f32]>, &'a mut [u8]);
    impl Visit for Encode<'_> {
        type Output = ();
        fn visit<Q: Quant>(self) {
            Q::encode(self.0, self.1, self.2);
        }
    }
    let name = format.name();
    assert_eq!(
        format.row_bytes(x.len()),
        Some(out.len()),
        "{name}: bytes of {} weights",
        x.len()
    );
    if let Some(importance) = importance {
        assert_eq!(importance.len(), x.len(), "{name}: importance of a row");
    }
    format.visit(Encode(x, importance, out));
}
