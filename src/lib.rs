//! wattle runs DeepSeek-style language models (Multi-head Latent Attention, mixture of experts) from GGUF files on small
//! machines: Raspberry Pi and other ARM boards, and low-end x86.
//!
//! ```
//! use wattle::generate::{GenerateOptions, Session, SessionOptions};
//! use wattle::sample::SamplerOptions;
//! use wattle::tokenizer::EncodeOptions;
//!
//! let model = wattle::Model::load("tests/data/tiny-llama.gguf")?;
//! let mut session = Session::new(&model, &SessionOptions::default())?;
//! let mut sampler = session.sampler(&SamplerOptions::greedy())?;
//!
//! let prompt = model.tokenizer()?.encode("The history of bread", &EncodeOptions::default());
//! let options = GenerateOptions { n: Some(8), ..Default::default() };
//! for piece in session.generate(&prompt, &mut sampler, options)? {
//!     print!("{}", piece?.text);
//! }
//!
//! // How probable is a text? The sum of the log-probabilities of its tokens, each after those before it.
//! let mut session = Session::new(&model, &SessionOptions::default())?;
//! let scores = wattle::score::score(&mut session, &prompt, 0)?;
//! assert!(scores.total() < 0.0);
//! # Ok::<(), wattle::Error>(())
//! ```
//!
//! # Goals
//!
//! Fast decoding and prefill on the CPUs of small boards, one binary for all CPUs of a family; latent attention over one small
//! row a token; numbers that can be trusted; and never a wrong text without a word: a file is checked before it is used,
//! every kernel is held against a plain reference, and what is not supported is refused with a reason.
//!
//! Not goals: GPUs, training, and architectures that do not fit a small board.
//!
//! # The walk of a token
//!
//! ```text
//! main -> cli/run     flags
//!   -> load           gguf checked; arch: keys -> Config, tensors -> Weights; a kernel for every matrix
//!   -> generate       prefill in batches, then token by token
//!        -> model     forward: mla or gqa, then ffn or moe, layer after layer -> logits
//!             -> matrix -> pool (tiles over threads) -> wattle_kernels
//!        -> sample    logits -> the next token
//!   -> tokenizer      token -> text
//! ```
//!
//! Nothing calls back up, and a pass allocates nothing: [`model::State`] owns all buffers.
//!
//! # Map
//!
//! | module | what |
//! |---|---|
//! | [`load`] | path and machine to [`Model`]: the one place where files, architectures, kernels and cores meet |
//! | [`quantize`], [`imatrix`] | a model file to smaller types; how much each column of a weight matters |
//! | [`synth`] | random weights in the shape of a real model, to measure speed with |
//! | [`demo`] | the model in the box, `wattle-tales` |
//! | [`gguf`] | reader (bounds-checked, memory-mapped, split files) and writer |
//! | [`rare`] | types without a kernel, decoded by ggml where that is built in |
//! | [`arch`] | one recipe a file: keys to config, tensor names to weights |
//! | [`model`] | config, weights, caches, and the forward pass |
//! | [`tokenizer`], [`chat`] | text to tokens and back; conversations to tokens by the file's template, in a sandbox |
//! | [`generate`], [`sample`], [`score`] | tokens after a prompt; the choice of one; the probability of a text |
//! | [`perplexity`] | how well a model predicts a text, and how far it is from another one |
//! | [`importance`] | which columns of a model's matrices a text makes work |
//! | [`pool`], [`os`] | threads; all `unsafe` of this crate |
//! | [`bench`](mod@bench) | the speed of a model, test by test |
//! | [`meter`] | tokens, seconds, bytes; the memory's rate; records of tests, and their exporters |
//! | [`error`] | what, where, expected, found, what to do |

pub mod arch;
pub mod bench;
pub mod chat;
pub mod demo;
pub mod error;
pub mod generate;
pub mod gguf;
pub mod imatrix;
pub mod importance;
pub mod load;
pub mod meter;
pub mod model;
pub mod os;
pub mod perplexity;
pub mod pool;
pub mod quantize;
pub mod rare;
pub mod sample;
pub mod score;
pub mod synth;
pub mod tokenizer;

pub use error::{Error, Result};
pub use load::Model;

/// The example of README.md, compiled with the documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
