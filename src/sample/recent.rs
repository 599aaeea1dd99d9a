//! The last tokens of a text, counted: what the repeat penalty looks at.
//!
//! A ring of the last `capacity` ids and, beside it, how often each id of the vocabulary stands in the ring, so that
//! asking is one load and adding is two. Both are allocated once.

/// A window over the last tokens.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recent {
    /// The ids, the oldest at `next` once the ring is full.
    ring: Vec<u32>,
    next: usize,
    capacity: usize,
    /// (vocab) occurrences in the ring; ids outside the vocabulary are never counted.
    count: Vec<u32>,
}

impl Recent {
    /// A window of `capacity` tokens over a vocabulary of `n_vocab`; a capacity of 0 remembers nothing.
    pub(crate) fn new(capacity: usize, n_vocab: usize) -> Self {
        Self {
            ring: Vec::with_capacity(capacity),
            next: 0,
            capacity,
            count: vec![0; if capacity == 0 { 0 } else { n_vocab }],
        }
    }

    /// Adds a token; the oldest one falls out of a full window.
    pub(crate) fn push(&mut self, id: u32) {
        if self.capacity == 0 {
            return;
        }
        if self.ring.len() < self.capacity {
            self.ring.push(id);
        } else {
            let oldest = core::mem::replace(&mut self.ring[self.next], id);
            self.next = (self.next + 1) % self.capacity;
            if let Some(count) = self.count.get_mut(oldest as usize) {
                *count -= 1;
            }
        }
        if let Some(count) = self.count.get_mut(id as usize) {
            *count += 1;
        }
    }

    /// Whether the token stands in the window.
    pub(crate) fn holds(&self, id: usize) -> bool {
        self.count.get(id).is_some_and(|&count| count > 0)
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.ring.clear();
        self.next = 0;
        self.count.fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn holds_what_the_tail_of_the_text_holds(
            text in prop::collection::vec(0u32..9, 0..60),
            capacity in 0usize..8,
        ) {
            let mut recent = Recent::new(capacity, 8); // id 8 is outside the vocabulary
            for &id in &text {
                recent.push(id);
            }
            let tail = &text[text.len().saturating_sub(capacity)..];
            for id in 0..8u32 {
                prop_assert_eq!(recent.holds(id as usize), tail.contains(&id));
            }
            recent.clear();
            prop_assert!((0..8).all(|id| !recent.holds(id)));
        }
    }
}
