//! How fast it went: tokens, seconds, and the bytes that the weights cost.
//!
//! Decoding one token reads every weight that takes part in it once, so that on a small machine
//! `GB/s read = bytes a token * tok/s` says how near a run is to the memory's limit. Prefill reads the weights once a batch and is
//! bound by arithmetic; it has a rate in tokens only.
//!
//! [`Speed`] is what a generation says of itself at its end. For measurements there are [`Samples`] of repetitions, the
//! [`Roofline`] that they are held against, the [`energy`] that they cost, the [`record`] of a test, and [`export`] to write records.

use core::fmt;
use core::time::Duration;

mod against;
pub mod energy;
pub mod export;
pub mod pareto;
pub mod plot;
pub mod record;
mod roofline;
mod samples;
pub mod storage;
mod time;

pub use against::{Against, Way};
pub use record::Record;
pub use roofline::{Roofline, read_gbps};
pub use samples::{Samples, Spread};
pub use time::rfc3339;

/// Work of one kind: tokens that went through the model, and the time it took.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Phase {
    /// Tokens that went through the model.
    pub tokens: usize,
    /// Wall time, sampling included, what the caller did in between not.
    pub time: Duration,
}

impl Phase {
    /// Adds work.
    pub fn add(&mut self, tokens: usize, time: Duration) {
        self.tokens += tokens;
        self.time += time;
    }

    /// Tokens a second; `None` when nothing was done.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        let seconds = self.time.as_secs_f64();
        (self.tokens > 0 && seconds > 0.0).then(|| self.tokens as f64 / seconds)
    }
}

/// The speed of a generation.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Speed {
    /// The prompt.
    pub prefill: Phase,
    /// The answer. Its first token comes out of the prefill, and the last need not go in: there is a pass less than tokens.
    pub decode: Phase,
    /// Tokens of the answer.
    pub answer_tokens: usize,
    /// Bytes of weights that decoding one token reads; 0 when not known.
    pub bytes_per_token: u64,
}

impl Speed {
    /// Gigabytes (10^9) of weights read a second while decoding; `None` when nothing was decoded or the bytes are not known.
    #[must_use]
    pub fn read_gbps(&self) -> Option<f64> {
        let rate = self.decode.rate()?;
        (self.bytes_per_token > 0).then(|| rate * self.bytes_per_token as f64 / 1e9)
    }

    /// Adds the work of another generation with the same model.
    pub fn add(&mut self, other: &Self) {
        self.prefill.add(other.prefill.tokens, other.prefill.time);
        self.decode.add(other.decode.tokens, other.decode.time);
        self.answer_tokens += other.answer_tokens;
        self.bytes_per_token = self.bytes_per_token.max(other.bytes_per_token);
    }
}

/// One line: `prompt 12 tokens, 85.3 tok/s; answer 128 tokens, 34.1 tok/s, 3.31 GB/s read`.
impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "prompt {}", tokens(self.prefill.tokens))?;
        if let Some(rate) = self.prefill.rate() {
            write!(f, ", {rate:.1} tok/s")?;
        }
        write!(f, "; answer {}", tokens(self.answer_tokens))?;
        if let Some(rate) = self.decode.rate() {
            write!(f, ", {rate:.1} tok/s")?;
        }
        if let Some(read) = self.read_gbps() {
            write!(f, ", {read:.2} GB/s read")?;
        }
        Ok(())
    }
}

fn tokens(n: usize) -> String {
    format!("{n} token{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speed() -> Speed {
        let mut speed = Speed {
            answer_tokens: 9,
            bytes_per_token: 250_000_000,
            ..Speed::default()
        };
        speed.prefill.add(100, Duration::from_secs(2));
        speed.decode.add(8, Duration::from_secs(2));
        speed
    }

    #[test]
    fn the_line_says_what_was_measured() {
        assert_eq!(
            speed().to_string(),
            "prompt 100 tokens, 50.0 tok/s; answer 9 tokens, 4.0 tok/s, 1.00 GB/s read"
        );
    }

    #[test]
    fn nothing_measured_has_no_rate() {
        let mut none = Speed::default();
        none.prefill.tokens = 1;
        assert_eq!(none.to_string(), "prompt 1 token; answer 0 tokens");
        assert_eq!(none.read_gbps(), None);
        let unknown = Speed {
            bytes_per_token: 0,
            ..speed()
        };
        assert_eq!(unknown.read_gbps(), None);
    }

    #[test]
    fn sums_keep_their_rates() {
        let mut twice = speed();
        twice.add(&speed());
        assert_eq!(twice.prefill.rate(), speed().prefill.rate());
        assert_eq!(twice.read_gbps(), speed().read_gbps());
        assert_eq!(twice.answer_tokens, 18);
    }
}
