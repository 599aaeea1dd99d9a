//! A file that a test writes, and that is gone when the test ends, also by a failure.

use std::path::PathBuf;

/// A file under the system's temporary directory, removed when it is dropped.
pub(crate) struct Temp(pub(crate) PathBuf);

impl Temp {
    /// A file of these bytes. The name must be that of one test alone, since tests run side by side.
    pub(crate) fn new(name: &str, bytes: &[u8]) -> Self {
        let temp = Self::unmade(name);
        std::fs::write(&temp.0, bytes).expect("a temporary file");
        temp
    }

    /// Its name only, for a test that makes something else there.
    pub(crate) fn unmade(name: &str) -> Self {
        let name = format!("wattle-{}-{name}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        let _gone = std::fs::remove_file(&self.0);
    }
}
