//! Temperatures: `thermal_zoneN` of the kernel's thermal framework, and `tempN_input` of hwmon, both in thousandths of a degree.

use std::path::Path;

use crate::file;

/// One sensor of temperature.
#[derive(Debug, Clone, PartialEq)]
pub struct Temperature {
    /// The type of the thermal zone, or the name of the hwmon device and the sensor's label.
    pub name: String,
    /// Degrees Celsius.
    pub temp_c: f64,
    /// Where the kernel begins to slow the cores down for it: the least trip point of a passive or hot kind.
    pub limit_c: Option<f64>,
}

/// What a sensor shows that is switched off or broken lies outside of this.
const POSSIBLE_C: core::ops::RangeInclusive<f64> = -60.0..=200.0;

/// All sensors below `root`.
pub(super) fn read(root: &Path) -> Vec<Temperature> {
    let zones = file::numbered(&root.join("sys/class/thermal"), "thermal_zone");
    let zones = zones.iter().filter_map(|(_, path)| zone(path));
    let devices = file::numbered(&root.join("sys/class/hwmon"), "hwmon");
    let sensors = devices.iter().flat_map(|(_, path)| sensors(path));
    zones.chain(sensors).collect()
}

fn zone(path: &Path) -> Option<Temperature> {
    let trips = (0..).map(|trip| {
        let kind = file::text(&path.join(format!("trip_point_{trip}_type")))?;
        Some((trip, kind))
    });
    let limit_c = trips
        .map_while(|trip| trip)
        .filter(|(_, kind)| kind == "passive" || kind == "hot")
        .filter_map(|(trip, _)| celsius(&path.join(format!("trip_point_{trip}_temp"))))
        .min_by(f64::total_cmp);
    Some(Temperature {
        name: file::text(&path.join("type"))?,
        temp_c: celsius(&path.join("temp"))?,
        limit_c,
    })
}

fn sensors(device: &Path) -> Vec<Temperature> {
    let Some(name) = file::text(&device.join("name")) else {
        return Vec::new();
    };
    // Sensors are counted from 1, with gaps where a chip has fewer than its driver knows.
    let inputs = file::entries(device).into_iter().filter_map(|path| {
        let number = file::name(&path)
            .strip_prefix("temp")?
            .strip_suffix("_input")?;
        let number: u32 = number.parse().ok()?;
        Some((number, celsius(&path)?))
    });
    let mut inputs: Vec<(u32, f64)> = inputs.collect();
    inputs.sort_by_key(|(number, _)| *number);
    let sensor = |(number, temp_c): (u32, f64)| {
        let label = file::text(&device.join(format!("temp{number}_label")));
        Temperature {
            name: match label {
                Some(label) => format!("{name} {label}"),
                None => name.clone(),
            },
            temp_c,
            limit_c: None,
        }
    };
    inputs.into_iter().map(sensor).collect()
}

fn celsius(path: &Path) -> Option<f64> {
    let temp_c = file::integer(path)? as f64 / 1e3;
    POSSIBLE_C.contains(&temp_c).then_some(temp_c)
}
