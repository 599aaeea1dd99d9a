//! `wattle tune`: what it measures, what it puts back, and what `wattle run` makes of its choice.

#[path = "cli/program.rs"]
#[expect(dead_code, reason = "the tests of other commands use the rest")]
mod program;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use program::{Folder, Ran, command, finish};
use serde_json::Value;

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tiny-llama.gguf");
const CAP: &str = "root/sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq";

fn put(folder: &Folder, name: &str, text: &str) {
    let path = folder.path.join(name);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    std::fs::write(path, text).expect("a file");
}

/// The program on a board of files.
fn on(folder: &Folder, args: &[&str]) -> Command {
    let mut command = command();
    command.args(args).args(["-m", MODEL]);
    command.env("WATTLE_SYSFS_ROOT", folder.path.join("root"));
    command.env("XDG_CONFIG_HOME", folder.path.join("config"));
    command
}

fn run(folder: &Folder, args: &[&str]) -> Ran {
    finish(on(folder, args), b"")
}

/// A board whose clock can be capped.
fn board(name: &str) -> Folder {
    let folder = Folder::new(name);
    put(&folder, "root/proc/cpuinfo", "model name : Pear\n");
    let policy = "root/sys/devices/system/cpu/cpufreq/policy0";
    put(&folder, &format!("{policy}/related_cpus"), "0 1 2 3\n");
    put(&folder, CAP, "2400000\n");
    put(&folder, &format!("{policy}/cpuinfo_min_freq"), "600000\n");
    put(&folder, &format!("{policy}/cpuinfo_max_freq"), "2400000\n");
    folder
}

fn cap(folder: &Folder) -> String {
    let text = std::fs::read_to_string(folder.path.join(CAP)).expect("the cap");
    text.trim().to_owned()
}

fn saved(folder: &Folder) -> PathBuf {
    folder.path.join("config/wattle/tune.toml")
}

#[track_caller]
fn json(ran: &Ran) -> Value {
    assert_eq!(ran.code, Some(0), "{ran:?}");
    serde_json::from_str(&ran.stdout).expect("JSON")
}

#[test]
fn without_a_sensor_speed_is_compared() {
    let folder = board("tune-speed");
    let ran = run(&folder, &["tune", "-n", "4", "-r", "3", "--json"]);
    let report = json(&ran);
    let points = report["points"].as_array().expect("points");
    assert!(!points.is_empty(), "{report}");
    for point in points {
        assert_eq!(point["samples_tok_s"].as_array().map(Vec::len), Some(3));
        assert_eq!(
            (&point["tok_j"], &point["mean_w"]),
            (&Value::Null, &Value::Null)
        );
        assert_eq!(point["cap_khz"], Value::Null, "clocks are left alone");
    }
    let rate = |point: &Value| point["tok_s"].as_f64().expect("a rate");
    let fastest = points.iter().map(rate).fold(0.0, f64::max);
    let choice = report["choice"].as_u64().expect("an index") as usize;
    assert_eq!(rate(&points[choice]), fastest);
    assert_eq!(points[choice]["pareto"], true);
    assert_eq!(
        (&report["saved"], &report["sensor"]),
        (&Value::Null, &Value::Null)
    );
    assert!(!saved(&folder).exists(), "nothing is saved unasked");
    assert!(
        ran.stderr.contains("note: no "),
        "no energy, and why: {ran:?}"
    );
    run(&folder, &["tune", "--prefer", "energy"]).fails(2, &["--prefer energy", "no power sensor"]);
    run(&folder, &["tune", "-r", "0"]).fails(2, &["-r 0: expected at least 1"]);
}

#[test]
fn clocks_are_capped_only_when_asked_and_put_back() {
    let folder = board("tune-clocks");
    let ran = run(
        &folder,
        &["tune", "-n", "2", "-r", "1", "--clocks", "--json"],
    );
    let report = json(&ran);
    let points = report["points"].as_array().expect("points");
    let mut caps: Vec<_> = points
        .iter()
        .filter_map(|p| p["cap_khz"].as_u64())
        .collect();
    assert_eq!(caps.len(), points.len());
    caps.dedup();
    assert_eq!(caps, [2_400_000, 1_800_000, 1_200_000]);
    assert_eq!(cap(&folder), "2400000");
    assert!(ran.stderr.contains("echo 2400000 | sudo tee"), "{ran:?}");

    let bare = Folder::new("tune-no-clocks");
    run(&bare, &["tune", "--clocks"]).fails(1, &["no clocks to set"]);
}

#[test]
fn a_signal_puts_the_clocks_back() {
    let folder = board("tune-signal");
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let mut command = on(&folder, &["tune", "-n", "200", "-r", "1000", "--clocks"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().expect("the program starts");
        let start = Instant::now();
        while cap(&folder) == "2400000" {
            assert!(start.elapsed() < Duration::from_secs(60), "no cap was set");
            std::thread::sleep(Duration::from_millis(2));
        }
        // Twice: the second must not end it before the clocks are back.
        for _ in 0..2 {
            let sent = Command::new("kill")
                .args([signal, &child.id().to_string()])
                .status();
            assert!(sent.expect("kill").success(), "{signal} was sent");
        }
        let output = child.wait_with_output().expect("the program ends");
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert_eq!(cap(&folder), "2400000", "after {signal}");
    }
}

#[test]
fn run_follows_the_choice_of_this_board() {
    let folder = board("tune-save");
    let text = run(&folder, &["tune", "-n", "2", "-r", "1", "--save"]);
    assert_eq!(text.code, Some(0), "{text:?}");
    assert!(
        text.stdout.contains("=>") && text.stderr.contains("tune.toml"),
        "{text:?}"
    );
    let choice = std::fs::read_to_string(saved(&folder)).expect("the choice");
    let answer = |more: &[&str]| {
        let args = ["run", "-p", "The", "-n", "2", "--temp", "0"];
        let ran = run(&folder, &[&args[..], more].concat());
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran
    };
    let tuned = answer(&[]);
    assert!(tuned.stderr.contains("as `wattle tune` chose"), "{tuned:?}");
    let given = answer(&["-t", "1"]);
    assert!(!given.stderr.contains("tune"), "-t is followed: {given:?}");
    assert_eq!(given.stdout, tuned.stdout, "the same text");

    for (from, to, told) in [
        (
            "board = \"Pear",
            "board = \"Apple",
            "it was made for \"Apple",
        ),
        ("threads = ", "threads = -", "tune.toml: line "),
        ("cores = [", "cores = [8000, ", "may not use core 8000"),
        ("model", "muddle", "unknown field `muddle`"),
    ] {
        assert!(choice.contains(from), "{from:?} is in {choice:?}");
        std::fs::write(saved(&folder), choice.replacen(from, to, 1)).expect("a file");
        let ran = answer(&[]);
        assert!(ran.stderr.contains(told), "{told:?} is not in {ran:?}");
        assert!(ran.stderr.contains("this choice is ignored"), "{ran:?}");
    }
}
