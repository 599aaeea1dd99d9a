//! Which board this is: a known one, or one described by what its kernel says.

use std::path::Path;

use serde::Serialize;

use crate::file;
use crate::identity::Identity;
use crate::midr::Midr;
use crate::profile::{Fit, Profile, ProfileError};
use crate::profiles::Profiles;
use crate::topology::Topology;

/// The machine, as far as it is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Board {
    /// What to call it.
    pub name: String,
    /// What is known of it, and by what it was recognised; `None` for an unknown board.
    pub profile: Option<(Profile, Fit)>,
    /// What it says of itself.
    pub identity: Identity,
    /// Its cores in groups of like ones, whether this process may use them or not.
    pub groups: Vec<Group>,
}

/// Like cores, as the kernel shows them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Group {
    /// The design of the cores, where the CPU tells (ARM).
    pub core: Option<String>,
    /// The numbers that the kernel gives them.
    pub ids: Vec<usize>,
    /// Their highest clock, in kHz.
    pub max_khz: Option<u64>,
    /// Whether decoding should use them.
    pub big: bool,
}

impl Board {
    /// This machine; `WATTLE_SYSFS_ROOT` counts as for [`Topology::here`].
    ///
    /// # Errors
    /// When a profile of the user's own is broken.
    pub fn here() -> Result<Self, ProfileError> {
        Ok(Self::read(&file::root(), &Profiles::here()?))
    }

    /// The machine whose `sys/` and `proc/` are in `root`.
    #[must_use]
    pub fn read(root: &Path, profiles: &Profiles) -> Self {
        let identity = Identity::read(root);
        let profile = profiles.of(&identity);
        let profile = profile.map(|(profile, fit)| (profile.clone(), fit));
        let groups = groups(root);
        let of_profile = || Some(profile.as_ref()?.0.name.clone());
        Self {
            name: identity
                .name()
                .or_else(of_profile)
                .unwrap_or_else(|| "unknown".into()),
            profile,
            identity,
            groups,
        }
    }

    /// What a choice that was made for this board is kept under: the same for two boards of one kind.
    #[must_use]
    pub fn key(&self) -> String {
        let name = match &self.profile {
            Some((profile, _)) => &profile.id,
            None => &self.name,
        };
        let counts: Vec<String> = self
            .groups
            .iter()
            .map(|group| group.ids.len().to_string())
            .collect();
        format!("{name}, {} cores", counts.join("+"))
    }
}

/// The cores below `root` that are alike in design, clock and capacity, in the order of their first core.
fn groups(root: &Path) -> Vec<Group> {
    let cpus = file::numbered(&root.join("sys/devices/system/cpu"), "cpu");
    let ids: Vec<usize> = cpus.iter().map(|(id, _)| *id).collect();
    if ids.is_empty() {
        return Vec::new();
    }
    let topology = Topology::read(root, &ids);
    let big: Vec<usize> = topology.big().map(|core| core.id).collect();
    let mut groups: Vec<(u64, Group)> = Vec::new();
    for (core, (id, cpu)) in topology.cores().iter().zip(&cpus) {
        let name = Midr::read(cpu).map(Midr::name);
        let max_khz = file::number(&cpu.join("cpufreq/cpuinfo_max_freq"));
        let alike = groups.iter_mut().find(|(capacity, group)| {
            *capacity == core.capacity && group.core == name && group.max_khz == max_khz
        });
        match alike {
            Some((_, group)) => group.ids.push(*id),
            None => groups.push((
                core.capacity,
                Group {
                    core: name,
                    ids: vec![*id],
                    max_khz,
                    big: big.contains(id),
                },
            )),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}
