//! Numbers `0..count` for some workers, each number once.
//!
//! Each worker goes through a run of neighbouring numbers, and helps the others when its own is done:
//!
//! ```text
//!   worker 0   0 1 2 3          then 4.., 8..
//!   worker 1   4 5 6 7          then 8.., 0..
//!   worker 2   8 9 10           then 0.., 4..
//! ```
//!
//! Neighbouring numbers are neighbouring weights, so what a worker asks for ahead of its work is what it needs next, and memory
//! sees one stream a worker. Numbers from one counter would go to the workers in turns: with pieces of 96 KB and 8 KB asked for
//! ahead, a twelfth of all that is read would be read for another core. Nothing is kept for a worker that does not come.

use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Runs at most; beyond as many workers, some begin in the same run.
const RUNS: usize = 16;

/// Gives out each of `0..count` once.
#[derive(Debug)]
pub struct Queue {
    count: usize,
    runs: usize,
    /// Next of each run.
    next: [Line; RUNS],
}

/// On cache lines of its own: its worker steps it alone until the end.
#[derive(Debug)]
#[repr(align(128))]
struct Line(AtomicUsize);

impl Queue {
    /// Numbers below `count` for `workers` workers.
    pub fn new(count: usize, workers: usize) -> Self {
        let runs = workers.clamp(1, RUNS);
        Self {
            count,
            runs,
            next: core::array::from_fn(|run| Line(AtomicUsize::new(start(run, runs, count)))),
        }
    }

    /// The next number for `worker`; `None` when all are given out.
    pub fn next(&self, worker: usize) -> Option<usize> {
        for i in 0..self.runs {
            let run = (worker + i) % self.runs;
            let (next, end) = (&self.next[run].0, start(run + 1, self.runs, self.count));
            // The look before the step keeps the counter from running on, and round to numbers that were given out, however
            // often this is called: it never passes `end` by more than the number of threads in this line.
            if next.load(Relaxed) < end {
                let number = next.fetch_add(1, Relaxed);
                if number < end {
                    return Some(number);
                }
            }
        }
        None
    }
}

/// Where run `run` of `runs` begins.
fn start(run: usize, runs: usize, count: usize) -> usize {
    let (each, longer) = (count / runs, count % runs);
    run * each + run.min(longer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whoever asks, in whatever order, each number comes once.
        #[test]
        fn each_number_comes_once(
            count in 0_usize..70,
            workers in 0_usize..20,
            turns in proptest::collection::vec(0_usize..20, 1..40),
        ) {
            let queue = Queue::new(count, workers);
            let mut seen = vec![0; count];
            for turn in turns.iter().cycle() {
                match queue.next(*turn) {
                    Some(number) => seen[number] += 1,
                    None => break,
                }
            }
            prop_assert_eq!(seen, vec![1; count]);
            prop_assert!(queue.next(0).is_none());
        }

        /// A worker that is not helped goes through neighbours.
        #[test]
        fn a_worker_goes_through_neighbours(count in 1_usize..70, workers in 1_usize..17) {
            let queue = Queue::new(count, workers);
            let mut first = 0;
            for worker in 0..workers {
                let run = count / workers + usize::from(worker < count % workers);
                for number in first..first + run {
                    prop_assert_eq!(queue.next(worker), Some(number));
                }
                first += run;
            }
            prop_assert!(queue.next(0).is_none());
        }
    }

    #[test]
    fn threads_get_each_number_once() {
        let queue = Queue::new(10_000, 3);
        let seen: Vec<AtomicUsize> = (0..10_000).map(|_| AtomicUsize::new(0)).collect();
        std::thread::scope(|scope| {
            for worker in 0..3 {
                let (queue, seen) = (&queue, &seen);
                scope.spawn(move || {
                    while let Some(number) = queue.next(worker) {
                        seen[number].fetch_add(1, Relaxed);
                    }
                });
            }
        });
        assert!(seen.iter().all(|times| times.load(Relaxed) == 1));
    }
}
