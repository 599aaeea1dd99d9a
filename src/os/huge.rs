//! Memory in huge pages.
//!
//! A page of 2 MiB needs one entry of the TLB where 512 of 4 KiB need as many; a buffer that is streamed through costs up to a
//! tenth of the memory's rate in page walks without them.

use core::ops::{Deref, DerefMut};

use memmap2::{Advice, MmapMut, MmapOptions};

use crate::{Error, Result};

/// Bytes of its own, zeros at first, in huge pages where the kernel has some; given back when dropped.
#[derive(Debug)]
pub struct Huge(MmapMut);

impl Huge {
    /// `len` bytes for `what`. They cost memory only where they are written.
    ///
    /// # Errors
    ///
    /// [`Error::Memory`] when the system has not that much.
    pub fn zeros(len: usize, what: &str) -> Result<Self> {
        let map = MmapOptions::new().len(len).map_anon();
        let map = map.map_err(|_| Error::Memory {
            what: what.into(),
            bytes: len as u64,
        })?;
        // A kernel built without huge pages refuses, and nothing is lost but speed.
        let _refused = map.advise(Advice::HugePage);
        Ok(Self(map))
    }
}

impl Deref for Huge {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Huge {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_zeros_until_written() {
        let mut memory = Huge::zeros(3 << 20, "a test").expect("three megabytes");
        assert_eq!(memory.len(), 3 << 20);
        assert!(memory.iter().all(|&byte| byte == 0), "zeros");
        memory.fill(7);
        assert_eq!(memory[(3 << 20) - 1], 7);
    }

    #[test]
    fn more_than_there_is_is_refused() {
        let told = Huge::zeros(usize::MAX / 2, "a test").expect_err("too much");
        assert!(told.to_string().contains("a test"), "{told}");
    }
}
