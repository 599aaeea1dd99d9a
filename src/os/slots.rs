//! Hands each item of one `&mut` slice to one taker: the scratch memory of the workers.

use core::fmt;
use core::marker::PhantomData;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How many items [`Slots`] can tell apart.
const MOST: usize = 256;
const WORDS: usize = MOST / 64;

/// The items of a slice, each of which can be taken once, by its index.
pub struct Slots<'a, S> {
    base: *mut S,
    len: usize,
    /// One bit an item: set when it is taken.
    taken: [AtomicU64; WORDS],
    items: PhantomData<&'a mut [S]>,
}

// SAFETY: the only access to an item through a shared `Slots` is `take`, which hands it to one thread, exclusively. That
// sends the item to another thread, which `S: Send` allows; it never shares one.
unsafe impl<S: Send> Sync for Slots<'_, S> {}

impl<'a, S> Slots<'a, S> {
    /// The most items that can be taken.
    pub const fn most() -> usize {
        MOST
    }

    /// All items of `items`, none taken. Items past [`most`](Self::most) cannot be taken.
    pub fn new(items: &'a mut [S]) -> Self {
        Self {
            base: items.as_mut_ptr(),
            len: items.len().min(MOST),
            taken: [const { AtomicU64::new(0) }; WORDS],
            items: PhantomData,
        }
    }

    /// Item `index`, the first time it is asked for; `None` later, and when there is no such item.
    pub fn take(&self, index: usize) -> Option<&'a mut S> {
        if index >= self.len {
            return None;
        }
        // Relaxed will do: the bit decides who gets the item, it does not pass on anything that was written to it.
        let bit = 1 << (index % 64);
        if self.taken[index / 64].fetch_or(bit, Relaxed) & bit != 0 {
            return None;
        }
        // SAFETY: `index` is inside of the slice.
        let item = unsafe { self.base.add(index) };
        // SAFETY: the item is alive and borrowed mutably for `'a`. Its bit was clear and is set now, for good, so this is the
        // only reference to it that will be made.
        Some(unsafe { &mut *item })
    }
}

impl<S> fmt::Debug for Slots<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slots")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_item_is_taken_once() {
        let mut items: Vec<usize> = (0..300).collect();
        let slots = Slots::new(&mut items);
        let first = slots.take(0).expect("free");
        let last = slots.take(MOST - 1).expect("free");
        assert!(slots.take(0).is_none(), "taken");
        assert!(slots.take(MOST).is_none(), "past the most");
        core::mem::swap(first, last);
        assert_eq!((items[0], items[255]), (255, 0));
    }

    #[test]
    fn there_is_nothing_past_the_end() {
        let mut items = [1_u8];
        assert!(Slots::new(&mut items).take(1).is_none(), "one item only");
        assert!(Slots::<u8>::new(&mut []).take(0).is_none(), "no item");
    }
}
