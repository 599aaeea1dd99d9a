//! The judge that compares a model with the distributions of another one, its base: the same model before quantisation.
//!
//! For each scored token `t`, with `P` the base and `Q` the model:
//!
//! ```text
//! KL(P | Q)   sum over v of P(v) * (ln P(v) - ln Q(v))      nats; over what the file keeps, down to e^-16
//! ln ratio    nll_Q(t) - nll_P(t)                           its mean is ln(perplexity / base perplexity)
//! change in p Q(t) - P(t)
//! same top    argmax Q = argmax P                           the first of equal ones
//! ```
//!
//! As llama.cpp has them, percentiles included.

use super::base::{Base, Row};
use super::statistics::{Estimate, Mean, Pairs, percentile};
use super::{Judge, nll};
use crate::error::{Error, Result};
use crate::generate::log_sum_exp;
use crate::pool::Pool;

/// How far the kept probabilities of a row may add up from 1. What is cut off weighs at most `vocab * e^-16`, 3 % of a
/// vocabulary of 256k.
const SUM_BOUND: f64 = 0.1;

/// The judge that compares the model with the distributions of a [`Base`], which must be of the same text.
#[derive(Debug)]
pub struct Divergence {
    base: Base,
    /// Negative log-probabilities of the scored tokens: model, base.
    nlls: Pairs,
    kl: Mean,
    kls: Vec<f64>,
    p_change: Mean,
    p_change_squared: Mean,
    same_top: Mean,
    /// Distributions of a batch, as they are in the file.
    bytes: Vec<Vec<u8>>,
    rows: Vec<Result<Distance>>,
}

/// What the two say about one token.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Distance {
    nll: f64,
    base_nll: f64,
    kl: f64,
    same_top: bool,
}

impl Distance {
    /// Between the logits of the model and row `i` of `base`, for the token `id`.
    fn of(base: &Base, i: usize, bytes: &[u8], logits: &[f32], id: u32) -> Result<Self> {
        let norm = log_sum_exp(logits)?;
        let nll = nll(logits, norm, id)?;
        let Some(row) = Row::new(bytes, logits.len()) else {
            return Err(base.bad_row(i, "a number that is not finite".into()));
        };
        let (mut sum, mut kl) = (0.0, 0.0);
        let (mut top, mut top_logit) = (0, f32::NEG_INFINITY);
        let (mut base_top, mut base_top_logprob) = (0, f32::NEG_INFINITY);
        for (v, &logit) in logits.iter().enumerate() {
            let logprob = row.logprob(v);
            if logit > top_logit {
                (top, top_logit) = (v, logit);
            }
            if logprob > base_top_logprob {
                (base_top, base_top_logprob) = (v, logprob);
            }
            if logprob > Row::FLOOR {
                let logprob = f64::from(logprob);
                let p = logprob.exp();
                sum += p;
                kl += p * (logprob - f64::from(logit) + norm);
            }
        }
        if !(1.0 - SUM_BOUND..=1.0 + SUM_BOUND).contains(&sum) {
            return Err(base.bad_row(i, format!("a sum of {sum:.3e}")));
        }
        if !kl.is_finite() {
            return Err(Error::Logits {
                what: format!(
                    "a token that the base model gives a chance has none, before token {id}"
                ),
            });
        }
        Ok(Self {
            nll,
            base_nll: -f64::from(row.logprob(id as usize)),
            kl,
            same_top: top == base_top,
        })
    }
}

/// How far a model is from its base.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// Perplexity of the model.
    pub perplexity: Estimate,
    /// Perplexity of the base.
    pub base_perplexity: Estimate,
    /// `ln(perplexity / base perplexity)`, its error smaller than those of the two since they err together.
    pub ln_ratio: Estimate,
    /// `perplexity / base perplexity`.
    pub ratio: Estimate,
    /// Mean KL divergence in nats.
    pub kl: Estimate,
    /// Half of the tokens have a smaller KL divergence.
    pub kl_median: f64,
    /// 99 % of the tokens have a smaller KL divergence.
    pub kl_99: f64,
    /// 99.9 % of the tokens have a smaller KL divergence.
    pub kl_99_9: f64,
    /// The largest KL divergence.
    pub kl_max: f64,
    /// Mean change in the probability of the token that comes.
    pub p_change: Estimate,
    /// Root of the mean square of that change.
    pub p_change_rms: Estimate,
    /// Part of the tokens for which both think the same one most likely.
    pub same_top: Estimate,
    /// Tokens compared.
    pub scored: usize,
}

impl Divergence {
    /// A comparison with `base`, from its first distribution on.
    ///
    /// # Errors
    /// [`Error::File`] when the vocabulary of `base` is not of `vocab` tokens.
    pub fn new(base: Base, vocab: usize) -> Result<Self> {
        base.check_vocab(vocab)?;
        Ok(Self {
            base,
            nlls: Pairs::default(),
            kl: Mean::default(),
            kls: Vec::new(),
            p_change: Mean::default(),
            p_change_squared: Mean::default(),
            same_top: Mean::default(),
            bytes: Vec::new(),
            rows: Vec::new(),
        })
    }

    /// What was found; `None` before the first token.
    #[must_use]
    pub fn finish(mut self) -> Option<Comparison> {
        self.kls.sort_unstable_by(f64::total_cmp);
        let kl_below = |fraction| percentile(&self.kls, fraction);
        let ln_ratio = self.nlls.difference();
        Some(Comparison {
            perplexity: self.nlls.a().estimate().exp(),
            base_perplexity: self.nlls.b().estimate().exp(),
            ln_ratio,
            ratio: ln_ratio.exp(),
            kl: self.kl.estimate(),
            kl_median: kl_below(0.5)?,
            kl_99: kl_below(0.99)?,
            kl_99_9: kl_below(0.999)?,
            kl_max: kl_below(1.0)?,
            p_change: self.p_change.estimate(),
            p_change_rms: self.p_change_squared.estimate().sqrt(),
            same_top: self.same_top.estimate(),
            scored: self.kls.len(),
        })
    }
}

impl Judge for Divergence {
    fn take(&mut self, pool: &Pool, next: &[u32], logits: &[f32]) -> Result<()> {
        let vocab = self.base.vocab();
        if self.bytes.len() < next.len() {
            self.bytes.resize(next.len(), Vec::new());
        }
        let first = self.base.read(&mut self.bytes[..next.len()])?;
        let unknown = Distance {
            nll: 0.0,
            base_nll: 0.0,
            kl: 0.0,
            same_top: false,
        };
        self.rows.clear();
        self.rows.resize_with(next.len(), || Ok(unknown));
        let (base, bytes) = (&self.base, &self.bytes);
        pool.each(&mut self.rows, |i, row| {
            let logits = &logits[i * vocab..][..vocab];
            *row = Distance::of(base, first + i, &bytes[i], logits, next[i]);
        });
        for row in self.rows.drain(..) {
            let row = row?;
            self.nlls.add(row.nll, row.base_nll);
            self.kl.add(row.kl);
            self.kls.push(row.kl);
            let change = (-row.nll).exp() - (-row.base_nll).exp();
            self.p_change.add(change);
            self.p_change_squared.add(change * change);
            self.same_top.add(f64::from(u8::from(row.same_top)));
        }
        Ok(())
    }

    fn nll(&self) -> &Mean {
        self.nlls.a()
    }
}
