//! What can go wrong, said so that the reader can act on it: what, where, what was expected, what was found, what to do.

use core::fmt;
use std::path::{Path, PathBuf};

/// The result of everything in this crate that can fail.
pub type Result<T> = core::result::Result<T, Error>;

/// A number of things in words, for errors and reports alike: `1 token`, `2 tokens`. `one` is a noun that takes an s.
#[must_use]
pub fn counted<N: fmt::Display + PartialEq + From<u8>>(n: N, one: &str) -> String {
    let s = if n == N::from(1) { "" } else { "s" };
    format!("{n} {one}{s}")
}

/// Why an operation of this crate failed.
///
/// Data from a file, a flag or the environment ends here, never in a panic.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused an operation on a file.
    Io {
        /// The file.
        path: PathBuf,
        /// What was attempted, as a verb phrase: "open", "map into memory".
        action: &'static str,
        /// The system's own reason.
        source: std::io::Error,
    },
    /// A model file breaks its format or lacks something that the model needs.
    File(Box<FileFault>),
    /// The file is well formed, but wattle does not know how to run it.
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What is not supported, with its name: "architecture \"bert\"".
        what: String,
        /// What is supported, or what to do.
        hint: String,
    },
    /// A value given by the user (a flag, an option, an environment variable) is out of range.
    Argument {
        /// The flag or variable.
        name: &'static str,
        /// The value given.
        value: String,
        /// What is accepted.
        expected: String,
    },
    /// More tokens than the context holds.
    ContextFull {
        /// Tokens asked for.
        tokens: usize,
        /// Tokens that fit.
        context: usize,
    },
    /// A number of tokens that one pass cannot take.
    Batch {
        /// Tokens given.
        tokens: usize,
        /// Most tokens of a pass.
        batch: usize,
    },
    /// A token id outside the vocabulary.
    TokenId {
        /// The id.
        id: u64,
        /// Number of tokens in the vocabulary.
        vocab: usize,
    },
    /// Memory for weights or cache could not be had.
    Memory {
        /// What it was for.
        what: String,
        /// Its size.
        bytes: u64,
    },
    /// The chat template of the model failed.
    Template {
        /// What the template engine says, with the line.
        reason: String,
    },
    /// The numbers of the model cannot be used: a logit that is not a number, a vocabulary with nothing left to choose.
    Logits {
        /// What was found.
        what: String,
    },
    /// The chat template of the model did not end. The thread that runs it goes on until the program ends.
    Endless {
        /// How long it was given.
        limit: core::time::Duration,
    },
    /// Another program, which was asked for something, did not give it.
    Program {
        /// The program.
        path: PathBuf,
        /// How it failed, and with what words.
        what: String,
    },
    /// A file of the user's own settings cannot be used.
    Settings {
        /// The file, what is wrong in it, and what was expected.
        what: String,
    },
    /// The machine refused something that the run needs (threads, affinity, ...).
    Machine {
        /// What failed, and what to do.
        what: String,
    },
}

/// A fault in a model file: where it is, what was expected there and what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFault {
    /// The file.
    pub path: PathBuf,
    /// The part of the file.
    pub place: Place,
    /// Byte offset from the start of the file, when one is known.
    pub offset: Option<u64>,
    /// What the format asks for.
    pub expected: String,
    /// What the file holds.
    pub found: String,
    /// What the user can do; empty when the file is simply broken.
    pub hint: String,
}

/// The part of a model file that a [`FileFault`] is about.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// The first bytes: magic, version, counts.
    Header,
    /// The metadata, between two keys.
    Metadata,
    /// A metadata key.
    Key(String),
    /// The tensor list, between two tensors.
    TensorList,
    /// A tensor, by name.
    Tensor(String),
    /// One file of a split model.
    Shard,
    /// Packed weights.
    Tiles,
    /// The tokens or the rows of a cached prompt.
    Prompt,
    /// A saved distribution over the vocabulary, counted from 0.
    Distribution(usize),
}

impl Error {
    /// A fault of a file without a known offset or advice.
    pub fn file(
        path: &Path,
        place: Place,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self::File(Box::new(FileFault {
            path: path.to_path_buf(),
            place,
            offset: None,
            expected: expected.into(),
            found: found.into(),
            hint: String::new(),
        }))
    }

    /// An operating-system error on `path` while trying to `action`.
    pub fn io(path: &Path, action: &'static str, source: std::io::Error) -> Self {
        Self::Io {
            path: path.to_path_buf(),
            action,
            source,
        }
    }

    /// The same fault with the byte offset where it stands; other errors are unchanged.
    #[must_use]
    pub fn at(mut self, offset: u64) -> Self {
        if let Self::File(fault) = &mut self {
            fault.offset = Some(offset);
        }
        self
    }

    /// The same fault with advice; other errors are unchanged.
    #[must_use]
    pub fn advise(mut self, hint: impl Into<String>) -> Self {
        if let Self::File(fault) = &mut self {
            fault.hint = hint.into();
        }
        self
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => f.write_str("header"),
            Self::Metadata => f.write_str("metadata"),
            Self::TensorList => f.write_str("tensor list"),
            Self::Key(key) => write!(f, "key {key:?}"),
            Self::Tensor(name) => write!(f, "tensor {name:?}"),
            Self::Shard => f.write_str("split file"),
            Self::Tiles => f.write_str("packed weights"),
            Self::Prompt => f.write_str("cached prompt"),
            Self::Distribution(i) => write!(f, "distribution {i}"),
        }
    }
}

impl fmt::Display for FileFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.place)?;
        if let Some(offset) = self.offset {
            write!(f, " at byte {offset}")?;
        }
        write!(f, ": expected {}, found {}", self.expected, self.found)?;
        if !self.hint.is_empty() {
            write!(f, "; {}", self.hint)?;
        }
        Ok(())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io {
                path,
                action,
                source,
            } => write!(f, "{}: cannot {action}: {source}", path.display()),
            Self::File(fault) => fault.fmt(f),
            Self::Unsupported { path, what, hint } => {
                write!(f, "{}: {what} is not supported; {hint}", path.display())
            }
            Self::Argument {
                name,
                value,
                expected,
            } => write!(f, "{name} {value}: expected {expected}"),
            Self::ContextFull { tokens, context } => write!(
                f,
                "{tokens} tokens do not fit a context of {context}; shorten the text or raise -c"
            ),
            Self::Batch { tokens, batch } => {
                write!(f, "a pass takes 1 to {batch} tokens, not {tokens}")
            }
            Self::TokenId { id, vocab } => write!(
                f,
                "token id {id} is outside the vocabulary of {vocab} tokens (0 to {})",
                vocab.saturating_sub(1)
            ),
            Self::Memory { what, bytes } => write!(
                f,
                "cannot allocate {bytes} bytes for {what}; use a smaller context (-c), batch (-b) or model"
            ),
            Self::Template { reason } => write!(
                f,
                "the chat template of the model failed: {reason}; --no-cnv continues the text without it"
            ),
            Self::Logits { what } => write!(
                f,
                "{what}; the model file is damaged, or its architecture is not what it says"
            ),
            Self::Endless { limit } => write!(
                f,
                "the chat template of the model did not end within {} seconds; --no-cnv continues the text without it",
                limit.as_secs()
            ),
            Self::Program { path, what } => write!(f, "{}: {what}", path.display()),
            Self::Settings { what } | Self::Machine { what } => f.write_str(what),
        }
    }
}

impl core::error::Error for Error {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
