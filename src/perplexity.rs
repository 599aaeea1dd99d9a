//! How well a model predicts a text: perplexity, and the distance of its predictions from those of another model.
//!
//! The text is tokenised once, with BOS before it where the model wants one, and cut into chunks of `c` tokens; what is left at
//! the end is dropped. Every chunk is run by itself, with BOS in the place of its first token, and of its tokens only those at
//! `c / 2 + 1 .. c` are scored, so that each has at least half a chunk before it:
//!
//! ```text
//! chunk      BOS t1 t2 ...  t(c/2)  t(c/2+1)  ...  t(c-1)
//! scored                            ^^^^^^^^^^^^^^^^^^^^^   c - 1 - c / 2 tokens
//!
//! nll(t) = -ln p(t | what stands before it in the chunk)
//! perplexity = e^(mean nll)  +/-  perplexity * error of the mean
//! ```
//!
//! That is what llama.cpp does, so that numbers compare. The logits of the first half are never computed, and the last token is
//! not run at all.
//!
//! [`measure`] hands the logits to a [`Judge`]: [`Perplexity`] only counts, [`Saving`] also writes the distributions to a file, and
//! [`Divergence`] compares with those in a file. Rows are shared out over the pool, and their numbers are added in the order of
//! the text: the result does not depend on the number of threads.

use core::ops::ControlFlow;

use crate::error::{Error, Result, counted};
use crate::generate::{Forward, log_sum_exp};
use crate::pool::Pool;
use crate::score::batches;

mod base;
mod divergence;
mod saving;
mod statistics;

pub use base::Base;
pub use divergence::{Comparison, Divergence};
pub use saving::Saving;
pub use statistics::{Estimate, Mean, Pairs, percentile};

/// The smallest chunk of which a token is scored.
pub const MIN_CONTEXT: usize = 3;

/// A text cut into chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunks<'t> {
    /// Whole chunks only.
    tokens: &'t [u32],
    context: usize,
    bos: Option<u32>,
}

impl<'t> Chunks<'t> {
    /// Cuts `tokens` into chunks of `context`, at most `most` of them; `bos` takes the place of the first token of each.
    ///
    /// # Errors
    /// [`Error::Argument`] when `context` is below [`MIN_CONTEXT`], `most` is 0, or there is not one whole chunk.
    pub fn new(
        tokens: &'t [u32],
        context: usize,
        most: Option<usize>,
        bos: Option<u32>,
    ) -> Result<Self> {
        let wrong = |name: &'static str, value: String, expected: String| {
            Err(Error::Argument {
                name,
                value,
                expected,
            })
        };
        if context < MIN_CONTEXT {
            let expected =
                format!("at least {MIN_CONTEXT} tokens a chunk, of which half is scored");
            return wrong("-c", context.to_string(), expected);
        }
        if most == Some(0) {
            return wrong("--chunks", "0".into(), "at least 1".into());
        }
        let whole = tokens.len() / context;
        let count = most.map_or(whole, |most| most.min(whole));
        if count == 0 {
            let value = match tokens.len() {
                0 => "(empty)".into(),
                n => format!("of {}", counted(n, "token")),
            };
            let expected = format!("at least one chunk of {context}; lower -c or give more text");
            return wrong("text", value, expected);
        }
        Ok(Self {
            tokens: &tokens[..count * context],
            context,
            bos,
        })
    }

    /// The tokens of all chunks, as they are in the text.
    #[must_use]
    pub fn tokens(&self) -> &'t [u32] {
        self.tokens
    }

    /// Tokens of a chunk.
    #[must_use]
    pub fn context(&self) -> usize {
        self.context
    }

    /// Number of chunks.
    #[must_use]
    pub fn count(&self) -> usize {
        self.tokens.len() / self.context
    }

    /// Tokens of all chunks that go through the model: every one but the last of a chunk.
    #[must_use]
    pub fn run(&self) -> usize {
        self.count() * (self.context - 1)
    }

    /// Every chunk with its BOS.
    pub(crate) fn each(&self) -> impl Iterator<Item = Vec<u32>> {
        self.tokens.chunks_exact(self.context).map(|chunk| {
            let mut chunk = chunk.to_vec();
            chunk[0] = self.bos.unwrap_or(chunk[0]);
            chunk
        })
    }

    /// The scored tokens of every chunk.
    pub fn scored(&self) -> impl Iterator<Item = &'t [u32]> {
        let first = first_scored(self.context);
        let chunks = self.tokens.chunks_exact(self.context);
        chunks.map(move |chunk| &chunk[first..])
    }
}

/// Place of the first scored token in a chunk.
fn first_scored(context: usize) -> usize {
    context / 2 + 1
}

/// Scored tokens of a chunk.
fn scored_each(context: usize) -> usize {
    context - first_scored(context)
}

/// What makes something of the logits of scored tokens.
pub trait Judge {
    /// Takes the logits `(next.len(), vocab)` before each token of `next`.
    ///
    /// # Errors
    /// [`Error::Logits`] when they are not numbers, and what the judge adds.
    fn take(&mut self, pool: &Pool, next: &[u32], logits: &[f32]) -> Result<()>;

    /// The negative log-probabilities so far.
    fn nll(&self) -> &Mean;
}

/// Runs all chunks through `model`, and hands the logits before every scored token to `judge`, batch by batch.
///
/// `progress(done, total, nll)` is told how many of [`Chunks::run`] tokens are through after every batch; when it breaks, the rest
/// is left out.
///
/// # Errors
/// When the context of `model` is smaller than a chunk, what the model refuses, and what `judge` returns.
pub fn measure(
    model: &mut impl Forward,
    pool: &Pool,
    chunks: &Chunks<'_>,
    judge: &mut dyn Judge,
    progress: &mut dyn FnMut(usize, usize, &Mean) -> ControlFlow<()>,
) -> Result<()> {
    let total = chunks.run();
    let mut done = 0;
    for chunk in chunks.each() {
        model.clear();
        let first = first_scored(chunks.context);
        let (unscored, rest) = chunk[..chunk.len() - 1].split_at(first - 1);
        for batch in unscored.chunks(model.batch()) {
            model.feed(batch)?;
            done += batch.len();
            if progress(done, total, judge.nll()).is_break() {
                return Ok(());
            }
        }
        let n_vocab = model.n_vocab();
        let mut stopped = false;
        batches(model, rest, |position, logits| {
            let next = &chunk[first + position..][..logits.len() / n_vocab];
            judge.take(pool, next, logits)?;
            done += next.len();
            let answer = progress(done, total, judge.nll());
            stopped = answer.is_break();
            Ok(answer)
        })?;
        if stopped {
            return Ok(());
        }
    }
    Ok(())
}

/// `-ln p(id)` by a row of logits, whose [`log_sum_exp`] is `norm`. A token without any probability would make the mean infinite.
fn nll(logits: &[f32], norm: f64, id: u32) -> Result<f64> {
    match logits.get(id as usize) {
        Some(&f32::NEG_INFINITY) => Err(Error::Logits {
            what: format!("token {id}, which comes next, has no probability"),
        }),
        Some(&logit) => Ok(norm - f64::from(logit)),
        None => Err(Error::TokenId {
            id: id.into(),
            vocab: logits.len(),
        }),
    }
}

/// The judge that only counts.
#[derive(Debug, Default)]
pub struct Perplexity {
    nll: Mean,
    /// One a row of a batch.
    rows: Vec<Result<f64>>,
}

impl Judge for Perplexity {
    fn take(&mut self, pool: &Pool, next: &[u32], logits: &[f32]) -> Result<()> {
        let n_vocab = logits.len() / next.len().max(1);
        self.rows.clear();
        self.rows.resize_with(next.len(), || Ok(0.0));
        pool.each(&mut self.rows, |i, row| {
            let logits = &logits[i * n_vocab..][..n_vocab];
            *row = log_sum_exp(logits).and_then(|norm| nll(logits, norm, next[i]));
        });
        for row in self.rows.drain(..) {
            self.nll.add(row?);
        }
        Ok(())
    }

    fn nll(&self) -> &Mean {
        &self.nll
    }
}

#[cfg(test)]
mod tests;
