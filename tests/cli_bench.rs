//! `wattle bench` as a user runs it: its table, its records in every format, another program beside it, and every refusal.
//! Nothing here depends on how fast anything is.

#[path = "cli/program.rs"]
mod program;

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use program::{Folder, Ran, wattle};
use serde_json::Value;

/// The model in the box as a file, and a smaller one.
const TALES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/demo/wattle-tales.gguf");
const TINY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tiny-llama.gguf");

fn bench(args: &[&str]) -> Ran {
    wattle([&["bench"], args].concat())
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
    let ran = bench(&["--help"]);
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
            "-m", TINY, "-p", "2", "-n", "0", "-r", "1", "-t", "1", "-o", format,
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

/// A llama-bench that answers every test with these speeds, by its `-fa`.
fn fake(folder: &Folder, fa0: &str, fa1: &str, end: &str) -> PathBuf {
    let script = format!(
        "#!/bin/sh\n\
         echo \"$*\" >> \"$0.log\"\n\
         while [ $# -gt 0 ]; do\n\
           case \"$1\" in -p) p=$2;; -n) n=$2;; -pg) p=${{2%,*}}; n=${{2#*,}};; -fa) fa=$2;; esac\n\
           shift\n\
         done\n\
         if [ \"$fa\" = 1 ]; then ts={fa1}; else ts={fa0}; fi\n\
         echo \"[{{\\\"build_commit\\\": \\\"feed\\\", \\\"build_number\\\": 12, \\\"n_prompt\\\": $p, \\\"n_gen\\\": $n, \\\"avg_ts\\\": $ts}}]\"\n\
         {end}\n"
    );
    let path = folder.file("llama-bench", script.as_bytes());
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&path, mode).expect("ours");
    path
}

fn name(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

#[test]
fn another_program_takes_turns_and_its_better_way_counts() {
    let folder = Folder::new("bench-against");
    let other = fake(&folder, "50.5", "80.25", "");
    let args = [
        "-m",
        TINY,
        "-p",
        "4",
        "-n",
        "2",
        "-r",
        "2",
        "-t",
        "1",
        "--against",
        name(&other),
    ];
    let all = records(&args);
    assert_eq!(all.len(), 2);
    for record in &all {
        assert_eq!(record["against_program"], name(&other));
        assert_eq!(record["against_build_commit"], "feed");
        assert_eq!(record["against_build_number"], 12);
        assert_eq!(record["against_flash_attn"], 1);
        assert_eq!(record["against_median_ts"], 80.25);
        assert_eq!(record["against_fa0_median_ts"], 50.5);
        assert_eq!(
            record["against_samples_ts"],
            serde_json::json!([80.25, 80.25])
        );
        let ours = record["median_ts"].as_f64().expect("a speed");
        let ratio = record["ratio"].as_f64().expect("a ratio");
        assert!(
            (ratio / (ours / 80.25) - 1.0).abs() < 1e-3 + 1e-6 / ratio,
            "{record}"
        );
    }
    let log = std::fs::read_to_string(folder.path.join("llama-bench.log")).expect("its log");
    let asked: Vec<&str> = log.lines().collect();
    assert_eq!(asked.len(), 8, "2 tests, 2 repetitions, 2 ways");
    for (asked, way) in asked.iter().zip(["-fa 0", "-fa 1"].iter().cycle()) {
        assert!(asked.starts_with(&format!("-m {TINY} ")), "{asked}");
        assert!(
            asked.contains("-t 1 -b 2048 -ub 512") && asked.ends_with(way),
            "{asked}"
        );
    }

    let table = bench(&args).stdout;
    for part in ["theirs t/s", "80.25 ± 0.00", "ratio", "feed (12)"] {
        assert!(table.contains(part), "{part:?} is not in\n{table}");
    }
}

#[test]
fn another_program_can_be_given_arguments() {
    let folder = Folder::new("bench-args");
    let other = fake(&folder, "50.5", "80.25", "");
    let all = records(&[
        "-m",
        TINY,
        "-p",
        "0",
        "-n",
        "0",
        "-pg",
        "4,2",
        "-r",
        "1",
        "-t",
        "1",
        "--no-warmup",
        "--against",
        name(&other),
        "--against-args",
        "-mla 3 -fa 1",
    ]);
    assert_eq!(all[0]["against_args"], "-mla 3 -fa 1");
    assert_eq!(all[0]["against_median_ts"], 80.25);
    assert!(all[0]["against_flash_attn"].is_null());
    let log = std::fs::read_to_string(folder.path.join("llama-bench.log")).expect("its log");
    assert_eq!(log.lines().count(), 1);
    assert!(
        log.trim_end().ends_with("--no-warmup -mla 3 -fa 1"),
        "{log}"
    );
}

#[test]
fn what_was_measured_before_a_failure_is_told() {
    let folder = Folder::new("bench-fails");
    let other = fake(
        &folder,
        "1",
        "1",
        "if [ $n = 2 ]; then echo 'out of luck' >&2; exit 9; fi",
    );
    let ran = bench(&[
        "-m",
        TINY,
        "-p",
        "4",
        "-n",
        "2",
        "-r",
        "1",
        "-t",
        "1",
        "-o",
        "json",
        "--against",
        name(&other),
    ]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let told: Value = serde_json::from_str(&ran.stdout).expect("JSON that is whole");
    assert_eq!(tests(told.as_array().expect("an array")), [[4, 0, 0]]);
    for part in [name(&other), "exit status: 9", "out of luck"] {
        assert!(ran.stderr.contains(part), "{ran:?}");
    }
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
        "0",
        "-n",
        "1",
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
