//! Whether this machine is a real one: a virtual one has no power of its own, and an emulated CPU none of its kind.

use std::path::Path;

use crate::file;

/// What a process runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// A machine of its own, as far as it tells.
    Bare,
    /// A virtual machine, with what says so. Its sensors, if it shows any, tell nothing of the work done in it.
    Virtual(String),
    /// A program that runs the code of another CPU, by name: neither speed nor power are those of the CPU that it plays.
    Emulated(String),
}

/// Makers of virtual machines as DMI names them. Those of clouds that also let real ones are left to the other signs.
const VENDORS: &[&str] = &[
    "QEMU",
    "KVM",
    "VMware",
    "innotek GmbH",
    "Xen",
    "Parallels",
    "Google",
    "OpenStack",
    "DigitalOcean",
    "Alibaba Cloud",
];
/// The same of products.
const PRODUCTS: &[&str] = &[
    "KVM",
    "Virtual Machine",
    "VirtualBox",
    "VMware",
    "QEMU",
    "HVM domU",
];
/// Programs that run the code of another CPU.
const EMULATORS: &[&str] = &["qemu-", "box64", "box86", "FEX", "rosetta"];

impl Host {
    /// This process on this machine. `WATTLE_SYSFS_ROOT` counts as for [`Topology::here`](crate::Topology::here) for the machine;
    /// whether the process itself is emulated is not in those files.
    #[must_use]
    pub fn here() -> Self {
        match emulator(Path::new("/")) {
            Some(name) => Self::Emulated(name),
            None => Self::read(&file::root()),
        }
    }

    /// The machine whose `sys/` and `proc/` are in `root`.
    #[must_use]
    pub fn read(root: &Path) -> Self {
        match (emulator(root), hypervisor(root)) {
            (Some(name), _) => Self::Emulated(name),
            (None, Some(sign)) => Self::Virtual(sign),
            (None, None) => Self::Bare,
        }
    }
}

/// QEMU shows a program its own name as `/proc/self/exe`; the same link of the thread is the kernel's, and names QEMU.
fn emulator(root: &Path) -> Option<String> {
    let program = std::fs::read_link(root.join("proc/thread-self/exe")).ok()?;
    let name = program.file_name()?.to_str()?;
    let known = EMULATORS.iter().any(|emulator| name.starts_with(emulator));
    known.then(|| name.to_owned())
}

/// What tells that this machine is a guest.
fn hypervisor(root: &Path) -> Option<String> {
    let flags = file::text(&root.join("proc/cpuinfo")).unwrap_or_default();
    let mut flags = flags.lines().filter(|line| line.starts_with("flags"));
    let of_cpu = flags
        .next()
        .is_some_and(|line| line.split(' ').any(|flag| flag == "hypervisor"));
    let tree = root.join("sys/firmware/devicetree/base");
    let compatible = file::text(&tree.join("compatible")).unwrap_or_default();
    let dmi =
        |name: &str| file::text(&root.join("sys/class/dmi/id").join(name)).unwrap_or_default();
    let (vendor, product) = (dmi("sys_vendor"), dmi("product_name"));
    if VENDORS.iter().any(|name| vendor.starts_with(name)) {
        Some(format!("its maker is {vendor}"))
    } else if PRODUCTS.iter().any(|name| product.contains(name)) {
        Some(format!("it is a {product}"))
    } else if of_cpu {
        Some("its CPU says that a hypervisor runs it".into())
    } else if compatible
        .split('\0')
        .any(|name| name == "linux,dummy-virt")
        || tree.join("hypervisor").exists()
    {
        Some("its device tree is that of a virtual machine".into())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The host of a machine with these files.
    fn host(name: &str, files: &[(&str, &str)]) -> Host {
        let root = std::env::temp_dir().join(format!("wattle-host-{}-{name}", std::process::id()));
        for (path, text) in files {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("room");
            std::fs::write(path, text).expect("room");
        }
        let host = Host::read(&root);
        let _gone = std::fs::remove_dir_all(&root);
        host
    }

    #[test]
    fn guests_are_told_from_machines() {
        let flags = (
            "proc/cpuinfo",
            "model\t: 1\nflags\t\t: fpu sse2 hypervisor lm\n",
        );
        assert!(matches!(host("flag", &[flags]), Host::Virtual(_)));
        let dmi = ("sys/class/dmi/id/sys_vendor", "QEMU\n");
        assert_eq!(
            host("dmi", &[dmi]),
            Host::Virtual("its maker is QEMU".into())
        );
        let tree = (
            "sys/firmware/devicetree/base/compatible",
            "linux,dummy-virt\0",
        );
        assert!(matches!(host("tree", &[tree]), Host::Virtual(_)));
        let real = [
            ("proc/cpuinfo", "flags\t: fpu sse2\nbugs: hypervisor\n"),
            ("sys/class/dmi/id/sys_vendor", "LENOVO"),
        ];
        assert_eq!(host("real", &real), Host::Bare);
        assert_eq!(Host::read(Path::new("/nowhere")), Host::Bare);
    }

    #[cfg(unix)]
    #[test]
    fn an_emulated_process_is_known_by_its_program() {
        let root = std::env::temp_dir().join(format!("wattle-host-{}-exe", std::process::id()));
        let folder = root.join("proc/thread-self");
        std::fs::create_dir_all(&folder).expect("room");
        std::os::unix::fs::symlink("/usr/bin/qemu-aarch64-static", folder.join("exe"))
            .expect("a link");
        let host = Host::read(&root);
        let _gone = std::fs::remove_dir_all(&root);
        assert_eq!(host, Host::Emulated("qemu-aarch64-static".into()));
    }
}
