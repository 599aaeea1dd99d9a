//! `wattle power`: watts, temperature, clocks and throttling of this machine, live or once.
//!
//! At a terminal one line is renewed every second until Ctrl-C; elsewhere a line is printed every second. `--every` sets another time,
//! over which the power is averaged; `--once` ends after the first. `--list` says which sensors there are and what opens those that
//! are shut.

use core::fmt::Write as _;
use core::time::Duration;
use std::io::{IsTerminal, Write, stdout};
use std::process::ExitCode;
use std::thread;
use std::time::{Instant, SystemTime};

use serde_json::{Value, json};
use wattle::Result;
use wattle::meter::energy::{Cost, Meter, Window};
use wattle::meter::rfc3339;
use wattle_boards::sensor::{self, Found, KINDS};
use wattle_boards::{Clock, Host, State};

use super::energy::{PowerArgs, site};
use super::interrupt::Interrupt;
use super::written;

/// The flags of `wattle power`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    power: PowerArgs,
    /// Measure once, print, and end
    #[arg(long)]
    once: bool,
    /// Seconds that a line tells of
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    every: Duration,
    /// One object a line in place of text
    #[arg(long)]
    json: bool,
    /// Say which sensors this machine has, and what opens those that are shut
    #[arg(long, conflicts_with = "once")]
    list: bool,
}

/// How long a first reading may take: programs and plugs are slow.
const FIRST: Duration = Duration::from_secs(3);

/// `--every`: no sensor is read more often than ten times a second, and readings are kept for some hours.
fn seconds(text: &str) -> core::result::Result<Duration, String> {
    let seconds = text.parse().ok();
    let seconds = seconds.filter(|seconds| (1.0..=3600.0).contains(seconds));
    let seconds = seconds.ok_or("expected 1 to 3600 seconds")?;
    Ok(Duration::from_secs_f64(seconds))
}

/// Runs the subcommand.
pub(crate) fn run(args: &Args, out: &mut dyn Write) -> Result<ExitCode> {
    if args.list {
        return list(args.json, out);
    }
    let chosen = args.power.choose()?;
    let why = chosen.why.clone();
    let meter = chosen.start()?;
    let interrupt = Interrupt::install_for_work()?;
    let answering = interrupt.answering();
    let moves = !args.json && !args.once && stdout().is_terminal();
    let mut from = Instant::now();
    while !answering.is_over() {
        let (window, to) = look(meter.as_ref(), from, args.every, || answering.is_over());
        let moment = Moment {
            why: why.as_deref(),
            state: State::here(),
            trouble: meter.as_ref().and_then(|meter| meter.sampler().trouble()),
            meter: meter.as_ref(),
            window,
        };
        from = to;
        let line = match args.json {
            true => moment.json().to_string(),
            false => moment.text(),
        };
        let written_line = match moves {
            // Back to the begin of the line, and what was there before is gone.
            true => write!(out, "\r\x1b[K{line}"),
            false => writeln!(out, "{line}"),
        };
        written(written_line.and_then(|()| out.flush()))?;
        if args.once {
            return Ok(ExitCode::SUCCESS);
        }
    }
    if moves {
        written(writeln!(out))?;
    }
    Ok(interrupt.exit_code())
}

/// Waits for `every`, or longer for the first reading. The energy since `from`, and until when.
fn look(
    meter: Option<&Meter>,
    from: Instant,
    every: Duration,
    is_over: impl Fn() -> bool,
) -> (Option<Window>, Instant) {
    let begin = Instant::now();
    loop {
        thread::sleep(Duration::from_millis(50));
        let enough = begin.elapsed() >= every;
        let told = meter.is_none_or(|meter| {
            meter.sampler().watts().is_some() || meter.sampler().trouble().is_some()
        });
        if is_over() || (enough && told) || begin.elapsed() >= FIRST.max(every) {
            break;
        }
    }
    let to = Instant::now();
    (meter.and_then(|meter| meter.sampler().window(from, to)), to)
}

/// What is shown.
struct Moment<'a> {
    why: Option<&'a str>,
    state: State,
    meter: Option<&'a Meter>,
    trouble: Option<String>,
    window: Option<Window>,
}

impl Moment<'_> {
    /// Mean power of the last `--every`, or the newest reading of a slow sensor; none while the sensor is in trouble.
    fn watts(&self) -> Option<f64> {
        let newest = self.meter.filter(|_| self.trouble.is_none());
        let newest = newest.and_then(|meter| meter.sampler().watts());
        self.window.and_then(|window| window.mean_w()).or(newest)
    }

    fn clock(&self) -> Option<(u64, u64)> {
        let now = self.state.clocks.iter().filter_map(|clock| clock.now_khz);
        let (least, most) = (now.clone().min()?, now.max()?);
        Some((least, most))
    }

    fn governor(&self) -> Option<String> {
        let mut names: Vec<&str> = self.state.clocks.iter().filter_map(governor).collect();
        names.sort_unstable();
        names.dedup();
        (!names.is_empty()).then(|| names.join(","))
    }

    /// What holds the cores down now, in words.
    fn throttling(&self) -> Vec<String> {
        let throttling = &self.state.throttling;
        let firmware = throttling.firmware.into_iter();
        let mut words: Vec<String> = firmware
            .flat_map(|bits| bits.names_now())
            .map(String::from)
            .collect();
        if throttling.under_voltage == Some(true)
            && words.iter().all(|word| word != "under-voltage")
        {
            words.push("under-voltage".into());
        }
        let slowed = throttling.cooling.iter().filter(|cooling| cooling.slows());
        words.extend(
            slowed.map(|cooling| format!("{} {}/{}", cooling.kind, cooling.level, cooling.most)),
        );
        words
    }

    /// `  6.31 W board_est   61.2 C   2400 MHz ondemand   not throttled`
    fn text(&self) -> String {
        let mut text = match (self.watts(), self.meter) {
            (Some(w), Some(meter)) => format!("{w:6.2} W {}", meter.source().scope),
            (_, Some(meter)) => format!("     - W {}", meter.source().scope),
            (_, None) => "     - W".into(),
        };
        match self.state.hottest_c() {
            Some(c) => _ = write!(text, "   {c:.1} °C"),
            None => text += "   - °C",
        }
        match self.clock() {
            Some((least, most)) if least == most => _ = write!(text, "   {} MHz", most / 1000),
            Some((least, most)) => _ = write!(text, "   {} to {} MHz", least / 1000, most / 1000),
            None => text += "   - MHz",
        }
        if let Some(governor) = self.governor() {
            _ = write!(text, " {governor}");
        }
        match self.throttling() {
            words if words.is_empty() => text += "   not throttled",
            words => _ = write!(text, "   throttled: {}", words.join(", ")),
        }
        if let Some(trouble) = self.trouble.as_deref().or(self.why) {
            _ = write!(text, "   ({trouble})");
        }
        text
    }

    fn json(&self) -> Value {
        let facts = self.meter.map(Meter::source);
        let cost = self.meter.map(|meter| meter.sampler().cost());
        let clocks: Vec<Value> = self
            .state
            .clocks
            .iter()
            .map(|clock| {
                json!({
                    "core": clock.core, "now_khz": clock.now_khz, "cap_khz": clock.cap_khz,
                    "most_khz": clock.most_khz, "governor": clock.governor,
                })
            })
            .collect();
        let temperatures = self.state.temperatures.iter();
        let temperatures: Vec<Value> = temperatures
            .map(|one| json!({ "name": one.name, "temp_c": one.temp_c, "limit_c": one.limit_c }))
            .collect();
        json!({
            "time": rfc3339(SystemTime::now()),
            "watts": self.watts(),
            "scope": facts.map(|facts| facts.scope.name()),
            "method": facts.map(|facts| facts.method.name()),
            "source": facts.map(|facts| facts.name.as_str()),
            "sensor_read_s": cost.map(|Cost { read_s, .. }| read_s),
            "sensor_cpu_share": cost.map(|Cost { cpu_share, .. }| cpu_share),
            "note": self.trouble.as_deref().or(self.why),
            "temp_c": self.state.hottest_c(),
            "temperatures": temperatures,
            "clocks": clocks,
            "throttled": self.state.throttling.is_active(),
            "throttled_by": self.throttling(),
            "throttled_bits": self.state.throttling.firmware.map(|bits| bits.0),
        })
    }
}

fn governor(clock: &Clock) -> Option<&str> {
    clock.governor.as_deref()
}

/// Every sensor of this machine, then every other kind.
fn list(as_json: bool, out: &mut dyn Write) -> Result<ExitCode> {
    let host = match Host::here() {
        Host::Bare => None,
        Host::Virtual(sign) => Some(format!(
            "a virtual machine ({sign}): sensors of its own are not used"
        )),
        Host::Emulated(name) => Some(format!("an emulated CPU ({name}): no figures")),
    };
    let found = sensor::survey(&site());
    if as_json {
        let sensors: Vec<Value> = found.iter().map(as_object).collect();
        let all = json!({ "host": host, "sensors": sensors });
        return written(writeln!(out, "{all}")).map(|()| ExitCode::SUCCESS);
    }
    let mut text = String::new();
    if let Some(host) = host {
        _ = writeln!(text, "This is {host}.\n");
    }
    if found.is_empty() {
        text += "No sensor of this machine's own.\n";
    }
    for Found { facts, access } in &found {
        _ = writeln!(
            text,
            "{:<9} {:<11} {}",
            facts.name, facts.scope, facts.source
        );
        match access {
            Ok(_) => text += "          can be read\n",
            Err(fault) => _ = writeln!(text, "          {fault}"),
        }
    }
    text += "\nWhat --power takes:\n  auto, none\n";
    for kind in KINDS {
        let name = match kind.arg {
            "" => kind.name.to_owned(),
            arg if kind.local => format!("{}[={arg}]", kind.name),
            arg => format!("{}={arg}", kind.name),
        };
        _ = writeln!(text, "  {name:<28} {}", kind.about);
    }
    text += "--power-cmd CMD reads any other meter: a program that prints a line `unix_s watts` for each reading.\n";
    written(out.write_all(text.as_bytes()))?;
    Ok(ExitCode::SUCCESS)
}

fn as_object(found: &Found) -> Value {
    let facts = &found.facts;
    json!({
        "name": facts.name, "scope": facts.scope.name(), "method": facts.method.name(), "source": facts.source,
        "resolution": facts.resolution, "readable": found.access.is_ok(),
        "problem": found.access.as_ref().err().map(ToString::to_string),
    })
}
