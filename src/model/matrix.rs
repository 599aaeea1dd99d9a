//! Weight matrices as the file holds them, and their products with a batch of activations.

use std::ops::Range;
use std::sync::Arc;

use wattle_kernels::{Acts, Format, Isa, Kernel};

use crate::gguf::TensorBytes;
use crate::os::Columns;
use crate::pool::Pool;

/// A matrix of `rows` rows, each `cols` weights in one format.
#[derive(Debug, Clone)]
pub struct Matrix {
    /// The tensor that it is, when it is one of a file.
    name: Option<Arc<str>>,
    kernel: Kernel,
    rows: usize,
    cols: usize,
    row_bytes: usize,
    bytes: Bytes,
}

/// Where the bytes of a matrix live.
#[derive(Debug, Clone)]
pub enum Bytes {
    /// In the mapped file.
    Mapped(TensorBytes),
    /// In memory, made at load.
    Owned(Arc<[u8]>),
}

impl core::ops::Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }
}

/// Some consecutive rows of a matrix.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    matrix: &'a Matrix,
    first: usize,
    len: usize,
}

/// Matrices of one shape that lie in one tensor: the experts of a layer, the heads of a projection.
#[derive(Debug, Clone)]
pub struct Stack {
    matrix: Matrix,
    first: usize,
    stride: usize,
    rows: usize,
    count: usize,
}

impl Matrix {
    /// A matrix over `bytes`, multiplied on `isa`; `None` when the bytes are not `rows` whole rows of `cols` weights.
    #[must_use]
    pub fn new(isa: Isa, format: Format, rows: usize, cols: usize, bytes: Bytes) -> Option<Self> {
        let row_bytes = format.row_bytes(cols)?;
        (rows.checked_mul(row_bytes)? == bytes.len()).then(|| Self {
            name: None,
            kernel: wattle_kernels::plan(isa, format),
            rows,
            cols,
            row_bytes,
            bytes,
        })
    }

    /// The same matrix, known to be the tensor `name`.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        Self {
            name: Some(Arc::from(name)),
            ..self
        }
    }

    /// The tensor that it is, when it is one of a file.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Weights in a row.
    #[must_use]
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Bytes of one row.
    #[must_use]
    pub fn row_bytes(&self) -> usize {
        self.row_bytes
    }

    /// Bytes of all rows.
    #[must_use]
    pub fn n_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// How the weights are stored.
    #[must_use]
    pub fn format(&self) -> Format {
        self.kernel.format()
    }

    /// Decodes row `i` into `out`, `(cols)`.
    pub fn decode_row(&self, i: usize, out: &mut [f32]) {
        wattle_kernels::decode(self.format(), self.row_range(i..i + 1), out);
    }

    /// The whole matrix as a view.
    #[must_use]
    pub fn all(&self) -> Rows<'_> {
        Rows {
            matrix: self,
            first: 0,
            len: self.rows,
        }
    }

    /// The bytes of some rows.
    fn row_range(&self, rows: Range<usize>) -> &[u8] {
        &self.bytes[rows.start * self.row_bytes..rows.end * self.row_bytes]
    }
}

impl Stack {
    /// `count` matrices of `rows` rows; matrix `i` starts at row `first + i * stride` of `matrix`.
    ///
    /// `None` when the last one would end past the matrix.
    #[must_use]
    pub fn new(
        matrix: Matrix,
        first: usize,
        stride: usize,
        rows: usize,
        count: usize,
    ) -> Option<Self> {
        let last = count.checked_sub(1)?.checked_mul(stride)?;
        let end = first.checked_add(last)?.checked_add(rows)?;
        (end <= matrix.rows).then_some(Self {
            matrix,
            first,
            stride,
            rows,
            count,
        })
    }

    /// Matrix `i`.
    ///
    /// # Panics
    /// When `i` is not below [`Stack::count`].
    #[must_use]
    pub fn at(&self, i: usize) -> Rows<'_> {
        assert!(i < self.count, "matrix {i} of a stack of {}", self.count);
        Rows {
            matrix: &self.matrix,
            first: self.first + i * self.stride,
            len: self.rows,
        }
    }

    /// The tensor that they lie in, when it is one of a file.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.matrix.name()
    }

    /// Number of matrices.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Rows of each matrix.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Weights in a row.
    #[must_use]
    pub fn cols(&self) -> usize {
        self.matrix.cols
    }

    /// How the weights are stored.
    #[must_use]
    pub fn format(&self) -> Format {
        self.matrix.format()
    }

    /// Bytes of one matrix.
    #[must_use]
    pub fn bytes_each(&self) -> usize {
        self.rows * self.matrix.row_bytes
    }

    /// Matrix `i`, decoded row by row, `(rows * cols)`.
    #[must_use]
    pub fn decode(&self, i: usize) -> Vec<f32> {
        let rows = self.at(i);
        let mut out = vec![0.0; rows.len * self.cols()];
        for (r, row) in out.chunks_exact_mut(self.cols()).enumerate() {
            self.matrix.decode_row(rows.first + r, row);
        }
        out
    }
}

impl Rows<'_> {
    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of these rows.
    #[must_use]
    pub fn n_bytes(&self) -> usize {
        self.len * self.matrix.row_bytes
    }

    /// `out[t * range.len() + r] = row[range.start + r] . acts[t]`, on this thread.
    pub fn multiply_range(&self, range: Range<usize>, acts: &Acts<'_>, out: &mut [f32]) {
        let width = range.len();
        assert_eq!(out.len(), acts.tokens() * width, "room for the products");
        self.products(range, acts, &mut |t, r, values| {
            out[t * width + r..][..values.len()].copy_from_slice(values);
        });
    }

    /// The products of rows `range` with every activation row, into columns `at..` of `out`, on this thread.
    pub(crate) fn multiply_columns(
        &self,
        range: Range<usize>,
        acts: &Acts<'_>,
        at: usize,
        out: &mut Columns<'_, f32>,
    ) {
        self.products(range, acts, &mut |t, r, values| {
            out.row_mut(t)[at + r..][..values.len()].copy_from_slice(values);
        });
    }

    fn products(
        &self,
        range: Range<usize>,
        acts: &Acts<'_>,
        store: &mut dyn FnMut(usize, usize, &[f32]),
    ) {
        assert!(range.end <= self.len, "rows {range:?} of {}", self.len);
        let rows = self.first + range.start..self.first + range.end;
        let weights = self.matrix.row_range(rows);
        self.matrix.kernel.matmul(weights, range.len(), acts, store);
    }
}

/// Weights that a thread takes at a time: long enough to stream, short enough to balance unequal cores.
const TILE_BYTES: usize = 24 << 10;

/// `out[t] = [m_0 a_t | m_1 a_t | ...]` for every activation row `a_t`: several matrices over one input in one phase.
///
/// # Panics
/// When `out` is not `(tokens, sum of rows)`.
pub fn multiply(pool: &Pool, parts: &[Rows<'_>], acts: &Acts<'_>, out: &mut [f32]) {
    let width: usize = parts.iter().map(Rows::len).sum();
    assert_eq!(out.len(), width * acts.tokens(), "shape of a product");
    let bytes: usize = parts.iter().map(Rows::n_bytes).sum();
    let tile = tile_rows(bytes / width.max(1), width, pool.threads());
    pool.columns(out, width, tile, |mut columns, _| {
        let window = columns.start()..columns.start() + columns.len();
        let mut start = 0;
        for part in parts {
            let (low, high) = (window.start.max(start), window.end.min(start + part.len()));
            if low < high {
                part.multiply_columns(
                    low - start..high - start,
                    acts,
                    low - window.start,
                    &mut columns,
                );
            }
            start += part.len();
        }
    });
}

/// Rows of a tile: about [`TILE_BYTES`], a multiple of 4, and at least four tiles a thread.
pub(crate) fn tile_rows(row_bytes: usize, rows: usize, threads: usize) -> usize {
    let by_bytes = TILE_BYTES / row_bytes.max(1);
    let by_threads = rows.div_ceil(4 * threads);
    by_bytes.min(by_threads).max(1).next_multiple_of(4)
}
