//! What measures the power of this machine: one sensor a file, all of them listed in [`KINDS`].
//!
//! A sensor either counts joules or tells watts, always of a named [`Scope`]: a figure of the package of a CPU and one of a wall plug
//! are different things, and nothing here or above adds or compares them. Files are read below one root, so that a test can give the
//! sensors of any board. A sensor that cannot be opened is found all the same, with the reason and what mends it.
//!
//! Nothing here measures on its own: [`Sensor::read`] is called by whoever has a thread for it, and may take long or for ever.
//!
//! **A new sensor is a file with a `KIND`, a `mod` line, and a line in the list.**

use core::fmt;
use core::time::Duration;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::file;

mod battery;
mod command;
mod counter;
mod fault;
mod home_assistant;
mod http;
mod hwmon;
mod jetson;
mod pmic;
mod rapl;
mod shelly;
mod shut;
mod tasmota;

pub use command::{Command, Ends};
pub use fault::Fault;

/// Every kind of sensor, the one that says most of a board first: `auto` takes the first that answers.
pub const KINDS: &[Kind] = &[
    pmic::KIND,
    jetson::KIND,
    hwmon::KIND,
    rapl::KIND,
    battery::KIND,
    shelly::KIND,
    tasmota::KIND,
    home_assistant::KIND,
];

/// A way of finding sensors.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// What `--power` calls it.
    pub name: &'static str,
    /// What may stand after `NAME=`, for people; empty when nothing.
    pub arg: &'static str,
    /// What it is, in a few words.
    pub about: &'static str,
    /// Whether it is a part of this machine: only such ones are looked for without being named.
    pub local: bool,
    find: fn(&Site, Option<&str>) -> Result<Vec<Found>, Fault>,
}

/// Where sensors are looked for.
#[derive(Clone)]
pub struct Site {
    /// The directory that holds `sys/`, `proc/` and `dev/`.
    pub root: PathBuf,
    /// Asks the firmware of a Raspberry Pi, which takes a system call that this crate does not make.
    pub mailbox: Ask,
    /// The access token of Home Assistant.
    pub token: Option<String>,
}

impl fmt::Debug for Site {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site")
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

/// Sends a line to the firmware behind an open device, and returns what it answers.
pub type Ask = fn(&File, &str) -> io::Result<String>;

impl Site {
    /// This machine; `WATTLE_SYSFS_ROOT` counts as for [`Topology::here`](crate::Topology::here).
    #[must_use]
    pub fn here(mailbox: Ask) -> Self {
        Self {
            root: file::root(),
            mailbox,
            token: std::env::var(home_assistant::TOKEN).ok(),
        }
    }

    /// A path below the root, as the user knows it.
    fn shown(&self, path: &Path) -> String {
        match path.strip_prefix(&self.root) {
            Ok(inside) => format!("/{}", inside.display()),
            Err(_) => path.display().to_string(),
        }
    }
}

/// Something that measures power.
pub trait Sensor: fmt::Debug + Send {
    /// What it is.
    fn facts(&self) -> &Facts;
    /// One reading. May block; a caller that has no time gives it a thread.
    ///
    /// # Errors
    /// When there is no reading this time; the next one may be good again, but for [`Fault::Ended`].
    fn read(&mut self) -> Result<Reading, Fault>;
    /// What ends whatever the sensor started, when it is dropped: also while a reading hangs in another thread.
    fn ends(&self) -> Option<Ends> {
        None
    }
}

/// What a sensor is.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// The name of its kind: `rapl`.
    pub name: &'static str,
    /// Where its numbers come from, for people: `powercap intel-rapl:0 package-0`.
    pub source: String,
    /// What it measures the power of.
    pub scope: Scope,
    /// How energy comes of its readings.
    pub method: Method,
    /// The smallest step of a reading, in joules of a counter and watts otherwise; `None` when nobody says.
    pub resolution: Option<f64>,
    /// How long a reading stays the newest; reading more often tells nothing new, or costs the machine more than it is worth.
    pub period: Duration,
    /// Whether it stands outside of the machine: then what it says is true also of a virtual machine's host, and not of the guest.
    pub external: bool,
}

/// One reading.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// What was read.
    pub amount: Amount,
    /// How long ago that was, where the sensor knows.
    pub age: Duration,
}

/// What a sensor reads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Amount {
    /// Joules since the sensor was opened. Never less than before.
    Joules(f64),
    /// Watts now.
    Watts(f64),
}

impl From<Amount> for Reading {
    /// Read just now.
    fn from(amount: Amount) -> Self {
        Self {
            amount,
            age: Duration::ZERO,
        }
    }
}

/// What a figure is the power of. Figures of different scopes are never added, averaged or compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// The alternating current at the wall, with the loss of the power supply.
    WallAc,
    /// The direct current into the machine.
    DcInput,
    /// The machine, estimated from the rails that its power chip reads.
    BoardEst,
    /// The rails that the machine's power chip reads, and nothing else of the board.
    BoardRails,
    /// The processor's package: no memory chips, storage, board or power supply.
    SocPackage,
    /// What the processor's maker calls the platform.
    Platform,
    /// What leaves the battery.
    Battery,
}

impl Scope {
    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::WallAc => "wall_ac",
            Self::DcInput => "dc_input",
            Self::BoardEst => "board_est",
            Self::BoardRails => "board_rails",
            Self::SocPackage => "soc_package",
            Self::Platform => "platform",
            Self::Battery => "battery",
        }
    }

    /// Every scope.
    pub const ALL: [Self; 7] = [
        Self::WallAc,
        Self::DcInput,
        Self::BoardEst,
        Self::BoardRails,
        Self::SocPackage,
        Self::Platform,
        Self::Battery,
    ];
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How energy comes of readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// The difference of two readings of a counter of energy.
    Counter,
    /// The integral of readings of power over time, by trapezoids.
    Integrated,
}

impl Method {
    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Integrated => "integrated",
        }
    }
}

/// A sensor that is there, whether or not it can be read.
#[derive(Debug)]
pub struct Found {
    /// What it is.
    pub facts: Facts,
    /// The sensor, or why it does not open.
    pub access: Result<Box<dyn Sensor>, Fault>,
}

impl Found {
    fn ready(sensor: impl Sensor + 'static) -> Self {
        Self {
            facts: sensor.facts().clone(),
            access: Ok(Box::new(sensor)),
        }
    }
}

/// Every sensor that is a part of this machine, the one to prefer first.
#[must_use]
pub fn survey(site: &Site) -> Vec<Found> {
    let local = KINDS.iter().filter(|kind| kind.local);
    // A kind that does not know which one is meant has none that could be taken unasked.
    local
        .flat_map(|kind| (kind.find)(site, None).unwrap_or_default())
        .collect()
}

/// The sensor that `NAME[=ARG]` names.
///
/// # Errors
/// When there is no such kind, no such sensor here, or it does not open.
pub fn open(site: &Site, name: &str, arg: Option<&str>) -> Result<Box<dyn Sensor>, Fault> {
    let Some(kind) = KINDS.iter().find(|kind| kind.name == name) else {
        let names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
        return Err(Fault::Usage(format!(
            "no sensor is called {name:?}; expected auto, none or one of {}",
            names.join(", ")
        )));
    };
    let mut refused = None;
    for found in (kind.find)(site, arg)? {
        match found.access {
            Ok(sensor) => return Ok(sensor),
            Err(fault) => refused = refused.or(Some(fault)),
        }
    }
    Err(refused
        .unwrap_or_else(|| Fault::Absent(format!("{name}: this machine has no {}", kind.about))))
}

/// The number of watts in `text`, when it is one that a machine could draw.
fn watts(w: f64) -> Result<Amount, Fault> {
    /// No machine that runs this draws more; a reading above it is a fault.
    const MOST_W: f64 = 100_000.0;
    match w.is_finite() && (0.0..=MOST_W).contains(&w) {
        true => Ok(Amount::Watts(w)),
        false => Err(Fault::Nonsense(format!("{w} W"))),
    }
}
