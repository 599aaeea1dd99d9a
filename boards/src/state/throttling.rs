//! What slows the machine down.
//!
//! - A Raspberry Pi's firmware keeps bits ([`FirmwareFlags`]); the kernel shows them as a hexadecimal number in
//!   `get_throttled` of its firmware device, and `vcgencmd get_throttled` prints them. Its supply watcher is a hwmon device of its own.
//! - x86 counts how often each core and each package was too hot, in `cpuN/thermal_throttle`.
//! - Everywhere else the kernel itself slows the cores: a cooling device that acts on the clock and is above level 0.

use std::path::Path;

use crate::file;

/// What slows the machine down, or did so since it was started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Throttling {
    /// What a Raspberry Pi's firmware says.
    pub firmware: Option<FirmwareFlags>,
    /// Whether the supply of a Raspberry Pi is too low now.
    pub under_voltage: Option<bool>,
    /// How often an x86 core or package was too hot since the start: only a difference says something.
    pub hot_events: Option<u64>,
    /// The cooling devices: fans, and limits of clocks.
    pub cooling: Vec<Cooling>,
}

/// What a Raspberry Pi's firmware says of its supply and clock.
///
/// Bits 0 to 3 hold now: under-voltage, clock capped, throttled, soft temperature limit. Bits 16 to 19 say that the same has been
/// so since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FirmwareFlags(pub u32);

/// One cooling device of the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cooling {
    /// Its `type`: `cpufreq-cpu0`, `pwm-fan`, `Processor` ...
    pub kind: String,
    /// How hard it cools now; 0 is not at all.
    pub level: u64,
    /// The hardest.
    pub most: u64,
}

impl Throttling {
    /// Whether something holds the cores down now.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.under_voltage == Some(true)
            || self.firmware.is_some_and(FirmwareFlags::now)
            || self.cooling.iter().any(Cooling::slows)
    }

    /// Whether something held the cores down between `before` and this state, at the latest now.
    #[must_use]
    pub fn began_since(&self, before: &Self) -> bool {
        let new_bits = match (self.firmware, before.firmware) {
            (Some(now), Some(then)) => now.0 & !then.0 != 0,
            _ => false,
        };
        let hotter = match (self.hot_events, before.hot_events) {
            (Some(now), Some(then)) => now > then,
            _ => false,
        };
        self.is_active() || new_bits || hotter
    }
}

impl FirmwareFlags {
    const NAMES: [&str; 4] = [
        "under-voltage",
        "clock capped",
        "throttled",
        "soft temperature limit",
    ];

    /// Reads `50005`, `0x50005` or `throttled=0x50005`: the kernel's file, or what `vcgencmd get_throttled` prints.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix("throttled=").unwrap_or(text);
        let digits = text.strip_prefix("0x").unwrap_or(text);
        // `from_str_radix` would take a sign.
        if !digits.bytes().all(|c| c.is_ascii_hexdigit()) {
            return None;
        }
        u32::from_str_radix(digits, 16).ok().map(Self)
    }

    /// Whether the firmware holds the board down now.
    #[must_use]
    pub fn now(self) -> bool {
        self.0 & 0xf != 0
    }

    /// Whether it has done so since the start.
    #[must_use]
    pub fn ever(self) -> bool {
        self.0 & 0xf_000f != 0
    }

    /// What holds now, in words.
    pub fn names_now(self) -> impl Iterator<Item = &'static str> {
        Self::names(self.0)
    }

    /// What has been so since the start, in words.
    pub fn names_ever(self) -> impl Iterator<Item = &'static str> {
        Self::names(self.0 >> 16)
    }

    fn names(bits: u32) -> impl Iterator<Item = &'static str> {
        let set = Self::NAMES.into_iter().enumerate();
        set.filter(move |(bit, _)| bits >> bit & 1 == 1)
            .map(|(_, name)| name)
    }
}

impl Cooling {
    /// Whether it cools by holding a core's clock down, and does so now. A fan that turns slows nothing.
    #[must_use]
    pub fn slows(&self) -> bool {
        let acts_on_cores = ["cpufreq", "cpuidle", "Processor", "powerclamp"];
        self.level > 0 && acts_on_cores.iter().any(|name| self.kind.contains(name))
    }
}

/// Reads all of it below `root`.
pub(super) fn read(root: &Path) -> Throttling {
    Throttling {
        firmware: firmware(root),
        under_voltage: under_voltage(root),
        hot_events: hot_events(root),
        cooling: cooling(root),
    }
}

/// `get_throttled` of the firmware device, which is called `soc:firmware`, or `soc@107c000000:firmware` and the like, and may lie
/// in the folder of the chip.
fn firmware(root: &Path) -> Option<FirmwareFlags> {
    let platform = root.join("sys/devices/platform");
    let of_soc = |path: &Path| file::name(path).starts_with("soc");
    let top: Vec<_> = file::entries(&platform)
        .into_iter()
        .filter(|path| of_soc(path))
        .collect();
    let inside: Vec<_> = top.iter().flat_map(|soc| file::entries(soc)).collect();
    top.iter()
        .chain(&inside)
        .filter(|path| file::name(path).ends_with(":firmware"))
        .find_map(|path| FirmwareFlags::parse(&file::text(&path.join("get_throttled"))?))
}

/// `in0_lcrit_alarm` of the hwmon device `rpi_volt`.
fn under_voltage(root: &Path) -> Option<bool> {
    let devices = file::numbered(&root.join("sys/class/hwmon"), "hwmon");
    let is_it = |path: &Path| file::text(&path.join("name")).as_deref() == Some("rpi_volt");
    let (_, device) = devices.iter().find(|(_, path)| is_it(path))?;
    Some(file::integer(&device.join("in0_lcrit_alarm"))? != 0)
}

/// The events of all cores and of the package. Each core shows the count of its package, so the largest stands for them.
fn hot_events(root: &Path) -> Option<u64> {
    let cpus = file::numbered(&root.join("sys/devices/system/cpu"), "cpu");
    let counts = |name: &str| -> Vec<u64> {
        cpus.iter()
            .filter_map(|(_, cpu)| file::integer(&cpu.join("thermal_throttle").join(name)))
            .filter_map(|count| u64::try_from(count).ok())
            .collect()
    };
    let (cores, packages) = (
        counts("core_throttle_count"),
        counts("package_throttle_count"),
    );
    let package = packages.iter().max().copied();
    if cores.is_empty() && package.is_none() {
        return None;
    }
    Some(
        cores
            .iter()
            .fold(package.unwrap_or(0), |sum, n| sum.saturating_add(*n)),
    )
}

fn cooling(root: &Path) -> Vec<Cooling> {
    let devices = file::numbered(&root.join("sys/class/thermal"), "cooling_device");
    let device = |path: &Path| {
        // A device that is off may say -1.
        let level = file::integer(&path.join("cur_state"))?.max(0);
        Some(Cooling {
            kind: file::text(&path.join("type"))?,
            level: u64::try_from(level).ok()?,
            most: u64::try_from(file::integer(&path.join("max_state"))?).ok()?,
        })
    };
    devices
        .iter()
        .filter_map(|(_, path)| device(path))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bits_of_the_firmware_have_names() {
        for text in ["50005", "0x50005", "throttled=0x50005\n"] {
            let flags = FirmwareFlags::parse(text).expect(text);
            assert_eq!(flags, FirmwareFlags(0x50005));
            let now: Vec<_> = flags.names_now().collect();
            assert_eq!(now, ["under-voltage", "throttled"]);
            assert!(flags.names_ever().eq(now));
        }
        let past = FirmwareFlags(0xa0000);
        assert!(!past.now() && past.ever());
        let names: Vec<_> = past.names_ever().collect();
        assert_eq!(names, ["clock capped", "soft temperature limit"]);
        assert_eq!(past.names_now().count(), 0);
        for nonsense in [
            "",
            "0x",
            "throttled=",
            "-1",
            "+5",
            "0x123456789",
            "VCHI initialization failed",
        ] {
            assert_eq!(FirmwareFlags::parse(nonsense), None, "{nonsense:?}");
        }
    }
}
