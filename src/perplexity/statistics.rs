//! Means with their errors, as they are made value by value.
//!
//! With n values `x` of mean `m`, the error of the mean is `sqrt((mean(x^2) - m^2) / (n - 1))`, and of a function of it, `f(m)`,
//! that times `|f'(m)|`: `e^m` has the error `e^m` times it. Two means over the same positions rise and fall together; the
//! error of their difference is `sqrt(e_a^2 + e_b^2 - 2 cov)` with `cov = (mean(a b) - m_a m_b) / (n - 1)`. llama.cpp reports
//! its errors by the same formulas.

use core::fmt;

/// A number that was measured, and how far off it may be (one standard deviation); no error from fewer than two values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The number; NaN from no values at all.
    pub value: f64,
    /// Its standard deviation.
    pub error: Option<f64>,
}

impl Estimate {
    /// `f(self)` for a function with this value and this derivative.
    fn through(self, value: f64, derivative: f64) -> Self {
        Self {
            value,
            error: self.error.map(|error| error * derivative.abs()),
        }
    }

    /// `e` to this power.
    #[must_use]
    pub fn exp(self) -> Self {
        let value = self.value.exp();
        self.through(value, value)
    }

    /// The square root. That of 0 has no error.
    #[must_use]
    pub fn sqrt(self) -> Self {
        let value = self.value.sqrt();
        let mut root = self.through(value, 0.5 / value);
        root.error = root.error.filter(|error| error.is_finite());
        root
    }
}

/// `12.3456 +/- 0.1234`; `{:.6}` sets the digits of both.
impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(4);
        write!(f, "{:.digits$}", self.value)?;
        match self.error {
            Some(error) => write!(f, " +/- {error:.digits$}"),
            None => Ok(()),
        }
    }
}

/// The mean of values that come one by one.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Mean {
    count: usize,
    sum: f64,
    squares: f64,
}

impl Mean {
    /// Adds a value.
    pub fn add(&mut self, x: f64) {
        self.count += 1;
        self.sum += x;
        self.squares += x * x;
    }

    /// Values so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Their sum.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// The mean and its error.
    #[must_use]
    pub fn estimate(&self) -> Estimate {
        let n = self.count as f64;
        let value = self.sum / n;
        // Rounding may leave a variance of 0 a little below it.
        let variance = (self.squares / n - value * value).max(0.0);
        Estimate {
            value,
            error: (self.count > 1).then(|| (variance / (n - 1.0)).sqrt()),
        }
    }
}

/// The means of two values that come in pairs.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Pairs {
    a: Mean,
    b: Mean,
    products: f64,
}

impl Pairs {
    /// Adds a pair.
    pub fn add(&mut self, a: f64, b: f64) {
        self.a.add(a);
        self.b.add(b);
        self.products += a * b;
    }

    /// The first values.
    #[must_use]
    pub fn a(&self) -> &Mean {
        &self.a
    }

    /// The second values.
    #[must_use]
    pub fn b(&self) -> &Mean {
        &self.b
    }

    /// Mean of `a - b`, whose error knows that both were measured at the same places.
    #[must_use]
    pub fn difference(&self) -> Estimate {
        let (a, b) = (self.a.estimate(), self.b.estimate());
        let error = a.error.zip(b.error).map(|(error_a, error_b)| {
            let n = self.a.count as f64;
            let covariance = (self.products / n - a.value * b.value) / (n - 1.0);
            let variance = error_a * error_a + error_b * error_b - 2.0 * covariance;
            variance.max(0.0).sqrt()
        });
        Estimate {
            value: a.value - b.value,
            error,
        }
    }
}

/// The value below which `fraction` of `sorted` lies, between neighbours in proportion; `None` of nothing.
#[must_use]
pub fn percentile(sorted: &[f64], fraction: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let place = fraction.clamp(0.0, 1.0) * last as f64;
    let below = place as usize;
    let part = place - below as f64;
    Some((1.0 - part) * sorted[below] + part * sorted[(below + 1).min(last)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) {
        assert!((a - b).abs() <= 1e-12 * b.abs().max(1.0), "{a} is not {b}");
    }

    fn mean(values: &[f64]) -> Mean {
        let mut mean = Mean::default();
        values.iter().for_each(|&x| mean.add(x));
        mean
    }

    #[test]
    fn the_error_of_a_mean_is_that_of_the_textbook() {
        // Deviations -3, -1, 1, 3: variance 5, over n - 1 = 3.
        let estimate = mean(&[1.0, 3.0, 5.0, 7.0]).estimate();
        near(estimate.value, 4.0);
        near(estimate.error.unwrap(), (5.0f64 / 3.0).sqrt());
        let power = estimate.exp();
        near(power.value, 4f64.exp());
        near(power.error.unwrap(), 4f64.exp() * (5.0f64 / 3.0).sqrt());
        let root = estimate.sqrt();
        near(root.value, 2.0);
        near(root.error.unwrap(), 0.25 * (5.0f64 / 3.0).sqrt());
    }

    #[test]
    fn few_or_equal_values_have_no_error_or_none_to_speak_of() {
        assert!(mean(&[]).estimate().value.is_nan());
        assert_eq!(mean(&[]).estimate().error, None);
        assert_eq!(mean(&[2.0]).estimate().error, None);
        // The square root of a rounding error of 1e-17.
        assert!(mean(&[0.1; 7]).estimate().error.unwrap() < 1e-8);
        assert_eq!(mean(&[0.0; 3]).estimate().sqrt().error, None);
    }

    #[test]
    fn what_moves_together_has_a_sharper_difference() {
        let mut pairs = Pairs::default();
        for (i, a) in [0.5, 4.0, 2.5, 9.0].into_iter().enumerate() {
            pairs.add(a, a - 1.0 - 0.01 * i as f64);
        }
        let difference = pairs.difference();
        near(difference.value, 1.015);
        // The same as the error of the mean of the differences 1, 1.01, 1.02, 1.03.
        let direct = mean(&[1.0, 1.01, 1.02, 1.03]).estimate().error.unwrap();
        assert!((difference.error.unwrap() - direct).abs() < 1e-9);
        assert!(pairs.a().estimate().error.unwrap() > 100.0 * direct);
    }

    #[test]
    fn percentiles_lie_between_neighbours() {
        let sorted = [1.0, 2.0, 4.0, 8.0, 16.0];
        for (fraction, expected) in [
            (0.0, 1.0),
            (0.5, 4.0),
            (0.25, 2.0),
            (0.9, 12.8),
            (1.0, 16.0),
            (2.0, 16.0),
        ] {
            near(percentile(&sorted, fraction).unwrap(), expected);
        }
        assert_eq!(percentile(&[3.0], 0.999), Some(3.0));
        assert_eq!(percentile(&[], 0.5), None);
    }

    #[test]
    fn an_estimate_reads_well() {
        let estimate = Estimate {
            value: 12.345_67,
            error: Some(0.012_34),
        };
        assert_eq!(estimate.to_string(), "12.3457 +/- 0.0123");
        assert_eq!(format!("{estimate:.1}"), "12.3 +/- 0.0");
        let alone = Estimate {
            error: None,
            ..estimate
        };
        assert_eq!(alone.to_string(), "12.3457");
    }
}
