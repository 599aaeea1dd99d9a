//! A tree of files that stands for `/`, for tests of what is read from `sys/` and `proc/`.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// A directory that stands for `/`, removed at the end.
pub(crate) struct Root(PathBuf);

impl Root {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!(
            "wattle-boards-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a temporary directory");
        Self(path)
    }

    /// The same with one file more.
    pub(crate) fn with(self, file: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.0.join(file);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("directories");
        std::fs::write(path, content).expect("a file");
        self
    }

    /// The same with the file `name` of each core; the kernel ends its files with a line feed.
    pub(crate) fn cores(self, name: &str, contents: &[&str]) -> Self {
        contents
            .iter()
            .enumerate()
            .fold(self, |root, (core, content)| {
                let file = format!("sys/devices/system/cpu/cpu{core}/{name}");
                root.with(&file, format!("{content}\n"))
            })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}
