//! Cuts one `&mut` matrix into column windows that different threads may write at the same time.
//!
//! A product `out[t][r] = weight[r] . x[t]` is shared out by rows of the weight, which are *columns* of the row-major
//! output, so the parts are not contiguous and `chunks_mut` cannot cut them:
//!
//! ```text
//!            width = 10, tile = 4
//!   t = 0    0 0 0 0 1 1 1 1 2 2
//!   t = 1    0 0 0 0 1 1 1 1 2 2      window i holds columns 4i .. min(4i + 4, width) of every row
//!   t = 2    0 0 0 0 1 1 1 1 2 2
//! ```
//!
//! [`Windows::next`] is at once the queue of the work and the proof that it is sound: a [`Queue`] gives out each number once, so
//! each window is given out once, to one thread. A matrix of one row makes the windows the chunks of a slice, a tile of 1 its items.

use core::fmt;
use core::marker::PhantomData;

use super::queue::Queue;

/// A row-major matrix that gives out its column windows, each once.
pub struct Windows<'a, T> {
    base: *mut T,
    rows: usize,
    width: usize,
    tile: usize,
    count: usize,
    queue: Queue,
    /// The matrix is borrowed for as long as windows of it may live.
    matrix: PhantomData<&'a mut [T]>,
}

// SAFETY: the only access to the matrix through a shared `Windows` is `next`, which hands each element to one thread, as
// part of a window that is exclusive. That sends elements to other threads, which `T: Send` allows; it never shares one.
unsafe impl<T: Send> Sync for Windows<'_, T> {}

// SAFETY: it stands for a `&mut [T]`, which may be sent when `T: Send`.
unsafe impl<T: Send> Send for Windows<'_, T> {}

impl<'a, T> Windows<'a, T> {
    /// Cuts `matrix`, rows of `width` elements, into windows of `tile` columns for `workers` workers; the last may be
    /// narrower.
    ///
    /// # Panics
    ///
    /// When `tile` is 0, or the matrix is not whole rows.
    pub fn new(matrix: &'a mut [T], width: usize, tile: usize, workers: usize) -> Self {
        assert!(tile > 0, "a window of no columns");
        let rows = matrix.len().checked_div(width).unwrap_or(0);
        assert!(
            rows * width == matrix.len(),
            "a matrix of {} elements is not whole rows of {width}",
            matrix.len()
        );
        let count = if rows == 0 { 0 } else { width.div_ceil(tile) };
        Self {
            base: matrix.as_mut_ptr(),
            rows,
            width,
            tile,
            count,
            queue: Queue::new(count, workers),
            matrix: PhantomData,
        }
    }

    /// How many windows the matrix has.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The next window for `worker`; `None` when all are given out.
    pub fn next(&self, worker: usize) -> Option<Columns<'a, T>> {
        let index = self.queue.next(worker)?;
        let start = index * self.tile;
        // `index` is unique, so no other window has a column of this one; the columns lie inside of the rows.
        Some(Columns {
            base: self.base,
            rows: self.rows,
            width: self.width,
            index,
            start,
            len: self.tile.min(self.width - start),
            matrix: PhantomData,
        })
    }
}

impl<T> fmt::Debug for Windows<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Windows")
            .field("rows", &self.rows)
            .field("width", &self.width)
            .field("tile", &self.tile)
            .finish_non_exhaustive()
    }
}

/// Some neighbouring columns of a row-major matrix, over all its rows, for one thread to write.
pub struct Columns<'a, T> {
    base: *mut T,
    rows: usize,
    width: usize,
    index: usize,
    start: usize,
    len: usize,
    matrix: PhantomData<&'a mut [T]>,
}

// SAFETY: it stands for exclusive slices, one a row, which may be sent when `T: Send`.
unsafe impl<T: Send> Send for Columns<'_, T> {}

impl<'a, T> Columns<'a, T> {
    /// The number of this window, from the left.
    pub fn index(&self) -> usize {
        self.index
    }

    /// The first column.
    pub fn start(&self) -> usize {
        self.start
    }

    /// How many columns; at least 1.
    #[expect(clippy::len_without_is_empty, reason = "a window is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// How many rows the matrix has; at least 1.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// These columns of row `row`: `len()` elements.
    ///
    /// # Panics
    ///
    /// When there is no such row.
    pub fn row_mut(&mut self, row: usize) -> &mut [T] {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        // SAFETY: `row < rows` and `start + len <= width`, so the elements lie in the matrix of `rows * width`, whose size the
        // borrowed slice proves to be addressable.
        let first = unsafe { self.base.add(row * self.width + self.start) };
        // SAFETY: the elements are alive and borrowed mutably for `'a`. They are of this window alone, of which only one
        // exists (`Windows::next`), and `&mut self` keeps a second slice of it from being made.
        unsafe { core::slice::from_raw_parts_mut(first, self.len) }
    }

    /// These columns of the first row, for as long as the matrix is borrowed. All there is when it has one row only.
    pub fn into_row(mut self) -> &'a mut [T] {
        let row: *mut [T] = self.row_mut(0);
        // SAFETY: the window is consumed, so this is the only slice of it, and its elements are borrowed for `'a`.
        unsafe { &mut *row }
    }
}

impl<T> fmt::Debug for Columns<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Columns")
            .field("rows", &self.rows)
            .field("start", &self.start)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// All windows alive at once, as far apart as threads would hold them, cover each element once.
        #[test]
        fn windows_cover_every_element_once(rows in 0_usize..5, width in 0_usize..40, tile in 1_usize..45) {
            let mut matrix = vec![0_usize; rows * width];
            let windows = Windows::new(&mut matrix, width, tile, 2);
            let mut held: Vec<_> = core::iter::from_fn(|| windows.next(0)).collect();
            prop_assert_eq!(held.len(), windows.count());
            prop_assert!(windows.next(0).is_none(), "a window was given out twice");
            for (index, columns) in held.iter_mut().enumerate() {
                prop_assert_eq!(columns.index(), index);
                for row in 0..columns.rows() {
                    let start = columns.start();
                    for (i, x) in columns.row_mut(row).iter_mut().enumerate() {
                        *x += row * width + start + i + 1;
                    }
                }
            }
            drop(held);
            prop_assert!(matrix.iter().copied().eq(1..=rows * width), "{:?}", matrix);
        }
    }

    #[test]
    fn items_of_a_slice_outlive_the_windows() {
        let mut items = [String::from("a"), String::from("b")];
        let first = {
            let windows = Windows::new(&mut items, 2, 1, 1);
            windows.next(0).expect("two items").into_row()
        };
        first[0].push('!');
        assert_eq!(items, ["a!", "b"]);
    }

    #[test]
    #[should_panic(expected = "whole rows")]
    fn a_torn_matrix_is_refused() {
        let _windows = Windows::new(&mut [0_u8; 7], 3, 1, 1);
    }

    #[test]
    #[should_panic(expected = "whole rows")]
    fn rows_of_no_columns_hold_no_elements() {
        let _windows = Windows::new(&mut [0_u8; 7], 0, 1, 1);
    }

    #[test]
    #[should_panic(expected = "row 2 of 2")]
    fn a_row_past_the_end_is_refused() {
        let mut matrix = [0_u8; 6];
        let windows = Windows::new(&mut matrix, 3, 2, 1);
        windows.next(0).expect("a window").row_mut(2);
    }
}
