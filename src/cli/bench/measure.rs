//! The tests of `wattle bench`, one after the other: memory, warm-up, repetitions (in turn with the other program), memory, record.

use std::io::Write;
use std::path::Path;
use std::time::SystemTime;

use wattle::bench::Bench;
use wattle::generate::{Session, SessionOptions};
use wattle::load::LoadOptions;
use wattle::meter::energy::{Idle, Meter, Timing};
use wattle::meter::export::Report;
use wattle::meter::record::{Origin, Setup, Subject, Test};
use wattle::meter::{Against, Record, Roofline, Samples, Way, read_gbps, rfc3339};
use wattle::{Model, Result, demo, os};

use super::super::interrupt::Answering;
use super::super::model::load;
use super::super::{progress, say, written};
use super::plan::Plan;
use super::rival::Rival;
use super::subject;

/// Goes through the tests.
pub(super) struct Bencher<'a> {
    pub(super) plan: &'a Plan<'a>,
    pub(super) report: Report,
    pub(super) out: &'a mut dyn Write,
    pub(super) answering: Answering<'a>,
    /// What measures power, if anything does.
    pub(super) meter: Option<&'a Meter>,
    /// The power at rest with the present model, if asked for.
    pub(super) idle: Option<Idle>,
    /// What was reported, for a plot.
    pub(super) records: Vec<Record>,
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
    pub(super) fn all(&mut self) -> Result<bool> {
        let plan = self.plan;
        let mut number = 0;
        for &path in &plan.models {
            let name = path.unwrap_or(Path::new(demo::NAME));
            os::confine(&plan.cores);
            let options = LoadOptions {
                no_repack: plan.args.no_repack,
                coarse: plan.args.coarse,
                pack_cache: plan.args.pack_cache.clone(),
                ..LoadOptions::default()
            };
            let mut model = load(path, &options)?;
            let origin = subject::origin(&model);
            let subject = subject::subject(name, &model)?;
            self.idle = self.at_rest();
            for asked in &plan.setups {
                os::confine(&plan.cores);
                model.set_threads(asked.threads)?;
                model.pool().confine_caller();
                let common = Common {
                    name,
                    model: &model,
                    origin: &origin,
                    subject: &subject,
                    setup: Setup {
                        batch: asked.batch,
                        ubatch: asked.ubatch,
                        threads: model.pool().threads(),
                        cache: plan.cache().name(),
                    },
                };
                for &test in &plan.tests {
                    number += 1;
                    let shown = Shown::new(plan.args.progress, number, plan.count(), test);
                    let record = self.one(&common, test, &shown)?;
                    drop(shown);
                    if let Some(record) = record {
                        written(self.report.record(record.clone(), self.out))?;
                        self.records.push(record);
                    }
                    if self.answering.is_over() {
                        return Ok(false);
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
        let mut timings: Vec<Timing> = Vec::new();
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
            bench.prepare(test.depth, &mut go_on)?;
            self.mark();
            let Some(timing) = bench.repetition(test, &mut go_on)? else {
                break;
            };
            self.mark();
            let time = timing.end.duration_since(timing.begin);
            samples.push(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
            timings.push(timing);
            if let (Some(rival), Some(against)) = (&self.plan.rival, &mut against) {
                for way in &mut against.ways {
                    let fa = way.flash_attn;
                    let flag = fa.map_or_else(String::new, |fa| format!(" with -fa {fa}"));
                    shown.say(&format!(
                        "theirs{flag}, {repetition} of {}",
                        args.repetitions
                    ));
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
        let energy = self.meter.map(|meter| meter.energy(&timings, self.idle));
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
            energy: energy.transpose()?,
            against,
        }))
    }

    /// An edge of what is timed.
    fn mark(&self) {
        if let Some(meter) = self.meter {
            meter.mark();
        }
    }

    /// The power at rest, with the model in memory, if asked for.
    fn at_rest(&self) -> Option<Idle> {
        let (meter, seconds) = (self.meter?, self.plan.args.idle?);
        let shown = progress::Spinner::still(self.plan.args.progress);
        shown.say(format!("power at rest, {seconds:.0} s"));
        let idle = meter.idle(seconds, &mut || self.answering.go_on());
        drop(shown);
        if idle.is_none() && !self.answering.is_over() {
            say(format_args!(
                "wattle bench: the sensor did not tell the power at rest: no net figures"
            ));
        }
        idle
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
