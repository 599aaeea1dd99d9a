//! How probable a text is to a model: the log-probability of every token given those before it.
//!
//! `logprob(t) = logit_t - ln(sum_v e^logit_v)` at temperature 1 over the raw logits, in f64, natural logarithm. The first token
//! has none: nothing stands before it. Perplexity is `e^(-mean logprob)`.
//!
//! Logits go by one row at a time and are never kept: a row of a 129k vocabulary is half a megabyte. A pass takes few tokens
//! when the vocabulary is large, so that its logits stay within 32 MiB.

use core::ops::ControlFlow;

mod group;

pub use group::advantages;

use crate::error::{Error, Result};
use crate::generate::{Forward, log_sum_exp};

/// Memory that the logits of one pass may take.
const LOGITS_BYTES: usize = 32 << 20;

/// A token that could have stood somewhere.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Alternative {
    /// The token.
    pub id: u32,
    /// Its natural log-probability.
    pub logprob: f64,
}

/// A token of the text.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenScore {
    /// The token.
    pub id: u32,
    /// Its natural log-probability after the tokens before it; `None` for the first.
    pub logprob: Option<f64>,
    /// The most probable tokens in its place, best first; as many as were asked for, none for the first token.
    pub top: Vec<Alternative>,
}

/// The scores of a text.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scores {
    /// One a token, in order.
    pub tokens: Vec<TokenScore>,
    /// The most probable tokens after the last one, best first.
    pub next: Vec<Alternative>,
}

impl Scores {
    /// Log-probability of the text after its first token.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.tokens.iter().filter_map(|token| token.logprob).sum()
    }

    /// `e^(-mean logprob)`; `None` when no token has a log-probability.
    #[must_use]
    pub fn perplexity(&self) -> Option<f64> {
        let scored = self.tokens.iter().filter(|t| t.logprob.is_some()).count();
        (scored > 0).then(|| (-self.total() / scored as f64).exp())
    }
}

/// Runs `tokens` and hands each row of logits (vocab) to `row`, with the position of the token that it stands after.
///
/// `progress(done, total)` is told after every batch; when it breaks, the rest is left out.
///
/// # Errors
/// As [`batches`].
pub fn rows(
    model: &mut impl Forward,
    tokens: &[u32],
    progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    row: &mut dyn FnMut(usize, &[f32]) -> Result<()>,
) -> Result<()> {
    let (n_vocab, total) = (model.n_vocab(), tokens.len());
    batches(model, tokens, |start, logits| {
        let mut position = start;
        for logits in logits.chunks_exact(n_vocab) {
            row(position, logits)?;
            position += 1;
        }
        Ok(progress(position, total))
    })
}

/// Runs `tokens` and hands the logits of each batch, `(tokens, vocab)`, to `each`, with the position of its first token; when it
/// breaks, the rest is left out.
///
/// # Errors
/// [`Error::ContextFull`] before any work when the tokens do not fit, what the model refuses, and what `each` returns.
pub fn batches(
    model: &mut impl Forward,
    tokens: &[u32],
    mut each: impl FnMut(usize, &[f32]) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let needed = model.len() + tokens.len();
    if needed > model.capacity() {
        return Err(Error::ContextFull {
            tokens: needed,
            context: model.capacity(),
        });
    }
    let batch = batch_with_logits(model);
    let mut position = 0;
    for chunk in tokens.chunks(batch) {
        if each(position, model.all(chunk)?)?.is_break() {
            break;
        }
        position += chunk.len();
    }
    Ok(())
}

/// Most tokens of a pass that asks for all logits.
pub(crate) fn batch_with_logits(model: &impl Forward) -> usize {
    let affordable = LOGITS_BYTES / (model.n_vocab() * size_of::<f32>()).max(1);
    model.batch().min(affordable).max(1)
}

/// Puts the scores of a text together from its rows of logits.
#[derive(Debug)]
pub struct Scorer<'t> {
    text: &'t [u32],
    top: usize,
    scores: Scores,
    /// The `top` best of a row, in the making.
    best: Vec<u32>,
}

impl<'t> Scorer<'t> {
    /// A scorer of `text` that also names the `top` most probable tokens in every place.
    #[must_use]
    pub fn new(text: &'t [u32], top: usize) -> Self {
        let first = text.first().map(|&id| TokenScore {
            id,
            logprob: None,
            top: Vec::new(),
        });
        let scores = Scores {
            tokens: first.into_iter().collect(),
            next: Vec::new(),
        };
        Self {
            text,
            top,
            scores,
            best: Vec::new(),
        }
    }

    /// Takes the logits (vocab) after the token at `position`.
    ///
    /// # Errors
    /// [`Error::Logits`] when they are not numbers, [`Error::TokenId`] when the next token is not in the vocabulary.
    pub fn push(&mut self, position: usize, logits: &[f32]) -> Result<()> {
        let norm = log_sum_exp(logits)?;
        let logprob = |id: u32| f64::from(logits[id as usize]) - norm;
        select(logits, self.top, &mut self.best);
        let alternatives = self.best.iter().map(|&id| Alternative {
            id,
            logprob: logprob(id),
        });
        let top = alternatives.collect();
        match self.text.get(position + 1) {
            None => self.scores.next = top,
            Some(&id) if (id as usize) < logits.len() => self.scores.tokens.push(TokenScore {
                id,
                logprob: Some(logprob(id)),
                top,
            }),
            Some(&id) => {
                return Err(Error::TokenId {
                    id: id.into(),
                    vocab: logits.len(),
                });
            }
        }
        Ok(())
    }

    /// The scores so far.
    #[must_use]
    pub fn finish(self) -> Scores {
        self.scores
    }
}

/// Leaves in `best` the ids of the `n` largest logits, best first, equal ones by id: one pass, sorting 2 n at a time.
fn select(logits: &[f32], n: usize, best: &mut Vec<u32>) {
    let n = n.min(logits.len());
    let best_first = |&a: &u32, &b: &u32| {
        let (a_logit, b_logit) = (logits[a as usize], logits[b as usize]);
        b_logit.total_cmp(&a_logit).then(a.cmp(&b))
    };
    best.clear();
    if n == 0 {
        return;
    }
    let mut bar = f32::NEG_INFINITY;
    for (id, &logit) in (0u32..).zip(logits) {
        if best.len() >= n && logit <= bar {
            continue;
        }
        best.push(id);
        if best.len() == 2 * n {
            best.sort_unstable_by(best_first);
            best.truncate(n);
            bar = logits[best[n - 1] as usize];
        }
    }
    best.sort_unstable_by(best_first);
    best.truncate(n);
}

/// Scores `tokens` after what the sequence already holds; see the [module](self).
///
/// # Errors
/// As [`rows`] and [`Scorer::push`].
pub fn score(model: &mut impl Forward, tokens: &[u32], top: usize) -> Result<Scores> {
    let mut scorer = Scorer::new(tokens, top);
    let mut go_on = |_, _| ControlFlow::Continue(());
    rows(model, tokens, &mut go_on, &mut |position, logits| {
        scorer.push(position, logits)
    })?;
    Ok(scorer.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::toy::Toy;

    #[test]
    fn log_probabilities_are_those_of_the_softmax() {
        let text = [3, 1, 4, 1, 5];
        let scores = score(&mut Toy::new(64, 2), &text, 3).unwrap();
        assert_eq!(scores.tokens.len(), text.len());
        assert_eq!(scores.tokens[0].logprob, None);
        for (i, token) in scores.tokens.iter().enumerate() {
            assert_eq!(token.id, text[i]);
            if i == 0 {
                continue;
            }
            let logits = Toy::logits_after(&text[..i]);
            let total: f64 = logits.iter().map(|&l| f64::from(l).exp()).sum();
            let p = |id: u32| f64::from(logits[id as usize]).exp() / total;
            assert!((token.logprob.unwrap() - p(token.id).ln()).abs() < 1e-9);
            // The alternatives are the three most probable ones, in order.
            let mut order: Vec<u32> = (0..Toy::VOCAB as u32).collect();
            order.sort_by(|&a, &b| p(b).total_cmp(&p(a)).then(a.cmp(&b)));
            let top: Vec<u32> = token.top.iter().map(|a| a.id).collect();
            assert_eq!(top, order[..3]);
        }
        assert_eq!(scores.next.len(), 3);
        let total: f64 = scores.tokens.iter().filter_map(|t| t.logprob).sum();
        assert_eq!(scores.total(), total);
        assert!((scores.perplexity().unwrap() - (-total / 4.0).exp()).abs() < 1e-12);
    }

    #[test]
    fn batches_change_nothing() {
        let text: Vec<u32> = (0..23).map(|i| i * 7 % 10).collect();
        let whole = score(&mut Toy::new(64, 64), &text, 2).unwrap();
        for batch in [1, 2, 5, 23] {
            assert_eq!(score(&mut Toy::new(64, batch), &text, 2).unwrap(), whole);
        }
    }

    #[test]
    fn all_alternatives_add_up_to_one() {
        let scores = score(&mut Toy::new(8, 8), &[1, 2], 99).unwrap();
        assert_eq!(scores.next.len(), Toy::VOCAB);
        let sum: f64 = scores.next.iter().map(|a| a.logprob.exp()).sum();
        assert!((sum - 1.0).abs() < 1e-12, "{sum}");
    }

    #[test]
    fn a_text_too_long_is_refused_before_any_work() {
        let mut toy = Toy::new(4, 2);
        let error = score(&mut toy, &[1; 5], 0).unwrap_err();
        assert!(
            matches!(
                error,
                Error::ContextFull {
                    tokens: 5,
                    context: 4
                }
            ),
            "{error}"
        );
        assert_eq!(toy.len(), 0);
    }

    #[test]
    fn nothing_has_no_perplexity() {
        let scores = score(&mut Toy::new(4, 2), &[], 1).unwrap();
        assert_eq!(scores, Scores::default());
        assert_eq!(scores.perplexity(), None);
        assert_eq!(
            score(&mut Toy::new(4, 2), &[1], 0).unwrap().perplexity(),
            None
        );
    }
}
