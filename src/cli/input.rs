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
    /// A file with the text ("-" is standard input); one newline at its end is dropped
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
}

impl TextArgs {
    /// The text that the flags give; `None` without either.
    pub(crate) fn given(&self) -> Result<Option<String>> {
        match (&self.prompt, &self.file) {
            (Some(text), _) => Ok(Some(text.clone())),
            (None, Some(path)) => Ok(Some(without_newline(read_file(path)?))),
            (None, None) => Ok(None),
        }
    }

    /// What the text is called: its file, as far as it has one.
    pub(crate) fn name(&self) -> String {
        match (&self.prompt, &self.file) {
            (Some(_), _) => "-p".into(),
            (None, Some(path)) => path.display().to_string(),
            (None, None) => "-".into(),
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
    read_file(Path::new("-")).map(without_newline)
}

/// The text of a file as it is; of standard input, when its name is "-".
pub(crate) fn read_file(path: &Path) -> Result<String> {
    let (path, bytes) = if path == Path::new("-") {
        let mut bytes = Vec::new();
        let done = io::stdin().lock().read_to_end(&mut bytes);
        (Path::new(STDIN), done.map(|_| bytes))
    } else {
        (path, fs::read(path))
    };
    text(
        path,
        bytes.map_err(|source| Error::io(path, "read", source))?,
    )
}

/// What standard input is called in errors.
const STDIN: &str = "standard input";

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
        .map_err(|source| Error::io(Path::new(STDIN), "read", source))?;
    if read == 0 {
        return Ok(None);
    }
    text(Path::new(STDIN), bytes).map(without_newline).map(Some)
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

/// Bytes of `path` as text.
fn text(path: &Path, bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|error| {
        let source = io::Error::new(io::ErrorKind::InvalidData, error.utf8_error());
        Error::io(path, "read as text in UTF-8", source)
    })
}

/// The text without one newline at its end: editors and `echo` put it there.
fn without_newline(mut text: String) -> String {
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_newline_is_dropped() {
        for (text, expected) in [
            ("a\n", "a"),
            ("a\r\n", "a"),
            ("a\n\n", "a\n"),
            ("a", "a"),
            ("\n", ""),
            ("", ""),
        ] {
            assert_eq!(without_newline(text.into()), expected);
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_named() {
        let error = text(Path::new("x.txt"), vec![b'a', 0xff]).expect_err("no text");
        let said = error.to_string();
        assert!(
            said.starts_with("x.txt: cannot read as text in UTF-8"),
            "{said}"
        );
        assert!(said.contains("index 1"), "{said}");
    }
}
