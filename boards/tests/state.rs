//! What is read of a machine's state, from trees of files as the kernels of some boards write them.

#[path = "common/root.rs"]
mod common;

use std::path::Path;

use common::Root;
use proptest::prelude::*;
use wattle_boards::{FirmwareFlags, State};

#[test]
fn a_pi_5_that_is_throttled() {
    let root = Root::new()
        .with(
            "sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled",
            "e0008\n",
        )
        .with("sys/class/hwmon/hwmon0/name", "cpu_thermal\n")
        .with("sys/class/hwmon/hwmon0/temp1_input", "84100\n")
        .with("sys/class/hwmon/hwmon3/name", "rpi_volt\n")
        .with("sys/class/hwmon/hwmon3/in0_lcrit_alarm", "1\n")
        .with("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n")
        .with("sys/class/thermal/thermal_zone0/temp", "83450\n")
        .with(
            "sys/class/thermal/thermal_zone0/trip_point_0_type",
            "critical\n",
        )
        .with(
            "sys/class/thermal/thermal_zone0/trip_point_0_temp",
            "110000\n",
        )
        .with(
            "sys/class/thermal/thermal_zone0/trip_point_1_type",
            "passive\n",
        )
        .with(
            "sys/class/thermal/thermal_zone0/trip_point_1_temp",
            "80000\n",
        )
        .with("sys/class/thermal/cooling_device0/type", "pwm-fan\n")
        .with("sys/class/thermal/cooling_device0/cur_state", "4\n")
        .with("sys/class/thermal/cooling_device0/max_state", "4\n")
        .cores("cpufreq/scaling_cur_freq", &["1500000"; 4])
        .cores("cpufreq/scaling_max_freq", &["2400000"; 4])
        .cores("cpufreq/cpuinfo_max_freq", &["2400000"; 4])
        .cores("cpufreq/scaling_governor", &["ondemand"; 4]);
    let state = State::read(root.path());

    assert_eq!(state.throttling.firmware, Some(FirmwareFlags(0xe0008)));
    assert_eq!(state.throttling.under_voltage, Some(true));
    assert!(state.throttling.is_active());
    assert!(!state.throttling.cooling[0].slows(), "a fan slows no core");
    assert_eq!(state.throttling.hot_events, None, "no x86");

    let names: Vec<_> = state.temperatures.iter().map(|t| &*t.name).collect();
    assert_eq!(names, ["cpu-thermal", "cpu_thermal"]);
    assert_eq!(state.temperatures[0].limit_c, Some(80.0));
    assert_eq!(state.hottest_c(), Some(84.1));

    assert_eq!(state.clocks.len(), 4);
    let last = &state.clocks[3];
    assert_eq!(
        (last.core, last.now_khz, last.cap_khz),
        (3, Some(1_500_000), Some(2_400_000))
    );
    assert_eq!(last.governor.as_deref(), Some("ondemand"));
}

#[test]
fn the_firmware_has_an_older_path_too() {
    let root = Root::new().with("sys/devices/platform/soc/soc:firmware/get_throttled", "0\n");
    let state = State::read(root.path());
    assert_eq!(state.throttling.firmware, Some(FirmwareFlags(0)));
    assert!(!state.throttling.is_active());
    let beside = Root::new().with("sys/devices/platform/soc:firmware/get_throttled", "50000\n");
    let state = State::read(beside.path());
    assert_eq!(state.throttling.firmware, Some(FirmwareFlags(0x50000)));
}

#[test]
fn the_kernel_slows_an_rk3588_down() {
    let device = |kind: &str, level: &str| {
        Root::new()
            .with(
                "sys/class/thermal/cooling_device2/type",
                format!("{kind}\n"),
            )
            .with(
                "sys/class/thermal/cooling_device2/cur_state",
                format!("{level}\n"),
            )
            .with("sys/class/thermal/cooling_device2/max_state", "9\n")
    };
    let slowed = |root: Root| State::read(root.path()).throttling.is_active();
    assert!(slowed(device("cpufreq-cpu4", "3")));
    assert!(slowed(device("Processor", "1")));
    assert!(!slowed(device("cpufreq-cpu4", "0")));
    assert!(!slowed(device("intel_powerclamp", "-1")), "off");
    assert!(!slowed(device("devfreq-fb000000.gpu", "2")), "not a core");
}

#[test]
fn x86_counts_and_only_new_events_matter() {
    let counts = |core: &[&str], package: &str| {
        let root = Root::new()
            .cores("thermal_throttle/core_throttle_count", core)
            .cores(
                "thermal_throttle/package_throttle_count",
                &vec![package; core.len()],
            );
        State::read(root.path()).throttling
    };
    let before = counts(&["2", "0", "1", "0"], "7");
    assert_eq!(before.hot_events, Some(10));
    assert!(!before.is_active());
    assert!(!before.began_since(&before));
    assert!(counts(&["2", "1", "1", "0"], "7").began_since(&before));
    assert!(counts(&["2", "0", "1", "0"], "8").began_since(&before));
}

#[test]
fn a_bit_that_appears_during_a_run_is_seen() {
    let bits = |bits: &str| {
        let path = "sys/devices/platform/soc/soc:firmware/get_throttled";
        State::read(Root::new().with(path, bits).path()).throttling
    };
    let before = bits("50000");
    assert!(
        !bits("50000").began_since(&before),
        "that was before the run"
    );
    assert!(bits("d0000").began_since(&before), "over already, but new");
    assert!(bits("50004").began_since(&before));
}

#[test]
fn load_and_swapping_are_told_by_two_looks() {
    let look = |pages: u64, busy: u64, idle: u64, own: u64| {
        let stat = format!("cpu  {busy} 0 0 {idle} 0 0 0 0 9 9\ncpu0 1 1 1 1\n");
        let own = format!("7 (a) b) R 1 1 1 0 -1 0 1 2 3 4 {own} 0 0 0 20 0 1\n");
        let root = Root::new()
            .with(
                "proc/vmstat",
                format!("nr_free_pages 5\npswpin {pages}\npswpout 3\n"),
            )
            .with("proc/stat", stat)
            .with("proc/self/stat", own);
        State::read(root.path()).activity
    };
    let before = look(10, 1000, 5000, 100);
    assert_eq!(before.own_ticks, Some(100));
    let after = look(12, 1300, 5100, 350);
    assert_eq!(after.swapped_since(&before), Some(2));
    assert_eq!(after.others_since(&before), Some(0.125));
    assert_eq!(before.others_since(&before), None, "no time has passed");
    assert_eq!(before.others_since(&after), None, "time runs forward");
    assert_eq!(look(12, 1300, 5100, 900).others_since(&before), Some(0.0));
}

#[test]
fn silence_is_not_zero() {
    let state = State::read(Path::new("/nowhere"));
    assert_eq!(state, State::default());
    assert_eq!(state.activity.swap_in_pages, None);
    assert_eq!(state.hottest_c(), None);
    let off = Root::new()
        .with("sys/class/thermal/thermal_zone0/type", "gpu\n")
        .with("sys/class/thermal/thermal_zone0/temp", "-274000\n");
    assert_eq!(State::read(off.path()).temperatures, []);
}

#[test]
fn this_machine_has_a_load() {
    let activity = State::read(Path::new("/")).activity;
    assert!(
        activity.busy_ticks.is_some_and(|ticks| ticks > 0),
        "{activity:?}"
    );
    assert!(activity.own_ticks.is_some(), "{activity:?}");
}

proptest! {
    // A case writes thirteen files.
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Files of any content are read without a panic, and without numbers that are none.
    #[test]
    fn any_content_is_survived(content in proptest::collection::vec(any::<u8>(), 0..40)) {
        let files = [
            "sys/devices/platform/soc/soc:firmware/get_throttled",
            "sys/class/hwmon/hwmon0/name",
            "sys/class/hwmon/hwmon0/temp1_input",
            "sys/class/thermal/thermal_zone0/type",
            "sys/class/thermal/thermal_zone0/temp",
            "sys/class/thermal/cooling_device0/type",
            "sys/class/thermal/cooling_device0/cur_state",
            "sys/class/thermal/cooling_device0/max_state",
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq",
            "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count",
            "proc/vmstat",
            "proc/stat",
            "proc/self/stat",
        ];
        let root = files.iter().fold(Root::new(), |root, file| root.with(file, &content));
        let state = State::read(root.path());
        prop_assert!(state.temperatures.iter().all(|t| t.temp_c.is_finite()));
    }
}
