//! A file that appears only when it is whole.
//!
//! The bytes go to a hidden file beside the wanted one. It is synced before it takes the wanted name, so that a crash or a
//! full disk never leaves half a file under that name, and an older file there stays as it was. A draft that is dropped before
//! removes what it wrote. Only a regular file is ever replaced: a rename onto `/dev/null` would be the end of it. A symbolic link
//! stays one, and the file that it points to is replaced.

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
    /// The path without symbolic links, if a file has it already.
    target: PathBuf,
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
    /// [`Error::Io`] when no file can have this name: it is that of a folder, a device or a link to nothing, or nothing can be made
    /// in its folder.
    pub fn create(path: &Path) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let target = target(path).map_err(|source| Error::io(path, "create", source))?;
        loop {
            let number = NEXT.fetch_add(1, Relaxed);
            let name = format!(".wattle-{}-{number}.part", std::process::id());
            let unfinished = target.with_file_name(name);
            match OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(&unfinished)
            {
                Ok(file) => {
                    return Ok(Self {
                        path: path.to_path_buf(),
                        target,
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

    /// Bytes that its disk has left for this user.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the system does not tell.
    pub fn free_bytes(&self) -> Result<u64> {
        let disk = rustix::fs::fstatvfs(self.file.get_ref())
            .map_err(|source| Error::io(&self.path, "ask for room for", source.into()))?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
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
        fs::rename(&self.unfinished, &self.target)
            .map_err(|source| Error::io(&self.path, "rename the new file to this", source))?;
        self.published = true;
        // The name outlives a crash only when the folder is on the disk too. Some file systems cannot sync one.
        let folder = self
            .target
            .parent()
            .filter(|folder| *folder != Path::new(""));
        let _ = File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all());
        Ok(())
    }
}

/// Whether `path` can be the name of a file, as far as its spelling tells: `a/`, `a/.` and `..` are folders.
pub fn names_a_file(path: &Path) -> bool {
    // `Path` itself takes no notice of a slash or a dot at the end.
    let spelled = path.as_os_str().as_encoded_bytes();
    path.file_name().is_some() && !spelled.ends_with(b"/") && !spelled.ends_with(b"/.")
}

/// Where a file called `path` is to lie: behind symbolic links, in place of a regular file or of nothing.
fn target(path: &Path) -> io::Result<PathBuf> {
    let refused = |why| Err(io::Error::new(ErrorKind::InvalidInput, why));
    if !names_a_file(path) {
        return refused("it is the name of a folder");
    }
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => refused("it is a folder"),
        Ok(found) if !found.is_file() => refused("it is a device or a pipe, no regular file"),
        Ok(_) => fs::canonicalize(path),
        Err(_) if path.is_symlink() => refused("it is a link to a file that is not there"),
        Err(none) if none.kind() == ErrorKind::NotFound => Ok(path.to_path_buf()),
        // No file can get this name: it is too long, or the folder cannot be entered.
        Err(error) => Err(error),
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
    use std::os::unix::fs::symlink;

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
    fn a_name_that_no_file_can_have_is_refused_at_once() {
        let folder = folder("taken");
        let (taken, lost) = (folder.join("a"), folder.join("lost"));
        fs::create_dir_all(taken.join("b")).expect("a folder in the way");
        symlink(folder.join("nothing"), &lost).expect("a link");
        for (path, why) in [
            (taken, "it is a folder"),
            (folder.join("new/"), "the name of a folder"),
            (folder.join("new/."), "the name of a folder"),
            (folder.join(".."), "the name of a folder"),
            (PathBuf::from("/dev/null"), "a device"),
            (lost, "a link to a file that is not there"),
            (folder.join("no/a"), "No such file"),
            (folder.join("a".repeat(256)), "too long"),
        ] {
            let said = Draft::create(&path).expect_err("refused").to_string();
            assert!(said.contains(": cannot create: "), "{said}");
            assert!(said.contains(why), "{said}");
        }
        assert_eq!(names(&folder).len(), 2);
        fs::remove_dir_all(&folder).expect("removed");
    }

    #[test]
    fn a_name_that_is_taken_meanwhile_leaves_nothing() {
        let folder = folder("meanwhile");
        let path = folder.join("a");
        let draft = Draft::create(&path).expect("a draft");
        fs::create_dir_all(path.join("b")).expect("a folder in the way");
        let said = draft.publish().expect_err("taken").to_string();
        assert!(said.contains("cannot rename"), "{said}");
        assert_eq!(names(&folder), ["a"]);
        fs::remove_dir_all(&folder).expect("removed");
    }

    #[test]
    fn a_link_stays_a_link() {
        let folder = folder("link");
        let (file, link) = (folder.join("far/file"), folder.join("link"));
        fs::create_dir_all(folder.join("far")).expect("a folder");
        fs::write(&file, "older").expect("a file");
        symlink("far/file", &link).expect("a link");
        let mut draft = Draft::create(&link).expect("a draft");
        assert_eq!(draft.path(), link);
        draft.write_all(b"newer").expect("written");
        draft.publish().expect("published");
        assert!(link.is_symlink(), "replaced");
        assert_eq!(fs::read(&file).expect("a file"), b"newer");
        assert_eq!(names(&folder.join("far")), ["file"]);
        fs::remove_dir_all(&folder).expect("removed");
    }
}
