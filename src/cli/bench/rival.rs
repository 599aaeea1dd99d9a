//! The other program of `--against`: llama-bench, started for one repetition of one test at a time.

use core::ops::ControlFlow;
use core::time::Duration;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

use serde_json::Value;
use wattle::meter::record::{Setup, Test};
use wattle::{Error, Result, os};

/// Most bytes of its answer, which has some thousand.
const ANSWER_BYTES: u64 = 16 << 20;
/// Bytes at the end of its standard error that are kept, and lines of them that an error shows.
const WORDS_BYTES: usize = 64 << 10;
const WORDS_LINES: usize = 5;
/// How often it is looked at. Its own clock takes the time.
const LOOK: Duration = Duration::from_millis(20);
/// Exit code of a program that was not found, where something else had to start it: a shell, or an emulator of a CPU.
const NOT_FOUND: i32 = 127;

/// A llama-bench to be measured beside us.
#[derive(Debug)]
pub(super) struct Rival {
    pub(super) program: PathBuf,
    /// Arguments beside those of the test.
    pub(super) args: Vec<String>,
    /// The cores that this process was given: a child inherits those of its parent, which keeps to the fast ones.
    pub(super) cores: Vec<usize>,
}

/// What it said of one repetition.
#[derive(Debug, PartialEq)]
pub(super) struct Answer {
    /// Tokens per second.
    pub(super) ts: f64,
    pub(super) commit: String,
    pub(super) number: Option<u64>,
}

impl Rival {
    /// The values of `-fa` to try; a single `None` when the arguments have one already.
    pub(super) fn ways(&self) -> &'static [Option<u8>] {
        let names = ["-fa", "--flash-attn"];
        match self.args.iter().any(|arg| names.contains(&arg.as_str())) {
            true => &[None],
            false => &[Some(0), Some(1)],
        }
    }

    /// Runs `test` once. `None` when it was stopped.
    ///
    /// # Errors
    /// When it cannot be started, fails, or answers with something else than this test.
    pub(super) fn repetition(
        &self,
        model: &Path,
        setup: Setup,
        test: Test,
        flash_attn: Option<u8>,
        warm_up: bool,
        go_on: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<Option<Answer>> {
        let mut command = Command::new(&self.program);
        command.arg("-m").arg(model);
        command.args(arguments(setup, test, flash_attn, warm_up));
        command.args(&self.args);
        let Some((status, answer, words)) = self.finish(command, go_on)? else {
            return Ok(None);
        };
        if status.code() == Some(NOT_FOUND) && answer.is_empty() {
            return Err(self.cannot_start(&format!("not found ({status}){}", last_words(&words))));
        }
        if !status.success() {
            return Err(self.fault(format!("failed ({status}){}", last_words(&words))));
        }
        let answer = understand(&answer, test);
        let answer = answer.map_err(|what| self.fault(what + &last_words(&words)))?;
        Ok(Some(answer))
    }

    /// Runs a command to its end: exit status, standard output, the end of standard error. `None` when it was stopped.
    fn finish(
        &self,
        mut command: Command,
        go_on: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<Option<(ExitStatus, String, String)>> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = self
            .start(command)
            .map_err(|error| self.cannot_start(&error))?;
        let (Some(answer), Some(words)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(self.cannot_start(&"it has no output"));
        };
        // Both are read while it runs, so that it never waits for room in a pipe.
        let answer = thread::spawn(move || whole(answer));
        let words = thread::spawn(move || end_of(words));
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) => {}
                Err(error) => return Err(self.cannot_start(&error)),
            }
            if go_on().is_break() {
                // It may be gone by now, after the same Ctrl-C.
                let _gone = child.kill();
                let _gone = child.wait();
                return Ok(None);
            }
            thread::sleep(LOOK);
        };
        // A child that the same Ctrl-C ended has not failed.
        if go_on().is_break() {
            return Ok(None);
        }
        let text = |read: thread::JoinHandle<Vec<u8>>| {
            let bytes = read.join().unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        Ok(Some((status, text(answer), text(words))))
    }

    /// Starts it on all the cores that this process was given.
    fn start(&self, mut command: Command) -> std::io::Result<Child> {
        thread::scope(|scope| {
            let started = scope.spawn(move || {
                os::confine(&self.cores);
                command.spawn()
            });
            let ended = || std::io::Error::other("the thread that starts it ended");
            started.join().unwrap_or_else(|_| Err(ended()))
        })
    }

    fn cannot_start(&self, reason: &dyn core::fmt::Display) -> Error {
        self.fault(format!(
            "cannot start: {reason}; --against names the llama-bench of llama.cpp, or of a program made from it"
        ))
    }

    fn fault(&self, what: String) -> Error {
        Error::Program {
            path: self.program.clone(),
            what,
        }
    }
}

/// The flags for one repetition of a test.
fn arguments(setup: Setup, test: Test, flash_attn: Option<u8>, warm_up: bool) -> Vec<String> {
    let mut args: Vec<String> = ["-o", "json", "-r", "1"].map(String::from).into();
    let mut flag = |name: &str, value: String| args.extend([name.into(), value]);
    let both = test.prompt > 0 && test.generated > 0;
    let alone = |n: usize| if both { 0 } else { n }.to_string();
    flag("-p", alone(test.prompt));
    flag("-n", alone(test.generated));
    if both {
        flag("-pg", format!("{},{}", test.prompt, test.generated));
    }
    // Older programs do not know it.
    if test.depth > 0 {
        flag("-d", test.depth.to_string());
    }
    flag("-t", setup.threads.to_string());
    flag("-b", setup.batch.to_string());
    flag("-ub", setup.ubatch.to_string());
    // Our q8 is of latent rows only, and theirs is slower than their f16 in some programs: --against-args chooses it.
    if setup.cache != "f16" && setup.cache != "q8" {
        flag("-ctk", setup.cache.into());
        flag("-ctv", setup.cache.into());
    }
    if let Some(flash_attn) = flash_attn {
        flag("-fa", flash_attn.to_string());
    }
    if !warm_up {
        args.push("--no-warmup".into());
    }
    args
}

/// Its answer, which must be an array of one object about this test.
fn understand(text: &str, test: Test) -> core::result::Result<Answer, String> {
    // Some write other lines before it.
    let start = text.find('[').unwrap_or(0);
    let answer: Value = serde_json::from_str(&text[start..])
        .map_err(|error| format!("its answer to -o json is no JSON ({error})"))?;
    let [record] = answer.as_array().map_or(&[][..], Vec::as_slice) else {
        let found = answer.as_array().map_or(0, Vec::len);
        return Err(format!(
            "expected the result of one test, found {found}; --against-args must not add tests"
        ));
    };
    for (name, expected) in [
        ("n_prompt", test.prompt),
        ("n_gen", test.generated),
        ("n_depth", test.depth),
    ] {
        // A program that does not know depths measures at none.
        let found = record[name].as_u64().unwrap_or(0);
        if found != expected as u64 {
            return Err(format!(
                "expected a result with {name} = {expected}, found {found}"
            ));
        }
    }
    let ts = record["avg_ts"].as_f64().filter(|&ts| ts > 0.0);
    Ok(Answer {
        ts: ts.ok_or("its answer has no avg_ts above 0")?,
        commit: record["build_commit"].as_str().unwrap_or("unknown").into(),
        number: record["build_number"].as_u64(),
    })
}

/// The last lines of what it said, as the end of a sentence.
fn last_words(words: &str) -> String {
    let lines: Vec<&str> = words
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty())
        .collect();
    match &lines[lines.len().saturating_sub(WORDS_LINES)..] {
        [] => ", and said nothing".into(),
        last => format!("; it said:\n  {}", last.join("\n  ")),
    }
}

/// All bytes, up to [`ANSWER_BYTES`].
fn whole(from: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    // What cannot be read is missed when it is understood.
    let _read = from.take(ANSWER_BYTES).read_to_end(&mut bytes);
    bytes
}

/// The last bytes, at least [`WORDS_BYTES`] if there are so many.
fn end_of(mut from: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(n @ 1..) = from.read(&mut piece) {
        bytes.extend_from_slice(&piece[..n]);
        if bytes.len() > 2 * WORDS_BYTES {
            bytes.drain(..bytes.len() - WORDS_BYTES);
        }
    }
    bytes
}

#[cfg(test)]
mod tests;
