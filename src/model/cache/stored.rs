//! The rows of a cache as bytes, for a file: whole blocks, one behind the other, numbers little-endian.
//!
//! ```text
//! f16, f32   (64, width)
//! latent     words, scales       kernels/src/op/latent.rs; bytes as this instruction set has them
//! ```
//!
//! What of the last block belongs to no token is written as it is, and is forgotten when it is read.

use std::io::{self, Write};
use std::sync::Arc;

use super::{BLOCK, Block, Cache};
use crate::error::Result;
use wattle_kernels::latent::Line;

impl Cache {
    /// Bytes of the first `n` rows; `None` where no machine has so many.
    pub(crate) fn stored_bytes(&self, n: usize) -> Option<usize> {
        self.layout.block_bytes()?.checked_mul(n.div_ceil(BLOCK))
    }

    /// Writes the first `n` rows.
    pub(crate) fn store(&self, n: usize, out: &mut dyn Write) -> io::Result<()> {
        assert!(n <= self.len, "{n} of {} rows", self.len);
        for block in &self.blocks[..n.div_ceil(BLOCK)] {
            block.write(out)?;
        }
        Ok(())
    }

    /// Takes `n` rows from their bytes in the place of all that it holds. On an error it is as before.
    pub(crate) fn restore(&mut self, n: usize, bytes: &[u8]) -> Result<()> {
        assert_eq!(
            Some(bytes.len()),
            self.stored_bytes(n),
            "rows of this cache"
        );
        let mut restored = Self::new(self.layout, self.capacity)?;
        if n > 0 {
            let each = bytes.len() / n.div_ceil(BLOCK);
            for bytes in bytes.chunks_exact(each) {
                let mut block = Block::new(self.layout)?;
                block.read(bytes);
                restored.blocks.push(Arc::new(block));
            }
        }
        restored.len = n;
        restored.stale = !n.is_multiple_of(BLOCK);
        *self = restored;
        Ok(())
    }
}

impl Block {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::F16(rows) => numbers(rows, |x| x.to_le_bytes(), out),
            Self::F32(rows) => numbers(rows, |x| x.to_le_bytes(), out),
            Self::Latent(words, scales) => {
                words.iter().try_for_each(|line| out.write_all(&line.0))?;
                numbers(scales, |x| x.to_le_bytes(), out)
            }
        }
    }

    /// Takes its rows from as many bytes.
    fn read(&mut self, bytes: &[u8]) {
        match self {
            Self::F16(rows) => {
                let bytes = bytes.as_chunks().0.iter();
                rows.iter_mut()
                    .zip(bytes)
                    .for_each(|(x, bytes)| *x = u16::from_le_bytes(*bytes));
            }
            Self::F32(rows) => floats(rows, bytes),
            Self::Latent(words, scales) => {
                let (of_words, of_scales) = bytes.split_at(size_of_val::<[Line]>(words));
                for (line, bytes) in words.iter_mut().zip(of_words.as_chunks().0) {
                    line.0 = *bytes;
                }
                floats(scales, of_scales);
            }
        }
    }
}

fn floats(out: &mut [f32], bytes: &[u8]) {
    for (x, bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
        *x = f32::from_le_bytes(*bytes);
    }
}

/// Writes numbers through a piece of the stack.
fn numbers<T: Copy, const N: usize>(
    numbers: &[T],
    bytes: impl Fn(T) -> [u8; N],
    out: &mut dyn Write,
) -> io::Result<()> {
    const PIECE: usize = 1 << 12;
    let mut piece = [0; PIECE];
    for numbers in numbers.chunks(PIECE / N) {
        for (place, x) in piece.as_chunks_mut().0.iter_mut().zip(numbers) {
            *place = bytes(*x);
        }
        out.write_all(&piece[..N * numbers.len()])?;
    }
    Ok(())
}
