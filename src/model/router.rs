//! Which experts a token uses, and with what weight.

use super::weights::{Gating, RouterRule};

/// An expert chosen for a token.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Choice {
    /// Index of the expert.
    pub(crate) expert: usize,
    /// Factor on its output.
    pub(crate) weight: f32,
}

/// Chooses experts for one token from the router's scores, `(experts)`, which are overwritten with probabilities.
///
/// `ranks` is scratch of the same length; `chosen` has one place an expert used, and is filled in falling order of rank.
///
/// 1. `p = softmax(scores)` or `sigmoid(scores)`, and `rank = p + bias`: the bias steers the choice, not the weight.
/// 2. With groups, only the experts of the best `groups_used` groups remain. A group is as good as its best expert under
///    softmax (DeepSeek-V2, section 2.2.2), as the sum of its two best under sigmoid (DeepSeek-V3, section 2.1.2).
/// 3. The best `used` ranks are chosen, the lower index first among equals; the weights are their `p`, divided by their sum
///    if the model says so, times its scale.
pub(crate) fn route(
    rule: &RouterRule,
    bias: Option<&[f32]>,
    scores: &mut [f32],
    ranks: &mut [f32],
    chosen: &mut [Choice],
) {
    match rule.gating {
        Gating::Softmax => softmax(scores),
        Gating::Sigmoid => scores
            .iter_mut()
            .for_each(|z| *z = 1.0 / (1.0 + (-*z).exp())),
        Gating::SoftmaxOfChosen => {}
    }
    ranks.copy_from_slice(scores);
    if let Some(bias) = bias {
        ranks.iter_mut().zip(bias).for_each(|(r, b)| *r += b);
    }
    // Minus infinity means "not to be had" below; whatever else does not compare is merely last, so that the experts of a
    // token are always distinct.
    ranks
        .iter_mut()
        .filter(|r| r.is_nan() || **r == f32::NEG_INFINITY)
        .for_each(|r| *r = f32::MIN);
    if rule.groups > 1 {
        keep_best_groups(rule, ranks);
    }
    for choice in chosen.iter_mut() {
        let expert = best(ranks);
        ranks[expert] = f32::NEG_INFINITY;
        *choice = Choice {
            expert,
            weight: scores[expert],
        };
    }
    weigh(rule, chosen);
}

/// Turns the probabilities of the chosen experts into weights.
fn weigh(rule: &RouterRule, chosen: &mut [Choice]) {
    if rule.gating == Gating::SoftmaxOfChosen {
        let top = chosen
            .iter()
            .fold(f32::NEG_INFINITY, |m, c| m.max(c.weight));
        chosen
            .iter_mut()
            .for_each(|c| c.weight = (c.weight - top).exp());
        let sum: f32 = chosen.iter().map(|c| c.weight).sum();
        chosen.iter_mut().for_each(|c| c.weight /= sum);
    }
    let mut factor = rule.scale;
    if rule.normalise {
        factor /= chosen.iter().map(|c| c.weight).sum::<f32>() + 1e-20;
    }
    chosen.iter_mut().for_each(|c| c.weight *= factor);
}

/// Sets the ranks of all but the best groups to minus infinity.
fn keep_best_groups(rule: &RouterRule, ranks: &mut [f32]) {
    let size = ranks.len() / rule.groups;
    let mut worth = [f32::NEG_INFINITY; MAX_GROUPS];
    let worth = &mut worth[..rule.groups];
    for (worth, group) in worth.iter_mut().zip(ranks.chunks_exact(size)) {
        let mut top = [f32::NEG_INFINITY; 2];
        for &rank in group {
            if rank > top[0] {
                top = [rank, top[0]];
            } else if rank > top[1] {
                top[1] = rank;
            }
        }
        // Two of the least ranks add up to minus infinity, which would mean that the group is chosen already.
        *worth = match rule.gating {
            Gating::Sigmoid if size > 1 => (top[0] + top[1]).max(f32::MIN),
            _ => top[0],
        };
    }
    let mut kept = [false; MAX_GROUPS];
    for _ in 0..rule.groups_used {
        let group = best(worth);
        worth[group] = f32::NEG_INFINITY;
        kept[group] = true;
    }
    for (group, kept) in ranks.chunks_exact_mut(size).zip(kept) {
        if !kept {
            group.fill(f32::NEG_INFINITY);
        }
    }
}

/// Most groups of experts that a model may have; recipes refuse more.
pub(crate) const MAX_GROUPS: usize = 64;

/// Index of the largest value, the first among equals; 0 when nothing compares.
fn best(values: &[f32]) -> usize {
    let mut best = 0;
    for (i, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = i;
        }
    }
    best
}

fn softmax(values: &mut [f32]) {
    let top = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for value in values.iter_mut() {
        *value = (*value - top).exp();
        sum += *value;
    }
    values.iter_mut().for_each(|v| *v /= sum);
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2_LITE: RouterRule = RouterRule {
        gating: Gating::Softmax,
        used: 2,
        groups: 1,
        groups_used: 1,
        normalise: false,
        scale: 1.0,
    };

    fn routed(rule: RouterRule, bias: Option<&[f32]>, scores: &[f32]) -> Vec<Choice> {
        let mut chosen = vec![Choice::default(); rule.used];
        let mut ranks = vec![0.0; scores.len()];
        route(&rule, bias, &mut scores.to_vec(), &mut ranks, &mut chosen);
        chosen
    }

    #[test]
    fn softmax_weights_are_not_normalised() {
        let chosen = routed(V2_LITE, None, &[0.0, 2.0, 1.0, 0.0]);
        let sum: f32 = [0.0f32, 2.0, 1.0, 0.0].iter().map(|z| z.exp()).sum();
        assert_eq!([chosen[0].expert, chosen[1].expert], [1, 2]);
        assert!((chosen[0].weight - 2f32.exp() / sum).abs() < 1e-6);
    }

    #[test]
    fn bias_chooses_but_does_not_weigh() {
        let rule = RouterRule {
            gating: Gating::Sigmoid,
            used: 1,
            normalise: true,
            scale: 2.5,
            ..V2_LITE
        };
        let chosen = routed(rule, Some(&[0.0, 9.0, 0.0]), &[3.0, -3.0, 0.0]);
        assert_eq!(chosen[0].expert, 1);
        assert!(
            (chosen[0].weight - 2.5).abs() < 1e-6,
            "alone, its share is whole"
        );
    }

    #[test]
    fn groups_are_worth_their_best_or_their_two_best() {
        // Group 0 holds the best expert, group 1 the best pair.
        let scores = [2.0, -9.0, 1.5, 1.5];
        let v2 = RouterRule {
            groups: 2,
            ..V2_LITE
        };
        assert_eq!(routed(v2, None, &scores)[0].expert, 0);
        let v3 = RouterRule {
            gating: Gating::Sigmoid,
            ..v2
        };
        let chosen = routed(v3, None, &scores);
        assert_eq!([chosen[0].expert, chosen[1].expert], [2, 3]);
    }

    #[test]
    fn softmax_of_the_chosen_sums_to_the_scale() {
        let rule = RouterRule {
            gating: Gating::SoftmaxOfChosen,
            ..V2_LITE
        };
        let chosen = routed(rule, None, &[1.0, 3.0, 2.0]);
        let sum: f32 = chosen.iter().map(|c| c.weight).sum();
        assert!((sum - 1.0).abs() < 1e-6);
    }

    #[test]
    fn scores_that_do_not_compare_choose_distinct_experts() {
        let chosen = routed(V2_LITE, None, &[f32::NAN; 4]);
        assert_eq!([chosen[0].expert, chosen[1].expert], [0, 1]);
    }

    #[test]
    fn groups_that_do_not_compare_are_distinct_too() {
        let rule = RouterRule {
            gating: Gating::Sigmoid,
            used: 4,
            groups: 3,
            groups_used: 2,
            ..V2_LITE
        };
        for (scores, bias) in [(f32::NAN, 0.0), (0.0, f32::NEG_INFINITY), (0.0, -3e38)] {
            let chosen = routed(rule, Some(&[bias; 6]), &[scores; 6]);
            let mut experts: Vec<_> = chosen.iter().map(|choice| choice.expert).collect();
            experts.sort_unstable();
            assert_eq!(experts, [0, 1, 2, 3], "score {scores}, bias {bias}");
        }
    }
}
