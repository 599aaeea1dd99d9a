//! The cursor with a name for what is being read, so that every refusal says where and what.

use core::fmt::Display;
use std::path::Path;

use crate::error::{Error, Place};
use crate::gguf::cursor::{Cursor, Short};
use crate::gguf::cut::Cut;
use crate::gguf::data::Data;

/// Why reading stopped.
pub(super) enum Stop {
    Cut(Cut),
    Broken(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Broken(error)
    }
}

/// Something read, or why not.
pub(super) type Read<T> = Result<T, Stop>;

/// A file while its head is read.
pub(super) struct Reader<'a> {
    pub(super) data: &'a Data,
    pub(super) path: &'a Path,
    pub(super) shard: usize,
    pub(super) cursor: Cursor<'a>,
    /// What is being read, for errors.
    pub(super) place: Place,
}

impl<'a> Reader<'a> {
    /// The next string, which must be UTF-8. It is copied first and checked then: the file may change in between.
    pub(super) fn name(&mut self, what: impl Display + Copy, longest: u64) -> Read<String> {
        let at = self.cursor.at();
        let bytes = self.string(what, longest)?.to_vec();
        String::from_utf8(bytes).map_err(|error| {
            let bytes = error.as_bytes();
            let found = format!("\"{}\"", bytes.get(..64).unwrap_or(bytes).escape_ascii());
            self.broken(at, format!("UTF-8 in {what}"), found).into()
        })
    }

    /// The next string of at most `longest` bytes.
    pub(super) fn string(&mut self, what: impl Display, longest: u64) -> Read<&'a [u8]> {
        let at = self.cursor.at();
        let len = match self.cursor.u64() {
            Ok(len) => len,
            Err(short) => return Err(self.cut(short, format_args!("the length of {what}"))),
        };
        if len > longest {
            let expected = format!("at most {longest} bytes for {what}");
            return Err(self.broken(at, expected, len.to_string()).into());
        }
        self.cursor.take(len).map_err(|short| self.cut(short, what))
    }

    pub(super) fn u32(&mut self, what: impl Display) -> Read<u32> {
        self.cursor.u32().map_err(|short| self.cut(short, what))
    }

    pub(super) fn u64(&mut self, what: impl Display) -> Read<u64> {
        self.cursor.u64().map_err(|short| self.cut(short, what))
    }

    pub(super) fn take(&mut self, n: u64, what: impl Display) -> Read<&'a [u8]> {
        self.cursor.take(n).map_err(|short| self.cut(short, what))
    }

    /// Says early, and for the whole of it, that `need` more bytes are not there.
    pub(super) fn left_for(&self, need: u64, what: impl Display) -> Read<()> {
        let (at, left) = (self.cursor.at(), self.cursor.left());
        if need <= left {
            return Ok(());
        }
        Err(self.cut(Short { at, need, left }, what))
    }

    fn cut(&self, short: Short, what: impl Display) -> Stop {
        Stop::Cut(Cut {
            path: self.path.to_path_buf(),
            place: self.place.clone(),
            at: short.at,
            what: what.to_string(),
            have: short.at.saturating_add(short.left),
            need: short.at.saturating_add(short.need),
            exact: false,
        })
    }

    /// The error that the file holds `found` at offset `at` of this place.
    pub(super) fn broken(&self, at: u64, expected: impl Into<String>, found: String) -> Error {
        Error::file(self.path, self.place.clone(), expected, found).at(at)
    }
}
