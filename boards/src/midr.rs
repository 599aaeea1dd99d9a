//! The names of ARM cores, by the implementer and the part number in `MIDR_EL1`.

use std::path::Path;

use crate::file;

/// What a core's register says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Midr {
    /// Who designed it: 0x41 is Arm, 0x70 Phytium.
    pub implementer: u32,
    /// Which of the designs.
    pub part: u32,
}

/// A core that is known by name.
struct Known {
    implementer: u32,
    part: u32,
    name: &'static str,
    /// Whether it is a small in-order one.
    small: bool,
}

const fn big(implementer: u32, part: u32, name: &'static str) -> Known {
    Known {
        implementer,
        part,
        name,
        small: false,
    }
}

const fn small(implementer: u32, part: u32, name: &'static str) -> Known {
    Known {
        small: true,
        ..big(implementer, part, name)
    }
}

/// The cores of boards; numbers and names as util-linux has them.
const KNOWN: &[Known] = &[
    small(0x41, 0xd02, "Cortex-A34"),
    small(0x41, 0xd03, "Cortex-A53"),
    small(0x41, 0xd04, "Cortex-A35"),
    small(0x41, 0xd05, "Cortex-A55"),
    big(0x41, 0xd07, "Cortex-A57"),
    big(0x41, 0xd08, "Cortex-A72"),
    big(0x41, 0xd09, "Cortex-A73"),
    big(0x41, 0xd0a, "Cortex-A75"),
    big(0x41, 0xd0b, "Cortex-A76"),
    big(0x41, 0xd0c, "Neoverse-N1"),
    big(0x41, 0xd0d, "Cortex-A77"),
    big(0x41, 0xd40, "Neoverse-V1"),
    big(0x41, 0xd41, "Cortex-A78"),
    big(0x41, 0xd42, "Cortex-A78AE"),
    big(0x41, 0xd44, "Cortex-X1"),
    small(0x41, 0xd46, "Cortex-A510"),
    big(0x41, 0xd47, "Cortex-A710"),
    big(0x41, 0xd48, "Cortex-X2"),
    big(0x41, 0xd49, "Neoverse-N2"),
    big(0x41, 0xd4b, "Cortex-A78C"),
    big(0x41, 0xd4d, "Cortex-A715"),
    big(0x41, 0xd4e, "Cortex-X3"),
    big(0x41, 0xd4f, "Neoverse-V2"),
    small(0x41, 0xd80, "Cortex-A520"),
    big(0x41, 0xd81, "Cortex-A720"),
    big(0x41, 0xd82, "Cortex-X4"),
    big(0x48, 0xd01, "TaiShan-v110"),
    big(0x48, 0xd02, "TaiShan-v120"),
    small(0x51, 0x801, "Kryo-2xx-Silver"),
    small(0x51, 0x803, "Kryo-3xx-Silver"),
    small(0x51, 0x805, "Kryo-4xx-Silver"),
    small(0x70, 0x303, "FTC310"),
    big(0x70, 0x660, "FTC660"),
    big(0x70, 0x661, "FTC661"),
    big(0x70, 0x662, "FTC662"),
    big(0x70, 0x663, "FTC663"),
    big(0x70, 0x664, "FTC664"),
    big(0x70, 0x862, "FTC862"),
];

impl Midr {
    /// Of the core that `sys/devices/system/cpu/cpuN` is about.
    pub(crate) fn read(cpu: &Path) -> Option<Self> {
        let text = file::text(&cpu.join("regs/identification/midr_el1"))?;
        let digits = text.trim().strip_prefix("0x")?;
        let register = u64::from_str_radix(digits, 16).ok()?;
        let bits = |low: u32, mask: u64| u32::try_from(register >> low & mask).ok();
        Some(Self {
            implementer: bits(24, 0xff)?,
            part: bits(4, 0xfff)?,
        })
    }

    /// The name of the core; of an unknown one its two numbers.
    #[must_use]
    pub fn name(self) -> String {
        match self.known() {
            Some(core) => core.name.to_owned(),
            None => format!("{:#04x}/{:#05x}", self.implementer, self.part),
        }
    }

    /// Whether it is known as a small in-order core.
    pub(crate) fn is_small(self) -> bool {
        self.known().is_some_and(|core| core.small)
    }

    fn known(self) -> Option<&'static Known> {
        let is_it = |core: &&Known| (core.implementer, core.part) == (self.implementer, self.part);
        KNOWN.iter().find(is_it)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_have_names() {
        let name = |implementer, part| Midr { implementer, part }.name();
        assert_eq!(name(0x41, 0xd0b), "Cortex-A76");
        assert_eq!(name(0x70, 0x663), "FTC663");
        assert_eq!(name(0x61, 0x22), "0x61/0x022");
    }

    #[test]
    fn no_core_is_listed_twice() {
        let order = |core: &Known| (core.implementer, core.part);
        assert!(
            KNOWN
                .windows(2)
                .all(|pair| order(&pair[0]) < order(&pair[1])),
            "the list is in the order of its numbers"
        );
    }
}
