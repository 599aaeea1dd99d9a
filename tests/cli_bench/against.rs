//! `wattle bench --against`: a llama-bench that is a shell script takes turns with ours.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::Value;

use super::program::Folder;
use super::{TINY, bench, name, records, tests};

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

#[test]
fn another_program_takes_turns_and_its_better_way_counts() {
    let folder = Folder::new("bench-against");
    let other = fake(&folder, "50.5", "80.25", "");
    let args = [
        "-m",
        TINY,
        "-p",
        "4,6",
        "-n",
        "0",
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
        "if [ $p = 2 ]; then echo 'out of luck' >&2; exit 9; fi",
    );
    let ran = bench(&[
        "-m",
        TINY,
        "-p",
        "4,2",
        "-n",
        "0",
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
