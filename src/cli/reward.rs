//! The reward of an answer: a number that a command of the user prints when it reads the answer.
//!
//! The command is run by `sh -c`, in a process group of its own, so that all of it ends when it is no longer wanted.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use super::interrupt::Answering;

/// How often a command that runs is looked at.
const LOOK: Duration = Duration::from_millis(5);
/// Most bytes of what a command prints: a number is short.
const MOST: u64 = 4096;

/// What became of a reward.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Reward {
    /// The number.
    Given(f64),
    /// Why there is none.
    Failed(String),
    /// Ctrl-C came first.
    Stopped,
}

/// Gives `text` to `command` and reads the number that it prints.
pub(crate) fn of(command: &str, text: &str, answering: &Answering<'_>) -> Reward {
    let spawned = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => return Reward::Failed(format!("sh does not start: {error}")),
    };
    // Both ends have a thread: a command may print before it has read all, or never read.
    let input = child.stdin.take();
    let text = text.to_owned();
    let writer = thread::spawn(move || {
        if let Some(mut input) = input {
            // Who does not read to the end has seen enough.
            let _ = input.write_all(text.as_bytes());
        }
    });
    let output = child.stdout.take();
    let reader = thread::spawn(move || {
        let mut printed = Vec::new();
        match output {
            Some(output) => output.take(MOST).read_to_end(&mut printed).map(|_| printed),
            None => Ok(printed),
        }
    });
    let status = loop {
        if answering.is_over() {
            stop(&mut child);
            return Reward::Stopped;
        }
        match child.try_wait() {
            // What it has started may still hold the pipes.
            Ok(Some(status)) if reader.is_finished() && writer.is_finished() => break status,
            Ok(_) => thread::sleep(LOOK),
            Err(error) => {
                stop(&mut child);
                return Reward::Failed(format!("it cannot be waited for: {error}"));
            }
        }
    };
    if !status.success() {
        return Reward::Failed(format!("it ended with {status}"));
    }
    match reader.join() {
        Ok(Ok(printed)) => number(&printed),
        Ok(Err(error)) => Reward::Failed(format!("what it printed cannot be read: {error}")),
        Err(_) => Reward::Failed("what it printed was lost".into()),
    }
}

/// The number in what a command printed.
fn number(printed: &[u8]) -> Reward {
    let text = String::from_utf8_lossy(printed);
    match text.trim().parse::<f64>() {
        Ok(reward) if reward.is_finite() => Reward::Given(reward),
        _ => {
            let short: String = text.trim().chars().take(60).collect();
            Reward::Failed(format!("it printed {short:?}, expected one number"))
        }
    }
}

/// Ends the command and what it has started.
fn stop(child: &mut Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.kill();
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_is_read() {
        assert_eq!(number(b"0.5\n"), Reward::Given(0.5));
        assert_eq!(number(b"  -1e3 "), Reward::Given(-1000.0));
        for bad in ["", "nan", "inf", "1 2", "good"] {
            assert!(matches!(number(bad.as_bytes()), Reward::Failed(_)), "{bad}");
        }
    }
}
