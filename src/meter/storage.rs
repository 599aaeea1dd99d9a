//! How fast a file is read from where it lies, past the page cache: what the first pass over a model that was not in memory waits for.
//!
//! The file is opened for direct reading. Where a file system refuses that, the kernel is asked to drop its pages first, which it
//! does only with pages that no process has mapped and that were written back: [`Storage::direct`] says which it was, and a rate without it may be partly the
//! memory's.

use core::time::Duration;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::fs::{Advice, CWD, Mode, OFlags, fadvise, openat};

use crate::error::{Error, Result};
use crate::os::Huge;

/// Read at a time: enough for any disk to be at its best.
const PIECE: usize = 4 << 20;
/// Bytes of the temporary file.
const OWN_BYTES: usize = 64 << 20;
/// Reading ends after this, and after [`MOST_BYTES`].
const TIME: Duration = Duration::from_secs(3);
const MOST_BYTES: u64 = 512 << 20;

/// How fast a file was read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Storage {
    /// Bytes that were read.
    pub bytes: u64,
    /// How long it took.
    pub time: Duration,
    /// Whether the page cache had no part in it.
    pub direct: bool,
}

impl Storage {
    /// 10^9 bytes a second.
    #[must_use]
    pub fn gbps(&self) -> f64 {
        self.bytes as f64 / self.time.as_nanos().max(1) as f64
    }
}

/// Reads the file at `path` from its start, for three seconds or half a GiB.
///
/// # Errors
/// When it cannot be opened or read, or holds less than a megabyte.
pub fn read_file(path: &Path) -> Result<Storage> {
    let (file, direct) = open(path).map_err(|e| Error::io(path, "open", e))?;
    let read = read(file, direct).map_err(|e| Error::io(path, "read", e))?;
    match read.bytes < 1 << 20 {
        true => Err(Error::io(
            path,
            "measure how fast it is read",
            io::Error::other("it holds less than a megabyte"),
        )),
        false => Ok(read),
    }
}

/// Writes a file of 64 MiB into `folder`, reads it, and removes it.
///
/// # Errors
/// When there is no room, or it cannot be read.
pub fn read_own(folder: &Path) -> Result<Storage> {
    let path = folder.join(format!(".wattle-storage-{}", std::process::id()));
    let mut file = File::create_new(&path).map_err(|e| Error::io(&path, "create", e))?;
    let gone = Gone(path);
    write_noise(&mut file)
        .and_then(|()| file.sync_all())
        .map_err(|e| Error::io(&gone.0, "write", e))?;
    drop(file);
    read_file(&gone.0)
}

/// A file that is removed in any case.
struct Gone(PathBuf);

impl Drop for Gone {
    fn drop(&mut self) {
        let _gone = std::fs::remove_file(&self.0);
    }
}

/// Bytes that no file system can make smaller.
fn write_noise(file: &mut File) -> io::Result<()> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut piece = vec![0; 1 << 20];
    for _ in 0..OWN_BYTES / piece.len() {
        for bytes in piece.chunks_exact_mut(8) {
            // xorshift64
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.copy_from_slice(&state.to_le_bytes());
        }
        file.write_all(&piece)?;
    }
    Ok(())
}

/// The file, and whether it is read past the page cache.
fn open(path: &Path) -> io::Result<(File, bool)> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    if let Ok(file) = openat(CWD, path, flags | OFlags::DIRECT, Mode::empty()) {
        return Ok((File::from(file), true));
    }
    let file = File::from(openat(CWD, path, flags, Mode::empty())?);
    // Advice: a kernel that does not take it leaves the pages.
    let _refused = fadvise(&file, 0, None, Advice::DontNeed);
    Ok((file, false))
}

fn read(mut file: File, direct: bool) -> io::Result<Storage> {
    // Direct reading wants memory that begins at a page, which that of `Huge` does, and whole blocks of the disk.
    let mut buffer = Huge::zeros(PIECE, "reading a file").map_err(io::Error::other)?;
    // The pages of the buffer come to be now, not while time is taken.
    buffer.fill(1);
    let mut bytes = 0;
    let begin = Instant::now();
    loop {
        let n = file.read(&mut buffer)?;
        bytes += n as u64;
        // A short piece is the end: what follows would not begin at a block.
        if n < PIECE || bytes >= MOST_BYTES || begin.elapsed() >= TIME {
            break;
        }
    }
    Ok(Storage {
        bytes,
        time: begin.elapsed(),
        direct,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::Temp;

    #[test]
    fn a_file_of_its_own_leaves_nothing() {
        let folder = std::env::temp_dir().join(format!("wattle-own-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let read = read_own(&folder).expect("room for 64 MiB");
        assert_eq!(read.bytes, OWN_BYTES as u64);
        assert!(read.gbps() > 0.0, "{read:?}");
        let left = std::fs::read_dir(&folder).expect("a folder").count();
        std::fs::remove_dir(&folder).expect("an empty folder");
        assert_eq!(left, 0);
    }

    #[test]
    fn what_cannot_be_measured_is_told() {
        let small = Temp::new("short-storage", b"short");
        let told = read_file(&small.0).expect_err("short").to_string();
        assert!(told.contains("less than a megabyte"), "{told}");
        let told = read_file(Path::new("/nowhere/file")).expect_err("absent");
        assert!(
            told.to_string().contains("/nowhere/file: cannot open"),
            "{told}"
        );
    }
}
