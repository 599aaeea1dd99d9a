//! Rotary position embedding: the frequencies of a model and the angles of a position.
//!
//! Dimension pair `i` of a head turns by `pos * theta_i`, with `theta_i = base^(-2i/d)` (Su et al. 2021, RoFormer).
//! Longer contexts than those trained are reached by dividing angles:
//! - *linear*: every angle by the factor;
//! - *YaRN* (Peng et al. 2023): low frequencies by the factor, high ones not at all, with a ramp between them;
//! - *factors*: each pair by a number from the file (the Llama 3.1 scaling is shipped like this), or by one of two, for sequences
//!   within the original context and for longer ones (Ding et al. 2024).

use std::f64::consts::TAU;

pub use wattle_kernels::RopeKind;

/// How positions beyond the trained context are reached.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scaling {
    /// Angles as trained.
    None,
    /// Every angle divided by `factor`.
    Linear {
        /// Context extension, at least 1 in practice.
        factor: f32,
    },
    /// YaRN.
    Yarn {
        /// Context extension.
        factor: f32,
        /// Context that the model was trained on before the extension.
        original_context: u32,
        /// Pairs that turn more often than this within the original context are left alone; usually 32.
        beta_fast: f32,
        /// Pairs that turn less often than this are divided by `factor`; usually 1.
        beta_slow: f32,
    },
}

impl Scaling {
    /// YaRN's `m(s) = 1 + weight * ln(s)` for `s > 1`, else 1: the growth of attention scores with the extension.
    ///
    /// `weight` is `0.1 * mscale` in DeepSeek's notation, and 0.1 in the paper.
    #[must_use]
    pub fn magnitude(&self, weight: f32) -> f32 {
        match *self {
            Self::Yarn { factor, .. } if factor > 1.0 => 1.0 + weight * factor.ln(),
            _ => 1.0,
        }
    }
}

/// The rotary embedding of one model.
#[derive(Debug, Clone)]
pub struct Rope {
    kind: RopeKind,
    /// Radians per position of each pair, `(dims / 2)`.
    frequency: Box<[f32]>,
    /// Factor on every cosine and sine.
    magnitude: f32,
    /// What takes the place of all this in sequences with room for more tokens than the first.
    long: Option<(usize, Box<Self>)>,
}

impl Rope {
    /// The frequencies for `dims` rotated dimensions (an even number) of base `base`.
    ///
    /// `factors`, when given, holds `dims / 2` divisors. `magnitude` scales cosines and sines.
    #[must_use]
    pub fn new(
        kind: RopeKind,
        dims: usize,
        base: f32,
        scaling: Scaling,
        factors: Option<&[f32]>,
        magnitude: f32,
    ) -> Self {
        let pairs = dims / 2;
        let base = f64::from(base);
        let frequency = (0..pairs)
            .map(|i| {
                let theta = base.powf(-2.0 * i as f64 / dims as f64);
                let theta = match scaling {
                    Scaling::None => theta,
                    Scaling::Linear { factor } => theta / f64::from(factor),
                    Scaling::Yarn {
                        factor,
                        original_context,
                        beta_fast,
                        beta_slow,
                    } => {
                        let betas = (f64::from(beta_fast), f64::from(beta_slow));
                        let r = yarn_ramp(i, dims, base, f64::from(original_context), betas);
                        theta * (r / f64::from(factor) + (1.0 - r))
                    }
                };
                (theta / factors.map_or(1.0, |f| f64::from(f[i]))) as f32
            })
            .collect();
        Self {
            kind,
            frequency,
            magnitude,
            long: None,
        }
    }

    /// As it is for sequences with room for at most `original` tokens, and `long` for others. Both have as many pairs.
    ///
    /// # Panics
    /// When they have not.
    #[must_use]
    pub fn beyond(mut self, original: usize, long: Self) -> Self {
        assert_eq!(self.pairs(), long.pairs(), "one head, rotated in two ways");
        self.long = Some((original, Box::new(long)));
        self
    }

    /// The embedding of sequences with room for `context` tokens. It may not change on the way: keys in a cache stay as they are.
    pub(crate) fn of_context(&self, context: usize) -> &Self {
        match &self.long {
            Some((original, long)) if context > *original => long,
            _ => self,
        }
    }

    /// Whether sequences with room for `context` tokens have frequencies of their own.
    pub(crate) fn is_long(&self, context: usize) -> bool {
        self.long
            .as_ref()
            .is_some_and(|(original, _)| context > *original)
    }

    /// How dimensions pair up.
    #[must_use]
    pub fn kind(&self) -> RopeKind {
        self.kind
    }

    /// Number of rotated pairs.
    #[must_use]
    pub fn pairs(&self) -> usize {
        self.frequency.len()
    }

    /// Cosines and sines of position `pos`, `(pairs)` each.
    pub fn angles(&self, pos: usize, cos: &mut [f32], sin: &mut [f32]) {
        for ((c, s), f) in cos.iter_mut().zip(sin).zip(&self.frequency) {
            let (sine, cosine) = (pos as f32 * f).sin_cos();
            *c = cosine * self.magnitude;
            *s = sine * self.magnitude;
        }
    }
}

impl Rope {
    /// Cosines and sines that turn a key back by `distance` positions, `(pairs)` each: without the factor, which a key has once.
    pub(crate) fn turn_back(&self, distance: usize, cos: &mut [f32], sin: &mut [f32]) {
        for ((c, s), f) in cos.iter_mut().zip(sin).zip(&self.frequency) {
            let (sine, cosine) = (distance as f32 * f).sin_cos();
            *c = cosine;
            *s = -sine;
        }
    }
}

/// Where pair `i` stands between "fast enough to be left alone" (0) and "divide by the factor" (1).
fn yarn_ramp(
    i: usize,
    dims: usize,
    base: f64,
    original_context: f64,
    (beta_fast, beta_slow): (f64, f64),
) -> f64 {
    let dims = dims as f64;
    let pair_with_turns =
        |turns: f64| dims * (original_context / (turns * TAU)).ln() / (2.0 * base.ln());
    let low = pair_with_turns(beta_fast).floor().max(0.0);
    let high = pair_with_turns(beta_slow).ceil().min(dims - 1.0);
    ((i as f64 - low) / (high - low).max(0.001)).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEEPSEEK: Scaling = Scaling::Yarn {
        factor: 40.0,
        original_context: 4096,
        beta_fast: 32.0,
        beta_slow: 1.0,
    };

    #[test]
    fn plain_frequencies_are_powers_of_the_base() {
        let rope = Rope::new(RopeKind::Norm, 8, 10_000.0, Scaling::None, None, 1.0);
        let want = [1.0, 0.1, 0.01, 0.001];
        for (f, w) in rope.frequency.iter().zip(want) {
            assert!((f - w).abs() < 1e-7, "{f} is not {w}");
        }
    }

    #[test]
    fn yarn_leaves_fast_pairs_and_divides_slow_ones() {
        let plain = Rope::new(RopeKind::Norm, 64, 10_000.0, Scaling::None, None, 1.0);
        let yarn = Rope::new(RopeKind::Norm, 64, 10_000.0, DEEPSEEK, None, 1.0);
        // DeepSeek-V2: pairs up to 10 stay, pairs from 23 on are divided by 40.
        for i in 0..=10 {
            assert_eq!(plain.frequency[i], yarn.frequency[i], "pair {i}");
        }
        for i in 23..32 {
            let ratio = plain.frequency[i] / yarn.frequency[i];
            assert!((ratio - 40.0).abs() < 1e-3, "pair {i}: {ratio}");
        }
    }

    #[test]
    fn equal_betas_make_the_ramp_a_step() {
        // Kimi-K2: both betas 1, dims 64, base 50000: pair 64 ln(4096 / 2 pi) / (2 ln 50000) = 19.2 is where it lies.
        let scaling = Scaling::Yarn {
            factor: 32.0,
            original_context: 4096,
            beta_fast: 1.0,
            beta_slow: 1.0,
        };
        let plain = Rope::new(RopeKind::Norm, 64, 50_000.0, Scaling::None, None, 1.0);
        let yarn = Rope::new(RopeKind::Norm, 64, 50_000.0, scaling, None, 1.0);
        for i in 0..32 {
            let ratio = plain.frequency[i] / yarn.frequency[i];
            let want = if i <= 19 { 1.0 } else { 32.0 };
            assert!((ratio - want).abs() < 1e-3, "pair {i}: {ratio}");
        }
    }

    #[test]
    fn long_sequences_have_frequencies_of_their_own() {
        let with = |factors: &[f32]| {
            Rope::new(RopeKind::Neox, 4, 100.0, Scaling::None, Some(factors), 1.0)
        };
        let rope = with(&[1.0, 2.0]).beyond(512, with(&[4.0, 8.0]));
        for (context, want) in [(1, [1.0, 0.05]), (512, [1.0, 0.05]), (513, [0.25, 0.0125])] {
            let frequency = &rope.of_context(context).frequency;
            for (f, want) in frequency.iter().zip(want) {
                assert!((f - want).abs() < 1e-7, "{context}: {f} is not {want}");
            }
        }
    }

    #[test]
    fn magnitude_is_the_published_softmax_correction() {
        let v2_lite = DEEPSEEK.magnitude(0.0707).powi(2) / 192f32.sqrt();
        assert!((v2_lite - 0.114_721).abs() < 1e-5, "{v2_lite}");
        let v3 = DEEPSEEK.magnitude(0.1).powi(2) / 192f32.sqrt();
        assert!((v3 - 0.135_234).abs() < 1e-5, "{v3}");
    }
}
