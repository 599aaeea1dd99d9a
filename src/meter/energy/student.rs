//! The confidence interval of a mean of few numbers (Student's t).

/// The 0.975 quantile of Student's t for 1 to 30 degrees of freedom.
const T: [f64; 30] = [
    12.706_204_736,
    4.302_652_730,
    3.182_446_305,
    2.776_445_105,
    2.570_581_836,
    2.446_911_851,
    2.364_624_252,
    2.306_004_135,
    2.262_157_163,
    2.228_138_852,
    2.200_985_160,
    2.178_812_830,
    2.160_368_656,
    2.144_786_688,
    2.131_449_546,
    2.119_905_299,
    2.109_815_578,
    2.100_922_040,
    2.093_024_054,
    2.085_963_447,
    2.079_613_845,
    2.073_873_068,
    2.068_657_610,
    2.063_898_562,
    2.059_538_553,
    2.055_529_439,
    2.051_830_516,
    2.048_407_142,
    2.045_229_642,
    2.042_272_456,
];
/// The same of the normal distribution, and the first terms of its expansion in 1 / degrees (Abramowitz and Stegun 26.7.5).
const Z: f64 = 1.959_963_985;

/// Fewest numbers that an interval is given for.
pub(super) const FEWEST: usize = 3;

/// Half the width of the 95 % confidence interval of the mean of `numbers`; `None` for fewer than three.
#[must_use]
pub fn half_width_95(numbers: &[f64]) -> Option<f64> {
    let n = numbers.len();
    if n < FEWEST {
        return None;
    }
    let mean = numbers.iter().sum::<f64>() / n as f64;
    let squares: f64 = numbers.iter().map(|x| (x - mean) * (x - mean)).sum();
    let stddev = (squares / (n - 1) as f64).sqrt();
    Some(t(n - 1) * stddev / (n as f64).sqrt())
}

fn t(degrees: usize) -> f64 {
    if let Some(&t) = T.get(degrees.wrapping_sub(1)) {
        return t;
    }
    let v = degrees as f64;
    let z3 = Z.powi(3);
    Z + (z3 + Z) / (4.0 * v) + (5.0 * Z.powi(5) + 16.0 * z3 + 3.0 * Z) / (96.0 * v * v)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (degrees, expected) in [
            (2, 4.303),
            (4, 2.776),
            (30, 2.042),
            (40, 2.021),
            (120, 1.980),
        ] {
            assert!(
                (t(degrees) - expected).abs() < 6e-4,
                "{degrees}: {}",
                t(degrees)
            );
        }
        assert!(
            (t(31) - T[29]).abs() < 3e-3 && t(31) < T[29],
            "the two meet"
        );
    }

    #[test]
    fn two_numbers_have_no_interval() {
        assert_eq!(half_width_95(&[1.0, 2.0]), None);
        // 4.3027 * 1 / sqrt(3)
        let half = half_width_95(&[1.0, 2.0, 3.0]).expect("three");
        assert!((half - 2.484_138).abs() < 1e-5, "{half}");
    }
}
