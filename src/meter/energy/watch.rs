//! A thread that looks at the machine while a test runs: temperature, clocks, throttling, swapping, other programs.
//!
//! Once a second it reads some dozens of the kernel's small files, a millisecond of work. What it saw between two moments tells whether a
//! figure of that time is void.

use core::time::Duration;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::Instant;

use wattle_boards::{Activity, State};

use crate::error::{Error, Result};
use crate::os::confine;

const EVERY: Duration = Duration::from_secs(1);
/// Looks kept; the older half goes when there are more.
const MOST: usize = 1 << 14;
/// The share of a clock that may come and go.
const CLOCK: f64 = 0.1;
/// The share of the processor that others may use.
const OTHERS: f64 = 0.1;

/// How the machine was during a test.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Conditions {
    /// The highest temperature at the start, in degrees Celsius.
    pub temp_start_c: Option<f64>,
    /// The same at the end.
    pub temp_end_c: Option<f64>,
    /// What decides on the clocks, at the end; of several, with commas between.
    pub governor: Option<String>,
    /// The mean over the test of the fastest core's clock.
    pub freq_khz: Option<u64>,
    /// Something held the cores down.
    pub throttled: bool,
    /// The limit of the clocks or their governor changed, or a clock by more than a tenth.
    pub frequency_changed: bool,
    /// Pages came back from swap.
    pub swapped: bool,
    /// Other programs used more than a tenth of the processor.
    pub busy: bool,
    /// The machine is a virtual one.
    pub virtual_machine: bool,
}

/// A machine that is being looked at.
#[derive(Debug)]
pub struct Watch {
    looks: Arc<Mutex<Vec<(Instant, State)>>>,
    stop: Arc<AtomicBool>,
    thread: Thread,
}

impl Watch {
    /// Begins to look, on any of the cores `cores`; on those of the caller when there are none.
    ///
    /// # Errors
    /// When there is no thread for it.
    pub fn start(cores: &[usize]) -> Result<Self> {
        let looks = Arc::new(Mutex::new(vec![(Instant::now(), State::here())]));
        let stop = Arc::new(AtomicBool::new(false));
        let (theirs, ends, cores) = (Arc::clone(&looks), Arc::clone(&stop), cores.to_vec());
        let thread = thread::Builder::new().name("wattle-watch".into());
        let handle = thread.spawn(move || {
            if !cores.is_empty() {
                confine(&cores);
            }
            loop {
                thread::park_timeout(EVERY);
                if ends.load(Relaxed) {
                    return;
                }
                let look = (Instant::now(), State::here());
                let mut looks = lock(&theirs);
                if looks.len() >= MOST {
                    looks.drain(..MOST / 2);
                }
                looks.push(look);
            }
        });
        let handle = handle.map_err(|error| Error::Machine {
            what: format!("no thread for watching the machine: {error}; --power none runs without"),
        })?;
        Ok(Self {
            looks,
            stop,
            thread: handle.thread().clone(),
        })
    }

    /// Asks for a look now. Does not wait.
    pub fn mark(&self) {
        self.thread.unpark();
    }

    /// The hottest temperature at every look, with its moment.
    #[must_use]
    pub fn temperatures(&self) -> Vec<(Instant, f64)> {
        let looks = lock(&self.looks);
        let hottest = looks
            .iter()
            .filter_map(|(when, state)| Some((*when, state.hottest_c()?)));
        hottest.collect()
    }

    /// How the machine was while each of `windows` lasted.
    #[must_use]
    pub fn conditions(&self, windows: &[(Instant, Instant)]) -> Conditions {
        conditions(&lock(&self.looks), windows)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        self.thread.unpark();
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn conditions(looks: &[(Instant, State)], windows: &[(Instant, Instant)]) -> Conditions {
    let (Some(first), Some(last)) = (windows.first(), windows.last()) else {
        return Conditions::default();
    };
    // Counts are compared from the last look before the test to the first one after it.
    let begin = looks
        .partition_point(|(when, _)| *when <= first.0)
        .saturating_sub(1);
    let end = looks
        .len()
        .min(looks.partition_point(|(when, _)| *when < last.1) + 1);
    let around = &looks[begin.min(end)..end];
    let (Some((_, before)), Some((_, after))) = (around.first(), around.last()) else {
        return Conditions::default();
    };
    let within = |when: &Instant| windows.iter().any(|(from, to)| when >= from && when <= to);
    let inside = around.iter().filter(|(when, _)| within(when));
    let clocks: Vec<f64> = inside.filter_map(|(_, state)| fastest_khz(state)).collect();
    let (least, most) = clocks
        .iter()
        .fold((f64::INFINITY, 0.0_f64), |(least, most), &khz| {
            (least.min(khz), most.max(khz))
        });
    let limits = |state: &State| -> Vec<_> {
        let clocks = state.clocks.iter();
        clocks
            .map(|clock| (clock.core, clock.cap_khz, clock.governor.clone()))
            .collect()
    };
    Conditions {
        temp_start_c: before.hottest_c(),
        temp_end_c: after.hottest_c(),
        governor: governor(after),
        freq_khz: (!clocks.is_empty())
            .then(|| (clocks.iter().sum::<f64>() / clocks.len() as f64) as u64),
        throttled: around
            .iter()
            .any(|(_, state)| state.throttling.began_since(&before.throttling)),
        frequency_changed: limits(before) != limits(after) || least < (1.0 - CLOCK) * most,
        swapped: after
            .activity
            .swapped_since(&before.activity)
            .is_some_and(|pages| pages > 0),
        busy: others(looks, windows).is_some_and(|share| share > OTHERS),
        virtual_machine: false,
    }
}

/// The share of the processor that others used during the windows; what they do between two of them disturbs nothing.
fn others(looks: &[(Instant, State)], windows: &[(Instant, Instant)]) -> Option<f64> {
    let mut sum = Activity {
        swap_in_pages: None,
        busy_ticks: Some(0),
        idle_ticks: Some(0),
        own_ticks: Some(0),
    };
    let nothing = sum.clone();
    for (from, to) in windows {
        let begin = looks
            .partition_point(|(when, _)| when <= from)
            .checked_sub(1)?;
        let end = looks
            .partition_point(|(when, _)| when < to)
            .min(looks.len() - 1);
        let (before, after) = (&looks[begin].1.activity, &looks[end].1.activity);
        let add = |sum: Option<u64>, of: fn(&Activity) -> Option<u64>| {
            sum?.checked_add(of(after)?.checked_sub(of(before)?)?)
        };
        sum.busy_ticks = add(sum.busy_ticks, |activity| activity.busy_ticks);
        sum.idle_ticks = add(sum.idle_ticks, |activity| activity.idle_ticks);
        sum.own_ticks = add(sum.own_ticks, |activity| activity.own_ticks);
    }
    sum.others_since(&nothing)
}

/// The clock of the fastest core: it is one that works.
fn fastest_khz(state: &State) -> Option<f64> {
    let clocks = state.clocks.iter().filter_map(|clock| clock.now_khz);
    clocks.max().map(|khz| khz as f64)
}

fn governor(state: &State) -> Option<String> {
    let mut names: Vec<&str> = state
        .clocks
        .iter()
        .filter_map(|clock| clock.governor.as_deref())
        .collect();
    names.sort_unstable();
    names.dedup();
    (!names.is_empty()).then(|| names.join(","))
}
