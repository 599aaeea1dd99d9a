//! The sampler: from the logits of one position to the next token.
//!
//! The chain has llama.cpp's filters, names, defaults and order; what is not listed here is not applied:
//!
//! ```text
//! suppress        ids that must never come are dropped, as are logits of minus infinity
//! repeat penalty  a token of the last `repeat_last_n` has its logit divided by the penalty if positive, else multiplied
//! top_k           the k largest logits stay                                             (0 = all)
//! top_p           the fewest tokens whose probability adds up to p stay, at least one    (1 = all)
//! min_p           logit >= largest + ln(p), that is probability >= p times the largest   (0 = all)
//! temperature     logits / temp, softmax, one draw
//! ```
//!
//! A temperature of zero or less is greedy: the largest logit after the penalty. Equal logits are ordered by id, lowest first,
//! everywhere, so that the result never depends on how a sort was done.
//!
//! Probabilities are f64 and summed in one fixed order by one thread: a text follows from its logits and its seed, whatever the
//! number of threads. Everything is allocated in [`Sampler::new`]. `top_k` costs one pass over the vocabulary with a
//! buffer of 2 k candidates: once k are known, a logit under the smallest of them is dropped by one comparison.

use core::cmp::Ordering;
use core::hash::{BuildHasher, Hasher};

use crate::error::{Error, Result};

mod options;
mod recent;
mod rng;

pub use options::SamplerOptions;
use recent::Recent;
pub use rng::Pcg32;

/// A token that may come next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// The token.
    pub id: u32,
    /// Its logit after the repeat penalty.
    pub logit: f32,
    /// Its probability among the candidates that are left, after the temperature.
    pub p: f64,
}

impl Candidate {
    /// Best first: larger logit, then lower id. Logits are never NaN here.
    fn best_first(a: &Self, b: &Self) -> Ordering {
        b.logit
            .partial_cmp(&a.logit)
            .unwrap_or(Ordering::Equal)
            .then(a.id.cmp(&b.id))
    }
}

/// Chooses tokens; see the [module](self).
#[derive(Debug, Clone)]
pub struct Sampler {
    options: SamplerOptions,
    seed: u64,
    rng: Pcg32,
    n_vocab: usize,
    recent: Recent,
    /// (vocab) ids that never come, or empty when there are none.
    suppressed: Vec<bool>,
    /// What is left of the vocabulary; at most min(2 * `top_k`, vocab).
    candidates: Vec<Candidate>,
}

impl Sampler {
    /// A sampler over `n_vocab` tokens.
    ///
    /// # Errors
    /// [`Error::Argument`] when an option is out of its range.
    pub fn new(n_vocab: usize, options: &SamplerOptions) -> Result<Self> {
        options.check()?;
        let seed = options.seed.unwrap_or_else(random_seed);
        let penalises = options.repeat_penalty != 1.0;
        let remembered = if penalises { options.repeat_last_n } else { 0 };
        let kept = kept(options, n_vocab);
        Ok(Self {
            options: options.clone(),
            seed,
            rng: Pcg32::new(seed),
            n_vocab,
            recent: Recent::new(remembered, n_vocab),
            suppressed: Vec::new(),
            candidates: Vec::with_capacity(room(kept, n_vocab)),
        })
    }

    /// The seed in use, also when it was taken from the operating system.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The options given.
    #[must_use]
    pub fn options(&self) -> &SamplerOptions {
        &self.options
    }

    /// Tokens that must never be chosen; ids outside the vocabulary are ignored.
    pub fn suppress(&mut self, ids: impl IntoIterator<Item = u32>) {
        for id in ids {
            if (id as usize) < self.n_vocab {
                self.suppressed.resize(self.n_vocab, false);
                self.suppressed[id as usize] = true;
            }
        }
    }

    /// Takes note of a token of the text, prompt or answer, for the repeat penalty.
    pub fn accept(&mut self, id: u32) {
        self.recent.push(id);
    }

    /// Forgets the text and starts the random numbers again: what follows is what followed [`Sampler::new`].
    pub fn reset(&mut self) {
        self.recent.clear();
        self.rng = Pcg32::new(self.seed);
    }

    /// Chooses the next token from the logits (vocab) of one position. It is not yet [accepted](Self::accept).
    ///
    /// # Errors
    /// [`Error::Logits`] when a logit is not a number or plus infinity, or when no token is left to choose from.
    ///
    /// # Panics
    /// When `logits` is not one row of the vocabulary given to [`Sampler::new`].
    pub fn sample(&mut self, logits: &[f32]) -> Result<u32> {
        if self.options.temp <= 0.0 {
            return Ok(self.candidates(logits)?[0].id);
        }
        let reordered = self.filter(logits)?;
        if reordered {
            self.candidates.sort_unstable_by(Candidate::best_first);
        }
        softmax(&mut self.candidates, self.options.temp);
        let target = self.rng.next_unit();
        let mut cumulated = 0.0;
        let drawn = self.candidates.iter().find(|candidate| {
            cumulated += candidate.p;
            cumulated > target
        });
        // Rounding can leave the sum of all probabilities a little under the target.
        let drawn = drawn
            .or(self.candidates.last())
            .map(|candidate| candidate.id);
        drawn.ok_or_else(no_token_left)
    }

    /// The tokens that the filters leave, best first, with the probabilities that [`sample`](Self::sample) draws from.
    /// Never empty. Draws nothing.
    ///
    /// # Errors
    /// As [`sample`](Self::sample).
    ///
    /// # Panics
    /// As [`sample`](Self::sample).
    pub fn candidates(&mut self, logits: &[f32]) -> Result<&[Candidate]> {
        self.filter(logits)?;
        self.candidates.sort_unstable_by(Candidate::best_first);
        let greedy = self.options.temp <= 0.0;
        softmax(
            &mut self.candidates,
            if greedy { 1.0 } else { self.options.temp },
        );
        Ok(&self.candidates)
    }

    /// Leaves in `candidates` what the filters leave. True when they were moved about; otherwise they stand by id, and a draw
    /// can do without sorting the vocabulary.
    fn filter(&mut self, logits: &[f32]) -> Result<bool> {
        assert_eq!(
            logits.len(),
            self.n_vocab,
            "the sampler was made for another vocabulary"
        );
        let greedy = self.options.temp <= 0.0;
        let k = kept(&self.options, self.n_vocab);
        self.gather(logits, k)?;
        if self.candidates.is_empty() {
            return Err(no_token_left());
        }
        if greedy {
            return Ok(true);
        }
        top_p(&mut self.candidates, self.options.top_p);
        min_p(&mut self.candidates, self.options.min_p);
        Ok(k < self.n_vocab || self.options.top_p < 1.0)
    }

    /// Fills `candidates` with the `k` best tokens, in no order, after suppression and penalty.
    fn gather(&mut self, logits: &[f32], k: usize) -> Result<()> {
        let kept = &mut self.candidates;
        kept.clear();
        let room = room(k, self.n_vocab);
        // The smallest logit of the k best so far. Ids rise, so that an equal logit comes later and loses.
        let mut bar = f32::NEG_INFINITY;
        for (id, &raw) in logits.iter().enumerate() {
            if raw.is_nan() || raw == f32::INFINITY {
                return Err(Error::Logits {
                    what: format!("the logit of token {id} is {raw}"),
                });
            }
            let logit = if self.recent.holds(id) {
                penalised(raw, self.options.repeat_penalty)
            } else {
                raw
            };
            if logit <= bar || self.suppressed.get(id).is_some_and(|&never| never) {
                continue;
            }
            kept.push(Candidate {
                id: id as u32,
                logit,
                p: 0.0,
            });
            if kept.len() == room && room > k {
                kept.select_nth_unstable_by(k - 1, Candidate::best_first);
                kept.truncate(k);
                bar = kept[k - 1].logit;
            }
        }
        if kept.len() > k {
            kept.select_nth_unstable_by(k - 1, Candidate::best_first);
            kept.truncate(k);
        }
        Ok(())
    }
}

/// How many of the largest logits pass the first filter.
fn kept(options: &SamplerOptions, n_vocab: usize) -> usize {
    match options.top_k {
        _ if options.temp <= 0.0 => 1,
        0 => n_vocab,
        k => k.min(n_vocab),
    }
}

/// Candidates held while the `k` best are sought.
fn room(k: usize, n_vocab: usize) -> usize {
    k.saturating_mul(2).min(n_vocab)
}

/// The logit of a token that was seen lately. A penalty above 1 lowers it whatever its sign; a logit that would overflow stays
/// finite, so that the token stays possible.
fn penalised(logit: f32, penalty: f32) -> f32 {
    if logit == f32::NEG_INFINITY {
        logit
    } else if logit <= 0.0 {
        (logit * penalty).max(f32::MIN)
    } else {
        (logit / penalty).min(f32::MAX)
    }
}

/// Sets `p` of every candidate to its share under softmax(logit / temp).
fn softmax(candidates: &mut [Candidate], temp: f32) {
    let largest = largest(candidates);
    let mut total = 0.0;
    for candidate in candidates.iter_mut() {
        let below = f64::from(candidate.logit) - f64::from(largest);
        candidate.p = (below / f64::from(temp)).exp();
        total += candidate.p;
    }
    for candidate in candidates.iter_mut() {
        candidate.p /= total;
    }
}

/// Keeps the fewest of the best candidates whose probability (at temperature 1) adds up to `p`, at least one.
///
/// The head of the list is sorted in growing pieces, since p is usually reached long before the end of a vocabulary.
fn top_p(candidates: &mut Vec<Candidate>, p: f32) {
    if p >= 1.0 {
        return;
    }
    softmax(candidates, 1.0);
    let (mut cumulated, mut sorted, mut head) = (0.0, 0, 256);
    while sorted < candidates.len() {
        let rest = &mut candidates[sorted..];
        if head < rest.len() {
            rest.select_nth_unstable_by(head - 1, Candidate::best_first);
        }
        let piece = head.min(rest.len());
        rest[..piece].sort_unstable_by(Candidate::best_first);
        for (i, candidate) in rest[..piece].iter().enumerate() {
            cumulated += candidate.p;
            if cumulated >= f64::from(p) {
                candidates.truncate(sorted + i + 1);
                return;
            }
        }
        sorted += piece;
        head *= 4;
    }
}

/// Keeps candidates of at least `p` times the largest probability; the comparison is made between logits, as in llama.cpp.
fn min_p(candidates: &mut Vec<Candidate>, p: f32) {
    if p <= 0.0 {
        return;
    }
    let least = largest(candidates) + p.ln();
    candidates.retain(|candidate| candidate.logit >= least);
}

fn largest(candidates: &[Candidate]) -> f32 {
    candidates
        .iter()
        .fold(f32::NEG_INFINITY, |best, candidate| {
            best.max(candidate.logit)
        })
}

fn no_token_left() -> Error {
    Error::Logits {
        what: "no token is left to choose from".into(),
    }
}

/// 32 bits of the operating system's randomness, through the keys that std draws for its hash maps.
fn random_seed() -> u64 {
    let hasher = std::collections::hash_map::RandomState::new().build_hasher();
    u64::from(hasher.finish() as u32)
}

#[cfg(test)]
mod tests;
