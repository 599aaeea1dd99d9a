//! Which board a machine is, from trees of files as the kernels of some boards write them, and what a broken profile is told. Long, as
//! every kind of board has a tree of its own.

#[path = "common/root.rs"]
mod common;

use std::path::Path;

use common::Root;
use proptest::prelude::*;
use wattle_boards::{Board, Profile, Profiles};

const A53: &str = "0x00000000410fd034";
const A55: &str = "0x00000000412fd050";
const A73: &str = "0x00000000410fd092";
const A76: &str = "0x00000000414fd0b1";
const A520: &str = "0x00000000410fd801";
const A720: &str = "0x00000000410fd811";
const COMPATIBLE: &str = "sys/firmware/devicetree/base/compatible";
const MIDR: &str = "regs/identification/midr_el1";
const CLOCK: &str = "cpufreq/cpuinfo_max_freq";

fn board(root: &Root) -> Board {
    Board::read(root.path(), &Profiles::load(None).expect("profiles"))
}

/// The id of the profile of a board; empty for an unknown one.
fn id(board: &Board) -> &str {
    board
        .profile
        .as_ref()
        .map_or("", |(profile, _)| &profile.id)
}

/// The big cores of a board.
fn big(board: &Board) -> Vec<usize> {
    let groups = board.groups.iter().filter(|group| group.big);
    let mut ids: Vec<usize> = groups.flat_map(|group| group.ids.clone()).collect();
    ids.sort_unstable();
    ids
}

/// `times` of each.
fn cluster<'a>(parts: &[(usize, &'a str)]) -> Vec<&'a str> {
    parts
        .iter()
        .flat_map(|&(times, content)| vec![content; times])
        .collect()
}

fn rk3588(compatible: &str) -> Root {
    Root::new()
        .with(COMPATIBLE, compatible)
        .cores("cpu_capacity", &cluster(&[(4, "530"), (4, "1024")]))
        .cores(MIDR, &cluster(&[(4, A55), (4, A76)]))
        .cores(CLOCK, &cluster(&[(4, "1800000"), (4, "2400000")]))
}

#[test]
fn pi_5() {
    let root = Root::new()
        .with(COMPATIBLE, "raspberrypi,5-model-b\0brcm,bcm2712\0")
        .with(
            "sys/firmware/devicetree/base/model",
            "Raspberry Pi 5 Model B Rev 1.1\0",
        )
        .cores(MIDR, &[A76; 4])
        .cores(CLOCK, &["2400000"; 4]);
    let board = board(&root);
    assert_eq!(id(&board), "pi-5");
    assert_eq!(board.name, "Raspberry Pi 5 Model B Rev 1.1");
    assert_eq!(board.key(), "pi-5, 4 cores");
    let [group] = &board.groups[..] else {
        panic!("four like cores: {:?}", board.groups);
    };
    assert_eq!(group.core.as_deref(), Some("Cortex-A76"));
    assert_eq!((group.max_khz, group.big), (Some(2_400_000), true));
}

#[test]
fn a_board_comes_before_its_chip() {
    let plus = board(&rk3588("xunlong,orangepi-5-plus\0rockchip,rk3588\0"));
    assert_eq!(id(&plus), "orange-pi-5-plus");
    assert_eq!(plus.key(), "orange-pi-5-plus, 4+4 cores");
    let vendor = board(&rk3588("rockchip,rk3588s-orangepi-5\0rockchip,rk3588\0"));
    assert_eq!(id(&vendor), "orange-pi-5");
    let other = board(&rk3588("friendlyarm,nanopc-t6\0rockchip,rk3588\0"));
    assert_eq!(id(&other), "rk3588");
    for board in [plus, vendor, other] {
        assert_eq!(big(&board), [4, 5, 6, 7]);
        let (profile, _) = board.profile.expect("a profile");
        assert_eq!(
            profile.cores(),
            (8, 4),
            "the profile agrees with the kernel"
        );
    }
}

/// The clocks are those of the two boards.
#[test]
fn cix_p1_in_both_numberings() {
    let clocks = [
        "2600000", "1800000", "1800000", "1800000", "1800000", "2300000", "2300000", "2200000",
        "2200000", "2500000", "2500000", "2500000",
    ];
    let orion = Root::new()
        .with(COMPATIBLE, "radxa,orion-o6\0cix,sky1\0")
        .cores(MIDR, &cluster(&[(1, A720), (4, A520), (7, A720)]))
        .cores(CLOCK, &clocks);
    let orion = board(&orion);
    assert_eq!(id(&orion), "orion-o6");
    assert_eq!(big(&orion), [0, 5, 6, 7, 8, 9, 10, 11]);

    let clocks = [
        "2600000", "2600000", "1800000", "1800000", "1800000", "1800000", "2300000", "2300000",
        "2200000", "2200000", "2500000", "2500000",
    ];
    let cores = cluster(&[(2, A720), (4, A520), (6, A720)]);
    let ms_r1 = Root::new()
        .with(
            "sys/class/dmi/id/sys_vendor",
            "Micro Computer (HK) Tech Limited\n",
        )
        .with("sys/class/dmi/id/product_name", "MS-R1\n")
        .cores(MIDR, &cores)
        .cores(CLOCK, &clocks);
    let ms_r1 = board(&ms_r1);
    assert_eq!(id(&ms_r1), "ms-r1");
    assert_eq!(ms_r1.name, "Micro Computer (HK) Tech Limited MS-R1");
    assert_eq!(big(&ms_r1), [0, 1, 6, 7, 8, 9, 10, 11]);

    let unnamed = Root::new().cores(MIDR, &cores).cores(CLOCK, &clocks);
    assert_eq!(id(&board(&unnamed)), "cix-p1", "by its cores alone");
}

#[test]
fn amlogic_has_its_small_cores_first() {
    let root = Root::new()
        .with(COMPATIBLE, "khadas,vim3\0amlogic,a311d\0amlogic,g12b\0")
        .cores(MIDR, &cluster(&[(2, A53), (4, A73)]))
        .cores(CLOCK, &cluster(&[(2, "2016000"), (4, "2400000")]));
    let board = board(&root);
    assert_eq!(id(&board), "vim3");
    assert_eq!(big(&board), [2, 3, 4, 5]);
}

/// `/proc/cpuinfo` of an Intel CPU.
fn intel(model: u32, name: &str) -> Root {
    let block = format!(
        "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: {model}\nmodel name\t: {name}\n\n"
    );
    Root::new().with("proc/cpuinfo", block.repeat(4))
}

#[test]
fn small_x86_machines() {
    assert_eq!(id(&board(&intel(190, "Intel(R) N100"))), "n100");
    assert_eq!(id(&board(&intel(190, "Intel(R) Core(TM) i3-N305"))), "n305");
    assert_eq!(
        id(&board(&intel(190, "Intel(R) N9999"))),
        "n100",
        "by model"
    );
    assert_eq!(
        id(&board(&intel(
            122,
            "Intel(R) Celeron(R) J4125 CPU @ 2.00GHz"
        ))),
        "j4125"
    );
    assert_eq!(
        id(&board(&intel(156, "Intel(R) Celeron(R) N5105 @ 2.00GHz"))),
        "n5105"
    );
    assert_eq!(
        id(&board(&intel(
            76,
            "Intel(R) Atom(TM) x5-Z8350  CPU @ 1.44GHz"
        ))),
        "atom-z8350"
    );
    let x4 = intel(190, "Intel(R) N100")
        .with(
            "sys/class/dmi/id/sys_vendor",
            "Radxa Computer (Shenzhen) Co.,Ltd\n",
        )
        .with("sys/class/dmi/id/product_name", "Radxa X4\n")
        .with("sys/class/dmi/id/board_name", "X4\n");
    assert_eq!(id(&board(&x4)), "radxa-x4");
    let unset = intel(190, "Intel(R) N100")
        .with("sys/class/dmi/id/sys_vendor", "To be filled by O.E.M.\n")
        .with("sys/class/dmi/id/product_name", "Default string\n");
    assert_eq!(
        board(&unset).name,
        "Intel(R) N100",
        "what was never filled in is no name"
    );
    assert_eq!(id(&board(&intel(85, "Intel(R) Xeon(R)"))), "");
}

#[test]
fn chinese_chips_without_a_device_tree() {
    let phytium = |part: &str, count: usize| {
        let block = format!("processor: 0\nCPU implementer\t: 0x70\nCPU part\t: {part}\n\n");
        Root::new().with("proc/cpuinfo", block.repeat(count))
    };
    assert_eq!(id(&board(&phytium("0x663", 8))), "phytium-d2000");
    assert_eq!(id(&board(&phytium("0x663", 4))), "phytium-ft-2000-4");
    assert_eq!(id(&board(&phytium("0x862", 8))), "phytium-d3000");
    assert_eq!(
        id(&board(&phytium("0x663", 64))),
        "",
        "a server is none of them"
    );
    let named = |line: &str| Root::new().with("proc/cpuinfo", line);
    assert_eq!(
        id(&board(&named("Model Name\t: Loongson-3A6000\n"))),
        "loongson-3a6000"
    );
    assert_eq!(
        id(&board(&named("model name : Loongson-3A5000-HV\n"))),
        "loongson-3a5000"
    );
    assert_eq!(
        id(&board(&named("model name : Spacemit(R) X60\n"))),
        "spacemit-k1"
    );
}

#[test]
fn an_unknown_board_is_described() {
    let root = Root::new()
        .with(COMPATIBLE, "acme,pear\0acme,p1\0")
        .with("proc/device-tree/model", "Acme Pear\0")
        .cores(MIDR, &cluster(&[(2, A55), (1, "0x00000000610f0220")]))
        .cores(CLOCK, &cluster(&[(2, "1000000"), (1, "3000000")]));
    let board = board(&root);
    assert_eq!(board.profile, None);
    assert_eq!(board.name, "Acme Pear");
    assert_eq!(board.key(), "Acme Pear, 2+1 cores");
    let names: Vec<_> = board.groups.iter().map(|g| g.core.as_deref()).collect();
    assert_eq!(names, [Some("Cortex-A55"), Some("0x61/0x022")]);
    assert_eq!(big(&board), [2]);
}

#[test]
fn silence_is_an_unknown_board() {
    let board = Board::read(
        Path::new("/nowhere"),
        &Profiles::load(None).expect("profiles"),
    );
    assert_eq!((board.name.as_str(), board.groups.len()), ("unknown", 0));
}

/// A profile that is right; the tests of faults break it.
const PEAR: &str = r#"
name = "Pear of mine"
soc = "Acme P1"
target = "aarch64-unknown-linux-gnu"
isa = "neon"
read_gbps = [3, 4.5]

[[cluster]]
core = "Cortex-A53"
count = 4
big = true

[match]
compatible = ["acme,pear", "raspberrypi,5-model-b"]

[[source]]
of = ["soc", "cluster", "isa", "read_gbps", "match"]
is = "measured"
"#;

#[test]
fn the_users_own_board_wins() {
    let root = Root::new()
        .with("own/pear.toml", PEAR)
        .with("own/notes.txt", "no board")
        .with(COMPATIBLE, "raspberrypi,5-model-b\0brcm,bcm2712\0");
    let profiles = Profiles::load(Some(&root.path().join("own"))).expect("profiles");
    let board = Board::read(root.path(), &profiles);
    assert_eq!(id(&board), "pear");
    let (profile, _) = board.profile.expect("a profile");
    assert_eq!(profile.own, Some(root.path().join("own/pear.toml")));
    assert_eq!(
        profile.read_gbps.map(|r| (r.least, r.most)),
        Some((3.0, 4.5))
    );
    assert_eq!(profiles.named("PEAR OF MINE").map(|p| &*p.id), Some("pear"));

    let same_name = Root::new().with("own/pi-5.toml", PEAR);
    let profiles = Profiles::load(Some(&same_name.path().join("own"))).expect("profiles");
    let of_the_name = profiles.iter().filter(|profile| profile.id == "pi-5");
    assert_eq!(of_the_name.count(), 1, "it replaces the one of the program");
    assert_eq!(
        profiles.named("pi-5").map(|p| &*p.name),
        Some("Pear of mine")
    );

    let nothing = Profiles::load(Some(Path::new("/nowhere"))).expect("no folder is no fault");
    assert_eq!(nothing, Profiles::load(None).expect("profiles"));
}

#[test]
fn a_broken_profile_names_its_file_and_key() {
    for (from, to, told) in [
        (
            "count = 4",
            "count = \"four\"",
            vec!["line 10", "count = \"four\"", "invalid type"],
        ),
        (
            "count = 4",
            "count = 0",
            vec!["cluster 1: count", "expected 1 to 1024", "found 0"],
        ),
        (
            "count = 4",
            "number = 4",
            vec!["unknown field `number`", "`count`"],
        ),
        ("soc = \"Acme P1\"", "", vec!["missing field `soc`"]),
        (
            "soc = \"Acme P1\"",
            "soc = \"\"",
            vec!["soc: expected a text"],
        ),
        (
            "\"neon\"",
            "\"mmx\"",
            vec!["isa: expected one of scalar, sse41", "found \"mmx\""],
        ),
        (
            "[3, 4.5]",
            "[5, 4.5]",
            vec!["read_gbps", "the least before the most"],
        ),
        ("[3, 4.5]", "-1", vec!["read_gbps", "a number above 0"]),
        (
            "[3, 4.5]",
            "nan",
            vec!["read_gbps", "a number above 0", "found NaN"],
        ),
        (
            "[3, 4.5]",
            "\"fast\"",
            vec!["line 6", "a number, or [least, most]"],
        ),
        ("[3, 4.5]", "[1, 2, 3]", vec!["a number, or [least, most]"]),
        (
            "big = true",
            "big = false",
            vec!["cluster: big", "found none"],
        ),
        (
            "compatible = [\"acme,pear\", \"raspberrypi,5-model-b\"]",
            "",
            vec!["match: expected at least one rule"],
        ),
        (
            "\"acme,pear\"",
            "\"\"",
            vec!["match: compatible", "expected a text"],
        ),
        ("\"isa\", ", "", vec!["isa: expected a source"]),
        (
            "\"isa\", ",
            "\"isa\", \"idle_w\", ",
            vec!["source: of", "found \"idle_w\""],
        ),
        ("[match]", "[match", vec!["line 13", "`[match`"]),
    ] {
        assert!(PEAR.contains(from), "{from:?} is in the profile");
        let root = Root::new().with("own/pear.toml", PEAR.replace(from, to));
        let fault = Profiles::load(Some(&root.path().join("own"))).expect_err(to);
        let fault = fault.to_string();
        for part in vec!["own/pear.toml"].into_iter().chain(told) {
            assert!(
                fault.contains(part),
                "{to:?}: {fault:?} does not say {part:?}"
            );
        }
        assert!(!fault.contains('\n'), "one line: {fault:?}");
    }
}

#[test]
fn a_profile_that_is_no_text_is_named() {
    let root = Root::new().with("own/pear.toml", [0xff, 0xfe]);
    let fault = Profiles::load(Some(&root.path().join("own"))).expect_err("no text");
    assert!(
        fault.to_string().contains("pear.toml: cannot be read"),
        "{fault}"
    );
}

proptest! {
    // A case writes eight files.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_machine_may_say_anything(content in prop::collection::vec(any::<u8>(), 0..60)) {
        let files = [
            COMPATIBLE,
            "sys/firmware/devicetree/base/model",
            "sys/class/dmi/id/sys_vendor",
            "sys/class/dmi/id/product_name",
            "sys/devices/system/cpu/cpu0/regs/identification/midr_el1",
            "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq",
            "proc/cpuinfo",
            "proc/meminfo",
        ];
        let root = files.iter().fold(Root::new(), |root, file| root.with(file, &content));
        prop_assert!(!board(&root).name.is_empty());
    }

    #[test]
    fn a_profile_may_hold_anything(text in "[ -~\n]{0,80}", cut in 0..PEAR.len()) {
        let _fault = Profile::parse(&text, Path::new("any.toml"));
        let broken = format!("{}{text}{}", &PEAR[..cut], &PEAR[cut..]);
        let _fault = Profile::parse(&broken, Path::new("any.toml"));
    }
}
