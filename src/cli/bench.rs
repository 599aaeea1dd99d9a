//! `wattle bench`: how fast a model runs, as llama-bench measures and tells it, and how near that is to the machine's limit.
//!
//! Flags, tests, table and the names of fields are llama-bench's (`wattle::bench` says what a test runs,
//! `wattle::meter::record` which fields there are). Decoding is also held against the rate at which the same threads read
//! memory, before and after each test. A row is written when its test is done, so that Ctrl-C leaves what was measured.
//!
//! With a sensor of power there are watts and tokens per joule beside the speed (`wattle::meter::energy` says what they are), from the
//! same repetitions.
//!
//! `--against` measures another llama-bench at the same. Every repetition of ours is followed by one of theirs for each `-fa`,
//! each with its warm-up: whatever else the machine does then hits all of them. Ratios are of medians, against the better `-fa`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use wattle::Result;
use wattle::meter::export::{Columns, Format, Report};

use super::energy::{PowerArgs, say_why};
use super::interrupt::Interrupt;
use super::model::Cache;
use super::{say, written};

mod list;
mod measure;
mod plan;
mod plot;
mod rival;
mod subject;

use list::{Numbers, Pair};
use measure::Bencher;
use plan::Plan;

/// The flags of `wattle bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Model file (GGUF); may be given more than once [default: the small one in the box]
    #[arg(short, long, value_name = "FILE")]
    model: Vec<PathBuf>,
    /// Tokens of a prompt; a list (128,512) or a range (64-256+64, 1-16*2), as all N here; 0 = no such test [default: 512]
    #[arg(short = 'p', long, value_name = "N")]
    n_prompt: Vec<Numbers>,
    /// Tokens generated [default: 128]
    #[arg(short = 'n', long, value_name = "N")]
    n_gen: Vec<Numbers>,
    /// A prompt and tokens generated after it, timed together [-pg]
    #[arg(long = "pg", value_name = "PP,TG")]
    pg: Vec<Pair>,
    /// Tokens that the context holds before, not timed [default: 0]
    #[arg(short = 'd', long, value_name = "N")]
    n_depth: Vec<Numbers>,
    /// Tokens of a prompt after which logits are computed [default: 2048]
    #[arg(short, long, value_name = "N")]
    batch_size: Vec<Numbers>,
    /// Most tokens that go through the model at once [-ub] [default: 512]
    #[arg(long, value_name = "N")]
    ubatch_size: Vec<Numbers>,
    /// Threads [default: the big cores that this process may use]
    #[arg(short, long, value_name = "N")]
    threads: Vec<Numbers>,
    /// Numbers of the cache [-ctk]
    #[arg(
        long,
        aliases = ["cache-type-k", "cache-type-v"],
        overrides_with = "cache_type",
        value_name = "TYPE",
        value_enum,
        default_value_t = Cache::F16
    )]
    cache_type: Cache,
    /// Repetitions of each test
    #[arg(short, long, value_name = "N", default_value_t = 5)]
    repetitions: usize,
    /// Format of the report
    #[arg(short, long, value_name = "FORMAT", default_value = "md", value_parser = format())]
    output: Format,
    /// Begin each test without a warm-up
    #[arg(long)]
    no_warmup: bool,
    /// Use the weights as they lie in the file
    #[arg(long)]
    no_repack: bool,
    /// Multiply long prompts with coarser scales on ARM with dot products
    #[arg(long)]
    coarse: bool,
    /// Keep packed weights in files in DIR, as large as the model, for a faster start next time; safe to delete at any time
    #[arg(long, value_name = "DIR")]
    pack_cache: Option<PathBuf>,
    /// Say on standard error what is being done
    #[arg(long)]
    progress: bool,
    /// Measure the power at rest for SECONDS (at least 10) before the first test of each model, for figures net of it
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "10",
          value_parser = idle_seconds, help_heading = "Power")]
    idle: Option<f64>,
    /// Draw speed and energy by depth, and power and temperature over time
    #[arg(long, value_name = "FILE.svg", help_heading = "Power")]
    plot: Option<PathBuf>,
    #[command(flatten)]
    power: PowerArgs,
    /// A llama-bench to run in turn with ours, on the same file; needs -m
    #[arg(long, value_name = "PROGRAM")]
    against: Option<PathBuf>,
    /// More arguments for it, with spaces between; with -fa among them, ours does not try both
    #[arg(
        long,
        value_name = "ARGS",
        requires = "against",
        allow_hyphen_values = true
    )]
    against_args: Option<String>,
}

/// Runs the subcommand.
pub(crate) fn run(args: &Args, out: &mut dyn Write) -> Result<ExitCode> {
    let plan = Plan::new(args)?;
    let interrupt = Interrupt::install_for_work()?;
    let chosen = args.power.choose()?;
    say_why("bench", &chosen);
    // Before this thread keeps to some of its cores.
    let meter = chosen.start()?;
    if let Some(meter) = &meter {
        meter.ready();
    }
    let columns = Columns {
        energy: meter.is_some(),
        net: meter.is_some() && args.idle.is_some(),
        ..plan.columns()
    };
    let mut bencher = Bencher {
        plan: &plan,
        report: Report::new(args.output, columns),
        out,
        answering: interrupt.answering(),
        meter: meter.as_ref(),
        idle: None,
        records: Vec::new(),
    };
    let done = bencher.all();
    // What was measured before a failure is still told.
    let Bencher {
        report,
        out,
        records,
        ..
    } = bencher;
    written(report.end(out))?;
    if let Some(trouble) = meter.as_ref().and_then(|meter| meter.sampler().trouble()) {
        say(format_args!("wattle bench: the power sensor: {trouble}"));
    }
    if let Some(path) = &args.plot {
        plot::write(path, &records, meter.as_ref())?;
    }
    Ok(match done? {
        true => ExitCode::SUCCESS,
        false => interrupt.exit_code(),
    })
}

/// `--idle`: below ten seconds a baseline is not one.
fn idle_seconds(text: &str) -> core::result::Result<f64, String> {
    let seconds = text
        .parse()
        .ok()
        .filter(|seconds| (10.0..=3600.0).contains(seconds));
    seconds.ok_or_else(|| "expected 10 to 3600 seconds".into())
}

/// `-o`, by the names of the formats.
fn format() -> impl TypedValueParser<Value = Format> {
    let names = PossibleValuesParser::new(Format::ALL.iter().map(|format| format.name()));
    names.map(|name| {
        let mut all = Format::ALL.iter().copied();
        all.find(|format| format.name() == name)
            .unwrap_or(Format::Md)
    })
}
