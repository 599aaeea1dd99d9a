//! A counter of energy that starts anew: at the end of its range, or when its device does.

use super::Fault;

/// Adds up what a counter advances.
#[derive(Debug, Clone)]
pub(super) struct Counter {
    /// The number of steps after which it is 0 again; `None` when it never is.
    range: Option<u64>,
    last: Option<u64>,
    sum: u64,
}

impl Counter {
    pub(super) fn new(range: Option<u64>) -> Self {
        Self {
            range: range.filter(|&range| range > 0),
            last: None,
            sum: 0,
        }
    }

    /// Steps from the first reading to this one, `now`.
    ///
    /// A counter that went back has passed the end of its range, once: it has to be read more often than that takes. Without
    /// a range, or when it stands above it, its device began anew; then the sum goes on from there.
    pub(super) fn advance(&mut self, now: u64) -> Result<u64, Fault> {
        let last = self.last.replace(now).unwrap_or(now);
        let step = match (now.checked_sub(last), self.range) {
            (Some(step), _) => step,
            // `range` is the largest value that it shows: the step from there to 0 is one more.
            (None, Some(range)) if last <= range => {
                (range - last).saturating_add(now).saturating_add(1)
            }
            (None, _) => return Err(Fault::Reset),
        };
        self.sum = self.sum.saturating_add(step);
        Ok(self.sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrap_is_a_step_like_another() {
        let mut counter = Counter::new(Some(999));
        assert_eq!(counter.advance(990), Ok(0));
        assert_eq!(counter.advance(995), Ok(5));
        assert_eq!(counter.advance(3), Ok(13), "995 to 999, 0, and 3 more");
        assert_eq!(counter.advance(3), Ok(13));
    }

    #[test]
    fn a_counter_without_a_range_that_goes_back_began_anew() {
        let mut counter = Counter::new(None);
        assert_eq!(counter.advance(500), Ok(0));
        assert_eq!(counter.advance(600), Ok(100));
        assert_eq!(counter.advance(20), Err(Fault::Reset));
        assert_eq!(counter.advance(50), Ok(130));
        let mut lies = Counter::new(Some(10));
        assert_eq!(lies.advance(99), Ok(0));
        assert_eq!(lies.advance(3), Err(Fault::Reset), "was above its range");
    }

    #[test]
    fn no_counter_overflows() {
        let mut counter = Counter::new(Some(u64::MAX));
        for now in [0, u64::MAX, u64::MAX - 1, 0, u64::MAX] {
            counter.advance(now).expect("a wrap at most");
        }
    }
}
