//! Reads the small text files of `/sys` and `/proc`.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// More than any of these files holds.
const MOST_BYTES: u64 = 64 * 1024;

/// Where `sys/` and `proc/` are: `/`, or what `WATTLE_SYSFS_ROOT` names.
pub(crate) fn root() -> PathBuf {
    std::env::var_os("WATTLE_SYSFS_ROOT").map_or_else(|| PathBuf::from("/"), PathBuf::from)
}

/// The text of a file, without white space at its end; `None` when it cannot be read or is no text.
pub(crate) fn text(path: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(path)
        .ok()?
        .take(MOST_BYTES)
        .read_to_string(&mut text)
        .ok()?;
    text.truncate(text.trim_end().len());
    Some(text)
}

/// The positive decimal number that is all that a file holds.
pub(crate) fn number(path: &Path) -> Option<u64> {
    text(path)?.trim().parse().ok().filter(|&n| n > 0)
}
