//! wattle runs DeepSeek-style language models from GGUF files on small machines.

pub mod chat;
pub mod error;
pub mod gguf;
pub mod os;
pub mod tokenizer;

pub use error::{Error, Result};
