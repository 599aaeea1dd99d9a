//! `wattle run --samples G`: several answers to one prompt, drawn in one batch, as JSON lines.
//!
//! ```text
//! {"index":0, "seed":7, "end":"token", "text":"...", "tokens":[{"position":12, "id":345, "text":" a", "logprob":-0.25}, ...],
//!  "logprob":-17.5, "reward":1.0, "advantage":0.7}
//! ```
//!
//! Tokens have the fields of `wattle score --json`. The last three are those of learning from groups (GRPO): the log-probability of the
//! answer, the number that `--reward CMD` prints when it reads the text, and how much better than the group that is
//! ([`advantages`]). A command that fails takes nothing from the other samples: its reward and advantage are `null`,
//! `reward_error` has the reason, the group is those that have a reward, and the exit code is 1.

use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

use serde::Serialize;
use wattle::generate::{End, Forward, GenerateOptions, Sample, Session};
use wattle::meter::Speed;
use wattle::meter::energy::Timing;
use wattle::sample::Sampler;
use wattle::score::advantages;
use wattle::{Error, Result};

use super::energy::Answers;
use super::interrupt::Interrupt;
use super::reward::{self, Reward};
use super::token::{JsonToken, Names};
use super::{progress, say, written};

/// The flags of several answers.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Several answers")]
pub(crate) struct SamplesArgs {
    /// Draw G answers to the prompt in one batch, with the seeds SEED, SEED + 1, ..., and print each as a line of JSON
    #[arg(long, value_name = "G")]
    samples: Option<usize>,
    /// Give the text of each answer to CMD, run by the shell, which prints its reward, a number
    #[arg(long, value_name = "CMD", requires = "samples")]
    reward: Option<String>,
}

impl SamplesArgs {
    /// How many answers, if several are asked for.
    ///
    /// # Errors
    /// [`Error::Argument`] for none.
    pub(crate) fn count(&self) -> Result<Option<usize>> {
        match self.samples {
            Some(0) => Err(Error::Argument {
                name: "--samples",
                value: "0".into(),
                expected: "at least 1 answer".into(),
            }),
            count => Ok(count),
        }
    }

    /// Draws the answers to `prompt`, prints them, and tells the speed of all.
    pub(crate) fn draw(
        &self,
        session: &mut Session<'_>,
        prompt: &[u32],
        samplers: Vec<Sampler>,
        n: Option<usize>,
        interrupt: &Interrupt,
        energy: &Answers,
        out: &mut dyn Write,
    ) -> Result<(Speed, ExitCode)> {
        let answering = interrupt.answering();
        let bar = progress::Tokens::new("reading");
        let mut go_on = |done, total| {
            bar.at(done, total);
            answering.go_on()
        };
        let options = GenerateOptions {
            n,
            logprobs: true,
            shift: None,
        };
        let (model, before) = (session.model(), session.len() + prompt.len());
        energy.mark();
        let begin = Instant::now();
        let mut samples = session.samples(prompt, samplers, options, &mut go_on)?;
        energy.mark();
        let prompt_end = Instant::now();
        while !answering.is_over() && samples.step()? {}
        let speed = samples.speed();
        energy.add(Timing {
            begin,
            prompt: speed.prefill.tokens,
            prompt_end,
            generated: speed.decode.tokens,
            end: Instant::now(),
        });

        let names = Names::of_model(model);
        let tokenizer = model.tokenizer()?;
        let mut lines = Vec::new();
        for (index, sample) in samples.samples().iter().enumerate() {
            let mut stream = tokenizer.stream();
            let pieces = sample.tokens.iter().map(|token| stream.push(token.id));
            let mut text: String = pieces.collect();
            text.push_str(&stream.finish());
            lines.push(line(index, sample, text, before, &names));
        }
        let mut failed = false;
        if let Some(command) = &self.reward {
            for line in &mut lines {
                if answering.is_over() {
                    break;
                }
                match reward::of(command, &line.text, &answering) {
                    Reward::Given(reward) => line.reward = Some(Some(reward)),
                    Reward::Stopped => line.reward = Some(None),
                    Reward::Failed(why) => {
                        failed = true;
                        say(format_args!(
                            "wattle: --reward {command:?}, sample {}: {why}",
                            line.index
                        ));
                        line.reward = Some(None);
                        line.reward_error = Some(why);
                    }
                }
            }
            let rewards: Vec<f64> = lines.iter().filter_map(|l| l.reward.flatten()).collect();
            let mut of_group = advantages(&rewards).into_iter();
            for line in &mut lines {
                let reward = line.reward.flatten();
                line.advantage = Some(reward.and_then(|_| of_group.next()));
            }
        }
        for line in &lines {
            written(serde_json::to_writer(&mut *out, line).map_err(Into::into))?;
            written(writeln!(out).and_then(|()| out.flush()))?;
        }
        let code = match (answering.is_over(), failed) {
            (true, _) => interrupt.exit_code(),
            (false, true) => ExitCode::FAILURE,
            (false, false) => ExitCode::SUCCESS,
        };
        Ok((speed, code))
    }
}

/// A sample in JSON. Of an optional field that is there, `None` is `null`.
#[derive(Debug, Serialize)]
struct JsonSample {
    index: usize,
    seed: u64,
    /// `token`: the model ended it; `length`, `context`, `stopped`.
    end: &'static str,
    text: String,
    tokens: Vec<JsonToken>,
    /// Of all tokens.
    logprob: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reward: Option<Option<f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    advantage: Option<Option<f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reward_error: Option<String>,
}

fn line(
    index: usize,
    sample: &Sample,
    text: String,
    before: usize,
    names: &Names<'_>,
) -> JsonSample {
    let tokens = sample.tokens.iter().enumerate();
    let tokens = tokens.map(|(i, token)| JsonToken {
        position: before + i,
        id: token.id,
        text: names.of(token.id),
        logprob: token.logprob,
        top: Vec::new(),
    });
    JsonSample {
        index,
        seed: sample.seed(),
        end: match sample.end {
            Some(End::Token(_)) => "token",
            Some(End::Length) => "length",
            Some(End::Context) => "context",
            Some(End::Stopped) | None => "stopped",
        },
        text,
        tokens: tokens.collect(),
        logprob: sample.tokens.iter().filter_map(|token| token.logprob).sum(),
        reward: None,
        advantage: None,
        reward_error: None,
    }
}
