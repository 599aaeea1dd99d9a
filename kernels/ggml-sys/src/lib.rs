//! ggml's CPU kernels, the yardstick and second oracle of wattle's, and the decoder of types that wattle has no kernel for.
//!
//! Without the feature `ggml` this crate is empty: neither a C compiler nor libclang is needed, and nothing of ggml is in the
//! program. With it, ggml is compiled for this machine as llama.cpp compiles it (`FLAGS`), and three things
//! can be called safely:
//!
//! ```text
//!   Type      a ggml type by its id in GGUF files: name, block, and what it multiplies
//!   rows      rows of one type: quantize, dequantize, quantize_acts, vec_dot
//!   Product   a whole `ggml_mul_mat` on n threads, with the weights repacked where ggml would: what llama.cpp runs
//! ```
//!
//! A broken contract (lengths, alignment, a type without the kernel) panics here; ggml itself would abort the process.

#[cfg(feature = "ggml")]
mod product;
#[cfg(feature = "ggml")]
mod rows;
#[cfg(feature = "ggml")]
mod sys;
#[cfg(feature = "ggml")]
mod types;

#[cfg(feature = "ggml")]
pub use product::{Layout, Product};
#[cfg(feature = "ggml")]
pub use rows::{dequantize, quantize, quantize_acts, vec_dot};
#[cfg(feature = "ggml")]
pub use types::Type;

/// Which ggml this is: its version, and the package that carried it.
#[cfg(feature = "ggml")]
pub const SOURCE: &str = env!("GGML_SOURCE");

/// For which CPU it was compiled, as flags of the C compiler.
#[cfg(feature = "ggml")]
pub const FLAGS: &str = env!("GGML_FLAGS");
