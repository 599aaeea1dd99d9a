//! The command line: the list of subcommands.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use clap::{Parser, Subcommand};
use wattle::{Error, Result};

mod inspect;
mod tokenize;

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what a model file holds and needs
    Inspect(inspect::Args),
    /// Turn text into tokens, or tokens into text
    Tokenize(tokenize::Args),
}

/// DeepSeek-style language models from GGUF files on small machines.
#[derive(Debug, Parser)]
#[command(name = "wattle", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

impl Cli {
    /// Does what was asked for.
    pub(crate) fn run(&self) -> Result<()> {
        let mut out = BufWriter::new(io::stdout().lock());
        match &self.command {
            Command::Inspect(args) => inspect::run(args, &mut out)?,
            Command::Tokenize(args) => tokenize::run(args, &mut out)?,
        }
        written(out.flush())
    }
}

/// The result of writing to standard output, as this crate's.
pub(crate) fn written<T>(result: io::Result<T>) -> Result<T> {
    result.map_err(|source| Error::io(Path::new("standard output"), "write", source))
}
