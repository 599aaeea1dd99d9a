//! Tokens in results: the names that people read, and the fields of JSON that `score` and `run --samples` share.

use serde::Serialize;
use wattle::load::Model;
use wattle::tokenizer::Tokenizer;

/// How tokens are called; by nothing but their ids when there is no tokenizer.
#[derive(Debug)]
pub(crate) struct Names<'m>(Option<&'m Tokenizer>);

impl<'m> Names<'m> {
    /// The names of a model's tokens.
    pub(crate) fn of_model(model: &'m Model) -> Self {
        Self(model.tokenizer().ok())
    }

    /// What the token adds to the text, or the name of a control token. Half a character shows as U+FFFD.
    pub(crate) fn of(&self, id: u32) -> Option<String> {
        let tokenizer = self.0?;
        match tokenizer.token_bytes(id) {
            Some(bytes) if !bytes.is_empty() => Some(String::from_utf8_lossy(&bytes).into_owned()),
            _ => tokenizer.token_text(id).map(str::to_owned),
        }
    }
}

/// A token of a text.
#[derive(Debug, Serialize)]
pub(crate) struct JsonToken {
    /// Where it stands, counted from 0 at the first token of the text, or of the prompt before it.
    pub(crate) position: usize,
    pub(crate) id: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<String>,
    /// Natural, at temperature 1 over the raw logits; `null` for the first token of a text.
    pub(crate) logprob: Option<f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) top: Vec<JsonAlternative>,
}

/// A token that could have stood somewhere.
#[derive(Debug, Serialize)]
pub(crate) struct JsonAlternative {
    pub(crate) id: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<String>,
    pub(crate) logprob: f64,
}
