//! Models that are split over several files.
//!
//! File `i` (from 0) of `n` is named `PREFIX-0000(i+1)-of-0000n.gguf`. Each is a whole GGUF with its own header, alignment
//! and data; the first holds the metadata of the model, and possibly no tensor. `split.no`, `split.count` and
//! `split.tensors.count` tell the reader that it has every file, and that they belong together.

use std::path::{Path, PathBuf};

use super::head::Head;
use super::metadata::Metadata;
use crate::error::{Error, Place, Result};

const NO: &str = "split.no";
const COUNT: &str = "split.count";
const TENSORS: &str = "split.tensors.count";

/// Number of files that the file with this metadata says its model has; 1 when it is not split.
///
/// # Errors
///
/// The keys do not fit, or this is not the first file: the error names that one.
pub(super) fn count(path: &Path, metadata: &Metadata) -> Result<u16> {
    let Some(count) = metadata.u32(COUNT)? else {
        return Ok(1);
    };
    let files = u16::try_from(count).map_err(|_| metadata.unfit(COUNT, "at most 65535 files"))?;
    if files <= 1 {
        return Ok(1);
    }
    let no = metadata.need_u32(NO)?;
    if no != 0 {
        let first = name(path, files, 0).unwrap_or_else(|| path.to_path_buf());
        let expected = format!("the first of {files} files");
        return Err(metadata
            .unfit(NO, expected)
            .advise(format!("open {}", first.display())));
    }
    Ok(files)
}

/// The path of file `no` (from 0) beside `path`, one of `files`; `None` when `path` is not named as such a file.
pub(super) fn name(path: &Path, files: u16, no: u16) -> Option<PathBuf> {
    let stem = path.file_name()?.to_str()?.strip_suffix(".gguf")?;
    let stem = stem.strip_suffix(&format!("-of-{files:05}"))?;
    let (prefix, number) = stem.rsplit_once('-')?;
    if number.len() != 5 || !number.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number = u32::from(no).checked_add(1)?;
    Some(path.with_file_name(format!("{prefix}-{number:05}-of-{files:05}.gguf")))
}

/// The path of file `no` (from 0) of a model in `files` files that is to be called `path`: `PATH-00001-of-00003.gguf`.
///
/// A `path` that is named as one of so many files already keeps its prefix.
pub fn shard_path(path: &Path, files: u16, no: u16) -> PathBuf {
    name(path, files, no).unwrap_or_else(|| {
        let mut stem = path.file_name().unwrap_or_default().to_os_string();
        if path.extension().is_some_and(|end| end == "gguf") {
            stem = path.file_stem().unwrap_or_default().to_os_string();
        }
        let number = u32::from(no).saturating_add(1);
        stem.push(format!("-{number:05}-of-{files:05}.gguf"));
        path.with_file_name(stem)
    })
}

/// The error for a model of several files whose first is not named as one.
pub(super) fn misnamed(path: &Path, files: u16) -> Error {
    let expected = format!("a name that ends in -00001-of-{files:05}.gguf");
    let found = path.file_name().unwrap_or_default();
    Error::file(
        path,
        Place::Shard,
        expected,
        format!("{:?}", found.to_string_lossy()),
    )
    .advise("the model is split: keep the names that its files had")
}

/// The error for a file of the model that is not there.
pub(super) fn absent(path: &Path, files: u16) -> Error {
    let expected = format!("one of the {files} files that the model is split into");
    Error::file(path, Place::Shard, expected, "no such file")
        .advise(format!("put all {files} files into one directory"))
}

/// Checks that `head` is file `no` of `files`.
pub(super) fn check(head: &Head, no: u16, files: u16) -> Result<()> {
    for (key, expected) in [(NO, no), (COUNT, files)] {
        if head.metadata.need_u32(key)? != u32::from(expected) {
            return Err(head
                .metadata
                .unfit(key, expected.to_string())
                .advise("the files are not of one model"));
        }
    }
    Ok(())
}

/// Checks the number of tensors over all files against what the first file says.
pub(super) fn check_total(metadata: &Metadata, tensors: usize) -> Result<()> {
    if metadata.need_u64(TENSORS)? == tensors as u64 {
        return Ok(());
    }
    Err(metadata
        .unfit(TENSORS, format!("{tensors}, the tensors in all files"))
        .advise("a file is of another model, or broken"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_to_come() {
        for (path, expected) in [
            ("/m/a.gguf", "/m/a-00002-of-00003.gguf"),
            ("a.b", "a.b-00002-of-00003.gguf"),
            ("a-00001-of-00003.gguf", "a-00002-of-00003.gguf"),
            (
                "a-00001-of-00004.gguf",
                "a-00001-of-00004-00002-of-00003.gguf",
            ),
        ] {
            assert_eq!(shard_path(Path::new(path), 3, 1), Path::new(expected));
        }
    }

    #[test]
    fn names_of_siblings() {
        let path = Path::new("/m/a-b-00002-of-00012.gguf");
        let first = name(path, 12, 0).expect("a split name");
        assert_eq!(first, Path::new("/m/a-b-00001-of-00012.gguf"));
        let last = name(path, 12, 11).expect("a split name");
        assert_eq!(last, Path::new("/m/a-b-00012-of-00012.gguf"));
        assert_eq!(name(path, 13, 0), None, "another count");
        for odd in [
            "a.gguf",
            "a-00001-of-00012",
            "00001-of-00012.gguf",
            "a-1-of-00012.gguf",
            "a-000é1-of-00012.gguf",
        ] {
            assert_eq!(name(Path::new(odd), 12, 1), None, "{odd}");
        }
    }
}
