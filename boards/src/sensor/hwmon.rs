//! Power chips on the I2C bus, through the kernel's `hwmon`: INA219, 220, 226, 230, 231, 238 and 3221.
//!
//! ```text
//! sys/class/hwmon/hwmonN/name                        ina226; the N changes from start to start
//!   INA2xx   power1_input uW, in1_input bus mV, curr1_input mA, shunt_resistor uOhm
//!   INA3221  in[123]_label, in[123]_input bus mV, curr[123]_input mA, shunt[123]_resistor uOhm; no power
//! ```
//!
//! A wrong shunt resistance makes a wrong power, and no file tells that: the value of `shunt_resistor` has to be that of the resistor
//! on the board. One channel is read. Where there are several, and none carries the name of a total (`VDD_IN` on a Jetson), the
//! user has to say which: `hwmon=LABEL`.

use core::time::Duration;
use std::path::{Path, PathBuf};

use super::{Facts, Fault, Found, Kind, Method, Reading, Scope, Sensor, Site, watts};
use crate::file;

pub(super) const KIND: Kind = Kind {
    name: "hwmon",
    arg: "LABEL",
    about: "INA219, 220, 226, 230, 231, 238 or 3221 that the kernel knows (hwmon)",
    local: true,
    find,
};

/// Labels of a channel through which all others are fed: the input of a Jetson's module, and of a board.
pub(super) const TOTALS: &[&str] = &["VDD_IN", "POM_5V_IN", "VIN_SYS_5V0", "VIN"];

/// A chip with one channel, and the watts of a step of its power register at 1 uOhm of shunt: 20 or 25 steps of the current at 1 V,
/// a step of the current being 10 or 2.5 uV over the shunt.
const SINGLE: &[(&str, f64)] = &[
    ("ina219", 200.0),
    ("ina220", 200.0),
    ("ina226", 62.5),
    ("ina230", 62.5),
    ("ina231", 62.5),
    ("ina238", 25.0),
];
/// Volts over the shunt of a step of an INA3221, in microvolts.
const STEP_3221_UV: f64 = 40.0;

/// Where the watts of a channel are.
#[derive(Debug, Clone)]
enum Power {
    /// A file in microwatts.
    Micro(PathBuf),
    /// Bus millivolts and milliamperes.
    Product(PathBuf, PathBuf),
}

#[derive(Debug, Clone)]
struct Channel {
    /// What the user may call it.
    names: Vec<String>,
    total: bool,
    power: Power,
    resolution: Option<f64>,
}

#[derive(Debug)]
struct Hwmon {
    facts: Facts,
    power: Power,
}

fn find(site: &Site, arg: Option<&str>) -> Result<Vec<Found>, Fault> {
    let mut channels = channels(&site.root);
    if let Some(wanted) = arg {
        let known: Vec<String> = channels.iter().map(shown).collect();
        channels.retain(|channel| {
            channel
                .names
                .iter()
                .any(|name| name.eq_ignore_ascii_case(wanted))
        });
        if channels.is_empty() && !known.is_empty() {
            return Err(Fault::Usage(format!(
                "hwmon={wanted}: no channel is called that; there are {}",
                known.join(", ")
            )));
        }
    }
    // The one that is named, that feeds the others, or that is alone.
    let choice = match channels.len() {
        1 => Some(0),
        _ => channels.iter().position(|channel| channel.total),
    };
    let all: Vec<String> = channels.iter().map(shown).collect();
    let mut found: Vec<Found> = channels
        .into_iter()
        .enumerate()
        .map(|(i, channel)| match choice {
            Some(chosen) if chosen == i => open(site, channel),
            Some(_) => refused(
                channel,
                "a part of the total, which is read instead; name it to read it".into(),
            ),
            None => refused(
                channel,
                format!(
                    "which channel feeds the board? Name one: --power hwmon=LABEL, of {}",
                    all.join(", ")
                ),
            ),
        })
        .collect();
    found.sort_by_key(|found| found.access.is_err());
    Ok(found)
}

fn shown(channel: &Channel) -> String {
    channel.names.first().cloned().unwrap_or_default()
}

fn facts(channel: &Channel) -> Facts {
    Facts {
        name: KIND.name,
        source: format!("hwmon {}", channel.names.join(" ")),
        // A rail of a Jetson's module leaves out the board that carries it.
        scope: match channel.total {
            true => Scope::BoardRails,
            false => Scope::DcInput,
        },
        method: Method::Integrated,
        resolution: channel.resolution,
        period: Duration::from_millis(100),
        external: false,
    }
}

fn refused(channel: Channel, why: String) -> Found {
    Found {
        facts: facts(&channel),
        access: Err(Fault::Idle(why)),
    }
}

fn open(site: &Site, channel: Channel) -> Found {
    let mut sensor = Hwmon {
        facts: facts(&channel),
        power: channel.power,
    };
    match sensor.read() {
        Ok(_) => Found::ready(sensor),
        Err(fault) => Found {
            facts: sensor.facts,
            access: Err(match fault {
                Fault::Silent(what) => {
                    Fault::Silent(what.replace(&site.root.display().to_string(), ""))
                }
                other => other,
            }),
        },
    }
}

/// Every channel of every chip, in the order of their devices.
fn channels(root: &Path) -> Vec<Channel> {
    let Ok(entries) = std::fs::read_dir(root.join("sys/class/hwmon")) else {
        return Vec::new();
    };
    let mut channels: Vec<Channel> = entries
        .flatten()
        .filter_map(|entry| {
            let chip = entry.path();
            let name = file::text(&chip.join("name"))?;
            // The chip's place on its bus: 1-0040.
            let place = std::fs::read_link(chip.join("device")).ok();
            let place = place.and_then(|path| Some(path.file_name()?.to_str()?.to_owned()));
            Some(match name.as_str() {
                "ina3221" => triple(&chip, place),
                _ => single(&chip, &name, place).into_iter().collect(),
            })
        })
        .flatten()
        .collect();
    channels.sort_by(|a, b| a.names.cmp(&b.names));
    channels
}

fn single(chip: &Path, name: &str, place: Option<String>) -> Option<Channel> {
    let (_, step) = SINGLE.iter().find(|(known, _)| *known == name)?;
    let label = ["power1_label", "curr1_label"]
        .iter()
        .find_map(|file| file::text(&chip.join(file)));
    let power = chip.join("power1_input");
    let shunt_uohm = file::number(&chip.join("shunt_resistor"));
    Some(Channel {
        total: label.as_deref().is_some_and(is_total),
        names: [label, place, Some(name.to_owned())]
            .into_iter()
            .flatten()
            .collect(),
        power: match power.exists() {
            true => Power::Micro(power),
            false => Power::Product(chip.join("in1_input"), chip.join("curr1_input")),
        },
        resolution: shunt_uohm.map(|uohm| step / uohm as f64),
    })
}

fn triple(chip: &Path, place: Option<String>) -> Vec<Channel> {
    let channel = |n: u8| {
        let (mv, ma) = (
            chip.join(format!("in{n}_input")),
            chip.join(format!("curr{n}_input")),
        );
        if !mv.exists() || !ma.exists() {
            return None; // a channel that the device tree switches off
        }
        let label = file::text(&chip.join(format!("in{n}_label")));
        let shunt_uohm = file::number(&chip.join(format!("shunt{n}_resistor")));
        let bus_v = file::number(&mv).map(|mv| mv as f64 / 1e3);
        let place = place.as_ref().map(|place| format!("{place} in{n}"));
        let plain = format!("ina3221 in{n}");
        Some(Channel {
            total: label.as_deref().is_some_and(is_total),
            names: [label, place, Some(plain)].into_iter().flatten().collect(),
            power: Power::Product(mv, ma),
            resolution: shunt_uohm
                .zip(bus_v)
                .map(|(uohm, v)| STEP_3221_UV / uohm as f64 * v),
        })
    };
    (1..=3).filter_map(channel).collect()
}

pub(super) fn is_total(label: &str) -> bool {
    TOTALS.iter().any(|total| total.eq_ignore_ascii_case(label))
}

impl Sensor for Hwmon {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn read(&mut self) -> Result<Reading, Fault> {
        let w = match &self.power {
            Power::Micro(uw) => signed(uw)? * 1e-6,
            Power::Product(mv, ma) => signed(mv)? * signed(ma)? * 1e-6,
        };
        // Noise around nothing may fall below it.
        watts(if (-0.1..0.0).contains(&w) { 0.0 } else { w }).map(Reading::from)
    }
}

/// The number that a file holds, which may be negative.
pub(super) fn signed(path: &Path) -> Result<f64, Fault> {
    let text =
        file::read(path).map_err(|error| Fault::Silent(format!("{}: {error}", path.display())))?;
    let number: Result<i64, _> = text.trim().parse();
    number
        .map(|number| number as f64)
        .map_err(|_| Fault::Nonsense(format!("{}: {text:?}", path.display())))
}
