//! Lends a closure that borrows from the caller's stack to threads that already run.
//!
//! `std::thread::scope` gives borrowed data to new threads; a forward pass has some hundred parallel sections a token and
//! cannot start threads for each. Here the threads wait in [`Lend::serve`], and [`Lend::lend`] runs one closure on all that
//! come in time.
//!
//! # One word
//!
//! Everything is decided by atomic read-modify-writes of one word, the gate:
//!
//! ```text
//!   31 .......... 14     13      12        11       10     9 ........ 0
//!   number of the run  ENDED  WAITING  SLEEPING   OPEN   visitors
//! ```
//!
//! - `lend` writes the task, then opens the gate under a new run number, then works itself, then closes the gate (no one
//!   can enter any more) and waits until there are no visitors.
//! - a server enters by adding 1 to the visitors *of an open gate* (compare and swap), works, and subtracts 1.
//!
//! So the task is only touched between a successful entry and the matching exit, and `lend` does not return while there is
//! a visitor. **A server that comes late is not waited for**: it finds the gate closed and the work done. A barrier that
//! counts every thread would wait for the slowest to wake up, and for one that the kernel has put aside, in every section.
//!
//! # Waiting
//!
//! First by spinning for 100 us ([`Spin`]), for the next section of a token is a few microseconds away, then in the kernel (futex)
//! on the gate itself. Who goes to sleep says so in the gate (SLEEPING: servers; WAITING: the lender); since whoever changes
//! the gate gets its old value back, no wake-up is lost, and nobody makes the system call when nobody sleeps.

use core::cell::UnsafeCell;
use core::fmt;
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::{Mutex, PoisonError};

use rustix::thread::futex;

use super::spin::Spin;

const VISITOR: u32 = 1;
const VISITORS: u32 = OPEN - 1;
const OPEN: u32 = 1 << 10;
const SLEEPING: u32 = 1 << 11;
const WAITING: u32 = 1 << 12;
const ENDED: u32 = 1 << 13;
const RUN: u32 = 1 << 14;
const RUNS: u32 = !(RUN - 1);

/// The meeting place of one lender at a time and the threads that serve.
pub struct Lend {
    /// On cache lines of its own: every server spins on it.
    gate: Line<AtomicU32>,
    task: UnsafeCell<Task>,
    /// Held by the lender from before it opens the gate until the last visitor has left.
    turn: Mutex<()>,
}

/// 128 bytes: x86 fetches cache lines in pairs, some ARM cores have lines of 128.
#[repr(align(128))]
struct Line<T>(T);

/// A borrowed closure without its type and lifetime.
#[derive(Clone, Copy)]
struct Task {
    data: *const (),
    /// # Safety
    ///
    /// - `data` must point to a live value of the type that this function was made for.
    call: unsafe fn(*const (), usize),
}

// SAFETY: `Task` points to an `F: Sync` (a bound of `lend`), which any thread may use by shared reference, and does not
// own it.
unsafe impl Send for Task {}

// SAFETY: all fields but `task` are `Sync`. `task` is written in `lend` only, by the holder of `turn`, while the gate is
// closed and without visitors; it is read in `visit` only, by a visitor. Both sides are ordered by the gate: the write comes
// before the swap that opens it (release), which a visitor's entry reads (acquire); a visitor's reads come before its exit
// (release), which the lender reads (acquire) before it gives up `turn`. Every change of the gate in between is a
// read-modify-write, so it carries these on.
unsafe impl Sync for Lend {}

impl Lend {
    /// A closed gate that nobody serves yet.
    pub fn new() -> Self {
        Self {
            gate: Line(AtomicU32::new(0)),
            task: UnsafeCell::new(Task {
                data: core::ptr::null(),
                call: |_, _| {},
            }),
            turn: Mutex::new(()),
        }
    }

    /// Runs `task(0)` here and `task(server)` on every server that comes before it ends; returns when all have ended.
    ///
    /// When `task(0)` panics, the panic leaves this call, after the servers have ended. Two threads may call this at the same
    /// time, one waits for the other. A `task` that calls `lend` on the same `Lend` never ends.
    pub fn lend<F: Fn(usize) + Sync>(&self, task: &F) {
        /// Calls the `F` behind `data`.
        ///
        /// # Safety
        ///
        /// - `data` must point to a live `F`.
        unsafe fn call<F: Fn(usize)>(data: *const (), server: usize) {
            // SAFETY: the caller promises a live `F`; only a shared reference is made.
            let task = unsafe { &*data.cast::<F>() };
            task(server);
        }

        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let lent = Task {
            data: core::ptr::from_ref(task).cast(),
            call: call::<F>,
        };
        // SAFETY: this thread holds `turn`, so nobody else writes. Nobody reads: the gate is closed and has no visitors, as
        // at the start and as every `Close` leaves it, and a visitor can only enter an open gate.
        unsafe { *self.task.get() = lent };
        let gate = self.gate.0.load(Relaxed);
        let run = (gate & RUNS).wrapping_add(RUN) | (gate & ENDED);
        let before = self.gate.0.swap(run | OPEN, AcqRel);
        // From here on visitors may hold `task`. The guard closes the gate and waits for them, on a panic too; nothing
        // between the swap and the guard can panic or return.
        let _close = Close(self);
        if before & SLEEPING != 0 {
            self.wake();
        }
        task(0);
    }

    /// Serves until [`Lend::end`]: runs each lent task once, as `task(server)`. A panic of a task leaves this call.
    pub fn serve(&self, server: usize) {
        let mut done = None;
        let mut spin = Spin::new();
        loop {
            let gate = self.gate.0.load(Acquire);
            if gate & ENDED != 0 {
                return;
            }
            let run = Some(gate & RUNS);
            if gate & OPEN != 0 && run != done {
                if self.visit(gate, server) {
                    done = run;
                    spin = Spin::new();
                }
            } else if !spin.again() {
                self.sleep(gate, SLEEPING);
                spin = Spin::new();
            }
        }
    }

    /// Waits for a running [`Lend::lend`], then lets every server return from [`Lend::serve`].
    pub fn end(&self) {
        // Not during a `lend`, whose swap of the gate would take the flag away again.
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.gate.0.fetch_or(ENDED, AcqRel);
        self.wake();
    }

    /// Enters the gate, if it still is as `gate` says, and runs the task. Returns whether it did.
    fn visit(&self, gate: u32, server: usize) -> bool {
        // One more must not run over into OPEN. A pool is far from 1023 threads; a caller that is not goes without.
        if gate & OPEN == 0 || gate & VISITORS == VISITORS {
            return false;
        }
        let entry = self
            .gate
            .0
            .compare_exchange_weak(gate, gate + VISITOR, Acquire, Relaxed);
        if entry.is_err() {
            return false;
        }
        let _leave = Leave(self);
        // SAFETY: this thread is a visitor of an open gate until `_leave` is dropped, so the lender does not write `task`
        // before that (see `impl Sync`).
        let task = unsafe { *self.task.get() };
        // SAFETY: `data` and `call` were made from one `&F` in `lend`. That call, and so the borrow of the `F`, lasts at least
        // until the gate is closed and has no visitors; this thread is one until after `call` has returned or unwound.
        unsafe { (task.call)(task.data, server) };
        true
    }

    /// Sleeps while the gate is as `gate` says, with `flag` set in it. May return early.
    fn sleep(&self, gate: u32, flag: u32) {
        let flagged = gate | flag;
        let told = gate == flagged
            || self
                .gate
                .0
                .compare_exchange(gate, flagged, Relaxed, Relaxed)
                .is_ok();
        if told {
            // Interrupted, or the gate has changed already: the caller looks again in any case.
            let _woken = futex::wait(&self.gate.0, futex::Flags::PRIVATE, flagged, None);
        }
    }

    /// Wakes everybody who sleeps on the gate.
    #[cold]
    fn wake(&self) {
        let everybody = i32::MAX as u32;
        let _count = futex::wake(&self.gate.0, futex::Flags::PRIVATE, everybody);
    }
}

impl Default for Lend {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Lend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gate = self.gate.0.load(Relaxed);
        f.debug_struct("Lend")
            .field("open", &(gate & OPEN != 0))
            .field("visitors", &(gate & VISITORS))
            .finish_non_exhaustive()
    }
}

/// Held by the lender: closes the gate when dropped and waits until it has no visitors.
struct Close<'a>(&'a Lend);

impl Drop for Close<'_> {
    fn drop(&mut self) {
        let mut gate = self.0.gate.0.fetch_and(!OPEN, AcqRel) & !OPEN;
        let mut spin = Spin::new();
        while gate & VISITORS != 0 {
            if !spin.again() {
                self.0.sleep(gate, WAITING);
            }
            gate = self.0.gate.0.load(Acquire);
        }
    }
}

/// Held by a visitor: leaves the gate when dropped and wakes the lender if it sleeps and this was the last.
struct Leave<'a>(&'a Lend);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        let before = self.0.gate.0.fetch_sub(VISITOR, Release);
        if before & WAITING != 0 && before & VISITORS == VISITOR {
            self.0.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::spin::SPIN;
    use super::*;
    use core::sync::atomic::AtomicUsize;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::thread;

    /// Runs `case` with `servers` threads that serve `lend`.
    fn served(servers: usize, case: impl FnOnce(&Lend)) {
        /// Ends the servers when the case fails, too, lest the test hang.
        struct End<'a>(&'a Lend);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.end();
            }
        }
        let lend = Lend::new();
        thread::scope(|s| {
            for server in 1..=servers {
                let lend = &lend;
                s.spawn(move || lend.serve(server));
            }
            let _end = End(&lend);
            case(&lend);
        });
    }

    #[test]
    fn servers_sleep_and_are_woken() {
        served(2, |lend| {
            for _ in 0..5 {
                thread::sleep(SPIN * 20);
                let came = AtomicUsize::new(0);
                // The lender stays until both servers have come: they must have been woken.
                lend.lend(&|_| {
                    came.fetch_add(1, Relaxed);
                    while came.load(Relaxed) < 3 {
                        thread::yield_now();
                    }
                });
                assert_eq!(came.load(Relaxed), 3, "each once");
            }
        });
    }

    #[test]
    fn the_lender_sleeps_until_the_last_visitor_has_left() {
        served(2, |lend| {
            let (came, left) = (AtomicUsize::new(0), AtomicUsize::new(0));
            lend.lend(&|server| {
                came.fetch_add(1, Relaxed);
                while came.load(Relaxed) < 3 {
                    thread::yield_now();
                }
                if server > 0 {
                    thread::sleep(SPIN * 50);
                    left.fetch_add(1, Relaxed);
                }
            });
            assert_eq!(left.load(Relaxed), 2, "the loan ended before the work");
        });
    }

    #[test]
    fn a_panic_of_the_lender_waits_for_the_visitors_too() {
        served(1, |lend| {
            let (came, left) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let thrown = catch_unwind(AssertUnwindSafe(|| {
                lend.lend(&|server| {
                    came.fetch_add(1, Relaxed);
                    while came.load(Relaxed) < 2 {
                        thread::yield_now();
                    }
                    assert!(server > 0, "as intended");
                    thread::sleep(SPIN * 50);
                    left.fetch_add(1, Relaxed);
                });
            }));
            assert!(thrown.is_err(), "the panic leaves the call");
            assert_eq!(left.load(Relaxed), 1, "the loan ended before the work");
            let again = AtomicUsize::new(0);
            lend.lend(&|_| {
                again.fetch_add(1, Relaxed);
            });
            assert!(again.load(Relaxed) > 0, "it lends again");
        });
    }

    #[test]
    fn lenders_take_turns() {
        served(1, |lend| {
            let (running, runs) = (AtomicUsize::new(0), AtomicUsize::new(0));
            thread::scope(|s| {
                for _ in 0..3 {
                    s.spawn(|| {
                        for _ in 0..200 {
                            lend.lend(&|server| {
                                if server == 0 {
                                    assert_eq!(running.fetch_add(1, Relaxed), 0, "two at a time");
                                    runs.fetch_add(1, Relaxed);
                                    running.fetch_sub(1, Relaxed);
                                }
                            });
                        }
                    });
                }
            });
            assert_eq!(runs.load(Relaxed), 600);
        });
    }

    /// What the lender's stack holds is written by servers and read by the lender after the call, many times, across the
    /// overflow of the run number.
    #[test]
    fn each_run_sees_its_own_task_and_all_its_writes() {
        served(3, |lend| {
            let near_the_end = RUNS - 500 * RUN;
            lend.gate.0.fetch_add(near_the_end, Relaxed);
            for run in 0..1000_usize {
                let told = [const { AtomicUsize::new(usize::MAX) }; 4];
                lend.lend(&|server| told[server].store(run, Relaxed));
                assert_eq!(told[0].load(Relaxed), run);
                for server in &told[1..] {
                    let told = server.load(Relaxed);
                    assert!(told == run || told == usize::MAX, "run {run}: {told}");
                }
            }
        });
    }

    #[test]
    fn nobody_enters_a_closed_or_full_gate() {
        let lend = Lend::new();
        assert!(!lend.visit(0, 1), "closed");
        lend.gate.0.store(OPEN | VISITORS, Relaxed);
        assert!(!lend.visit(OPEN | VISITORS, 1), "full");
        assert_eq!(lend.gate.0.load(Relaxed), OPEN | VISITORS, "untouched");
    }
}
