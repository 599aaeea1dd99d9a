//! Joules: what a sensor said while tokens were computed, and what that makes of a test.
//!
//! ```text
//! Sampler   a thread that reads one sensor        -> Trace
//! Trace     readings over time                     -> Window: joules between two moments
//! Watch     a thread that looks at the machine     -> Conditions: temperatures, clocks, throttling, swapping, others
//! Meter     both of these, while work is done
//! Energy    the windows of a test's repetitions    -> tok/J = tok/s per watt, with its error and its flags
//! ```
//!
//! Tokens per joule are *gross*: all that the scope of the sensor draws counts, idle or not. *Net* is a second number, and only where the
//! idle power was measured just before. A window begins with the first pass of a repetition and ends with its last, the same two moments
//! that its speed is taken from. Readings at their ends are interpolated, and the sampler is asked for one there.
//!
//! The thread that computes never waits for a sensor: it marks moments, and joules are worked out afterwards. A sensor that
//! hangs leaves a gap, which is told, or no figure at all, which is `null`.

use wattle_boards::sensor::{Facts, Method, Scope};

mod figure;
mod meter;
mod sampler;
mod student;
mod trace;
mod watch;

pub use figure::{Energy, Flag, Idle, Measured, Part};
pub use meter::{Meter, Timing};
pub use sampler::{Cost, Sampler};
pub use student::half_width_95;
pub use trace::{Sample, Trace, Window};
pub use watch::{Conditions, Watch};

/// What a figure says of its sensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// What the sensor measures the power of.
    pub scope: Scope,
    /// How energy comes of its readings.
    pub method: Method,
    /// Where its numbers come from.
    pub name: String,
    /// The smallest step of a reading: joules of a counter, watts otherwise.
    pub resolution: Option<f64>,
    /// The relative error that its maker or its user states.
    pub accuracy: Option<f64>,
}

impl Source {
    /// The sensor with these facts, to whose readings the relative error `accuracy` is stated.
    #[must_use]
    pub fn new(facts: &Facts, accuracy: Option<f64>) -> Self {
        Self {
            scope: facts.scope,
            method: facts.method,
            name: facts.source.clone(),
            resolution: facts.resolution,
            accuracy,
        }
    }
}

#[cfg(test)]
mod tests;
