//! The file of distributions that llama.cpp's perplexity tool writes, read in bounded memory; its layout.
//!
//! ```text
//! "_logits_" | i32 context | i32 vocab | i32 chunks | i32 tokens[chunks * context]
//! then for every chunk, for each of its  context - 1 - context / 2  scored tokens, the distribution before it:
//!     f32 scale | f32 least | u16 q[vocab], one more when vocab is odd
//! ln p(v) = least + scale * q[v]
//! ```
//!
//! All little-endian. `scale` spans the range of the logits, but at most 16 below the largest one: what is less likely than
//! `e^-16` times the most likely token has `q = 0`, and is left out of sums. The step is at most 16 / 65535, so a probability
//! is off by at most 1.3e-4 of itself. The tokens are those of the text: without the BOS that takes the place of the first one
//! of a chunk.
//!
//! The length of a file follows from its head, and is checked before anything of that length is reserved.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use super::{MIN_CONTEXT, scored_each};
use crate::error::{Error, Place, Result, counted};
use crate::model::memory::reserved;

pub(super) const MAGIC: &[u8; 8] = b"_logits_";

/// Magic and three numbers.
const HEAD_BYTES: u64 = 8 + 3 * 4;

/// The range that `q` spans at most.
const RANGE: f32 = 16.0;

/// The largest `q`.
const MOST: f32 = u16::MAX as f32;

/// Bytes of a distribution.
pub(super) fn row_bytes(vocab: usize) -> usize {
    8 + 2 * vocab.next_multiple_of(2)
}

/// Stores the distribution of a row of logits (vocab) in `out` ([`row_bytes`]); `norm` is the row's
/// [`log_sum_exp`](crate::generate::log_sum_exp).
pub(super) fn encode(logits: &[f32], norm: f64, out: &mut [u8]) {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let least = logits.iter().copied().fold(f32::INFINITY, f32::min);
    let least = least.max(largest - RANGE);
    let scale = (largest - least) / MOST;
    let (head, q) = out.split_at_mut(8);
    head[..4].copy_from_slice(&scale.to_le_bytes());
    let least_logprob = (f64::from(least) - norm) as f32;
    head[4..].copy_from_slice(&least_logprob.to_le_bytes());
    let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    q.fill(0);
    for (logit, q) in logits.iter().zip(q.as_chunks_mut::<2>().0) {
        // Converting saturates, so what lies below the range is 0.
        let step = (inverse * (logit - least)).round_ties_even() as u16;
        *q = step.to_le_bytes();
    }
}

/// A distribution out of a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a> {
    scale: f32,
    least: f32,
    q: &'a [[u8; 2]],
}

impl<'a> Row<'a> {
    /// The distribution over `vocab` tokens in `bytes`; `None` when it can be none: its numbers are not finite.
    pub(super) fn new(bytes: &'a [u8], vocab: usize) -> Option<Self> {
        let (head, q) = bytes.split_at_checked(8)?;
        let &[a, b, c, d, e, f, g, h] = head else {
            return None;
        };
        let row = Self {
            scale: f32::from_le_bytes([a, b, c, d]),
            least: f32::from_le_bytes([e, f, g, h]),
            q: q.as_chunks::<2>().0.get(..vocab)?,
        };
        (row.scale.is_finite() && row.least.is_finite()).then_some(row)
    }

    /// `ln p(id)`.
    pub(super) fn logprob(&self, id: usize) -> f32 {
        self.scale * f32::from(u16::from_le_bytes(self.q[id])) + self.least
    }

    /// The least log-probability that counts: below it there is only what was cut off.
    pub(super) const FLOOR: f32 = -RANGE;
}

/// The distributions of a base model over a text, read one after the other.
#[derive(Debug)]
pub struct Base {
    path: PathBuf,
    file: BufReader<File>,
    vocab: usize,
    context: usize,
    tokens: Vec<u32>,
    rows_read: usize,
}

impl Base {
    /// Opens a file that this program or llama.cpp's wrote, and reads its head and its tokens.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read, [`Error::File`] when it is something else, incomplete or damaged.
    pub fn open(path: &Path) -> Result<Self> {
        let io = |source| Error::io(path, "read", source);
        let file = File::open(path).map_err(|source| Error::io(path, "open", source))?;
        let length = file.metadata().map_err(io)?.len();
        let mut file = BufReader::new(file);

        let mut head = Vec::new();
        let read = file.by_ref().take(HEAD_BYTES).read_to_end(&mut head);
        read.map_err(io)?;
        let fault =
            |expected: &str, found: String| Error::file(path, Place::Header, expected, found);
        if !head.starts_with(MAGIC) {
            let found = String::from_utf8_lossy(&head[..head.len().min(MAGIC.len())]);
            let made = "wattle perplexity -m MODEL -f TEXT --kl-base FILE makes one";
            return Err(fault(
                "the distributions of a model (_logits_)",
                format!("{found:?}"),
            )
            .advise(made));
        }
        let number = |at: usize| {
            let bytes = head.get(at..at + 4)?.try_into().ok()?;
            usize::try_from(i32::from_le_bytes(bytes)).ok()
        };
        let (Some(context), Some(vocab), Some(chunks)) = (number(8), number(12), number(16)) else {
            let found = format!("{} bytes, or a negative number", head.len());
            return Err(fault(
                "a context, a vocabulary and a number of chunks",
                found,
            ));
        };
        if context < MIN_CONTEXT || vocab == 0 || chunks == 0 {
            let found = format!(
                "{} of {}, {vocab} in the vocabulary",
                counted(chunks, "chunk"),
                counted(context, "token")
            );
            return Err(fault("at least one scored token", found));
        }
        // Three numbers below 2^31 each.
        let n_tokens = chunks as u128 * context as u128;
        let rows = chunks as u128 * scored_each(context) as u128;
        let expected = u128::from(HEAD_BYTES) + 4 * n_tokens + rows * row_bytes(vocab) as u128;
        if u128::from(length) != expected {
            let what = format!(
                "{expected} bytes for {} of {context} tokens and a vocabulary of {vocab}",
                counted(chunks, "chunk")
            );
            let hint = "the file is incomplete or damaged; make it again";
            return Err(fault(&what, format!("{length} bytes")).advise(hint));
        }

        // A file of that length may still not fit the addresses of a small machine.
        let n_tokens = chunks.saturating_mul(context);
        let mut tokens = reserved(n_tokens, || format!("the {n_tokens} tokens of a text"))?;
        let mut bytes = [0; 4];
        for place in 0..n_tokens {
            file.read_exact(&mut bytes).map_err(io)?;
            let id = i32::from_le_bytes(bytes);
            match u32::try_from(id) {
                Ok(id) if (id as usize) < vocab => tokens.push(id),
                _ => {
                    let expected = format!("token {place} to be one of 0 to {}", vocab - 1);
                    let offset = HEAD_BYTES + 4 * place as u64;
                    return Err(fault(&expected, id.to_string()).at(offset));
                }
            }
        }
        Ok(Self {
            path: path.to_path_buf(),
            file,
            vocab,
            context,
            tokens,
            rows_read: 0,
        })
    }

    /// Tokens of a chunk.
    #[must_use]
    pub fn context(&self) -> usize {
        self.context
    }

    /// The tokens of all chunks.
    #[must_use]
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Tokens in the vocabulary of the model that the distributions are of.
    #[must_use]
    pub fn vocab(&self) -> usize {
        self.vocab
    }

    /// An error unless a model with this vocabulary can be compared.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot.
    pub fn check_vocab(&self, vocab: usize) -> Result<()> {
        if self.vocab == vocab {
            return Ok(());
        }
        let expected = format!("a vocabulary of {vocab} tokens, as the model has");
        Err(
            Error::file(&self.path, Place::Header, expected, self.vocab.to_string())
                .advise("the file was made with a model of another kind"),
        )
    }

    /// An error unless `text` begins with the first `n` tokens of the file.
    ///
    /// # Errors
    /// [`Error::File`] with the first place where they differ.
    pub fn check_text(&self, text: &[u32], n: usize) -> Result<()> {
        let mut pairs = self.tokens.iter().take(n).enumerate();
        let Some((place, &found)) = pairs.find(|&(i, id)| text.get(i) != Some(id)) else {
            return Ok(());
        };
        let expected = match text.get(place) {
            Some(id) => format!("token {id} of the text in place {place}"),
            None => format!("the text's {} and no more", counted(place, "token")),
        };
        let hint = "the file was made from another text, or with another tokenizer; without -f its own text is used";
        let found = format!("token {found}");
        let offset = HEAD_BYTES + 4 * place as u64;
        Err(Error::file(&self.path, Place::Header, expected, found)
            .at(offset)
            .advise(hint))
    }

    /// Fills `rows` with the next distributions, and returns the number of the first.
    ///
    /// # Errors
    /// [`Error::Io`] when they cannot be read: the file became shorter, or there are no more.
    pub(super) fn read(&mut self, rows: &mut [Vec<u8>]) -> Result<usize> {
        let first = self.rows_read;
        for row in rows {
            row.resize(row_bytes(self.vocab), 0);
            self.file
                .read_exact(row)
                .map_err(|source| Error::io(&self.path, "read", source))?;
            self.rows_read += 1;
        }
        Ok(first)
    }

    /// What is wrong with distribution `i` when it is none.
    pub(super) fn bad_row(&self, i: usize, found: String) -> Error {
        let rows_at = HEAD_BYTES + 4 * self.tokens.len() as u64;
        let offset = rows_at + i as u64 * row_bytes(self.vocab) as u64;
        Error::file(
            &self.path,
            Place::Distribution(i),
            "probabilities that add up to 1",
            found,
        )
        .at(offset)
        .advise("the file is damaged; make it again")
    }
}
