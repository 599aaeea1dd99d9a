//! wattle runs DeepSeek-style language models (Multi-head Latent Attention, mixture of experts) from GGUF files on small
//! machines: Raspberry Pi and other ARM boards, and low-end x86.

pub mod arch;
pub mod chat;
pub mod error;
pub mod generate;
pub mod gguf;
pub mod load;
pub mod meter;
pub mod model;
pub mod os;
pub mod pool;
pub mod sample;
pub mod score;
pub mod tokenizer;

pub use error::{Error, Result};
