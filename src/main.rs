//! The program: parse, run, print the error, set the exit code.

use std::process::ExitCode;

use clap::Parser;

mod cli;

fn main() -> ExitCode {
    match cli::Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wattle: error: {error}");
            ExitCode::FAILURE
        }
    }
}
