//! A file of what a model remembers of a prompt, so that the next run which begins alike need not compute it.
//!
//! ```text
//!  0  16 bytes   MAGIC
//! 16  u32        VERSION of this layout
//! 20  u32        bytes of the terms
//! 24  u64        tokens
//! 32  u64        bytes of the rows
//! 40  u64        checksum of all but these 8 bytes
//! 48  text       the terms, a line each: what decides on the bits of a row (the model, the instruction set, the cache ...)
//!     u32 ...    the tokens
//!     rows       of each layer, then of each layer's index where attention is sparse (src/model/cache/stored.rs)
//! ```
//!
//! Numbers are little-endian, the checksum is XXH3 of 64 bits. Nothing that the file says is believed: terms are compared with those of
//! this run, lengths with what they must be, ids with the vocabulary, and all bytes with the checksum, before a row is taken. A
//! file that differs is refused with the reason, and the prompt is computed.
//!
//! **A run that takes rows from a file has the bits of one that computes them.** The bits of a row depend on how a prompt is cut into
//! passes, since long passes build keys and values and short ones do not. So rows are kept and taken in whole passes of `-b` tokens
//! from the start of a prompt, where every prompt that begins alike is cut alike; less than a pass is always computed.
//!
//! Rows lie as the instruction set has them (its bytes may carry a bias), and every instruction set rounds in its own way: a file is for
//! the one that wrote it.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use super::Session;
use crate::error::{Error, Place, Result};
use crate::model::memory::reserved;
use crate::os::{Draft, Mapped};

const MAGIC: [u8; 16] = *b"wattle cache\r\n\x1a\n";
const VERSION: u32 = 1;
/// Where the checksum is.
const CHECK: usize = 40;
/// Where the terms begin.
const TERMS: usize = 48;

/// The file of the beginning of a prompt, for sessions of one kind; see the [module](self).
#[derive(Debug)]
pub struct PromptCache {
    path: PathBuf,
    /// One a line.
    terms: String,
}

/// The parts of a file that is in order.
struct Parts<'a> {
    tokens: Vec<u32>,
    rows: &'a [u8],
}

impl PromptCache {
    /// The file at `path`, for sessions like this one.
    #[must_use]
    pub fn new(path: &Path, session: &Session<'_>) -> Self {
        let terms = session.terms();
        let lines = terms
            .iter()
            .map(|(name, value)| format!("{name} {value}\n"));
        Self {
            path: path.to_path_buf(),
            terms: lines.collect(),
        }
    }

    /// Fills `session`, which must be empty, from the file; false when there is none.
    ///
    /// # Errors
    /// When there is another file, a damaged one, one of another kind of session, or one with more tokens than fit; the session is
    /// then empty.
    ///
    /// # Panics
    /// When the session is not empty.
    pub fn load(&self, session: &mut Session<'_>) -> Result<bool> {
        let file = match Mapped::open(&self.path) {
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                return Ok(false);
            }
            file => file?,
        };
        self.restore(&file, session)?;
        Ok(true)
    }

    /// As [`load`](Self::load), from the bytes of a file.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    ///
    /// # Panics
    /// As [`load`](Self::load).
    pub fn restore(&self, file: &[u8], session: &mut Session<'_>) -> Result<()> {
        assert!(session.tokens.is_empty(), "a session that is empty");
        let parts = self.check(file, session)?;
        let n = parts.tokens.len();
        session.state.sequence_mut().restore(n, parts.rows)?;
        session.tokens.extend_from_slice(&parts.tokens);
        session.computed = n;
        Ok(())
    }

    /// Compares a file with what it must be.
    fn check<'f>(&self, file: &'f [u8], session: &Session<'_>) -> Result<Parts<'f>> {
        let fault = |place, expected: String, found: String| {
            Err(Error::file(&self.path, place, expected, found)
                .advise("the prompt is computed again"))
        };
        let head = |expected: &str, found: &str| {
            fault(Place::Header, expected.to_owned(), found.to_owned())
        };
        let Some((fixed, rest)) = file.split_first_chunk::<TERMS>() else {
            return head("a file of a cached prompt", "a shorter file");
        };
        if fixed[..16] != MAGIC {
            return head("a file of a cached prompt", "another file");
        }
        let u32_at = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| fixed[at + i]));
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        if u32_at(16) != VERSION {
            let found = format!("version {}", u32_at(16));
            return head(&format!("version {VERSION}"), &found);
        }
        let (n_terms, n, n_rows) = (u64::from(u32_at(20)), u64_at(24), u64_at(32));
        let ids = n.saturating_mul(4);
        let length = (TERMS as u64)
            .saturating_add(n_terms)
            .saturating_add(ids)
            .saturating_add(n_rows);
        if file.len() as u64 != length {
            return head(&format!("{length} bytes"), &format!("{} bytes", file.len()));
        }
        if fixed[CHECK..] != checksum(file) {
            return head("the bytes that were written", "others");
        }
        // No number is larger than the file from here on.
        let (terms, rest) = rest.split_at(n_terms as usize);
        if terms != self.terms.as_bytes() {
            let found = String::from_utf8_lossy(terms);
            let (expected, found) = different(&self.terms, &found);
            return fault(Place::Header, expected, found);
        }
        let (of_tokens, rows) = rest.split_at(ids as usize);
        let n = n as usize;
        let sequence = session.state.sequence();
        if n > sequence.capacity() {
            let expected = format!("at most the {} tokens of the context", sequence.capacity());
            return fault(Place::Prompt, expected, format!("{n} tokens"));
        }
        let expected = sequence.stored_bytes(n);
        if expected != Some(rows.len()) {
            let expected = format!("{} bytes of rows", expected.unwrap_or(usize::MAX));
            return fault(Place::Prompt, expected, format!("{} bytes", rows.len()));
        }
        let mut tokens = reserved(n, || "the ids of a cached prompt".into())?;
        let of_tokens = of_tokens.as_chunks().0.iter();
        tokens.extend(of_tokens.map(|bytes| u32::from_le_bytes(*bytes)));
        let vocab = session.model.transformer().config().n_vocab;
        if let Some(id) = tokens.iter().find(|id| **id as usize >= vocab) {
            let expected = format!("ids below {vocab}");
            return fault(Place::Prompt, expected, format!("id {id}"));
        }
        Ok(Parts { tokens, rows })
    }

    /// Writes what `session` has computed of the first `n` of its tokens in whole passes, in place of a file that is there. False when
    /// that is nothing; the file stays then.
    ///
    /// # Errors
    /// When it cannot be written; a file that is there stays then.
    pub fn save(&self, session: &Session<'_>, n: usize) -> Result<bool> {
        let n = session.in_passes(n);
        if n == 0 {
            return Ok(false);
        }
        let sequence = session.state.sequence();
        let failed = |source| Error::io(&self.path, "write", source);
        let too_long = || Error::Memory {
            what: "a file of a cached prompt".into(),
            bytes: u64::MAX,
        };
        let rows = sequence.stored_bytes(n).ok_or_else(too_long)?;
        let mut head = Vec::with_capacity(TERMS + self.terms.len() + 4 * n);
        head.extend_from_slice(&MAGIC);
        head.extend_from_slice(&VERSION.to_le_bytes());
        let terms = u32::try_from(self.terms.len()).map_err(|_| too_long())?;
        head.extend_from_slice(&terms.to_le_bytes());
        head.extend_from_slice(&(n as u64).to_le_bytes());
        head.extend_from_slice(&(rows as u64).to_le_bytes());
        head.extend_from_slice(&[0; TERMS - CHECK]);
        head.extend_from_slice(self.terms.as_bytes());
        for id in &session.tokens[..n] {
            head.extend_from_slice(&id.to_le_bytes());
        }
        // Rows go by twice, so that they need not lie in memory a second time.
        let mut sum = Sum::of_head(&head);
        sequence.store(n, &mut sum).map_err(failed)?;
        head[CHECK..TERMS].copy_from_slice(&sum.0.digest().to_le_bytes());
        let mut draft = Draft::create(&self.path)?;
        draft.write_all(&head).map_err(failed)?;
        sequence.store(n, &mut draft).map_err(failed)?;
        draft.publish()?;
        Ok(true)
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The checksum that belongs into a file at byte 40; a file that has no such bytes counts as it is.
#[must_use]
pub fn checksum(file: &[u8]) -> [u8; 8] {
    Sum::of_head(file).0.digest().to_le_bytes()
}

/// A checksum that is written to.
struct Sum(Xxh3);

impl Sum {
    /// Of bytes that begin as the file does.
    fn of_head(bytes: &[u8]) -> Self {
        let mut sum = Xxh3::new();
        sum.update(&bytes[..CHECK.min(bytes.len())]);
        sum.update(&bytes[TERMS.min(bytes.len())..]);
        Self(sum)
    }
}

impl Write for Sum {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The first term in which a file differs, as it must be and as it is.
fn different(expected: &str, found: &str) -> (String, String) {
    let mut lines = found.lines();
    for expected in expected.lines() {
        match lines.next() {
            Some(found) if found == expected => {}
            Some(found) => return (quoted(expected), quoted(found)),
            None => return (quoted(expected), "nothing".into()),
        }
    }
    let more = lines.next().map_or_else(|| "none".into(), quoted);
    ("no further term".into(), more)
}

fn quoted(line: &str) -> String {
    let short: String = line.chars().take(80).collect();
    format!("{short:?}")
}
