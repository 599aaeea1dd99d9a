//! The report for a reader at a terminal.
//!
//! Names and strings of the file are printed as Rust escapes them (errors and cuts do so too), so that a file cannot move
//! the cursor or hide text.

use core::fmt::Write;

use wattle::error::counted;
use wattle::gguf::{Array, Value};
use wattle::model::CacheType;

use super::super::table::Side::{Left, Right};
use super::super::table::table;
use super::report::Report;

/// Columns that a string or an array may take.
const WIDTH: usize = 72;

/// The whole report as text.
pub(super) fn render(report: &Report<'_>) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _written = sections(report, &mut out);
    out
}

fn sections(report: &Report<'_>, out: &mut String) -> core::fmt::Result {
    let architecture = report.architecture.unwrap_or("no architecture");
    writeln!(out, "{}", report.file)?;
    if let Some(cut) = &report.cut {
        writeln!(out, "NOT WHOLE: {}", cut.sentence)?;
    }
    if let Some(name) = report.name {
        writeln!(out, "{}", name.escape_debug())?;
    }
    writeln!(
        out,
        "{}, {}, {} in {}, GGUF {}",
        architecture.escape_debug(),
        parameters(report.parameters),
        bytes(report.file_bytes),
        counted(report.files, "file"),
        report.version,
    )?;
    metadata(report, out)?;
    tensors(report, out)?;
    costs(report, out)?;
    for note in &report.notes {
        writeln!(out, "\nnote: {note}")?;
    }
    Ok(())
}

fn metadata(report: &Report<'_>, out: &mut String) -> core::fmt::Result {
    let keys = counted(report.metadata.len(), "key");
    writeln!(out, "\nMetadata ({keys})")?;
    let rows = report.metadata.iter().map(|(key, value)| {
        let (ty, value) = match value {
            Value::Array(array) => (format!("{}[{}]", array.ty(), array.len()), list(array)),
            other => (other.ty().to_string(), scalar(other, WIDTH)),
        };
        [key.escape_debug().to_string(), ty, value]
    });
    table(out, None, rows, [Left, Left, Left])
}

fn tensors(report: &Report<'_>, out: &mut String) -> core::fmt::Result {
    let list_cut = report.cut.as_ref().is_some_and(|cut| !cut.exact);
    let cut = if list_cut { " before the cut" } else { "" };
    writeln!(out, "\nTensors ({}{cut})", report.tensors.len())?;
    if report.tensors.is_empty() {
        return Ok(());
    }
    let rows = report.tensors.iter().map(|tensor| {
        let shape: Vec<String> = tensor.shape.iter().map(u64::to_string).collect();
        let place = if report.files == 1 {
            tensor.offset.to_string()
        } else {
            format!("{}:{}", tensor.file + 1, tensor.offset)
        };
        [
            tensor.name.escape_debug().to_string(),
            tensor.ty.to_owned(),
            shape.join(" x "),
            bytes(tensor.bytes),
            place,
        ]
    });
    let head = ["name", "type", "row x rows", "size", "offset"];
    table(out, Some(head), rows, [Left, Left, Left, Right, Right])?;
    writeln!(out, "\nTypes ({})", report.types.len())?;
    let rows = report.types.iter().map(|share| {
        [
            share.ty.to_owned(),
            share.tensors.to_string(),
            count(share.parameters),
            bytes(share.bytes),
            format!("{:.1} %", share.share * 100.0),
        ]
    });
    let head = ["type", "tensors", "parameters", "size", "share"];
    table(out, Some(head), rows, [Left, Right, Right, Right, Right])
}

fn costs(report: &Report<'_>, out: &mut String) -> core::fmt::Result {
    if let Some(token) = report.token {
        writeln!(
            out,
            "\nA decoded token reads {} of weights ({})",
            bytes(token.bytes),
            parameters(token.parameters),
        )?;
    }
    if let Some(memory) = report.memory {
        writeln!(
            out,
            "Memory for {}: {} = {} weights + {} cache ({}, {}, {} a token)",
            counted(memory.context, "token"),
            bytes(memory.bytes),
            bytes(memory.weight_bytes),
            bytes(memory.cache_bytes),
            memory.cache,
            CacheType::default().name(),
            bytes(memory.cache_bytes_per_token),
        )?;
        let types = memory
            .types
            .map(|t| format!("{} {}", t.name, bytes(t.cache_bytes)));
        writeln!(out, "The cache by its type (-ctk): {}", types.join(", "))?;
    }
    if let Some(longest) = report.context_length {
        let longest = counted(longest, "token");
        writeln!(out, "The model was made for up to {longest}")?;
    }
    Ok(())
}

/// A value as text of at most about `width` columns.
fn scalar(value: &Value, width: usize) -> String {
    match value {
        Value::U8(v) => v.to_string(),
        Value::I8(v) => v.to_string(),
        Value::U16(v) => v.to_string(),
        Value::I16(v) => v.to_string(),
        Value::U32(v) => v.to_string(),
        Value::I32(v) => v.to_string(),
        Value::F32(v) => v.to_string(),
        Value::Bool(v) => v.to_string(),
        Value::U64(v) => v.to_string(),
        Value::I64(v) => v.to_string(),
        Value::F64(v) => v.to_string(),
        Value::String(bytes) => quoted(bytes, width),
        Value::Array(array) => list(array),
    }
}

/// A string in quotes, its start only when it is long.
fn quoted(bytes: &[u8], width: usize) -> String {
    // Four bytes a character at most; what is cut off is not even decoded.
    let start = bytes.get(..width * 4).unwrap_or(bytes);
    let text = String::from_utf8_lossy(start);
    let mut shown = String::from("\"");
    for c in text.chars() {
        let before = shown.len();
        if c == '\'' {
            shown.push(c);
        } else {
            shown.extend(c.escape_debug());
        }
        if shown.chars().count() > width {
            shown.truncate(before);
            return format!("{shown}\"... ({} bytes)", bytes.len());
        }
    }
    shown.push('"');
    shown
}

/// The first values of an array.
fn list(array: &Array) -> String {
    let mut shown = String::new();
    for (i, value) in array.iter().enumerate() {
        let next = scalar(&value, WIDTH / 2);
        if i > 0 && shown.chars().count() + next.chars().count() + 2 > WIDTH {
            return shown + ", ...";
        }
        if i > 0 {
            shown.push_str(", ");
        }
        shown.push_str(&next);
    }
    shown
}

/// A size with three digits or so: `98.4 MB` (10^6 bytes).
fn bytes(n: u64) -> String {
    scaled(n, &[" B", " kB", " MB", " GB", " TB", " PB", " EB"])
}

/// A number of parameters with three digits or so: `134.5 M`.
fn count(n: u64) -> String {
    scaled(n, &["", " k", " M", " B", " T", " P", " E"])
}

/// [`count`] with its noun.
fn parameters(n: u64) -> String {
    match n {
        1 => counted(n, "parameter"),
        n => format!("{} parameters", count(n)),
    }
}

fn scaled(n: u64, units: &[&str]) -> String {
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 {
        return format!("{n}{}", units[0]);
    }
    format!("{value:.1}{}", units[unit])
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use wattle::gguf::{GgmlType, Gguf, Writer};

    use super::*;

    /// A small model whose strings would clear the screen and turn text around.
    fn file() -> Vec<u8> {
        let mut w = Writer::new();
        let new = "keys and tensors are new";
        w.key("general.architecture", "llama").expect(new);
        w.key("general.name", "evil\u{1b}[2J\u{202e}name")
            .expect(new);
        w.key("llama.block_count", 1_u32).expect(new);
        w.key("llama.context_length", 2048_u32).expect(new);
        w.key("llama.embedding_length", 64_u32).expect(new);
        w.key("llama.attention.head_count", "four").expect(new);
        w.key("odd\u{9b}key", f32::NAN).expect(new);
        w.key("template", "{{ '面包' }}\n".repeat(20)).expect(new);
        let tokens: Vec<String> = (0..2000).map(|i| format!("token{i}")).collect();
        w.array("tokenizer.ggml.tokens", &tokens).expect(new);
        w.array("empty", &[] as &[bool]).expect(new);
        w.tensor("token_embd.weight", &[64, 2000], GgmlType::Q8_0)
            .expect(new);
        w.tensor("blk.0.attn_norm\u{7}.weight", &[64], GgmlType::F32)
            .expect(new);
        let mut body = w.start(Vec::new()).expect("memory");
        body.write(&[0; 64 / 32 * 34 * 2000]).expect("memory");
        body.write(&[0; 256]).expect("memory");
        body.finish().expect("all data")
    }

    fn inspect<T>(bytes: &[u8], show: impl Fn(&Report<'_>) -> T) -> T {
        let path = Path::new("m.gguf");
        let model = Gguf::head_from_bytes(path, bytes).expect("a good head");
        show(&Report::of(&model, 100))
    }

    #[test]
    fn a_whole_file() {
        insta::assert_snapshot!(inspect(&file(), render));
    }

    #[test]
    fn a_file_cut_short() {
        let bytes = file();
        insta::assert_snapshot!("cut_data", inspect(&bytes[..bytes.len() - 100], render));
        insta::assert_snapshot!("cut_keys", inspect(&bytes[..300], render));
    }

    #[test]
    fn json() {
        let json = inspect(&file(), |report| report.json());
        let parsed: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(
            parsed["metadata"]["general.name"],
            "evil\u{1b}[2J\u{202e}name"
        );
        assert_eq!(parsed["metadata"]["odd\u{9b}key"], serde_json::Value::Null);
        let tokens = &parsed["metadata"]["tokenizer.ggml.tokens"];
        assert_eq!(
            (&tokens["type"], &tokens["count"]),
            (&"string".into(), &2000.into())
        );
        assert_eq!(tokens["values"].as_array().map(Vec::len), Some(1024));
        assert_eq!(parsed["tensors"][1]["shape"], serde_json::json!([64]));
        assert_eq!(parsed["token"]["parameters"], 64 * 2000 + 64);
        assert_eq!(
            parsed["memory"],
            serde_json::Value::Null,
            "no number of heads"
        );
        let note = parsed["notes"][0].as_str().expect("a note");
        assert!(note.contains("llama.attention.head_count"), "{note}");
        let fields: Vec<&String> = parsed.as_object().expect("an object").keys().collect();
        let documented = [
            "file",
            "files",
            "file_bytes",
            "version",
            "cut",
            "architecture",
            "name",
            "context_length",
            "parameters",
            "weight_bytes",
            "types",
            "token",
            "memory",
            "metadata",
            "tensors",
            "notes",
        ];
        assert_eq!(fields, documented);
    }

    #[test]
    fn nothing_steers_the_terminal() {
        for shown in [
            inspect(&file(), render),
            inspect(&file(), |report| report.json()),
        ] {
            let bad = shown
                .chars()
                .find(|&c| (c.is_control() && c != '\n') || c == '\u{202e}');
            assert_eq!(bad, None, "escaped");
        }
    }

    #[test]
    fn numbers_keep_about_three_digits() {
        let shown = [0, 999, 1000, 98_362_432, 999_949, 999_950, u64::MAX].map(bytes);
        let expected = [
            "0 B", "999 B", "1.0 kB", "98.4 MB", "999.9 kB", "1.0 MB", "18.4 EB",
        ];
        assert_eq!(shown, expected);
        assert_eq!(count(134_515_008), "134.5 M");
    }
}
