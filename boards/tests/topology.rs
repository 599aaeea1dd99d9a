//! Boards as their kernels describe them, written out as trees of files.

#[path = "common/root.rs"]
mod common;

use std::path::Path;

use common::Root;
use proptest::prelude::*;
use wattle_boards::Topology;

const A55: &str = "0x00000000412fd050";
const A76: &str = "0x00000000414fd0b1";
const A520: &str = "0x00000000410fd801";
const A720: &str = "0x00000000410fd811";

fn read(root: &Root, allowed: &[usize]) -> Topology {
    Topology::read(root.path(), allowed)
}

fn big(topology: &Topology) -> Vec<usize> {
    topology.big().map(|core| core.id).collect()
}

fn all(count: usize) -> Vec<usize> {
    (0..count).collect()
}

/// `times` of each.
fn cluster<'a>(parts: &[(usize, &'a str)]) -> Vec<&'a str> {
    parts
        .iter()
        .flat_map(|&(times, content)| vec![content; times])
        .collect()
}

#[test]
fn rk3588_uses_its_four_a76() {
    let root = Root::new().cores("cpu_capacity", &cluster(&[(4, "530"), (4, "1024")]));
    let board = read(&root, &all(8));
    assert_eq!(big(&board), [4, 5, 6, 7]);
    assert_eq!((board.threads(), board.most_threads()), (4, 8));
    assert_eq!(board.confine(4), Some(vec![4, 5, 6, 7]));
    assert_eq!(board.confine(2), Some(vec![4, 5, 6, 7]));
    assert_eq!(
        board.confine(5),
        None,
        "five threads do not fit on four cores"
    );
}

#[test]
fn rk3588_without_capacities_is_told_by_clock_and_name() {
    let root = Root::new()
        .cores(
            "cpufreq/cpuinfo_max_freq",
            &cluster(&[(4, "1800000"), (4, "2400000")]),
        )
        .cores(
            "regs/identification/midr_el1",
            &cluster(&[(4, A55), (4, A76)]),
        );
    assert_eq!(big(&read(&root, &all(8))), [4, 5, 6, 7]);
}

#[test]
fn the_name_alone_tells_the_small_cores() {
    let names = cluster(&[(4, A55), (4, A76)]);
    let root = Root::new().cores("regs/identification/midr_el1", &names);
    assert_eq!(big(&read(&root, &all(8))), [4, 5, 6, 7]);
}

#[test]
fn rk3588_confined_to_its_small_cores_uses_them() {
    let root = Root::new().cores("cpu_capacity", &cluster(&[(4, "530"), (4, "1024")]));
    let board = read(&root, &[0, 1, 2, 3]);
    assert_eq!(big(&board), [0, 1, 2, 3]);
    assert_eq!(board.confine(4), None, "there are no others to keep from");
    let mixed = read(&root, &[6, 1, 1]);
    assert_eq!(big(&mixed), [6]);
    assert_eq!((mixed.threads(), mixed.most_threads()), (1, 2));
    assert_eq!(mixed.confine(1), Some(vec![6]));
}

#[test]
fn cix_p1_is_numbered_differently_on_two_boards() {
    // Orion O6, device tree; the middle cluster of A720 is at 86 %.
    let root = Root::new().cores(
        "cpu_capacity",
        &cluster(&[(1, "1024"), (4, "279"), (7, "880")]),
    );
    assert_eq!(big(&read(&root, &all(12))), [0, 5, 6, 7, 8, 9, 10, 11]);
    // MS-R1, ACPI: no capacities.
    let root = Root::new()
        .cores(
            "cpufreq/cpuinfo_max_freq",
            &cluster(&[(2, "2600000"), (4, "1800000"), (6, "2200000")]),
        )
        .cores(
            "regs/identification/midr_el1",
            &cluster(&[(2, A720), (4, A520), (6, A720)]),
        );
    assert_eq!(big(&read(&root, &all(12))), [0, 1, 6, 7, 8, 9, 10, 11]);
}

/// The A53 of an A311D has 84 % of the clock of its A73.
#[test]
fn amlogic_is_told_by_clock_and_name() {
    const A53: &str = "0x00000000410fd034";
    const A73: &str = "0x00000000410fd092";
    let root = Root::new()
        .cores(
            "regs/identification/midr_el1",
            &cluster(&[(2, A53), (4, A73)]),
        )
        .cores(
            "cpufreq/cpuinfo_max_freq",
            &cluster(&[(2, "2016000"), (4, "2400000")]),
        );
    assert_eq!(big(&read(&root, &all(6))), [2, 3, 4, 5]);
}

#[test]
fn pi_5_has_four_like_cores() {
    let root = Root::new()
        .cores("cpufreq/cpuinfo_max_freq", &["2400000"; 4])
        .cores("topology/thread_siblings_list", &["0", "1", "2", "3"]);
    let board = read(&root, &all(4));
    assert_eq!((board.threads(), board.most_threads()), (4, 4));
    assert_eq!(board.confine(4), None);
}

#[test]
fn x86_counts_physical_cores() {
    // Intel pairs 0 with 4; the favoured core is a little faster.
    let root = Root::new()
        .cores(
            "topology/thread_siblings_list",
            &["0,4", "1,5", "2,6", "3,7", "0,4", "1,5", "2,6", "3,7"],
        )
        .cores(
            "cpufreq/cpuinfo_max_freq",
            &cluster(&[(7, "4700000"), (1, "4900000")]),
        );
    let board = read(&root, &all(8));
    assert_eq!((board.threads(), board.most_threads()), (4, 8));
    let physical: Vec<usize> = board.cores().iter().map(|core| core.physical).collect();
    assert_eq!(physical, [0, 1, 2, 3, 0, 1, 2, 3]);
    assert_eq!(read(&root, &[4, 5]).threads(), 2, "two halves of two cores");
    assert_eq!(read(&root, &[0, 4]).threads(), 1, "two halves of one core");
    // AMD pairs neighbours.
    let root = Root::new().cores(
        "topology/thread_siblings_list",
        &["0-1", "0-1", "2-3", "2-3"],
    );
    assert_eq!(read(&root, &all(4)).threads(), 2);
}

#[test]
fn a_board_that_says_nothing_has_like_cores() {
    let board = read(&Root::new(), &[2, 5]);
    assert_eq!(big(&board), [2, 5]);
    assert_eq!((board.threads(), board.most_threads()), (2, 2));
    let none = Topology::read(Path::new("/nonexistent"), &[]);
    assert_eq!((big(&none), none.threads()), (vec![0], 1));
}

#[test]
fn a_source_that_is_silent_for_one_core_counts_for_none() {
    let root = Root::new()
        .cores("cpu_capacity", &["1024", "0", "100", "100"])
        .cores("cpufreq/cpuinfo_max_freq", &["1000", "1000", "1000", "400"]);
    assert_eq!(big(&read(&root, &all(4))), [0, 1, 2]);
}

#[test]
fn a_quota_of_a_container_caps_the_threads() {
    let cases = [
        ("max 100000", 4),
        ("150000 100000", 2),
        ("100000 100000", 1),
        ("1000 100000", 1),
        ("900000 100000", 4),
        ("0 0", 4),
        ("-5 100000", 4),
        ("18446744073709551615 1", 4),
        ("", 4),
    ];
    for (limit, threads) in cases {
        let root = Root::new()
            .with("proc/self/cgroup", "0::/\n")
            .with("sys/fs/cgroup/cpu.max", limit);
        let board = read(&root, &all(4));
        assert_eq!(
            (board.threads(), board.most_threads()),
            (threads, threads),
            "{limit:?}"
        );
    }
}

#[test]
fn the_least_quota_on_the_way_up_counts() {
    let root = Root::new()
        .with("proc/self/cgroup", "0::/user.slice/wattle.service\n")
        .with("sys/fs/cgroup/user.slice/cpu.max", "200000 100000\n")
        .with(
            "sys/fs/cgroup/user.slice/wattle.service/cpu.max",
            "max 100000\n",
        );
    assert_eq!(read(&root, &all(4)).threads(), 2);
    // The group of the host, seen from inside of a container; and one outside of the namespace.
    for group in ["/docker/0123", "/../../other"] {
        let root = Root::new()
            .with("proc/self/cgroup", format!("0::{group}\n"))
            .with("sys/fs/cgroup/cpu.max", "300000 100000\n")
            .with("sys/other/cpu.max", "100000 100000\n");
        assert_eq!(read(&root, &all(4)).threads(), 3, "{group}");
    }
}

#[test]
fn version_1_has_its_own_files() {
    for mount in ["cpu", "cpu,cpuacct"] {
        let root = Root::new()
            .with(
                "proc/self/cgroup",
                "5:memory:/a\n4:cpu,cpuacct:/a/b\n0::/\n",
            )
            .with(
                &format!("sys/fs/cgroup/{mount}/a/cpu.cfs_quota_us"),
                "250000\n",
            )
            .with(
                &format!("sys/fs/cgroup/{mount}/a/cpu.cfs_period_us"),
                "100000\n",
            )
            .with(
                &format!("sys/fs/cgroup/{mount}/a/b/cpu.cfs_quota_us"),
                "-1\n",
            )
            .with(
                &format!("sys/fs/cgroup/{mount}/a/b/cpu.cfs_period_us"),
                "100000\n",
            );
        assert_eq!(read(&root, &all(4)).threads(), 3, "{mount}");
    }
}

#[test]
fn this_machine_allows_at_least_one_core() {
    let here = Topology::here();
    assert!(!here.cores().is_empty(), "no core");
    assert!(
        (1..=here.most_threads()).contains(&here.threads()),
        "{here:?}"
    );
}

/// What a file of the kernel never holds, and what it may hold.
fn content() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        "[0-9x,\\- :/a-f]{0,30}".prop_map(String::into_bytes),
        any::<u64>().prop_map(|n| n.to_string().into_bytes()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nonsense_never_panics(
        capacity in content(), clock in content(), name in content(), siblings in content(),
        groups in content(), limit in content(),
    ) {
        let cpu = "sys/devices/system/cpu/cpu1";
        let mut cgroup = b"0::/\n".to_vec();
        cgroup.extend(&groups);
        let root = Root::new()
            .cores("cpufreq/cpuinfo_max_freq", &["1000", "1000"])
            .with(&format!("{cpu}/cpu_capacity"), capacity)
            .with(&format!("{cpu}/cpufreq/cpuinfo_max_freq"), clock)
            .with(&format!("{cpu}/regs/identification/midr_el1"), name)
            .with(&format!("{cpu}/topology/thread_siblings_list"), siblings)
            .with("proc/self/cgroup", cgroup)
            .with("sys/fs/cgroup/cpu.max", limit);
        let board = read(&root, &[0, 1]);
        prop_assert_eq!(board.cores().len(), 2);
        prop_assert!((1..=2).contains(&board.most_threads()), "{:?}", board);
        prop_assert!((1..=board.most_threads()).contains(&board.threads()), "{:?}", board);
        prop_assert!(board.big().count() >= 1, "{:?}", board);
    }
}
