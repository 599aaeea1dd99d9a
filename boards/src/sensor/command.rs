//! A program of the user's that prints `unix_s watts` lines: any meter that has one.
//!
//! It is started once, by `sh -c`, and read line by line. The time of a line is when the power was measured. Where it agrees with the clock
//! of this machine, or stays the same way behind or ahead of it, that tells how old the reading is; a program that
//! writes through a buffer is then still right.

use core::time::Duration;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::{Pid, Signal, kill_process_group};

use super::{Facts, Fault, Method, Reading, Scope, Sensor, watts};

/// Longest line that is read.
const MOST_BYTES: u64 = 4096;
/// How old a line may be that still tells the time of this machine. Older or from the future: another clock.
const SAME_CLOCK_S: core::ops::RangeInclusive<f64> = -0.05..=2.0;

/// A program that prints watts.
#[derive(Debug)]
pub struct Command {
    facts: Facts,
    /// Never waited for, so that its number stays its own as long as this process lives.
    child: Child,
    lines: BufReader<ChildStdout>,
    /// Seconds that its clock is behind ours; `None` before the first line.
    behind_s: Option<f64>,
}

impl Command {
    /// Starts `line` with the shell; what it prints is watts of `scope`.
    ///
    /// # Errors
    /// When there is no shell to start it.
    pub fn start(line: &str, scope: Scope) -> Result<Self, Fault> {
        let started = std::process::Command::new("sh")
            .args(["-c", line])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // Ctrl-C is for us; and what the shell started can be ended with it.
            .process_group(0)
            .spawn();
        let mut child = started.map_err(|error| Fault::Ended(format!("sh: {error}")))?;
        let Some(out) = child.stdout.take() else {
            return Err(Fault::Ended("sh: it has no output".into()));
        };
        Ok(Self {
            facts: Facts {
                name: "command",
                source: line.to_owned(),
                scope,
                method: Method::Integrated,
                resolution: None,
                // Reading waits for the next line: there is no better moment to read again.
                period: Duration::ZERO,
                external: true,
            },
            child,
            lines: BufReader::new(out),
            behind_s: None,
        })
    }

    /// How old a line is that says `unix_s` and came at `now_s`.
    fn age(&mut self, unix_s: f64, now_s: f64) -> Duration {
        let lag_s = now_s - unix_s;
        let behind_s = *self
            .behind_s
            .get_or_insert(match SAME_CLOCK_S.contains(&lag_s) {
                true => 0.0,
                false => lag_s,
            });
        Duration::try_from_secs_f64(lag_s - behind_s).unwrap_or_default()
    }
}

impl Sensor for Command {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn read(&mut self) -> Result<Reading, Fault> {
        let mut line = String::new();
        let mut some = (&mut self.lines).take(MOST_BYTES);
        match some.read_line(&mut line) {
            Ok(0) => {
                return Err(Fault::Ended(format!(
                    "{}: it ended, or closed its output",
                    self.facts.source
                )));
            }
            Ok(_) => {}
            Err(error) => return Err(Fault::Nonsense(format!("{}: {error}", self.facts.source))),
        }
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let Some((unix_s, w)) = parse(&line) else {
            let start: String = line.trim_end().chars().take(60).collect();
            return Err(Fault::Nonsense(format!(
                "expected a line with unix seconds and watts, found {start:?}"
            )));
        };
        let amount = watts(w)?;
        Ok(Reading {
            amount,
            age: self.age(unix_s, now.as_secs_f64()),
        })
    }

    fn ends(&self) -> Option<Ends> {
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        group.map(Ends)
    }
}

/// Ends a program and what it started, when dropped. It is not waited for: a program that does not end must not keep this one.
#[derive(Debug)]
pub struct Ends(Pid);

impl Drop for Ends {
    fn drop(&mut self) {
        let _gone = kill_process_group(self.0, Signal::TERM);
    }
}

impl Drop for Command {
    fn drop(&mut self) {
        drop(self.ends());
    }
}

/// `1764417600.5 12.25`, with white space or a comma between, and perhaps more after it.
fn parse(line: &str) -> Option<(f64, f64)> {
    let mut words = line
        .split([' ', '\t', ','])
        .filter(|word| !word.trim().is_empty());
    let unix_s: f64 = words.next()?.trim().parse().ok()?;
    let w: f64 = words.next()?.trim().parse().ok()?;
    unix_s.is_finite().then_some((unix_s, w))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_a_time_and_watts() {
        assert_eq!(
            parse("1764417600.5 12.25\n"),
            Some((1_764_417_600.5, 12.25))
        );
        assert_eq!(parse("1,2.5,volts=5\n"), Some((1.0, 2.5)));
        assert_eq!(parse(" 1\t 3 \n"), Some((1.0, 3.0)));
        for line in ["", "\n", "12.5\n", "time watts\n", "nan 3\n", "1 W3\n"] {
            assert_eq!(parse(line), None, "{line:?}");
        }
    }

    fn started(line: &str) -> Command {
        Command::start(line, Scope::WallAc).expect("a shell")
    }

    #[test]
    fn it_is_read_to_its_end() {
        let mut command = started("echo 100 5; echo nonsense; echo 101 -3; echo 102 6.5; exit 3");
        let w = |reading: Result<Reading, Fault>| match reading.expect("a reading").amount {
            super::super::Amount::Watts(w) => w,
            super::super::Amount::Joules(j) => panic!("{j} J from a program of watts"),
        };
        assert_eq!(w(command.read()), 5.0);
        assert!(matches!(command.read(), Err(Fault::Nonsense(_))));
        assert!(matches!(command.read(), Err(Fault::Nonsense(_))), "-3 W");
        assert_eq!(w(command.read()), 6.5);
        assert!(matches!(command.read(), Err(Fault::Ended(_))));
    }

    #[test]
    fn a_clock_of_its_own_tells_how_readings_follow_each_other() {
        let mut command = started("true");
        // A meter that counts from its start.
        assert_eq!(command.age(5.0, 1000.0), Duration::ZERO);
        assert_eq!(command.age(6.0, 1001.5), Duration::from_millis(500));
        assert_eq!(
            command.age(9.0, 1001.5),
            Duration::ZERO,
            "not from the future"
        );
        let mut command = started("true");
        // Ours, and a buffer between.
        assert_eq!(command.age(999.0, 1000.0), Duration::from_secs(1));
        assert_eq!(command.age(1000.0, 1000.25), Duration::from_millis(250));
        assert_eq!(command.age(900.0, 1000.0), Duration::from_secs(100));
    }
}
