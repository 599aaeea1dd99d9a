//! The speed of a model, test by test, as llama-bench measures it.
//!
//! ```text
//! pp N    N random tokens, in batches of `batch`, each in passes of at most `Forward::batch`; logits after each batch
//! tg N    N random tokens, one a pass, with logits: what decoding does, without choosing a token
//! pp+tg   the one after the other, timed together
//! @ d D   all of that after D tokens that are not timed
//! ```
//!
//! A warm-up is the whole prompt and one token of the decoding, without the depth. Tokens are random because no cache of
//! anything must know them, and from a fixed seed so that a mixture of experts goes the same ways every time. They begin with
//! no special token, which llama-bench puts first where a model wants it; it costs the same.

use core::ops::ControlFlow;
use std::time::Instant;

use crate::error::Result;
use crate::generate::Forward;
use crate::meter::energy::Timing;
use crate::meter::record::Test;
use crate::sample::Pcg32;

/// Runs tests on a model.
#[derive(Debug)]
pub struct Bench<M> {
    model: M,
    batch: usize,
    random: Pcg32,
    /// Tokens that the sequence begins with for a test at that depth, and that need not be computed again for the next repetition.
    deep: usize,
}

impl<M: Forward> Bench<M> {
    /// Tests of `model`, whose prompts go through it in batches of `batch` tokens, at least 1.
    pub fn new(model: M, batch: usize) -> Self {
        Self {
            model,
            batch: batch.max(1),
            random: Pcg32::new(0),
            deep: 0,
        }
    }

    /// Runs what `test` will run, shortened where that is enough to have everything in memory. Returns whether it was not
    /// stopped.
    ///
    /// `go_on` is asked before every pass.
    ///
    /// # Errors
    /// What the model refuses: a test that does not fit its context.
    pub fn warm_up(
        &mut self,
        test: Test,
        go_on: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<bool> {
        self.prepare(0, go_on)?;
        let short = Test {
            generated: test.generated.min(1),
            depth: 0,
            ..test
        };
        Ok(self.timed(short, go_on)?.is_some())
    }

    /// Runs `test` once. When it began and ended; `None` when it was stopped.
    ///
    /// # Errors
    /// As [`warm_up`](Self::warm_up).
    pub fn repetition(
        &mut self,
        test: Test,
        go_on: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<Option<Timing>> {
        if !self.prepare(test.depth, go_on)? {
            return Ok(None);
        }
        self.timed(test, go_on)
    }

    /// Makes the sequence one of `depth` tokens, as [`repetition`](Self::repetition) does where it is not one yet: whoever marks the
    /// begin of what is timed does this first. Returns whether it was not stopped.
    ///
    /// # Errors
    /// As [`warm_up`](Self::warm_up).
    pub fn prepare(
        &mut self,
        depth: usize,
        go_on: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<bool> {
        if self.deep != depth || self.model.len() < depth {
            self.model.clear();
            self.deep = 0;
            let tokens = self.tokens(depth);
            if !self.prompt(&tokens, go_on)? {
                return Ok(false);
            }
            self.deep = depth;
        }
        self.model.truncate(depth);
        Ok(true)
    }

    /// Prompt and decoding, after what the sequence holds.
    fn timed(
        &mut self,
        test: Test,
        go_on: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<Option<Timing>> {
        let tokens = self.tokens(test.tokens());
        let (prompt, generated) = tokens.split_at(test.prompt);
        let begin = Instant::now();
        if !self.prompt(prompt, go_on)? {
            return Ok(None);
        }
        let prompt_end = Instant::now();
        for token in generated.chunks(1) {
            if go_on().is_break() {
                return Ok(None);
            }
            self.model.last(token)?;
        }
        Ok(Some(Timing {
            begin,
            prompt: test.prompt,
            prompt_end,
            generated: test.generated,
            end: Instant::now(),
        }))
    }

    /// Runs a prompt. Returns whether it was not stopped.
    fn prompt(
        &mut self,
        tokens: &[u32],
        go_on: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<bool> {
        let pass = self.model.batch();
        for batch in tokens.chunks(self.batch) {
            let last = (batch.len() - 1) / pass;
            for (i, tokens) in batch.chunks(pass).enumerate() {
                if go_on().is_break() {
                    return Ok(false);
                }
                if i == last {
                    self.model.last(tokens)?;
                } else {
                    self.model.feed(tokens)?;
                }
            }
        }
        Ok(true)
    }

    /// `n` random ids.
    fn tokens(&mut self, n: usize) -> Vec<u32> {
        let vocab = self.model.n_vocab() as f64;
        let id = |random: &mut Pcg32| (random.next_unit() * vocab) as u32;
        (0..n).map(|_| id(&mut self.random)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::toy::Toy;

    fn go_on() -> impl FnMut() -> ControlFlow<()> {
        || ControlFlow::Continue(())
    }

    const TEST: Test = Test {
        prompt: 10,
        generated: 3,
        depth: 5,
    };

    #[test]
    fn a_prompt_goes_in_batches_and_passes_and_decoding_one_by_one() {
        let mut bench = Bench::new(Toy::new(18, 4), 6);
        let time = bench.repetition(TEST, &mut go_on()).expect("room");
        assert!(time.is_some(), "not stopped");
        let depth = [4, 1];
        let prompt = [4, 2, 4];
        assert_eq!(
            bench.model.passes,
            [&depth[..], &prompt, &[1, 1, 1]].concat()
        );
        assert_eq!(bench.model.len(), 18);
    }

    #[test]
    fn the_depth_is_computed_once() {
        let mut bench = Bench::new(Toy::new(18, 4), 6);
        bench.warm_up(TEST, &mut go_on()).expect("room");
        assert_eq!(bench.model.passes, [4, 2, 4, 1], "the prompt and a token");
        bench.repetition(TEST, &mut go_on()).expect("room");
        let before = bench.model.tokens[..5].to_vec();
        bench.model.passes.clear();
        bench.repetition(TEST, &mut go_on()).expect("room");
        assert_eq!(bench.model.passes, [4, 2, 4, 1, 1, 1]);
        assert_eq!(bench.model.tokens[..5], before);
        bench.warm_up(TEST, &mut go_on()).expect("room");
        bench.model.passes.clear();
        bench.repetition(TEST, &mut go_on()).expect("room");
        assert_eq!(bench.model.passes[..2], [4, 1], "gone after a warm-up");
    }

    #[test]
    fn it_stops_before_any_pass_when_asked() {
        for passes in 0..8 {
            let mut bench = Bench::new(Toy::new(18, 4), 6);
            let mut left = passes;
            let mut go_on = || match left {
                0 => ControlFlow::Break(()),
                _ => {
                    left -= 1;
                    ControlFlow::Continue(())
                }
            };
            let time = bench.repetition(TEST, &mut go_on).expect("room");
            assert_eq!(time, None, "{passes}");
            assert_eq!(bench.model.passes.len(), passes);
        }
    }

    #[test]
    fn a_stopped_depth_is_not_taken_for_whole() {
        let mut bench = Bench::new(Toy::new(18, 4), 6);
        let mut asked = 0;
        let mut once = || {
            asked += 1;
            match asked {
                1 => ControlFlow::Continue(()),
                _ => ControlFlow::Break(()),
            }
        };
        bench.repetition(TEST, &mut once).expect("room");
        bench.model.passes.clear();
        bench.repetition(TEST, &mut go_on()).expect("room");
        assert_eq!(bench.model.passes[..2], [4, 1]);
    }

    #[test]
    fn tokens_are_in_the_vocabulary_and_the_same_every_time() {
        let run = || {
            let mut bench = Bench::new(Toy::new(500, 500), 500);
            let test = Test {
                prompt: 500,
                generated: 0,
                depth: 0,
            };
            bench.repetition(test, &mut go_on()).expect("room");
            bench.model.tokens
        };
        let tokens = run();
        for id in 0..Toy::VOCAB as u32 {
            assert!(tokens.contains(&id), "{id}");
        }
        assert!(tokens.iter().all(|&id| id < Toy::VOCAB as u32));
        assert_eq!(tokens, run());
    }

    #[test]
    fn a_fault_of_the_model_is_told() {
        let mut model = Toy::new(18, 4);
        model.fails_at = Some(3);
        let mut bench = Bench::new(model, 6);
        let told = bench.repetition(TEST, &mut go_on()).expect_err("a fault");
        assert!(told.to_string().contains("the toy broke"), "{told}");
    }
}
