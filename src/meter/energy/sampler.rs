//! A thread that reads a sensor, so that nobody who computes has to.
//!
//! It reads at the sensor's own rate, and once more when a moment is [marked](Sampler::mark), not more often than five times as
//! fast. A sensor that fails is asked less and less often, and one that hangs keeps this thread and nobody else: it is never waited
//! for longer than [`Sampler::settle`] says, and never joined. What the readings cost is measured: the time of a reading,
//! and the processor time of the thread.

use core::time::Duration;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};
use wattle_boards::sensor::{Ends, Facts, Fault, Sensor};

use super::{Trace, Window};
use crate::error::{Error, Result};
use crate::os::confine;

/// A sensor that fails is asked again after twice as long each time, up to this.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// No sensor is read more often, whatever it says of itself.
const SHORTEST_WAIT: Duration = Duration::from_millis(10);
/// Longest wait for a reading after the end of a window.
const SETTLE: Duration = Duration::from_millis(2500);

/// What reading a sensor takes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cost {
    /// Mean time of a reading, seconds; of a program that prints, the time between its lines.
    pub read_s: f64,
    /// Processor time of the thread, as a share of one core.
    pub cpu_share: f64,
}

/// A sensor that is being read.
#[derive(Debug)]
pub struct Sampler {
    facts: Facts,
    begin: Instant,
    shared: Arc<Shared>,
    thread: Thread,
    /// Ends what the sensor started, though its reading may hang.
    _ends: Option<Ends>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// There is a reading more, or there will be none.
    changed: Condvar,
    stop: AtomicBool,
}

#[derive(Debug)]
struct State {
    trace: Trace,
    /// Since when the thread is in the sensor.
    reading: Option<Instant>,
    reads: u32,
    read_time: Duration,
    cpu_time: Duration,
    fault: Option<Fault>,
    ended: bool,
}

impl Sampler {
    /// Begins to read `sensor`, on any of the cores `cores`; on those of the caller when there are none.
    ///
    /// # Errors
    /// When there is no thread for it.
    pub fn start(sensor: Box<dyn Sensor>, cores: &[usize]) -> Result<Self> {
        let facts = sensor.facts().clone();
        let ends = sensor.ends();
        let begin = Instant::now();
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                trace: Trace::new(facts.method, facts.period.as_secs_f64()),
                reading: None,
                reads: 0,
                read_time: Duration::ZERO,
                cpu_time: Duration::ZERO,
                fault: None,
                ended: false,
            }),
            changed: Condvar::new(),
            stop: AtomicBool::new(false),
        });
        let (theirs, cores) = (Arc::clone(&shared), cores.to_vec());
        let thread = thread::Builder::new().name("wattle-power".into());
        let handle = thread.spawn(move || {
            if !cores.is_empty() {
                confine(&cores);
            }
            sample(sensor, begin, &theirs);
            theirs.lock().ended = true;
            theirs.changed.notify_all();
        });
        let handle = handle.map_err(|error| Error::Machine {
            what: format!(
                "no thread for reading the power sensor: {error}; --power none runs without"
            ),
        })?;
        Ok(Self {
            facts,
            begin,
            shared,
            thread: handle.thread().clone(),
            _ends: ends,
        })
    }

    /// What the sensor is.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Now, and asks for a reading at it. Does not wait.
    pub fn mark(&self) -> Instant {
        self.thread.unpark();
        Instant::now()
    }

    /// Waits until a reading tells what was before `moment`, but not for a sensor that is silent.
    pub fn settle(&self, moment: Instant) {
        let at_s = self.seconds(moment);
        let end = Instant::now() + SETTLE;
        // A program has no period of its own; meters that have one as slow as this are rare.
        let patience_s = match self.facts.period {
            Duration::ZERO => 5.0,
            period => (period * 4).as_secs_f64().max(0.25),
        };
        let mut state = self.shared.lock();
        loop {
            let samples = state.trace.samples();
            let silent_s =
                self.seconds(Instant::now()) - samples.last().map_or(0.0, |last| last.at_s);
            let hangs = silent_s > patience_s;
            let there = samples.last().is_some_and(|last| last.at_s >= at_s);
            let left = end.saturating_duration_since(Instant::now());
            if there || state.ended || hangs || left.is_zero() {
                return;
            }
            let left = left.min(Duration::from_millis(100));
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The energy between two moments; `None` when less than half of that is known.
    #[must_use]
    pub fn window(&self, from: Instant, to: Instant) -> Option<Window> {
        let (from_s, to_s) = (self.seconds(from), self.seconds(to));
        self.shared.lock().trace.window(from_s, to_s)
    }

    /// Watts by the newest readings.
    #[must_use]
    pub fn watts(&self) -> Option<f64> {
        self.shared.lock().trace.last_w()
    }

    /// A copy of all readings, whose times are seconds from [`begin`](Self::begin).
    #[must_use]
    pub fn trace(&self) -> Trace {
        self.shared.lock().trace.clone()
    }

    /// When it began.
    #[must_use]
    pub fn begin(&self) -> Instant {
        self.begin
    }

    /// What the sensor does not do, in words: the last fault that was not followed by a reading, or that it hangs.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let state = self.shared.lock();
        if let Some(fault) = &state.fault {
            return Some(fault.to_string());
        }
        let since = state.reading?.elapsed();
        let patience = (self.facts.period * 10).max(Duration::from_secs(3));
        (since > patience).then(|| format!("it has not answered for {:.0} s", since.as_secs_f64()))
    }

    /// What reading it took so far.
    #[must_use]
    pub fn cost(&self) -> Cost {
        let state = self.shared.lock();
        Cost {
            read_s: state.read_time.as_secs_f64() / f64::from(state.reads.max(1)),
            cpu_share: state.cpu_time.as_secs_f64() / self.begin.elapsed().as_secs_f64().max(1e-9),
        }
    }

    fn seconds(&self, moment: Instant) -> f64 {
        seconds(self.begin, moment)
    }
}

impl Drop for Sampler {
    /// The thread ends after the reading that it is in, if that ever ends. Nobody waits for it.
    fn drop(&mut self) {
        self.shared.stop.store(true, Relaxed);
        self.thread.unpark();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic of the other side leaves readings that are whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Seconds from `begin` to `moment`, negative before it.
fn seconds(begin: Instant, moment: Instant) -> f64 {
    match moment.checked_duration_since(begin) {
        Some(after) => after.as_secs_f64(),
        None => -begin.duration_since(moment).as_secs_f64(),
    }
}

/// Reads until it is stopped or the sensor ends.
fn sample(mut sensor: Box<dyn Sensor>, begin: Instant, shared: &Shared) {
    let period = match sensor.facts().period {
        Duration::ZERO => Duration::ZERO,
        period => period.max(SHORTEST_WAIT),
    };
    let mut wait = period;
    while !shared.stop.load(Relaxed) {
        let before = Instant::now();
        shared.lock().reading = Some(before);
        let reading = sensor.read();
        let after = Instant::now();
        let mut state = shared.lock();
        state.reading = None;
        state.reads = state.reads.saturating_add(1);
        state.read_time += after - before;
        state.cpu_time = thread_time();
        let now_s = seconds(begin, after);
        match reading {
            Ok(reading) => {
                // A sensor that answers at once was read in the middle; one whose reading has an age says when itself.
                let since_s = match period.is_zero() {
                    true => reading.age.as_secs_f64(),
                    false => reading.age.as_secs_f64() + (after - before).as_secs_f64() / 2.0,
                };
                state.trace.push(now_s - since_s, reading.amount);
                state.fault = None;
                wait = period;
            }
            Err(fault) => {
                match fault {
                    Fault::Reset => state.trace.reset(now_s),
                    _ => state.trace.lose(now_s),
                }
                let ended = matches!(fault, Fault::Ended(_));
                state.fault = Some(fault);
                if ended {
                    return;
                }
                wait = match period.is_zero() {
                    true => period,
                    false => (wait * 2).min(LONGEST_WAIT.max(period)),
                };
            }
        }
        drop(state);
        shared.changed.notify_all();
        if !wait.is_zero() {
            pause(after, period / 5, wait, shared);
        }
    }
}

/// Waits for the next reading: `wait` after the last one, or when a moment is marked, but at least `shortest`.
fn pause(last: Instant, shortest: Duration, wait: Duration, shared: &Shared) {
    thread::park_timeout(wait.saturating_sub(last.elapsed()));
    while let left @ 1.. = shortest.saturating_sub(last.elapsed()).as_nanos() {
        if shared.stop.load(Relaxed) {
            return;
        }
        thread::sleep(Duration::from_nanos(
            u64::try_from(left).unwrap_or(u64::MAX),
        ));
    }
}

/// Processor time of this thread.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanos.min(999_999_999))
}
