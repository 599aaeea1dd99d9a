//! `wattle doctor`: what it finds on a board of files, and on this machine.

#[path = "cli/program.rs"]
#[expect(dead_code, reason = "the tests of other commands use the rest")]
mod program;

use std::path::Path;

use program::{Folder, Ran, command, finish};
use serde_json::Value;
use wattle_kernels::Isa;

fn doctor(folder: &Folder, args: &[&str]) -> Ran {
    let mut command = command();
    command.arg("doctor").args(args);
    command.env("WATTLE_SYSFS_ROOT", folder.path.join("root"));
    command.env("XDG_CONFIG_HOME", folder.path.join("config"));
    command.current_dir(&folder.path);
    finish(command, b"")
}

fn put(folder: &Folder, name: &str, text: &str) {
    let path = folder.path.join("root").join(name);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    std::fs::write(path, text).expect("a file");
}

#[track_caller]
fn json(ran: &Ran) -> Value {
    assert_eq!(ran.code, Some(0), "{ran:?}");
    serde_json::from_str(&ran.stdout).expect("JSON")
}

/// A Pi 5 that is hot and has a bad supply.
fn hot_pi(folder: &Folder) {
    put(
        folder,
        "sys/firmware/devicetree/base/compatible",
        "raspberrypi,5-model-b\0brcm,bcm2712\0",
    );
    put(
        folder,
        "sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled",
        "50005\n",
    );
    put(
        folder,
        "sys/class/thermal/thermal_zone0/type",
        "cpu-thermal\n",
    );
    put(folder, "sys/class/thermal/thermal_zone0/temp", "84000\n");
    put(
        folder,
        "sys/class/thermal/thermal_zone0/trip_point_0_type",
        "passive\n",
    );
    put(
        folder,
        "sys/class/thermal/thermal_zone0/trip_point_0_temp",
        "85000\n",
    );
    put(
        folder,
        "sys/kernel/mm/transparent_hugepage/enabled",
        "always madvise [never]\n",
    );
    put(
        folder,
        "sys/kernel/mm/transparent_hugepage/hpage_pmd_size",
        "33554432\n",
    );
    put(
        folder,
        "proc/meminfo",
        "MemTotal: 16500000 kB\nMemAvailable: 400000 kB\n",
    );
    for core in 0..4 {
        let cpu = format!("sys/devices/system/cpu/cpu{core}/cpufreq");
        put(folder, &format!("{cpu}/scaling_governor"), "ondemand\n");
        put(folder, &format!("{cpu}/scaling_max_freq"), "1500000\n");
        put(folder, &format!("{cpu}/cpuinfo_max_freq"), "2400000\n");
    }
}

#[test]
fn a_board_in_trouble_is_told_what_to_do() {
    let folder = Folder::new("doctor-hot");
    hot_pi(&folder);
    let text = doctor(&folder, &["--no-measure"]);
    assert_eq!(text.code, Some(0), "{text:?}");
    for part in [
        "known as pi-5",
        "governor of 0-3: ondemand, capped at 1.50 of 2.40 GHz",
        "throttled: yes",
        "The firmware holds the board down now: under-voltage, throttled.",
        "cpu-thermal is at 84 degrees, and the cores are slowed down from 85 on.",
        "huge ones of 32 MiB: never",
        "echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled",
        "not measured",
    ] {
        assert!(text.stdout.contains(part), "{part:?} is not in {text:?}");
    }
    let json = json(&doctor(&folder, &["--no-measure", "--json"]));
    assert_eq!(json["board"]["profile"]["id"], "pi-5");
    assert_eq!(json["state"]["firmware"], 0x50005);
    assert_eq!(json["state"]["throttled"], true);
    assert_eq!(json["memory"]["huge_page_bytes"], 32 << 20);
    assert_eq!(
        json["memory"]["read_gbps"],
        Value::Null,
        "not measured is not 0"
    );
    assert_eq!(json["storage"], Value::Null);
    let models = json["models"].as_array().expect("models");
    let of = |name: &str| models.iter().find(|m| m["name"] == name).expect("a model");
    assert_eq!(of("DeepSeek-V2-Lite")["fits"], true);
    assert_eq!(of("DeepSeek-V2-Lite")["tok_s"], Value::Null);
    assert_eq!(of("DeepSeek-V3, R1")["fits"], false);
}

#[test]
fn every_kernel_of_every_isa_is_checked() {
    let folder = Folder::new("doctor-isa");
    let json = json(&doctor(&folder, &["--no-measure", "--json"]));
    let tiers = json["isa"]["tiers"].as_array().expect("tiers");
    let names: Vec<_> = tiers
        .iter()
        .filter_map(|tier| tier["name"].as_str())
        .collect();
    assert!(Isa::names().eq(names), "{tiers:?}");
    for tier in tiers {
        let here = Isa::named(tier["name"].as_str().expect("a name")).is_some();
        assert_eq!(tier["here"], here, "{tier}");
        assert_eq!(
            tier["kernels"].as_u64().is_some_and(|n| n > 30),
            here,
            "{tier}"
        );
        assert_eq!(tier["wrong"], serde_json::json!([]), "{tier}");
    }
    assert_eq!(json["isa"]["used"], Isa::best().name());
}

#[test]
fn memory_and_storage_are_measured() {
    let folder = Folder::new("doctor-measure");
    hot_pi(&folder);
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/demo/wattle-tales.gguf");
    let model = model.to_str().expect("a plain path");
    let json = json(&doctor(&folder, &["-m", model, "--json"]));
    assert!(
        json["memory"]["read_gbps"]
            .as_f64()
            .is_some_and(|gbps| gbps > 0.0),
        "{json}"
    );
    let bytes = std::fs::metadata(model)
        .expect("the model in the box")
        .len();
    assert_eq!(json["storage"]["bytes"], bytes);
    assert!(
        json["storage"]["gbps"]
            .as_f64()
            .is_some_and(|gbps| gbps > 0.0),
        "{json}"
    );
    let models = json["models"].as_array().expect("models");
    let lite = models
        .iter()
        .find(|m| m["name"] == "DeepSeek-V2-Lite")
        .expect("a model");
    let rate = json["memory"]["read_gbps"].as_f64().expect("a rate");
    let read = lite["read_gb_per_token"].as_f64().expect("bytes");
    let tok_s = lite["tok_s"].as_f64().expect("a speed");
    assert!((tok_s * read / rate - 1.0).abs() < 1e-12, "the roofline");

    let missing = doctor(&folder, &["-m", "nothing.gguf"]);
    assert_eq!(missing.code, Some(0), "a finding, not the end: {missing:?}");
    assert!(
        missing.stdout.contains("nothing.gguf: cannot open"),
        "{missing:?}"
    );
}

#[test]
fn a_file_of_its_own_is_removed() {
    let folder = Folder::new("doctor-own");
    put(
        &folder,
        "proc/meminfo",
        "MemTotal: 4000000 kB\nMemAvailable: 400000 kB\n",
    );
    let json = json(&doctor(&folder, &["--json"]));
    assert_eq!(json["storage"]["bytes"], 64 << 20, "{json}");
    let names: Vec<_> = std::fs::read_dir(&folder.path)
        .expect("the folder")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    assert_eq!(names, ["root"]);
}

#[test]
fn sensors_are_told_with_what_they_lack() {
    let folder = Folder::new("doctor-sensors");
    put(&folder, "sys/class/hwmon/hwmon0/name", "ina226\n");
    put(&folder, "sys/class/hwmon/hwmon0/power1_input", "4500000\n");
    let text = doctor(&folder, &["--no-measure"]);
    assert!(text.stdout.contains("hwmon ("), "{text:?}");
    assert!(text.stdout.contains("can be read"), "{text:?}");
    let none = Folder::new("doctor-no-sensors");
    let text = doctor(&none, &["--no-measure"]);
    assert!(
        text.stdout.contains("No power sensor was found"),
        "{text:?}"
    );
}
