//! A model file to one of smaller types: `wattle quantize`.
//!
//! ```text
//! plan       names, shapes and the mix -> the type of every tensor; refuses before a byte is written
//! guide      the importance matrix, held against the model
//! output     names of the new files, keys, what must not be overwritten
//! convert    slabs of rows through all threads
//! report     the figures
//! ```
//!
//! Every key and every tensor is kept, in the order of the file, whatever the architecture; only the keys that tell of the
//! quantisation change. A split model stays split, with the same tensors in each file. The memory needed is a few megabytes a thread,
//! whatever the size of the model: its pages are let go once they are read.
//!
//! New files appear under their names when all of them are whole ([`Draft`]); a failure leaves nothing behind.

mod convert;
mod guide;
mod keep;
mod mix;
mod output;
mod plan;
mod report;

use core::ops::ControlFlow;
use std::path::{Path, PathBuf};

use regex::Regex;
use wattle_kernels::Format;

use crate::error::{Error, Result};
use crate::gguf::{GgmlType, Gguf};
use crate::imatrix::Imatrix;
use crate::os::Draft;
use crate::pool::Pool;
pub use convert::Loss;
use convert::{Converter, Job};
pub use guide::unguided;
pub use mix::Mix;
pub use plan::{Step, plan};
pub use report::{OfType, Summary};

/// How to quantise.
#[derive(Debug)]
pub struct Options {
    /// The types to choose from.
    pub mix: &'static Mix,
    /// How much each column matters.
    pub imatrix: Option<Imatrix>,
    /// Convert tensors that are quantised already.
    pub allow_requantize: bool,
    /// Use the base type of the mix for every tensor.
    pub pure: bool,
    /// Copy `output.weight`.
    pub leave_output: bool,
    /// The type of `output.weight`, or of the embeddings when they serve for it.
    pub output_type: Option<GgmlType>,
    /// The type of `token_embd.weight`.
    pub embedding_type: Option<GgmlType>,
    /// Types of tensors by name; the first that fits counts.
    pub tensor_types: Vec<TensorType>,
    /// Write a split model to one file.
    pub merge: bool,
    /// Replace files that exist.
    pub replace: bool,
}

impl Options {
    /// The mix, and nothing special.
    pub fn new(mix: &'static Mix) -> Self {
        Self {
            mix,
            imatrix: None,
            allow_requantize: false,
            pure: false,
            leave_output: false,
            output_type: None,
            embedding_type: None,
            tensor_types: Vec::new(),
            merge: false,
            replace: false,
        }
    }
}

/// A type for the tensors in whose names a pattern is found.
#[derive(Debug, Clone)]
pub struct TensorType {
    pattern: Regex,
    ty: GgmlType,
}

impl TensorType {
    /// Reads `PATTERN=TYPE`. The pattern is a regular expression, in lower case, that is looked for anywhere in a name.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] when it is no such pair, the pattern no regular expression, or the type none that can be written.
    pub fn parse(text: &str) -> Result<Self> {
        let fault = |expected: String| Error::Argument {
            name: "--tensor-type",
            value: text.to_owned(),
            expected,
        };
        let pair = text
            .split_once('=')
            .filter(|(pattern, _)| !pattern.is_empty());
        let (pattern, ty) = pair.ok_or_else(|| fault("PATTERN=TYPE, as in attn_q=Q8_0".into()))?;
        let pattern = Regex::new(&pattern.to_lowercase())
            .map_err(|error| fault(format!("a regular expression before the =: {error}")))?;
        Ok(Self {
            pattern,
            ty: writable("--tensor-type", ty)?,
        })
    }

    fn is_for(&self, name: &str) -> bool {
        self.pattern.is_match(name)
    }
}

/// The type of that name, in any case of letters, that flag `flag` asks for.
///
/// # Errors
///
/// [`Error::Argument`] when there is none, or it can only be read.
pub fn writable(flag: &'static str, name: &str) -> Result<GgmlType> {
    let known = || GgmlType::ALL.iter().filter(|ty| is_writable(**ty));
    let found = known().find(|ty| ty.name().eq_ignore_ascii_case(name));
    found.copied().ok_or_else(|| {
        let names: Vec<_> = known().map(|ty| ty.name()).collect();
        Error::Argument {
            name: flag,
            value: name.to_owned(),
            expected: format!("one of {}", names.join(", ")),
        }
    })
}

/// Whether weights can be encoded to this type.
fn is_writable(ty: GgmlType) -> bool {
    Format::from_ggml(ty.id()).is_some_and(Format::can_encode)
}

/// Whether weights can be decoded from this type.
fn is_readable(ty: GgmlType) -> bool {
    Format::from_ggml(ty.id()).is_some()
}

/// How far the work is.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Progress<'a> {
    /// The tensor at work.
    pub tensor: &'a str,
    /// Bytes of the old model that are done.
    pub done_bytes: u64,
    /// Bytes of all its tensors.
    pub total_bytes: u64,
}

/// What was done.
#[derive(Debug)]
#[non_exhaustive]
pub struct Done {
    /// The new files.
    pub files: Vec<PathBuf>,
    /// What each tensor lost, in the order of the plan.
    pub losses: Vec<Loss>,
}

/// Writes `model` to `out` as `steps` say, which are of [`plan`] with the same options.
///
/// `go_on` hears of the progress several times a second. `None` when it broke the work off, which leaves no file.
///
/// # Errors
///
/// `out` is a file of the model, or exists and `options` do not allow to replace it; a weight is not finite or not in the
/// new type; a file cannot be written. Nothing has changed then, unless it was the name that one of several files could not get:
/// those before it have theirs.
///
/// # Panics
///
/// When `steps` are not those of `model`.
pub fn write(
    model: &Gguf,
    out: &Path,
    steps: &[Step],
    options: &Options,
    pool: &Pool,
    go_on: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
) -> Result<Option<Done>> {
    let tensors = model.tensors();
    assert_eq!(steps.len(), tensors.len(), "the plan of another model");
    output::check(out)?;
    let files = output::names(model, out, options);
    output::guard(model, &files, options)?;
    let total_bytes = tensors.iter().map(|tensor| tensor.n_bytes()).sum();
    let mut done_bytes = 0;
    let mut converter = Converter::new(pool);
    let mut losses = Vec::with_capacity(steps.len());
    let mut drafts = Vec::with_capacity(files.len());
    let mut rest = tensors.iter().zip(steps).peekable();
    for (no, path) in files.iter().enumerate() {
        let is_here = |shard: usize| options.merge || shard == no;
        let failed = |source| Error::io(path, "write", source);
        let mut draft = Draft::create(path)?;
        let head = output::head(model, no, steps, options).map_err(failed)?;
        let mut body = head.start(&mut draft).map_err(failed)?;
        while let Some((tensor, step)) = rest.next_if(|(tensor, _)| is_here(tensor.shard())) {
            let guided = step.to != step.from && step.to.block() > 1;
            let imatrix = options.imatrix.as_ref().filter(|_| guided);
            let importance = imatrix.and_then(|known| known.importance(&tensor.name));
            let job = Job {
                path: model.metadata_of(tensor.shard()).path(),
                tensor,
                bytes: &model.bytes(tensor),
                to: step.to,
                importance: importance.as_deref(),
            };
            let done = converter.write(job, path, &mut body, &mut |bytes| {
                done_bytes += bytes;
                go_on(Progress {
                    tensor: &tensor.name,
                    done_bytes,
                    total_bytes,
                })
            })?;
            let Some(loss) = done else { return Ok(None) };
            losses.push(loss);
        }
        body.finish().map_err(failed)?;
        draft.seal()?;
        drafts.push(draft);
    }
    // The first file is the one that is opened, so it comes last.
    for draft in drafts.into_iter().rev() {
        draft.publish()?;
    }
    Ok(Some(Done { files, losses }))
}
