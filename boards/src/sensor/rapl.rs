//! The energy counters of x86 processors, as the kernel's `powercap` shows them.
//!
//! ```text
//! sys/class/powercap/intel-rapl:0/{name,energy_uj,max_energy_range_uj}     package-0, or psys
//!                    intel-rapl:0:1/                                       a part of it: core, uncore, dram
//!                    intel-rapl-mmio:0/                                    the same package by another way
//! ```
//!
//! Zones lie in each other, so that their sum would count the same joules twice: only whole packages are read, each name once.
//! `energy_uj` counts microjoules, and begins at 0 again after `max_energy_range_uj`. AMD's processors have the same files.
//! Since 2020 only root may read them, as fine readings tell secrets (CVE-2020-8694); a group can be allowed to, by the same line that
//! the package installs (`boards/package/wattle.tmpfile`).

use core::time::Duration;
use std::io;
use std::path::{Path, PathBuf};

use super::counter::Counter;
use super::shut;
use super::{Amount, Facts, Fault, Found, Kind, Method, Reading, Scope, Sensor, Site};
use crate::file;

pub(super) const KIND: Kind = Kind {
    name: "rapl",
    arg: "psys",
    about: "energy counter of the processor (powercap RAPL)",
    local: true,
    find,
};

/// Usual step of the counter: 2^-14 J. The files round it to microjoules.
const STEP_J: f64 = 1.0 / 16384.0;

/// A top zone of powercap.
#[derive(Debug)]
struct Zone {
    path: PathBuf,
    /// `package-0`, `psys`.
    name: String,
    /// It is read by memory-mapped registers, which some machines have beside the others.
    mmio: bool,
}

/// The packages of the machine, or its platform.
#[derive(Debug)]
struct Rapl {
    facts: Facts,
    zones: Vec<(PathBuf, Counter)>,
}

fn find(site: &Site, arg: Option<&str>) -> Result<Vec<Found>, Fault> {
    let platform = match arg {
        None => false,
        Some("psys") => true,
        Some(other) => {
            return Err(Fault::Usage(format!(
                "rapl={other}: expected rapl (the packages) or rapl=psys (the platform)"
            )));
        }
    };
    let zones: Vec<Zone> = zones(&site.root)
        .into_iter()
        .filter(|zone| match platform {
            true => zone.name.starts_with("psys"),
            false => zone.name.starts_with("package"),
        })
        .collect();
    if zones.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<String> = zones
        .iter()
        .map(|zone| {
            let file = zone.path.file_name().unwrap_or_default();
            format!("{} {}", file.to_string_lossy(), zone.name)
        })
        .collect();
    let facts = Facts {
        name: KIND.name,
        source: format!("powercap {}", names.join(" + ")),
        scope: match platform {
            true => Scope::Platform,
            false => Scope::SocPackage,
        },
        method: Method::Counter,
        resolution: Some(STEP_J),
        period: Duration::from_millis(100),
        external: false,
    };
    let mut counters = Vec::new();
    for zone in &zones {
        let range = file::number(&zone.path.join("max_energy_range_uj"));
        counters.push((zone.path.join("energy_uj"), Counter::new(range)));
    }
    let mut rapl = Rapl {
        facts: facts.clone(),
        zones: counters,
    };
    let access = match rapl.first(site) {
        Ok(()) => Ok(Box::new(rapl) as Box<dyn Sensor>),
        Err(fault) => Err(fault),
    };
    Ok(vec![Found { facts, access }])
}

/// The top zones, in the order of their names; of two with one name, the memory-mapped one.
fn zones(root: &Path) -> Vec<Zone> {
    let Ok(entries) = std::fs::read_dir(root.join("sys/class/powercap")) else {
        return Vec::new();
    };
    let mut zones: Vec<Zone> = entries
        .flatten()
        .filter_map(|entry| {
            let file = entry.file_name();
            let (kind, place) = file.to_str()?.split_once(':')?;
            let mmio = match kind {
                "intel-rapl" => false,
                "intel-rapl-mmio" => true,
                _ => return None,
            };
            if place.contains(':') {
                return None; // a part of another zone
            }
            let path = entry.path();
            let name = file::text(&path.join("name"))?;
            Some(Zone { path, name, mmio })
        })
        .collect();
    zones.sort_by(|a, b| (&a.name, !a.mmio, &a.path).cmp(&(&b.name, !b.mmio, &b.path)));
    zones.dedup_by(|later, first| later.name == first.name);
    zones
}

impl Rapl {
    /// Reads every counter once, to know whether it may be read and where it stands.
    fn first(&mut self, site: &Site) -> Result<(), Fault> {
        for (path, counter) in &mut self.zones {
            let file = site.shown(path);
            match number(path) {
                Ok(now) => {
                    counter.advance(now)?;
                }
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    return Err(Fault::Denied {
                        fix: format!("{}{RISK}", shut::fix(site, path, FIX)),
                        file,
                    });
                }
                Err(error) => return Err(Fault::Silent(format!("{file}: {error}"))),
            }
        }
        Ok(())
    }
}

impl Sensor for Rapl {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn read(&mut self) -> Result<Reading, Fault> {
        let (mut sum_uj, mut fault) = (0.0, None);
        // Every counter is read, so that none of them misses its end.
        for (path, counter) in &mut self.zones {
            let now =
                number(path).map_err(|error| Fault::Silent(format!("{}: {error}", path.display())));
            match now.and_then(|now| counter.advance(now)) {
                Ok(uj) => sum_uj += uj as f64,
                Err(found) => fault = Some(found),
            }
        }
        match fault {
            Some(fault) => Err(fault),
            None => Ok(Amount::Joules(sum_uj * 1e-6).into()),
        }
    }
}

/// Microjoules of a counter; 0 is a number like others.
fn number(path: &Path) -> io::Result<u64> {
    let text = file::read(path)?;
    let number = text.trim().parse();
    number.map_err(|_| io::Error::new(io::ErrorKind::InvalidData, format!("{text:?} is no number")))
}

/// What lets a group read the counters, now and after every start.
pub(super) const FIX: &str = "sudo groupadd -f -r wattle && sudo usermod -aG wattle $USER && \
    echo 'z /sys/class/powercap/intel-rapl{,-mmio}:[0-9]/energy_uj 0440 root wattle' | sudo tee /etc/tmpfiles.d/wattle.conf && \
    sudo systemd-tmpfiles --create wattle.conf, then log in again";
const RISK: &str =
    " (members of the group can then also measure what other programs do: CVE-2020-8694)";
