//! `wattle inspect FILE`: what a model file holds, what a token costs, and what a context needs.
//!
//! Only the head of the file is read, so a file of 400 GB answers as fast as a small one, and one that is still being
//! downloaded answers too and says where it ends.
//!
//! **JSON** (`--json`). One object; fields are added over time, never renamed or removed. Sizes are in bytes, offsets count
//! from the start of their file, `null` means that the file does not tell.
//!
//! | field | content |
//! |---|---|
//! | `file`, `files`, `file_bytes`, `version` | path as given, number of files, their size together, GGUF version |
//! | `cut` | `null`, or `{file, place, at, have_bytes, need_bytes, exact}`: where it ends too early; `need_bytes` is the size of the whole file if `exact`, else a lower bound |
//! | `architecture`, `name`, `context_length` | of the keys |
//! | `parameters`, `weight_bytes` | over all tensors |
//! | `types` | `[{type, tensors, parameters, bytes, share}]`, largest first; `share` of `weight_bytes`, 0 to 1 |
//! | `token` | `{bytes, parameters}` read to decode one token at an empty context |
//! | `memory` | `{context, cache, cache_bytes_per_token, cache_bytes, weight_bytes, bytes, types}`; `cache` is `"latent"` or `"key-value"`, in the default type; `types` is `[{type, cache_bytes_per_token, cache_bytes}]` for each |
//! | `metadata` | object in file order: scalars and strings as such; an array as `{type, count, values}` with the first 1024 values |
//! | `tensors` | `[{name, shape, type, bytes, file, offset}]` in file order; `shape[0]` is the length of a row, `file` counts from 0 |
//! | `notes` | sentences on keys that could not be used |
//!
//! A number that JSON does not have (NaN, infinity) is `null`; bytes that are no UTF-8 are replaced by U+FFFD.

mod report;
mod text;
mod traffic;

use std::io::Write;
use std::path::PathBuf;

use super::written;
use report::Report;
use wattle::gguf::Gguf;
use wattle::{Result, demo};

/// Arguments of `wattle inspect`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The model; of a split model the first file
    #[cfg_attr(feature = "demo", doc = "[default: the one in the box]")]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The same, as the other subcommands take it
    #[arg(short, long, value_name = "FILE", conflicts_with = "file")]
    model: Option<PathBuf>,
    /// Tokens for which memory is counted; 0 is the most that the model was made for
    #[arg(short, long = "ctx-size", value_name = "N", default_value_t = 4096)]
    ctx: u64,
    /// Print one JSON object, with nothing shortened but long arrays
    #[arg(long)]
    json: bool,
}

impl Args {
    /// The file, whichever way it was given, or else the one in the box.
    fn open(&self) -> Result<Gguf> {
        match self.file.as_deref().or(self.model.as_deref()) {
            Some(path) => Gguf::open_head(path),
            None => demo::gguf(),
        }
    }
}

/// Weights that decoding one token reads; 0 when the file does not tell.
pub(super) fn parameters_of_a_token(model: &Gguf) -> u64 {
    let token = traffic::token(model, &mut traffic::Keys::new(model.metadata()));
    token.map_or(0, |token| token.parameters)
}

/// The context that the model was made for; 0 when the file does not tell.
pub(super) fn trained(model: &Gguf) -> u64 {
    let mut keys = traffic::Keys::new(model.metadata());
    keys.number("context_length").unwrap_or(0)
}

/// What the cache of `ctx` tokens takes in each type, by its name; none when the file does not tell.
pub(super) fn cache_of(model: &Gguf, ctx: u64) -> Vec<(&'static str, u64)> {
    let memory = traffic::memory(model, &mut traffic::Keys::new(model.metadata()), ctx);
    let types = memory.map(|memory| memory.types);
    types
        .iter()
        .flatten()
        .map(|t| (t.name, t.cache_bytes))
        .collect()
}

/// Inspects a file.
///
/// # Errors
///
/// The file cannot be read, is no GGUF or is broken; `out` cannot be written.
pub(crate) fn run(args: &Args, out: &mut dyn Write) -> Result<()> {
    let model = args.open()?;
    let report = Report::of(&model, args.ctx);
    let text = if args.json {
        report.json()
    } else {
        text::render(&report)
    };
    written(out.write_all(text.as_bytes()))
}
