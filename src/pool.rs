//! The threads that share the work of a forward pass.
//!
//! A pass is some hundred short parallel sections, each a row of tiles (16 to 32 KB of weights is a good tile). The threads
//! take tile after tile from one counter, so that a slow core, or one that the system needs for a moment, takes fewer.
//! The calling thread takes part as worker 0. A section allocates nothing, and makes no system call unless a worker sleeps.
//!
//! Decisions:
//! - **The order of arrival decides who takes a tile**; no tile is reserved for a worker. A reserved tile would keep the core's
//!   cache warm, but the weights of one layer already fill it several times over, and a section would have to wait for a
//!   worker that is late (`os/lend.rs`).
//! - **Workers are confined to the fast cores, not pinned to one core each**, and only where there are slow ones too. Alone on
//!   the machine the two are equally fast; with a second program at work, or a second pool, a pinned thread waits behind
//!   another on its core while the next core is idle.
//! - **Never more threads than cores that the process may use** (affinity, cgroup quota): spinning threads that wait for
//!   each other's core are a hundred times slower than one.

use core::cell::Cell;
use core::fmt;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use wattle_boards::Topology;

use crate::os::{self, Columns, Lend, Pieces, Slots, Windows};
use crate::{Error, Result};

/// Some threads, the caller's among them, that run tiles of work together.
///
/// Every method that runs something returns when all of it is done. A panic in a tile leaves the call, after all threads
/// have stopped; tiles that were not begun may be left out then, and the pool stays usable. Calls from several threads take
/// turns. A tile must not use a pool itself: that panics.
pub struct Pool {
    lend: Arc<Lend>,
    workers: Vec<JoinHandle<()>>,
    /// The cores to keep to, when they are not all that the process may use.
    cores: Option<Vec<usize>>,
}

impl Pool {
    /// A pool of `threads` threads, or with `None` one for each fast core that this process may use.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] when `threads` is 0 or more than the process has cores; [`Error::Machine`] when the system refuses
    /// to start a thread.
    pub fn new(threads: Option<usize>) -> Result<Self> {
        let machine = Topology::here();
        let most = machine.most_threads().min(Slots::<()>::most());
        let threads = threads.unwrap_or_else(|| machine.threads().min(most));
        if threads == 0 || threads > most {
            return Err(Error::Argument {
                name: "-t",
                value: threads.to_string(),
                expected: format!("1 to {most}, the cores that this process may use"),
            });
        }
        Self::start(threads, machine.confine(threads))
    }

    /// As [`Pool::new`], without the limit: for it and for the tests.
    fn start(threads: usize, cores: Option<Vec<usize>>) -> Result<Self> {
        let mut pool = Self {
            lend: Arc::new(Lend::new()),
            workers: Vec::with_capacity(threads - 1),
            cores,
        };
        for worker in 1..threads {
            let (lend, cores) = (Arc::clone(&pool.lend), pool.cores.clone());
            let started = thread::Builder::new()
                .name(format!("wattle-{worker}"))
                .spawn(move || {
                    if let Some(cores) = cores {
                        os::confine(&cores);
                    }
                    let _inside = Inside::enter();
                    lend.serve(worker);
                });
            match started {
                Ok(handle) => pool.workers.push(handle),
                // Those that run already end with `pool`.
                Err(reason) => {
                    return Err(Error::Machine {
                        what: format!(
                            "cannot start thread {} of {threads}: {reason}; give a smaller -t",
                            worker + 1
                        ),
                    });
                }
            }
        }
        Ok(pool)
    }

    /// How many threads work, the caller's included.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Keeps the calling thread to the cores of the workers, if they keep to some: for a thread that mostly calls this pool.
    ///
    /// Threads that it starts later inherit this. That is why [`Pool::new`] does not do it for its caller.
    pub fn confine_caller(&self) {
        if let Some(cores) = &self.cores {
            os::confine(cores);
        }
    }

    /// Runs `f(tile, worker)` for each tile of `0..tiles`; `worker` is below [`threads`](Self::threads) and no two threads have
    /// the same at a time.
    pub fn run(&self, tiles: usize, f: impl Fn(usize, usize) + Sync) {
        let next = AtomicUsize::new(0);
        self.share(tiles, |worker| {
            loop {
                let tile = next.fetch_add(1, Relaxed);
                if tile >= tiles {
                    return;
                }
                f(tile, worker);
            }
        });
    }

    /// As [`run`](Self::run), with an item of `scratch` for each worker: `f(tile, scratch)`.
    ///
    /// # Panics
    ///
    /// When `scratch` has fewer items than the pool has [`threads`](Self::threads).
    pub fn run_with<S: Send>(
        &self,
        scratch: &mut [S],
        tiles: usize,
        f: impl Fn(usize, &mut S) + Sync,
    ) {
        let next = AtomicUsize::new(0);
        self.share_with(scratch, tiles, |own| {
            loop {
                let tile = next.fetch_add(1, Relaxed);
                if tile >= tiles {
                    return;
                }
                f(tile, own);
            }
        });
    }

    /// Cuts `matrix`, rows of `width` elements, into windows of `tile` columns (the last may be narrower) and runs
    /// `f(columns, worker)` for each.
    ///
    /// # Panics
    ///
    /// When `tile` is 0 or the matrix is not whole rows.
    pub fn columns<T: Send>(
        &self,
        matrix: &mut [T],
        width: usize,
        tile: usize,
        f: impl Fn(Columns<'_, T>, usize) + Sync,
    ) {
        let windows = Windows::new(matrix, width, tile);
        self.share(windows.count(), |worker| {
            while let Some(columns) = windows.next() {
                f(columns, worker);
            }
        });
    }

    /// As [`columns`](Self::columns), with an item of `scratch` for each worker: `f(columns, scratch)`.
    ///
    /// # Panics
    ///
    /// As [`columns`](Self::columns), and when `scratch` has fewer items than the pool has [`threads`](Self::threads).
    pub fn columns_with<S: Send, T: Send>(
        &self,
        scratch: &mut [S],
        matrix: &mut [T],
        width: usize,
        tile: usize,
        f: impl Fn(Columns<'_, T>, &mut S) + Sync,
    ) {
        let windows = Windows::new(matrix, width, tile);
        self.share_with(scratch, windows.count(), |own| {
            while let Some(columns) = windows.next() {
                f(columns, own);
            }
        });
    }

    /// Runs `f(i, chunk)` for each chunk of `size` neighbouring items; the last may be shorter.
    ///
    /// # Panics
    ///
    /// When `size` is 0.
    pub fn chunks<T: Send>(
        &self,
        items: &mut [T],
        size: usize,
        f: impl Fn(usize, &mut [T]) + Sync,
    ) {
        let width = items.len();
        self.columns(items, width, size, |chunk, _| {
            f(chunk.index(), chunk.into_row());
        });
    }

    /// Cuts `items` at `cuts` and runs `f(i, items[cuts[i]..cuts[i + 1]], scratch)` for each piece, with an item of `scratch` for
    /// each worker.
    ///
    /// # Panics
    ///
    /// When the cuts fall or end past `items`, and when `scratch` has fewer items than the pool has
    /// [`threads`](Self::threads).
    pub fn pieces_with<S: Send, T: Send>(
        &self,
        scratch: &mut [S],
        items: &mut [T],
        cuts: &[usize],
        f: impl Fn(usize, &mut [T], &mut S) + Sync,
    ) {
        let pieces = Pieces::new(items, cuts);
        self.share_with(scratch, pieces.count(), |own| {
            while let Some((i, piece)) = pieces.next() {
                f(i, piece, own);
            }
        });
    }

    /// Runs `f(i, &mut items[i])` for each item.
    pub fn each<T: Send>(&self, items: &mut [T], f: impl Fn(usize, &mut T) + Sync) {
        self.chunks(items, 1, |i, item| f(i, &mut item[0]));
    }

    /// Runs `part(worker)` on the workers that come in time. One part alone must be able to do all `tiles` tiles.
    fn share(&self, tiles: usize, part: impl Fn(usize) + Sync) {
        let _inside = Inside::enter();
        if tiles <= 1 || self.workers.is_empty() {
            if tiles > 0 {
                part(0);
            }
            return;
        }
        let fault: Mutex<Option<Box<dyn Any + Send>>> = Mutex::new(None);
        self.lend.lend(&|worker| {
            // Caught, for a worker has to live on. Nothing of `part` is used after a panic, so unwinding breaks nothing.
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| part(worker))) {
                fault
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .get_or_insert(payload);
            }
        });
        let fault = fault.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(payload) = fault {
            resume_unwind(payload);
        }
    }

    /// As [`share`](Self::share), with an item of `scratch` for each worker.
    fn share_with<S: Send>(&self, scratch: &mut [S], tiles: usize, part: impl Fn(&mut S) + Sync) {
        assert!(
            scratch.len() >= self.threads(),
            "scratch for {} of {} workers",
            scratch.len(),
            self.threads()
        );
        let slots = Slots::new(scratch);
        self.share(tiles, |worker| {
            // A worker comes once a section, so its slot is free.
            if let Some(own) = slots.take(worker) {
                part(own);
            }
        });
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.lend.end();
        for worker in self.workers.drain(..) {
            // It cannot have panicked: `share` catches what a tile throws.
            let _ended = worker.join();
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("threads", &self.threads())
            .field("cores", &self.cores)
            .finish_non_exhaustive()
    }
}

thread_local! {
    /// Whether this thread runs a tile, of whatever pool.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Marks the thread as inside of a tile until dropped.
struct Inside;

impl Inside {
    /// Refuses a thread that is inside already: waiting for a turn of a pool that waits for this tile would never end.
    fn enter() -> Self {
        assert!(
            !INSIDE.replace(true),
            "a tile of a pool used a pool; share out the work in one section"
        );
        Self
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        INSIDE.set(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::atomic::AtomicU64;
    use std::time::{Duration, Instant};

    fn pool(threads: usize) -> Pool {
        Pool::start(threads, None).expect("threads")
    }

    /// What a panic of `f` says.
    fn thrown(f: impl FnOnce()) -> String {
        let payload = catch_unwind(AssertUnwindSafe(f)).expect_err("a panic");
        payload
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| payload.downcast_ref::<&str>().map(|&text| text.into()))
            .expect("a message")
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn every_tile_runs_once(threads in 1_usize..6, tiles in 0_usize..200) {
            let pool = pool(threads);
            let runs: Vec<AtomicUsize> = (0..tiles).map(|_| AtomicUsize::new(0)).collect();
            for _ in 0..3 {
                pool.run(tiles, |tile, worker| {
                    assert!(worker < threads, "worker {worker} of {threads}");
                    runs[tile].fetch_add(1, Relaxed);
                });
            }
            prop_assert!(runs.iter().all(|n| n.load(Relaxed) == 3), "{:?}", runs);
        }

        #[test]
        fn the_result_is_the_same_for_any_number_of_threads(
            rows in 1_usize..4,
            width in 1_usize..120,
            tile in 1_usize..40,
        ) {
            let product = |threads: usize| {
                let mut out = vec![0.0_f32; rows * width];
                pool(threads).columns(&mut out, width, tile, |mut columns, _| {
                    for row in 0..columns.rows() {
                        let start = columns.start();
                        for (i, x) in columns.row_mut(row).iter_mut().enumerate() {
                            *x += ((row + 1) as f32).sin() * (start + i) as f32;
                        }
                    }
                });
                out
            };
            let one = product(1);
            for threads in 2..5 {
                prop_assert_eq!(&product(threads), &one, "{} threads", threads);
            }
        }
    }

    #[test]
    fn items_and_chunks_know_their_place() {
        let pool = pool(3);
        let mut items: Vec<String> = vec![String::new(); 50];
        pool.each(&mut items, |i, item| item.push_str(&i.to_string()));
        assert!(
            items.iter().enumerate().all(|(i, s)| *s == i.to_string()),
            "{items:?}"
        );
        let mut bytes = [0_u8; 11];
        pool.chunks(&mut bytes, 4, |i, chunk| chunk.fill(i as u8));
        assert_eq!(bytes, [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2]);
        pool.chunks(&mut [0_u8; 0], 4, |_, _| panic!("no chunk of nothing"));
    }

    #[test]
    fn each_worker_has_scratch_of_its_own() {
        let pool = pool(4);
        let mut scratch = vec![0_usize; 4];
        let sum = AtomicUsize::new(0);
        pool.run_with(&mut scratch, 500, |tile, own| {
            *own += 1;
            sum.fetch_add(tile, Relaxed);
        });
        assert_eq!(sum.load(Relaxed), 499 * 500 / 2);
        assert_eq!(scratch.iter().sum::<usize>(), 500, "{scratch:?}");
        let mut out = [0_u16; 90];
        pool.columns_with(&mut scratch, &mut out, 30, 7, |mut columns, own| {
            *own += columns.rows() * columns.len();
            for row in 0..columns.rows() {
                columns.row_mut(row).fill(1);
            }
        });
        assert_eq!(scratch.iter().sum::<usize>(), 590, "{scratch:?}");
        assert_eq!(out, [1; 90]);
        let told = thrown(|| pool.run_with(&mut [(), ()], 1, |_, ()| {}));
        assert!(told.contains("2 of 4 workers"), "{told}");
    }

    #[test]
    fn many_small_sections_are_quick() {
        let pool = pool(2);
        let sum = AtomicU64::new(0);
        let started = Instant::now();
        for _ in 0..10_000 {
            pool.run(4, |tile, _| {
                sum.fetch_add(tile as u64, Relaxed);
            });
        }
        let took = started.elapsed();
        assert_eq!(sum.load(Relaxed), 60_000);
        // Some milliseconds; the bound is for an emulator on a busy machine, and fails on a system call's sleep a section.
        assert!(took < Duration::from_secs(20), "{took:?}");
    }

    #[test]
    fn more_threads_than_cores_finish() {
        let pool = pool(24);
        let sum = AtomicUsize::new(0);
        for _ in 0..100 {
            pool.run(64, |tile, _| {
                sum.fetch_add(tile, Relaxed);
            });
        }
        assert_eq!(sum.load(Relaxed), 100 * 63 * 64 / 2);
    }

    #[test]
    fn a_panic_in_a_tile_leaves_the_call_and_not_the_pool() {
        for threads in [1, 2, 4] {
            let pool = pool(threads);
            let running = AtomicUsize::new(0);
            for bad in [0, 7, 63] {
                let told = thrown(|| {
                    pool.run(64, |tile, _| {
                        running.fetch_add(1, Relaxed);
                        thread::sleep(Duration::from_micros(10));
                        running.fetch_sub(1, Relaxed);
                        assert!(tile != bad, "tile {tile} is bad");
                    });
                });
                assert_eq!(told, format!("tile {bad} is bad"));
                assert_eq!(running.load(Relaxed), 0, "a thread still works");
            }
            let sum = AtomicUsize::new(0);
            pool.run(10, |tile, _| {
                sum.fetch_add(tile, Relaxed);
            });
            assert_eq!(sum.load(Relaxed), 45, "the pool works on");
        }
    }

    #[test]
    fn all_tiles_may_panic() {
        let pool = pool(3);
        let told = thrown(|| pool.run(9, |_, _| panic!("every one")));
        assert_eq!(told, "every one");
        pool.run(9, |_, _| {});
    }

    #[test]
    fn a_tile_cannot_use_a_pool() {
        let (outer, other) = (pool(2), pool(1));
        for inner in [&outer, &other] {
            for tiles in [1, 8] {
                let told = thrown(|| outer.run(tiles, |_, _| inner.run(1, |_, _| {})));
                assert!(told.contains("used a pool"), "{told}");
            }
        }
        outer.run(2, |_, _| {});
    }

    #[test]
    fn threads_take_turns_with_one_pool() {
        let pool = pool(2);
        let mut sums = [0_usize; 3];
        thread::scope(|s| {
            for sum in &mut sums {
                let pool = &pool;
                s.spawn(move || {
                    for _ in 0..100 {
                        let mut items = [1_usize; 16];
                        pool.each(&mut items, |i, item| *item += i);
                        *sum += items.iter().sum::<usize>();
                    }
                });
            }
        });
        assert_eq!(sums, [100 * 136; 3]);
    }

    #[test]
    fn dropping_a_pool_ends_its_threads() {
        for pause in [Duration::ZERO, Duration::from_millis(2)] {
            let pool = pool(4);
            let lend = Arc::downgrade(&pool.lend);
            thread::sleep(pause);
            drop(pool);
            assert!(lend.upgrade().is_none(), "a worker still holds it");
        }
    }

    #[test]
    fn the_number_of_threads_is_checked() {
        let most = Topology::here().most_threads();
        assert_eq!(Pool::new(Some(most)).expect("allowed").threads(), most);
        let usual = Pool::new(None).expect("the default").threads();
        assert!((1..=most).contains(&usual), "{usual} of {most}");
        for wrong in [0, most + 1, usize::MAX] {
            let told = Pool::new(Some(wrong)).expect_err("refused").to_string();
            assert_eq!(
                told,
                format!("-t {wrong}: expected 1 to {most}, the cores that this process may use")
            );
        }
    }

    /// What a section costs beyond its work: `cargo test --release -- --ignored --nocapture section_costs`.
    #[test]
    #[ignore = "a measurement"]
    fn section_costs() {
        for threads in 1..=Topology::here().most_threads() {
            let pool = pool(threads);
            let cost = |what: &str, runs: u32, section: &dyn Fn()| {
                let mut rounds_ns = [0.0; 9];
                for round_ns in &mut rounds_ns {
                    let started = Instant::now();
                    (0..runs).for_each(|_| section());
                    *round_ns = started.elapsed().as_secs_f64() * 1e9 / f64::from(runs);
                }
                rounds_ns.sort_by(f64::total_cmp);
                let [best, .., _] = rounds_ns;
                println!(
                    "{threads} threads, {what}: {:.0} ns (best {best:.0})",
                    rounds_ns[4]
                );
            };
            for tiles in [1, threads, 64] {
                cost(&format!("{tiles} empty tiles"), 200_000, &|| {
                    pool.run(core::hint::black_box(tiles), |_, _| {});
                });
            }
            // The whole way: out to every worker and back.
            let meet = || {
                let came = AtomicUsize::new(0);
                pool.run(threads, |_, _| {
                    came.fetch_add(1, Relaxed);
                    while came.load(Relaxed) < threads {
                        core::hint::spin_loop();
                    }
                });
            };
            cost("all meet", 200_000, &meet);
            let pause = Duration::from_millis(1);
            cost("1 ms of sleep", 200, &|| thread::sleep(pause));
            cost("1 ms of sleep, then all meet", 200, &|| {
                thread::sleep(pause);
                meet();
            });
        }
    }
}
