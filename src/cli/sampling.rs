//! The flags of the sampler, with llama.cpp's names and defaults.

use clap::Args;
use wattle::sample::{Sampler, SamplerOptions};
use wattle::{Error, Result};

/// How the next token is chosen.
#[derive(Debug, Args)]
#[command(
    next_help_heading = "Sampling (in this order: penalty, top-k, top-p, min-p, temperature)"
)]
pub(crate) struct SamplingArgs {
    /// Temperature; 0 always takes the most probable token
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0.8,
        allow_negative_numbers = true
    )]
    temp: f32,
    /// Keep the k most probable tokens; 0 = all
    #[arg(
        long,
        value_name = "N",
        default_value_t = 40,
        allow_negative_numbers = true
    )]
    top_k: i64,
    /// Keep the most probable tokens that together have this probability; 1 = all
    #[arg(
        long,
        value_name = "P",
        default_value_t = 0.95,
        allow_negative_numbers = true
    )]
    top_p: f32,
    /// Keep tokens with at least this share of the largest probability; 0 = all
    #[arg(
        long,
        value_name = "P",
        default_value_t = 0.05,
        allow_negative_numbers = true
    )]
    min_p: f32,
    /// Make recent tokens less probable; 1 = off
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1.0,
        allow_negative_numbers = true
    )]
    repeat_penalty: f32,
    /// How many tokens are recent; 0 = none, -1 = the whole context
    #[arg(
        long,
        value_name = "N",
        default_value_t = 64,
        allow_negative_numbers = true
    )]
    repeat_last_n: i64,
    /// Seed of the random numbers; -1 = a new one each time, told at the end
    #[arg(short, long, value_name = "N", default_value_t = -1, allow_negative_numbers = true)]
    seed: i64,
}

impl SamplingArgs {
    /// The options for a context of `ctx` tokens.
    ///
    /// # Errors
    /// [`Error::Argument`] when a value is out of range.
    pub(crate) fn options(&self, ctx: usize) -> Result<SamplerOptions> {
        let options = SamplerOptions {
            temp: self.temp,
            top_k: usize::try_from(self.top_k).unwrap_or(0),
            top_p: self.top_p,
            min_p: self.min_p,
            repeat_penalty: self.repeat_penalty,
            repeat_last_n: match self.repeat_last_n {
                -1 => ctx,
                n => usize::try_from(n)
                    .map_err(|_| Error::Argument {
                        name: "--repeat-last-n",
                        value: n.to_string(),
                        expected: "a number of tokens, or -1 for the whole context".into(),
                    })?
                    .min(ctx),
            },
            seed: match self.seed {
                -1 => None,
                seed => Some(u64::try_from(seed).map_err(|_| Error::Argument {
                    name: "-s",
                    value: seed.to_string(),
                    expected: "0 or more, or -1 for a new one each time".into(),
                })?),
            },
        };
        options.check()?;
        Ok(options)
    }
}

/// `; seed 42`, when the seed had a part in the text.
pub(crate) fn seed_note(sampler: &Sampler) -> String {
    if sampler.options().temp > 0.0 {
        format!("; seed {}", sampler.seed())
    } else {
        String::new()
    }
}
