//! One array of objects, a field a line, as llama-bench lays it out.

use std::io::{self, Write};

use super::{Columns, Exporter, Record};

/// See the file head.
#[derive(Debug, Default)]
pub(super) struct Json {
    some: bool,
}

impl Exporter for Json {
    fn begin(&mut self, _: Columns, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(b"[")
    }

    fn record(&mut self, record: &Record, columns: Columns, out: &mut dyn Write) -> io::Result<()> {
        let before = if self.some { "," } else { "" };
        self.some = true;
        let fields: Vec<String> = columns
            .json(record)
            .iter()
            .map(|(name, value)| format!("    \"{name}\": {value}"))
            .collect();
        write!(out, "{before}\n  {{\n{}\n  }}", fields.join(",\n"))
    }

    fn end(&mut self, _: &Record, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(b"\n]\n")
    }
}
