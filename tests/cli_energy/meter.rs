//! A meter that a shell line plays, and machines that are trees of files.

use std::path::Path;

use super::program::{Folder, Ran, command, finish};

/// A machine of little memory and no sensor.
pub(crate) const SMALL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli_bench/small");

/// A meter that shows 10 W.
pub(crate) const METER: &str = "while echo \"$(date +%s.%N) 10\"; do sleep 0.02; done";

/// An emulated CPU has no figures; what is held there is that it says so.
pub(crate) fn emulated() -> bool {
    std::env::var_os("WATTLE_TEST_RUNNER").is_some()
}

pub(crate) fn on(root: &str, args: &[&str]) -> Ran {
    let mut command = command();
    command.env("WATTLE_SYSFS_ROOT", root).args(args);
    finish(command, b"")
}

/// A machine with a package that counts, and with these more files.
pub(crate) fn machine(name: &str, files: &[(&str, &str)]) -> Folder {
    let folder = Folder::new(name);
    let package = "sys/class/powercap/intel-rapl:0";
    let all = [
        ("proc/meminfo", "MemAvailable: 100000 kB\n"),
        (&format!("{package}/name"), "package-0\n"),
        (&format!("{package}/energy_uj"), "1000\n"),
        (&format!("{package}/max_energy_range_uj"), "262143328850\n"),
    ];
    for (path, text) in all.iter().chain(files) {
        let path = folder.path.join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("room");
        std::fs::write(path, text).expect("room");
    }
    folder
}

pub(crate) fn name(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}
