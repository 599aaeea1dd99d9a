//! A file of packed weights, which maps straight in.
//!
//! ```text
//!  0  16 bytes   MAGIC
//! 16  u32        VERSION of this layout
//! 20  u32        0
//! 24  16 bytes   key (`key`): what the tiles were made from, and how
//! 40  u64        bytes of the tiles
//! 48  u64        bytes of a piece
//! 56  u64        checksum of all that is before the tiles, but for these 8 bytes
//! 64  u64 ...    checksum of each piece; the last may be shorter
//!     zeros      up to a multiple of PAGE
//!     tiles
//! ```
//!
//! Numbers are little-endian, checksums XXH3 of 64 bits. Everything but the checksums follows from the model, so nothing that the
//! file says is believed: it is compared with what it must be, and a file that differs is not used.
//!
//! **All tiles are checked at every start.** Weights that have changed on an old SD card would give wrong text without a word. It
//! costs little: two threads hash 2.7 GB in the page cache in 0.15 s, and from a disk, which is slower than the hash, the first
//! pass would have to bring in the same pages anyway.
//!
//! The pages are those of the page cache: a second process shares them, and under memory pressure the system drops them. They are
//! small ones, as huge pages are for memory only, which costs up to a tenth of the speed of decoding.
//!
//! A new file appears whole or not at all ([`Draft`]), also when two processes write it at a time: the last one stays, and a process
//! that has mapped the other one keeps it. It may be deleted at any time.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::error::{Error, Place, Result};
use crate::os::{Advice, Draft, Mapped};
use crate::pool::Pool;

const MAGIC: [u8; 16] = *b"wattle tiles\r\n\x1a\n";
const VERSION: u32 = 1;
/// Bytes that have a checksum of their own, so that threads can share the work, and a fault has a place.
const PIECE: usize = 4 << 20;
/// The largest page of the systems that wattle runs on.
const PAGE: usize = 1 << 16;
/// Where the checksum of the head is.
const CHECK: usize = 56;
/// Where the checksums of the pieces begin.
const TABLE: usize = 64;
/// Most bytes of a model's name in a file's name, which may have 255.
const MOST_NAME: usize = 150;
/// What is unfinished for longer was left behind by a process that was killed.
const LEFT_BEHIND: Duration = Duration::from_secs(24 * 60 * 60);

/// The file of one model's tiles, which may be there or not.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
    key: u128,
    bytes: usize,
}

impl Store {
    /// The file in `folder` for so many bytes of tiles with this key, of a model that people call `name`.
    pub(super) fn new(folder: &Path, name: &str, key: u128, bytes: usize) -> Self {
        let mut name = name.replace('/', "_");
        name.truncate(name.floor_char_boundary(MOST_NAME));
        Self {
            path: folder.join(format!("{name}-{key:032x}.wattle-tiles")),
            key,
            bytes,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The mapped file and where its tiles begin, all of them checked. `None` when there is no file.
    ///
    /// # Errors
    /// When there is something else than the file that [`Store::write`] writes.
    pub(super) fn open(&self, pool: &Pool) -> Result<Option<(Mapped, usize)>> {
        let map = match Mapped::open(&self.path) {
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                return Ok(None);
            }
            map => map?,
        };
        let start = self.start();
        self.check_head(&map)?;
        let tiles = &map[start..];
        let mut sums = vec![0; tiles.len().div_ceil(PIECE)];
        pool.each(&mut sums, |i, sum| {
            let piece = i * PIECE..tiles.len().min((i + 1) * PIECE);
            map.advise(start + piece.start..start + piece.end, Advice::Now);
            *sum = xxh3_64(&tiles[piece]);
        });
        let table = map[TABLE..].as_chunks().0.iter();
        let bad = sums.iter().zip(table);
        let bad = bad.map(|(sum, of_file)| sum.to_le_bytes() == *of_file);
        match bad.enumerate().find(|(_, same)| !same) {
            None => Ok(Some((map, start))),
            Some((i, _)) => {
                let expected = "the bytes that were written";
                let fault = self.fault(Place::Tiles, expected.into(), "others".into());
                Err(fault.at((start + i * PIECE) as u64))
            }
        }
    }

    /// Writes the file, in place of one that is there.
    ///
    /// # Errors
    /// When the folder cannot be made or written to, or its disk has not enough room; nothing has changed then.
    pub(super) fn write(&self, tiles: &[u8], pool: &Pool) -> Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(|e| Error::io(folder, "make the folder", e))?;
        sweep(folder);
        let failed = |source| Error::io(&self.path, "write", source);
        let mut draft = Draft::create(&self.path)?;
        let (free, need) = (draft.free_bytes()?, (self.start() + tiles.len()) as u64);
        if free < need {
            let what = format!(
                "it takes {} MB, and its disk has {} MB left",
                need / 1_000_000,
                free / 1_000_000
            );
            return Err(failed(io::Error::new(ErrorKind::StorageFull, what)));
        }
        let mut sums = vec![0; tiles.len().div_ceil(PIECE)];
        pool.each(&mut sums, |i, sum| {
            *sum = xxh3_64(&tiles[i * PIECE..tiles.len().min((i + 1) * PIECE)]);
        });
        let mut head = vec![0; self.start()];
        head[..CHECK].copy_from_slice(&self.fixed());
        let table = head[TABLE..].as_chunks_mut().0;
        for (place, sum) in table.iter_mut().zip(sums) {
            *place = sum.to_le_bytes();
        }
        let check = check(&head);
        head[CHECK..TABLE].copy_from_slice(&check);
        draft.write_all(&head).map_err(failed)?;
        draft.write_all(tiles).map_err(failed)?;
        draft.publish()
    }

    /// Where the tiles begin.
    fn start(&self) -> usize {
        (TABLE + 8 * self.bytes.div_ceil(PIECE)).next_multiple_of(PAGE)
    }

    /// What the file begins with.
    fn fixed(&self) -> [u8; CHECK] {
        let mut head = [0; CHECK];
        head[..16].copy_from_slice(&MAGIC);
        head[16..20].copy_from_slice(&VERSION.to_le_bytes());
        head[24..40].copy_from_slice(&self.key.to_le_bytes());
        head[40..48].copy_from_slice(&(self.bytes as u64).to_le_bytes());
        head[48..56].copy_from_slice(&(PIECE as u64).to_le_bytes());
        head
    }

    /// Compares all that is before the tiles with what it must be.
    fn check_head(&self, file: &[u8]) -> Result<()> {
        let fault = |expected: &str, found: &str| {
            Err(self.fault(Place::Header, expected.into(), found.into()))
        };
        let Some((head, _)) = file.split_at_checked(TABLE) else {
            return fault("a file of packed weights", "a shorter file");
        };
        let fixed = self.fixed();
        if head[..16] != fixed[..16] {
            return fault("a file of packed weights", "another file");
        }
        if head[16..24] != fixed[16..24] {
            let version = u32::from_le_bytes([head[16], head[17], head[18], head[19]]);
            return fault(&format!("version {VERSION}"), &format!("version {version}"));
        }
        if head[24..CHECK] != fixed[24..] {
            return fault("the weights of this model file", "those of another one");
        }
        let length = self.start() + self.bytes;
        if file.len() != length {
            let found = format!("{} bytes", file.len());
            return fault(&format!("{length} bytes"), &found);
        }
        if head[CHECK..] != check(&file[..self.start()]) {
            return fault("the bytes that were written", "others");
        }
        Ok(())
    }

    fn fault(&self, place: Place, expected: String, found: String) -> Error {
        Error::file(&self.path, place, expected, found)
            .advise("the weights are packed again from the model file")
    }
}

/// The checksum of all that is before the tiles.
fn check(head: &[u8]) -> [u8; 8] {
    let mut sum = Xxh3::new();
    sum.update(&head[..CHECK]);
    sum.update(&head[TABLE..]);
    sum.digest().to_le_bytes()
}

/// Removes what processes that were killed have left in `folder`, which can be as large as a model. What cannot be removed stays.
fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !(name.starts_with(".wattle-") && name.ends_with(".part")) {
            continue;
        }
        let age = entry.metadata().and_then(|found| found.modified());
        let age = age.ok().and_then(|written| written.elapsed().ok());
        if age.is_some_and(|age| age > LEFT_BEHIND) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests;
