//! `wattle power`: a board that says everything of itself, and a machine that says nothing.

use serde_json::Value;

use super::meter::{METER, SMALL, emulated, machine, name, on};

#[test]
fn power_once_as_json_has_null_for_what_is_not_told() {
    let ran = on(SMALL, &["power", "--once", "--json"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let state: Value = serde_json::from_str(&ran.stdout).expect("one object");
    for name in ["watts", "scope", "source", "temp_c", "throttled_bits"] {
        assert!(state[name].is_null(), "{name}: {state}");
    }
    assert!(state["note"].is_string(), "why: {state}");
    assert_eq!(
        (&state["throttled"], &state["clocks"]),
        (&false.into(), &Value::Array(Vec::new()))
    );
}

#[test]
fn power_shows_a_board() {
    let cpu = "sys/devices/system/cpu/cpu0/cpufreq";
    let board = machine(
        "board",
        &[
            ("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n"),
            ("sys/class/thermal/thermal_zone0/temp", "61234\n"),
            (&format!("{cpu}/scaling_cur_freq"), "2400000\n"),
            (&format!("{cpu}/scaling_max_freq"), "2400000\n"),
            (&format!("{cpu}/scaling_governor"), "ondemand\n"),
            (
                "sys/devices/platform/soc/soc:firmware/get_throttled",
                "50005\n",
            ),
        ],
    );
    let root = name(&board.path);
    let meter: &[&str] = if emulated() {
        &[]
    } else {
        &["--power-cmd", METER]
    };
    let ran = on(root, &[&["power", "--once"][..], meter].concat());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for part in [
        "61.2 °C",
        "2400 MHz ondemand",
        "throttled: under-voltage, throttled",
    ] {
        assert!(ran.stdout.contains(part), "{part}: {ran:?}");
    }
    assert_eq!(
        ran.stdout.contains("10.00 W dc_input"),
        !emulated(),
        "{ran:?}"
    );
    let list = on(root, &["power", "--list"]).stdout;
    for part in [
        "rapl",
        "soc_package",
        "can be read",
        "shelly=HOST[:PORT]",
        "unix_s watts",
    ] {
        assert!(list.contains(part), "{part}: {list}");
    }
    let json = on(root, &["power", "--list", "--json"]).stdout;
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["sensors"][0]["readable"], true);
}

#[test]
fn a_line_tells_of_as_many_seconds_as_asked_for() {
    let begin = std::time::Instant::now();
    let ran = on(SMALL, &["power", "--once", "--json", "--every", "2"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(begin.elapsed().as_secs_f64() >= 2.0, "{ran:?}");
    for wrong in ["0", "-1", "4000", "nan", "x"] {
        let every = format!("--every={wrong}");
        on(SMALL, &["power", "--once", &every]).fails(2, &["--every", "1 to 3600 seconds"]);
    }
}
