//! The threads that share the work of a forward pass.
//!
//! A pass is some hundred short parallel sections, each a row of tiles (about 100 KB of weights is a good tile). Each thread
//! goes through neighbouring tiles and then takes what others have left (`os/queue.rs`), so that a slow core, or one that the
//! system needs for a moment, takes fewer. The calling thread takes part as worker 0. A section allocates nothing, and makes no
//! system call unless a worker sleeps.
//!
//! Decisions:
//! - **Each thread begins at a place of its own, but no tile is reserved for it.** A section would have to wait for a worker that
//!   is late (`os/lend.rs`).
//! - **Workers are confined to the fast cores, not pinned to one core each**, and only where there are slow ones too. Alone on
//!   the machine the two are equally fast; with a second program at work, or a second pool, a pinned thread waits behind
//!   another on its core while the next core is idle.
//! - **Never more threads than cores that the process may use** (affinity, cgroup quota): spinning threads that wait for
//!   each other's core are a hundred times slower than one.

use core::cell::Cell;
use core::fmt;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use wattle_boards::Topology;

use crate::os::{self, Columns, Lend, Pieces, Queue, Slots, Windows};
use crate::{Error, Result};

/// Parts that [`Pool::parts`] takes at a time.
pub(crate) const PARTS: usize = 64;

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
    pub(crate) fn start(threads: usize, cores: Option<Vec<usize>>) -> Result<Self> {
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
        let queue = Queue::new(tiles, self.threads());
        self.share(tiles, |worker| {
            while let Some(tile) = queue.next(worker) {
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
        let queue = Queue::new(tiles, self.threads());
        self.share_with(scratch, tiles, |worker, own| {
            while let Some(tile) = queue.next(worker) {
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
        let windows = Windows::new(matrix, width, tile, self.threads());
        self.share(windows.count(), |worker| {
            while let Some(columns) = windows.next(worker) {
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
        let windows = Windows::new(matrix, width, tile, self.threads());
        self.share_with(scratch, windows.count(), |worker, own| {
            while let Some(columns) = windows.next(worker) {
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

    /// Cuts `items` at `cuts` and runs `f(i, items[cuts[i]..cuts[i + 1]])` for each piece.
    ///
    /// # Panics
    ///
    /// When the cuts fall or end past `items`.
    pub fn pieces<T: Send>(
        &self,
        items: &mut [T],
        cuts: &[usize],
        f: impl Fn(usize, &mut [T]) + Sync,
    ) {
        let pieces = Pieces::new(items, cuts, self.threads());
        self.share(pieces.count(), |worker| {
            while let Some((i, piece)) = pieces.next(worker) {
                f(i, piece);
            }
        });
    }

    /// Runs `f(i, &mut items[i])` for each item.
    pub fn each<T: Send>(&self, items: &mut [T], f: impl Fn(usize, &mut T) + Sync) {
        self.chunks(items, 1, |i, item| f(i, &mut item[0]));
    }

    /// Runs `f(part)` for each of `parts`: for work that cuts several slices at once.
    ///
    /// The parts wait on the stack, some at a time: there should not be more of them than it takes to keep all threads busy.
    pub fn parts<T: Send>(&self, parts: impl Iterator<Item = T>, f: impl Fn(T) + Sync) {
        let mut parts = parts.fuse();
        while let Some(first) = parts.next() {
            let Some(second) = parts.next() else {
                let _inside = Inside::enter();
                return f(first);
            };
            let mut next = [first, second].into_iter().chain(&mut parts);
            let mut waiting: [Option<T>; PARTS] = core::array::from_fn(|_| next.next());
            let count = waiting.iter().flatten().count();
            self.each(&mut waiting[..count], |_, part| {
                if let Some(part) = part.take() {
                    f(part);
                }
            });
        }
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
    fn share_with<S: Send>(
        &self,
        scratch: &mut [S],
        tiles: usize,
        part: impl Fn(usize, &mut S) + Sync,
    ) {
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
                part(worker, own);
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
mod tests;
