//! The random numbers of the sampler: PCG-XSH-RR 64/32 (M. E. O'Neill, "PCG: a family of simple fast space-efficient
//! statistically good algorithms for random number generation", 2014, figure 6.4 and the `pcg32` of its minimal library).
//!
//! ```text
//! state' = state * 6364136223846793005 + increment          (mod 2^64, increment odd)
//! output = rotate_right32((state ^ state >> 18) >> 27, state >> 59)
//! ```
//!
//! Our own, in twenty lines, because a text must follow from its seed for ever: a crate may change its generator between
//! versions, this one is pinned by the paper's test vectors below. It is not for secrets.

/// A stream of random numbers that depends on its seed alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pcg32 {
    state: u64,
    increment: u64,
}

impl Pcg32 {
    const MULTIPLIER: u64 = 6_364_136_223_846_793_005;

    /// The generator of `seed` on the stream that every sampler of this crate uses.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::on_stream(seed, 54)
    }

    /// The generator of `seed` on one of 2^63 independent streams.
    #[must_use]
    pub fn on_stream(seed: u64, stream: u64) -> Self {
        let mut rng = Self {
            state: 0,
            increment: stream << 1 | 1,
        };
        rng.next_u32();
        rng.state = rng.state.wrapping_add(seed);
        rng.next_u32();
        rng
    }

    /// 32 uniform bits.
    pub fn next_u32(&mut self) -> u32 {
        let state = self.state;
        self.state = state
            .wrapping_mul(Self::MULTIPLIER)
            .wrapping_add(self.increment);
        let mixed = ((state ^ state >> 18) >> 27) as u32;
        mixed.rotate_right((state >> 59) as u32)
    }

    /// Uniform in [0, 1), a multiple of 2^-53.
    pub fn next_unit(&mut self) -> f64 {
        let high = u64::from(self.next_u32()) << 32;
        let bits = high | u64::from(self.next_u32());
        (bits >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_published_test_vector() {
        let mut rng = Pcg32::on_stream(42, 54);
        let first: Vec<u32> = (0..6).map(|_| rng.next_u32()).collect();
        assert_eq!(
            first,
            [
                0xa15c_02b7,
                0x7b47_f409,
                0xba1d_3330,
                0x83d2_f293,
                0xbfa4_784b,
                0xcbed_606e
            ]
        );
    }

    #[test]
    fn unit_numbers_fill_the_unit_interval() {
        let mut rng = Pcg32::new(7);
        let drawn: Vec<f64> = (0..10_000).map(|_| rng.next_unit()).collect();
        assert!(
            drawn.iter().all(|u| (0.0..1.0).contains(u)),
            "a number left [0, 1)"
        );
        let mean = drawn.iter().sum::<f64>() / drawn.len() as f64;
        // The standard error of the mean is 1 / sqrt(12 * 10000) = 0.0029.
        assert!((mean - 0.5).abs() < 0.01, "mean {mean}");
    }
}
