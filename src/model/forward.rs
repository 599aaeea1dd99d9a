//! The walk of a batch of tokens through the model.

use super::memory::zeros;
use super::sequence::{LayerCaches, Sequence};
use super::state::{Buffers, State};
use super::step::{Step, TOGETHER};
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
        self.pass_of(pool, tokens, state, want, None)
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
        self.pass_of(pool, tokens, state, want, Some(watch))
    }

    /// Runs one token of each of several sequences, at most eight, through the buffers of `state`, whose own
    /// sequence has no part in it, and appends it there. Weights are read once for all of them.
    ///
    /// Returns the logits after each token, `(sequences, n_vocab)`: those of a pass of each sequence alone, bit for bit.
    ///
    /// # Errors
    /// As [`forward`](Self::forward); all sequences then hold the tokens that they held.
    ///
    /// # Panics
    /// When there are not as many tokens as sequences, or a sequence has not the capacity of `state` or belongs to a model of another
    /// shape.
    pub fn forward_each<'s>(
        &self,
        pool: &Pool,
        tokens: &[u32],
        sequences: &mut [Sequence],
        state: &'s mut State,
    ) -> Result<&'s [f32]> {
        assert_eq!(tokens.len(), sequences.len(), "a token of each sequence");
        self.check_batch(tokens, state.batch().min(TOGETHER))?;
        for sequence in &mut *sequences {
            assert_eq!(
                sequence.capacity(),
                state.capacity(),
                "sequences of a state"
            );
            self.check(1, sequence)?;
        }
        let buffers = (&mut state.buffers, &mut state.logits);
        self.pass(pool, tokens, sequences, buffers, Logits::All, None)
    }

    fn pass_of<'s>(
        &self,
        pool: &Pool,
        tokens: &[u32],
        state: &'s mut State,
        want: Logits,
        watch: Option<&dyn Watch>,
    ) -> Result<&'s [f32]> {
        self.check(tokens.len(), &state.sequence)?;
        self.check_batch(tokens, state.batch())?;
        let sequences = core::slice::from_mut(&mut state.sequence);
        let buffers = (&mut state.buffers, &mut state.logits);
        self.pass(pool, tokens, sequences, buffers, want, watch)
    }

    /// A pass of as many tokens of each sequence.
    fn pass<'s>(
        &self,
        pool: &Pool,
        tokens: &[u32],
        sequences: &mut [Sequence],
        (b, logits): (&mut Buffers, &'s mut Vec<f32>),
        want: Logits,
        watch: Option<&dyn Watch>,
    ) -> Result<&'s [f32]> {
        let (weights, config) = (&self.weights, &self.config);
        let (n, width) = (tokens.len(), config.n_embd);
        let each = n / sequences.len();
        let mut pasts = [0; TOGETHER];
        let pasts = &mut pasts[..sequences.len()];
        for (past, sequence) in pasts.iter_mut().zip(&mut *sequences) {
            *past = sequence.len();
            sequence.reserve(each)?;
        }
        let step = Step {
            pool,
            isa: self.isa,
            config,
            tokens: n,
            pasts,
            watch,
        };
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
        b.angles.fill(step);
        for (i, layer) in weights.layers.iter().enumerate() {
            // What a block puts out is added when the next takes it in.
            let last = (i > 0).then_some(&*y);
            let h = b.input.fill(step, x, last, &layer.attention_norm);
            let caches = LayerCaches::new(sequences, i);
            let (angles, work) = (&b.angles, &mut b.attention);
            layer
                .attention
                .forward(step, h, angles, caches, work, &mut b.acts, y);
            let h = b.input.fill(step, x, Some(y), &layer.ffn_norm);
            layer.ffn.forward(step, h, &mut b.ffn, &mut b.acts, y);
        }
        sequences
            .iter_mut()
            .for_each(|sequence| sequence.len += each);

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

    /// Refuses tokens that the pass could not finish.
    fn check_batch(&self, tokens: &[u32], batch: usize) -> Result<()> {
        let vocab = self.config.n_vocab;
        if let Some(&id) = tokens.iter().find(|&&id| id as usize >= vocab) {
            return Err(Error::TokenId {
                id: id.into(),
                vocab,
            });
        }
        if tokens.is_empty() || tokens.len() > batch {
            return Err(Error::Batch {
                tokens: tokens.len(),
                batch,
            });
        }
        Ok(())
    }

    /// Refuses `tokens` more tokens than a sequence holds.
    fn check(&self, tokens: usize, sequence: &Sequence) -> Result<()> {
        assert_eq!(
            sequence.shape,
            self.shape(),
            "the sequence of a model of another shape"
        );
        let (tokens, context) = (sequence.len() + tokens, sequence.capacity());
        if tokens > context {
            return Err(Error::ContextFull { tokens, context });
        }
        Ok(())
    }
}
