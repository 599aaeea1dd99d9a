//! `tojson` as Python's `json.dumps(value, ensure_ascii=False)` writes it: `{"a": [1, 2]}`, with spaces.

use std::io::{self, Write};

use minijinja::{Error, ErrorKind, Value};
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter};

/// `value` as JSON; on several lines when `indent` is given.
pub(super) fn python(value: &Value, indent: Option<usize>) -> Result<Value, Error> {
    let mut bytes = Capped(Vec::new());
    let done = match indent {
        None => value.serialize(&mut serde_json::Serializer::with_formatter(
            &mut bytes, Spaced,
        )),
        Some(n) => {
            let indent = " ".repeat(n.min(16));
            let pretty = PrettyFormatter::with_indent(indent.as_bytes());
            value.serialize(&mut serde_json::Serializer::with_formatter(
                &mut bytes, pretty,
            ))
        }
    };
    let bad = |e: String| Error::new(ErrorKind::BadSerialization, e);
    done.map_err(|e| bad(e.to_string()))?;
    String::from_utf8(bytes.0)
        .map(Value::from)
        .map_err(|e| bad(e.to_string()))
}

/// Most bytes that one value may take; a template can make lists that are long without being large.
const MOST_BYTES: usize = 4 << 20;

/// A buffer that refuses to grow past [`MOST_BYTES`].
struct Capped(Vec<u8>);

impl Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MOST_BYTES {
            return Err(io::Error::other("the JSON text is too long"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One line, `, ` and `: ` between.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + Write>(&mut self, w: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { w.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, w: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { w.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, w: &mut W) -> io::Result<()> {
        w.write_all(b": ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spacing_is_pythons() {
        let value = Value::from(minijinja::value::Serde(
            serde_json::json!({"a": [1, 2.5, "é<\n"], "b": {}, "c": null}),
        ));
        let text = |indent| python(&value, indent).expect("plain data").to_string();
        assert_eq!(text(None), r#"{"a": [1, 2.5, "é<\n"], "b": {}, "c": null}"#);
        assert!(
            text(Some(2)).starts_with("{\n  \"a\": [\n    1,"),
            "{}",
            text(Some(2))
        );
    }
}
