//! `wattle synth SHAPE OUT [TYPE]`: a file of random weights in the shape of a real model, to measure speed without a download.
//!
//! **JSON** (`--json`). One object on standard output; fields are added over time, never renamed or removed. Of a new file:
//!
//! | field | content |
//! |---|---|
//! | `output`, `shape`, `model`, `type`, `layers`, `seed` | what was written, and as what |
//! | `tensors`, `parameters`, `active_parameters` | in the file; of these, what decoding one token reads (as `inspect` counts) |
//! | `bytes` | of the tensors |
//! | `seconds`, `threads` | of the work |
//!
//! Of the list: `{type, shapes}` with `[{shape, model, layers, parameters, active_parameters, bytes}]`.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use serde_json::{Value, json};
use wattle::pool::Pool;
use wattle::quantize::Mix;
use wattle::synth::{Options, Plan, Progress, Shape};
use wattle::{Error, Result};

use super::inspect::parameters_of_a_token;
use super::interrupt::Interrupt;
use super::{progress, say, written};

/// Arguments of `wattle synth`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Without SHAPE, the shapes are listed. The weights are random: they measure speed, and say nothing."
)]
pub(crate) struct Args {
    /// The shape, one of the list
    #[arg(requires = "out")]
    shape: Option<String>,
    /// The new file
    out: Option<PathBuf>,
    /// The type, or mix of types, as `wattle quantize` has them
    #[arg(value_name = "TYPE", default_value = "Q4_0")]
    ty: String,
    /// Print the shapes and their sizes, as without SHAPE
    #[arg(long, conflicts_with_all = ["shape", "layers", "seed", "force", "threads"])]
    list: bool,
    /// Write so many layers [default: those of the model; of v3-few and v32-few 2]
    #[arg(long, value_name = "N")]
    layers: Option<u32>,
    /// The weights follow from it
    #[arg(short, long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Replace a file that exists
    #[arg(short, long)]
    force: bool,
    /// Threads [default: the big cores that this process may use]
    #[arg(short, long, value_name = "N")]
    threads: Option<usize>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Args {
    fn options(&self) -> Result<Options> {
        let mix = Mix::named(&self.ty).ok_or_else(|| {
            let names: Vec<_> = Mix::all().iter().map(|mix| mix.name).collect();
            unknown("TYPE", &self.ty, &names)
        })?;
        Ok(Options {
            layers: self.layers,
            seed: self.seed,
            replace: self.force,
            ..Options::new(mix)
        })
    }
}

fn unknown(name: &'static str, value: &str, known: &[&str]) -> Error {
    Error::Argument {
        name,
        value: value.to_owned(),
        expected: format!("one of {}", known.join(", ")),
    }
}

/// Writes the file, or lists the shapes.
///
/// # Errors
///
/// Flags that cannot be used; a file that exists or cannot be written; `out` cannot be written.
pub(crate) fn run(args: &Args, out: &mut dyn Write) -> Result<ExitCode> {
    let options = args.options()?;
    let (Some(name), Some(path)) = (&args.shape, &args.out) else {
        return list(&options, args.json, out).map(|()| ExitCode::SUCCESS);
    };
    let shape = Shape::named(name).ok_or_else(|| {
        let names: Vec<_> = Shape::all().iter().map(|shape| shape.name).collect();
        unknown("SHAPE", name, &names)
    })?;
    let plan = Plan::new(shape, &options)?;
    let interrupt = Interrupt::install_for_work()?;
    let pool = Pool::new(args.threads)?;
    let started = Instant::now();
    let bar = progress::Bytes::new(plan.bytes());
    let answering = interrupt.answering();
    let done = plan.write(path, &pool, &mut |at: Progress<'_>| {
        bar.at(at.done_bytes, at.tensor);
        answering.go_on()
    })?;
    drop(bar);
    if done.is_break() {
        return Ok(interrupt.exit_code());
    }
    let seconds = started.elapsed().as_secs_f64();
    if args.json {
        let mut report = of(&plan);
        report["output"] = json!(path.to_string_lossy());
        report["type"] = json!(options.mix.name);
        report["seed"] = json!(options.seed);
        report["seconds"] = json!(seconds);
        report["threads"] = json!(pool.threads());
        return written(writeln!(out, "{report}")).map(|()| ExitCode::SUCCESS);
    }
    say(format_args!(
        "wattle: {}: {} in {}, {} tensors, {} weights, {}B, in {seconds:.1} s",
        path.display(),
        shape.name,
        options.mix.name,
        plan.model().tensors().len(),
        Giga(parameters(&plan)),
        Giga(plan.bytes()),
    ));
    Ok(ExitCode::SUCCESS)
}

/// Prints every shape.
fn list(options: &Options, as_json: bool, out: &mut dyn Write) -> Result<()> {
    let plans = Shape::all().iter().map(|shape| Plan::new(shape, options));
    let plans = plans.collect::<Result<Vec<_>>>()?;
    if as_json {
        let shapes: Vec<Value> = plans.iter().map(of).collect();
        let report = json!({"type": options.mix.name, "shapes": shapes});
        return written(writeln!(out, "{report}"));
    }
    written(table(&plans, options.mix, out))
}

fn table(plans: &[Plan], mix: &Mix, out: &mut dyn Write) -> io::Result<()> {
    let heads = ["SHAPE", "LAYERS", "PARAMETERS", "ACTIVE", mix.name, "MODEL"];
    let [shape, layers, all, part, size, model] = heads;
    writeln!(
        out,
        "{shape:12}{layers:>6}{all:>12}{part:>9}{size:>10}  {model}"
    )?;
    for plan in plans {
        let shape = plan.shape();
        let [all, part, size] =
            [parameters(plan), active(plan), plan.bytes()].map(|n| Giga(n).to_string());
        writeln!(
            out,
            "{:12}{:>6}{all:>12}{part:>9}{:>10}  {}",
            shape.name,
            plan.layers(),
            size + "B",
            shape.model
        )?;
    }
    Ok(())
}

/// What both reports say of a file.
fn of(plan: &Plan) -> Value {
    json!({
        "shape": plan.shape().name,
        "model": plan.shape().model,
        "layers": plan.layers(),
        "tensors": plan.model().tensors().len(),
        "parameters": parameters(plan),
        "active_parameters": active(plan),
        "bytes": plan.bytes(),
    })
}

fn parameters(plan: &Plan) -> u64 {
    let tensors = plan.model().tensors().iter();
    tensors.map(|tensor| tensor.elements()).sum()
}

fn active(plan: &Plan) -> u64 {
    parameters_of_a_token(plan.model())
}

/// A number in thousand millions, or in millions when it is smaller.
struct Giga(u64);

impl core::fmt::Display for Giga {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let millions = self.0 as f64 / 1e6;
        match millions < 999.5 {
            true => write!(f, "{millions:.1} M"),
            false => write!(f, "{:.1} G", millions / 1e3),
        }
    }
}
