//! A table `wattle_bench` and its rows. It is not llama-bench's `llama_bench`, whose columns are others; what is missing is NULL.

use std::io::{self, Write};

use super::super::record::Kind;
use super::{Columns, Exporter, Record, Value};

/// See the file head.
#[derive(Debug, Default)]
pub(super) struct Sql;

impl Exporter for Sql {
    fn begin(&mut self, columns: Columns, out: &mut dyn Write) -> io::Result<()> {
        let columns: Vec<String> = columns
            .flat()
            .map(|field| {
                let kind = match field.kind {
                    Kind::Text | Kind::List | Kind::Words => "TEXT",
                    Kind::Integer => "INTEGER",
                    Kind::Number => "REAL",
                };
                format!("  {} {kind}", field.name)
            })
            .collect();
        writeln!(
            out,
            "CREATE TABLE IF NOT EXISTS wattle_bench (\n{}\n);\n",
            columns.join(",\n")
        )
    }

    fn record(&mut self, record: &Record, columns: Columns, out: &mut dyn Write) -> io::Result<()> {
        let (names, values): (Vec<&str>, Vec<String>) = columns
            .flat()
            .map(|field| (field.name, literal(&(field.get)(record))))
            .unzip();
        writeln!(
            out,
            "INSERT INTO wattle_bench ({}) VALUES ({});",
            names.join(", "),
            values.join(", ")
        )
    }

    fn end(&mut self, _: &Record, _: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }
}

fn literal(value: &Value) -> String {
    match value {
        Value::Text(text) => format!("'{}'", text.replace('\'', "''")),
        Value::Integer(integer) => integer.to_string(),
        Value::Number(number) => format!("{number:.6}"),
        Value::Words(words) => format!("'{}'", words.join(" ")),
        Value::Missing | Value::List(_) => "NULL".into(),
    }
}
