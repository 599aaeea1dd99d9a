//! What can be set on a sampler, with llama.cpp's names and defaults.

use crate::error::{Error, Result};

/// What a [`Sampler`](super::Sampler) does with the logits; the defaults are llama.cpp's.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplerOptions {
    /// Temperature; 0 or less takes the most probable token.
    pub temp: f32,
    /// How many of the largest logits stay; 0 keeps all.
    pub top_k: usize,
    /// Probability mass that stays, in [0, 1]; 1 keeps all.
    pub top_p: f32,
    /// Smallest probability that stays, relative to the largest, in [0, 1]; 0 keeps all.
    pub min_p: f32,
    /// Divides (positive) or multiplies (negative) the logits of recent tokens; 1 leaves them.
    pub repeat_penalty: f32,
    /// How many recent tokens, prompt included, the penalty looks at; 0 turns it off.
    pub repeat_last_n: usize,
    /// Seed of the draws; `None` takes one from the operating system, see [`Sampler::seed`](super::Sampler::seed).
    pub seed: Option<u64>,
}

impl Default for SamplerOptions {
    fn default() -> Self {
        Self {
            temp: 0.8,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.05,
            repeat_penalty: 1.0,
            repeat_last_n: 64,
            seed: None,
        }
    }
}

impl SamplerOptions {
    /// Always the most probable token.
    #[must_use]
    pub fn greedy() -> Self {
        Self {
            temp: 0.0,
            ..Self::default()
        }
    }

    /// Refuses values that a sampler would refuse.
    ///
    /// # Errors
    /// [`Error::Argument`] with the flag's name when a value is out of its range or not a number.
    pub fn check(&self) -> Result<()> {
        let unit = "a number from 0 to 1";
        let checks = [
            (
                "--temp",
                self.temp,
                self.temp.is_finite(),
                "a finite number",
            ),
            (
                "--top-p",
                self.top_p,
                (0.0..=1.0).contains(&self.top_p),
                unit,
            ),
            (
                "--min-p",
                self.min_p,
                (0.0..=1.0).contains(&self.min_p),
                unit,
            ),
            (
                "--repeat-penalty",
                self.repeat_penalty,
                self.repeat_penalty.is_normal() && self.repeat_penalty > 0.0,
                "a finite number above 0",
            ),
        ];
        match checks.into_iter().find(|(.., fits, _)| !fits) {
            Some((name, value, _, expected)) => Err(Error::Argument {
                name,
                value: value.to_string(),
                expected: expected.into(),
            }),
            None => Ok(()),
        }
    }
}
