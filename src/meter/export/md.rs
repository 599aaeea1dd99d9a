//! llama-bench's table, its columns first and ours after them.
//!
//! `t/s` is mean and standard deviation, as there. Beside another program, its best way of running stands next to ours, and
//! the ratio is that of the medians.

use std::io::{self, Write};

use super::{Columns, Exporter, Record};
use crate::meter::Spread;
use crate::meter::energy::Energy;

/// See the file head.
#[derive(Debug, Default)]
pub(super) struct Md {
    columns: Vec<Column>,
}

/// A column of the table.
#[derive(Debug, Clone, Copy)]
struct Column {
    head: &'static str,
    /// Characters; negative for text, which stands to the left.
    width: isize,
    cell: fn(&Record) -> String,
}

const fn column(head: &'static str, width: isize, cell: fn(&Record) -> String) -> Column {
    Column { head, width, cell }
}

/// What a cell holds when nothing was measured.
const MISSING: &str = "-";

const MODEL: &[Column] = &[
    column("model", -30, |r| r.model.kind.clone()),
    column("size", 10, |r| size(r.model.bytes)),
    column("params", 10, |r| count(r.model.parameters)),
    column("backend", -10, |_| "CPU".into()),
    column("threads", 7, |r| r.setup.threads.to_string()),
];
const BATCH: Column = column("n_batch", 7, |r| r.setup.batch.to_string());
const UBATCH: Column = column("n_ubatch", 8, |r| r.setup.ubatch.to_string());
const CACHE: Column = column("type_k", 6, |r| r.setup.cache.into());
const SPEED: &[Column] = &[
    column("test", 15, |r| r.test.to_string()),
    column("t/s", 20, |r| around(r.samples.speed())),
    column("median", 9, |r| median(r.samples.speed())),
];
const RANGE: Column = column("min to max", 19, |r| {
    let range = |speed: Spread| format!("{:.2} to {:.2}", speed.min, speed.max);
    or_missing(r.samples.speed().map(range))
});
const OTHER: &[Column] = &[
    column("theirs t/s", 20, |r| around(theirs(r))),
    column("median", 9, |r| median(theirs(r))),
    column("fa", 3, |r| {
        let best = r.against.as_ref().and_then(|other| other.best());
        or_missing(best.and_then(|way| way.flash_attn))
    }),
    column("ratio", 6, |r| number(r.ratio())),
];
const MEMORY: &[Column] = &[
    column("GB/s", 7, |r| number(r.gbps())),
    column("roofline", 8, |r| {
        number(r.roofline.map(|roofline| roofline.gbps()))
    }),
    column("share", 6, |r| {
        or_missing(
            r.roofline_share()
                .map(|share| format!("{:.0} %", share * 100.0)),
        )
    }),
    column("isa", -11, |r| r.origin.isa.into()),
];

/// `tok/J` is gross, tokens per second per watt, with the error of repetitions and instrument where there are enough of them.
const ENERGY: &[Column] = &[
    column("W", 7, |r| {
        number(r.energy.as_ref().and_then(Energy::mean_w))
    }),
    column("tok/J", 17, |r| {
        or_missing(r.energy.as_ref().and_then(tok_per_j))
    }),
];
const NET: Column = column("net tok/J", 9, |r| {
    let net = r.energy.as_ref().and_then(Energy::net);
    or_missing(net.map(|net| format!("{net:.3}")))
});
const SCOPE: &[Column] = &[
    column("scope", -11, |r| {
        or_missing(r.energy.as_ref().map(|energy| energy.source.scope))
    }),
    column("flags", -12, |r| {
        let flags = r.energy.iter().flat_map(|energy| &energy.flags);
        let names: Vec<&str> = flags.map(|flag| flag.name()).collect();
        names.join(" ")
    }),
];

impl Exporter for Md {
    fn begin(&mut self, columns: Columns, out: &mut dyn Write) -> io::Result<()> {
        let all = &mut self.columns;
        all.extend_from_slice(MODEL);
        let extra = [
            (columns.batch, BATCH),
            (columns.ubatch, UBATCH),
            (columns.cache, CACHE),
        ];
        all.extend(extra.iter().filter(|(shown, _)| *shown).map(|(_, c)| c));
        all.extend_from_slice(SPEED);
        match columns.against {
            true => all.extend_from_slice(OTHER),
            false => all.push(RANGE),
        }
        all.extend_from_slice(MEMORY);
        if columns.energy {
            all.extend_from_slice(ENERGY);
            all.extend(columns.net.then_some(NET));
            all.extend_from_slice(SCOPE);
        }
        row(out, all.iter().map(|c| (c.width, c.head.to_owned())))?;
        row(out, all.iter().map(|c| (c.width, rule(c.width))))
    }

    fn record(&mut self, record: &Record, _: Columns, out: &mut dyn Write) -> io::Result<()> {
        row(
            out,
            self.columns.iter().map(|c| (c.width, (c.cell)(record))),
        )
    }

    fn end(&mut self, last: &Record, out: &mut dyn Write) -> io::Result<()> {
        let origin = &last.origin;
        writeln!(out, "\nbuild: {} ({})", origin.commit, origin.number)?;
        if let Some(energy) = &last.energy {
            energy_line(energy, out)?;
        }
        if let Some(other) = &last.against {
            let number = or_missing(other.number);
            write!(out, "theirs: {} {} ({number})", other.program, other.commit)?;
            let space = if other.args.is_empty() { "" } else { " " };
            writeln!(out, "{space}{}", other.args)?;
        }
        Ok(())
    }
}

fn row(out: &mut dyn Write, cells: impl Iterator<Item = (isize, String)>) -> io::Result<()> {
    out.write_all(b"|")?;
    for (width, text) in cells {
        let space = width.unsigned_abs();
        match width < 0 {
            true => write!(out, " {text:<space$} |")?,
            false => write!(out, " {text:>space$} |")?,
        }
    }
    out.write_all(b"\n")
}

/// The line below the heads: `---:` for numbers, which stand to the right.
fn rule(width: isize) -> String {
    let dashes = "-".repeat(width.unsigned_abs() - 1);
    format!("{dashes}{}", if width < 0 { "-" } else { ":" })
}

/// Who measured, and what that took.
fn energy_line(energy: &Energy, out: &mut dyn Write) -> io::Result<()> {
    let source = &energy.source;
    write!(
        out,
        "energy: {} ({}, {})",
        source.name,
        source.scope,
        source.method.name()
    )?;
    if let Some(idle) = energy.idle {
        write!(out, ", {:.2} W at rest over {:.0} s", idle.w, idle.seconds)?;
    }
    let cost = energy.cost;
    writeln!(
        out,
        "; a reading took {:.2} ms, reading {:.2} % of a core",
        cost.read_s * 1e3,
        cost.cpu_share * 1e2
    )
}

fn tok_per_j(energy: &Energy) -> Option<String> {
    let gross = energy.gross()?;
    Some(match energy.plus_minus() {
        Some(error) => format!("{gross:.3} ± {error:.3}"),
        None => format!("{gross:.3}"),
    })
}

fn theirs(record: &Record) -> Option<Spread> {
    record.against.as_ref()?.best()?.speed()
}

fn around(speed: Option<Spread>) -> String {
    or_missing(speed.map(|speed| format!("{:.2} ± {:.2}", speed.mean, speed.stddev)))
}

fn median(speed: Option<Spread>) -> String {
    number(speed.map(|speed| speed.median))
}

fn number(number: Option<f64>) -> String {
    or_missing(number.map(|number| format!("{number:.2}")))
}

fn or_missing(value: Option<impl ToString>) -> String {
    value.map_or_else(|| MISSING.into(), |value| value.to_string())
}

/// Bytes in binary units, as llama-bench gives them.
fn size(bytes: u64) -> String {
    match bytes as f64 / f64::from(1 << 20) {
        mib if mib < 1024.0 => format!("{mib:.2} MiB"),
        mib => format!("{:.2} GiB", mib / 1024.0),
    }
}

/// Parameters in millions or thousands of millions.
fn count(parameters: u64) -> String {
    match parameters as f64 / 1e6 {
        millions if millions < 1000.0 => format!("{millions:.2} M"),
        millions => format!("{:.2} B", millions / 1000.0),
    }
}
