//! Reading memory and doing next to nothing with it: the yardstick that a decode is held against.
//!
//! Decoding a token reads every weight once, so the fastest that it can be is the rate at which these threads get bytes out
//! of memory at all. Eight registers take the bitwise or of all blocks, 32 bytes an instruction: far less work than any
//! product does with its bytes, so that only the memory is measured, and still a result that depends on every byte.

use crate::Isa;
use crate::simd::{Simd, SimdOp};

/// Reads all of `bytes` once, front to back. The sum of the 32 signed bytes that the bitwise or of all blocks of 32 gives
/// (the last one filled up with zeros): of no use but to prove that everything was read.
///
/// ```
/// let two_blocks = [1u8; 64];
/// assert_eq!(wattle_kernels::read_all(wattle_kernels::Isa::best(), &two_blocks), 32.0);
/// ```
pub fn read_all(isa: Isa, bytes: &[u8]) -> f32 {
    isa.dispatch(ReadAll(bytes))
}

struct ReadAll<'a>(&'a [u8]);

impl SimdOp for ReadAll<'_> {
    type Output = f32;

    #[inline(always)]
    fn eval<S: Simd>(self, s: S) -> f32 {
        let (blocks, tail) = self.0.as_chunks::<32>();
        let (eights, ones) = blocks.as_chunks::<8>();
        let mut seen = [s.splat_b(0); 8];
        for eight in eights {
            for k in 0..8 {
                seen[k] = s.or(seen[k], s.bytes(&eight[k]));
            }
        }
        for (block, seen) in ones.iter().zip(&mut seen) {
            *seen = s.or(*seen, s.bytes(block));
        }
        let mut last = [0; 32];
        last[..tail.len()].copy_from_slice(tail);
        let mut all = s.bytes(&last);
        for seen in seen {
            all = s.or(all, seen);
        }
        let sum = s.dot_i8(all, s.acts(&[1; 32]));
        s.sum_a(s.mac(s.zero(), sum, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    /// The same, a byte at a time.
    fn plainly(bytes: &[u8]) -> i32 {
        let mut seen = [0_u8; 32];
        for (i, byte) in bytes.iter().enumerate() {
            seen[i % 32] |= byte;
        }
        seen.iter().map(|&byte| i32::from(byte as i8)).sum()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn every_byte_is_read(len in 0..700_usize, at in any::<prop::sample::Index>(), byte in 1_u8..) {
            let mut bytes = std::vec![0; len];
            if len > 0 {
                bytes[at.index(len)] = byte;
            }
            for isa in Isa::available() {
                prop_assert_eq!(read_all(isa, &bytes), plainly(&bytes) as f32);
            }
        }

        #[test]
        fn any_bytes_give_the_plain_answer(bytes in prop::collection::vec(any::<u8>(), 0..700)) {
            let bytes: Vec<u8> = bytes.iter().map(|b| b & 0x91).collect();
            for isa in Isa::available() {
                prop_assert_eq!(read_all(isa, &bytes), plainly(&bytes) as f32);
            }
        }
    }
}
