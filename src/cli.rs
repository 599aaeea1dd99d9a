//! The command line: what all subcommands share, and the list of them.
//!
//! A subcommand is a file with an `Args` struct and `run(&Args, &mut dyn Write)`, a `mod` line and a line in [`subcommands!`].
//! The flags have llama.cpp's names; those that it writes with one dash and several letters are accepted so too.
//!
//! The text that was asked for goes to standard output and nothing else does: progress, notes and the closing line go to standard
//! error. Exit codes: 0, 1 for a failure, 2 for wrong usage (clap's, and values out of range), 130 after Ctrl-C, 143
//! after SIGTERM.

use core::fmt;
use std::ffi::OsString;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::{ExitCode, Termination};

use clap::{CommandFactory, Parser, Subcommand};
use wattle::{Error, Result, demo};

mod answer;
mod bench;
mod boards;
mod chat;
mod choice;
mod corpus;
mod doctor;
mod energy;
mod imatrix;
mod input;
mod inspect;
mod interrupt;
mod model;
mod npy;
// The pages are of the program as packages have it.
#[cfg(all(test, feature = "demo"))]
mod pages;
mod perplexity;
mod power;
mod progress;
mod prompt_cache;
mod quantize;
mod reward;
mod run;
mod samples;
mod sampling;
mod score;
mod synth;
mod table;
mod token;
mod tokenize;
mod tune;

macro_rules! subcommands {
    ($($(#[$doc:meta])* $name:ident = $file:ident,)+) => {
        #[derive(Debug, Subcommand)]
        enum Command {
            $($(#[$doc])* $name($file::Args),)+
        }

        impl Command {
            fn run(&self, out: &mut dyn Write) -> Result<ExitCode> {
                match self {
                    $(Self::$name(args) => $file::run(args, out).map(Termination::report),)+
                }
            }
        }
    };
}

subcommands! {
    /// Continue a text, or chat with the model
    Run = run,
    /// Measure how fast a model runs, as llama-bench does
    Bench = bench,
    /// Show what this machine draws, how hot it is, and whether it is throttled
    Power = power,
    /// Say how probable a text is, token by token
    Score = score,
    /// Measure how well a model predicts a text, and how far it is from another model
    Perplexity = perplexity,
    /// Learn from a text which columns of a model matter, for quantize
    Imatrix = imatrix,
    /// Show what a model file holds and needs
    Inspect = inspect,
    /// Text to token ids, or ids to text
    Tokenize = tokenize,
    /// Make a model file smaller: fewer bits a weight
    Quantize = quantize,
    /// Write random weights in the shape of a real model, to measure speed with
    Synth = synth,
    /// Say which boards are known, and which this one is
    Boards = boards,
    /// Check this machine: kernels, cores, memory, storage, throttling, sensors, and what runs on it
    Doctor = doctor,
    /// Find the threads, cores and clocks that run a model fastest, or on the fewest joules
    Tune = tune,
}

/// DeepSeek-style language models from GGUF files on small machines.
#[derive(Debug, Parser)]
#[command(name = "wattle", disable_version_flag = true)]
#[cfg_attr(not(feature = "demo"), command(arg_required_else_help = true))]
#[command(
    after_help = "Environment:\n  WATTLE_ISA  use at most this instruction set (see --version)"
)]
pub(crate) struct Cli {
    /// Print the version and the instruction set in use
    #[arg(short = 'V', long)]
    version: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

/// The command line of this process. Wrong usage and `--help` end the process here.
pub(crate) fn parse() -> Result<Cli> {
    Ok(Cli::parse_from(std::env::args_os().map(two_dashes)))
}

impl Cli {
    /// Does what was asked for.
    pub(crate) fn run(&self) -> Result<ExitCode> {
        let mut out = BufWriter::new(io::stdout().lock());
        let story;
        let command = match &self.command {
            None if !self.version && demo::is_here() => {
                say(format_args!(
                    "wattle: a story; `wattle --help` says what else it can do"
                ));
                story = Self::parse_from(STORY).command;
                story.as_ref()
            }
            command => command.as_ref(),
        };
        let done = match command {
            _ if self.version => {
                let isa = wattle::load::choose_isa(None)?;
                let version = env!("CARGO_PKG_VERSION");
                let with =
                    wattle::rare::ggml().map_or(String::new(), |ggml| format!(" with {ggml}"));
                written(writeln!(out, "wattle {version}{with} ({})", isa.name()))?;
                Ok(ExitCode::SUCCESS)
            }
            Some(command) => command.run(&mut out),
            None => Cli::command()
                .error(
                    clap::error::ErrorKind::MissingSubcommand,
                    "a subcommand is needed",
                )
                .exit(),
        };
        // What was written before a failure is still text that was asked for.
        written(out.flush()).and(done)
    }
}

/// What `wattle` alone does.
const STORY: [&str; 5] = [
    "wattle",
    "run",
    "--single-turn",
    "--cnv",
    "--prompt=Tell me a story.",
];

/// The flags that llama.cpp writes with one dash and several letters; clap would read `-ctk` as `-c tk`.
const ONE_DASH: &[(&str, &str)] = &[
    ("-cnv", "--cnv"),
    ("-no-cnv", "--no-cnv"),
    ("-ctk", "--cache-type"),
    ("-ctv", "--cache-type"),
    ("-pg", "--pg"),
    ("-ub", "--ubatch-size"),
    ("-st", "--single-turn"),
    ("-sys", "--system-prompt"),
];

fn two_dashes(arg: OsString) -> OsString {
    let same = ONE_DASH.iter().find(|(one, _)| arg == **one);
    same.map_or(arg, |(_, two)| OsString::from(two))
}

/// A line on standard error. One that cannot be written is no reason to stop, as it would be for `eprintln!`.
pub(crate) fn say(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// The result of writing to standard output, as this crate's.
pub(crate) fn written<T>(result: io::Result<T>) -> Result<T> {
    result.map_err(|source| Error::io(Path::new("standard output"), "write", source))
}

/// Whether the reader of our output went away, which is no failure: `wattle run ... | head`.
pub(crate) fn is_closed_pipe(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == io::ErrorKind::BrokenPipe)
}

/// 2 for values that should have been given otherwise, 1 for everything else.
pub(crate) fn exit_code(error: &Error) -> ExitCode {
    match error {
        Error::Argument { .. } => ExitCode::from(2),
        _ => ExitCode::FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn one_dash_spellings_are_understood() {
        for (one, two) in ONE_DASH {
            assert_eq!(two_dashes(one.into()), *two);
        }
        assert_eq!(two_dashes("-c".into()), "-c");
        assert_eq!(two_dashes("-no".into()), "-no");
    }
}
