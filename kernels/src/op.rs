//! What a forward pass is made of: one file an operation, each written over [`Simd`](crate::simd::Simd) and entered by a safe
//! function that takes an [`Isa`](crate::Isa) and checks the lengths once.

pub(crate) mod acts;
pub(crate) mod attend;
pub(crate) mod coarse;
pub(crate) mod exp;
pub mod flash;
pub mod latent;
pub(crate) mod matmul;
pub(crate) mod norm;
pub(crate) mod panels;
pub(crate) mod pieces;
pub(crate) mod rank;
pub(crate) mod read;
pub(crate) mod relu;
pub(crate) mod rescale;
pub(crate) mod rope;
pub(crate) mod silu;
pub(crate) mod softmax;
pub mod stream;
pub mod strips;
pub(crate) mod tiles;
pub(crate) mod vector;
