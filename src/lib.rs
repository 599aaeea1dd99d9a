//! wattle runs DeepSeek-style language models from GGUF files on small machines.

pub mod error;
pub mod sample;

pub use error::{Error, Result};
