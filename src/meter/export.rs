//! Records as text: one exporter a file, all of them listed in `exporters!`.
//!
//! An exporter writes each record when it is there, so that a long measurement shows what it has, and one that is ended early
//! leaves a whole table.

use core::fmt;
use std::io::{self, Write};

use super::record::{ENERGY_PREFIX, Field, Kind, Record, Value, energy_fields, fields};

mod csv;
mod json;
mod jsonl;
mod md;
mod sql;

/// Which columns a report has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Columns {
    /// In a table for people: the batch, because it is not the usual one.
    pub batch: bool,
    /// The same of the tokens of a pass.
    pub ubatch: bool,
    /// The same of the numbers of the cache.
    pub cache: bool,
    /// Another program is measured too.
    pub against: bool,
    /// A sensor tells what it costs.
    pub energy: bool,
    /// In a table for people: net of the power at rest, which was measured.
    pub net: bool,
}

impl Columns {
    /// The fields of a record that are reported.
    fn fields(self) -> impl Iterator<Item = &'static Field> {
        fields(self.against)
    }

    /// Those of them that are no lists, and those of energy where a sensor tells of it.
    fn flat(self) -> impl Iterator<Item = &'static Field> {
        let energy = if self.energy { energy_fields() } else { &[] };
        let all = self.fields().chain(energy);
        all.filter(|field| field.kind != Kind::List)
    }

    /// Names and values of a record as JSON has them, in the order of the fields. Energy is one object, or null without a sensor.
    fn json(self, record: &Record) -> Vec<(&'static str, String)> {
        let value = |field: &'static Field| json_value(&(field.get)(record));
        let mut all: Vec<_> = self
            .fields()
            .map(|field| (field.name, value(field)))
            .collect();
        let energy = energy_fields().iter().map(|field| {
            let name = field.name.strip_prefix(ENERGY_PREFIX).unwrap_or(field.name);
            format!("\"{name}\": {}", value(field))
        });
        let energy: Vec<String> = energy.collect();
        all.push(match record.energy {
            Some(_) => ("energy", format!("{{{}}}", energy.join(", "))),
            None => ("energy", "null".into()),
        });
        all
    }
}

/// A way of writing records.
trait Exporter: fmt::Debug {
    /// What stands before all records.
    fn begin(&mut self, columns: Columns, out: &mut dyn Write) -> io::Result<()>;
    /// A record.
    fn record(&mut self, record: &Record, columns: Columns, out: &mut dyn Write) -> io::Result<()>;
    /// What stands after all records, the last of which is given.
    fn end(&mut self, last: &Record, out: &mut dyn Write) -> io::Result<()>;
}

macro_rules! exporters {
    ($($(#[$doc:meta])* $name:ident = $file:ident,)+) => {
        /// A way of writing records.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Format {
            $($(#[$doc])* $name,)+
        }

        impl Format {
            /// Every format.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Its name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($file),)+
                }
            }

            fn exporter(self) -> Box<dyn Exporter> {
                match self {
                    $(Self::$name => Box::new($file::$name::default()),)+
                }
            }
        }
    };
}

exporters! {
    /// A table for people, and for Markdown.
    Md = md,
    /// One array of objects.
    Json = json,
    /// An object a line.
    Jsonl = jsonl,
    /// A header, and a line a record.
    Csv = csv,
    /// A table and its rows, for `sqlite3` and others.
    Sql = sql,
}

/// A report in the making.
#[derive(Debug)]
pub struct Report {
    exporter: Box<dyn Exporter>,
    columns: Columns,
    last: Option<Record>,
}

impl Report {
    /// A report in `format`. Nothing is written before there is a record.
    #[must_use]
    pub fn new(format: Format, columns: Columns) -> Self {
        Self {
            exporter: format.exporter(),
            columns,
            last: None,
        }
    }

    /// Writes a record.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn record(&mut self, record: Record, out: &mut dyn Write) -> io::Result<()> {
        if self.last.is_none() {
            self.exporter.begin(self.columns, out)?;
        }
        self.exporter.record(&record, self.columns, out)?;
        self.last = Some(record);
        out.flush()
    }

    /// Ends the report.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn end(mut self, out: &mut dyn Write) -> io::Result<()> {
        match &self.last {
            Some(last) => self.exporter.end(last, out),
            None => Ok(()),
        }
    }
}

/// A value as JSON has it.
fn json_value(value: &Value) -> String {
    match value {
        Value::Missing => "null".into(),
        Value::Text(text) => serde_json::Value::from(text.as_str()).to_string(),
        Value::Integer(integer) => integer.to_string(),
        Value::Number(number) if number.is_finite() => format!("{number:.6}"),
        Value::Number(_) => "null".into(),
        Value::List(values) => {
            let values: Vec<String> = values.iter().map(json_value).collect();
            format!("[{}]", values.join(", "))
        }
        Value::Words(words) => {
            let words: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
            format!("[{}]", words.join(", "))
        }
    }
}

#[cfg(test)]
mod tests;
