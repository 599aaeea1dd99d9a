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
//! an error is the caller's choice. The loops need no limit of their own: each round reads at least four bytes, and the
//! vectors grow with what was read, never with what a count claims.

use core::fmt;
use std::path::{Path, PathBuf};

use super::cursor::{Cursor, Short};
use super::data::Data;
use super::metadata::{Entry, Metadata};
use super::tensor::{MAX_DIMS, MAX_NAME, Size, TensorInfo};
use super::types::GgmlType;
use super::value::{Array, Value, ValueType};
use crate::error::{Error, Place, Result};

/// The versions that are read; they differ in nothing that a little-endian reader sees.
const VERSIONS: core::ops::RangeInclusive<u32> = 2..=3;
/// Of data within a file, unless the metadata says otherwise.
pub(super) const DEFAULT_ALIGNMENT: u32 = 32;
/// The largest alignment accepted: one huge page. Nothing maps by more, and a larger one only wastes memory.
const MAX_ALIGNMENT: u32 = 2 << 20;
/// Limits of the reference reader for one string (bytes) and one array (elements).
const MAX_STRING: u64 = 1 << 30;
const MAX_ARRAY: u64 = 1 << 30;
/// More keys or tensors than this are a broken count and no file cut short.
const MAX_COUNT: u64 = 1 << 32;
/// The smallest key (length, one byte, type, one byte of value) and tensor entry (length, no name, no dimension, type,
/// offset).
const MIN_ENTRY: u64 = 14;
const MIN_INFO: u64 = 24;

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
        write!(
            f,
            "{}: cut short at byte {}, in {what} of the {place} (byte {at}); {least}{} bytes are missing",
            self.path.display(),
            self.have,
            self.missing()
        )
    }
}

/// What was read of one file.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) metadata: Metadata,
    pub(super) tensors: Vec<TensorInfo>,
    pub(super) cut: Option<Cut>,
}

/// Why reading stopped.
enum Stop {
    Cut(Cut),
    Broken(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Broken(error)
    }
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
    let mut entries = Vec::new();
    let mut tensors = Vec::new();
    let read = reader
        .header(whole)
        .and_then(|counts| reader.body(counts, &mut entries, &mut tensors));
    let cut = match read {
        Ok(()) => None,
        Err(Stop::Cut(cut)) => Some(cut),
        Err(Stop::Broken(error)) => return Err(error),
    };
    Ok(Head {
        metadata: Metadata::new(path, entries)?,
        tensors,
        cut,
    })
}

struct Counts {
    keys: u64,
    tensors: u64,
}

struct Reader<'a> {
    data: &'a Data,
    path: &'a Path,
    shard: usize,
    cursor: Cursor<'a>,
    /// What is being read, for errors.
    place: Place,
}

impl<'a> Reader<'a> {
    fn header(&mut self, whole: bool) -> core::result::Result<Counts, Stop> {
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
            let (found, hint) = if version == 1 {
                (
                    "1".to_owned(),
                    "convert the model again: nothing reads 1 today",
                )
            } else if VERSIONS.contains(&version.swap_bytes()) {
                let found = format!("{version:#010x}, a big-endian file");
                (
                    found,
                    "convert it to little-endian (gguf_convert_endian.py)",
                )
            } else {
                (version.to_string(), "a newer wattle may read it")
            };
            let fault = self.broken(4, "version 2 or 3", found);
            return Err(fault.advise(if version == 0 { "" } else { hint }).into());
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
        Ok(Counts { keys, tensors })
    }

    fn count(&mut self, what: &str) -> core::result::Result<u64, Stop> {
        let at = self.cursor.at();
        let n = self.u64(&format!("the number of {what}"))?;
        if n > MAX_COUNT {
            let expected = format!("a number of {what} from 0 to {MAX_COUNT}");
            let found = i64::from_le_bytes(n.to_le_bytes()).to_string();
            return Err(self.broken(at, expected, found).into());
        }
        Ok(n)
    }

    fn body(
        &mut self,
        counts: Counts,
        entries: &mut Vec<Entry>,
        tensors: &mut Vec<TensorInfo>,
    ) -> core::result::Result<(), Stop> {
        for i in 0..counts.keys {
            let entry = self.entry(i)?;
            entries.push(entry);
        }
        let alignment = self.alignment(entries)?;
        let mut next = 0;
        for i in 0..counts.tensors {
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

    fn entry(&mut self, i: u64) -> core::result::Result<Entry, Stop> {
        self.place = Place::Metadata;
        let key_at = self.cursor.at();
        let key = self.name(&format!("key {i}"), MAX_STRING)?;
        if key.is_empty() {
            return Err(self
                .broken(
                    key_at,
                    "a key with a name",
                    format!("an empty name for key {i}"),
                )
                .into());
        }
        self.place = Place::Key(key.to_owned());
        let type_at = self.cursor.at();
        let id = self.u32("the type of the value")?;
        let ty = self.value_type(id, type_at)?;
        let value_at = self.cursor.at();
        let value = match ty {
            ValueType::Array => Value::Array(self.array()?),
            ValueType::String => Value::String(self.string(&"the value", MAX_STRING)?.into()),
            _ => self.fixed(ty)?,
        };
        Ok(Entry {
            key: key.into(),
            key_at,
            value_at,
            value,
        })
    }

    fn value_type(&self, id: u32, at: u64) -> Result<ValueType> {
        ValueType::from_id(id)
            .ok_or_else(|| self.broken(at, "a value type from 0 to 12", id.to_string()))
    }

    fn fixed(&mut self, ty: ValueType) -> core::result::Result<Value, Stop> {
        let at = self.cursor.at();
        let bytes = self.take(ty.size().unwrap_or_default(), "the value")?;
        Value::fixed(ty, bytes)
            .ok_or_else(|| self.broken(at, ty.name(), "another type".to_owned()).into())
    }

    /// An array: its bytes are walked, not decoded.
    fn array(&mut self) -> core::result::Result<Array, Stop> {
        let type_at = self.cursor.at();
        let id = self.u32("the type of the elements")?;
        let ty = self.value_type(id, type_at)?;
        if ty == ValueType::Array {
            let fault = self.broken(
                type_at,
                "elements that are no arrays",
                "an array of arrays".to_owned(),
            );
            return Err(fault.into());
        }
        let len_at = self.cursor.at();
        let len = self.u64("the number of elements")?;
        if len > MAX_ARRAY {
            let fault = self.broken(len_at, "at most 2^30 elements", len.to_string());
            return Err(fault.into());
        }
        let start = self.cursor.at();
        let what = format!("the {len} {ty} elements");
        match ty.size() {
            // Neither product overflows: a count of 2^30 times 8.
            Some(size) => {
                self.take(len.saturating_mul(size), &what)?;
            }
            None => {
                self.left_for(len.saturating_mul(8), &what)?;
                for i in 0..len {
                    self.string(&format_args!("element {i}"), MAX_STRING)?;
                }
            }
        }
        let end = self.cursor.at();
        let index = |n: u64| {
            usize::try_from(n).map_err(|_| self.broken(start, "an array in memory", n.to_string()))
        };
        Ok(Array::new(
            self.data.clone(),
            ty,
            index(len)?,
            index(start)?,
            index(end)?,
        ))
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

    /// One tensor, whose data must begin at `next` bytes after the start of the data.
    fn info(&mut self, i: u64, next: u64) -> core::result::Result<TensorInfo, Stop> {
        self.place = Place::TensorList;
        let entry_at = self.cursor.at();
        let name = self
            .name(&format!("the name of tensor {i}"), MAX_NAME)?
            .to_owned();
        self.place = Place::Tensor(name.clone());
        let dims_at = self.cursor.at();
        let count = self.u32("the number of dimensions")?;
        let n_dims = usize::try_from(count).unwrap_or(usize::MAX);
        if n_dims > MAX_DIMS {
            return Err(self
                .broken(dims_at, "at most 4 dimensions", count.to_string())
                .into());
        }
        let mut dims = [1; MAX_DIMS];
        for (k, dim) in dims.iter_mut().take(n_dims).enumerate() {
            let at = self.cursor.at();
            *dim = self.u64(&format!("dimension {k}"))?;
            let signed = i64::from_le_bytes(dim.to_le_bytes());
            if signed < 0 {
                return Err(self
                    .broken(at, "a dimension of 0 or more", signed.to_string())
                    .into());
            }
        }
        let type_at = self.cursor.at();
        let id = self.u32("the type")?;
        let ty = GgmlType::from_id(id).ok_or_else(|| {
            let (found, hint) = GgmlType::explain(id);
            self.broken(type_at, "a tensor type of ggml", found)
                .advise(hint)
        })?;
        let size = self.size(dims, ty, dims_at)?;
        let offset_at = self.cursor.at();
        let offset = self.u64("the offset of the data")?;
        if offset != next {
            let expected = format!("the data offset {next}, where the tensor before it ends");
            return Err(self.broken(offset_at, expected, offset.to_string()).into());
        }
        Ok(TensorInfo {
            name,
            dims,
            n_dims,
            ty,
            shard: self.shard,
            entry_at,
            offset,
            size,
        })
    }

    fn size(&self, dims: [u64; MAX_DIMS], ty: GgmlType, at: u64) -> Result<Size> {
        let [cols, ..] = dims;
        Size::of(dims, ty).ok_or_else(|| {
            let block = ty.block();
            if cols.checked_rem(block as u64) == Some(0) {
                self.broken(
                    at,
                    "a tensor of less than 2^63 bytes",
                    format!("the shape {dims:?} of {ty}"),
                )
            } else {
                self.broken(
                    at,
                    format!("rows of {ty} that are a multiple of {block} long"),
                    format!("rows of {cols}"),
                )
            }
        })
    }

    /// Turns the offsets of all tensors into offsets from the start of the file, and checks that the file reaches so far.
    fn locate(
        &mut self,
        alignment: u64,
        tensors: &mut [TensorInfo],
    ) -> core::result::Result<(), Stop> {
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

    fn name(&mut self, what: &str, longest: u64) -> core::result::Result<&'a str, Stop> {
        let at = self.cursor.at();
        let bytes = self.string(&what, longest)?;
        core::str::from_utf8(bytes).map_err(|_| {
            let found = format!("\"{}\"", bytes.get(..64).unwrap_or(bytes).escape_ascii());
            self.broken(at, format!("UTF-8 in {what}"), found).into()
        })
    }

    fn string(
        &mut self,
        what: &dyn fmt::Display,
        longest: u64,
    ) -> core::result::Result<&'a [u8], Stop> {
        let at = self.cursor.at();
        let len = match self.cursor.u64() {
            Ok(len) => len,
            Err(short) => return Err(self.cut(short, &format_args!("the length of {what}"))),
        };
        if len > longest {
            let expected = format!("at most {longest} bytes for {what}");
            return Err(self.broken(at, expected, len.to_string()).into());
        }
        self.cursor.take(len).map_err(|short| self.cut(short, what))
    }

    fn u32(&mut self, what: &str) -> core::result::Result<u32, Stop> {
        self.cursor.u32().map_err(|short| self.cut(short, &what))
    }

    fn u64(&mut self, what: &str) -> core::result::Result<u64, Stop> {
        self.cursor.u64().map_err(|short| self.cut(short, &what))
    }

    fn take(&mut self, n: u64, what: &str) -> core::result::Result<&'a [u8], Stop> {
        self.cursor.take(n).map_err(|short| self.cut(short, &what))
    }

    /// Says early, and for the whole of it, that `need` more bytes are not there.
    fn left_for(&self, need: u64, what: &str) -> core::result::Result<(), Stop> {
        let (at, left) = (self.cursor.at(), self.cursor.left());
        if need <= left {
            return Ok(());
        }
        Err(self.cut(Short { at, need, left }, &what))
    }

    fn cut(&self, short: Short, what: &dyn fmt::Display) -> Stop {
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

    fn broken(&self, at: u64, expected: impl Into<String>, found: String) -> Error {
        Error::file(self.path, self.place.clone(), expected, found).at(at)
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
