//! Several answers to one prompt, in one batch.
//!
//! ```text
//! prompt            run once
//! sample 0 .. G-1   branches of its sequence: their cache is the prompt's, and what each adds
//! a token of each   one pass of up to 8 samples, which reads the weights once; those that have ended leave the batch
//! ```
//!
//! A sample has the bits that it would have alone: tokens and log-probabilities depend on the prompt and its own sampler, not on who
//! else is drawn. Groups of answers to one question are what GRPO learns from (Shao et al. 2024, `DeepSeekMath`, section 4.1).

use core::ops::ControlFlow;
use std::time::Instant;

use super::{End, Forward, GenerateOptions, Session, Token, check_prompt, next_token, prefill};
use crate::error::Result;
use crate::meter::Speed;
use crate::model::{Sequence, TOGETHER};
use crate::sample::Sampler;

/// An answer, whole or in the making.
#[derive(Debug)]
pub struct Sample {
    /// Its tokens so far, without an end-of-generation token.
    pub tokens: Vec<Token>,
    /// Why there is no further one; `None` while there may be one.
    pub end: Option<End>,
    sampler: Sampler,
}

impl Sample {
    /// Seed of its draws.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.sampler.seed()
    }

    /// Draws the token that logits (vocab) give, or finds that nothing follows.
    fn take(&mut self, logits: &[f32], ends: &[u32], options: GenerateOptions) -> Result<()> {
        match next_token(logits, &mut self.sampler, ends, options, self.tokens.len())? {
            Ok(token) => self.tokens.push(token),
            Err(end) => self.end = Some(end),
        }
        if self.end.is_none() && options.n == Some(self.tokens.len()) {
            self.end = Some(End::Length);
        }
        Ok(())
    }
}

/// The answers to one prompt, drawn in one batch; each is the one that its sampler draws alone.
#[derive(Debug)]
pub struct Samples<'a, 'm> {
    session: &'a mut Session<'m>,
    samples: Vec<Sample>,
    /// Those that have not ended, in the order of `sequences`.
    running: Vec<usize>,
    sequences: Vec<Sequence>,
    options: GenerateOptions,
    speed: Speed,
}

impl<'m> Session<'m> {
    /// Runs `prompt` after what the sequence holds, and draws the first token of an answer with each of `samplers`. The sequence
    /// then holds the prompt, and none of the answers.
    ///
    /// # Errors
    /// As [`Generation::new`](super::Generation::new), and when there is no memory for the branches.
    pub fn samples<'a>(
        &'a mut self,
        prompt: &[u32],
        samplers: Vec<Sampler>,
        options: GenerateOptions,
        progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Samples<'a, 'm>> {
        check_prompt(self, prompt)?;
        // Samples share a read of the weights, and of the experts some of it: what one token reads is not known.
        let mut speed = Speed::default();
        let samples = samplers.into_iter().map(|mut sampler| {
            prompt.iter().for_each(|&id| sampler.accept(id));
            Sample {
                tokens: Vec::new(),
                end: None,
                sampler,
            }
        });
        let mut samples: Vec<_> = samples.collect();
        let Some(last) = prefill(self, prompt, &mut speed, progress)? else {
            for sample in &mut samples {
                sample.end = Some(End::Stopped);
            }
            return Ok(Samples::of(self, samples, options, speed, Vec::new()));
        };
        let start = Instant::now();
        let ends = self.ends().to_vec();
        let logits = self.last(last)?;
        for sample in &mut samples {
            sample.take(logits, &ends, options)?;
        }
        speed.prefill.add(last.len(), start.elapsed());
        let _ = progress(prompt.len(), prompt.len());
        let running = samples.iter().filter(|sample| sample.end.is_none());
        let sequences = running.map(|_| self.state.sequence().branch());
        let sequences = sequences.collect::<Result<_>>()?;
        Ok(Samples::of(self, samples, options, speed, sequences))
    }
}

impl<'a, 'm> Samples<'a, 'm> {
    fn of(
        session: &'a mut Session<'m>,
        samples: Vec<Sample>,
        options: GenerateOptions,
        speed: Speed,
        sequences: Vec<Sequence>,
    ) -> Self {
        let running = samples.iter().enumerate();
        let running = running.filter(|(_, sample)| sample.end.is_none());
        Self {
            running: running.map(|(i, _)| i).collect(),
            session,
            samples,
            sequences,
            options,
            speed,
        }
    }

    /// Draws a further token of each sample that has not ended; false when all have.
    ///
    /// # Errors
    /// What the model and the samplers refuse; the samples hold what they held.
    pub fn step(&mut self) -> Result<bool> {
        let start = Instant::now();
        self.leave();
        let Session {
            model, state, ends, ..
        } = &mut *self.session;
        let (options, ends) = (self.options, &*ends);
        let together = TOGETHER.min(state.batch());
        let each = self.sequences.chunks_mut(together);
        for (sequences, running) in each.zip(self.running.chunks(together)) {
            let mut previous = [0; TOGETHER];
            for (id, &i) in previous.iter_mut().zip(running) {
                // A sample that goes on has a token: it ends otherwise.
                *id = self.samples[i].tokens.last().map_or(0, |token| token.id);
            }
            let tokens = &previous[..running.len()];
            let transformer = model.transformer();
            let logits = transformer.forward_each(model.pool(), tokens, sequences, state)?;
            let rows = logits.chunks_exact(transformer.config().n_vocab);
            let samples = self.samples.iter_mut().enumerate();
            let samples = samples.filter(|(i, _)| running.contains(i));
            let mut work: Vec<_> = samples
                .zip(rows)
                .map(|((_, sample), row)| (sample, row, Ok(())))
                .collect();
            model.pool().each(&mut work, |_, (sample, row, done)| {
                *done = sample.take(row, ends, options);
            });
            work.into_iter().try_for_each(|(.., done)| done)?;
            self.speed.decode.tokens += running.len();
        }
        self.leave();
        self.speed.decode.time += start.elapsed();
        Ok(!self.running.is_empty())
    }

    /// Takes out of the batch who has ended, or has no room for a further token.
    fn leave(&mut self) {
        let mut kept = 0;
        for at in 0..self.running.len() {
            let sample = &mut self.samples[self.running[at]];
            if sample.end.is_none() && self.sequences[at].len() >= self.sequences[at].capacity() {
                sample.end = Some(End::Context);
            }
            if sample.end.is_none() {
                self.running.swap(kept, at);
                self.sequences.swap(kept, at);
                kept += 1;
            }
        }
        self.running.truncate(kept);
        self.sequences.truncate(kept);
    }

    /// All samples, in the order of their samplers.
    #[must_use]
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// What was measured so far; a pass of several samples counts as many tokens.
    #[must_use]
    pub fn speed(&self) -> Speed {
        let answers = self.samples.iter().map(|sample| sample.tokens.len());
        Speed {
            answer_tokens: answers.sum(),
            ..self.speed
        }
    }

    /// Bytes of the caches of the prompt and all samples that have not ended, and of the prompt's alone.
    #[must_use]
    pub fn cache_bytes(&self) -> (usize, usize) {
        let prompt = self.session.state.sequence();
        let all = self.sequences.iter().chain([prompt]);
        (Sequence::cache_bytes(all), Sequence::cache_bytes([prompt]))
    }
}
