//! wattle runs DeepSeek-style language models from GGUF files on small machines.

pub mod error;

pub use error::{Error, Result};
