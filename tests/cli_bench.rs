//! `wattle bench` as a user runs it: its table, its records in every format, another program beside it, and every refusal.
//! Nothing here depends on how fast anything is.

#[path = "cli_bench/against.rs"]
mod against;
#[path = "cli/program.rs"]
mod program;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use program::{Folder, Ran, command, finish, wattle};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// The model in the box as a file, and a smaller one.
const TALES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/demo/wattle-tales.gguf");
const TINY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tiny-llama.gguf");

/// `wattle bench`, which thinks that there is little memory and therefore reads little of it, as an emulator needs it.
fn bench(args: &[&str]) -> Ran {
    let small = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli_bench/small");
    let mut command = command();
    command.env("WATTLE_SYSFS_ROOT", small).arg("bench");
    command.args(args);
    finish(command, b"")
}

fn name(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// The records of a successful run with `-o json`.
#[track_caller]
fn records(args: &[&str]) -> Vec<Value> {
    let ran = bench(&[args, &["-o", "json"]].concat());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let array: Value = serde_json::from_str(&ran.stdout).expect("JSON and nothing else");
    array.as_array().expect("an array").clone()
}

/// Prompt, generated and depth of each record.
fn tests(records: &[Value]) -> Vec<[u64; 3]> {
    let number = |record: &Value, name: &str| record[name].as_u64().expect("a number");
    records
        .iter()
        .map(|record| ["n_prompt", "n_gen", "n_depth"].map(|name| number(record, name)))
        .collect()
}

#[test]
#[cfg_attr(not(feature = "demo"), ignore = "there is no model in the box")]
fn the_model_in_the_box_is_measured() {
    let ran = bench(&["-p", "8", "-n", "2", "-r", "2", "-t", "1"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let lines: Vec<&str> = ran.stdout.lines().collect();
    let cells = |line: &str| -> Vec<String> {
        let inner = line.trim_matches('|').split('|');
        inner.map(|cell| cell.trim().to_owned()).collect()
    };
    let heads = cells(lines[0]);
    assert_eq!(
        heads[..7],
        [
            "model", "size", "params", "backend", "threads", "test", "t/s"
        ]
    );
    assert!(lines[1].starts_with("| ---"), "{ran:?}");
    for (line, test) in lines[2..4].iter().zip(["pp8", "tg2"]) {
        let row = cells(line);
        assert_eq!(row.len(), heads.len(), "{line}");
        assert_eq!((&*row[5], &*row[4]), (test, "1"));
        assert!(row[6].contains(" ± "), "{line}");
        let at = |head: &str| &row[heads.iter().position(|h| h == head).expect("a column")];
        assert_eq!(at("GB/s") == "-", test == "pp8", "{line}");
        assert_eq!(at("share") == "-", test == "pp8", "{line}");
    }
    assert!(lines[5].starts_with("build: "), "{ran:?}");
    assert!(ran.stderr.contains("in the box"), "{ran:?}");
}

#[test]
fn records_have_llama_benchs_fields_and_ours() {
    let all = records(&[
        "-m", TINY, "-p", "8", "-n", "4", "-d", "8", "-r", "3", "-t", "1",
    ]);
    assert_eq!(tests(&all), [[8, 0, 8], [0, 4, 8]]);
    for record in &all {
        let keys: BTreeSet<&str> = record
            .as_object()
            .expect("an object")
            .keys()
            .map(String::as_str)
            .collect();
        for name in [
            "build_commit",
            "build_number",
            "cpu_info",
            "model_filename",
            "model_type",
            "model_size",
            "model_n_params",
            "n_batch",
            "n_ubatch",
            "n_threads",
            "type_k",
            "type_v",
            "test_time",
            "avg_ns",
            "stddev_ns",
            "avg_ts",
            "stddev_ts",
        ] {
            assert!(keys.contains(name) && !record[name].is_null(), "{name}");
        }
        assert_eq!(record["model_filename"], TINY);
        assert_eq!(record["n_batch"], 2048);
        assert_eq!(record["n_ubatch"], 512);
        assert_eq!(record["type_k"], "f16");
        let samples = record["samples_ns"].as_array().expect("a list");
        assert_eq!(samples.len(), 3);
        let times: Vec<u64> = samples.iter().map(|ns| ns.as_u64().expect("ns")).collect();
        assert_eq!(record["avg_ns"], times.iter().sum::<u64>() / 3);
        let tokens = record["n_prompt"].as_u64().max(record["n_gen"].as_u64());
        let rate = tokens.expect("tokens") as f64 * 1e9 / times[0] as f64;
        let told = record["samples_ts"][0].as_f64().expect("a rate");
        assert!((told / rate - 1.0).abs() < 1e-3, "{told} {rate}");
        let [min, median, max] =
            ["min_ts", "median_ts", "max_ts"].map(|name| record[name].as_f64().expect("a rate"));
        assert!(min <= median && median <= max, "{record}");
    }
    let [prompt, decode] = &all[..] else {
        panic!("two records")
    };
    for name in ["bytes_per_token", "gbps", "roofline_gbps", "roofline_share"] {
        assert!(prompt[name].is_null(), "{name}");
        assert!(decode[name].as_f64().is_some_and(|x| x > 0.0), "{name}");
    }
}

#[test]
fn lists_ranges_and_repeated_flags_multiply() {
    let all = records(&[
        "-m", TINY, "-p", "1-4*2", "-p", "6", "-n", "0", "-pg", "2,1", "-d", "0,3", "-b", "4,8",
        "-ub", "2", "-t", "1", "-r", "1",
    ]);
    let at = |depth| {
        [
            [1, 0, depth],
            [2, 0, depth],
            [4, 0, depth],
            [6, 0, depth],
            [2, 1, depth],
        ]
    };
    let once = [at(0), at(3)].concat();
    assert_eq!(tests(&all), [once.clone(), once].concat());
    let batches: Vec<_> = all.iter().map(|record| record["n_batch"].clone()).collect();
    assert_eq!(batches[..10], vec![Value::from(4); 10]);
    assert_eq!(batches[10..], vec![Value::from(8); 10]);
    assert!(all.iter().all(|record| record["n_ubatch"] == 2));
}

#[test]
fn the_defaults_are_llama_benchs() {
    let ran = wattle(["bench", "--help"]);
    for part in [
        "[default: 512]",
        "[default: 128]",
        "[default: 5]",
        "[default: 2048]",
    ] {
        assert!(ran.stdout.contains(part), "{part}");
    }
}

#[test]
fn every_format_is_written() {
    let run = |format| {
        let ran = bench(&[
            "-m", TINY, "-p", "2", "-n", "0", "-r", "1", "-t", "1", "--power", "none", "-o", format,
        ]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert_eq!(ran.stderr, "");
        ran.stdout
    };
    let line: Value = serde_json::from_str(run("jsonl").trim_end()).expect("one line of JSON");
    assert_eq!(line["n_prompt"], 2);
    let csv = run("csv");
    assert!(csv.starts_with("build_commit,build_number,"), "{csv}");
    assert_eq!(csv.lines().count(), 2);
    let sql = run("sql");
    assert!(
        sql.starts_with("CREATE TABLE IF NOT EXISTS wattle_bench"),
        "{sql}"
    );
    assert!(sql.contains("INSERT INTO wattle_bench"), "{sql}");
}

#[test]
fn progress_says_what_is_done_and_no_warm_up_does_less() {
    let run = |more: &[&str]| {
        let args = [
            "-m",
            TINY,
            "-p",
            "2",
            "-n",
            "0",
            "-r",
            "2",
            "-t",
            "1",
            "--progress",
        ];
        bench(&[&args, more].concat()).stderr
    };
    let told = run(&[]);
    for part in ["test 1 of 1, pp2: warming up", "pp2: repetition 2 of 2"] {
        assert!(told.contains(part), "{told}");
    }
    assert!(!run(&["--no-warmup"]).contains("warming up"));
}

#[test]
fn ctrl_c_leaves_what_was_measured() {
    let mut child = command()
        .args(["bench", "-m", TINY, "-p", "2,1000000", "-n", "0"])
        .args(["-r", "1", "-t", "1", "--no-warmup", "--progress"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut told = BufReader::new(child.stderr.take().expect("piped"));
    let mut line = String::new();
    while !line.contains("test 2 of 2, pp1000000: repetition 1") {
        line.clear();
        assert!(told.read_line(&mut line).expect("text") > 0, "it ended");
    }
    kill_process(Pid::from_child(&child), Signal::INT).expect("a signal");
    let ran = child.wait_with_output().expect("the program ends");
    assert_eq!(ran.status.code(), Some(130), "{ran:?}");
    let table = String::from_utf8(ran.stdout).expect("text");
    assert!(
        table.contains(" pp2 |") && !table.contains("pp1000000"),
        "{table}"
    );
    assert!(table.contains("\nbuild: "), "the table is whole: {table}");
}

#[test]
fn faults_are_named() {
    let folder = Folder::new("bench-faults");
    let silent = folder.file("silent", b"#!/bin/sh\nexit 0\n");
    std::fs::set_permissions(&silent, std::fs::Permissions::from_mode(0o755)).expect("ours");
    let small = ["-m", TINY, "-p", "1", "-n", "0", "-r", "1", "-t", "1"];
    let with = |more: &[&str]| bench(&[&small, more].concat());
    with(&["--against", "/nowhere/llama-bench"])
        .fails(1, &["/nowhere/llama-bench", "cannot start", "--against"]);
    with(&["--against", name(&silent)]).fails(1, &["no JSON"]);
    with(&["-b", "0"]).fails(2, &["-b 0", "at least 1"]);
    with(&["-o", "xml"]).fails(2, &["xml", "jsonl"]);
    with(&["--against-args", "-fa 1"]).fails(2, &["--against"]);
    bench(&["--against", "llama-bench"]).fails(2, &["--against without -m"]);
    bench(&["-p", "0", "-n", "0"]).fails(2, &["there is no test"]);
    bench(&["-p", "9-1"]).fails(2, &["ends before it begins"]);
    bench(&["-p", "x"]).fails(2, &["found \"x\""]);
    bench(&["-pg", "5"]).fails(2, &["PROMPT,GENERATED"]);
    bench(&["-r", "0"]).fails(2, &["-r 0", "at least 1"]);
    bench(&["-m", TINY, "-t", "0"]).fails(2, &["-t 0"]);
    bench(&["-m", "/nowhere.gguf"]).fails(1, &["/nowhere.gguf"]);
}

#[test]
fn the_model_in_the_box_is_a_file_too() {
    let all = records(&[
        "-m",
        TALES,
        "-p",
        "1",
        "-n",
        "0",
        "-r",
        "1",
        "-t",
        "1",
        "--no-warmup",
    ]);
    assert!(
        all[0]["model_type"]
            .as_str()
            .is_some_and(|kind| kind.starts_with("deepseek2 ")),
        "{}",
        all[0]["model_type"]
    );
    let parameters = all[0]["model_n_params"].as_u64().expect("a number");
    assert!((6_000_000..8_000_000).contains(&parameters), "{parameters}");
}
