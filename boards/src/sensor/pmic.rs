//! The power chip of a Raspberry Pi 5, 500, 500+ or CM5, read by the firmware.
//!
//! The firmware answers `pmic_read_adc` with a line for each reading:
//!
//! ```text
//!  VDD_CORE_A current(7)=2.50000000A
//!  VDD_CORE_V volt(15)=0.88000000V
//! ```
//!
//! Twelve rails have both a current and a voltage; they are paired by name, for their numbers differ. What is fed from 5 V directly (USB, disks,
//! fan) is on none of them, and the input has a voltage only. So the sum of the rails is less than the board draws:
//!
//! ```text
//! W_board = 1.1451 * sum + 0.5879
//! ```
//!
//! which jfikar/RPi5-power fitted to a USB-C meter on one board in 2024. It is an estimate, and called one (`board_est`);
//! `pmic=SLOPE,OFFSET` puts another in its place, and `pmic=raw` gives the sum alone (`board_rails`).
//!
//! The mailbox of the firmware is asked by a system call, ten times a second: starting `vcgencmd`, which asks the same, fifty
//! times a second slowed a model six times in one report. `vcgencmd` is used once a second where the mailbox does not open.

use core::time::Duration;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{
    Amount, Ask, Facts, Fault, Found, Kind, Method, Reading, Scope, Sensor, Site, shut, watts,
};
use crate::file;

pub(super) const KIND: Kind = Kind {
    name: "pmic",
    arg: "raw or SLOPE,OFFSET",
    about: "power chip that its firmware reads (Raspberry Pi 5, 500, CM5)",
    local: true,
    find,
};

const COMMAND: &str = "pmic_read_adc";
/// The device for commands of newer kernels, and the mailbox itself.
const DEVICES: [&str; 2] = ["dev/vcio_gencmd", "dev/vcio"];
pub(super) const FIX: &str = "sudo usermod -aG video $USER, then log in again; where the device belongs to root alone, also \
    echo 'KERNEL==\"vcio*\", GROUP=\"video\", MODE=\"0660\"' | sudo tee /etc/udev/rules.d/60-wattle.rules && \
    sudo udevadm control --reload && sudo udevadm trigger";

/// Watts of the board from watts of the rails.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Line {
    slope: f64,
    offset_w: f64,
}

const PUBLISHED: Line = Line {
    slope: 1.1451,
    offset_w: 0.5879,
};

/// Who asks the firmware.
#[derive(Debug)]
enum Way {
    Mailbox(File, Ask),
    Program,
}

#[derive(Debug)]
struct Pmic {
    facts: Facts,
    way: Way,
    /// `None` for the rails alone.
    line: Option<Line>,
}

fn find(site: &Site, arg: Option<&str>) -> Result<Vec<Found>, Fault> {
    let line = match arg {
        None => Some(PUBLISHED),
        Some("raw") => None,
        Some(numbers) => Some(parse_line(numbers)?),
    };
    // A NUL ends each name of the chip and the board.
    let compatible = file::text(&site.root.join("sys/firmware/devicetree/base/compatible"));
    let names = compatible.unwrap_or_default();
    if !names.split('\0').any(|name| name == "brcm,bcm2712") {
        return Ok(Vec::new());
    }
    let facts = |how: &str, period_ms: u64| Facts {
        name: KIND.name,
        source: match line {
            None => format!("PMIC by {how}, rails"),
            Some(Line { slope, offset_w }) => {
                format!("PMIC by {how}, {slope} * rails + {offset_w} W (estimate)")
            }
        },
        scope: match line {
            Some(_) => Scope::BoardEst,
            None => Scope::BoardRails,
        },
        method: Method::Integrated,
        resolution: None,
        period: Duration::from_millis(period_ms),
        external: false,
    };
    let mut refused = Fault::Absent(format!(
        "neither /{} nor /{} is there",
        DEVICES[0], DEVICES[1]
    ));
    for device in DEVICES {
        match open(&site.root.join(device)) {
            Ok(file) => {
                let mut sensor = Pmic {
                    facts: facts(&format!("/{device}"), 100),
                    way: Way::Mailbox(file, site.mailbox),
                    line,
                };
                match sensor.read() {
                    Ok(_) => return Ok(vec![Found::ready(sensor)]),
                    Err(fault) => refused = fault,
                }
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                refused = Fault::Denied {
                    file: format!("/{device}"),
                    fix: shut::fix(site, &site.root.join(device), FIX),
                };
            }
            Err(_) => {}
        }
    }
    let mut sensor = Pmic {
        facts: facts("vcgencmd", 1000),
        way: Way::Program,
        line,
    };
    Ok(vec![match sensor.read() {
        Ok(_) => Found::ready(sensor),
        // What keeps the mailbox shut is what can be mended.
        Err(_) => Found {
            facts: facts("/dev/vcio", 100),
            access: Err(refused),
        },
    }])
}

fn open(device: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).open(device)
}

/// `SLOPE,OFFSET`
fn parse_line(text: &str) -> Result<Line, Fault> {
    let numbers = text.split_once(',').and_then(|(slope, offset)| {
        let line = Line {
            slope: slope.trim().parse().ok()?,
            offset_w: offset.trim().parse().ok()?,
        };
        let sane = line.slope.is_finite() && line.slope > 0.0 && line.offset_w.is_finite();
        sane.then_some(line)
    });
    numbers.ok_or_else(|| {
        Fault::Usage(format!(
            "pmic={text}: expected raw, or SLOPE,OFFSET such as {},{}: watts of the board = SLOPE * watts of the rails + OFFSET",
            PUBLISHED.slope, PUBLISHED.offset_w
        ))
    })
}

impl Sensor for Pmic {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn read(&mut self) -> Result<Reading, Fault> {
        let text = match &self.way {
            Way::Mailbox(file, ask) => ask(file, COMMAND).map_err(|error| {
                Fault::Silent(format!("the firmware did not answer {COMMAND}: {error}"))
            })?,
            Way::Program => program()?,
        };
        let rails_w = rails_w(&text)?;
        let w = self
            .line
            .map_or(rails_w, |line| line.slope * rails_w + line.offset_w);
        let amount: Amount = watts(w)?;
        Ok(amount.into())
    }
}

/// The same answer by the program that Raspberry Pi OS has for it.
fn program() -> Result<String, Fault> {
    let output = Command::new("vcgencmd")
        .arg(COMMAND)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Fault::Silent(format!("vcgencmd: {error}")))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(Fault::Silent(format!(
            "vcgencmd {COMMAND}: {}",
            output.status
        ))),
    }
}

/// Watts of all rails that have both a current and a voltage.
fn rails_w(text: &str) -> Result<f64, Fault> {
    let mut amperes: Vec<(&str, f64)> = Vec::new();
    let mut volts: Vec<(&str, f64)> = Vec::new();
    for line in text.lines() {
        let Some((name, value)) = reading(line) else {
            continue;
        };
        match (name.strip_suffix("_A"), name.strip_suffix("_V")) {
            (Some(rail), _) => amperes.push((rail, value)),
            (_, Some(rail)) => volts.push((rail, value)),
            _ => {}
        }
    }
    let (mut sum, mut pairs) = (0.0, 0);
    for (rail, a) in &amperes {
        if let Some((_, v)) = volts.iter().find(|(name, _)| name == rail) {
            sum += a * v;
            pairs += 1;
        }
    }
    match pairs {
        0 => {
            let start: String = text.trim().chars().take(60).collect();
            Err(Fault::Nonsense(format!(
                "{COMMAND} answered {start:?}, no rail with current and voltage"
            )))
        }
        _ => Ok(sum),
    }
}

/// ` VDD_CORE_A current(7)=2.50000000A`: name and number.
fn reading(line: &str) -> Option<(&str, f64)> {
    let (name, rest) = line.trim().split_once(' ')?;
    let (kind, value) = rest.trim_start().split_once('=')?;
    let number = if kind.starts_with("current(") {
        value.trim().strip_suffix('A')?
    } else if kind.starts_with("volt(") {
        value.trim().strip_suffix('V')?
    } else {
        return None;
    };
    let number: f64 = number.parse().ok()?;
    number.is_finite().then_some((name, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The shape of a real answer, with values of our own: the order of the voltages is another, two voltages have no current.
    const ANSWER: &str = "   3V3_SYS_A current(1)=0.10000000A\n  VDD_CORE_A current(7)=2.50000000A\n      HDMI_A current(22)=0.02000000A\n      HDMI_V volt(23)=5.00000000V\n   3V3_SYS_V volt(9)=3.30000000V\n  VDD_CORE_V volt(15)=0.80000000V\n    EXT5V_V volt(24)=5.10000000V\n     BATT_V volt(25)=3.00000000V\n";

    #[test]
    fn rails_are_paired_by_name() {
        let w = rails_w(ANSWER).expect("rails");
        assert!((w - (0.33 + 2.0 + 0.1)).abs() < 1e-12, "{w}");
    }

    #[test]
    fn an_answer_without_rails_is_nonsense() {
        for text in [
            "",
            "error=1 error_msg=\"Command not registered\"",
            " VDD_CORE_A current(7)=2.5A\n",
            " VDD_CORE_A current(7)=nanA\n VDD_CORE_V volt(15)=0.8V\n",
            " VDD_CORE_A current(7)=2.5V\n VDD_CORE_V volt(15)=0.8V\n",
        ] {
            assert!(matches!(rails_w(text), Err(Fault::Nonsense(_))), "{text:?}");
        }
    }

    #[test]
    fn lines_of_ones_own() {
        let line = parse_line("1.2, -0.3").expect("two numbers");
        assert_eq!((line.slope, line.offset_w), (1.2, -0.3));
        for text in ["", "1.2", "a,b", "0,1", "nan,0", "-1,0", "1,inf"] {
            assert!(matches!(parse_line(text), Err(Fault::Usage(_))), "{text:?}");
        }
    }
}
