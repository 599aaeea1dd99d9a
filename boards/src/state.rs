//! How the machine is doing: is it throttled, how hot is it, how fast do its cores run, does it swap, what else keeps it busy.
//!
//! Plain values, read once from the kernel's files below one root directory. Two of them, before and after a run, tell whether
//! the run was disturbed. What the kernel does not tell is `None` or an empty list, never 0.

use std::path::Path;

use crate::file;

mod activity;
mod clock;
mod temperature;
mod throttling;

pub use activity::Activity;
pub use clock::Clock;
pub use temperature::Temperature;
pub use throttling::{Cooling, FirmwareFlags, Throttling};

/// The state of a machine at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    /// What slows the machine down.
    pub throttling: Throttling,
    /// The thermal zones, then the sensors of hwmon.
    pub temperatures: Vec<Temperature>,
    /// The clock of each core that has one, by core.
    pub clocks: Vec<Clock>,
    /// Swapping and load, as counts since the start of the system.
    pub activity: Activity,
}

impl State {
    /// The state of this machine; `WATTLE_SYSFS_ROOT` counts as for [`Topology::here`](crate::Topology::here).
    ///
    /// Reads some dozens of small files, which takes about a millisecond, and starts no program.
    #[must_use]
    pub fn here() -> Self {
        Self::read(&file::root())
    }

    /// The state by the `sys/` and `proc/` in `root`.
    #[must_use]
    pub fn read(root: &Path) -> Self {
        Self {
            throttling: throttling::read(root),
            temperatures: temperature::read(root),
            clocks: clock::read(root),
            activity: activity::read(root),
        }
    }

    /// The highest temperature, in degrees Celsius.
    #[must_use]
    pub fn hottest_c(&self) -> Option<f64> {
        self.temperatures
            .iter()
            .map(|temperature| temperature.temp_c)
            .max_by(f64::total_cmp)
    }
}
