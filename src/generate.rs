//! From a prompt to its continuation: prefill in batches, then one token after the other until something ends it.
//!
//! ```text
//! prompt p0 .. pn-1     model.feed(batch) ...  model.last(batch) -> logits        prefill
//! first token           t0 = sample(logits)
//! the others            t(i+1) = sample(model.last([t(i)]))                         decode, one iterator step each
//! ```
//!
//! [`Generation`] is an iterator of tokens over anything that is a [`Forward`]; [`Pieces`] turns it into text. The last token is never
//! run through the model: the next turn of a chat does that, with what follows it, in one batch.

use core::ops::ControlFlow;
use std::time::Instant;

use crate::error::{Error, Result};
use crate::meter::Speed;
use crate::sample::Sampler;

mod pieces;
pub mod prompt_cache;
mod samples;
mod session;

pub use pieces::{Piece, Pieces};
pub use prompt_cache::PromptCache;
pub use samples::{Sample, Samples};
pub use session::{Session, SessionOptions};

/// What generation and scoring ask of a model and the sequence that it is in.
pub trait Forward {
    /// Tokens in the vocabulary: the length of a row of logits.
    fn n_vocab(&self) -> usize;
    /// Most tokens that one pass takes, at least 1.
    fn batch(&self) -> usize;
    /// Tokens in the sequence so far.
    fn len(&self) -> usize;
    /// Whether nothing was said yet.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Tokens that the sequence can hold.
    fn capacity(&self) -> usize;
    /// Bytes of weights that decoding one token reads; 0 when not known.
    fn bytes_per_token(&self) -> u64 {
        0
    }
    /// Appends tokens (1 to `batch`) without asking for logits.
    ///
    /// # Errors
    /// When a token is outside the vocabulary or the sequence is full; it is then unchanged.
    fn feed(&mut self, tokens: &[u32]) -> Result<()>;
    /// Appends tokens; the logits (vocab) after the last of them.
    ///
    /// # Errors
    /// As [`feed`](Self::feed).
    fn last(&mut self, tokens: &[u32]) -> Result<&[f32]>;
    /// Appends tokens; the logits (tokens, vocab) after each of them.
    ///
    /// # Errors
    /// As [`feed`](Self::feed).
    fn all(&mut self, tokens: &[u32]) -> Result<&[f32]>;
    /// Forgets all tokens from `len` on; does nothing when there are fewer.
    fn truncate(&mut self, len: usize);
    /// Forgets `discard` tokens from `keep` on; those behind them move up.
    ///
    /// # Errors
    /// When there are not so many tokens.
    fn shift(&mut self, keep: usize, discard: usize) -> Result<()>;
    /// Forgets the sequence: the next token stands first.
    fn clear(&mut self) {
        self.truncate(0);
    }
}

/// When to stop, and what to tell along the way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GenerateOptions {
    /// Most tokens to generate; `None` goes on until the model ends its answer or the context is full.
    pub n: Option<usize>,
    /// When the context is full, forget half of the tokens behind the first so many and go on; without it the answer ends.
    pub shift: Option<usize>,
    /// Also compute each token's log-probability, which costs a pass over the vocabulary.
    pub logprobs: bool,
}

/// A token of the answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Token {
    /// Its id.
    pub id: u32,
    /// Its natural log-probability under the softmax of the raw logits (temperature 1, no filter), if asked for.
    pub logprob: Option<f64>,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The model gave this end-of-generation token, which is not part of the answer.
    Token(u32),
    /// As many tokens as were asked for.
    Length,
    /// The context holds no further token.
    Context,
    /// The caller stopped the prefill, or an error ended the answer.
    Stopped,
}

/// The tokens of an answer, computed one a step; see the [module](self).
pub struct Generation<'a, M: Forward> {
    model: &'a mut M,
    sampler: &'a mut Sampler,
    /// A handful of ids.
    ends: Vec<u32>,
    options: GenerateOptions,
    /// Sampled, and not yet handed out.
    ready: Option<Token>,
    /// Handed out last; goes through the model when the next one is asked for.
    previous: u32,
    end: Option<End>,
    speed: Speed,
}

impl<'a, M: Forward> Generation<'a, M> {
    /// Runs the prompt through the model after what the sequence already holds, and samples the first token.
    ///
    /// `ends` are the end-of-generation tokens. `progress(done, total)` is told about the prompt's tokens after every batch
    /// and before the first; when it breaks, the answer is empty and its end is [`End::Stopped`].
    ///
    /// # Errors
    /// [`Error::Argument`] for an empty prompt, [`Error::ContextFull`] before any work when the prompt does not fit,
    /// and what the model and the sampler refuse.
    pub fn new(
        model: &'a mut M,
        prompt: &[u32],
        sampler: &'a mut Sampler,
        ends: &[u32],
        options: GenerateOptions,
        progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Self> {
        check_prompt(model, prompt)?;
        let speed = Speed {
            bytes_per_token: model.bytes_per_token(),
            ..Speed::default()
        };
        let mut generation = Self {
            model,
            sampler,
            ends: ends.to_vec(),
            options,
            ready: None,
            previous: 0,
            end: None,
            speed,
        };
        let Some(last) = prefill(generation.model, prompt, &mut generation.speed, progress)? else {
            generation.end = Some(End::Stopped);
            return Ok(generation);
        };
        let start = Instant::now();
        let tokens = prompt.iter();
        tokens.for_each(|&id| generation.sampler.accept(id));
        generation.step(last)?;
        generation.speed.prefill.add(last.len(), start.elapsed());
        let _ = progress(prompt.len(), prompt.len());
        Ok(generation)
    }

    /// Whether the context has no room, and none can be made.
    fn is_full(&self) -> bool {
        let (len, capacity) = (self.model.len(), self.model.capacity());
        len >= capacity
            && self
                .options
                .shift
                .is_none_or(|keep| to_forget(len, keep) == 0)
    }

    /// Makes room for a token where there is none.
    fn room(&mut self) -> Result<()> {
        let len = self.model.len();
        match self.options.shift {
            Some(keep) if len >= self.model.capacity() => {
                self.model.shift(keep, to_forget(len, keep))
            }
            _ => Ok(()),
        }
    }

    /// Runs `tokens` and samples what follows them, or finds that nothing does.
    fn step(&mut self, tokens: &[u32]) -> Result<()> {
        let logits = self.model.last(tokens)?;
        let done = self.speed.answer_tokens;
        match next_token(logits, self.sampler, &self.ends, self.options, done)? {
            Ok(token) => self.ready = Some(token),
            Err(end) => self.end = Some(end),
        }
        Ok(())
    }

    /// Why there is no further token; `None` while there may be one.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// What was measured so far.
    #[must_use]
    pub fn speed(&self) -> &Speed {
        &self.speed
    }
}

/// How many of `len` tokens a shift forgets that keeps the first `keep`: half of the others, as in llama.cpp, and one at least.
fn to_forget(len: usize, keep: usize) -> usize {
    let others = len.saturating_sub(keep);
    (others / 2).max(others.min(1))
}

/// Refuses a prompt that is empty or does not fit.
fn check_prompt(model: &impl Forward, prompt: &[u32]) -> Result<()> {
    if prompt.is_empty() {
        return Err(Error::Argument {
            name: "prompt",
            value: "(empty)".into(),
            expected: "at least one token".into(),
        });
    }
    let tokens = model.len() + prompt.len();
    if tokens > model.capacity() {
        return Err(Error::ContextFull {
            tokens,
            context: model.capacity(),
        });
    }
    Ok(())
}

/// Runs all of `prompt` but its last batch, which it returns, since logits come from that; `None` when `progress` breaks.
fn prefill<'p>(
    model: &mut impl Forward,
    prompt: &'p [u32],
    speed: &mut Speed,
    progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<Option<&'p [u32]>> {
    let total = prompt.len();
    let mut rest = prompt;
    loop {
        if progress(total - rest.len(), total).is_break() {
            return Ok(None);
        }
        let start = Instant::now();
        let (batch, after) = rest.split_at(rest.len().min(model.batch()));
        if after.is_empty() {
            return Ok(Some(batch));
        }
        model.feed(batch)?;
        speed.prefill.add(batch.len(), start.elapsed());
        rest = after;
    }
}

/// Samples what follows an answer of `done` tokens, by the logits after it, or finds that nothing does.
fn next_token(
    logits: &[f32],
    sampler: &mut Sampler,
    ends: &[u32],
    options: GenerateOptions,
    done: usize,
) -> Result<core::result::Result<Token, End>> {
    if options.n == Some(done) {
        return Ok(Err(End::Length));
    }
    let id = sampler.sample(logits)?;
    if ends.contains(&id) {
        return Ok(Err(End::Token(id)));
    }
    let logprob = match options.logprobs {
        true => Some(logprob(logits, id)?),
        false => None,
    };
    sampler.accept(id);
    Ok(Ok(Token { id, logprob }))
}

impl<M: Forward> Iterator for Generation<'_, M> {
    type Item = Result<Token>;

    /// The next token. After an error there is none.
    fn next(&mut self) -> Option<Self::Item> {
        if self.ready.is_none() && self.end.is_none() {
            if self.options.n == Some(self.speed.answer_tokens) {
                self.end = Some(End::Length);
            } else if self.is_full() {
                self.end = Some(End::Context);
            } else {
                let start = Instant::now();
                let previous = [self.previous];
                if let Err(error) = self.room().and_then(|()| self.step(&previous)) {
                    self.end = Some(End::Stopped);
                    return Some(Err(error));
                }
                self.speed.decode.add(1, start.elapsed());
            }
        }
        let token = self.ready.take()?;
        self.previous = token.id;
        self.speed.answer_tokens += 1;
        Some(Ok(token))
    }
}

impl<M: Forward> core::fmt::Debug for Generation<'_, M> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Generation")
            .field("options", &self.options)
            .field("end", &self.end)
            .field("speed", &self.speed)
            .finish_non_exhaustive()
    }
}

/// The natural logarithm of the sum of e^logit over a row (vocab), in f64 and in the order of the ids.
///
/// # Errors
/// [`Error::Logits`] when a logit is not a number or plus infinity, or all are minus infinity.
pub fn log_sum_exp(logits: &[f32]) -> Result<f64> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let bad = |logit: &f32| logit.is_nan() || *logit == f32::INFINITY;
    if let Some(id) = logits.iter().position(bad) {
        return Err(Error::Logits {
            what: format!("the logit of token {id} is {}", logits[id]),
        });
    }
    if largest == f32::NEG_INFINITY {
        return Err(Error::Logits {
            what: "no token has a probability".into(),
        });
    }
    let largest = f64::from(largest);
    let sum: f64 = logits
        .iter()
        .map(|&logit| (f64::from(logit) - largest).exp())
        .sum();
    Ok(largest + sum.ln())
}

/// The natural log-probability of token `id` under the softmax of a row of logits.
///
/// # Errors
/// As [`log_sum_exp`].
fn logprob(logits: &[f32], id: u32) -> Result<f64> {
    Ok(f64::from(logits[id as usize]) - log_sum_exp(logits)?)
}

#[cfg(test)]
pub(crate) mod toy;

#[cfg(test)]
mod tests;
