//! Watts and tokens per joule as a user meets them: `wattle bench`, `run` and `power` with a meter that a shell line plays, or a tree
//! of files in place of the machine's own. Nothing here is a figure of any machine.

#[path = "cli_energy/meter.rs"]
mod meter;
#[path = "cli_energy/power.rs"]
mod power;
#[path = "cli/program.rs"]
mod program;

use meter::{METER, SMALL, emulated, machine, name, on};
use program::{Folder, Ran, wattle};
use serde_json::Value;

/// The model in the box as a file, and a smaller one.
const TALES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/demo/wattle-tales.gguf");
const TINY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tiny-llama.gguf");
fn bench(root: &str, args: &[&str]) -> Ran {
    let test = [
        "bench", "-m", TINY, "-p", "8", "-n", "4", "-pg", "8,4", "-t", "1",
    ];
    on(root, &[&test, args].concat())
}

#[track_caller]
fn records(ran: &Ran) -> Vec<Value> {
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let all: Value = serde_json::from_str(&ran.stdout).expect("JSON and nothing else");
    all.as_array().expect("an array").clone()
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

#[test]
fn a_meter_makes_watts_and_tokens_per_joule() {
    let ran = bench(
        SMALL,
        &[
            "-r",
            "3",
            "-o",
            "json",
            "--meter-accuracy",
            "2%",
            "--power-cmd",
            METER,
        ],
    );
    if emulated() {
        return ran.fails(2, &["--power-cmd", "emulated"]);
    }
    let all = records(&ran);
    assert_eq!(all.len(), 3);
    for (record, tokens) in all.iter().zip([8.0, 4.0, 12.0]) {
        let energy = &record["energy"];
        assert_eq!(
            (&energy["scope"], &energy["method"]),
            (&"dc_input".into(), &"integrated".into())
        );
        assert!((number(&energy["mean_w"]) - 10.0).abs() < 1e-6, "{energy}");
        let ns = record["samples_ns"]
            .as_array()
            .expect("times")
            .iter()
            .map(number);
        let seconds = ns.sum::<f64>() * 1e-9;
        // JSON has six digits after the point.
        assert!(
            (number(&energy["window_s"]) - seconds).abs() < 1e-6,
            "{energy} {seconds}"
        );
        let gross = 3.0 * tokens / (10.0 * seconds);
        assert!(
            (number(&energy["tok_per_j"]) / gross - 1.0).abs() < 1e-3,
            "{energy} {gross}"
        );
        assert!(
            (number(&energy["j_per_tok"]) - 1.0 / gross).abs() < 1e-6,
            "{energy} {gross}"
        );
        assert_eq!(energy["instrument_rel"], 0.02);
        let (ci, error) = (number(&energy["ci95"]), number(&energy["plus_minus"]));
        assert!(
            (error / ci.hypot(0.02 * gross) - 1.0).abs() < 1e-2,
            "{energy}"
        );
        let flags = energy["flags"].as_array().expect("a list");
        assert!(flags.contains(&"short_window".into()), "{energy}");
        for missing in ["idle_w", "net_joules", "net_tok_per_j"] {
            assert!(
                energy[missing].is_null(),
                "{missing} without a baseline: {energy}"
            );
        }
    }
    let kinds = ["j_per_prompt_tok", "j_per_gen_tok"].map(|name| {
        all.iter()
            .map(|record| record["energy"][name].is_number())
            .collect::<Vec<_>>()
    });
    assert_eq!(kinds, [[true, false, true], [false, true, true]]);
}

#[test]
fn two_repetitions_have_no_error() {
    if emulated() {
        return;
    }
    let ran = bench(
        SMALL,
        &[
            "-r",
            "2",
            "-o",
            "jsonl",
            "--power-cmd",
            METER,
            "--power-scope",
            "wall_ac",
        ],
    );
    for line in ran.stdout.lines() {
        let record: Value = serde_json::from_str(line).expect("JSON");
        let energy = &record["energy"];
        assert_eq!(energy["scope"], "wall_ac");
        assert!(
            energy["tok_per_j"].is_number()
                && energy["ci95"].is_null()
                && energy["plus_minus"].is_null(),
            "{energy}"
        );
    }
    assert_eq!(ran.stdout.lines().count(), 3);
}

#[test]
fn the_table_has_columns_of_power_only_with_a_sensor() {
    let without = bench(SMALL, &["-r", "1"]);
    assert_eq!(without.code, Some(0), "{without:?}");
    let head = without.stdout.lines().next().expect("a head");
    assert!(!head.contains("tok/J") && !head.contains(" W "), "{head}");
    assert!(without.stderr.contains("no W and tok/J"), "{without:?}");
    let quiet = bench(SMALL, &["-r", "1", "--power", "none"]);
    assert_eq!(quiet.stderr, "", "nobody asked");
    let null = records(&bench(SMALL, &["-r", "1", "-o", "json"]));
    assert!(
        null.iter().all(|record| record["energy"].is_null()),
        "{null:?}"
    );
    if emulated() {
        return;
    }
    let with = bench(SMALL, &["-r", "3", "--power-cmd", METER]);
    let rows: Vec<&str> = with.stdout.lines().collect();
    for head in [" W ", " tok/J ", " scope ", " flags "] {
        assert!(rows[0].contains(head), "{head} {with:?}");
    }
    assert!(
        rows[2].contains(" 10.00 ") && rows[2].contains(" dc_input "),
        "{with:?}"
    );
    assert!(
        rows.iter().any(|row| row.starts_with("energy: while echo")),
        "{with:?}"
    );
}

#[test]
fn columns_of_energy_in_csv_and_sql() {
    if emulated() {
        return;
    }
    let csv = bench(SMALL, &["-r", "1", "-o", "csv", "--power-cmd", METER]).stdout;
    let head: Vec<&str> = csv.lines().next().expect("a head").split(',').collect();
    let row = csv.lines().nth(1).expect("a row");
    assert!(
        head.contains(&"energy_tok_per_j") && head.contains(&"energy_flags"),
        "{csv}"
    );
    assert!(
        row.contains("dc_input") && row.contains("\"short_window"),
        "{csv}"
    );
    let sql = bench(SMALL, &["-r", "1", "-o", "sql", "--power-cmd", METER]).stdout;
    assert!(
        sql.contains("  energy_idle_w REAL") && sql.contains("'dc_input'"),
        "{sql}"
    );
}

#[test]
fn meters_that_lie_end_or_hang_stop_nothing() {
    if emulated() {
        return;
    }
    for (meter, part) in [
        (
            "while echo \"$(date +%s.%N) nothing\"; do sleep 0.02; done",
            "found",
        ),
        (
            "while echo \"$(date +%s.%N) -5\"; do sleep 0.02; done",
            "cannot be",
        ),
        ("exit 3", "ended"),
        ("echo 0 5; exec sleep 1000", ""),
        ("exec sleep 1000", ""),
    ] {
        let ran = bench(SMALL, &["-r", "1", "-o", "json", "--power-cmd", meter]);
        assert!(ran.stderr.contains(part), "{ran:?}");
        for record in records(&ran) {
            let energy = &record["energy"];
            for name in ["joules", "mean_w", "tok_per_j", "j_per_tok", "ci95"] {
                assert!(energy[name].is_null(), "{name} of {meter:?}: {energy}");
            }
            assert!(
                energy["flags"]
                    .as_array()
                    .expect("a list")
                    .contains(&"lost_samples".into()),
                "{energy}"
            );
            assert!(number(&record["avg_ts"]) > 0.0, "{record}");
        }
    }
}

#[test]
fn a_counter_that_stands_still_is_no_machine_that_needs_nothing() {
    let machine = machine("still", &[]);
    let ran = bench(name(&machine.path), &["-r", "1", "-o", "json"]);
    for record in records(&ran) {
        if emulated() {
            assert!(record["energy"].is_null(), "{record}");
            continue;
        }
        let energy = &record["energy"];
        assert_eq!(
            (&energy["scope"], &energy["method"]),
            (&"soc_package".into(), &"counter".into())
        );
        assert_eq!(energy["source"], "powercap intel-rapl:0 package-0");
        assert!(
            energy["tok_per_j"].is_null() && energy["mean_w"].is_null(),
            "{energy}"
        );
    }
}

#[test]
fn a_virtual_machine_has_no_figures_of_its_own() {
    let guest = machine(
        "guest",
        &[("proc/cpuinfo", "flags\t\t: fpu hypervisor sse2\n")],
    );
    let root = name(&guest.path);
    let ran = bench(root, &["-r", "1"]);
    assert!(!ran.stdout.contains("tok/J"), "{ran:?}");
    let sign = if emulated() {
        "emulated"
    } else {
        "virtual machine"
    };
    assert!(ran.stderr.contains(sign), "{ran:?}");
    bench(root, &["--power", "rapl"]).fails(2, &["--power", sign]);
    if emulated() {
        return;
    }
    // A meter outside measures something, and the figure says what.
    let ran = bench(root, &["-r", "1", "-o", "json", "--power-cmd", METER]);
    for record in records(&ran) {
        let flags = record["energy"]["flags"]
            .as_array()
            .expect("a list")
            .clone();
        assert!(flags.contains(&"virtual_machine".into()), "{record}");
    }
}

#[test]
fn a_sensor_that_is_not_there_is_an_error_before_any_work() {
    for (args, parts) in [
        (
            &["--power", "rapl"][..],
            &["--power", "no energy counter"][..],
        ),
        (&["--power", "crystal"], &["no sensor is called", "rapl"]),
        (&["--power", "shelly=127.0.0.1:1"], &["127.0.0.1:1"]),
        (&["--power", "ha=https://x,sensor.y"], &["plain http"]),
        (&["--idle", "3"], &["10 to 3600"]),
        (&["--meter-accuracy", "200%"], &["1%"]),
        (
            &["--power", "none", "--power-cmd", "true"],
            &["cannot be used with"],
        ),
        (&["--power-scope", "wall_ac"], &["--power-cmd"]),
    ] {
        let ran = bench(SMALL, args);
        if emulated() && args[0] == "--power" && args.len() == 2 {
            ran.fails(2, &["emulated"]);
        } else {
            ran.fails(2, parts);
        }
    }
}

#[test]
fn a_plot_is_drawn() {
    let folder = Folder::new("plot");
    // One that is there is drawn anew.
    let file = folder.file("speed.svg", b"an older picture");
    let meter: &[&str] = if emulated() {
        &[]
    } else {
        &["--power-cmd", METER]
    };
    let args = [&["-r", "1", "-d", "0,8", "--plot", name(&file)][..], meter].concat();
    assert_eq!(bench(SMALL, &args).code, Some(0));
    let picture = std::fs::read_to_string(&file).expect("a picture");
    assert!(
        picture.starts_with("<svg ") && picture.ends_with("</svg>\n"),
        "{picture}"
    );
    assert!(
        picture.contains("tg4, 1 threads") && picture.contains("tok/s"),
        "{picture}"
    );
    assert_eq!(picture.contains("tok/J, dc_input"), !emulated());
    let nowhere = bench(SMALL, &["-r", "1", "--plot", "/nowhere/at/all.svg"]);
    assert_eq!(nowhere.code, Some(1), "{nowhere:?}");
    assert!(
        nowhere.stdout.contains("tg4") && nowhere.stderr.contains("/nowhere/at/all.svg"),
        "{nowhere:?}"
    );
}

#[test]
fn the_closing_line_of_run_has_joules() {
    let run = [
        "run",
        "-m",
        TALES,
        "-p",
        "Once upon a time",
        "-n",
        "300",
        "-t",
        "1",
        "--temp",
        "0",
        "--ignore-eos",
    ];
    let ran = on(SMALL, &run);
    assert!(
        ran.code == Some(0) && !ran.stderr.contains("tok/J"),
        "{ran:?}"
    );
    let metered = on(SMALL, &[&run[..], &["--power-cmd", METER]].concat());
    if emulated() {
        return metered.fails(2, &["emulated"]);
    }
    assert_eq!((metered.code, &metered.stdout), (Some(0), &ran.stdout));
    for part in [" J for the answer, ", " tok/J (dc_input; short_window"] {
        assert!(metered.stderr.contains(part), "{part}: {metered:?}");
    }
    let hangs = on(
        SMALL,
        &[&run[..], &["--power-cmd", "exec sleep 1000"]].concat(),
    );
    assert_eq!((hangs.code, &hangs.stdout), (Some(0), &ran.stdout));
    assert!(hangs.stderr.contains("no figure"), "{hangs:?}");
}

#[test]
fn the_flags_of_power_are_where_something_is_measured() {
    for command in ["bench", "run", "power"] {
        let help = wattle([command, "--help"]).stdout;
        for flag in ["--power <SENSOR>", "--power-cmd <CMD>", "--meter-accuracy"] {
            assert!(help.contains(flag), "{command} {flag}: {help}");
        }
    }
}
