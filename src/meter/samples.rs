//! Repetitions of one measurement, and what they say together.
//!
//! A busy machine makes single runs slow and none fast, so that the median says more than the mean; the mean and its standard
//! deviation are there because llama-bench gives them.

/// The times of repetitions that each worked on the same number of tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Samples {
    tokens: usize,
    ns: Vec<u64>,
}

impl Samples {
    /// No repetition yet, of `tokens` tokens each.
    #[must_use]
    pub fn new(tokens: usize) -> Self {
        Self {
            tokens,
            ns: Vec::new(),
        }
    }

    /// Adds the time of a repetition, at least a nanosecond.
    pub fn push(&mut self, ns: u64) {
        self.ns.push(ns.max(1));
    }

    /// The times, in the order of the repetitions.
    #[must_use]
    pub fn ns(&self) -> &[u64] {
        &self.ns
    }

    /// Their distribution, in nanoseconds; `None` without a repetition.
    #[must_use]
    pub fn times(&self) -> Option<Spread> {
        let ns: Vec<f64> = self.ns.iter().map(|&ns| ns as f64).collect();
        Spread::of(&ns)
    }

    /// Tokens per second of each repetition.
    #[must_use]
    pub fn rates(&self) -> Vec<f64> {
        let rate = |&ns: &u64| 1e9 * self.tokens as f64 / ns as f64;
        self.ns.iter().map(rate).collect()
    }

    /// Their distribution; `None` without a repetition.
    #[must_use]
    pub fn speed(&self) -> Option<Spread> {
        Spread::of(&self.rates())
    }
}

/// The distribution of some numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation, by `n - 1`; 0 of a single number.
    pub stddev: f64,
    /// The one in the middle, or the mean of the two there.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// The distribution of `numbers`; `None` when there are none.
    #[must_use]
    pub fn of(numbers: &[f64]) -> Option<Self> {
        let mut sorted = numbers.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let (&min, &max) = (sorted.first()?, sorted.last()?);
        let n = sorted.len();
        let mean = sorted.iter().sum::<f64>() / n as f64;
        let squares: f64 = sorted.iter().map(|x| (x - mean) * (x - mean)).sum();
        Some(Self {
            mean,
            stddev: match n {
                1 => 0.0,
                _ => (squares / (n - 1) as f64).sqrt(),
            },
            median: f64::midpoint(sorted[(n - 1) / 2], sorted[n / 2]),
            min,
            max,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_known_distribution() {
        let spread = Spread::of(&[2.0, 9.0, 4.0, 4.0, 7.0, 4.0, 5.0, 5.0]).expect("numbers");
        assert_eq!((spread.mean, spread.median), (5.0, 4.5));
        assert_eq!((spread.min, spread.max), (2.0, 9.0));
        // 32 / 7
        assert!((spread.stddev - 2.138_089_935_299_395).abs() < 1e-12);
        let odd = Spread::of(&[3.0, 1.0, 10.0]).expect("numbers");
        assert_eq!(odd.median, 3.0);
    }

    #[test]
    fn one_repetition_has_no_deviation_and_none_says_nothing() {
        let one = Spread::of(&[3.5]).expect("a number");
        assert_eq!((one.mean, one.stddev, one.median), (3.5, 0.0, 3.5));
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(Samples::new(4).speed(), None);
    }

    #[test]
    fn rates_are_tokens_over_seconds() {
        let mut samples = Samples::new(128);
        samples.push(2_000_000_000);
        samples.push(0);
        assert_eq!(samples.rates(), [64.0, 128e9]);
        assert_eq!(samples.ns(), [2_000_000_000, 1]);
        assert_eq!(samples.times().map(|times| times.max), Some(2e9));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn middle_and_mean_lie_between_the_ends(numbers in prop::collection::vec(0.1..1e6_f64, 1..20)) {
            let spread = Spread::of(&numbers).expect("numbers");
            for x in [spread.mean, spread.median] {
                prop_assert!(x >= spread.min * (1.0 - 1e-12) && x <= spread.max * (1.0 + 1e-12));
            }
            prop_assert!(spread.stddev <= spread.max - spread.min + 1e-6);
        }
    }
}
