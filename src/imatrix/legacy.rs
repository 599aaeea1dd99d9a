//! The binary form that `llama-imatrix` wrote before 2025, usually called `imatrix.dat`.
//!
//! ```text
//! i32 entries, then of each:  i32 length, name | i32 calls | i32 values, values * f32
//! i32 chunks | i32 length, name of the text         (may be missing)
//! ```
//!
//! All little-endian. The values are means of squares times `calls`; those of a stack of experts stand one expert after another, and how many
//! there are the file does not tell. So they count as one here, which makes no difference once they are divided.

use std::path::Path;

use super::{Entry, Imatrix};
use crate::error::{Error, Place, Result};
use crate::os::Mapped;

/// Reads the file at `path`; `None` when it is a GGUF.
pub(super) fn read(path: &Path) -> Result<Option<Imatrix>> {
    let file = Mapped::open(path)?;
    if file.starts_with(b"GGUF") {
        return Ok(None);
    }
    let mut reader = Reader { bytes: &file, path };
    let mut imatrix = Imatrix::default();
    let entries = reader.count("the number of entries")?;
    if entries == 0 {
        return Err(reader.fault("an entry", "0 of them".to_owned()));
    }
    for _ in 0..entries {
        let name = reader.name("the name of an entry")?;
        let calls = reader.count("a number of calls")?;
        let values = reader.count("a number of values")?;
        let bytes = reader.take(values.saturating_mul(4), "values")?;
        if values == 0 {
            return Err(reader.fault("values", format!("none of {name:?}")));
        }
        let sums = bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b));
        let entry = Entry {
            sums: sums.collect(),
            counts: vec![calls.max(1) as f32],
        };
        imatrix.entries.insert(name, entry);
    }
    if !reader.bytes.is_empty() {
        let chunks = reader.count("the number of chunks")?;
        imatrix.chunks = u32::try_from(chunks).unwrap_or(u32::MAX);
        if !reader.bytes.is_empty() {
            imatrix.datasets = vec![reader.name("the name of the text")?];
        }
    }
    Ok(Some(imatrix))
}

/// What is left of the file.
struct Reader<'a> {
    bytes: &'a [u8],
    path: &'a Path,
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize, what: &str) -> Result<&'a [u8]> {
        let Some((taken, rest)) = self.bytes.split_at_checked(len) else {
            let left = self.bytes.len();
            return Err(self.fault(what, format!("the end of the file, {left} bytes ahead")));
        };
        self.bytes = rest;
        Ok(taken)
    }

    /// A number of 0 or more.
    fn count(&mut self, what: &str) -> Result<usize> {
        let bytes = self.take(4, what)?;
        let number = i32::from_le_bytes(bytes.try_into().unwrap_or_default());
        usize::try_from(number).map_err(|_| self.fault(what, number.to_string()))
    }

    fn name(&mut self, what: &str) -> Result<String> {
        let len = self.count(what)?;
        let name = self.take(len, what)?;
        Ok(String::from_utf8_lossy(name).into_owned())
    }

    fn fault(&self, expected: &str, found: String) -> Error {
        Error::file(self.path, Place::Header, expected, found)
            .advise("this is no importance matrix, neither GGUF nor of the older binary kind")
    }
}
