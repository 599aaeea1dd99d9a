//! Which sensor of power is read: `--power` and `--power-cmd`.
//!
//! A figure is only as good as what was measured. In a virtual machine no sensor of the machine's own is read: what it
//! shows, if anything, is not the work done there. An outside meter measures the host, and its figures say so. Where the CPU itself is
//! emulated, no figure is given at all.

use std::cell::RefCell;

use clap::builder::PossibleValuesParser;
use wattle::meter::Speed;
use wattle::meter::energy::{Energy, Meter, Timing};
use wattle::{Error, Result, os};
use wattle_boards::sensor::{self, Command, Found, Scope, Sensor, Site};
use wattle_boards::{Host, Topology};

use super::say;

/// The flags of a sensor.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Power")]
pub(crate) struct PowerArgs {
    /// Sensor to read: auto = the best that this machine has, none, or NAME[=ARG] as `wattle power --list` has them
    #[arg(
        long,
        value_name = "SENSOR",
        default_value = "auto",
        conflicts_with = "power_cmd"
    )]
    power: String,
    /// Program that prints a line `unix_s watts` for each reading of any other meter, run by the shell
    #[arg(long, value_name = "CMD")]
    power_cmd: Option<String>,
    /// What that program's meter measures
    #[arg(long, value_name = "SCOPE", default_value = "dc_input", requires = "power_cmd",
          value_parser = PossibleValuesParser::new(Scope::ALL.map(Scope::name)))]
    power_scope: String,
    /// Relative error of the meter, as its maker states it: 1% or 0.01
    #[arg(long, value_name = "SHARE", value_parser = share)]
    meter_accuracy: Option<f64>,
}

/// What the flags and this machine make of it.
#[derive(Debug)]
pub(crate) struct Chosen {
    /// `None`: nothing is measured.
    pub(crate) sensor: Option<Box<dyn Sensor>>,
    /// Why there is none, when none was asked for.
    pub(crate) why: Option<String>,
    /// Stated error of the meter.
    accuracy: Option<f64>,
    /// The machine is a guest, and the meter stands outside of it.
    virtual_machine: bool,
}

impl PowerArgs {
    /// Opens the sensor.
    ///
    /// # Errors
    /// [`Error::Argument`] when one was asked for that is not there or does not open.
    pub(crate) fn choose(&self) -> Result<Chosen> {
        self.choose_on(&Host::here(), &site())
    }

    fn choose_on(&self, host: &Host, site: &Site) -> Result<Chosen> {
        let mut chosen = Chosen {
            sensor: None,
            why: None,
            accuracy: self.meter_accuracy,
            virtual_machine: matches!(host, Host::Virtual(_)),
        };
        let asked = self.power_cmd.is_some() || !matches!(self.power.as_str(), "auto" | "none");
        if let (Host::Emulated(name), true) = (host, asked) {
            return Err(self.refused(&format!(
                "the CPU is emulated by {name}, so that neither speed nor power are its own"
            )));
        }
        if let Some(line) = &self.power_cmd {
            let scope = Scope::ALL
                .into_iter()
                .find(|scope| scope.name() == self.power_scope);
            let command = Command::start(line, scope.unwrap_or(Scope::DcInput));
            chosen.sensor = Some(Box::new(command.map_err(|fault| self.refused(&fault))?));
            return Ok(chosen);
        }
        match (self.power.as_str(), host) {
            ("none", _) => {}
            ("auto", Host::Emulated(name)) => {
                chosen.why = Some(format!("the CPU is emulated ({name})"))
            }
            ("auto", Host::Virtual(sign)) => {
                chosen.why = Some(format!("this is a virtual machine: {sign}"));
            }
            ("auto", Host::Bare) => match best(sensor::survey(site)) {
                Ok(sensor) => chosen.sensor = Some(sensor),
                Err(why) => chosen.why = Some(why),
            },
            (named, host) => {
                let (name, arg) = match named.split_once('=') {
                    Some((name, arg)) => (name, Some(arg)),
                    None => (named, None),
                };
                let sensor = sensor::open(site, name, arg).map_err(|fault| self.refused(&fault))?;
                if let (Host::Virtual(sign), false) = (host, sensor.facts().external) {
                    return Err(self.refused(&format!(
                        "this is a virtual machine ({sign}), whose own sensors do not measure what is done in it; a meter outside does"
                    )));
                }
                chosen.sensor = Some(sensor);
            }
        }
        Ok(chosen)
    }

    fn refused(&self, why: &dyn core::fmt::Display) -> Error {
        let (name, value) = match &self.power_cmd {
            Some(line) => ("--power-cmd", line),
            None => ("--power", &self.power),
        };
        Error::Argument {
            name,
            value: value.clone(),
            expected: format!(
                "a sensor that answers: {why} (`wattle power --list` shows what there is)"
            ),
        }
    }
}

impl Chosen {
    /// Begins to read the sensor, if there is one.
    pub(crate) fn start(self) -> Result<Option<Meter>> {
        let Some(sensor) = self.sensor else {
            return Ok(None);
        };
        let topology = Topology::here();
        let cores: Vec<usize> = topology.cores().iter().map(|core| core.id).collect();
        Meter::start(sensor, self.accuracy, self.virtual_machine, &cores).map(Some)
    }
}

/// The sensors of this machine.
pub(crate) fn site() -> Site {
    Site::here(os::ask_firmware)
}

/// The first that opens, or why none does.
fn best(found: Vec<Found>) -> core::result::Result<Box<dyn Sensor>, String> {
    let mut shut = Vec::new();
    for Found { facts, access } in found {
        match access {
            Ok(sensor) => return Ok(sensor),
            Err(fault) => shut.push(format!("{}: {fault}", facts.name)),
        }
    }
    Err(match shut.is_empty() {
        true => "this machine has no power sensor; --power-cmd reads any other meter".into(),
        false => shut.join("; "),
    })
}

/// `1%` or `0.01`, below 1.
fn share(text: &str) -> core::result::Result<f64, String> {
    let (number, unit) = match text.strip_suffix('%') {
        Some(number) => (number, 0.01),
        None => (text, 1.0),
    };
    let share = number
        .trim()
        .parse::<f64>()
        .ok()
        .map(|number| number * unit);
    share
        .filter(|share| (0.0..1.0).contains(share))
        .ok_or_else(|| "expected a share from 0 to below 1, such as 1% or 0.01".into())
}

/// The energy of answers, for the closing line of `wattle run`.
#[derive(Debug)]
pub(crate) struct Answers {
    meter: Option<Meter>,
    timings: RefCell<Vec<Timing>>,
}

impl Answers {
    /// Opens what the flags ask for; says a word only when something keeps a sensor shut that is there.
    pub(crate) fn begin(args: &PowerArgs) -> Result<Self> {
        let chosen = args.choose()?;
        Ok(Self {
            meter: chosen.start()?,
            timings: RefCell::default(),
        })
    }

    /// A prompt begins or ends.
    pub(crate) fn mark(&self) {
        if let Some(meter) = &self.meter {
            meter.mark();
        }
    }

    /// An answer was given.
    pub(crate) fn add(&self, timing: Timing) {
        self.timings.borrow_mut().push(timing);
        self.mark();
    }

    /// The end of the closing line: joules of prompts and answers, and what that makes a token. Empty without a sensor.
    pub(crate) fn note(&self, speed: &Speed) -> String {
        let timings = self.timings.borrow();
        let Some(meter) = self.meter.as_ref().filter(|_| !timings.is_empty()) else {
            return String::new();
        };
        match meter.energy(&timings, None) {
            Ok(energy) => note(&energy, speed, meter.sampler().trouble()),
            Err(error) => format!("; power: {error}"),
        }
    }
}

fn note(energy: &Energy, speed: &Speed, trouble: Option<String>) -> String {
    let scope = energy.source.scope;
    let Some(joules) = energy.joules() else {
        let why = trouble.unwrap_or_else(|| "too few readings".into());
        return format!("; power ({scope}): no figure, {why}");
    };
    let mut text = match energy.prompt {
        Some(prompt) => format!("; {:.1} J for the prompt", prompt.window.joules),
        None => format!("; {joules:.1} J"),
    };
    if let Some(answer) = energy.generated.filter(|_| speed.decode.tokens > 0) {
        text += &format!(", {:.1} J for the answer", answer.window.joules);
        if let Some(rate) = answer.tok_per_j() {
            text += &format!(", {rate:.3} tok/J");
        }
    }
    let flags: Vec<&str> = energy.flags.iter().map(|flag| flag.name()).collect();
    let flags = match flags.is_empty() {
        true => String::new(),
        false => format!("; {}", flags.join(" ")),
    };
    format!("{text} ({scope}{flags})")
}

/// Says why there is no figure, when the user has not said that there need be none.
pub(crate) fn say_why(command: &str, chosen: &Chosen) {
    if let Some(why) = &chosen.why {
        say(format_args!("wattle {command}: no W and tok/J: {why}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(power: &str) -> PowerArgs {
        PowerArgs {
            power: power.into(),
            power_cmd: None,
            power_scope: "dc_input".into(),
            meter_accuracy: None,
        }
    }

    fn nowhere() -> Site {
        Site {
            root: "/nowhere".into(),
            ..site()
        }
    }

    #[test]
    fn a_virtual_machine_has_no_sensor_of_its_own() {
        let guest = Host::Virtual("a sign".into());
        let chosen = args("auto").choose_on(&guest, &nowhere()).expect("none");
        assert!(chosen.sensor.is_none());
        assert!(chosen.why.expect("a reason").contains("a sign"));
        let command = PowerArgs {
            power_cmd: Some("echo 1 2".into()),
            ..args("auto")
        };
        let chosen = command
            .choose_on(&guest, &nowhere())
            .expect("outside of it");
        assert!(chosen.sensor.is_some() && chosen.virtual_machine, "flagged");
        let chosen = command.choose_on(&Host::Bare, &nowhere()).expect("a meter");
        assert!(!chosen.virtual_machine);
    }

    #[test]
    fn an_emulated_cpu_has_no_figure() {
        let emulated = Host::Emulated("qemu-aarch64".into());
        let chosen = args("auto").choose_on(&emulated, &nowhere()).expect("none");
        assert!(
            chosen.sensor.is_none() && chosen.why.is_some(),
            "{chosen:?}"
        );
        let command = PowerArgs {
            power_cmd: Some("echo 1 2".into()),
            ..args("auto")
        };
        let told = command
            .choose_on(&emulated, &nowhere())
            .expect_err("no figure");
        assert!(told.to_string().contains("emulated"), "{told}");
    }

    #[test]
    fn what_is_asked_for_and_not_there_is_an_error() {
        for (power, part) in [
            ("rapl", "no energy counter"),
            ("crystal", "no sensor is called"),
            ("rapl=core", "rapl=psys"),
            ("pmic=x", "SLOPE,OFFSET"),
        ] {
            let told = args(power)
                .choose_on(&Host::Bare, &nowhere())
                .expect_err(power);
            assert!(told.to_string().contains(part), "{told}");
        }
        let none = args("none")
            .choose_on(&Host::Bare, &nowhere())
            .expect("none");
        assert!(none.sensor.is_none() && none.why.is_none(), "{none:?}");
    }

    #[test]
    fn shares_are_below_one() {
        assert_eq!(share("1%"), Ok(0.01));
        assert_eq!(share("0.02"), Ok(0.02));
        for text in ["", "100%", "1", "-1%", "nan", "x"] {
            share(text).expect_err(text);
        }
    }
}
