//! The same records in every format.

use super::*;
use crate::meter::record::tests::{compared, decode, metered, prompt};

fn written(format: Format, columns: Columns, records: &[Record]) -> String {
    let mut out = Vec::new();
    let mut report = Report::new(format, columns);
    for record in records {
        report.record(record.clone(), &mut out).expect("memory");
    }
    report.end(&mut out).expect("memory");
    String::from_utf8(out).expect("text")
}

const AGAINST: Columns = Columns {
    batch: false,
    ubatch: false,
    cache: false,
    against: true,
    energy: false,
    net: false,
};

#[test]
fn a_report_without_records_is_empty() {
    for &format in Format::ALL {
        assert_eq!(written(format, Columns::default(), &[]), "");
    }
}

#[test]
fn the_table_of_llama_bench_and_more() {
    let all = Columns {
        batch: true,
        ubatch: true,
        cache: true,
        ..Columns::default()
    };
    insta::assert_snapshot!(written(
        Format::Md,
        Columns::default(),
        &[prompt(), decode()]
    ));
    insta::assert_snapshot!(written(Format::Md, all, &[decode()]));
}

#[test]
fn the_table_beside_another_program() {
    insta::assert_snapshot!(written(Format::Md, AGAINST, &[compared()]));
}

#[test]
fn json_has_every_field() {
    let text = written(Format::Json, AGAINST, &[prompt(), compared()]);
    let read: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let all = read.as_array().expect("an array");
    assert_eq!(all.len(), 2);
    for record in all {
        let names = fields(true).map(|field| field.name);
        let names: Vec<&str> = names.chain(["energy"]).collect();
        let found: Vec<&String> = record.as_object().expect("an object").keys().collect();
        assert_eq!(found, names);
    }
    assert!(
        all[0]["energy"].is_null(),
        "not 0, and no object of nothing"
    );
    assert!(all[0]["gbps"].is_null() && all[0]["ratio"].is_null());
    assert_eq!(all[1]["cpu_info"], "a \"quoted\" CPU");
    assert_eq!(all[1]["samples_ns"][1], 1_000_000_000);
    assert_eq!(all[1]["samples_ts"][1], 4.0);
    assert_eq!(all[1]["stddev_ns"], 707_106_781);
    assert_eq!(all[1]["roofline_share"], 0.75);
    assert_eq!(all[1]["ratio"], 1.5);
}

#[test]
fn json_lines_are_the_objects_of_the_array() {
    let records = [prompt(), decode()];
    let array = written(Format::Json, Columns::default(), &records);
    let array: Vec<serde_json::Value> = serde_json::from_str(&array).expect("JSON");
    let lines = written(Format::Jsonl, Columns::default(), &records);
    let lines: Vec<serde_json::Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(array, lines);
}

#[test]
fn csv_quotes_text_and_leaves_out_what_is_missing() {
    insta::assert_snapshot!(written(
        Format::Csv,
        Columns::default(),
        &[prompt(), decode()]
    ));
}

#[test]
fn sql_makes_a_table_and_fills_it() {
    insta::assert_snapshot!(written(Format::Sql, AGAINST, &[compared()]));
}

const ENERGY: Columns = Columns {
    batch: false,
    ubatch: false,
    cache: false,
    against: false,
    energy: true,
    net: true,
};

#[test]
fn the_table_with_a_sensor() {
    insta::assert_snapshot!(written(Format::Md, ENERGY, &[prompt(), metered()]));
}

#[test]
fn energy_is_an_object_in_json_and_columns_elsewhere() {
    let text = written(Format::Json, ENERGY, &[prompt(), metered()]);
    let read: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert!(read[0]["energy"].is_null());
    let energy = &read[1]["energy"];
    for name in [
        "scope",
        "source",
        "method",
        "window_s",
        "samples",
        "hz",
        "joules",
        "mean_w",
        "idle_w",
        "tok_per_j",
        "j_per_tok",
        "ci95",
        "instrument_rel",
        "flags",
        "temp_start_c",
        "temp_end_c",
        "governor",
        "freq_khz",
    ] {
        assert!(energy.get(name).is_some(), "{name} is missing");
    }
    assert_eq!(
        (&energy["scope"], &energy["joules"]),
        (&"board_est".into(), &120.0.into())
    );
    assert_eq!(
        (&energy["tok_per_j"], &energy["net_tok_per_j"]),
        (&0.2.into(), &0.5.into())
    );
    assert_eq!(
        energy["flags"],
        serde_json::json!(["short_window", "throttled"])
    );
    assert!(energy["j_per_prompt_tok"].is_null() && energy["temp_end_c"].is_null());
    assert_eq!(energy["j_per_gen_tok"], 5.0);
    insta::assert_snapshot!(written(Format::Csv, ENERGY, &[metered()]));
    insta::assert_snapshot!(written(Format::Sql, ENERGY, &[prompt(), metered()]));
}
