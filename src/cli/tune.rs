//! `wattle tune -m FILE`: which threads, cores and clocks decode a model fastest, and which on the fewest joules.
//!
//! It decodes some tokens in each way, in turn, several times over, so that whatever else the machine does hits all of them; the median
//! counts. Decoding waits for memory, so that fewer or slower cores may be as fast and draw less. Energy is told only where a sensor of
//! this machine can be read, with its scope; a virtual machine has none.
//!
//! `--clocks` also caps the cores' clocks, where this user may (`scaling_max_freq`). The caps are put back at the end, also after Ctrl-C
//! or a failure; only a process that is killed leaves them, and says beforehand how to undo that.
//!
//! **JSON** (`--json`). One object; fields are added over time, never renamed or removed; `null` is what was not measured.
//!
//! | field | content |
//! |---|---|
//! | `model`, `board`, `tokens`, `repetitions` | what was measured, on what |
//! | `sensor` | `{name, source, scope, method}` |
//! | `points` | `[{cores, threads, cap_khz, tok_s, samples_tok_s, mean_w, tok_j, short_window, pareto}]` |
//! | `choice` | index of the point that is chosen |
//! | `saved` | the file it was written to |

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;
use serde_json::{Value, json};
use wattle::load::LoadOptions;
use wattle::meter::energy::Sampler;
use wattle::meter::pareto;
use wattle::{Error, Result, demo, os};
use wattle_boards::sensor::{Site, survey};
use wattle_boards::{Board, Caps, Host, Topology, list_name};

use super::boards::broken;
use super::choice::Choice;
use super::interrupt::Interrupt;
use super::model::load;
use super::table::Side::{Left, Right};
use super::table::table;
use super::{say, written};

mod measure;
mod ways;

use measure::Measured;

/// Arguments of `wattle tune`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Model file (GGUF)
    #[cfg_attr(feature = "demo", doc = "[default: the small one in the box]")]
    #[arg(short, long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Tokens to decode in each repetition
    #[arg(short = 'n', long, value_name = "N", default_value_t = 32)]
    n_gen: usize,
    /// Repetitions of each way
    #[arg(short, long, value_name = "N", default_value_t = 3)]
    repetitions: usize,
    /// Also cap the cores' clocks, where this user may; they are put back at the end
    #[arg(long)]
    clocks: bool,
    /// Which way to choose
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = Prefer::Speed)]
    prefer: Prefer,
    /// Keep the choice for this board: `wattle run` follows it where no -t is given
    #[arg(long)]
    save: bool,
    /// Use the weights as they lie in the file
    #[arg(long)]
    no_repack: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What makes a way the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Prefer {
    /// The most tokens a second
    Speed,
    /// The most tokens a joule
    Energy,
}

/// Measures, reports, and saves the choice if that was asked for.
///
/// # Errors
///
/// Values out of range; clocks that may not be set; a model that does not load; `--prefer energy` without a sensor; `out` or the
/// choice cannot be written.
pub(crate) fn run(args: &Args, out: &mut dyn Write) -> Result<ExitCode> {
    for (name, value) in [("-n", args.n_gen), ("-r", args.repetitions)] {
        if value == 0 {
            return Err(Error::Argument {
                name,
                value: "0".into(),
                expected: "at least 1".into(),
            });
        }
    }
    let board = Board::here().map_err(broken)?.key();
    let topology = Topology::here();
    let sampler = sampler(&topology)?;
    if args.prefer == Prefer::Energy && sampler.is_none() {
        return Err(Error::Argument {
            name: "--prefer",
            value: "energy".into(),
            expected:
                "speed, for no power sensor of this machine can be read; `wattle doctor` says why"
                    .into(),
        });
    }
    let caps = args.clocks.then(permitted_caps).transpose()?;
    let interrupt = Interrupt::install_for_restoring()?;
    let options = LoadOptions {
        no_repack: args.no_repack,
        ..LoadOptions::default()
    };
    let mut model = load(args.model.as_deref(), &options)?;
    let ways = ways::all(&topology, args.clocks);
    let answering = interrupt.answering();
    let measured = measure::all(
        &mut model,
        &ways,
        (args.n_gen, args.repetitions),
        sampler.as_ref(),
        caps.as_ref(),
        &mut || answering.go_on(),
    );
    // Clocks and cores are as they were before anything else can fail.
    drop(caps);
    let all: Vec<usize> = topology.cores().iter().map(|core| core.id).collect();
    os::confine(&all);
    let Some(measured) = measured? else {
        return Ok(interrupt.exit_code());
    };
    let points: Vec<pareto::Point> = measured.iter().map(Measured::point).collect();
    let best = best(&points, args.prefer);
    let name = args.model.as_deref().unwrap_or(Path::new(demo::NAME));
    let scope = sampler.as_ref().map(|sampler| sampler.facts().scope.name());
    let mut saved = None;
    if let (true, Some(chosen)) = (args.save, measured.get(best)) {
        let choice = Choice {
            board: board.clone(),
            model: name.to_string_lossy().into_owned(),
            threads: chosen.way.threads,
            cores: chosen.way.cores.clone(),
            cap_khz: chosen.cap_khz,
            tok_s: points[best].tok_s,
            tok_j: points[best].tok_j,
            scope: scope.map(str::to_owned),
        };
        saved = Some(choice.save()?);
    }
    let set = pareto::set(&points);
    let report = if args.json {
        let rows: Vec<Value> = measured
            .iter()
            .zip(&set)
            .map(|(measured, pareto)| measured.json(*pareto))
            .collect();
        let sensor = sampler.as_ref().map(|sampler| {
            let facts = sampler.facts();
            json!({
                "name": facts.name,
                "source": facts.source,
                "scope": facts.scope.name(),
                "method": facts.method.name(),
            })
        });
        let report = json!({
            "model": name.to_string_lossy(),
            "board": board,
            "tokens": args.n_gen,
            "repetitions": args.repetitions,
            "sensor": sensor,
            "points": rows,
            "choice": best,
            "saved": saved.as_ref().map(|path| path.to_string_lossy()),
        });
        format!("{report:#}\n")
    } else {
        text(&measured, &set, best, scope)
    };
    written(out.write_all(report.as_bytes()))?;
    if let Some(path) = &saved {
        say(format_args!(
            "wattle: the choice is kept in {}; delete it to undo that",
            path.display()
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// The first sensor of this machine that can be read, on the cores that do not decode where there are some.
fn sampler(topology: &Topology) -> Result<Option<Sampler>> {
    if let Host::Virtual(what) | Host::Emulated(what) = Host::here() {
        say(format_args!(
            "wattle: note: no energy is measured, for this is no machine of its own ({what})"
        ));
        return Ok(None);
    }
    let found = survey(&Site::here(os::ask_firmware));
    let Some(sensor) = found.into_iter().find_map(|found| found.access.ok()) else {
        say(format_args!(
            "wattle: note: no power sensor can be read, so that only speed is compared; `wattle doctor` says more"
        ));
        return Ok(None);
    };
    let big: Vec<usize> = topology.big().map(|core| core.id).collect();
    let ids = topology.cores().iter().map(|core| core.id);
    let small: Vec<usize> = ids.filter(|id| !big.contains(id)).collect();
    Sampler::start(sensor, &small).map(Some)
}

/// The clocks as they are, if this user may cap them.
fn permitted_caps() -> Result<Caps> {
    let caps = Caps::here();
    if caps.policies().is_empty() {
        return Err(Error::Machine {
            what: "--clocks: this kernel has no clocks to set; leave it out".into(),
        });
    }
    caps.permitted().map_err(|(file, reason)| Error::Machine {
        what: format!(
            "--clocks: {} may not be written: {reason}; start this with sudo, or leave --clocks out",
            file.display()
        ),
    })?;
    say(format_args!(
        "wattle: note: the cores' clocks are capped while this runs, and put back at its end; should it be killed: {}",
        caps.by_hand()
    ));
    Ok(caps)
}

/// The place of the best point.
fn best(points: &[pareto::Point], prefer: Prefer) -> usize {
    let worth = |point: &pareto::Point| match prefer {
        Prefer::Speed => point.tok_s,
        Prefer::Energy => point.tok_j.unwrap_or(0.0),
    };
    let points = points.iter().enumerate();
    let best = points.max_by(|(_, a), (_, b)| worth(a).total_cmp(&worth(b)));
    best.map_or(0, |(i, _)| i)
}

fn text(measured: &[Measured], set: &[bool], best: usize, scope: Option<&str>) -> String {
    let mut out = String::new();
    let head = [
        "", "cores", "threads", "GHz", "tok/s", "W", "tok/J", "scope",
    ];
    let number = |n: Option<f64>, digits: usize| n.map_or("-".into(), |n| format!("{n:.digits$}"));
    let rows = measured
        .iter()
        .zip(set)
        .enumerate()
        .map(|(i, (m, in_set))| {
            let point = m.point();
            let mark = match (i == best, in_set) {
                (true, _) => "=>",
                (false, true) => "*",
                (false, false) => "",
            };
            [
                mark.to_owned(),
                list_name(&m.way.cores),
                m.way.threads.to_string(),
                m.cap_khz
                    .map_or("-".into(), |khz| format!("{:.2}", khz as f64 / 1e6)),
                format!("{:.2}", point.tok_s),
                number(m.mean_w(), 2),
                number(point.tok_j, 3),
                scope.unwrap_or("-").to_owned(),
            ]
        });
    let sides = [Left, Left, Right, Right, Right, Right, Right, Left];
    // Writing to a string does not fail.
    let _written = table(&mut out, Some(head), rows, sides);
    out.push_str("\n=> is chosen; * is not beaten in both speed and energy\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_choice_follows_the_preference() {
        let points = [(5.0, 0.4), (4.0, 0.5), (5.0, 0.3)].map(|(tok_s, tok_j)| pareto::Point {
            tok_s,
            tok_j: Some(tok_j),
        });
        assert_eq!(best(&points[..2], Prefer::Speed), 0);
        assert_eq!(best(&points, Prefer::Energy), 1);
        assert_eq!(best(&[], Prefer::Speed), 0);
    }
}
