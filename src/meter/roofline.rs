//! How fast these threads can read memory at all: what decoding a token is held against.
//!
//! All threads of the pool read a buffer in huge pages that is eight times as large as the caches, over and over, and the
//! best pass counts: whatever disturbs a pass only makes it slower. It is measured before and after each test, since the rate
//! of a shared machine, or of one that grows hot, changes within minutes.
//!
//! A decode can come out above it, when the weights that a token reads lie in the caches: small models do.

use core::hint::black_box;
use core::time::Duration;
use std::time::Instant;

use wattle_boards::Machine;
use wattle_kernels::{Isa, read_all};

use crate::error::Result;
use crate::os::Huge;
use crate::pool::Pool;

/// A pass takes at least this share of the buffer at a time: a hundred tiles, large enough that taking one costs nothing.
const TILE_BYTES: usize = 1 << 20;
/// The best of as many passes as fit into this time, and at least [`PASSES`].
const TIME: Duration = Duration::from_millis(250);
const PASSES: usize = 5;

/// The rate at which memory was read, in 10^9 bytes a second, at both ends of a test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Roofline {
    /// Before the test.
    pub before_gbps: f64,
    /// After it.
    pub after_gbps: f64,
}

impl Roofline {
    /// The better of the two.
    #[must_use]
    pub fn gbps(&self) -> f64 {
        self.before_gbps.max(self.after_gbps)
    }
}

/// The rate, in 10^9 bytes a second, at which the threads of `pool` read memory. Takes about half a second.
///
/// # Errors
/// When there is no memory for the buffer.
pub fn read_gbps(pool: &Pool, isa: Isa) -> Result<f64> {
    let len = buffer_bytes(&Machine::here());
    let mut buffer = Huge::zeros(len, "the buffer that measures the memory's rate")?;
    // Pages that nothing was written to are all the same page of zeros, and would be read from a cache.
    pool.chunks(&mut buffer, TILE_BYTES, |_, tile| tile.fill(1));
    Ok(best_gbps(pool, isa, &buffer, PASSES, TIME))
}

/// The best of at least `passes` passes over `buffer`, and of as many as begin within `time`.
fn best_gbps(pool: &Pool, isa: Isa, buffer: &[u8], passes: usize, time: Duration) -> f64 {
    let begin = Instant::now();
    let mut best = Duration::MAX;
    let mut done = 0;
    while done < passes || begin.elapsed() < time {
        let start = Instant::now();
        pool.run(buffer.len().div_ceil(TILE_BYTES), |tile, _| {
            let from = tile * TILE_BYTES;
            let to = buffer.len().min(from + TILE_BYTES);
            black_box(read_all(isa, &buffer[from..to]));
        });
        best = best.min(start.elapsed());
        done += 1;
    }
    buffer.len() as f64 / best.as_nanos().max(1) as f64
}

/// Eight times the caches, 64 MiB to 1 GiB, but not more than a quarter of the memory that is free.
fn buffer_bytes(machine: &Machine) -> usize {
    let wanted = machine.cache_bytes.unwrap_or(0).saturating_mul(8);
    let free = machine.available_bytes.map_or(u64::MAX, |bytes| bytes / 4);
    let bytes = wanted.clamp(64 << 20, 1 << 30).min(free.max(1 << 20));
    usize::try_from(bytes).unwrap_or(64 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buffer_is_larger_than_the_caches_and_smaller_than_the_memory() {
        let machine = |cache: Option<u64>, free: Option<u64>| Machine {
            cache_bytes: cache,
            available_bytes: free,
            ..Machine::default()
        };
        let large = Some(64 << 30);
        assert_eq!(buffer_bytes(&machine(Some(32 << 20), large)), 256 << 20);
        assert_eq!(buffer_bytes(&machine(Some(512 << 10), large)), 64 << 20);
        assert_eq!(buffer_bytes(&machine(Some(1 << 30), large)), 1 << 30);
        assert_eq!(buffer_bytes(&machine(None, None)), 64 << 20);
        assert_eq!(
            buffer_bytes(&machine(Some(32 << 20), Some(80 << 20))),
            20 << 20
        );
        assert_eq!(buffer_bytes(&machine(None, Some(0))), 1 << 20);
    }

    #[test]
    fn a_buffer_that_is_no_whole_tiles_is_read_to_its_end() {
        let pool = Pool::start(2, None).expect("two threads");
        let buffer = vec![1; TILE_BYTES + 77];
        for isa in Isa::available() {
            let gbps = best_gbps(&pool, isa, &buffer, 2, Duration::ZERO);
            assert!(gbps.is_finite() && gbps > 0.0, "{gbps}");
        }
    }

    #[test]
    fn the_better_end_counts() {
        let rates = Roofline {
            before_gbps: 11.0,
            after_gbps: 14.5,
        };
        assert_eq!(rates.gbps(), 14.5);
    }
}
