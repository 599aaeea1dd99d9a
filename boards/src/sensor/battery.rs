//! The battery of a laptop or a hand-held: what leaves it, while nothing charges it.
//!
//! ```text
//! sys/class/power_supply/BAT0/{type,status,power_now uW,voltage_now uV,current_now uA}
//! ```
//!
//! On mains a battery says nothing of what the machine draws. Drivers give the current with either sign, and some renew it
//! only every half minute.

use core::time::Duration;
use std::path::{Path, PathBuf};

use super::hwmon::signed;
use super::{Facts, Fault, Found, Kind, Method, Reading, Scope, Sensor, Site, watts};
use crate::file;

pub(super) const KIND: Kind = Kind {
    name: "battery",
    arg: "NAME",
    about: "battery",
    local: true,
    find,
};

/// Batteries that are drained together.
#[derive(Debug)]
struct Battery {
    facts: Facts,
    paths: Vec<PathBuf>,
}

fn find(site: &Site, arg: Option<&str>) -> Result<Vec<Found>, Fault> {
    let Ok(entries) = std::fs::read_dir(site.root.join("sys/class/power_supply")) else {
        return Ok(Vec::new());
    };
    let name = |path: &Path| {
        path.file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    };
    let mut paths: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| file::text(&path.join("type")).as_deref() == Some("Battery"))
        // The batteries of a mouse are of scope Device.
        .filter(|path| file::text(&path.join("scope")).as_deref() != Some("Device"))
        .filter(|path| arg.is_none_or(|arg| name(path) == arg))
        .collect();
    paths.sort();
    if paths.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<String> = paths.iter().map(|path| name(path)).collect();
    let facts = Facts {
        name: KIND.name,
        source: format!("power_supply {}", names.join(" + ")),
        scope: Scope::Battery,
        method: Method::Integrated,
        resolution: None,
        period: Duration::from_secs(1),
        external: false,
    };
    let mut sensor = Battery {
        facts: facts.clone(),
        paths,
    };
    Ok(vec![match sensor.read() {
        Ok(_) => Found::ready(sensor),
        Err(fault) => Found {
            facts,
            access: Err(fault),
        },
    }])
}

impl Sensor for Battery {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn read(&mut self) -> Result<Reading, Fault> {
        let mut sum = 0.0;
        let mut discharging = false;
        for path in &self.paths {
            let status = file::text(&path.join("status")).unwrap_or_default();
            match status.as_str() {
                "Discharging" => discharging = true,
                // One of two may rest while the other is drained.
                "Not charging" | "Full" | "Unknown" => continue,
                _ => {
                    return Err(Fault::Idle(format!(
                        "{}: it is {status:?}; a battery tells the draw only while it is discharging: unplug the machine",
                        self.facts.source
                    )));
                }
            }
            let power = path.join("power_now");
            sum += match power.exists() {
                true => signed(&power)?.abs() * 1e-6,
                false => {
                    let (uv, ua) = (
                        signed(&path.join("voltage_now"))?,
                        signed(&path.join("current_now"))?,
                    );
                    (uv * ua).abs() * 1e-12
                }
            };
        }
        match discharging {
            true => watts(sum).map(Reading::from),
            false => Err(Fault::Idle(format!(
                "{}: it is not discharging, so it tells nothing of the draw: unplug the machine",
                self.facts.source
            ))),
        }
    }
}
