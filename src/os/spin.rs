//! Waits a little without giving the core away.

use core::hint::spin_loop;
use core::time::Duration;
use std::time::Instant;

/// How long a thread spins before it sleeps in the kernel: longer than the gap between two sections of a token, too short
/// to be seen in the energy of an idle chat.
pub(super) const SPIN: Duration = Duration::from_micros(100);

/// A wait of [`SPIN`] that reads the clock seldom, and not at all when it is short.
pub(super) struct Spin {
    rounds: u32,
    since: Option<Instant>,
}

impl Spin {
    pub(super) fn new() -> Self {
        Self {
            rounds: 0,
            since: None,
        }
    }

    /// Waits a moment; false when the time is up.
    pub(super) fn again(&mut self) -> bool {
        spin_loop();
        self.rounds = self.rounds.wrapping_add(1);
        if !self.rounds.is_multiple_of(64) {
            return true;
        }
        match self.since {
            Some(since) => since.elapsed() < SPIN,
            None => {
                self.since = Some(Instant::now());
                true
            }
        }
    }
}
