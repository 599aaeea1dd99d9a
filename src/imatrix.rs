//! Importance matrices: how much each column of a weight matters, learned from a text.
//!
//! Column `i` of a matrix multiplies input `i`, so an error in it costs in proportion to the mean of that input squared over the rows
//! of activations that came by. For a stack of experts each has its own mean, over the rows that the router sent to it.
//!
//! A file is a GGUF of llama.cpp's layout (`tools/imatrix/imatrix.cpp`):
//!
//! ```text
//! general.type        "imatrix"
//! imatrix.datasets    [string]   files of the texts
//! imatrix.chunk_count u32        pieces of text that went through the model
//! imatrix.chunk_size  u32        tokens of a piece
//! NAME.in_sum2        f32 {columns, experts}   sums of squares of the inputs of tensor NAME
//! NAME.counts         f32 {1, experts}         rows that they are sums over
//! ```
//!
//! Older binary files (`.dat`) are read too. An expert that no row came to has importance 1 in every column, as llama.cpp has it.

mod legacy;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::{Error, Place, Result, counted};
use crate::gguf::{GgmlType, Gguf, TensorInfo, Writer};
use crate::os::Draft;

const TYPE: &str = "general.type";
const DATASETS: &str = "imatrix.datasets";
const CHUNKS: &str = "imatrix.chunk_count";
const CHUNK_SIZE: &str = "imatrix.chunk_size";
const SUMS: &str = ".in_sum2";
const COUNTS: &str = ".counts";

/// The importance of the columns of a model's tensors.
#[derive(Debug, Clone, Default)]
pub struct Imatrix {
    path: PathBuf,
    datasets: Vec<String>,
    chunks: u32,
    chunk_size: u32,
    entries: BTreeMap<String, Entry>,
}

/// What is known of one tensor: sums of squares of its inputs, and how many rows they are over.
#[derive(Debug, Clone)]
pub struct Entry {
    /// (experts, columns)
    sums: Vec<f32>,
    /// (experts)
    counts: Vec<f32>,
}

impl Imatrix {
    /// An empty matrix, to be learned from the texts called `datasets` in pieces of `chunk_size` tokens.
    pub fn new(datasets: Vec<String>, chunk_size: u32) -> Self {
        Self {
            datasets,
            chunk_size,
            ..Self::default()
        }
    }

    /// Reads a file of either kind.
    ///
    /// # Errors
    ///
    /// It cannot be read, is of neither kind, is broken, or holds a number that is not finite.
    pub fn open(path: &Path) -> Result<Self> {
        let mut imatrix = match legacy::read(path)? {
            Some(old) => old,
            None => Self::from_gguf(&Gguf::open(path)?)?,
        };
        for (name, entry) in &imatrix.entries {
            let mut numbers = entry.sums.iter().chain(&entry.counts);
            if let Some(wrong) = numbers.find(|x| !x.is_finite() || **x < 0.0) {
                let place = Place::Tensor(name.clone());
                let found = wrong.to_string();
                return Err(
                    Error::file(path, place, "sums of squares, and counts", found)
                        .advise("the file is broken: make it again"),
                );
            }
        }
        imatrix.path = path.to_path_buf();
        Ok(imatrix)
    }

    fn from_gguf(file: &Gguf) -> Result<Self> {
        let metadata = file.metadata();
        let mut imatrix = Self {
            datasets: match metadata.strings(DATASETS)? {
                Some(names) => names
                    .map(|n| String::from_utf8_lossy(n).into_owned())
                    .collect(),
                None => Vec::new(),
            },
            chunks: metadata.u32(CHUNKS)?.unwrap_or_default(),
            chunk_size: metadata.u32(CHUNK_SIZE)?.unwrap_or_default(),
            ..Self::default()
        };
        let fault = |name: &str, expected: &str, found: String| {
            let place = Place::Tensor(name.to_owned());
            Error::file(file.path(), place, expected, found)
        };
        for sums in file.tensors() {
            let Some(name) = sums.name.strip_suffix(SUMS) else {
                continue;
            };
            let counts = file.tensor(&format!("{name}{COUNTS}")).ok_or_else(|| {
                fault(
                    &sums.name,
                    "a tensor of counts beside it",
                    "none".to_owned(),
                )
            })?;
            let entry = Entry {
                sums: numbers(file, sums)?,
                counts: numbers(file, counts)?,
            };
            let experts = entry.counts.len();
            if experts == 0 || !entry.sums.len().is_multiple_of(experts) || entry.sums.is_empty() {
                let found = [(entry.sums.len(), "sum"), (experts, "count")];
                let found = found.map(|(n, what)| counted(n, what)).join(", ");
                return Err(fault(&sums.name, "a count for each row of sums", found));
            }
            imatrix.entries.insert(name.to_owned(), entry);
        }
        if imatrix.entries.is_empty() {
            let kind = metadata.str(TYPE).ok().flatten().unwrap_or("model");
            return Err(Error::file(
                file.path(),
                Place::TensorList,
                "an importance matrix (tensors NAME.in_sum2 and NAME.counts)",
                format!("a file of type {kind:?} without them"),
            )
            .advise("make one with `wattle imatrix`"));
        }
        Ok(imatrix)
    }

    /// Writes it to `path`, where it appears when it is whole.
    ///
    /// # Errors
    ///
    /// The file cannot be written, or the name of a tensor is too long for it.
    pub fn save(&self, path: &Path) -> Result<()> {
        let failed = |source| Error::io(path, "write", source);
        let mut draft = Draft::create(path)?;
        let head = self.head().map_err(failed)?;
        let mut body = head.start(&mut draft).map_err(failed)?;
        let mut bytes = Vec::new();
        for entry in self.entries.values() {
            for numbers in [&entry.sums, &entry.counts] {
                bytes.clear();
                bytes.extend(numbers.iter().flat_map(|x| x.to_le_bytes()));
                body.write(&bytes).map_err(failed)?;
            }
        }
        body.finish().map_err(failed)?;
        draft.publish()
    }

    fn head(&self) -> std::io::Result<Writer> {
        let mut head = Writer::new();
        head.key(TYPE, "imatrix")?;
        head.array(DATASETS, &self.datasets)?;
        head.key(CHUNKS, self.chunks)?;
        head.key(CHUNK_SIZE, self.chunk_size)?;
        for (name, entry) in &self.entries {
            let experts = entry.counts.len();
            let cols = entry.sums.len() / experts;
            let (cols, experts) = (cols as u64, experts as u64);
            head.tensor(&format!("{name}{SUMS}"), &[cols, experts], GgmlType::F32)?;
            head.tensor(&format!("{name}{COUNTS}"), &[1, experts], GgmlType::F32)?;
        }
        Ok(head)
    }

    /// The entry of `tensor`, a stack of `experts` matrices (1 of most tensors) with `cols` columns; made when it is not there.
    ///
    /// # Panics
    ///
    /// When it is there with another shape, or the shape is empty.
    pub fn add(&mut self, tensor: &str, experts: usize, cols: usize) -> &mut Entry {
        assert!(experts > 0 && cols > 0, "{tensor}: an empty matrix");
        let entry = self.entries.entry(tensor.to_owned());
        let entry = entry.or_insert_with(|| Entry {
            sums: vec![0.0; experts * cols],
            counts: vec![0.0; experts],
        });
        assert_eq!(
            (entry.counts.len(), entry.sums.len()),
            (experts, experts * cols),
            "{tensor}: another shape than before"
        );
        entry
    }

    /// Counts a piece of text that went through the model.
    pub fn add_chunk(&mut self) {
        self.chunks = self.chunks.saturating_add(1);
    }

    /// Where it was read from; empty when it was not.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names of the texts it was learned from.
    pub fn datasets(&self) -> &[String] {
        &self.datasets
    }

    /// Pieces of text it was learned from; 0 when the file does not tell.
    pub fn chunks(&self) -> u32 {
        self.chunks
    }

    /// Tokens of a piece; 0 when the file does not tell.
    pub fn chunk_size(&self) -> u32 {
        self.chunk_size
    }

    /// The tensors that it knows, by name.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// The importance of every column of `tensor`, expert after expert: the mean of the squares of its inputs.
    pub fn importance(&self, tensor: &str) -> Option<Vec<f32>> {
        let Entry { sums, counts } = self.entries.get(tensor)?;
        let cols = sums.len() / counts.len();
        let means = sums.chunks(cols).zip(counts).flat_map(|(sums, &count)| {
            sums.iter()
                .map(move |sum| if count > 0.0 { sum / count } else { 1.0 })
        });
        Some(means.collect())
    }
}

impl Entry {
    /// Adds a row of activations that `expert` (0 of most tensors) was multiplied with.
    ///
    /// # Panics
    ///
    /// When there is no such expert, or the row has another length than the matrix has columns.
    pub fn add(&mut self, expert: usize, row: &[f32]) {
        let cols = self.sums.len() / self.counts.len();
        assert!(
            expert < self.counts.len(),
            "expert {expert} of {}",
            self.counts.len()
        );
        assert_eq!(row.len(), cols, "a row of activations");
        for (sum, x) in self.sums[expert * cols..].iter_mut().zip(row) {
            *sum += x * x;
        }
        self.counts[expert] += 1.0;
    }
}

/// The numbers of a tensor that must be F32.
fn numbers(file: &Gguf, tensor: &TensorInfo) -> Result<Vec<f32>> {
    if tensor.ty != GgmlType::F32 {
        let place = Place::Tensor(tensor.name.clone());
        return Err(Error::file(
            file.path(),
            place,
            "F32",
            tensor.ty.to_string(),
        ));
    }
    let bytes = file.bytes(tensor);
    Ok(bytes
        .as_chunks()
        .0
        .iter()
        .map(|b| f32::from_le_bytes(*b))
        .collect())
}

#[cfg(test)]
mod tests;
