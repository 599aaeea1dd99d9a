//! An object a line: what a program reads while the measurement goes on.

use std::io::{self, Write};

use super::{Columns, Exporter, Record};

/// See the file head.
#[derive(Debug, Default)]
pub(super) struct Jsonl;

impl Exporter for Jsonl {
    fn begin(&mut self, _: Columns, _: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }

    fn record(&mut self, record: &Record, columns: Columns, out: &mut dyn Write) -> io::Result<()> {
        let fields: Vec<String> = columns
            .json(record)
            .iter()
            .map(|(name, value)| format!("\"{name}\": {value}"))
            .collect();
        writeln!(out, "{{{}}}", fields.join(", "))
    }

    fn end(&mut self, _: &Record, _: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }
}
