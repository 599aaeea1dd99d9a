//! Random weights in every format.

use wattle_kernels::Format;

/// A small generator (splitmix64): tests repeat exactly.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From -1 to 1.
    pub(crate) fn float(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    /// From -1 to 1, now and then twenty times as large: activations have outliers.
    pub(crate) fn floats(&mut self, n: usize) -> Vec<f32> {
        (0..n)
            .map(|_| {
                if self.next().is_multiple_of(40) {
                    20.0 * self.float()
                } else {
                    self.float()
                }
            })
            .collect()
    }
}

/// Rows of random bytes, with scales from 2^-7 to 2^-5, of either sign.
pub(crate) fn rows_of(format: Format, rows: usize, cols: usize, rng: &mut Rng) -> Vec<u8> {
    let bytes = rows * cols / format.block() * format.block_bytes();
    let mut out: Vec<u8> = (0..bytes).map(|_| rng.next() as u8).collect();
    // Where the f16 lie in a block.
    let halves: &[usize] = match format {
        Format::Q4_0 | Format::Q5_0 | Format::Q8_0 | Format::Iq4Nl | Format::Iq4Xs => &[0],
        Format::Q4_1 | Format::Q5_1 | Format::Q4K | Format::Q5K => &[0, 2],
        Format::Q2K => &[80, 82],
        Format::Q3K => &[108],
        Format::Q6K => &[208],
        Format::F32 | Format::F16 | Format::Bf16 | Format::Mxfp4 => &[],
    };
    for block in out.chunks_exact_mut(format.block_bytes()) {
        for at in halves {
            block[at + 1] = block[at + 1] & 0x83 | 0x20;
        }
        match format {
            Format::F32 => block.copy_from_slice(&rng.float().to_le_bytes()),
            Format::F16 => block[1] = block[1] & 0x87 | 0x28,
            Format::Bf16 => block[1] = block[1] & 0x80 | 0x3d,
            Format::Mxfp4 => block[0] = 120 + block[0] % 4,
            _ => {}
        }
    }
    out
}
