//! Caps on clocks: set, and put back whatever happens; and the pages of memory.

#[path = "common/root.rs"]
#[expect(dead_code, reason = "these tests have no cores of their own")]
mod common;

use common::Root;
use wattle_boards::{Caps, Pages};

const FOLDER: &str = "sys/devices/system/cpu/cpufreq";

fn policy(root: Root, number: usize, cores: &str, most: u64, steps: &str) -> Root {
    let file = |name: &str| format!("{FOLDER}/policy{number}/{name}");
    root.with(&file("related_cpus"), format!("{cores}\n"))
        .with(&file("scaling_max_freq"), format!("{most}\n"))
        .with(&file("cpuinfo_min_freq"), "400000\n")
        .with(&file("cpuinfo_max_freq"), format!("{most}\n"))
        .with(&file("scaling_available_frequencies"), format!("{steps}\n"))
}

fn now(root: &Root, number: usize) -> String {
    let file = format!("{FOLDER}/policy{number}/scaling_max_freq");
    std::fs::read_to_string(root.path().join(file)).expect("a file")
}

#[test]
fn caps_are_set_and_put_back() {
    let root = policy(
        Root::new(),
        0,
        "0 1 2 3",
        1_800_000,
        "408000 1200000 1416000 1800000",
    );
    let root = policy(root, 4, "4 5", 2_400_000, "");
    let caps = Caps::read(root.path());
    let cores: Vec<_> = caps.policies().iter().map(|p| p.cores.clone()).collect();
    assert_eq!(cores, [vec![0, 1, 2, 3], vec![4, 5]]);
    assert!(caps.permitted().is_ok());
    assert!(
        caps.by_hand().contains("echo 1800000 | sudo tee "),
        "{}",
        caps.by_hand()
    );

    assert_eq!(caps.set(0.75).expect("written"), 1_800_000);
    assert_eq!(
        (now(&root, 0), now(&root, 4)),
        ("1416000".into(), "1800000".into())
    );
    assert_eq!(caps.set(0.01).expect("written"), 408_000);
    assert_eq!(now(&root, 4), "400000", "not below the lowest clock");
    drop(caps);
    assert_eq!(
        (now(&root, 0), now(&root, 4)),
        ("1800000".into(), "2400000".into())
    );
}

#[test]
fn a_panic_puts_them_back_too() {
    let root = policy(Root::new(), 0, "0", 1_000_000, "");
    let path = root.path().to_owned();
    let fell = std::panic::catch_unwind(move || {
        let caps = Caps::read(&path);
        caps.set(0.5).expect("written");
        panic!("in the middle of a measurement");
    });
    assert!(fell.is_err());
    assert_eq!(now(&root, 0), "1000000");
}

#[test]
fn nothing_is_made_where_there_is_nothing() {
    let caps = Caps::read(Root::new().path());
    assert!(caps.policies().is_empty() && caps.permitted().is_ok());
    let broken = policy(Root::new(), 0, "all", 1_000_000, "");
    assert!(Caps::read(broken.path()).policies().is_empty());
    let gone = policy(Root::new(), 0, "0", 1_000_000, "");
    let caps = Caps::read(gone.path());
    let file = gone.path().join(FOLDER).join("policy0/scaling_max_freq");
    std::fs::remove_file(&file).expect("a file");
    assert!(caps.permitted().is_err() && caps.set(0.5).is_err());
    drop(caps);
    assert!(!file.exists(), "a file that vanished is not made anew");
}

#[test]
fn pages_of_any_kernel() {
    let folder = "sys/kernel/mm/transparent_hugepage";
    let root = Root::new()
        .with(&format!("{folder}/enabled"), "always [madvise] never\n")
        .with(&format!("{folder}/hpage_pmd_size"), "33554432\n");
    let pages = Pages::read(root.path());
    assert_eq!(pages.huge.as_deref(), Some("madvise"));
    assert_eq!(pages.huge_bytes, Some(32 << 20));
    assert!(
        pages.bytes.is_power_of_two() && pages.bytes >= 4096,
        "{pages:?}"
    );
    let silent = Pages::read(Root::new().path());
    assert_eq!((silent.huge, silent.huge_bytes), (None, None));
}
