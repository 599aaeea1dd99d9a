//! The judge that also writes every distribution to a file, in the layout of [`super::base`]. The file appears when it is whole.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

use super::base::{MAGIC, encode, row_bytes};
use super::{Chunks, Judge, Mean, nll, scored_each};
use crate::error::{Error, Result};
use crate::generate::log_sum_exp;
use crate::os::Draft;
use crate::pool::Pool;

/// The judge that also writes every distribution to a file of llama.cpp's layout, which a [`Divergence`](super::Divergence) reads.
///
/// The file appears with [`finish`](Self::finish); dropped before, nothing is left of it.
#[derive(Debug)]
pub struct Saving {
    nll: Mean,
    file: Draft,
    vocab: usize,
    rows_missing: usize,
    rows: Vec<Row>,
}

/// A row of a batch.
#[derive(Debug)]
struct Row {
    nll: Result<f64>,
    bytes: Vec<u8>,
}

impl Saving {
    /// Begins the file `path` with the distributions over `vocab` tokens of all `chunks`.
    ///
    /// # Errors
    /// [`Error::Io`] when no file can be made beside `path`, [`Error::Argument`] when there is one already that is
    /// something else, or the file would have more tokens than its layout can say.
    pub fn create(path: &Path, chunks: &Chunks<'_>, vocab: usize) -> Result<Self> {
        let expected = |expected: &str| Error::Argument {
            name: "--kl-base",
            value: path.display().to_string(),
            expected: expected.into(),
        };
        if !may_replace(path) {
            return Err(expected(
                "a new file, or one with distributions, which is replaced",
            ));
        }
        let mut head = MAGIC.to_vec();
        for number in [chunks.context(), vocab, chunks.count()] {
            let number = i32::try_from(number).map_err(|_| expected("fewer than 2^31 tokens"))?;
            head.extend_from_slice(&number.to_le_bytes());
        }
        head.extend(chunks.tokens().iter().flat_map(|id| id.to_le_bytes()));
        let mut saving = Self {
            nll: Mean::default(),
            file: Draft::create(path)?,
            vocab,
            rows_missing: chunks.count() * scored_each(chunks.context()),
            rows: Vec::new(),
        };
        saving.write(&head)?;
        Ok(saving)
    }

    /// Gives the complete file its name.
    ///
    /// # Errors
    /// [`Error::Io`] when the rest cannot be written or the file not be renamed.
    ///
    /// # Panics
    /// When rows are missing.
    pub fn finish(self) -> Result<()> {
        assert_eq!(self.rows_missing, 0, "rows are missing");
        self.file.publish()
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file
            .write_all(bytes)
            .map_err(|source| Error::io(self.file.path(), "write", source))
    }
}

/// Whether nothing of value is lost when `path` is replaced: there is nothing, or such a file. Never a model, a text or a device.
fn may_replace(path: &Path) -> bool {
    match fs::metadata(path) {
        Err(_) => true,
        Ok(found) if !found.is_file() => false,
        Ok(_) => {
            let mut magic = Vec::new();
            let read = File::open(path).and_then(|file| {
                let mut start = file.take(MAGIC.len() as u64);
                start.read_to_end(&mut magic)
            });
            read.is_ok() && MAGIC.starts_with(&magic)
        }
    }
}

impl Judge for Saving {
    fn take(&mut self, pool: &Pool, next: &[u32], logits: &[f32]) -> Result<()> {
        let vocab = self.vocab;
        let mut rows = core::mem::take(&mut self.rows);
        if rows.len() < next.len() {
            rows.resize_with(next.len(), || Row {
                nll: Ok(0.0),
                bytes: vec![0; row_bytes(vocab)],
            });
        }
        let used = &mut rows[..next.len()];
        pool.each(used, |i, row| {
            let logits = &logits[i * vocab..][..vocab];
            row.nll = log_sum_exp(logits).and_then(|norm| {
                encode(logits, norm, &mut row.bytes);
                nll(logits, norm, next[i])
            });
        });
        for row in used {
            let nll = core::mem::replace(&mut row.nll, Ok(0.0))?;
            self.nll.add(nll);
            self.rows_missing -= 1;
            self.write(&row.bytes)?;
        }
        self.rows = rows;
        Ok(())
    }

    fn nll(&self) -> &Mean {
        &self.nll
    }
}
