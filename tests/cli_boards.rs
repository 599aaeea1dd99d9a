//! `wattle boards`: the list, one board, this board, and the user's own.

#[path = "cli/program.rs"]
#[expect(dead_code, reason = "the tests of other commands use the rest")]
mod program;

use std::path::Path;

use program::{Folder, Ran, command, finish};
use serde_json::Value;
use wattle_kernels::Isa;

/// Runs `wattle boards` with the machine and the settings of `folder`: `root/` and `config/` in it.
fn boards(folder: &Folder, args: &[&str]) -> Ran {
    let mut command = command();
    command.arg("boards").args(args);
    command.env("WATTLE_SYSFS_ROOT", folder.path.join("root"));
    command.env("XDG_CONFIG_HOME", folder.path.join("config"));
    finish(command, b"")
}

fn put(folder: &Folder, name: &str, text: &str) {
    let path = folder.path.join(name);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    std::fs::write(path, text).expect("a file");
}

#[track_caller]
fn json(ran: &Ran) -> Value {
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
    serde_json::from_str(&ran.stdout).expect("JSON")
}

fn pi_5(folder: &Folder) {
    let tree = "root/sys/firmware/devicetree/base";
    put(
        folder,
        &format!("{tree}/compatible"),
        "raspberrypi,5-model-b\0brcm,bcm2712\0",
    );
    put(
        folder,
        &format!("{tree}/model"),
        "Raspberry Pi 5 Model B Rev 1.0\0",
    );
    put(folder, "root/proc/meminfo", "MemTotal: 8245760 kB\n");
    for core in 0..4 {
        let cpu = format!("root/sys/devices/system/cpu/cpu{core}");
        put(
            folder,
            &format!("{cpu}/regs/identification/midr_el1"),
            "0x00000000414fd0b1\n",
        );
        put(
            folder,
            &format!("{cpu}/cpufreq/cpuinfo_max_freq"),
            "2400000\n",
        );
    }
}

#[test]
fn the_list_has_every_profile() {
    let folder = Folder::new("boards-list");
    let table = boards(&folder, &[]);
    assert_eq!(
        (table.code, table.stderr.as_str()),
        (Some(0), ""),
        "{table:?}"
    );
    let list = json(&boards(&folder, &["--json"]));
    let list = list["boards"].as_array().expect("an array");
    let files = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("boards/profiles"));
    assert_eq!(list.len(), files.expect("the profiles").count());
    for board in list {
        let id = board["id"].as_str().expect("an id");
        assert!(table.stdout.contains(id), "{id} is not in the table");
        assert_eq!(board["own"], Value::Null);
    }
    let pi = list
        .iter()
        .find(|board| board["id"] == "pi-5")
        .expect("the Pi 5");
    assert_eq!(pi["load_w"], serde_json::json!([12.0, 14.0]));
    let pi_4 = list
        .iter()
        .find(|board| board["id"] == "orion-o6")
        .expect("the Orion O6");
    assert_eq!(pi_4["idle_w"], Value::Null, "not known is not 0");
}

/// The boards crate does not know the kernels; what it expects of a board of this architecture must be among them.
#[test]
fn profiles_name_instruction_sets_that_there_are() {
    let folder = Folder::new("boards-isa");
    let list = json(&boards(&folder, &["--json"]));
    let mut seen = 0;
    for board in list["boards"].as_array().expect("an array") {
        let target = board["target"].as_str().expect("a target");
        if let (true, Some(isa)) = (
            target.starts_with(std::env::consts::ARCH),
            board["isa"].as_str(),
        ) {
            assert!(
                Isa::names().any(|name| name == isa),
                "{}: {isa}",
                board["id"]
            );
            seen += 1;
        }
    }
    assert!(seen > 5, "{seen} boards of this architecture");
}

#[test]
fn one_board_by_id_or_name() {
    let folder = Folder::new("boards-one");
    for name in ["pi-5", "raspberry pi 500+"] {
        let ran = boards(&folder, &[name]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        for part in [
            "Raspberry Pi 5\n",
            "4 x Cortex-A76 at up to 2.40 GHz",
            "11.4 GB/s read",
            "pmic",
            "source",
        ] {
            assert!(ran.stdout.contains(part), "{part:?} is not in {ran:?}");
        }
    }
    boards(&folder, &["pear"]).fails(2, &["NAME pear: expected one of atom-z8350, ", "vim3"]);
    boards(&folder, &["--this", "pi-5"]).fails(2, &["cannot be used with"]);
}

#[test]
fn this_board_is_described() {
    let folder = Folder::new("boards-this");
    pi_5(&folder);
    let text = boards(&folder, &["--this"]);
    assert_eq!(text.code, Some(0), "{text:?}");
    for part in [
        "Raspberry Pi 5 Model B Rev 1.0\n",
        "0-3: Cortex-A76 at up to 2.40 GHz",
        "8.4 GB",
        "A known board, by the device tree: Raspberry Pi 5",
    ] {
        assert!(text.stdout.contains(part), "{part:?} is not in {text:?}");
    }
    let json = json(&boards(&folder, &["--this", "--json"]));
    assert_eq!(json["profile"]["id"], "pi-5");
    assert_eq!(json["recognised_by"], "the device tree");
    assert_eq!(json["groups"][0]["ids"], serde_json::json!([0, 1, 2, 3]));
    assert!(
        json["threads"].as_u64().is_some_and(|threads| threads > 0),
        "{json}"
    );
}

#[test]
fn an_unknown_board_is_described_by_its_kernel() {
    let folder = Folder::new("boards-unknown");
    put(
        &folder,
        "root/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq",
        "3000000\n",
    );
    put(
        &folder,
        "root/proc/cpuinfo",
        "model name : Pear\u{1b}[2J one\n",
    );
    let ran = boards(&folder, &["--this"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("0 at up to 3.00 GHz"), "{ran:?}");
    assert!(ran.stdout.contains("Not one of the boards"), "{ran:?}");
    assert!(
        !ran.stdout.contains('\u{1b}'),
        "what steers a terminal is not printed: {ran:?}"
    );
}

#[test]
fn the_users_own_board_wins_and_a_broken_one_is_told() {
    let folder = Folder::new("boards-own");
    pi_5(&folder);
    let pear = "name = \"Pear of mine\"\nsoc = \"P1\"\ntarget = \"aarch64-unknown-linux-gnu\"\n\
        [[cluster]]\ncore = \"Cortex-A76\"\ncount = 4\nbig = true\n\
        [match]\ncompatible = [\"brcm,bcm2712\"]\n\
        [[source]]\nof = [\"soc\", \"cluster\", \"match\"]\nis = \"measured\"\n";
    put(&folder, "config/wattle/boards/pear.toml", pear);
    let this = json(&boards(&folder, &["--this", "--json"]));
    assert_eq!(
        this["profile"]["name"], "Pear of mine",
        "before the more specific one of the program"
    );
    let own = this["profile"]["own"].as_str().expect("a file");
    assert!(own.ends_with("config/wattle/boards/pear.toml"), "{own}");

    put(
        &folder,
        "config/wattle/boards/pear.toml",
        &pear.replace("count = 4", "count = 0"),
    );
    for args in [&["--this"][..], &[], &["pi-5"]] {
        boards(&folder, args).fails(
            1,
            &["pear.toml: cluster 1: count: expected 1 to 1024, found 0"],
        );
    }
}
