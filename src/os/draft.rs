//! A file that appears only when it is whole.
//!
//! The bytes go to a hidden file beside the wanted one. It is synced before it takes the wanted name, so that a crash or a
//! full disk never leaves half a file under that name, and an older file there stays as it was. A draft that is dropped before
//! removes what it wrote.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::{Error, Result};

/// Bytes collected before the system is asked to write.
const BUFFER: usize = 1 << 18;

/// A file on its way to its name.
#[derive(Debug)]
pub struct Draft {
    path: PathBuf,
    /// Where the bytes are until [`Draft::publish`].
    unfinished: PathBuf,
    file: BufWriter<File>,
    published: bool,
}

impl Draft {
    /// Begins a file that is to be called `path`.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when no file can be made in its folder.
    pub fn create(path: &Path) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = NEXT.fetch_add(1, Relaxed);
            let name = format!(".wattle-{}-{number}.part", std::process::id());
            let unfinished = path.with_file_name(name);
            match OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(&unfinished)
            {
                Ok(file) => {
                    return Ok(Self {
                        path: path.to_path_buf(),
                        unfinished,
                        file: BufWriter::with_capacity(BUFFER, file),
                        published: false,
                    });
                }
                // Left behind by a process that was killed, and had the same id.
                Err(taken) if taken.kind() == ErrorKind::AlreadyExists => {}
                Err(source) => return Err(Error::io(path, "create", source)),
            }
        }
    }

    /// The name that it will have.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Brings all bytes to the disk. Of several files that belong together, all are sealed before the first is published.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when they cannot be written.
    pub fn seal(&mut self) -> Result<()> {
        self.file
            .flush()
            .and_then(|()| self.file.get_ref().sync_all())
            .map_err(|source| Error::io(&self.path, "write", source))
    }

    /// Seals the file and gives it its name, in place of a file that has it.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the rest cannot be written or the file not be renamed; nothing has changed then.
    pub fn publish(mut self) -> Result<()> {
        self.seal()?;
        fs::rename(&self.unfinished, &self.path)
            .map_err(|source| Error::io(&self.path, "rename the new file to this", source))?;
        self.published = true;
        // The name outlives a crash only when the folder is on the disk too. Some file systems cannot sync one.
        let folder = self.path.parent().filter(|folder| *folder != Path::new(""));
        let _ = File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all());
        Ok(())
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.published {
            let _ = fs::remove_file(&self.unfinished);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let name = format!("wattle-draft-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).expect("a folder");
        folder
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("a folder");
        entries
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .into_string()
                    .expect("a plain name")
            })
            .collect()
    }

    #[test]
    fn a_file_appears_when_it_is_published() {
        let folder = folder("publish");
        let path = folder.join("a");
        fs::write(&path, "older").expect("a file");
        let mut draft = Draft::create(&path).expect("a draft");
        draft.write_all(b"newer").expect("written");
        draft.seal().expect("sealed");
        assert_eq!(fs::read(&path).expect("a file"), b"older");
        draft.publish().expect("published");
        assert_eq!(fs::read(&path).expect("a file"), b"newer");
        assert_eq!(names(&folder), ["a"]);
        fs::remove_dir_all(&folder).expect("removed");
    }

    #[test]
    fn a_draft_that_is_dropped_leaves_nothing() {
        let folder = folder("drop");
        let mut draft = Draft::create(&folder.join("a")).expect("a draft");
        draft.write_all(&[0; 3 * BUFFER]).expect("written");
        assert_eq!(names(&folder).len(), 1);
        drop(draft);
        assert_eq!(names(&folder), [""; 0]);
        fs::remove_dir_all(&folder).expect("removed");
    }

    #[test]
    fn a_name_that_cannot_be_had_leaves_nothing() {
        let folder = folder("taken");
        let taken = folder.join("a");
        fs::create_dir_all(taken.join("b")).expect("a folder in the way");
        let error = Draft::create(&taken).expect("a draft").publish();
        let said = error.expect_err("a folder has the name").to_string();
        assert!(said.contains("cannot rename"), "{said}");
        assert_eq!(names(&folder), ["a"]);
        fs::remove_dir_all(&folder).expect("removed");
        let error = Draft::create(&folder.join("a")).expect_err("no folder");
        assert!(error.to_string().contains("cannot create"), "{error}");
    }
}
