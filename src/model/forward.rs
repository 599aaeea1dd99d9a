//! The walk of a batch of tokens through the model.

use super::memory::zeros;
use super::state::State;
use super::step::Step;
use super::{Logits, Transformer, Watch, matrix};
use crate::error::{Error, Result};
use crate::pool::Pool;

impl Transformer {
    /// Runs `tokens` after those that `state` already holds, and appends them to it.
    ///
    /// Returns the logits as rows of `n_vocab`: one for the last token, one for each, or none, as `want` says. Nothing is
    /// allocated, but for the scratch of the pool's threads in the first pass, for the rows of [`Logits::All`] when there are
    /// more of them than ever before, and for a block a layer whenever the tokens outgrow those that the caches have.
    ///
    /// # Errors
    /// When a token id is outside the vocabulary, the tokens do not fit the context or the batch of `state`, or there is no
    /// memory for what is allocated; `state` then holds the tokens that it held.
    pub fn forward<'s>(
        &self,
        pool: &Pool,
        tokens: &[u32],
        state: &'s mut State,
        want: Logits,
    ) -> Result<&'s [f32]> {
        self.pass(pool, tokens, state, want, None)
    }

    /// As [`forward`](Self::forward), showing to `watch` what goes into each matrix.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn forward_watched<'s>(
        &self,
        pool: &Pool,
        tokens: &[u32],
        state: &'s mut State,
        want: Logits,
        watch: &dyn Watch,
    ) -> Result<&'s [f32]> {
        self.pass(pool, tokens, state, want, Some(watch))
    }

    fn pass<'s>(
        &self,
        pool: &Pool,
        tokens: &[u32],
        state: &'s mut State,
        want: Logits,
        watch: Option<&dyn Watch>,
    ) -> Result<&'s [f32]> {
        self.check(tokens, state)?;
        state.reserve(tokens.len())?;
        let (weights, config) = (&self.weights, &self.config);
        let (n, width) = (tokens.len(), config.n_embd);
        let step = Step {
            pool,
            isa: self.isa,
            config,
            tokens: n,
            past: state.len,
            watch,
        };
        let State {
            caches,
            index,
            buffers: b,
            logits,
            ..
        } = state;
        b.prepare(pool.threads(), config)?;
        let first = match want {
            Logits::None => n,
            Logits::Last => n - 1,
            Logits::All => 0,
        };
        let rows = n - first;
        if logits.len() < rows * config.n_vocab {
            *logits = zeros(&[rows, config.n_vocab])?;
        }
        let x = &mut b.x[..n * width];
        let y = &mut b.y[..n * width];

        for (row, &token) in x.chunks_exact_mut(width).zip(tokens) {
            weights
                .embedding
                .decode_row_with(token as usize, &mut b.row, row);
            if config.scales.embedding != 1.0 {
                row.iter_mut().for_each(|x| *x *= config.scales.embedding);
            }
        }
        b.angles.fill(config, step.past, n);
        for (i, (layer, cache)) in weights.layers.iter().zip(caches).enumerate() {
            // What a block puts out is added when the next takes it in.
            let last = (i > 0).then_some(&*y);
            let h = b.input.fill(step, x, last, &layer.attention_norm);
            let (index, work) = (index.get_mut(i), &mut b.attention);
            layer
                .attention
                .forward(step, h, &b.angles, cache, index, work, &mut b.acts, y);
            let h = b.input.fill(step, x, Some(y), &layer.ffn_norm);
            layer.ffn.forward(step, h, &mut b.ffn, &mut b.acts, y);
        }
        state.len += n;

        let logits = &mut logits[..rows * config.n_vocab];
        if rows > 0 {
            let (x, y) = (&mut x[first * width..], &y[first * width..]);
            let last = (!weights.layers.is_empty()).then_some(y);
            let h = b.input.fill(step, x, last, &weights.output_norm);
            step.show(&[&weights.output], h.rows);
            matrix::multiply(pool, &[weights.output.all()], &h.acts(), logits);
        }
        Ok(logits)
    }

    /// Refuses what the pass could not finish.
    fn check(&self, tokens: &[u32], state: &State) -> Result<()> {
        assert_eq!(
            state.shape,
            self.shape(),
            "the state of a model of another shape"
        );
        let vocab = self.config.n_vocab;
        if let Some(&id) = tokens.iter().find(|&&id| id as usize >= vocab) {
            return Err(Error::TokenId {
                id: id.into(),
                vocab,
            });
        }
        if state.len + tokens.len() > state.capacity() {
            return Err(Error::ContextFull {
                tokens: state.len + tokens.len(),
                context: state.capacity(),
            });
        }
        if tokens.is_empty() || tokens.len() > state.batch() {
            return Err(Error::Batch {
                tokens: tokens.len(),
                batch: state.batch(),
            });
        }
        Ok(())
    }
}
