//! What one test of `wattle bench` leaves: a record, and the list of its fields that every exporter goes through.
//!
//! The names are llama-bench's wherever it has the field, so that its readers read ours. Not taken over are its fields on
//! GPUs and on switches that wattle does not have; `gpu_info` is empty and `backends` is `CPU`, as llama-bench says without a GPU.
//!
//! Ours:
//!
//! | field | content |
//! |---|---|
//! | `version`, `isa` | of wattle; the instruction set in use |
//! | `median_ns`, `median_ts`, `min_ts`, `max_ts` | of the repetitions |
//! | `bytes_per_token` | decoding only: weights, and cache rows at the mean depth of the test, that a token reads |
//! | `gbps` | the same in 10^9 bytes a second, at the median speed |
//! | `roofline_gbps`, `roofline_share` | what the same threads read from memory just before or after ([`super::Roofline`]), and `gbps` over it |
//! | `energy`, `energy_*` | joules, mean power, tokens per joule and what speaks against them ([`super::energy`]); one object in JSON |
//! | `against_*`, `ratio` | another program in turn with ours, and the ratio of the two medians ([`Against`]) |
//!
//! What was not measured is null, never 0. **A new column is a line in a list of `fields.rs`.**

use super::energy::Energy;
use super::{Against, Roofline, Samples};

mod fields;

pub use fields::{ENERGY_PREFIX, Field, Kind, Value, energy_fields, fields};

/// A test that was done.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Who measured, and on what.
    pub origin: Origin,
    /// What was measured.
    pub model: Subject,
    /// How it was set up.
    pub setup: Setup,
    /// The tokens.
    pub test: Test,
    /// When the test began, as RFC 3339 has it.
    pub time: String,
    /// The repetitions.
    pub samples: Samples,
    /// Bytes that decoding a token reads; `None` for a test that is not all decoding.
    pub bytes_per_token: Option<u64>,
    /// What the memory gave.
    pub roofline: Option<Roofline>,
    /// What it cost, where a sensor tells.
    pub energy: Option<Energy>,
    /// Another program at the same.
    pub against: Option<Against>,
}

/// The program that measured, and the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The commit that it was built from.
    pub commit: String,
    /// The number of the build.
    pub number: u64,
    /// Its version.
    pub version: String,
    /// The machine.
    pub cpu: String,
    /// The instruction set in use.
    pub isa: &'static str,
}

/// The model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Its file.
    pub filename: String,
    /// Architecture, size and mix of types, for people: `deepseek2 16B Q4_K_M`.
    pub kind: String,
    /// Bytes of its tensors.
    pub bytes: u64,
    /// Numbers in its tensors.
    pub parameters: u64,
}

/// How a test is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setup {
    /// Tokens of a prompt after which there are logits.
    pub batch: usize,
    /// Most tokens of a pass.
    pub ubatch: usize,
    /// Threads.
    pub threads: usize,
    /// The numbers of the cache.
    pub cache: &'static str,
}

/// The tokens of a test: `prompt` in batches, then `generated` one after the other, all after `depth` that are not timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Test {
    /// Tokens of the prompt.
    pub prompt: usize,
    /// Tokens generated.
    pub generated: usize,
    /// Tokens that the context holds before.
    pub depth: usize,
}

impl Test {
    /// Tokens that are timed.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.prompt + self.generated
    }

    /// Tokens that the context has to hold.
    #[must_use]
    pub fn context(&self) -> usize {
        self.depth + self.tokens()
    }

    /// Bytes that decoding a token reads, on average over the test, where a token costs `weights` bytes and a row of each of the
    /// caches, `row` bytes together, for every token up to its own. `None` when not all of the test is decoding.
    #[must_use]
    pub fn bytes_per_token(&self, weights: u64, row: u64) -> Option<u64> {
        let twice_rows = 2 * self.depth as u64 + self.generated as u64 + 1;
        let decodes = self.prompt == 0 && self.generated > 0;
        decodes.then(|| weights.saturating_add(row.saturating_mul(twice_rows) / 2))
    }
}

/// llama-bench's name of the test: `pp512`, `tg128 @ d64`, `pp512+tg128`.
impl core::fmt::Display for Test {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match (self.prompt, self.generated) {
            (prompt, 0) => write!(f, "pp{prompt}")?,
            (0, generated) => write!(f, "tg{generated}")?,
            (prompt, generated) => write!(f, "pp{prompt}+tg{generated}")?,
        }
        match self.depth {
            0 => Ok(()),
            depth => write!(f, " @ d{depth}"),
        }
    }
}

impl Record {
    /// 10^9 bytes a second that decoding read, at the median speed.
    #[must_use]
    pub fn gbps(&self) -> Option<f64> {
        Some(self.bytes_per_token? as f64 * self.samples.speed()?.median / 1e9)
    }

    /// [`gbps`](Self::gbps) as a share of what the memory gave.
    #[must_use]
    pub fn roofline_share(&self) -> Option<f64> {
        Some(self.gbps()? / self.roofline?.gbps())
    }

    /// The median of our speed over that of the other program.
    #[must_use]
    pub fn ratio(&self) -> Option<f64> {
        let theirs = self.against.as_ref()?.best()?.speed()?.median;
        Some(self.samples.speed()?.median / theirs)
    }
}

#[cfg(test)]
pub(crate) mod tests;
