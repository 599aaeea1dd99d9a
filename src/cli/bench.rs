//! `wattle bench`: how fast a model runs, as llama-bench measures and tells it, and how near that is to the machine's limit.
//!
//! Flags, tests, table and the names of fields are llama-bench's (`wattle::bench` says what a test runs,
//! `wattle::meter::record` which fields there are). Decoding is also held against the rate at which the same threads read
//! memory, before and after each test. A row is written when its test is done, so that Ctrl-C leaves what was measured.
//!
//! `--against` measures another llama-bench at the same. Every repetition of ours is followed by one of theirs for each `-fa`,
//! each with its warm-up: whatever else the machine does then hits all of them. Ratios are of medians, against the better `-fa`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use wattle::Result;
use wattle::meter::export::{Format, Report};

use super::interrupt::Interrupt;
use super::model::Cache;
use super::written;

mod list;
mod measure;
mod plan;
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
    #[arg(long, alias = "cache-type-k", value_name = "TYPE", value_enum, default_value_t = Cache::F16)]
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
    /// Multiply long prompts with a scale for every 32 weights too, as single tokens
    #[arg(long)]
    exact: bool,
    /// Keep packed weights in files in DIR, as large as the model, for a faster start next time; safe to delete at any time
    #[arg(long, value_name = "DIR")]
    pack_cache: Option<PathBuf>,
    /// Say on standard error what is being done
    #[arg(long)]
    progress: bool,
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
    let mut bencher = Bencher {
        plan: &plan,
        report: Report::new(args.output, plan.columns()),
        out,
        answering: interrupt.answering(),
    };
    let done = bencher.all();
    // What was measured before a failure is still told.
    let Bencher { report, out, .. } = bencher;
    written(report.end(out))?;
    Ok(match done? {
        true => ExitCode::SUCCESS,
        false => interrupt.exit_code(),
    })
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
