//! `wattle doctor`: whether this machine computes right, what holds it back, and which models run on it how fast.
//!
//! It looks at the machine's files, runs every kernel of every instruction set that the CPU has against the plain reference, and measures memory
//! and storage, which takes some seconds. It needs no root; where root would help, it says what for. Exit code 1 when a kernel computes wrong.
//!
//! **JSON** (`--json`). One object; fields are added over time, never renamed or removed; `null` is what is not known or was not
//! measured.
//!
//! | field | content |
//! |---|---|
//! | `board` | as `wattle boards --this --json` |
//! | `host` | `null` for a machine of its own, else why speed or power are not its own |
//! | `isa` | `{used, tiers: [{name, here, kernels, wrong}]}`; `wrong` lists `{kernel, layout, worst}`, errors as shares of the bound |
//! | `memory` | `{total_bytes, available_bytes, page_bytes, huge_pages, huge_page_bytes, read_gbps, threads}` |
//! | `storage` | `{file, bytes, seconds, gbps, direct}`; without `direct` the page cache may have had a part |
//! | `state` | `{governors: [{cores, governor, cap_khz, most_khz}], throttled, firmware, temperatures: [{name, temp_c, limit_c}]}` |
//! | `sensors` | `[{name, source, scope, method, ready, why}]` |
//! | `models` | `[{name, parameters, type, weight_gb, need_gb, fits, read_gb_per_token, tok_s}]`; `tok_s` is the roofline, not a measurement |
//! | `advice` | sentences |

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};
use wattle::meter::read_gbps;
use wattle::meter::storage::{self, Storage};
use wattle::pool::Pool;
use wattle::{Result, load, os};
use wattle_boards::sensor::{Found, Site, survey};
use wattle_boards::{Host, Pages, State};
use wattle_kernels::{Isa, check};

use super::boards::This;
use super::{progress, written};

mod advice;
mod models;
mod text;

/// Arguments of `wattle doctor`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Measure how fast this file is read [default: a temporary one of 64 MiB in the working folder]
    #[arg(short, long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Measure nothing: look only
    #[arg(long, conflicts_with = "model")]
    no_measure: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// All that was found.
#[derive(Debug)]
struct Findings {
    this: This,
    host: Host,
    used: Isa,
    tiers: Vec<Tier>,
    pages: Pages,
    /// 10^9 bytes a second, and how many threads read.
    memory: Option<(f64, usize)>,
    storage: Option<(PathBuf, std::result::Result<Storage, String>)>,
    state: State,
    sensors: Vec<Found>,
}

/// An instruction set, and the results of its kernels where the CPU has it.
#[derive(Debug)]
struct Tier {
    name: &'static str,
    checks: Option<Vec<check::Check>>,
}

impl Tier {
    /// Those that compute wrong.
    fn wrong(&self) -> impl Iterator<Item = &check::Check> {
        let checks = self.checks.iter().flatten();
        checks.filter(|check| !check.passed())
    }
}

/// Looks, measures and reports.
///
/// # Errors
///
/// A broken profile or instruction set that the user named; no memory to measure with; `out` cannot be written.
pub(crate) fn run(args: &Args, out: &mut dyn Write) -> Result<ExitCode> {
    let findings = find(args)?;
    let report = match args.json {
        true => format!("{:#}\n", json(&findings)),
        false => text::render(&findings),
    };
    written(out.write_all(report.as_bytes()))?;
    let wrong = findings
        .tiers
        .iter()
        .any(|tier| tier.wrong().next().is_some());
    Ok(match wrong {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

fn find(args: &Args) -> Result<Findings> {
    let used = load::choose_isa(None)?;
    let this = This::here()?;
    let shown = progress::Spinner::new("checking the kernels".into());
    let tiers = Isa::names()
        .map(|name| Tier {
            name,
            checks: Isa::named(name).map(check::all),
        })
        .collect();
    let mut memory = None;
    let mut storage = None;
    if !args.no_measure {
        shown.say("reading memory".into());
        let pool = Pool::new(None)?;
        memory = Some((read_gbps(&pool, used)?, pool.threads()));
        shown.say("reading storage".into());
        storage = Some(read_storage(args));
    }
    Ok(Findings {
        this,
        host: Host::here(),
        used,
        tiers,
        pages: Pages::here(),
        memory,
        storage,
        // After the work: that is when a machine is throttled.
        state: State::here(),
        sensors: survey(&Site::here(os::ask_firmware)),
    })
}

/// The file that was given, or one of its own. That it cannot be read is a finding, not the end.
fn read_storage(args: &Args) -> (PathBuf, std::result::Result<Storage, String>) {
    let (path, read) = match &args.model {
        Some(path) => (path.clone(), storage::read_file(path)),
        None => {
            let folder = PathBuf::from(".");
            let read = storage::read_own(&folder);
            (folder, read)
        }
    };
    (path, read.map_err(|fault| fault.to_string()))
}

fn json(found: &Findings) -> Value {
    let tiers: Vec<Value> = found
        .tiers
        .iter()
        .map(|tier| {
            let wrong: Vec<Value> = tier
                .wrong()
                .map(|c| json!({"kernel": c.kernel, "layout": c.layout, "worst": c.worst}))
                .collect();
            json!({
                "name": tier.name,
                "here": tier.checks.is_some(),
                "kernels": tier.checks.as_ref().map(Vec::len),
                "wrong": wrong,
            })
        })
        .collect();
    let storage = found.storage.as_ref().and_then(|(file, read)| {
        let read = read.as_ref().ok()?;
        Some(json!({
            "file": file.to_string_lossy(),
            "bytes": read.bytes,
            "seconds": read.time.as_secs_f64(),
            "gbps": read.gbps(),
            "direct": read.direct,
        }))
    });
    let governors: Vec<Value> = text::governors(&found.state)
        .into_iter()
        .map(|(cores, clock)| {
            json!({
                "cores": cores,
                "governor": clock.governor,
                "cap_khz": clock.cap_khz,
                "most_khz": clock.most_khz,
            })
        })
        .collect();
    let temperatures: Vec<Value> = found
        .state
        .temperatures
        .iter()
        .map(|t| json!({"name": t.name, "temp_c": t.temp_c, "limit_c": t.limit_c}))
        .collect();
    let sensors: Vec<Value> = found
        .sensors
        .iter()
        .map(|sensor| {
            json!({
                "name": sensor.facts.name,
                "source": sensor.facts.source,
                "scope": sensor.facts.scope.name(),
                "method": sensor.facts.method.name(),
                "ready": sensor.access.is_ok(),
                "why": sensor.access.as_ref().err().map(ToString::to_string),
            })
        })
        .collect();
    let models: Vec<Value> = models::fitting(found.this.machine.total_bytes, found.memory)
        .iter()
        .map(models::Fitting::json)
        .collect();
    json!({
        "board": found.this.json(),
        "host": text::host(&found.host),
        "isa": {"used": found.used.name(), "tiers": tiers},
        "memory": {
            "total_bytes": found.this.machine.total_bytes,
            "available_bytes": found.this.machine.available_bytes,
            "page_bytes": found.pages.bytes,
            "huge_pages": found.pages.huge,
            "huge_page_bytes": found.pages.huge_bytes,
            "read_gbps": found.memory.map(|(gbps, _)| gbps),
            "threads": found.memory.map(|(_, threads)| threads),
        },
        "storage": storage,
        "state": {
            "governors": governors,
            "throttled": found.state.throttling.is_active(),
            "firmware": found.state.throttling.firmware.map(|flags| flags.0),
            "temperatures": temperatures,
        },
        "sensors": sensors,
        "models": models,
        "advice": advice::all(found),
    })
}
