//! How much better than its group an answer is: what GRPO weighs each answer by.

/// `(R - mean) / std` of each reward in its group (Shao et al. 2024, `DeepSeekMath`, section 4.1.2).
///
/// The deviation is that of the population, `sqrt(mean((R - mean)^2))`: the group is all there is, and no estimate of more. In a group
/// whose rewards are equal no answer is better than another, and all advantages are 0.
#[must_use]
pub fn advantages(rewards: &[f64]) -> Vec<f64> {
    let n = rewards.len() as f64;
    // Rewards near the ends of f64 would overflow in a sum of squares.
    let largest = rewards.iter().fold(0.0_f64, |m, r| m.max(r.abs()));
    let same = rewards
        .windows(2)
        .all(|pair| pair[0].total_cmp(&pair[1]).is_eq());
    if same || largest == 0.0 {
        return vec![0.0; rewards.len()];
    }
    let scaled = || rewards.iter().map(|r| r / largest);
    let mean = scaled().sum::<f64>() / n;
    let variance = scaled().map(|r| (r - mean) * (r - mean)).sum::<f64>() / n;
    if variance == 0.0 {
        return vec![0.0; rewards.len()];
    }
    scaled().map(|r| (r - mean) / variance.sqrt()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advantages_have_mean_0_and_deviation_1() {
        let got = advantages(&[1.0, 0.0, 0.0, 1.0, 2.0, -1.0]);
        assert!(got.iter().sum::<f64>().abs() < 1e-12);
        let squares = got.iter().map(|a| a * a).sum::<f64>();
        assert!((squares / 6.0 - 1.0).abs() < 1e-12);
        assert_eq!(advantages(&[1.0, 0.0]), [1.0, -1.0]);
        assert_eq!(advantages(&[1e308, -1e308]), [1.0, -1.0]);
    }

    #[test]
    fn equal_rewards_are_no_advantage() {
        assert_eq!(advantages(&[0.1; 7]), [0.0; 7]);
        assert_eq!(advantages(&[0.0; 3]), [0.0; 3]);
        assert_eq!(advantages(&[5.0]), [0.0]);
        assert_eq!(advantages(&[]), [0.0; 0]);
        assert_eq!(advantages(&[0.0, 5e-324]), [-1.0, 1.0]);
    }
}
