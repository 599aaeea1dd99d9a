//! The program: parse, run, print the error, set the exit code.

use std::process::ExitCode;

mod cli;

fn main() -> ExitCode {
    match cli::parse().and_then(|cli| cli.run()) {
        Ok(code) => code,
        Err(error) if cli::is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            cli::say(format_args!("wattle: error: {error}"));
            cli::exit_code(&error)
        }
    }
}
