//! The new files: their names, what they must not overwrite, and their keys.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Options, Step};
use crate::error::{Error, Result};
use crate::gguf::{Gguf, Value, Writer, shard_path};
use crate::os::names_a_file;

/// ggml's version of the quantised layouts, the value of `general.quantization_version`.
const VERSION: u32 = 2;

/// The key that says how the data is aligned.
const ALIGNMENT: &str = "general.alignment";

/// What the keys about the importance matrix begin with.
const IMATRIX: &str = "quantize.imatrix.";

/// Refuses the name of a folder, from which the names of several files cannot be made either.
pub(super) fn check(out: &Path) -> Result<()> {
    match names_a_file(out) && !out.is_dir() {
        true => Ok(()),
        false => Err(Error::Argument {
            name: "OUT",
            value: out.display().to_string(),
            expected: "the name of a regular file; this is that of a folder".into(),
        }),
    }
}

/// The files that `model` will be written to: as many as it has, unless they are merged.
pub(super) fn names(model: &Gguf, out: &Path, options: &Options) -> Vec<PathBuf> {
    match u16::try_from(model.files()) {
        Ok(files) if files > 1 && !options.merge => {
            (0..files).map(|no| shard_path(out, files, no)).collect()
        }
        _ => vec![out.to_path_buf()],
    }
}

/// Refuses to write over what is read, over anything that is no file, and over any file unless that is wanted.
pub(super) fn guard(model: &Gguf, files: &[PathBuf], options: &Options) -> Result<()> {
    let shards = (0..model.files()).map(|no| model.metadata_of(no).path());
    let imatrix = options.imatrix.as_ref().map(|imatrix| imatrix.path());
    let mut sources = Vec::new();
    for path in shards.chain(imatrix) {
        // One that cannot be found is no file that could be overwritten.
        if let Ok(found) = fs::metadata(path) {
            sources.push((path, found.dev(), found.ino()));
        }
    }
    for file in files {
        let fault = |expected: String| Error::Argument {
            name: "OUT",
            value: file.display().to_string(),
            expected,
        };
        let found = match fs::metadata(file) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(Error::io(file, "look at", source)),
        };
        let same = |(_, dev, ino): &&(&Path, u64, u64)| (*dev, *ino) == (found.dev(), found.ino());
        if let Some((path, ..)) = sources.iter().find(same) {
            return Err(fault(format!(
                "another file than {}, which is read",
                path.display()
            )));
        }
        if !found.is_file() {
            return Err(fault("a regular file; --dry-run writes none".into()));
        }
        if !options.replace {
            return Err(fault(
                "a new file, this one exists; --force replaces it".into(),
            ));
        }
    }
    Ok(())
}

/// The head of file `no`, with all keys and the tensors that `steps` say.
///
/// The keys of the quantisation are added to the first file only: llama.cpp's tools write nothing but `split.*` to those after it.
/// Where a later file has one of them all the same, it must not tell of the old types.
pub(super) fn head(
    model: &Gguf,
    no: usize,
    steps: &[Step],
    options: &Options,
) -> io::Result<Writer> {
    let mut head = Writer::new();
    let guided = options.imatrix.is_some();
    let mut new = keys(options);
    let shards = if options.merge {
        0..model.files()
    } else {
        no..no + 1
    };
    for shard in shards {
        for (key, value) in model.metadata_of(shard).iter() {
            let split = options.merge && key.starts_with("split.");
            // Of a key that several files have, the first counts.
            let known = |earlier| model.metadata_of(earlier).get(key).is_some();
            if split || (no..shard).any(known) {
                continue;
            }
            if key == ALIGNMENT {
                // The reader has checked that it fits.
                let bytes = value.integer().and_then(|bytes| u32::try_from(bytes).ok());
                head.align(bytes.unwrap_or(32))?;
                continue;
            }
            match new.iter().position(|(name, _)| *name == key) {
                Some(i) => head.copy(key, &new.remove(i).1)?,
                // What an older matrix said is not true beside a new one.
                None if guided && key.starts_with(IMATRIX) => {}
                None => head.copy(key, value)?,
            }
        }
    }
    if no == 0 {
        for (key, value) in &new {
            head.copy(key, value)?;
        }
    }
    for (tensor, step) in model.tensors().iter().zip(steps) {
        if options.merge || tensor.shard() == no {
            head.tensor(&tensor.name, tensor.shape(), step.to)?;
        }
    }
    Ok(head)
}

/// The keys that tell of the quantisation, as llama.cpp writes them.
fn keys(options: &Options) -> Vec<(&'static str, Value)> {
    let text = |text: &str| Value::String(text.as_bytes().into());
    let mut keys = vec![
        ("general.quantization_version", Value::U32(VERSION)),
        ("general.file_type", Value::U32(options.mix.file_type)),
    ];
    let Some(imatrix) = &options.imatrix else {
        return keys;
    };
    let file = imatrix.path().to_string_lossy();
    keys.push(("quantize.imatrix.file", text(&file)));
    if let Some(dataset) = imatrix.datasets().first() {
        keys.push(("quantize.imatrix.dataset", text(dataset)));
    }
    let entries = u32::try_from(imatrix.tensors().len()).unwrap_or(u32::MAX);
    keys.push(("quantize.imatrix.entries_count", Value::U32(entries)));
    if imatrix.chunks() > 0 {
        let chunks = Value::U32(imatrix.chunks());
        keys.push(("quantize.imatrix.chunks_count", chunks));
    }
    keys
}
