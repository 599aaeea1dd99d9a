//! Comma-separated values (RFC 4180, but for the line feed alone at the end of a line): text in quotes, what is missing empty.

use std::io::{self, Write};

use super::{Columns, Exporter, Record, Value};

/// See the file head.
#[derive(Debug, Default)]
pub(super) struct Csv;

impl Exporter for Csv {
    fn begin(&mut self, columns: Columns, out: &mut dyn Write) -> io::Result<()> {
        let names: Vec<&str> = columns.flat().map(|field| field.name).collect();
        writeln!(out, "{}", names.join(","))
    }

    fn record(&mut self, record: &Record, columns: Columns, out: &mut dyn Write) -> io::Result<()> {
        let values: Vec<String> = columns
            .flat()
            .map(|field| cell(&(field.get)(record)))
            .collect();
        writeln!(out, "{}", values.join(","))
    }

    fn end(&mut self, _: &Record, _: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::Text(text) => format!("\"{}\"", text.replace('"', "\"\"")),
        Value::Integer(integer) => integer.to_string(),
        Value::Number(number) => format!("{number:.6}"),
        Value::Words(words) => format!("\"{}\"", words.join(" ")),
        Value::Missing | Value::List(_) => String::new(),
    }
}
