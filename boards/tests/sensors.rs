//! Power sensors as the kernel shows them, written out as trees of files, and a mailbox that is a file. One file, as all of them share the
//! root and its mailbox.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use wattle_boards::sensor::{self, Amount, Fault, Found, Method, Scope, Sensor, Site};

/// A directory that stands for `/`, removed at the end.
struct Root(PathBuf);

impl Root {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!(
            "wattle-sensors-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a temporary directory");
        Self(path)
    }

    /// One file more, or another content of it; the kernel ends its files with a line feed.
    fn write(&self, file: &str, content: &str) -> PathBuf {
        let path = self.0.join(file);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("directories");
        std::fs::write(&path, format!("{content}\n")).expect("a file");
        path
    }

    fn with(self, folder: &str, files: &[(&str, &str)]) -> Self {
        for (file, content) in files {
            self.write(&format!("{folder}/{file}"), content);
        }
        self
    }

    /// A zone of powercap.
    fn zone(self, zone: &str, name: &str, uj: &str) -> Self {
        let files = [
            ("name", name),
            ("energy_uj", uj),
            ("max_energy_range_uj", "1000000"),
        ];
        self.with(&format!("sys/class/powercap/{zone}"), &files)
    }

    fn site(&self) -> Site {
        Site {
            root: self.0.clone(),
            token: None,
            mailbox: |mut device: &File, command: &str| {
                assert_eq!(command, "pmic_read_adc", "the one command");
                let mut text = String::new();
                device.read_to_string(&mut text)?;
                io::Seek::rewind(&mut device)?;
                match text.trim_end() {
                    "hang up" => Err(io::Error::other("hung up")),
                    _ => Ok(text),
                }
            },
        }
    }

    fn open(&self, name: &str, arg: Option<&str>) -> Result<Box<dyn Sensor>, Fault> {
        sensor::open(&self.site(), name, arg)
    }

    fn survey(&self) -> Vec<Found> {
        sensor::survey(&self.site())
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

/// Joules; of a meter of power no number.
fn joules(sensor: &mut Box<dyn Sensor>) -> f64 {
    match sensor.read().expect("a reading").amount {
        Amount::Joules(j) => j,
        Amount::Watts(_) => f64::NAN,
    }
}

/// Watts; of a counter no number, which equals nothing.
fn watts(sensor: &mut Box<dyn Sensor>) -> f64 {
    match sensor.read().expect("a reading").amount {
        Amount::Watts(w) => w,
        Amount::Joules(_) => f64::NAN,
    }
}

fn near(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
}

#[test]
fn a_machine_without_sensors_has_none() {
    let root = Root::new();
    assert!(root.survey().is_empty());
    for kind in sensor::KINDS.iter().filter(|kind| kind.local) {
        let fault = root.open(kind.name, None).expect_err("nothing there");
        assert!(matches!(fault, Fault::Absent(_)), "{}: {fault}", kind.name);
        assert!(fault.to_string().contains(kind.about), "{fault}");
    }
    let fault = root.open("crystal", None).expect_err("no such kind");
    assert!(
        fault.to_string().contains("auto, none or one of pmic,"),
        "{fault}"
    );
}

#[test]
fn rapl_reads_packages_once_and_never_their_parts() {
    let root = Root::new()
        .zone("intel-rapl:0", "package-0", "500000")
        .zone("intel-rapl:0:0", "core", "400000")
        .zone("intel-rapl:0:1", "dram", "50000")
        .zone("intel-rapl:1", "package-1", "999000")
        .zone("intel-rapl:2", "psys", "5")
        .zone("intel-rapl-mmio:0", "package-0", "100")
        .with("sys/class/powercap/intel-rapl", &[("enabled", "1")])
        .with("sys/class/powercap/dtpm:0", &[("name", "package-9")]);
    let mut rapl = root.open("rapl", None).expect("counters");
    let facts = rapl.facts().clone();
    assert_eq!(
        (facts.scope, facts.method),
        (Scope::SocPackage, Method::Counter)
    );
    assert_eq!(
        facts.source,
        "powercap intel-rapl-mmio:0 package-0 + intel-rapl:1 package-1"
    );
    near(joules(&mut rapl), 0.0);
    root.write("sys/class/powercap/intel-rapl-mmio:0/energy_uj", "300100");
    // The other way to the same package, and its parts, do not count.
    root.write("sys/class/powercap/intel-rapl:0/energy_uj", "900000");
    root.write("sys/class/powercap/intel-rapl:0:0/energy_uj", "900000");
    // Past the end of its range of 1 J: 1000 to the end, one step to 0, and 4999.
    root.write("sys/class/powercap/intel-rapl:1/energy_uj", "4999");
    near(joules(&mut rapl), 0.3 + 0.006);

    let mut platform = root.open("rapl", Some("psys")).expect("a platform");
    assert_eq!(platform.facts().scope, Scope::Platform);
    near(joules(&mut platform), 0.0);
    let fault = root.open("rapl", Some("core")).expect_err("a part");
    assert!(matches!(fault, Fault::Usage(_)), "{fault}");
}

#[test]
fn a_zone_that_vanishes_is_silent_and_comes_back() {
    let root = Root::new().zone("intel-rapl:0", "package-0", "10");
    let mut rapl = root.open("rapl", None).expect("a counter");
    let file = root.0.join("sys/class/powercap/intel-rapl:0/energy_uj");
    std::fs::remove_file(&file).expect("it was there");
    assert!(matches!(rapl.read(), Err(Fault::Silent(_))));
    std::fs::write(&file, "much").expect("room");
    assert!(matches!(rapl.read(), Err(Fault::Silent(_))));
    std::fs::write(&file, "2010\n").expect("room");
    near(joules(&mut rapl), 2e-3);
}

#[test]
fn a_counter_that_may_not_be_read_says_how_to_allow_it() {
    let root = Root::new().zone("intel-rapl:0", "package-0", "10");
    let file = root.0.join("sys/class/powercap/intel-rapl:0/energy_uj");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o000)).expect("our file");
    if File::open(&file).is_ok() {
        return; // root may read everything
    }
    let fault = root.open("rapl", None).expect_err("shut");
    let text = fault.to_string();
    for part in [
        "/sys/class/powercap/intel-rapl:0/energy_uj",
        "tmpfiles",
        "wattle",
        "CVE-2020-8694",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let found = root.survey();
    assert!(
        matches!(found[0].access, Err(Fault::Denied { .. })),
        "{found:?}"
    );
}

#[test]
fn power_chips_are_found_by_name() {
    let root = Root::new()
        .with(
            "sys/class/hwmon/hwmon0",
            &[("name", "cpu_thermal"), ("temp1_input", "50000")],
        )
        .with(
            "sys/class/hwmon/hwmon7",
            &[
                ("name", "ina226"),
                ("power1_input", "6250000"),
                ("shunt_resistor", "10000"),
            ],
        );
    symlink(
        "../../../1-0040",
        root.0.join("sys/class/hwmon/hwmon7/device"),
    )
    .expect("a link");
    let mut chip = root.open("hwmon", None).expect("a chip");
    let facts = chip.facts().clone();
    assert_eq!(
        (facts.scope, facts.method),
        (Scope::DcInput, Method::Integrated)
    );
    assert_eq!(facts.source, "hwmon 1-0040 ina226");
    near(facts.resolution.expect("a shunt"), 6.25e-3);
    near(watts(&mut chip), 6.25);
    root.write("sys/class/hwmon/hwmon7/power1_input", "-50000");
    near(watts(&mut chip), 0.0);
    for lie in ["-5000000", "99999999999999", "many"] {
        root.write("sys/class/hwmon/hwmon7/power1_input", lie);
        assert!(matches!(chip.read(), Err(Fault::Nonsense(_))), "{lie}");
    }
}

#[test]
fn a_chip_without_power_is_multiplied() {
    let root = Root::new().with(
        "sys/class/hwmon/hwmon1",
        &[
            ("name", "ina219"),
            ("in1_input", "5100"),
            ("curr1_input", "1500"),
        ],
    );
    let mut chip = root.open("hwmon", Some("INA219")).expect("a chip");
    near(watts(&mut chip), 7.65);
}

/// A chip with three channels; the kernel's fourth current is their sum, in4 to in6 are shunts.
fn triple(labels: [&str; 3]) -> Root {
    let mut files = vec![
        ("name", "ina3221"),
        ("in1_input", "5000"),
        ("curr1_input", "2000"),
        ("in2_input", "5000"),
        ("curr2_input", "600"),
        ("in3_input", "5000"),
        ("curr3_input", "400"),
        ("in4_input", "77"),
        ("curr4_input", "3000"),
        ("shunt1_resistor", "5000"),
    ];
    let names = ["in1_label", "in2_label", "in3_label"];
    files.extend(
        names
            .into_iter()
            .zip(labels)
            .filter(|(_, label)| !label.is_empty()),
    );
    Root::new().with("sys/class/hwmon/hwmon3", &files)
}

#[test]
fn of_three_channels_the_total_is_read_and_its_parts_are_not_added() {
    let root = triple(["VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC"]);
    let mut chip = root.open("hwmon", None).expect("a total");
    assert_eq!(chip.facts().scope, Scope::BoardRails);
    near(watts(&mut chip), 10.0);
    near(chip.facts().resolution.expect("a shunt"), 0.04);
    let mut part = root.open("hwmon", Some("vdd_soc")).expect("a part");
    near(watts(&mut part), 2.0);
    let found = root.survey();
    assert_eq!(found.iter().filter(|found| found.access.is_ok()).count(), 1);
    assert_eq!(found.len(), 3);
}

#[test]
fn without_a_total_the_user_is_asked() {
    let root = triple(["", "", ""]);
    let fault = root.open("hwmon", None).expect_err("which one?");
    assert!(fault.to_string().contains("ina3221 in2"), "{fault}");
    let mut named = root.open("hwmon", Some("ina3221 in2")).expect("that one");
    near(watts(&mut named), 3.0);
    let fault = root
        .open("hwmon", Some("in9"))
        .expect_err("no such channel");
    assert!(matches!(fault, Fault::Usage(_)), "{fault}");
}

#[test]
fn an_older_jetson_tells_milliwatts() {
    let root = Root::new().with(
        "sys/bus/i2c/drivers/ina3221x/1-0040/iio:device0",
        &[
            ("rail_name_0", "POM_5V_IN"),
            ("in_power0_input", "4321"),
            ("rail_name_1", "POM_5V_GPU"),
            ("in_power1_input", "40"),
        ],
    );
    let mut jetson = root.open("jetson", None).expect("a total");
    near(watts(&mut jetson), 4.321);
    near(
        watts(&mut root.open("jetson", Some("POM_5V_GPU")).expect("a rail")),
        0.04,
    );
    assert_eq!(root.survey().len(), 1);
}

fn battery(status: &str) -> Root {
    Root::new()
        .with(
            "sys/class/power_supply/BAT0",
            &[
                ("type", "Battery"),
                ("status", status),
                ("voltage_now", "12000000"),
                ("current_now", "-1500000"),
            ],
        )
        .with(
            "sys/class/power_supply/AC",
            &[("type", "Mains"), ("online", "0")],
        )
        .with(
            "sys/class/power_supply/hidpp_battery_0",
            &[
                ("type", "Battery"),
                ("scope", "Device"),
                ("status", "Discharging"),
            ],
        )
}

#[test]
fn a_battery_tells_only_while_it_is_drained() {
    let root = battery("Discharging");
    let mut sensor = root.open("battery", None).expect("a battery");
    assert_eq!(sensor.facts().scope, Scope::Battery);
    near(watts(&mut sensor), 18.0);
    root.write("sys/class/power_supply/BAT0/power_now", "17500000");
    near(watts(&mut sensor), 17.5);
    root.write("sys/class/power_supply/BAT0/status", "Charging");
    assert!(matches!(sensor.read(), Err(Fault::Idle(_))));
    for status in ["Charging", "Full", "Not charging"] {
        let root = battery(status);
        let fault = root.open("battery", None).expect_err("on mains");
        assert!(fault.to_string().contains("unplug"), "{fault}");
    }
}

/// A Raspberry Pi 5 whose firmware answers with this.
fn pi(answer: &str) -> Root {
    let root = Root::new();
    let tree = "sys/firmware/devicetree/base/compatible";
    root.write(tree, "raspberrypi,5-model-b\0brcm,bcm2712\0");
    root.write("dev/vcio", answer);
    root
}

const RAILS: &str = " VDD_CORE_A current(7)=2.50000000A\n 3V3_SYS_A current(1)=0.10000000A\n  3V3_SYS_V volt(9)=3.30000000V\n VDD_CORE_V volt(15)=0.80000000V\n   EXT5V_V volt(24)=5.10000000V";

#[test]
fn the_power_chip_of_a_pi_is_an_estimate_and_says_so() {
    let root = pi(RAILS);
    let mut pmic = root.open("pmic", None).expect("a firmware");
    assert_eq!(pmic.facts().scope, Scope::BoardEst);
    assert!(
        pmic.facts()
            .source
            .contains("1.1451 * rails + 0.5879 W (estimate)")
    );
    near(watts(&mut pmic), 1.1451 * 2.33 + 0.5879);
    near(watts(&mut pmic), 1.1451 * 2.33 + 0.5879);
    let mut raw = root.open("pmic", Some("raw")).expect("rails");
    assert_eq!(raw.facts().scope, Scope::BoardRails);
    near(watts(&mut raw), 2.33);
    near(
        watts(&mut root.open("pmic", Some("2,1")).expect("a line")),
        5.66,
    );
    assert!(matches!(
        root.open("pmic", Some("cooked")),
        Err(Fault::Usage(_))
    ));
    root.write("dev/vcio", "error=1");
    assert!(matches!(pmic.read(), Err(Fault::Nonsense(_))));
    root.write("dev/vcio", "hang up");
    assert!(matches!(pmic.read(), Err(Fault::Silent(_))));
}

#[test]
fn a_pi_that_does_not_answer_is_found_with_the_reason() {
    let root = pi("hang up");
    let fault = root.open("pmic", None).expect_err("nobody answers");
    assert!(fault.to_string().contains("hung up"), "{fault}");
    assert_eq!(root.survey().len(), 1);
    std::fs::remove_file(root.0.join("dev/vcio")).expect("it was there");
    let fault = root.open("pmic", None).expect_err("no mailbox");
    assert!(fault.to_string().contains("/dev/vcio"), "{fault}");
}

#[test]
fn the_sensor_that_says_most_of_a_board_comes_first() {
    let root = pi(RAILS).zone("intel-rapl:0", "package-0", "1").with(
        "sys/class/power_supply/B",
        &[
            ("type", "Battery"),
            ("status", "Discharging"),
            ("power_now", "1"),
        ],
    );
    let names: Vec<&str> = root.survey().iter().map(|found| found.facts.name).collect();
    assert_eq!(names, ["pmic", "rapl", "battery"]);
}
