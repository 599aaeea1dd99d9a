//! The bytes of one file: mapped from disk, held in memory, or part of the program.

use core::fmt;
use core::ops::{Deref, Range};
use std::sync::Arc;

use crate::os::Mapped;

/// Bytes that many owners share; a clone copies no byte.
#[derive(Clone)]
pub(super) enum Data {
    /// A file, mapped read-only.
    Map(Mapped),
    /// Bytes given by the caller.
    Memory(Arc<[u8]>),
    /// Bytes that are always there.
    Static(&'static [u8]),
}

impl Deref for Data {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Map(map) => map,
            Self::Memory(bytes) => bytes,
            Self::Static(bytes) => bytes,
        }
    }
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

/// The bytes of one tensor, where they lie in the file. A clone is cheap, and keeps the file mapped.
#[derive(Clone)]
pub struct TensorBytes {
    data: Data,
    range: Range<usize>,
}

impl TensorBytes {
    /// `range` of `data`; empty when it does not lie in it.
    pub(super) fn new(data: Data, range: Range<usize>) -> Self {
        Self { data, range }
    }

    /// The mapping these bytes lie in and their range there, for advice on how they will be read; `None` when they are
    /// not mapped from a file.
    pub fn mapping(&self) -> Option<(&Mapped, Range<usize>)> {
        match &self.data {
            Data::Map(map) => Some((map, self.range.clone())),
            Data::Memory(_) | Data::Static(_) => None,
        }
    }
}

impl Deref for TensorBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.data.get(self.range.clone()).unwrap_or_default()
    }
}

impl fmt::Debug for TensorBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes at {}", self.len(), self.range.start)
    }
}
