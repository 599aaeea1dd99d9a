//! Merging neighbours by priority: the loop that byte-level BPE and SPM share.
//!
//! ```text
//! symbols  h - e - l - l - o        a doubly linked list over the text
//! heap     (rank 3: l+l) (rank 7: h+e) ...   lowest rank first, ties from the left
//! ```
//!
//! Each merge removes one symbol and offers at most two new pairs, so n symbols cost O(n log n); scanning for the best pair
//! again after every merge would cost O(n^2), which a megabyte without a space would feel. A pair in the heap is stale when
//! one of its sides was merged meanwhile: then the side is gone or the length no longer adds up.

use core::cmp::Reverse;
use std::collections::BinaryHeap;

/// No symbol; no token.
pub(super) const NONE: u32 = u32::MAX;

/// A stretch of text that is, or is not yet, a token.
#[derive(Debug, Clone, Copy)]
pub(super) struct Symbol {
    /// First byte in the text.
    pub(super) start: usize,
    /// Bytes; 0 once it was merged into its left neighbour.
    pub(super) len: usize,
    /// Its token, or [`NONE`].
    pub(super) id: u32,
    prev: usize,
    next: usize,
}

/// What two neighbours would become, and how urgent that is (lower first).
#[derive(Debug, Clone, Copy)]
pub(super) struct Merged {
    pub(super) rank: u32,
    pub(super) id: u32,
}

/// rank, left, right, length of both, token
type Candidate = Reverse<(u32, usize, usize, usize, u32)>;

/// The list and the heap, kept between texts for their memory.
#[derive(Debug, Default)]
pub(super) struct Merger {
    symbols: Vec<Symbol>,
    heap: BinaryHeap<Candidate>,
}

impl Merger {
    /// Forgets the last text.
    pub(super) fn clear(&mut self) {
        self.symbols.clear();
        self.heap.clear();
    }

    /// Appends a symbol of `len` bytes, right after the last one.
    pub(super) fn push(&mut self, len: usize, id: u32) {
        let n = self.symbols.len();
        let start = self.symbols.last().map_or(0, |s| s.start + s.len);
        self.symbols.push(Symbol {
            start,
            len,
            id,
            prev: n.wrapping_sub(1),
            next: n + 1,
        });
    }

    /// Merges until `merged` has nothing to offer for any two neighbours.
    pub(super) fn run(&mut self, merged: impl Fn(&Symbol, &Symbol) -> Option<Merged>) {
        for left in 0..self.symbols.len().saturating_sub(1) {
            self.offer(left, left + 1, &merged);
        }
        while let Some(Reverse((_, left, right, len, id))) = self.heap.pop() {
            let (Some(&l), Some(&r)) = (self.symbols.get(left), self.symbols.get(right)) else {
                continue;
            };
            if l.len == 0 || r.len == 0 || l.len + r.len != len {
                continue;
            }
            self.symbols[left] = Symbol {
                len,
                id,
                next: r.next,
                ..l
            };
            self.symbols[right].len = 0;
            if let Some(after) = self.symbols.get_mut(r.next) {
                after.prev = left;
            }
            self.offer(l.prev, left, &merged);
            self.offer(left, r.next, &merged);
        }
    }

    /// What is left, from left to right.
    pub(super) fn symbols(&self) -> impl Iterator<Item = &Symbol> {
        self.symbols.iter().filter(|s| s.len > 0)
    }

    fn offer(
        &mut self,
        left: usize,
        right: usize,
        merged: &impl Fn(&Symbol, &Symbol) -> Option<Merged>,
    ) {
        // Before the first and after the last symbol, the index is out of bounds.
        let (Some(l), Some(r)) = (self.symbols.get(left), self.symbols.get(right)) else {
            return;
        };
        if let Some(Merged { rank, id }) = merged(l, r) {
            let len = l.len + r.len;
            self.heap.push(Reverse((rank, left, right, len, id)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, step by step: find the pair of lowest rank, leftmost, merge it, start again.
    fn plainly(mut ids: Vec<u32>, merged: impl Fn(u32, u32) -> Option<Merged>) -> Vec<u32> {
        loop {
            let best = ids
                .windows(2)
                .enumerate()
                .filter_map(|(i, w)| merged(w[0], w[1]).map(|m| (m.rank, i, m.id)))
                .min();
            let Some((_, i, id)) = best else { return ids };
            ids.splice(i..i + 2, [id]);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_heap_does_what_the_definition_says(ids in prop::collection::vec(0u32..4, 0..40)) {
            // Any two tokens below 40 merge unless their sum is a multiple of 3; equal ranks are common.
            let merged = |a: u32, b: u32| {
                let id = a + b + 4;
                (a < 40 && b < 40 && !id.is_multiple_of(3)).then_some(Merged { rank: (a * 7 + b) % 11, id })
            };
            let mut merger = Merger::default();
            for &id in &ids {
                merger.push(1, id);
            }
            merger.run(|l, r| merged(l.id, r.id));
            let found: Vec<u32> = merger.symbols().map(|s| s.id).collect();
            prop_assert_eq!(found, plainly(ids, merged));
        }
    }
}
