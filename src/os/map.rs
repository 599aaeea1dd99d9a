//! A file mapped read-only into memory.
//!
//! Weights are read where they lie in the page cache: nothing is copied, a second process shares the pages, and under
//! memory pressure the kernel drops them instead of writing them to swap (on a Raspberry Pi swap is compressed memory,
//! and quantised weights do not compress).
//!
//! **What a mapping cannot promise.** Another process may write to the file or cut it while it is mapped. Bytes may
//! then change between two reads, and a read past the new end kills the process with SIGBUS. No portable call prevents
//! that, so a model file must be left alone while it is in use: replace it by renaming a new file over it, which keeps
//! the old one alive for its readers. Whoever reads metadata copies a value before checking it.

use core::fmt;
use core::ops::{Deref, Range};
use std::fs::{File, FileType};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::{Mmap, MmapOptions, UncheckedAdvice};

use crate::{Error, Result};

/// A regular file mapped read-only. A clone shares the mapping, which lives as long as the last clone.
#[derive(Clone)]
pub struct Mapped(Arc<Inner>);

struct Inner {
    map: Mmap,
    path: PathBuf,
    identity: Identity,
}

/// By what a file is told from another one, and from itself after it was changed.
///
/// The time of the last change is set by the system alone: it tells of writes after which the time of the last write was put back.
/// The number of the device is left out, because a disk may have another one after the next start of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Number of the file on its file system.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// When it was written to last: seconds and nanoseconds.
    pub written: (i64, i64),
    /// When it was changed last in any way, its name and rights included: seconds and nanoseconds.
    pub changed: (i64, i64),
}

/// How a part of a mapping will be used. Advice changes speed and memory, never what is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// Soon: start to read it from disk in the background.
    WillNeed,
    /// Front to back: read far ahead.
    Sequential,
    /// Here and there: do not read ahead.
    Random,
    /// Now: read it and enter its pages, before the call returns.
    Now,
    /// Not soon: unmap its pages now. They come back, from the page cache or the disk, when they are read again.
    DontNeed,
}

impl Mapped {
    /// Maps the whole of the file at `path`. An empty file gives an empty slice.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the file is missing, may not be read, is not a regular file (a directory, a pipe, a device), or
    /// does not fit into the address space.
    pub fn open(path: &Path) -> Result<Self> {
        // Asked before it is opened, for opening a pipe without a writer would wait for ever ...
        let found = std::fs::metadata(path).map_err(|e| Error::io(path, "open", e))?;
        regular(path, found.file_type())?;
        let file = File::open(path).map_err(|e| Error::io(path, "open", e))?;
        // ... and asked of what was opened, for the name may mean another file by now.
        let opened = file
            .metadata()
            .map_err(|e| Error::io(path, "read the size", e))?;
        regular(path, opened.file_type())?;
        let len = usize::try_from(opened.len()).map_err(|_| {
            let reason = "it is larger than the address space of this system";
            Error::io(
                path,
                "map into memory",
                io::Error::new(ErrorKind::FileTooLarge, reason),
            )
        })?;
        // SAFETY: `map` asks that the bytes stay as they are while the mapping lives. The mapping is private and
        // read-only and this program never writes to a file that it has mapped, so only another process could break
        // this; the head of this file states that as a rule for the user. No bytes of the mapping are ever taken as
        // a type for which some bit patterns are invalid: it is handed out as `[u8]` only.
        let map = unsafe { MmapOptions::new().len(len).map(&file) }
            .map_err(|e| Error::io(path, "map into memory", e))?;
        Ok(Self(Arc::new(Inner {
            map,
            path: path.to_path_buf(),
            identity: Identity {
                inode: opened.ino(),
                size: opened.len(),
                written: (opened.mtime(), opened.mtime_nsec()),
                changed: (opened.ctime(), opened.ctime_nsec()),
            },
        })))
    }

    /// What file it was when it was opened.
    pub fn identity(&self) -> Identity {
        self.0.identity
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Tells the kernel how the bytes of `range` will be used; what lies outside of the file is left out.
    ///
    /// Pages that `range` touches only in part are included. A kernel that does not follow the advice is no error.
    pub fn advise(&self, range: Range<usize>, advice: Advice) {
        let map = &self.0.map;
        let end = range.end.min(map.len());
        let Some(len) = end.checked_sub(range.start).filter(|&len| len > 0) else {
            return;
        };
        let start = range.start;
        let _refused = match advice {
            Advice::WillNeed => map.advise_range(memmap2::Advice::WillNeed, start, len),
            Advice::Sequential => map.advise_range(memmap2::Advice::Sequential, start, len),
            Advice::Now => map.advise_range(memmap2::Advice::PopulateRead, start, len),
            Advice::Random => map.advise_range(memmap2::Advice::Random, start, len),
            // SAFETY: MADV_DONTNEED drops the pages of a mapping; in a file mapping that nobody has written to, as this
            // one, a later read brings the same bytes from the file again, so no reference can see a difference.
            // `start + len` is at most the length of the mapping.
            Advice::DontNeed => unsafe {
                map.unchecked_advise_range(UncheckedAdvice::DontNeed, start, len)
            },
        };
    }
}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0.map
    }
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Mapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapped")
            .field("path", &self.path())
            .field("len", &self.len())
            .finish()
    }
}

/// Refuses everything that has no fixed content to map.
fn regular(path: &Path, kind: FileType) -> Result<()> {
    let (class, what) = if kind.is_file() {
        return Ok(());
    } else if kind.is_dir() {
        (
            ErrorKind::IsADirectory,
            "it is a directory; name the file in it",
        )
    } else if kind.is_fifo() {
        (
            ErrorKind::InvalidInput,
            "it is a pipe; save its content to a file first",
        )
    } else if kind.is_socket() {
        (
            ErrorKind::InvalidInput,
            "it is a socket, not a regular file",
        )
    } else {
        (
            ErrorKind::InvalidInput,
            "it is a device, not a regular file",
        )
    };
    Err(Error::io(path, "open", io::Error::new(class, what)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::Temp;

    fn refusal(path: &Path) -> String {
        match Mapped::open(path) {
            Ok(map) => panic!("{map:?} was mapped"),
            Err(e) => e.to_string(),
        }
    }

    #[test]
    fn clones_share_the_bytes_and_outlive_the_file() {
        let file = Temp::new("map-share", b"GGUF and more");
        let first = Mapped::open(&file.0).expect("mapped");
        let second = first.clone();
        assert_eq!(first.as_ptr(), second.as_ptr(), "one mapping");
        drop(first);
        drop(file);
        assert_eq!(&second[..], b"GGUF and more");
    }

    #[test]
    fn an_empty_file_is_an_empty_slice() {
        let file = Temp::new("map-empty", b"");
        let map = Mapped::open(&file.0).expect("mapped");
        assert!(map.is_empty(), "no bytes");
        map.advise(0..10, Advice::WillNeed);
    }

    #[test]
    fn what_is_no_regular_file_is_refused_by_name() {
        let dir = refusal(&std::env::temp_dir());
        assert!(dir.contains("directory"), "{dir}");
        let device = refusal(Path::new("/dev/null"));
        assert!(device.contains("device"), "{device}");
        let missing = refusal(Path::new("/nonexistent/x.gguf"));
        assert!(missing.contains("/nonexistent/x.gguf"), "{missing}");
    }

    #[test]
    fn a_pipe_is_refused_without_waiting_for_a_writer() {
        let pipe = Temp::unmade("map-pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe.0).status();
        if !made.is_ok_and(|status| status.success()) {
            eprintln!("skipped: no mkfifo here");
            return;
        }
        let told = refusal(&pipe.0);
        assert!(told.contains("pipe"), "{told}");
    }

    #[test]
    fn advice_never_changes_the_bytes_and_takes_any_range() {
        let bytes: Vec<u8> = (0..100_000_u32).map(|i| (i % 251) as u8).collect();
        let file = Temp::new("map-advice", &bytes);
        let map = Mapped::open(&file.0).expect("mapped");
        let ranges = [
            0..100_000,
            5..6,
            0..usize::MAX,
            99_999..100_001,
            200_000..300_000,
            7..7,
            usize::MAX..usize::MAX,
        ];
        for advice in [
            Advice::WillNeed,
            Advice::Sequential,
            Advice::Random,
            Advice::Now,
            Advice::DontNeed,
        ] {
            for range in ranges.clone() {
                map.advise(range, advice);
            }
            assert!(map[..] == bytes[..], "{advice:?} changed the bytes");
        }
    }
}
