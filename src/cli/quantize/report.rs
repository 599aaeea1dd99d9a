//! What `wattle quantize` says: a summary for people, the plan as a table, and all of it as JSON.

use core::time::Duration;
use std::io::{self, Write};

use serde::Serialize;
use serde_json::json;
use wattle::error::counted;
use wattle::gguf::Gguf;
use wattle::quantize::{Done, Mix, Step, Summary};

use crate::cli::say;

/// How many names a note gives before it only counts.
const NAMED: usize = 3;

/// What is known of one run.
#[derive(Debug)]
pub(super) struct Report<'a> {
    model: &'a Gguf,
    mix: &'static Mix,
    steps: &'a [Step],
    pub(super) summary: Summary,
    pub(super) unguided: Vec<&'a str>,
    /// The new files, seconds and threads; `None` while nothing was written.
    done: Option<(Vec<String>, f64, usize)>,
}

#[derive(Debug, Serialize)]
struct JsonType {
    r#type: &'static str,
    tensors: usize,
    parameters: u64,
    bytes: u64,
    error: Option<f64>,
}

#[derive(Debug, Serialize)]
struct JsonStep<'a> {
    name: &'a str,
    shape: &'a [u64],
    from: &'static str,
    to: &'static str,
    unfit: Option<&'static str>,
}

impl<'a> Report<'a> {
    pub(super) fn new(model: &'a Gguf, mix: &'static Mix, steps: &'a [Step]) -> Self {
        Self {
            model,
            mix,
            steps,
            summary: Summary::of(model, steps, &[]),
            unguided: Vec::new(),
            done: None,
        }
    }

    /// Adds what only the conversion tells.
    pub(super) fn finish(&mut self, done: Done, elapsed: Duration, threads: usize) {
        self.summary = Summary::of(self.model, self.steps, &done.losses);
        let files = done.files.iter().map(|file| file.display().to_string());
        self.done = Some((files.collect(), elapsed.as_secs_f64(), threads));
    }

    /// One line a tensor: name, shape, old type, new type.
    pub(super) fn table(&self, out: &mut dyn Write) -> io::Result<()> {
        for (tensor, step) in self.model.tensors().iter().zip(self.steps) {
            let shape = tensor.shape().iter().map(u64::to_string);
            let shape = shape.collect::<Vec<_>>().join(" x ");
            write!(out, "{:<40} {shape:>20}  {:<5}", step.name, step.from)?;
            match (step.to == step.from, step.unfit) {
                (true, None) => writeln!(out)?,
                (_, None) => writeln!(out, " -> {}", step.to)?,
                (_, Some(unfit)) => writeln!(out, " -> {} (no whole blocks of {unfit})", step.to)?,
            }
        }
        Ok(())
    }

    /// The summary and notes, on standard error.
    pub(super) fn say(&self) {
        let summary = &self.summary;
        for one in &summary.types {
            let loss = one.loss.relative();
            let loss = loss.map_or_else(String::new, |loss| format!(", relative error {loss:.2e}"));
            say(format_args!(
                "{:>8}  {}, {:.2} MB{loss}",
                one.ty.name(),
                counted(one.tensors, "tensor"),
                mb(one.bytes)
            ));
        }
        let unfit = self.steps.iter().filter(|step| step.unfit.is_some());
        note(
            "rows are no whole blocks of the wanted type",
            unfit.map(|step| step.name.as_str()),
        );
        let unguided = self.unguided.iter().copied();
        note("not known to the importance matrix", unguided);
        let bits = summary.bits_per_weight().unwrap_or_default();
        let sizes = format!(
            "{}: {:.2} MB -> {:.2} MB, {bits:.2} bits a weight",
            self.mix.name,
            mb(summary.bytes_in),
            mb(summary.bytes_out)
        );
        match &self.done {
            None => say(format_args!("{sizes}; nothing written (--dry-run)")),
            Some((files, seconds, threads)) => say(format_args!(
                "{sizes}, in {seconds:.2} s with {}: {}",
                counted(*threads, "thread"),
                files.join(", ")
            )),
        }
    }

    /// All of it.
    pub(super) fn json(&self, out: &mut dyn Write) -> io::Result<()> {
        let summary = &self.summary;
        let types = summary.types.iter().map(|one| JsonType {
            r#type: one.ty.name(),
            tensors: one.tensors,
            parameters: one.weights,
            bytes: one.bytes,
            error: one.loss.relative(),
        });
        let plan = self.model.tensors().iter().zip(self.steps);
        let plan = plan.map(|(tensor, step)| JsonStep {
            name: &step.name,
            shape: tensor.shape(),
            from: step.from.name(),
            to: step.to.name(),
            unfit: step.unfit.map(|ty| ty.name()),
        });
        let (files, seconds, threads) = match &self.done {
            Some((files, seconds, threads)) => (files.as_slice(), Some(seconds), Some(threads)),
            None => (&[][..], None, None),
        };
        let object = json!({
            "file": self.model.path().display().to_string(),
            "output": files,
            "type": self.mix.name,
            "tensors": self.steps.len(),
            "parameters": summary.weights,
            "bytes_in": summary.bytes_in,
            "bytes_out": summary.bytes_out,
            "bits_per_weight": summary.bits_per_weight(),
            "seconds": seconds,
            "threads": threads,
            "types": types.collect::<Vec<_>>(),
            "plan": plan.collect::<Vec<_>>(),
            "unguided": self.unguided,
        });
        serde_json::to_writer(&mut *out, &object)?;
        writeln!(out)
    }
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// A note on some tensors, if there are any.
fn note<'a>(why: &str, names: impl Iterator<Item = &'a str>) {
    let names: Vec<_> = names.collect();
    if names.is_empty() {
        return;
    }
    let more = names.len().saturating_sub(NAMED);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    let named = names[..names.len().min(NAMED)].join(", ");
    say(format_args!(
        "wattle: note: {}: {why}: {named}{more}",
        counted(names.len(), "tensor")
    ));
}
