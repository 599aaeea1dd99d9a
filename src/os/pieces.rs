//! Cuts one `&mut` slice at given places into pieces that different threads may write at the same time.
//!
//! [`super::Windows`] cuts evenly; this serves work whose parts differ in size, like the experts of a layer, of which each
//! has as many rows as tokens chose it.

use core::fmt;
use core::marker::PhantomData;

use super::queue::Queue;

/// A slice that gives out its pieces, each once.
pub struct Pieces<'a, T> {
    base: *mut T,
    /// Piece `i` is `cuts[i]..cuts[i + 1]`.
    cuts: &'a [usize],
    queue: Queue,
    /// The slice is borrowed for as long as pieces of it may live.
    items: PhantomData<&'a mut [T]>,
}

// SAFETY: the only access to the slice through a shared `Pieces` is `next`, which hands each element to one thread, as part
// of a piece that is exclusive. That sends elements to other threads, which `T: Send` allows; it never shares one.
unsafe impl<T: Send> Sync for Pieces<'_, T> {}

// SAFETY: it stands for a `&mut [T]`, which may be sent when `T: Send`.
unsafe impl<T: Send> Send for Pieces<'_, T> {}

impl<'a, T> Pieces<'a, T> {
    /// Cuts `items` at `cuts` for `workers` workers: the first is where the first piece begins, the last is where the last one ends.
    ///
    /// # Panics
    ///
    /// When the cuts fall, or the last is past the end of `items`.
    pub fn new(items: &'a mut [T], cuts: &'a [usize], workers: usize) -> Self {
        assert!(cuts.is_sorted(), "cuts must not fall");
        let end = cuts.last().copied().unwrap_or(0);
        assert!(end <= items.len(), "cut {end} of {} items", items.len());
        Self {
            base: items.as_mut_ptr(),
            cuts,
            queue: Queue::new(cuts.len().saturating_sub(1), workers),
            items: PhantomData,
        }
    }

    /// How many pieces there are.
    pub fn count(&self) -> usize {
        self.cuts.len().saturating_sub(1)
    }

    /// The next piece for `worker`, with its number; `None` when all are given out.
    pub fn next(&self, worker: usize) -> Option<(usize, &'a mut [T])> {
        let index = self.queue.next(worker)?;
        let (start, end) = (*self.cuts.get(index)?, *self.cuts.get(index + 1)?);
        // SAFETY: cuts do not fall and the last is at most the length of the slice, so `start <= end <= len`.
        let first = unsafe { self.base.add(start) };
        // SAFETY: the elements are alive and borrowed mutably for `'a`. `index` is unique, and since the cuts do not fall, the
        // pieces of different indices do not overlap.
        let piece = unsafe { core::slice::from_raw_parts_mut(first, end - start) };
        Some((index, piece))
    }
}

impl<T> fmt::Debug for Pieces<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pieces")
            .field("cuts", &self.cuts)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// All pieces alive at once cover what lies between the first and the last cut once.
        #[test]
        fn pieces_cover_every_element_once(sizes in proptest::collection::vec(0_usize..9, 0..12), first in 0_usize..4) {
            let mut cuts = vec![first];
            for size in &sizes {
                cuts.push(cuts[cuts.len() - 1] + size);
            }
            let end = cuts[cuts.len() - 1];
            let mut items = vec![0_u8; end + 2];
            let pieces = Pieces::new(&mut items, &cuts, 3);
            let mut held: Vec<_> = core::iter::from_fn(|| pieces.next(0)).collect();
            prop_assert_eq!(held.len(), sizes.len());
            prop_assert!(pieces.next(0).is_none(), "a piece was given out twice");
            for (i, piece) in &mut held {
                prop_assert_eq!(piece.len(), sizes[*i]);
                piece.iter_mut().for_each(|x| *x += 1);
            }
            drop(held);
            let want: Vec<u8> = (0..end + 2).map(|i| u8::from((first..end).contains(&i))).collect();
            prop_assert_eq!(items, want);
        }
    }

    #[test]
    #[should_panic(expected = "must not fall")]
    fn falling_cuts_are_refused() {
        let _pieces = Pieces::new(&mut [0_u8; 9], &[0, 5, 3], 1);
    }

    #[test]
    #[should_panic(expected = "cut 10 of 9")]
    fn a_cut_past_the_end_is_refused() {
        let _pieces = Pieces::new(&mut [0_u8; 9], &[0, 10], 1);
    }

    #[test]
    fn no_cuts_are_no_pieces() {
        assert!(Pieces::new(&mut [0_u8; 9], &[], 1).next(0).is_none());
    }
}
