//! A matrix of float32 in `NumPy`'s format, written row by row and there only when it is complete.
//!
//! ```text
//! "\x93NUMPY" 1 0 | u16 length | "{'descr': '<f4', 'fortran_order': False, 'shape': (rows, cols), }" spaces "\n" | rows * cols f32
//! ```
//!
//! All little-endian; the data begins at a multiple of 64 (format 1.0, `numpy/lib/format.py`). The file is a [`Draft`]: nobody reads half
//! a matrix, and a failure leaves an older file as it was.

use std::io::Write;
use std::path::Path;

use wattle::os::Draft;
use wattle::{Error, Result};

/// A matrix on its way to a file.
#[derive(Debug)]
pub(crate) struct NpyWriter {
    draft: Draft,
    /// (rows, columns)
    shape: (usize, usize),
    rows_written: usize,
}

impl NpyWriter {
    /// Begins a matrix of `shape` (rows, columns).
    ///
    /// # Errors
    /// [`Error::Io`] when no file can have this name.
    pub(crate) fn create(path: &Path, shape: (usize, usize)) -> Result<Self> {
        let mut writer = Self {
            draft: Draft::create(path)?,
            shape,
            rows_written: 0,
        };
        writer.write(&header(shape))?;
        Ok(writer)
    }

    /// Appends a row (columns).
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be written.
    ///
    /// # Panics
    /// When the row has another length, or there are rows enough.
    pub(crate) fn row(&mut self, row: &[f32]) -> Result<()> {
        let (rows, columns) = self.shape;
        assert!(
            row.len() == columns && self.rows_written < rows,
            "a row that does not belong to this matrix"
        );
        self.rows_written += 1;
        for number in row {
            self.write(&number.to_le_bytes())?;
        }
        Ok(())
    }

    /// Gives the complete matrix its name.
    ///
    /// # Errors
    /// [`Error::Io`] when the rest cannot be written or the file not be renamed.
    ///
    /// # Panics
    /// When rows are missing.
    pub(crate) fn finish(self) -> Result<()> {
        assert_eq!(self.rows_written, self.shape.0, "rows are missing");
        self.draft.publish()
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.draft
            .write_all(bytes)
            .map_err(|source| Error::io(self.draft.path(), "write", source))
    }
}

fn header((rows, columns): (usize, usize)) -> Vec<u8> {
    let fields =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    let before = 10; // magic, version, length
    let total = (before + fields.len() + 1).next_multiple_of(64);
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(((total - before) as u16).to_le_bytes());
    bytes.extend(fields.into_bytes());
    bytes.resize(total - 1, b' ');
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("wattle-npy-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn the_header_is_the_format_of_numpy() {
        let header = header((3, 129_280));
        assert_eq!(header.len() % 64, 0);
        assert_eq!(header[..8], *b"\x93NUMPY\x01\x00");
        let length = usize::from(u16::from_le_bytes([header[8], header[9]]));
        assert_eq!(length, header.len() - 10);
        let text = core::str::from_utf8(&header[10..]).unwrap();
        assert_eq!(
            text.trim_end_matches(' ').trim_end(),
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 129280), }"
        );
        assert!(text.ends_with(" \n"), "{text:?}");
    }

    #[test]
    fn a_matrix_appears_when_it_is_complete() {
        let folder = folder("complete");
        let path = folder.join("a.npy");
        fs::write(&path, "older").unwrap();
        let mut npy = NpyWriter::create(&path, (2, 2)).unwrap();
        npy.row(&[1.0, -2.5]).unwrap();
        npy.row(&[0.0, f32::MAX]).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"older");
        npy.finish().unwrap();
        let bytes = fs::read(&path).unwrap();
        let numbers: Vec<f32> = bytes[bytes.len() - 16..]
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect();
        assert_eq!(numbers, [1.0, -2.5, 0.0, f32::MAX]);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn an_unfinished_matrix_leaves_nothing() {
        let folder = folder("unfinished");
        let mut npy = NpyWriter::create(&folder.join("a.npy"), (2, 1)).unwrap();
        npy.row(&[1.0]).unwrap();
        drop(npy);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = NpyWriter::create(Path::new("/no/such/folder/a.npy"), (1, 1)).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("/no/such/folder/a.npy: cannot create"),
            "{error}"
        );
    }
}
