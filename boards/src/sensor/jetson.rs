//! The power monitor of a Jetson as NVIDIA's older kernels show it; newer ones have it in `hwmon`, which is read there.
//!
//! ```text
//! sys/bus/i2c/drivers/ina3221x/1-0040/iio:device0/rail_name_0       VDD_IN
//!                                                 in_power0_input   milliwatts
//! ```
//!
//! `VDD_IN` is what the module draws. The board that carries it is not measured.

use core::time::Duration;
use std::path::{Path, PathBuf};

use super::hwmon::{is_total, signed};
use super::{Facts, Fault, Found, Kind, Method, Reading, Scope, Sensor, Site, watts};
use crate::file;

pub(super) const KIND: Kind = Kind {
    name: "jetson",
    arg: "RAIL",
    about: "INA3221 of a Jetson with an older kernel",
    local: true,
    find,
};

#[derive(Debug)]
struct Jetson {
    facts: Facts,
    power_mw: PathBuf,
}

fn find(site: &Site, arg: Option<&str>) -> Result<Vec<Found>, Fault> {
    let mut rails = rails(&site.root.join("sys/bus/i2c/drivers/ina3221x"));
    rails.sort();
    let names: Vec<&str> = rails.iter().map(|(name, _)| name.as_str()).collect();
    let wanted = |name: &str| match arg {
        Some(arg) => name.eq_ignore_ascii_case(arg),
        None => is_total(name),
    };
    match (rails.iter().find(|(name, _)| wanted(name)), arg) {
        (Some((name, power_mw)), _) => {
            let facts = Facts {
                name: KIND.name,
                source: format!("ina3221x {name}"),
                scope: Scope::BoardRails,
                method: Method::Integrated,
                resolution: Some(1e-3),
                period: Duration::from_millis(100),
                external: false,
            };
            let mut sensor = Jetson {
                facts: facts.clone(),
                power_mw: power_mw.clone(),
            };
            Ok(vec![match sensor.read() {
                Ok(_) => Found::ready(sensor),
                Err(fault) => Found {
                    facts,
                    access: Err(fault),
                },
            }])
        }
        (None, Some(arg)) if !names.is_empty() => Err(Fault::Usage(format!(
            "jetson={arg}: no rail is called that; there are {}",
            names.join(", ")
        ))),
        (None, _) => Ok(Vec::new()),
    }
}

/// Name and file of every rail: two folders below the driver's.
fn rails(driver: &Path) -> Vec<(String, PathBuf)> {
    let inside = |path: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    };
    let mut rails = Vec::new();
    for device in inside(driver).iter().flat_map(|chip| inside(chip)) {
        for n in 0..8 {
            let name = file::text(&device.join(format!("rail_name_{n}")));
            let power = device.join(format!("in_power{n}_input"));
            rails.extend(name.filter(|_| power.exists()).map(|name| (name, power)));
        }
    }
    rails
}

impl Sensor for Jetson {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn read(&mut self) -> Result<Reading, Fault> {
        watts(signed(&self.power_mw)? * 1e-3).map(Reading::from)
    }
}
