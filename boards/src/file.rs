//! Reads the small text files of `/sys` and `/proc`.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// More than any of these files holds.
const MOST_BYTES: u64 = 64 * 1024;

/// Where `sys/` and `proc/` are: `/`, or what `WATTLE_SYSFS_ROOT` names.
pub(crate) fn root() -> PathBuf {
    std::env::var_os("WATTLE_SYSFS_ROOT").map_or_else(|| PathBuf::from("/"), PathBuf::from)
}

/// The text of a file, without white space at its end; `None` when it cannot be read or is no text.
pub(crate) fn text(path: &Path) -> Option<String> {
    read(path).ok()
}

/// The same, with the reason.
pub(crate) fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?
        .take(MOST_BYTES)
        .read_to_string(&mut text)?;
    text.truncate(text.trim_end().len());
    Ok(text)
}

/// The decimal number, 0 and signs included, that is all that a file holds.
pub(crate) fn integer(path: &Path) -> Option<i64> {
    text(path)?.trim().parse().ok()
}

/// What is in a folder, by name. Empty when it cannot be read.
pub(crate) fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// The last part of a path; empty when it is no text.
pub(crate) fn name(path: &Path) -> &str {
    path.file_name()
        .and_then(|name| name.to_str())
        .unwrap_or("")
}

/// The entries of `folder` that are called `prefix` and a number, in the order of the numbers.
pub(crate) fn numbered(folder: &Path, prefix: &str) -> Vec<(usize, PathBuf)> {
    let mut found: Vec<(usize, PathBuf)> = entries(folder)
        .into_iter()
        .filter_map(|path| {
            let number = name(&path).strip_prefix(prefix)?.parse().ok()?;
            Some((number, path))
        })
        .collect();
    found.sort();
    found
}

/// The positive decimal number that is all that a file holds.
pub(crate) fn number(path: &Path) -> Option<u64> {
    text(path)?.trim().parse().ok().filter(|&n| n > 0)
}
