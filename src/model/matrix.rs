//! Weight matrices, as the file holds them or packed in tiles, and stacks of them.

mod rows;

use std::ops::Range;
use std::sync::Arc;

use wattle_kernels::{Format, Isa, Kernel, TILE_ROWS};

use crate::gguf::TensorBytes;
use crate::os::{Huge, Mapped};

pub(crate) use rows::tile_rows;
pub use rows::{Rows, multiply};

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
    /// Whether the bytes are tiles of [`TILE_ROWS`] rows; if not, they are rows.
    tiles: bool,
}

/// Where the bytes of a matrix live.
#[derive(Debug, Clone)]
pub enum Bytes {
    /// In the mapped file.
    Mapped(TensorBytes),
    /// In memory, made at load.
    Owned(Arc<[u8]>),
    /// In huge pages: among the packed weights, or a tensor that was decoded at load.
    Packed(Arc<Huge>, Range<usize>),
    /// Among the packed weights, in a mapped file of an earlier start.
    Kept(Mapped, Range<usize>),
}

impl core::ops::Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(bytes) => bytes,
            Self::Owned(bytes) => bytes,
            Self::Packed(memory, range) => &memory[range.clone()],
            Self::Kept(file, range) => &file[range.clone()],
        }
    }
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
            tiles: false,
        })
    }

    /// The same weights from `bytes`, which hold `rows` rows in whole tiles.
    ///
    /// # Panics
    /// When the bytes are not as many.
    pub(super) fn packed(&self, rows: usize, bytes: Bytes) -> Self {
        let tiles = rows.div_ceil(TILE_ROWS);
        assert_eq!(bytes.len(), tiles * TILE_ROWS * self.row_bytes, "tiles");
        Self {
            rows,
            bytes,
            tiles: true,
            ..self.clone()
        }
    }

    /// Lets go of the bytes; [`packed`](Self::packed) gives it others.
    pub(super) fn let_go(&mut self) {
        self.bytes = Bytes::Owned(Arc::default());
    }

    /// Where the bytes are.
    pub(super) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Whether the bytes are tiles.
    #[must_use]
    pub fn in_tiles(&self) -> bool {
        self.tiles
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
        self.rows * self.row_bytes
    }

    /// How the weights are stored.
    #[must_use]
    pub fn format(&self) -> Format {
        self.kernel.format()
    }

    /// Decodes row `i` into `out`, `(cols)`. Allocates when the rows are in tiles.
    pub fn decode_row(&self, i: usize, out: &mut [f32]) {
        self.decode_row_with(i, &mut Vec::new(), out);
    }

    /// As [`decode_row`](Self::decode_row); allocates nothing when `scratch` has room for [`row_bytes`](Self::row_bytes).
    pub fn decode_row_with(&self, i: usize, scratch: &mut Vec<u8>, out: &mut [f32]) {
        if self.tiles {
            let tile = i / TILE_ROWS;
            let tile = self.tile_range(tile..tile + 1);
            scratch.resize(self.row_bytes, 0);
            wattle_kernels::unpack(self.format(), self.cols, tile, i % TILE_ROWS, scratch);
            wattle_kernels::decode(self.format(), scratch, out);
        } else {
            wattle_kernels::decode(self.format(), self.row_range(i..i + 1), out);
        }
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

    /// The bytes of some tiles.
    fn tile_range(&self, tiles: Range<usize>) -> &[u8] {
        let bytes = TILE_ROWS * self.row_bytes;
        &self.bytes[tiles.start * bytes..tiles.end * bytes]
    }

    /// The bytes of some rows.
    pub(super) fn row_range(&self, rows: Range<usize>) -> &[u8] {
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

    /// The matrix that they lie in.
    pub(super) fn matrix(&self) -> &Matrix {
        &self.matrix
    }

    /// The rows of `matrix` that matrix `i` has.
    pub(super) fn rows_of(&self, i: usize) -> Range<usize> {
        let first = self.first + i * self.stride;
        first..first + self.rows
    }

    /// As [`Matrix::let_go`].
    pub(super) fn let_go(&mut self) {
        self.matrix.let_go();
    }

    /// The same matrices from `bytes`, each in whole tiles.
    pub(super) fn packed(&self, bytes: Bytes) -> Self {
        let stride = self.rows.next_multiple_of(TILE_ROWS);
        Self {
            matrix: self.matrix.packed(self.count * stride, bytes),
            first: 0,
            stride,
            ..self.clone()
        }
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
