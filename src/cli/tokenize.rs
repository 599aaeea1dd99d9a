//! `wattle tokenize -m FILE`: text to tokens, and tokens to text.
//!
//! Only the tokenizer's keys are read: a file without tensors will do, and so will the head of one that is cut short.
//!
//! **Lines** (default). `id`, a tab, the token: control tokens as they are spelled, the others as what they add to the text,
//! with control characters escaped (`\n`) and bytes that are no UTF-8 alone as `\xf0`. For `--ids` the text, and nothing else.
//!
//! **JSON** (`--json`). One object; fields are added over time, never renamed or removed.
//!
//! | field | content |
//! |---|---|
//! | `text` | the text of all tokens; control tokens are spelled out with `--parse-special` only |
//! | `tokens` | `[{id, token, text, kind}]`: its spelling in the vocabulary, what it adds to the text (U+FFFD for part of a character), and `normal`, `control`, `user-defined`, `unknown`, `unused` or `byte` |

use std::io::Write;
use std::path::PathBuf;

use serde_json::json;

use super::{input, say, written};
use wattle::gguf::Gguf;
use wattle::tokenizer::{EncodeOptions, TokenKind, Tokenizer};
use wattle::{Error, Result, demo};

/// Arguments of `wattle tokenize`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("input").required(true).args(["prompt", "file", "ids"]))]
pub(crate) struct Args {
    /// The model; of a split model the first file
    #[cfg_attr(feature = "demo", doc = "[default: the one in the box]")]
    #[arg(short, long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// The text
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    prompt: Option<String>,
    /// A file with the text; "-" is standard input
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Tokens to turn back into text
    #[arg(long, value_name = "ID,ID,...", value_delimiter = ',')]
    ids: Option<Vec<u32>>,
    /// Take control tokens that the text spells as such; with --ids, spell them out
    #[arg(long)]
    parse_special: bool,
    /// Begin with BOS
    #[arg(long, conflicts_with = "ids")]
    bos: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Tokenizes.
///
/// # Errors
///
/// A file cannot be read, the model has no tokenizer or a broken one, an id is outside the vocabulary, `out` cannot be
/// written.
pub(crate) fn run(args: &Args, out: &mut dyn Write) -> Result<()> {
    let gguf = match &args.model {
        Some(path) => Gguf::open_head(path)?,
        None => demo::gguf()?,
    };
    if let Some(cut) = gguf.cut() {
        say(format_args!("wattle: note: {cut}"));
    }
    let tokenizer = Tokenizer::from_gguf(gguf.metadata()).map_err(|error| match gguf.cut() {
        Some(_) => error.advise("the file is cut short: the rest may hold it"),
        None => error,
    })?;
    for note in tokenizer.notes() {
        say(format_args!("wattle: note: {note}"));
    }
    let ids = match &args.ids {
        Some(ids) => known(ids, &tokenizer)?,
        None => encode(args, &tokenizer)?,
    };
    let text = if args.json {
        format!("{:#}\n", as_json(args, &tokenizer, &ids))
    } else if args.ids.is_some() {
        spell(args, &tokenizer, &ids) + "\n"
    } else {
        let line = |&id: &u32| format!("{id}\t{}\n", shown(&tokenizer, id));
        ids.iter().map(line).collect()
    };
    written(out.write_all(text.as_bytes()))
}

/// `ids`, all of which must be in the vocabulary.
fn known(ids: &[u32], tokenizer: &Tokenizer) -> Result<Vec<u32>> {
    let vocab = tokenizer.len();
    match ids.iter().find(|&&id| id as usize >= vocab) {
        Some(&id) => Err(Error::TokenId {
            id: id.into(),
            vocab,
        }),
        None => Ok(ids.to_vec()),
    }
}

fn encode(args: &Args, tokenizer: &Tokenizer) -> Result<Vec<u32>> {
    let text = match (&args.prompt, &args.file) {
        (Some(text), _) => text.clone(),
        (None, Some(path)) => input::read_file(path)?,
        (None, None) => String::new(),
    };
    let options = EncodeOptions {
        add_special: false,
        parse_special: args.parse_special,
    };
    let mut ids = input::encode(tokenizer, &text, &options);
    if args.bos {
        let bos = tokenizer.bos().ok_or_else(|| Error::Argument {
            name: "--bos",
            value: String::new(),
            expected: "a model that has such a token".to_owned(),
        })?;
        if ids.first() != Some(&bos) {
            ids.insert(0, bos);
        }
    }
    Ok(ids)
}

/// The text of `ids`, with control tokens if they were asked for.
fn spell(args: &Args, tokenizer: &Tokenizer, ids: &[u32]) -> String {
    if !args.parse_special {
        return tokenizer.decode(ids);
    }
    let mut text = String::new();
    let mut plain = tokenizer.stream();
    for &id in ids {
        if tokenizer.kind(id) == TokenKind::Control {
            text += &std::mem::replace(&mut plain, tokenizer.stream()).finish();
            text += tokenizer.token_text(id).unwrap_or_default();
        } else {
            text += &plain.push(id);
        }
    }
    text + &plain.finish()
}

/// One token as a line shows it.
fn shown(tokenizer: &Tokenizer, id: u32) -> String {
    let bytes = tokenizer.token_bytes(id).unwrap_or_default();
    if bytes.is_empty() {
        return escape(tokenizer.token_text(id).unwrap_or_default());
    }
    match core::str::from_utf8(&bytes) {
        Ok(text) => escape(text),
        Err(_) => bytes.escape_ascii().to_string(),
    }
}

/// `text` on one line.
fn escape(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '\\' || c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}

fn as_json(args: &Args, tokenizer: &Tokenizer, ids: &[u32]) -> serde_json::Value {
    let token = |&id: &u32| {
        let bytes = tokenizer.token_bytes(id).unwrap_or_default();
        json!({
            "id": id,
            "token": tokenizer.token_text(id),
            "text": String::from_utf8_lossy(&bytes),
            "kind": tokenizer.kind(id).name(),
        })
    };
    json!({
        "text": spell(args, tokenizer, ids),
        "tokens": ids.iter().map(token).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_stays_on_its_line() {
        assert_eq!(escape("a\n\t\\é\u{7f}\u{85}"), r"a\n\t\\é\u{7f}\u{85}");
    }
}
