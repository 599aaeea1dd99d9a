//! A sequence in the making: a model, the state of its attention, and the tokens that stand in it.

use core::ops::ControlFlow;

use super::{Forward, GenerateOptions, Generation, Pieces};
use crate::error::Result;
use crate::load::Model;
use crate::model::memory::reserved;
use crate::model::{CacheType, Logits, State, Watch};
use crate::sample::{Sampler, SamplerOptions};

/// The size of a [`Session`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionOptions {
    /// Tokens that it can hold; `None` takes the smaller of 4096 and what the model was trained for, and 0 the latter.
    pub ctx: Option<usize>,
    /// Most tokens that go through the model at once.
    pub batch: usize,
    /// The numbers of the cache.
    pub cache_type: CacheType,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            ctx: None,
            batch: 224,
            cache_type: CacheType::F16,
        }
    }
}

/// A model at work on one sequence of tokens.
///
/// A chat renders its whole history every turn; [`resume`](Self::resume) keeps what the sequence has in common with it, so that
/// only the new end is computed.
#[derive(Debug)]
pub struct Session<'m> {
    pub(super) model: &'m Model,
    pub(super) state: State,
    /// The tokens that `state` holds.
    pub(super) tokens: Vec<u32>,
    /// The end-of-generation tokens; none without a tokenizer.
    pub(super) ends: Vec<u32>,
    /// Tokens of the beginning whose rows stand as a pass left them.
    pub(super) computed: usize,
}

impl<'m> Session<'m> {
    /// An empty sequence; its memory is reserved here.
    ///
    /// # Errors
    /// When a size is 0 or the cache does not fit into memory.
    pub fn new(model: &'m Model, options: &SessionOptions) -> Result<Self> {
        let trained = model.transformer().config().n_ctx_train;
        let ctx = match options.ctx {
            None => trained.min(4096),
            Some(0) => trained,
            Some(ctx) => ctx,
        };
        let state = model
            .transformer()
            .state(ctx, options.cache_type, options.batch)?;
        let ends = match model.tokenizer() {
            Ok(tokenizer) => tokenizer.eog().collect(),
            Err(_) => Vec::new(),
        };
        Ok(Self {
            model,
            state,
            ends,
            computed: 0,
            tokens: reserved(ctx, || format!("the ids of {ctx} tokens"))?,
        })
    }

    /// The model at work.
    #[must_use]
    pub fn model(&self) -> &'m Model {
        self.model
    }

    /// The tokens that the sequence holds.
    #[must_use]
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// The tokens that end an answer; none when the model has no tokenizer. [Suppress](Sampler::suppress) them to go on for ever.
    #[must_use]
    pub fn ends(&self) -> &[u32] {
        &self.ends
    }

    /// A sampler over this model's vocabulary that never gives a token which the tokenizer knows to be of no use.
    ///
    /// # Errors
    /// When an option is out of its range.
    pub fn sampler(&self, options: &SamplerOptions) -> Result<Sampler> {
        let n_vocab = self.n_vocab();
        let mut sampler = Sampler::new(n_vocab, options)?;
        if let Ok(tokenizer) = self.model.tokenizer() {
            sampler.suppress((0..n_vocab as u32).filter(|&id| tokenizer.is_unused(id)));
            sampler.suppress(tokenizer.suppressed().iter().copied());
        }
        Ok(sampler)
    }

    /// Forgets everything that is not a beginning of `text`, and returns what of `text` is still to be run: never nothing,
    /// unless `text` is empty, because logits come from running a token.
    pub fn resume<'t>(&mut self, text: &'t [u32]) -> &'t [u32] {
        let common = self.tokens.iter().zip(text).take_while(|(a, b)| a == b);
        let keep = common.count().min(text.len().saturating_sub(1));
        self.truncate(keep);
        &text[keep..]
    }

    /// As [`resume`](Self::resume), but keeps whole passes of [`batch`](Forward::batch) tokens from the start only: what follows has the
    /// bits of a sequence that never held anything else, if its own beginning was run in such passes.
    pub fn resume_passes<'t>(&mut self, text: &'t [u32]) -> &'t [u32] {
        self.resume(text);
        let keep = self.in_passes(self.tokens.len());
        self.truncate(keep);
        &text[keep..]
    }

    /// How many of the first `n` tokens are whole passes, as they were computed.
    pub(super) fn in_passes(&self, n: usize) -> usize {
        let n = n.min(self.computed).min(self.tokens.len());
        n / self.batch() * self.batch()
    }

    /// What decides on the bits of a row of its cache, by name.
    pub(super) fn terms(&self) -> Vec<(&'static str, String)> {
        let transformer = self.model.transformer();
        let (config, sequence) = (transformer.config(), self.state.sequence());
        let mut terms = self.model.terms().to_vec();
        terms.extend([
            ("layers", format!("{:?}", sequence.shape)),
            ("heads", format!("{:?}", config.heads)),
            ("cache", format!("{:?}", sequence.layout())),
            ("batch", self.batch().to_string()),
            (
                "long-rope",
                config.rope.is_long(self.capacity()).to_string(),
            ),
            ("index", sequence.chooses().to_string()),
        ]);
        terms
    }

    /// Continues the sequence with `prompt` and then with what the model says, as text. Ends at the tokenizer's
    /// end-of-generation tokens.
    ///
    /// # Errors
    /// As [`Generation::new`], and when the model has no tokenizer.
    pub fn generate<'a>(
        &'a mut self,
        prompt: &[u32],
        sampler: &'a mut Sampler,
        options: GenerateOptions,
    ) -> Result<Pieces<'a, Self>> {
        self.generate_watched(prompt, sampler, options, &mut |_, _| {
            ControlFlow::Continue(())
        })
    }

    /// [`generate`](Self::generate), telling `progress(done, total)` how much of the prompt is through; it may break.
    ///
    /// # Errors
    /// As [`generate`](Self::generate).
    pub fn generate_watched<'a>(
        &'a mut self,
        prompt: &[u32],
        sampler: &'a mut Sampler,
        options: GenerateOptions,
        progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Pieces<'a, Self>> {
        let tokenizer = self.model.tokenizer()?;
        let ends = self.ends.clone();
        let tokens = Generation::new(self, prompt, sampler, &ends, options, progress)?;
        Ok(Pieces::new(tokens, tokenizer.stream()))
    }
}

impl Session<'_> {
    /// Appends tokens, 1 to [`Forward::batch`], while `watch` is shown what goes into the matrices: into that of the output
    /// only when `want` asks for logits.
    ///
    /// # Errors
    /// As [`Forward::feed`].
    pub fn watched(&mut self, tokens: &[u32], want: Logits, watch: &dyn Watch) -> Result<()> {
        let (transformer, pool) = (self.model.transformer(), self.model.pool());
        transformer.forward_watched(pool, tokens, &mut self.state, want, watch)?;
        self.tokens.extend_from_slice(tokens);
        Ok(())
    }

    fn forward(&mut self, tokens: &[u32], want: Logits) -> Result<&[f32]> {
        let (transformer, pool) = (self.model.transformer(), self.model.pool());
        let logits = transformer.forward(pool, tokens, &mut self.state, want)?;
        if self.computed == self.tokens.len() {
            self.computed += tokens.len();
        }
        self.tokens.extend_from_slice(tokens);
        Ok(logits)
    }
}

impl Forward for Session<'_> {
    fn n_vocab(&self) -> usize {
        self.model.transformer().config().n_vocab
    }

    fn batch(&self) -> usize {
        self.state.batch()
    }

    fn len(&self) -> usize {
        self.state.len()
    }

    fn capacity(&self) -> usize {
        self.state.capacity()
    }

    fn bytes_per_token(&self) -> u64 {
        self.model.transformer().bytes_per_token()
    }

    fn feed(&mut self, tokens: &[u32]) -> Result<()> {
        self.forward(tokens, Logits::None).map(|_| ())
    }

    fn last(&mut self, tokens: &[u32]) -> Result<&[f32]> {
        self.forward(tokens, Logits::Last)
    }

    fn all(&mut self, tokens: &[u32]) -> Result<&[f32]> {
        self.forward(tokens, Logits::All)
    }

    fn truncate(&mut self, len: usize) {
        self.state.truncate(len);
        self.tokens.truncate(len);
        self.computed = self.computed.min(len);
    }

    fn shift(&mut self, keep: usize, discard: usize) -> Result<()> {
        let (transformer, sequence) = (self.model.transformer(), self.state.sequence_mut());
        transformer.shift(sequence, keep, discard)?;
        self.tokens.drain(keep..keep + discard);
        self.computed = self.computed.min(keep);
        Ok(())
    }
}
