//! Where a text comes from: `-p`, `-f` or standard input.

use std::fs;
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use wattle::tokenizer::{EncodeOptions, Tokenizer};
use wattle::{Error, Result};

use super::say;

/// The text to work on.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct TextArgs {
    /// The text
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    prompt: Option<String>,
    /// A file with the text; one newline at its end is dropped
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
}

impl TextArgs {
    /// The text that the flags give; `None` without either.
    pub(crate) fn given(&self) -> Result<Option<String>> {
        match (&self.prompt, &self.file) {
            (Some(text), _) => Ok(Some(text.clone())),
            (None, Some(path)) => {
                let bytes = fs::read(path).map_err(|source| Error::io(path, "read", source))?;
                Ok(Some(text(&path.display().to_string(), "-f", bytes)?))
            }
            (None, None) => Ok(None),
        }
    }

    /// The text that the flags give, else all of standard input.
    pub(crate) fn read(&self) -> Result<String> {
        match self.given()? {
            Some(text) => Ok(text),
            None => read_all(),
        }
    }
}

/// Whether a person types our input.
pub(crate) fn is_typed() -> bool {
    io::stdin().is_terminal()
}

/// Standard input to its end; a person at a terminal is told how to end it.
pub(crate) fn read_all() -> Result<String> {
    if is_typed() {
        say(format_args!(
            "wattle: type the text; Ctrl-D on an empty line ends it"
        ));
    }
    let mut bytes = Vec::new();
    io::stdin()
        .lock()
        .read_to_end(&mut bytes)
        .map_err(|source| Error::io(Path::new("standard input"), "read", source))?;
    text("-", "standard input", bytes)
}

/// The next line of standard input without its end; `None` when there is none. A person at a terminal is asked with `> `.
pub(crate) fn read_line() -> Result<Option<String>> {
    if is_typed() {
        // Without the prompt one can still type.
        let _ = write!(io::stderr(), "> ");
    }
    let mut bytes = Vec::new();
    let read = io::stdin()
        .lock()
        .read_until(b'\n', &mut bytes)
        .map_err(|source| Error::io(Path::new("standard input"), "read", source))?;
    if read == 0 {
        return Ok(None);
    }
    text("-", "standard input", bytes).map(Some)
}

/// The tokens of `text`. What of it the model has no tokens for is said on stderr.
pub(crate) fn encode(tokenizer: &Tokenizer, text: &str, options: &EncodeOptions) -> Vec<u32> {
    let ids = tokenizer.encode(text, options);
    // Control tokens that were asked for spell nothing, so a text with them cannot be compared.
    if !options.parse_special && tokenizer.decode(&ids).trim_start() != text.trim_start() {
        say(format_args!(
            "wattle: note: the model has no tokens for some characters of the text; they are lost"
        ));
    }
    ids
}

/// Bytes as text, without one newline at the end.
fn text(value: &str, name: &'static str, bytes: Vec<u8>) -> Result<String> {
    let mut text = String::from_utf8(bytes).map_err(|error| Error::Argument {
        name,
        value: value.into(),
        expected: format!(
            "UTF-8 text (byte {} is not)",
            error.utf8_error().valid_up_to()
        ),
    })?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn one_newline_is_dropped() {
        for (bytes, expected) in [
            ("a\n", "a"),
            ("a\r\n", "a"),
            ("a\n\n", "a\n"),
            ("a", "a"),
            ("\n", ""),
            ("", ""),
        ] {
            assert_eq!(text("-", "-f", bytes.into()).unwrap(), expected);
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_named() {
        let error = text("x.txt", "-f", vec![b'a', 0xff]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "-f x.txt: expected UTF-8 text (byte 1 is not)"
        );
    }
}
