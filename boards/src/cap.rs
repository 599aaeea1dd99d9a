//! Caps on the cores' clocks: `scaling_max_freq` of each group of cores that share a clock.
//!
//! Only who may write the file (root, usually) can set one. [`Caps`] puts back what was there when it is dropped.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::{file, list};

/// Cores that share a clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    file: PathBuf,
    /// The ids of the cores.
    pub cores: Vec<usize>,
    /// The cap that is set now, in kHz.
    pub cap_khz: u64,
    /// The lowest clock, in kHz.
    pub least_khz: u64,
    /// The highest clock, in kHz.
    pub most_khz: u64,
    /// The clocks that there are, where the driver tells them.
    pub steps_khz: Vec<u64>,
}

/// The caps as they were found; dropping this puts them back.
#[derive(Debug)]
pub struct Caps(Vec<Policy>);

impl Caps {
    /// The policies of this machine; `WATTLE_SYSFS_ROOT` counts as for [`Topology::here`](crate::Topology::here). None when the
    /// kernel has no clocks to set.
    #[must_use]
    pub fn here() -> Self {
        Self::read(&file::root())
    }

    /// By the `sys/` in `root`.
    #[must_use]
    pub fn read(root: &Path) -> Self {
        let folders = file::numbered(&root.join("sys/devices/system/cpu/cpufreq"), "policy");
        let policy = |folder: &Path| {
            let khz = |name: &str| file::number(&folder.join(name));
            let cores = file::text(&folder.join("related_cpus"))?;
            let steps = file::text(&folder.join("scaling_available_frequencies"));
            Some(Policy {
                file: folder.join("scaling_max_freq"),
                // Separated by spaces here, and a list elsewhere.
                cores: list::parse(&cores.split_whitespace().collect::<Vec<_>>().join(","))?,
                cap_khz: khz("scaling_max_freq")?,
                least_khz: khz("cpuinfo_min_freq")?,
                most_khz: khz("cpuinfo_max_freq")?,
                steps_khz: steps.map_or_else(Vec::new, |steps| {
                    steps.split_whitespace().flat_map(str::parse).collect()
                }),
            })
        };
        Self(
            folders
                .iter()
                .filter_map(|(_, path)| policy(path))
                .collect(),
        )
    }

    /// The policies, as they were found.
    #[must_use]
    pub fn policies(&self) -> &[Policy] {
        &self.0
    }

    /// Whether this user may set all of them. Nothing is written.
    ///
    /// # Errors
    /// The first file that may not be written, and why.
    pub fn permitted(&self) -> Result<(), (PathBuf, io::Error)> {
        for policy in &self.0 {
            let opened = OpenOptions::new().write(true).open(&policy.file);
            opened.map_err(|reason| (policy.file.clone(), reason))?;
        }
        Ok(())
    }

    /// Caps every clock at `share` of what was found, 0 to 1, at the nearest step that there is. Returns the highest cap that is set.
    ///
    /// # Errors
    /// The file that could not be written, and why; the others may be set.
    pub fn set(&self, share: f64) -> Result<u64, (PathBuf, io::Error)> {
        let mut highest = 0;
        for policy in &self.0 {
            let khz = policy.nearest(share);
            policy
                .write(khz)
                .map_err(|reason| (policy.file.clone(), reason))?;
            highest = highest.max(khz);
        }
        Ok(highest)
    }

    /// The commands that put back what was found, for who has to do it by hand.
    #[must_use]
    pub fn by_hand(&self) -> String {
        let command = |policy: &Policy| {
            format!(
                "echo {} | sudo tee {}",
                policy.cap_khz,
                policy.file.display()
            )
        };
        self.0.iter().map(command).collect::<Vec<_>>().join("; ")
    }
}

impl Drop for Caps {
    fn drop(&mut self) {
        for policy in &self.0 {
            let now = file::number(&policy.file);
            if now != Some(policy.cap_khz) {
                let _refused = policy.write(policy.cap_khz);
            }
        }
    }
}

impl Policy {
    /// The step nearest to `share` of the cap that was found, and never above that.
    fn nearest(&self, share: f64) -> u64 {
        let wanted = (self.cap_khz as f64 * share.clamp(0.0, 1.0)) as u64;
        let wanted = wanted.clamp(self.least_khz.min(self.cap_khz), self.cap_khz);
        let steps = self.steps_khz.iter().copied();
        let steps = steps.filter(|khz| *khz <= self.cap_khz);
        steps
            .min_by_key(|khz| khz.abs_diff(wanted))
            .unwrap_or(wanted)
    }

    fn write(&self, khz: u64) -> io::Result<()> {
        // Not `create`: a file that is not there must not come to be. The kernel takes the whole number in one write.
        let mut file = OpenOptions::new()
            .write(true)
            .truncate(true)
            .open(&self.file)?;
        file.write_all(khz.to_string().as_bytes())
    }
}
