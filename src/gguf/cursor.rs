//! A reader over bytes that cannot run past their end.
//!
//! Everything that the parser takes from a file goes through [`Cursor::take`]: one comparison of a 64-bit length with
//! the bytes left (`n <= len - at`, never `at + n <= len`, which could wrap), then one checked slice.

/// What was asked for is not there: `need` bytes at offset `at`, where `left` remain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Short {
    pub(super) at: u64,
    pub(super) need: u64,
    pub(super) left: u64,
}

/// A position in bytes; it only moves forward, and never past the end.
#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Offset of the next byte.
    pub(super) fn at(&self) -> u64 {
        self.at as u64
    }

    /// Number of bytes not yet read.
    pub(super) fn left(&self) -> u64 {
        self.bytes.len().saturating_sub(self.at) as u64
    }

    /// The next `n` bytes.
    pub(super) fn take(&mut self, n: u64) -> Result<&'a [u8], Short> {
        let short = Short {
            at: self.at(),
            need: n,
            left: self.left(),
        };
        let n = usize::try_from(n).map_err(|_| short)?;
        let end = self.at.checked_add(n).ok_or(short)?;
        let taken = self.bytes.get(self.at..end).ok_or(short)?;
        self.at = end;
        Ok(taken)
    }

    /// The next `N` bytes, as an array.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Short> {
        let at = self.at();
        let left = self.left();
        let bytes = self.take(N as u64)?;
        bytes.try_into().map_err(|_| Short {
            at,
            need: N as u64,
            left,
        })
    }

    /// The next four bytes as a little-endian number.
    pub(super) fn u32(&mut self) -> Result<u32, Short> {
        self.array().map(u32::from_le_bytes)
    }

    /// The next eight bytes as a little-endian number.
    pub(super) fn u64(&mut self) -> Result<u64, Short> {
        self.array().map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_little_endian_and_stops_at_the_end() {
        let mut cursor = Cursor::new(&[1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 1, 9]);
        assert_eq!(cursor.u32(), Ok(1));
        assert_eq!(cursor.u64(), Ok(0x0100_0000_0000_0002));
        assert_eq!((cursor.at(), cursor.left()), (12, 1));
        let short = Short {
            at: 12,
            need: 4,
            left: 1,
        };
        assert_eq!(cursor.u32(), Err(short), "one byte is no u32");
        assert_eq!(cursor.take(1), Ok(&[9][..]), "a refusal moves nothing");
        assert_eq!(cursor.take(0), Ok(&[][..]), "nothing is always there");
    }

    #[test]
    fn lengths_near_the_largest_number_do_not_wrap() {
        let mut cursor = Cursor::new(&[0; 16]);
        assert!(cursor.take(8).is_ok());
        for need in [9, 1 << 32, 1 << 61, u64::MAX - 7, u64::MAX] {
            let told = cursor.take(need).expect_err("past the end");
            assert_eq!((told.at, told.need, told.left), (8, need, 8));
        }
    }
}
