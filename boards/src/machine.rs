//! What a report says of this machine, and what a measurement of its memory must know.

use std::collections::BTreeMap;
use std::path::Path;

use crate::file;

/// Facts about this machine; `None` where the kernel does not tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    /// The name of the CPU (x86), or of the board with it (device tree).
    pub name: Option<String>,
    /// Bytes of the caches that stand next to memory, all of them together: a machine may have one for each group of cores.
    pub cache_bytes: Option<u64>,
    /// Bytes of memory that the kernel has, less than the chips hold: some is taken by firmware and by a graphics unit.
    pub total_bytes: Option<u64>,
    /// Bytes of memory that can be had without swapping.
    pub available_bytes: Option<u64>,
}

impl Machine {
    /// This machine; `WATTLE_SYSFS_ROOT` counts as for [`Topology::here`](crate::Topology::here).
    #[must_use]
    pub fn here() -> Self {
        Self::read(&file::root())
    }

    /// The machine whose `sys/` and `proc/` are in `root`.
    #[must_use]
    pub fn read(root: &Path) -> Self {
        Self {
            name: name(root),
            cache_bytes: cache_bytes(&root.join("sys/devices/system/cpu")),
            total_bytes: memory(root, "MemTotal"),
            available_bytes: memory(root, "MemAvailable"),
        }
    }
}

/// `model name` of `/proc/cpuinfo`, else the `model` of the device tree, which ends with a zero byte.
fn name(root: &Path) -> Option<String> {
    let of_cpu = || value_of(&file::text(&root.join("proc/cpuinfo"))?, "model name");
    let of_board = || file::text(&root.join("sys/firmware/devicetree/base/model"));
    let name = of_cpu().or_else(of_board)?;
    let name = name.trim_matches(['\0', ' ', '\t', '\n']);
    (!name.is_empty()).then(|| name.to_owned())
}

/// What stands after `key` and a colon, on the first such line.
fn value_of(text: &str, key: &str) -> Option<String> {
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = lines.find(|(name, _)| name.trim() == key)?;
    Some(value.trim().to_owned())
}

/// The sum over the caches of the highest level, each counted once, whichever cores share it.
fn cache_bytes(cpus: &Path) -> Option<u64> {
    let mut caches: BTreeMap<(u64, String), u64> = BTreeMap::new();
    for cpu in std::fs::read_dir(cpus).ok()?.flatten() {
        let Ok(indices) = std::fs::read_dir(cpu.path().join("cache")) else {
            continue;
        };
        for index in indices.flatten().map(|index| index.path()) {
            let level = file::number(&index.join("level"));
            let size = file::text(&index.join("size")).and_then(|size| bytes(&size));
            let shared = file::text(&index.join("shared_cpu_list"));
            if let (Some(level), Some(size), Some(shared)) = (level, size, shared) {
                caches.insert((level, shared), size);
            }
        }
    }
    let highest = caches.keys().map(|(level, _)| *level).max()?;
    let of_it = caches.iter().filter(|((level, _), _)| *level == highest);
    Some(of_it.fold(0, |sum, (_, size)| sum.saturating_add(*size)))
}

/// `32768K` and the like.
fn bytes(size: &str) -> Option<u64> {
    let (number, unit) = match size.strip_suffix(['K', 'M', 'G']) {
        Some(number) => (number, size.chars().last()?),
        None => (size, ' '),
    };
    let shift = match unit {
        'K' => 10,
        'M' => 20,
        'G' => 30,
        _ => 0,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// A line of `/proc/meminfo`, in KiB there.
fn memory(root: &Path, key: &str) -> Option<u64> {
    let text = value_of(&file::text(&root.join("proc/meminfo"))?, key)?;
    let kib: u64 = text.strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    /// A directory of files, removed at the end.
    struct Root(PathBuf);

    impl Root {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let name = format!("wattle-machine-{}-{name}", std::process::id());
            let root = std::env::temp_dir().join(name);
            for (path, text) in files {
                let path = root.join(path);
                std::fs::create_dir_all(path.parent().expect("a folder")).expect("room");
                std::fs::write(path, text).expect("room");
            }
            Self(root)
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _gone = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn an_x86_machine_is_known_by_its_cpu() {
        let root = Root::new(
            "x86",
            &[
                (
                    "proc/cpuinfo",
                    "processor\t: 0\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n\nmodel name\t: other\n",
                ),
                (
                    "proc/meminfo",
                    "MemTotal: 16 kB\nMemAvailable:    1000 kB\n",
                ),
            ],
        );
        let machine = Machine::read(&root.0);
        assert_eq!(machine.name.as_deref(), Some("AMD EPYC"));
        assert_eq!(machine.total_bytes, Some(16_384));
        assert_eq!(machine.available_bytes, Some(1_024_000));
        assert_eq!(machine.cache_bytes, None);
    }

    #[test]
    fn a_board_is_known_by_its_device_tree() {
        let root = Root::new(
            "pi",
            &[
                ("proc/cpuinfo", "processor: 0\nBogoMIPS: 108.00\n"),
                (
                    "sys/firmware/devicetree/base/model",
                    "Raspberry Pi 5 Model B Rev 1.0\0",
                ),
            ],
        );
        let machine = Machine::read(&root.0);
        assert_eq!(
            machine.name.as_deref(),
            Some("Raspberry Pi 5 Model B Rev 1.0")
        );
    }

    #[test]
    fn every_last_cache_counts_once() {
        let cache = |cpu: usize, index: usize, level: &str, size: &str, shared: &str| {
            let at = format!("sys/devices/system/cpu/cpu{cpu}/cache/index{index}");
            [
                ("level", level),
                ("size", size),
                ("shared_cpu_list", shared),
            ]
            .map(|(name, text)| (format!("{at}/{name}"), format!("{text}\n")))
        };
        let mut files = Vec::new();
        for (cpu, group) in [(0, "0-1"), (1, "0-1"), (2, "2-3"), (3, "2-3")] {
            files.extend(cache(cpu, 0, "1", "32K", &cpu.to_string()));
            files.extend(cache(cpu, 3, "3", "2M", group));
        }
        files.extend(cache(4, 3, "3", "a lot", "4"));
        let files: Vec<(&str, &str)> = files.iter().map(|(p, t)| (&**p, &**t)).collect();
        let root = Root::new("caches", &files);
        assert_eq!(Machine::read(&root.0).cache_bytes, Some(4 << 20));
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(bytes("32768K"), Some(32 << 20));
        assert_eq!(bytes("8M"), Some(8 << 20));
        assert_eq!(bytes("1G"), Some(1 << 30));
        assert_eq!(bytes("77"), Some(77));
        for nonsense in ["", "K", "4T", "-1K", "99999999999999999999K"] {
            assert_eq!(bytes(nonsense), None, "{nonsense:?}");
        }
    }

    #[test]
    fn silence_is_no_machine() {
        assert_eq!(Machine::read(Path::new("/nowhere")), Machine::default());
    }
}
