//! What a reader learns of a file that ends too early.

use core::fmt;
use std::path::PathBuf;

use crate::error::{Error, Place, counted};

/// Where a file ends although its head promises more.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cut {
    /// The file.
    pub path: PathBuf,
    /// The part of it in which it ends.
    pub place: Place,
    /// Offset of what is not whole.
    pub at: u64,
    /// What is not whole: "the value".
    pub what: String,
    /// Bytes in the file.
    pub have: u64,
    /// Bytes that the file needs, as far as what is left of it tells.
    pub need: u64,
    /// Whether `need` is the size of the whole file, known when its tensor list is whole.
    pub exact: bool,
}

impl Cut {
    /// Bytes that are missing, at least.
    pub fn missing(&self) -> u64 {
        self.need.saturating_sub(self.have)
    }

    pub(super) fn into_error(self) -> Error {
        let left = self.have.saturating_sub(self.at);
        let length = self.need.saturating_sub(self.at);
        let (expected, found) = if self.exact {
            (
                format!("a file of {} bytes", self.need),
                format!("its end at byte {}", self.have),
            )
        } else {
            (
                format!("{length} bytes for {}", self.what),
                format!("{left} before the end of the file"),
            )
        };
        Error::file(&self.path, self.place, expected, found)
            .at(self.at)
            .advise("the file is cut short or broken: copy or download it again")
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.place == Place::Shard {
            return write!(
                f,
                "{}: this file of the model is missing",
                self.path.display()
            );
        }
        let least = if self.exact { "" } else { "at least " };
        let Self {
            place, what, at, ..
        } = self;
        let are = if self.missing() == 1 { "is" } else { "are" };
        write!(
            f,
            "{}: cut short at byte {}, in {what} of the {place} (byte {at}); {least}{} {are} missing",
            self.path.display(),
            self.have,
            counted(self.missing(), "byte")
        )
    }
}
