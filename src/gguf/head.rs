//! Reads the head of one file: header, metadata, tensor list.
//!
//! ```text
//! "GGUF" | u32 version | i64 tensors | i64 keys | keys x (key, u32 type, value) | tensors x info | padding | data
//! string = u64 bytes, then the bytes          info = string name, u32 dims, dims x u64, u32 type, u64 offset
//! array  = u32 type, u64 elements, then the elements
//! ```
//!
//! What the format leaves open is settled as the reference reader (`gguf.cpp` of ggml) does: every tensor must begin
//! where the padded bytes of the one before it end. What is worse than unusual is refused, with the offset.
//!
//! A file that simply ends too early is not broken but [`Cut`]: what came before the end is still good. Whether that is
//! an error is the caller's choice. The loops need no limit of their own: each round reads at least eight bytes, and the
//! vectors grow with what was read, never with what a count claims.

mod entry;
mod info;
mod reader;

use std::path::Path;

use super::cursor::Cursor;
use super::cut::Cut;
use super::data::Data;
use super::metadata::{Entry, Metadata};
use super::tensor::TensorInfo;
use super::value::Value;
use crate::error::{Error, Place, Result};
use reader::{Read, Reader, Stop};

/// The versions that are read; they differ in nothing that a little-endian reader sees.
const VERSIONS: core::ops::RangeInclusive<u32> = 2..=3;
/// Of data within a file, unless the metadata says otherwise.
pub(super) const DEFAULT_ALIGNMENT: u32 = 32;
/// The largest alignment accepted: one huge page. Nothing maps by more, and a larger one only wastes memory.
const MAX_ALIGNMENT: u32 = 2 << 20;
/// More keys or tensors than this are a broken count and no file cut short.
const MAX_COUNT: u64 = 1 << 32;
/// The smallest key (length, one byte, type, one byte of value) and tensor entry (length, no name, no dimension, type,
/// offset).
const MIN_ENTRY: u64 = 14;
const MIN_INFO: u64 = 24;

/// What was read of one file.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) version: u32,
    pub(super) metadata: Metadata,
    pub(super) tensors: Vec<TensorInfo>,
    pub(super) cut: Option<Cut>,
}

/// Reads the head of `data`. The tensors carry the index `shard`.
///
/// With `whole`, counts that the size of the file cannot hold are refused at once.
pub(super) fn read(data: &Data, path: &Path, shard: usize, whole: bool) -> Result<Head> {
    let mut reader = Reader {
        data,
        path,
        shard,
        cursor: Cursor::new(data),
        place: Place::Header,
    };
    let mut version = 0;
    let mut entries = Vec::new();
    let mut tensors = Vec::new();
    let read = reader.header(whole).and_then(|header| {
        version = header.version;
        reader.body(&header, &mut entries, &mut tensors)
    });
    let cut = match read {
        Ok(()) => None,
        Err(Stop::Cut(cut)) => Some(cut),
        Err(Stop::Broken(error)) => return Err(error),
    };
    Ok(Head {
        version,
        metadata: Metadata::new(path, entries)?,
        tensors,
        cut,
    })
}

struct Header {
    version: u32,
    keys: u64,
    tensors: u64,
}

impl Reader<'_> {
    fn header(&mut self, whole: bool) -> Read<Header> {
        let magic = self.take(4, "the magic \"GGUF\"")?;
        if magic != b"GGUF" {
            let found = format!("\"{}\"", magic.escape_ascii());
            return Err(self
                .broken(0, "the magic \"GGUF\"", found)
                .advise(whose_magic(self.data))
                .into());
        }
        let version = self.u32("the version")?;
        if !VERSIONS.contains(&version) {
            let (found, hint) = foreign(version);
            let fault = self.broken(4, "version 2 or 3", found);
            return Err(fault.advise(hint).into());
        }
        let tensors = self.count("tensors")?;
        let keys = self.count("keys")?;
        if whole {
            let left = self.cursor.left();
            for (at, n, least, what) in [
                (16, keys, MIN_ENTRY, "keys"),
                (8, tensors, MIN_INFO, "tensors"),
            ] {
                if n > left.checked_div(least).unwrap_or_default() {
                    let expected = format!("a number of {what} that {left} more bytes can hold");
                    return Err(self.broken(at, expected, n.to_string()).into());
                }
            }
        }
        Ok(Header {
            version,
            keys,
            tensors,
        })
    }

    fn count(&mut self, what: &str) -> Read<u64> {
        let at = self.cursor.at();
        let n = self.u64(format_args!("the number of {what}"))?;
        if n > MAX_COUNT {
            let expected = format!("a number of {what} from 0 to {MAX_COUNT}");
            let found = i64::from_le_bytes(n.to_le_bytes()).to_string();
            return Err(self.broken(at, expected, found).into());
        }
        Ok(n)
    }

    fn body(
        &mut self,
        header: &Header,
        entries: &mut Vec<Entry>,
        tensors: &mut Vec<TensorInfo>,
    ) -> Read<()> {
        for i in 0..header.keys {
            let entry = self.entry(i)?;
            entries.push(entry);
        }
        let alignment = self.alignment(entries)?;
        let mut next = 0;
        for i in 0..header.tensors {
            let info = self.info(i, next)?;
            let end = info.offset.checked_add(info.n_bytes());
            let padded = end.and_then(|end| end.checked_next_multiple_of(alignment));
            next = padded
                .filter(|&n| i64::try_from(n).is_ok())
                .ok_or_else(|| {
                    let found = format!("{} bytes at {}", info.n_bytes(), info.offset);
                    self.broken(
                        info.entry_at,
                        "tensors of less than 2^63 bytes in all",
                        found,
                    )
                })?;
            tensors.push(info);
        }
        if !tensors.is_empty() {
            self.locate(alignment, tensors)?;
        }
        Ok(())
    }

    fn alignment(&self, entries: &[Entry]) -> Result<u64> {
        const KEY: &str = "general.alignment";
        let Some(entry) = entries.iter().find(|e| &*e.key == KEY) else {
            return Ok(DEFAULT_ALIGNMENT.into());
        };
        match entry.value {
            Value::U32(n) if n.is_power_of_two() && n <= MAX_ALIGNMENT => Ok(n.into()),
            _ => Err(Error::file(
                self.path,
                Place::Key(KEY.to_owned()),
                format!("a u32 that is a power of two up to {MAX_ALIGNMENT}"),
                entry.value.to_string(),
            )
            .at(entry.value_at)),
        }
    }

    /// Turns the offsets of all tensors into offsets from the start of the file, and checks that the file reaches so far.
    fn locate(&mut self, alignment: u64, tensors: &mut [TensorInfo]) -> Read<()> {
        let infos_end = self.cursor.at();
        let have = self.data.len() as u64;
        let mut first_cut = None;
        let mut need = 0;
        for info in tensors {
            let start = infos_end.checked_next_multiple_of(alignment);
            let at = start.and_then(|start| start.checked_add(info.offset));
            let end = at.and_then(|at| at.checked_add(info.n_bytes()));
            let (Some(at), Some(end)) = (at, end) else {
                self.place = Place::Tensor(info.name.clone());
                let found = format!("{} bytes at {}", info.n_bytes(), info.offset);
                return Err(self
                    .broken(info.entry_at, "tensors within 2^64 bytes", found)
                    .into());
            };
            info.offset = at;
            need = end;
            if end > have && first_cut.is_none() {
                first_cut = Some((Place::Tensor(info.name.clone()), at));
            }
        }
        let Some((place, at)) = first_cut else {
            return Ok(());
        };
        Err(Stop::Cut(Cut {
            path: self.path.to_path_buf(),
            place,
            at,
            what: "the data".to_owned(),
            have,
            need,
            exact: true,
        }))
    }
}

/// What a version is that is not read, and what to do.
fn foreign(version: u32) -> (String, &'static str) {
    let found = version.to_string();
    match version {
        0 => (found, ""),
        1 => (found, "convert the model again: nothing reads 1 today"),
        // No version is so large; read in the other byte order it is small.
        _ if version.trailing_zeros() >= 16 => {
            let found = format!("{version:#010x}, a big-endian file");
            let hint = "convert it to little-endian (gguf_convert_endian.py of llama.cpp)";
            (found, hint)
        }
        _ => (found, "a newer wattle may read it"),
    }
}

/// What a file is that is no GGUF, where its first bytes tell, and what to do.
fn whose_magic(bytes: &[u8]) -> &'static str {
    const KNOWN: &[(&[u8], &str)] = &[
        (
            b"version https://git-lfs",
            "this is a Git LFS pointer, not the model: run git lfs pull",
        ),
        (b"PK\x03\x04", "this is a zip archive: unpack it"),
        (b"\x1f\x8b", "this is a gzip archive: unpack it"),
        (
            b"<",
            "this is a web page, not the model: the download went wrong",
        ),
        (
            b"tjgg",
            "this is the old GGJT format: convert the model again",
        ),
        (
            b"fmgg",
            "this is the old GGMF format: convert the model again",
        ),
        (
            b"lmgg",
            "this is the old GGML format: convert the model again",
        ),
    ];
    if let Some((_, hint)) = KNOWN.iter().find(|(start, _)| bytes.starts_with(start)) {
        return hint;
    }
    if bytes.get(8) == Some(&b'{') {
        return "this is a safetensors file: convert it with convert_hf_to_gguf.py of llama.cpp";
    }
    "this is no GGUF file"
}
