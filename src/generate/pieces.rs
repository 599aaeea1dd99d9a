//! An answer as text: each step is what one token adds to it, never half a character.

use super::{End, Forward, Generation};
use crate::error::Result;
use crate::meter::Speed;
use crate::tokenizer::TextStream;

/// What one token adds to the text.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    /// The token; `None` for bytes left over at the end, which no token completed.
    pub id: Option<u32>,
    /// Whole characters; empty while a character is still incomplete, and for control tokens.
    pub text: String,
    /// See [`Token::logprob`](super::Token::logprob).
    pub logprob: Option<f64>,
}

/// The pieces of an answer, computed one a step.
pub struct Pieces<'a, M: Forward> {
    tokens: Generation<'a, M>,
    text: Option<TextStream<'a>>,
}

impl<'a, M: Forward> Pieces<'a, M> {
    /// The text of `tokens`, put together by `text`.
    pub fn new(tokens: Generation<'a, M>, text: TextStream<'a>) -> Self {
        Self {
            tokens,
            text: Some(text),
        }
    }

    /// Why there is no further piece; `None` while there may be one.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        self.tokens.end()
    }

    /// What was measured so far.
    #[must_use]
    pub fn speed(&self) -> &Speed {
        self.tokens.speed()
    }
}

impl<M: Forward> Iterator for Pieces<'_, M> {
    type Item = Result<Piece>;

    fn next(&mut self) -> Option<Self::Item> {
        let token = match self.tokens.next() {
            Some(Ok(token)) => token,
            Some(Err(error)) => return Some(Err(error)),
            None => {
                let rest = self.text.take()?.finish();
                return (!rest.is_empty()).then_some(Ok(Piece {
                    id: None,
                    text: rest,
                    logprob: None,
                }));
            }
        };
        let text = self.text.as_mut()?.push(token.id);
        Some(Ok(Piece {
            id: Some(token.id),
            text,
            logprob: token.logprob,
        }))
    }
}

impl<M: Forward> core::fmt::Debug for Pieces<'_, M> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Pieces").field(&self.tokens).finish()
    }
}
