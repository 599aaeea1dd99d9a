//! By what a machine is recognised: the device tree, DMI, or the numbers of its CPU.

use std::collections::BTreeMap;
use std::path::Path;

use crate::file;
use crate::midr::Midr;

/// All that a machine says of itself; what it does not say is empty or `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// `compatible` of the device tree, from the board to the family of its chip.
    pub compatible: Vec<String>,
    /// `model` of the device tree, for people.
    pub model: Option<String>,
    /// The maker of the machine and of its main board, by DMI.
    pub vendors: Vec<String>,
    /// The name of the machine and of its main board, by DMI.
    pub products: Vec<String>,
    /// The name of the CPU in `/proc/cpuinfo`.
    pub cpu: Option<String>,
    /// The CPU's family and model (x86).
    pub x86: Option<X86>,
    /// How many cores there are of each design (ARM).
    pub midr: BTreeMap<Midr, usize>,
}

/// An x86 CPU by its numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct X86 {
    /// `GenuineIntel`, `AuthenticAMD` ...
    pub vendor: String,
    /// Family, the extended one added.
    pub family: u32,
    /// Model, the extended one added.
    pub model: u32,
}

impl Identity {
    /// The machine whose `sys/` and `proc/` are in `root`.
    #[must_use]
    pub fn read(root: &Path) -> Self {
        let tree = ["sys/firmware/devicetree/base", "proc/device-tree"];
        let of_tree = |name: &str| {
            let mut texts = tree
                .iter()
                .filter_map(|tree| file::text(&root.join(tree).join(name)));
            texts.next()
        };
        let of_dmi = |names: [&str; 2]| {
            let dmi = root.join("sys/class/dmi/id");
            let texts = names
                .iter()
                .filter_map(|name| clean(&file::text(&dmi.join(name))?));
            texts.collect()
        };
        let info = CpuInfo::read(root);
        Self {
            compatible: of_tree("compatible").map_or_else(Vec::new, |list| {
                list.split('\0').filter_map(clean).collect()
            }),
            model: of_tree("model").as_deref().and_then(clean),
            vendors: of_dmi(["sys_vendor", "board_vendor"]),
            products: of_dmi(["product_name", "board_name"]),
            cpu: info.first("model name").as_deref().and_then(clean),
            x86: x86(&info),
            midr: midr(root, &info),
        }
    }

    /// What to call the machine: the board, else the product, else the CPU.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        let product = || match (self.vendors.first(), self.products.first()) {
            (Some(vendor), Some(product)) if !product.contains(vendor.as_str()) => {
                Some(format!("{vendor} {product}"))
            }
            (_, product) => product.cloned(),
        };
        self.model
            .clone()
            .or_else(product)
            .or_else(|| self.cpu.clone())
    }
}

/// Without zero bytes and space around; firmware that was never filled in says nothing.
fn clean(text: &str) -> Option<String> {
    const UNSET: [&str; 6] = [
        "default string",
        "to be filled by o.e.m.",
        "system product name",
        "system manufacturer",
        "not specified",
        "none",
    ];
    let text = text.trim_matches(|c: char| c == '\0' || c.is_whitespace());
    let is_unset = UNSET.contains(&text.to_lowercase().as_str());
    (!text.is_empty() && !is_unset).then(|| text.to_owned())
}

/// `/proc/cpuinfo`: one block for each core, with lines `key : value`.
pub(crate) struct CpuInfo(Vec<BTreeMap<String, String>>);

impl CpuInfo {
    pub(crate) fn read(root: &Path) -> Self {
        let text = file::text(&root.join("proc/cpuinfo")).unwrap_or_default();
        let block = |block: &str| -> BTreeMap<String, String> {
            let pairs = block.lines().filter_map(|line| line.split_once(':'));
            // LoongArch writes `Model Name`.
            pairs
                .map(|(key, value)| (key.trim().to_lowercase(), value.trim().to_owned()))
                .collect()
        };
        Self(text.split("\n\n").map(block).collect())
    }

    /// The value of `key` in the first block that has one.
    pub(crate) fn first(&self, key: &str) -> Option<String> {
        self.0.iter().find_map(|block| block.get(key)).cloned()
    }
}

fn x86(info: &CpuInfo) -> Option<X86> {
    Some(X86 {
        vendor: info.first("vendor_id")?,
        family: info.first("cpu family")?.parse().ok()?,
        model: info.first("model")?.parse().ok()?,
    })
}

/// By the registers that the kernel shows, else by `/proc/cpuinfo`.
fn midr(root: &Path, info: &CpuInfo) -> BTreeMap<Midr, usize> {
    let cpus = file::numbered(&root.join("sys/devices/system/cpu"), "cpu");
    let mut cores: Vec<Midr> = cpus.iter().filter_map(|(_, cpu)| Midr::read(cpu)).collect();
    if cores.is_empty() {
        let hex = |text: Option<&String>| u32::from_str_radix(text?.strip_prefix("0x")?, 16).ok();
        let of_block = |block: &BTreeMap<String, String>| {
            Some(Midr {
                implementer: hex(block.get("cpu implementer"))?,
                part: hex(block.get("cpu part"))?,
            })
        };
        cores = info.0.iter().filter_map(of_block).collect();
    }
    let mut counts = BTreeMap::new();
    for core in cores {
        *counts.entry(core).or_insert(0) += 1;
    }
    counts
}
