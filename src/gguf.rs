//! GGUF files: versions 2 and 3, little-endian, one file or several, mapped into memory.
//!
//! A model file comes from a stranger. Whatever its bytes are, reading it gives a model or an [`Error`] that names the
//! file, the key or tensor, the offset, what was expected and what was found: never a panic, a read out of bounds, an
//! endless loop, or an allocation beyond a small multiple of the bytes read. That rests on four habits:
//!
//! - all bytes come from a cursor that compares a length with the bytes left before it moves (`cursor`);
//! - counts, offsets and products are 64-bit and checked; the lints below forbid plain `as`, `[]`, `+` and `*` in this
//!   module, so that a forgotten check does not compile in CI;
//! - vectors grow with what was read, not with what a count claims;
//! - a tensor becomes visible only after its offset and size were held against the length of the file.
//!
//! Nothing large is copied. Tensors and arrays are byte ranges of the mapping; [`TensorBytes`] keeps it alive.
//!
//! | module | what it knows |
//! |---|---|
//! | `cursor` | bounds |
//! | `data` | mapped file or bytes in memory |
//! | `value`, `metadata` | the 13 value types; keys with lenient getters |
//! | `types`, `tensor` | ids and block sizes; shape and size of a tensor |
//! | `head`, `cut` | the layout of one file; where one ends too early |
//! | `writer` | the same layout, written |
//! | `split` | names and keys of models in several files |

#![cfg_attr(
    not(test),
    deny(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod cursor;
mod cut;
mod data;
mod head;
mod metadata;
mod split;
mod tensor;
mod types;
mod value;
mod writer;

use core::fmt;
use std::path::Path;
use std::sync::Arc;

pub use cut::Cut;
pub use data::TensorBytes;
pub use metadata::Metadata;
pub use split::shard_path;
pub use tensor::{MAX_DIMS, TensorInfo};
pub use types::GgmlType;
pub use value::{Array, Elements, Strings, Value, ValueType};
pub use writer::{Body, Scalar, Writer};

use crate::error::{Error, Place, Result};
use crate::os::Mapped;
use data::Data;
use head::Head;

/// A model file, or all files of a split model, checked. A clone is cheap and shares the mapping.
#[derive(Clone)]
pub struct Gguf(Arc<Inner>);

struct Inner {
    version: u32,
    metadata: Metadata,
    /// Keys of the files after the first.
    siblings: Vec<Metadata>,
    shards: Vec<Data>,
    tensors: Vec<TensorInfo>,
    /// Indices into `tensors`, sorted by name.
    sorted: Vec<usize>,
    cut: Option<Cut>,
}

/// How much of a model must be there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ask {
    Whole,
    Head,
}

impl Gguf {
    /// Maps the model at `path` and checks all of it but the values of the weights.
    ///
    /// A model that is split over several files is opened by its first, and has all of them.
    ///
    /// # Errors
    ///
    /// A file cannot be mapped, is no GGUF, is broken or cut short, or is missing.
    pub fn open(path: &Path) -> Result<Self> {
        Self::assemble(path, Data::Map(Mapped::open(path)?), Ask::Whole)
    }

    /// As [`Gguf::open`], but takes a file that ends too early, or lacks the files that follow it: what can be read of
    /// metadata and tensor list is there, and [`Gguf::cut`] says what is not.
    ///
    /// # Errors
    ///
    /// Those of [`Gguf::open`] but for the missing bytes. A file that ends within its first 24 bytes has no head.
    pub fn open_head(path: &Path) -> Result<Self> {
        Self::assemble(path, Data::Map(Mapped::open(path)?), Ask::Head)
    }

    /// As [`Gguf::open`], of bytes in memory, which errors call `path`. The model must not be split.
    ///
    /// # Errors
    ///
    /// The bytes are no GGUF, broken or cut short.
    pub fn from_bytes(path: &Path, bytes: impl Into<Arc<[u8]>>) -> Result<Self> {
        Self::assemble(path, Data::Memory(bytes.into()), Ask::Whole)
    }

    /// As [`Gguf::from_bytes`], of bytes that are part of the program: none is copied.
    ///
    /// # Errors
    ///
    /// Those of [`Gguf::from_bytes`].
    pub fn from_static(path: &Path, bytes: &'static [u8]) -> Result<Self> {
        Self::assemble(path, Data::Static(bytes), Ask::Whole)
    }

    /// As [`Gguf::open_head`], of bytes in memory, which errors call `path`.
    ///
    /// # Errors
    ///
    /// The bytes are no GGUF, or broken.
    pub fn head_from_bytes(path: &Path, bytes: impl Into<Arc<[u8]>>) -> Result<Self> {
        Self::assemble(path, Data::Memory(bytes.into()), Ask::Head)
    }

    fn assemble(path: &Path, first: Data, ask: Ask) -> Result<Self> {
        let whole = ask == Ask::Whole;
        let Head {
            version,
            metadata,
            mut tensors,
            mut cut,
        } = one(path, &first, 0, ask)?;
        let files = split::count(path, &metadata)?;
        let mut shards = vec![first];
        let mut siblings = Vec::new();
        for no in 1..files {
            let Some(sibling) = split::name(path, files, no) else {
                return Err(split::misnamed(path, files));
            };
            if !whole && !sibling.exists() {
                cut = cut.or_else(|| Some(no_file(&sibling)));
                break;
            }
            let data = shard(&sibling, shards.first(), files)?;
            let head = one(&sibling, &data, shards.len(), ask)?;
            if head.cut.is_none() {
                split::check(&head, no, files)?;
            }
            cut = cut.or(head.cut);
            tensors.extend(head.tensors);
            siblings.push(head.metadata);
            shards.push(data);
        }
        if files > 1 && cut.is_none() {
            split::check_total(&metadata, tensors.len())?;
        }
        let sorted = by_name(path, files, &tensors)?;
        Ok(Self(Arc::new(Inner {
            version,
            metadata,
            siblings,
            shards,
            tensors,
            sorted,
            cut,
        })))
    }

    /// Where the file ends too early; always `None` after [`Gguf::open`].
    pub fn cut(&self) -> Option<&Cut> {
        self.0.cut.as_ref()
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        self.0.metadata.path()
    }

    /// The version of the format, 2 or 3.
    pub fn version(&self) -> u32 {
        self.0.version
    }

    /// The keys, of the first file if there are several.
    pub fn metadata(&self) -> &Metadata {
        &self.0.metadata
    }

    /// The keys of file `no` (from 0) of a split model, with its path; of the first when there is no such file.
    pub fn metadata_of(&self, no: usize) -> &Metadata {
        let sibling = no.checked_sub(1).and_then(|no| self.0.siblings.get(no));
        sibling.unwrap_or(&self.0.metadata)
    }

    /// The tensors of all files, in file order.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.0.tensors
    }

    /// The tensor of this name.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        let Inner {
            tensors, sorted, ..
        } = &*self.0;
        let name_of = |&i: &usize| tensors.get(i).map(|t| t.name.as_str());
        let found = sorted
            .binary_search_by(|i| name_of(i).cmp(&Some(name)))
            .ok()?;
        tensors.get(*sorted.get(found)?)
    }

    /// The bytes of a tensor of this model; exactly [`TensorInfo::n_bytes`] of them, where they lie in the file.
    ///
    /// Only what [`Gguf::open_head`] found to be cut off is shorter: it is empty.
    pub fn bytes(&self, tensor: &TensorInfo) -> TensorBytes {
        let shard = self.0.shards.get(tensor.shard()).or(self.0.shards.first());
        let data = shard.cloned().unwrap_or(Data::Memory(Arc::default()));
        TensorBytes::new(data, tensor.range().unwrap_or_default())
    }

    /// Bytes of all files together.
    pub fn file_bytes(&self) -> u64 {
        let sizes = self.0.shards.iter().map(|data| data.len() as u64);
        sizes.fold(0, u64::saturating_add)
    }

    /// Number of files.
    pub fn files(&self) -> usize {
        self.0.shards.len()
    }
}

impl fmt::Debug for Gguf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gguf")
            .field("path", &self.path())
            .field("keys", &self.0.metadata.len())
            .field("tensors", &self.0.tensors.len())
            .field("cut", &self.0.cut)
            .finish_non_exhaustive()
    }
}

/// The head of one file, whole if that is asked for.
fn one(path: &Path, data: &Data, shard: usize, ask: Ask) -> Result<Head> {
    if data.is_empty() {
        let fault = Error::file(path, Place::Header, "a GGUF file", "an empty file");
        return Err(fault.advise("copy or download it again"));
    }
    let mut head = head::read(data, path, shard, ask == Ask::Whole)?;
    let headless = |cut: &Cut| cut.place == Place::Header;
    match head.cut.take() {
        Some(cut) if ask == Ask::Whole || headless(&cut) => Err(cut.into_error()),
        cut => Ok(Head { cut, ..head }),
    }
}

/// Maps a file that follows the first.
fn shard(path: &Path, first: Option<&Data>, files: u16) -> Result<Data> {
    if let Some(Data::Memory(_)) = first {
        return Err(split::absent(path, files));
    }
    match Mapped::open(path) {
        Ok(map) => Ok(Data::Map(map)),
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            Err(split::absent(path, files))
        }
        Err(other) => Err(other),
    }
}

/// What [`Gguf::cut`] says of a file that is missing altogether.
fn no_file(path: &Path) -> Cut {
    Cut {
        path: path.to_path_buf(),
        place: Place::Shard,
        at: 0,
        what: "the file".to_owned(),
        have: 0,
        need: 0,
        exact: false,
    }
}

/// Indices of the tensors, sorted by name; two equal names are an error.
fn by_name(path: &Path, files: u16, tensors: &[TensorInfo]) -> Result<Vec<usize>> {
    let mut sorted: Vec<usize> = (0..tensors.len()).collect();
    sorted.sort_by_key(|&i| tensors.get(i).map(|t| &t.name));
    let twice = sorted
        .iter()
        .zip(sorted.iter().skip(1))
        .find_map(|(&a, &b)| {
            let (a, b) = (tensors.get(a)?, tensors.get(b)?);
            (a.name == b.name).then_some((a, b))
        });
    let Some((first, second)) = twice else {
        return Ok(sorted);
    };
    let path_of = |t: &TensorInfo| {
        let no = u16::try_from(t.shard()).ok();
        no.and_then(|no| split::name(path, files, no))
            .unwrap_or_else(|| path.to_path_buf())
    };
    let found = if first.shard() == second.shard() {
        format!("it again (first at byte {})", first.entry_at)
    } else {
        format!("it again (first in {})", path_of(first).display())
    };
    let place = Place::Tensor(second.name.clone());
    Err(Error::file(&path_of(second), place, "each tensor once", found).at(second.entry_at))
}
