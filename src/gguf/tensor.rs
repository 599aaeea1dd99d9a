//! One entry of the tensor list, with every size checked.

use core::ops::Range;

use super::types::GgmlType;

/// The most dimensions that a tensor can have.
pub const MAX_DIMS: usize = 4;

/// The longest name in bytes: ggml keeps names in 64 bytes with a closing NUL.
pub(super) const MAX_NAME: u64 = 63;

/// Name, shape, type and place of one tensor.
///
/// `dims` is in the order of the file ("ne"): `dims[0]` is the length of a row, whose elements are contiguous, and
/// missing dimensions are 1. A matrix that maps `n` inputs to `m` outputs is `[n, m, 1, 1]`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TensorInfo {
    /// Unique over all files of the model.
    pub name: String,
    /// Elements along each dimension.
    pub dims: [u64; MAX_DIMS],
    /// How many dimensions the file gives, 0 to 4.
    pub n_dims: usize,
    /// Type of the elements.
    pub ty: GgmlType,
    /// Index of the file that holds it.
    pub(super) shard: usize,
    /// Offset of the entry in that file, for errors.
    pub(super) entry_at: u64,
    /// Offset of the bytes: while the list is read from the start of the data, then from the start of the file.
    pub(super) offset: u64,
    pub(super) size: Size,
}

/// What follows from shape and type, computed once without overflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    rows: u64,
    elements: u64,
    row_bytes: u64,
    bytes: u64,
}

impl Size {
    /// `None` when a row is no whole number of blocks, or a number exceeds 63 bits.
    ///
    /// A dimension of 0 is allowed, as in ggml; the other dimensions must still be sane.
    pub(super) fn of(dims: [u64; MAX_DIMS], ty: GgmlType) -> Option<Self> {
        let [cols, outer @ ..] = dims;
        let rows = outer.iter().try_fold(1_u64, |n, &d| n.checked_mul(d))?;
        let elements = rows.checked_mul(cols)?;
        let row_bytes = ty.row_bytes(cols)?;
        let bytes = rows.checked_mul(row_bytes)?;
        let signed = |n| i64::try_from(n).is_ok();
        (signed(elements) && signed(rows) && signed(bytes)).then_some(Self {
            rows,
            elements,
            row_bytes,
            bytes,
        })
    }

    pub(super) fn bytes(self) -> u64 {
        self.bytes
    }
}

impl TensorInfo {
    /// The dimensions that the file gives: `dims[..n_dims]`.
    pub fn shape(&self) -> &[u64] {
        self.dims.get(..self.n_dims).unwrap_or(&self.dims)
    }

    /// Number of rows of `dims[0]` elements: the product of the other dimensions.
    pub fn rows(&self) -> u64 {
        self.size.rows
    }

    /// Number of elements.
    pub fn elements(&self) -> u64 {
        self.size.elements
    }

    /// Bytes of one row.
    pub fn row_bytes(&self) -> u64 {
        self.size.row_bytes
    }

    /// Bytes of the whole tensor.
    pub fn n_bytes(&self) -> u64 {
        self.size.bytes
    }

    /// Index of the file that holds it, 0 unless the model is split.
    pub fn shard(&self) -> usize {
        self.shard
    }

    /// Offset of its first byte in that file.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Its place in the file; `None` when this machine cannot address it.
    pub(super) fn range(&self) -> Option<Range<usize>> {
        let start = usize::try_from(self.offset).ok()?;
        let end = start.checked_add(usize::try_from(self.size.bytes).ok()?)?;
        Some(start..end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_follow_from_shape_and_type() {
        let size = Size::of([512, 6, 2, 1], GgmlType::Q4_K).expect("two superblocks a row");
        assert_eq!((size.rows, size.elements), (12, 6144));
        assert_eq!((size.row_bytes, size.bytes), (288, 3456));
        let scalar = Size::of([1; 4], GgmlType::F32).expect("no dimensions");
        assert_eq!(scalar.bytes, 4);
        let none = Size::of([0, 8, 1, 1], GgmlType::Q8_0).expect("a dimension of 0");
        assert_eq!((none.rows, none.bytes), (8, 0));
    }

    #[test]
    fn products_that_do_not_fit_are_refused() {
        let big = 1 << 32;
        for dims in [
            [big, big, 1, 1],
            [1 << 62, 1, 1, 1],
            [1 << 30, 1 << 30, 1 << 30, 1 << 30],
            [0, big, big, 1],
            [1, 1 << 61, 2, 2],
        ] {
            assert_eq!(Size::of(dims, GgmlType::F32), None, "{dims:?}");
        }
        assert_eq!(Size::of([33, 1, 1, 1], GgmlType::Q8_0), None, "a block");
    }
}
