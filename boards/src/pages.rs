//! The pages of memory: their size, and whether huge ones are given.
//!
//! Kernels for ARM have pages of 4, 16 or 64 KiB (a Raspberry Pi 5 comes with 16), and a huge page has 2, 32 or 512 MiB with them.

use std::path::Path;

use crate::file;

/// What the kernel says of its pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pages {
    /// Bytes of a page of this process. Under an emulator, those that the emulator shows.
    pub bytes: usize,
    /// When huge pages are given: `always`, `madvise` (to those that ask, as wattle does) or `never`.
    pub huge: Option<String>,
    /// Bytes of a huge page.
    pub huge_bytes: Option<u64>,
}

impl Pages {
    /// This machine; `WATTLE_SYSFS_ROOT` counts as for [`Topology::here`](crate::Topology::here).
    #[must_use]
    pub fn here() -> Self {
        Self::read(&file::root())
    }

    /// By the `sys/` in `root`.
    #[must_use]
    pub fn read(root: &Path) -> Self {
        let folder = root.join("sys/kernel/mm/transparent_hugepage");
        // "always [madvise] never"
        let modes = file::text(&folder.join("enabled"));
        let chosen = modes.as_deref().and_then(|modes| {
            let mut modes = modes.split_whitespace();
            modes.find_map(|mode| mode.strip_prefix('[')?.strip_suffix(']'))
        });
        Self {
            bytes: rustix::param::page_size(),
            huge: chosen.map(str::to_owned),
            huge_bytes: file::number(&folder.join("hpage_pmd_size")),
        }
    }
}
