//! The cores that a process may use, and which of them are fast.
//!
//! Decode waits for the slowest core, and a thread on a slow core costs more than it brings: on an RK3588 (4 Cortex-A76, 4
//! Cortex-A55) llama.cpp fell from 6.9 to 3.8 tokens/s when it began to use all eight. So work is given to the *big* cores: those
//! of at least 70 % of the capacity of the best. Core ids say nothing: the same CIX P1 has its small cores at 1-4 on one board
//! and at 2-5 on another.
//!
//! The capacity of a core comes from the first of these that the kernel gives for every allowed core:
//! 1. `cpuN/cpu_capacity`, which it works out from the device tree;
//! 2. `cpufreq/cpuinfo_max_freq`, halved for a core that `regs/identification/midr_el1` names as a small in-order one, for the
//!    clock alone does not tell: RK3588 has A55 at 1.8 GHz beside A76 at 2.4 GHz, 75 %;
//! 3. that name alone.
//!
//! Where there is none, all cores are alike.

use std::path::{Path, PathBuf};

use rustix::thread::{CpuSet, sched_getaffinity};

use crate::midr::Midr;
use crate::{cgroup, file, list};

/// One core that the process may use; with simultaneous multithreading, one thread of a core.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Core {
    /// The number that the kernel gives it.
    pub id: usize,
    /// What it can do, compared with other cores of this machine; the unit depends on the source.
    pub capacity: u64,
    /// The same for all threads of one physical core.
    pub physical: usize,
}

/// The cores that a process may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    cores: Vec<Core>,
    quota: Option<usize>,
}

impl Topology {
    /// What the calling thread may use on this machine.
    ///
    /// The environment variable `WATTLE_SYSFS_ROOT` names a directory to read `sys/` and `proc/` in instead of `/`; it does not
    /// change which cores are allowed.
    pub fn here() -> Self {
        Self::read(&file::root(), &allowed())
    }

    /// What a process that is allowed the cores with the ids `allowed` may use, by the `sys/` and `proc/` in `root`.
    ///
    /// Files that are missing or hold nonsense count as silent. Without any allowed core it is core 0.
    pub fn read(root: &Path, allowed: &[usize]) -> Self {
        let mut ids = allowed.to_vec();
        ids.sort_unstable();
        ids.dedup();
        if ids.is_empty() {
            ids.push(0);
        }
        let cpus = root.join("sys/devices/system/cpu");
        let dirs: Vec<PathBuf> = ids.iter().map(|id| cpus.join(format!("cpu{id}"))).collect();
        let cores = ids
            .iter()
            .zip(&dirs)
            .zip(capacities(&dirs))
            .map(|((&id, dir), capacity)| Core {
                id,
                capacity,
                physical: physical(dir, id),
            })
            .collect();
        Self {
            cores,
            quota: cgroup::quota(root),
        }
    }

    /// The allowed cores, by id.
    pub fn cores(&self) -> &[Core] {
        &self.cores
    }

    /// The fast ones of them: at least 70 % of the capacity of the best.
    pub fn big(&self) -> impl Iterator<Item = &Core> {
        let best = self.cores.iter().map(|core| core.capacity).max();
        let least = u128::from(best.unwrap_or(0)) * 7;
        self.cores
            .iter()
            .filter(move |core| u128::from(core.capacity) * 10 >= least)
    }

    /// The most threads that can run at a time: the allowed cores, or fewer if a control group grants less time.
    pub fn most_threads(&self) -> usize {
        self.capped(self.cores.len())
    }

    /// How many threads serve decode best: one for each physical big core. They read the same memory; the second thread of a
    /// physical core would add none of its bandwidth.
    pub fn threads(&self) -> usize {
        let mut physical: Vec<usize> = self.big().map(|core| core.physical).collect();
        physical.sort_unstable();
        physical.dedup();
        self.capped(physical.len())
    }

    /// The ids of the big cores when `threads` threads should keep to them; `None` when they would not fit there, or when
    /// there are no others to keep from.
    pub fn confine(&self, threads: usize) -> Option<Vec<usize>> {
        let big: Vec<usize> = self.big().map(|core| core.id).collect();
        (threads <= big.len() && big.len() < self.cores.len()).then_some(big)
    }

    fn capped(&self, threads: usize) -> usize {
        threads.min(self.quota.unwrap_or(usize::MAX)).max(1)
    }
}

/// The ids of the cores that the calling thread may run on.
fn allowed() -> Vec<usize> {
    match sched_getaffinity(None) {
        Ok(set) => (0..CpuSet::MAX_CPU).filter(|&id| set.is_set(id)).collect(),
        // A machine of more cores than a `CpuSet` counts, or a sandbox.
        Err(_) => {
            let count = std::thread::available_parallelism();
            (0..count.map_or(1, core::num::NonZero::get)).collect()
        }
    }
}

/// The capacity of each core, all from one source.
fn capacities(dirs: &[PathBuf]) -> Vec<u64> {
    let all = |name: &str| -> Option<Vec<u64>> {
        dirs.iter()
            .map(|dir| file::number(&dir.join(name)))
            .collect()
    };
    if let Some(given) = all("cpu_capacity") {
        return given;
    }
    let clocks_khz = all("cpufreq/cpuinfo_max_freq").unwrap_or_else(|| vec![1; dirs.len()]);
    dirs.iter()
        .zip(clocks_khz)
        .map(|(dir, khz)| khz.saturating_mul(work_per_clock(dir)))
        .collect()
}

/// 2, or 1 for a small in-order core: device trees rate the A55 at 530 of the A76's 1024 a clock, the A53 at 485 of the A72's.
fn work_per_clock(dir: &Path) -> u64 {
    if Midr::read(dir).is_some_and(Midr::is_small) {
        1
    } else {
        2
    }
}

/// The least id of the threads of the physical core that thread `id` is of.
fn physical(dir: &Path, id: usize) -> usize {
    file::text(&dir.join("topology/thread_siblings_list"))
        .and_then(|text| list::parse(&text))
        .filter(|siblings| siblings.contains(&id))
        .and_then(|siblings| siblings.into_iter().min())
        .unwrap_or(id)
}
