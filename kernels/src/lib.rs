#![no_std]
//! Compute kernels of wattle: quantised matrix products and the vector operations between them.
//!
//! The crate is pure computation: it reads slices, writes slices, allocates nothing and knows no file, thread or model.
//!
//! ```text
//!   isa    which instruction sets exist, which this CPU has        one file each in isa/, listed by `isas!`
//!   simd   the vocabulary (trait `Simd`) every kernel is written in
//!   quant  the weight formats of GGUF                              one file each in quant/, listed by `quants!`
//!   tile   sixteen rows side by side, packed from a file's rows
//!   op     quantise, multiply, normalise, rotate, attend           one file each in op/
//!   plan   (instruction set, format) -> `Kernel`, chosen once a matrix
//!   check  every kernel against the reference, on this CPU
//!   reference  the same operations in plain f64: the oracle of the tests
//! ```
//!
//! **A format is written once over `Simd`; an instruction set implements `Simd` once.** Whoever holds an [`Isa`] holds a
//! token that only detection hands out, so no kernel asks the CPU again.
//!
//! Integer sums are exact on every instruction set; only f32 arithmetic may differ between them, by rounding.
//!
//! Weights in tiles have two products. The *exact* one scales every 32 columns as the format does. That in *pieces*, for many tokens, has
//! signed bytes with one scale for 256 columns on either side, so that integers are summed over all of them: activations that have
//! this form too ([`Acts::with_pieces`]) are multiplied so. [`Isa::takes_pieces`] says where that is faster.
//!
//! ```
//! use wattle_kernels::{Acts, Format, Isa, matmul, quantize, scale_len, sum_len};
//!
//! // Two rows of 32 weights in Q8_0: a scale (1.0 as f16) and 32 bytes.
//! let mut weights = [0u8; 68];
//! for row in weights.chunks_exact_mut(34) {
//!     row[..2].copy_from_slice(&0x3c00u16.to_le_bytes());
//!     row[2..].fill(2);
//! }
//! let x = [1.0f32; 32];
//! let isa = Isa::best();
//! let (mut q, mut scales) = ([0i8; 32], [0.0f32; scale_len(32)]);
//! let mut sums = [0i32; sum_len(32)];
//! quantize(isa, &x, 32, &mut q, &mut scales, &mut sums);
//! let mut out = [0.0f32; 2];
//! let acts = Acts::new(32, &x, &q, &scales, &sums);
//! matmul(isa, Format::Q8_0, &weights, 2, &acts, &mut out);
//! assert!((out[0] - 64.0).abs() < 1e-3);
//! ```

#[cfg(any(feature = "std", test))]
extern crate std;

#[cfg(feature = "std")]
pub mod check;
mod isa;
mod lanes;
mod op;
mod plan;
mod quant;
#[cfg(feature = "std")]
pub mod reference;
mod simd;
mod tile;

pub use isa::Isa;
pub use op::acts::{Acts, quantize, scale_len, sum_len};
pub use op::attend::{Elems, Rows, attend};
pub use op::norm::rmsnorm;
pub use op::pieces::{PIECE, piece_len, quantize_pieces};
pub use op::rank::rank;
pub use op::read::read_all;
pub use op::relu::relu_squared;
pub use op::rope::{RopeKind, rope};
pub use op::silu::silu_mul;
pub use op::softmax::softmax;
pub use op::vector::{add, axpy, dot, load_f16, store_f16};
pub use op::{flash, latent, stream, strips};
pub use plan::{Kernel, matmul, matmul_with, plan};
pub use quant::{Format, decode, encode};
pub use tile::{TILE_LAYOUT, TILE_ROWS, pack, tile_bytes, unpack};
