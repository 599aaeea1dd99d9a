//! The clocks of the cores, by `cpuN/cpufreq`, in kHz there and here.

use std::path::Path;

use crate::file;

/// The clock of one core.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clock {
    /// The number of the core.
    pub core: usize,
    /// What it runs at, in kHz. Drivers differ: measured, or only asked for.
    pub now_khz: Option<u64>,
    /// The most that it may run at, `scaling_max_freq`, in kHz: the user's cap, and what cooling leaves.
    pub cap_khz: Option<u64>,
    /// The most that it can run at, in kHz.
    pub most_khz: Option<u64>,
    /// What decides on the clock: `ondemand`, `performance`, `schedutil` ...
    pub governor: Option<String>,
}

/// The cores below `root` that have a clock, by number.
pub(super) fn read(root: &Path) -> Vec<Clock> {
    let cpus = file::numbered(&root.join("sys/devices/system/cpu"), "cpu");
    let clocks = cpus.iter().map(|(core, cpu)| {
        let folder = cpu.join("cpufreq");
        let khz = |name: &str| file::number(&folder.join(name));
        Clock {
            core: *core,
            now_khz: khz("scaling_cur_freq").or_else(|| khz("cpuinfo_cur_freq")),
            cap_khz: khz("scaling_max_freq"),
            most_khz: khz("cpuinfo_max_freq"),
            governor: file::text(&folder.join("scaling_governor")),
        }
    });
    clocks.filter(Clock::is_told).collect()
}

impl Clock {
    fn is_told(&self) -> bool {
        self.now_khz.is_some() || self.most_khz.is_some() || self.governor.is_some()
    }
}
