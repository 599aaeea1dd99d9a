//! wattle runs DeepSeek-style language models from GGUF files on small machines.

pub mod error;
pub mod generate;
pub mod meter;
pub mod sample;
pub mod score;

pub use error::{Error, Result};
