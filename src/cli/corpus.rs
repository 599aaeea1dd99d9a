//! A text that goes through the model in chunks: what `perplexity` and `imatrix` share.

use wattle::tokenizer::{EncodeOptions, Tokenizer};
use wattle::{Model, Result};

use super::input;

/// Tokens of a chunk when nothing is said.
pub(crate) const CONTEXT: usize = 512;

/// Tokens of a chunk by the flag `-c`, of which 0 means as many as the model was trained for.
pub(crate) fn context(model: &Model, asked: Option<usize>) -> Option<usize> {
    asked.map(|ctx| match ctx {
        0 => model.transformer().config().n_ctx_train,
        ctx => ctx,
    })
}

/// The tokens of a text, with BOS where the model wants one, and never with EOS: nothing ends in the middle of a text.
pub(crate) fn encode(tokenizer: &Tokenizer, text: &str, parse_special: bool) -> Vec<u32> {
    // An empty text has nothing that BOS could stand before.
    if text.is_empty() {
        return Vec::new();
    }
    let options = EncodeOptions {
        add_special: true,
        parse_special,
    };
    let mut tokens = input::encode(tokenizer, text, &options);
    if tokenizer.adds_eos() && tokens.last().copied() == tokenizer.eos() {
        tokens.pop();
    }
    tokens
}

/// The token that begins every chunk, if the model wants one.
pub(crate) fn bos(model: &Model) -> Result<Option<u32>> {
    let tokenizer = model.tokenizer()?;
    Ok(tokenizer.bos().filter(|_| tokenizer.adds_bos()))
}
