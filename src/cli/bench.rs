//! `wattle bench`: how fast a model runs, as llama-bench measures and tells it, and how near that is to the machine's limit.
//!
//! Flags, tests, table and the names of fields are llama-bench's (`wattle::bench` says what a test runs,
//! `wattle::meter::record` which fields there are). Decoding is also held against the rate at which the same threads read
//! memory, before and after each test. A row is written when its test is done, so that Ctrl-C leaves what was measured.
//!
//! `--against` measures another llama-bench at the same. Every repetition of ours is followed by one of theirs for each `-fa`,
//! each with its warm-up: whatever else the machine does then hits all of them. Ratios are of medians, against the better `-fa`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use wattle::bench::Bench;
use wattle::generate::{Session, SessionOptions};
use wattle::meter::export::{Columns, Format, Report};
use wattle::meter::record::{Origin, Setup, Subject, Test};
use wattle::meter::{Against, Record, Roofline, Samples, Way, read_gbps, rfc3339};
use wattle::model::CacheType;
use wattle::{Error, Model, Result, demo, os};
use wattle_boards::Topology;

use super::interrupt::{Answering, Interrupt};
use super::model::{Cache, load};
use super::{progress, say, written};

mod list;
mod rival;
mod subject;

use list::{Numbers, Pair};
use rival::Rival;

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

/// What the flags ask for, checked.
struct Plan<'a> {
    args: &'a Args,
    models: Vec<Option<&'a Path>>,
    batches: Vec<usize>,
    ubatches: Vec<usize>,
    threads: Vec<Option<usize>>,
    tests: Vec<Test>,
    rival: Option<Rival>,
    /// The cores of this process, before it keeps to some of them.
    cores: Vec<usize>,
}

impl<'a> Plan<'a> {
    fn new(args: &'a Args) -> Result<Self> {
        let machine = Topology::here();
        let cores: Vec<usize> = machine.cores().iter().map(|core| core.id).collect();
        if args.repetitions == 0 {
            return Err(at_least_one("-r"));
        }
        if args.against.is_some() && args.model.is_empty() {
            return Err(Error::Argument {
                name: "--against",
                value: "without -m".into(),
                expected: "a model FILE that both programs can read".into(),
            });
        }
        let words = args.against_args.as_deref().unwrap_or("");
        let rival = args.against.as_ref().map(|program| Rival {
            program: program.clone(),
            args: words.split_whitespace().map(String::from).collect(),
            cores: cores.clone(),
        });
        let threads = positive("-t", &args.threads, None)?;
        Ok(Self {
            models: match args.model.as_slice() {
                [] => vec![None],
                models => models.iter().map(|path| Some(path.as_path())).collect(),
            },
            batches: positive("-b", &args.batch_size, Some(BATCH))?,
            ubatches: positive("-ub", &args.ubatch_size, Some(UBATCH))?,
            threads: match threads.as_slice() {
                [] => vec![None],
                threads => threads.iter().copied().map(Some).collect(),
            },
            tests: tests(args)?,
            args,
            rival,
            cores,
        })
    }

    fn columns(&self) -> Columns {
        Columns {
            batch: self.batches != [BATCH],
            ubatch: self.ubatches != [UBATCH],
            cache: self.cache() != CacheType::F16,
            against: self.rival.is_some(),
        }
    }

    fn cache(&self) -> CacheType {
        self.args.cache_type.into()
    }
}

/// What llama-bench takes where the flags do not say.
const BATCH: usize = 2048;
const UBATCH: usize = 512;

/// The tests in llama-bench's order; at every depth prompts, then decodings, then both.
fn tests(args: &Args) -> Result<Vec<Test>> {
    let prompts = numbers(&args.n_prompt, Some(512));
    let generated = numbers(&args.n_gen, Some(128));
    let alone = prompts.iter().map(|&n| (n, 0));
    let alone = alone.chain(generated.iter().map(|&n| (0, n)));
    let pairs: Vec<(usize, usize)> = alone
        .chain(
            args.pg
                .iter()
                .map(|&Pair(prompt, generated)| (prompt, generated)),
        )
        .filter(|&pair| pair != (0, 0))
        .collect();
    if pairs.is_empty() {
        return Err(Error::Argument {
            name: "-p, -n and -pg",
            value: "0".into(),
            expected: "a number of tokens above 0 in one of them, or there is no test".into(),
        });
    }
    let depths = numbers(&args.n_depth, Some(0));
    let at = |&depth: &usize| {
        let test = move |&(prompt, generated): &(usize, usize)| Test {
            prompt,
            generated,
            depth,
        };
        pairs.iter().map(test).collect::<Vec<_>>()
    };
    Ok(depths.iter().flat_map(at).collect())
}

/// The numbers of a flag, all its uses together.
fn numbers(lists: &[Numbers], default: Option<usize>) -> Vec<usize> {
    let given: Vec<usize> = lists
        .iter()
        .flat_map(|list| list.0.iter().copied())
        .collect();
    match given.is_empty() {
        true => default.into_iter().collect(),
        false => given,
    }
}

/// The same, of a flag for which 0 means nothing.
fn positive(name: &'static str, lists: &[Numbers], default: Option<usize>) -> Result<Vec<usize>> {
    let numbers = numbers(lists, default);
    match numbers.contains(&0) {
        true => Err(at_least_one(name)),
        false => Ok(numbers),
    }
}

fn at_least_one(name: &'static str) -> Error {
    Error::Argument {
        name,
        value: "0".into(),
        expected: "at least 1".into(),
    }
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

/// Goes through the tests.
struct Bencher<'a> {
    plan: &'a Plan<'a>,
    report: Report,
    out: &'a mut dyn Write,
    answering: Answering<'a>,
}

/// What the tests of one setup have in common.
struct Common<'a> {
    name: &'a Path,
    model: &'a Model,
    origin: &'a Origin,
    subject: &'a Subject,
    setup: Setup,
}

impl Bencher<'_> {
    /// All tests. Returns whether it was not stopped.
    fn all(&mut self) -> Result<bool> {
        let plan = self.plan;
        let setups = plan.models.len() * plan.batches.len() * plan.ubatches.len();
        let total = setups * plan.threads.len() * plan.tests.len();
        let mut number = 0;
        for &path in &plan.models {
            let name = path.unwrap_or(Path::new(demo::NAME));
            os::confine(&plan.cores);
            let mut model = load(path, plan.threads[0])?;
            let origin = subject::origin(&model);
            let subject = subject::subject(name, &model)?;
            for &batch in &plan.batches {
                for &ubatch in &plan.ubatches {
                    for &threads in &plan.threads {
                        os::confine(&plan.cores);
                        model.set_threads(threads)?;
                        model.pool().confine_caller();
                        let common = Common {
                            name,
                            model: &model,
                            origin: &origin,
                            subject: &subject,
                            setup: Setup {
                                batch,
                                ubatch: ubatch.min(batch),
                                threads: model.pool().threads(),
                                cache: match plan.cache() {
                                    CacheType::F16 => "f16",
                                    CacheType::F32 => "f32",
                                },
                            },
                        };
                        for &test in &plan.tests {
                            number += 1;
                            let shown = Shown::new(plan.args.progress, number, total, test);
                            let record = self.one(&common, test, &shown)?;
                            drop(shown);
                            if let Some(record) = record {
                                written(self.report.record(record, self.out))?;
                            }
                            if self.answering.is_over() {
                                return Ok(false);
                            }
                        }
                    }
                }
            }
        }
        Ok(true)
    }

    /// One test; `None` when it was stopped before its first repetition was done.
    fn one(&self, common: &Common<'_>, test: Test, shown: &Shown) -> Result<Option<Record>> {
        let Common { model, setup, .. } = *common;
        let (transformer, args) = (model.transformer(), self.plan.args);
        let cache_type = self.plan.cache();
        let row = transformer.cache_row_bytes(cache_type);
        let bytes_per_token = test.bytes_per_token(transformer.bytes_per_token(), row);
        let memory = || match bytes_per_token {
            Some(_) => read_gbps(model.pool(), transformer.isa()).map(Some),
            None => Ok(None),
        };
        let options = SessionOptions {
            ctx: Some(test.context()),
            batch: setup.ubatch,
            cache_type,
        };
        shown.say("reading memory");
        let before = memory()?;
        let time = rfc3339(SystemTime::now());
        let mut bench = Bench::new(Session::new(model, &options)?, setup.batch);
        let mut samples = Samples::new(test.tokens());
        let mut against = self.plan.rival.as_ref().map(nothing_yet);
        let mut go_on = || self.answering.go_on();
        for repetition in 1..=args.repetitions {
            let again = repetition == 1 || against.is_some();
            if again && !args.no_warmup {
                shown.say("warming up");
                if !bench.warm_up(test, &mut go_on)? {
                    break;
                }
            }
            shown.say(&format!("repetition {repetition} of {}", args.repetitions));
            let Some(time) = bench.repetition(test, &mut go_on)? else {
                break;
            };
            samples.push(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
            if let (Some(rival), Some(against)) = (&self.plan.rival, &mut against) {
                for way in &mut against.ways {
                    shown.say(&format!("theirs, {repetition} of {}", args.repetitions));
                    let fa = way.flash_attn;
                    let warm_up = !args.no_warmup;
                    let answer =
                        rival.repetition(common.name, setup, test, fa, warm_up, &mut go_on)?;
                    let Some(answer) = answer else { break };
                    way.ts.push(answer.ts);
                    against.commit = answer.commit;
                    against.number = answer.number;
                }
            }
        }
        if samples.ns().is_empty() {
            return Ok(None);
        }
        shown.say("reading memory");
        let roofline = before.zip(memory()?);
        Ok(Some(Record {
            origin: common.origin.clone(),
            model: common.subject.clone(),
            setup,
            test,
            time,
            samples,
            bytes_per_token,
            roofline: roofline.map(|(before_gbps, after_gbps)| Roofline {
                before_gbps,
                after_gbps,
            }),
            against,
        }))
    }
}

/// The other program before its first repetition.
fn nothing_yet(rival: &Rival) -> Against {
    let way = |&flash_attn: &Option<u8>| Way {
        flash_attn,
        ts: Vec::new(),
    };
    Against {
        program: rival.program.display().to_string(),
        args: rival.args.join(" "),
        commit: "unknown".into(),
        number: None,
        ways: rival.ways().iter().map(way).collect(),
    }
}

/// What is being done: lines with `--progress`, else one line at a terminal, which nothing moves while time is taken.
struct Shown {
    lines: bool,
    head: String,
    line: progress::Spinner,
}

impl Shown {
    fn new(lines: bool, number: usize, total: usize, test: Test) -> Self {
        let head = format!("test {number} of {total}, {test}");
        Self {
            line: progress::Spinner::still(lines),
            head,
            lines,
        }
    }

    fn say(&self, what: &str) {
        match self.lines {
            true => say(format_args!("wattle bench: {}: {what}", self.head)),
            false => self.line.say(format!("{}: {what}", self.head)),
        }
    }
}
