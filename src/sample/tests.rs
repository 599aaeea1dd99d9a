//! The chain against a plain oracle: whole-vocabulary sorts, one filter after the other, in f64.

use super::*;
use proptest::prelude::*;

/// The distribution by the definitions of the module head: (id, probability), best first.
fn oracle(logits: &[f32], options: &SamplerOptions, text: &[u32]) -> Vec<(u32, f64)> {
    let recent = &text[text.len().saturating_sub(options.repeat_last_n)..];
    let mut left: Vec<(u32, f32)> = (0u32..).zip(logits.iter().copied()).collect();
    for (id, logit) in &mut left {
        if recent.contains(id) && *logit > 0.0 {
            *logit /= options.repeat_penalty;
        } else if recent.contains(id) {
            *logit *= options.repeat_penalty;
        }
    }
    left.retain(|(_, logit)| logit.is_finite());
    left.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    if options.temp <= 0.0 {
        return vec![(left[0].0, 1.0)];
    }
    if options.top_k > 0 {
        left.truncate(options.top_k);
    }
    if options.top_p < 1.0 {
        let mut sum = 0.0;
        let kept = shares(&left, 1.0).iter().position(|p| {
            sum += p;
            sum >= f64::from(options.top_p)
        });
        left.truncate(kept.map_or(left.len(), |last| last + 1));
    }
    if options.min_p > 0.0 {
        let least = left[0].1 + options.min_p.ln();
        left.retain(|&(_, logit)| logit >= least);
    }
    let shares = shares(&left, options.temp);
    left.iter().map(|&(id, _)| id).zip(shares).collect()
}

fn shares(left: &[(u32, f32)], temp: f32) -> Vec<f64> {
    let weight = |logit: f32| ((f64::from(logit) - f64::from(left[0].1)) / f64::from(temp)).exp();
    let total: f64 = left.iter().map(|&(_, logit)| weight(logit)).sum();
    left.iter()
        .map(|&(_, logit)| weight(logit) / total)
        .collect()
}

fn sampler(n_vocab: usize, options: &SamplerOptions) -> Sampler {
    Sampler::new(n_vocab, options).unwrap()
}

fn off() -> SamplerOptions {
    SamplerOptions {
        temp: 1.0,
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        repeat_penalty: 1.0,
        repeat_last_n: 64,
        seed: Some(1),
    }
}

fn ids(kept: &[Candidate]) -> Vec<u32> {
    kept.iter().map(|candidate| candidate.id).collect()
}

fn some_options() -> impl Strategy<Value = SamplerOptions> {
    (
        prop_oneof![Just(0.0f32), 0.2f32..3.0],
        prop_oneof![Just(0usize), 1usize..12, Just(1000)],
        prop_oneof![Just(1.0f32), Just(0.0), 0.05f32..1.0],
        prop_oneof![Just(0.0f32), 0.001f32..1.0],
        prop_oneof![Just(1.0f32), 0.5f32..2.0],
        0usize..6,
        any::<u64>(),
    )
        .prop_map(
            |(temp, top_k, top_p, min_p, repeat_penalty, repeat_last_n, seed)| SamplerOptions {
                temp,
                top_k,
                top_p,
                min_p,
                repeat_penalty,
                repeat_last_n,
                seed: Some(seed),
            },
        )
}

/// Vocabularies past and below the first piece that `top_p` sorts, with equal logits among them.
fn some_logits() -> impl Strategy<Value = Vec<f32>> {
    let logit = prop_oneof![
        8 => -6.0f32..6.0,
        2 => (-4i8..4).prop_map(f32::from),
        1 => Just(f32::NEG_INFINITY),
    ];
    prop_oneof![
        prop::collection::vec(logit.clone(), 1..40),
        prop::collection::vec(logit, 300..1500),
    ]
    .prop_map(|mut logits| {
        logits[0] = 1.5; // never nothing but minus infinity
        logits
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_chain_is_the_oracle(
        logits in some_logits(),
        options in some_options(),
        text in prop::collection::vec(0u32..40, 0..10),
    ) {
        let mut sampler = sampler(logits.len(), &options);
        for &id in &text {
            sampler.accept(id);
        }
        let wanted = oracle(&logits, &options, &text);
        let got = sampler.candidates(&logits).unwrap().to_vec();
        prop_assert_eq!(ids(&got), wanted.iter().map(|&(id, _)| id).collect::<Vec<_>>());
        for (candidate, (_, p)) in got.iter().zip(&wanted) {
            prop_assert!((candidate.p - p).abs() < 1e-12, "{} against {}", candidate.p, p);
        }
        prop_assert!((got.iter().map(|candidate| candidate.p).sum::<f64>() - 1.0).abs() < 1e-12);
        // Whatever is drawn is one of them.
        let drawn = sampler.sample(&logits).unwrap();
        prop_assert!(ids(&got).contains(&drawn));
    }

    #[test]
    fn the_same_seed_draws_the_same_text(logits in some_logits(), options in some_options()) {
        let draw = |sampler: &mut Sampler| -> Vec<u32> {
            (0..20)
                .map(|_| {
                    let id = sampler.sample(&logits).unwrap();
                    sampler.accept(id);
                    id
                })
                .collect()
        };
        let mut one = sampler(logits.len(), &options);
        let text = draw(&mut one);
        prop_assert_eq!(&text, &draw(&mut sampler(logits.len(), &options)));
        one.reset();
        prop_assert_eq!(&text, &draw(&mut one));
    }

    #[test]
    fn one_candidate_is_greedy(logits in some_logits(), seed: u64) {
        let greedy = sampler(logits.len(), &SamplerOptions::greedy()).sample(&logits).unwrap();
        for options in [
            SamplerOptions { top_k: 1, ..off() },
            SamplerOptions { top_p: 0.0, ..off() },
        ] {
            let options = SamplerOptions { seed: Some(seed), ..options };
            prop_assert_eq!(sampler(logits.len(), &options).sample(&logits).unwrap(), greedy);
        }
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let first = logits.iter().position(|&logit| logit == largest).unwrap();
        prop_assert_eq!(greedy as usize, first);
    }
}

#[test]
fn defaults_are_those_of_llama_cpp() {
    let options = SamplerOptions::default();
    assert_eq!(
        (options.temp, options.top_k, options.top_p, options.min_p),
        (0.8, 40, 0.95, 0.05)
    );
    assert_eq!((options.repeat_penalty, options.repeat_last_n), (1.0, 64));
}

#[test]
fn the_penalty_lowers_a_token_whatever_its_sign() {
    let options = SamplerOptions {
        repeat_penalty: 2.0,
        repeat_last_n: 2,
        ..off()
    };
    let mut sampler = sampler(4, &options);
    for id in [3, 0, 1] {
        sampler.accept(id); // 3 has left the window of two
    }
    let kept = sampler.candidates(&[3.0, -1.0, 0.5, 0.25]).unwrap();
    let logits: Vec<_> = kept.iter().map(|c| (c.id, c.logit)).collect();
    assert_eq!(logits, [(0, 1.5), (2, 0.5), (3, 0.25), (1, -2.0)]);
}

#[test]
fn the_penalty_counts_for_greedy_choice() {
    let options = SamplerOptions {
        repeat_penalty: 2.0,
        ..SamplerOptions::greedy()
    };
    let mut sampler = sampler(2, &options);
    assert_eq!(sampler.sample(&[3.0, 2.0]).unwrap(), 0);
    sampler.accept(0);
    assert_eq!(sampler.sample(&[3.0, 2.0]).unwrap(), 1);
}

/// 0.5, 0.3, 0.2 as probabilities.
fn three() -> [f32; 3] {
    [0.5f32.ln(), 0.3f32.ln(), 0.2f32.ln()]
}

#[test]
fn filters_see_the_distribution_before_the_temperature() {
    // At temperature 4 the first token holds less than 0.45, but top_p comes first and sees its 0.5.
    let options = SamplerOptions {
        temp: 4.0,
        top_p: 0.45,
        ..off()
    };
    assert_eq!(ids(sampler(3, &options).candidates(&three()).unwrap()), [0]);
    // At temperature 4 all three would pass min_p 0.5; before it, 0.2 < 0.5 * 0.5.
    let options = SamplerOptions {
        temp: 4.0,
        min_p: 0.5,
        ..off()
    };
    assert_eq!(
        ids(sampler(3, &options).candidates(&three()).unwrap()),
        [0, 1]
    );
}

#[test]
fn top_p_sees_what_top_k_left() {
    // Of the two tokens that top_k leaves the first holds 0.625, enough for 0.6; of all three it holds 0.5, which is not.
    let options = SamplerOptions {
        top_p: 0.6,
        ..off()
    };
    assert_eq!(
        ids(sampler(3, &options).candidates(&three()).unwrap()),
        [0, 1]
    );
    let options = SamplerOptions {
        top_k: 2,
        ..options
    };
    assert_eq!(ids(sampler(3, &options).candidates(&three()).unwrap()), [0]);
}

#[test]
fn draws_follow_the_probabilities() {
    let mut sampler = sampler(3, &off());
    let mut drawn = [0u32; 3];
    for _ in 0..20_000 {
        drawn[sampler.sample(&three()).unwrap() as usize] += 1;
    }
    for (count, p) in drawn.iter().zip([0.5, 0.3, 0.2]) {
        // Four standard errors: 4 * sqrt(0.25 / 20000) = 0.014.
        let share = f64::from(*count) / 20_000.0;
        assert!((share - p).abs() < 0.014, "{share} against {p}");
    }
}

#[test]
fn suppressed_tokens_never_come() {
    for options in [SamplerOptions::greedy(), off(), SamplerOptions::default()] {
        let mut sampler = sampler(3, &options);
        sampler.suppress([0, 2, 77]);
        for _ in 0..50 {
            assert_eq!(sampler.sample(&three()).unwrap(), 1);
        }
        sampler.suppress([1]);
        assert!(
            matches!(sampler.sample(&three()), Err(Error::Logits { .. })),
            "something came of nothing"
        );
    }
}

#[test]
fn broken_logits_are_errors() {
    for options in [SamplerOptions::greedy(), SamplerOptions::default(), off()] {
        for broken in [
            [0.0, f32::NAN, 1.0],
            [f32::INFINITY, 0.0, 1.0],
            [f32::NEG_INFINITY; 3],
        ] {
            assert!(
                matches!(
                    sampler(3, &options).sample(&broken),
                    Err(Error::Logits { .. })
                ),
                "{broken:?} was sampled"
            );
        }
    }
}

#[test]
fn huge_logits_stay_possible() {
    let options = SamplerOptions {
        repeat_penalty: 2.0,
        ..off()
    };
    let mut sampler = sampler(1, &options);
    sampler.accept(0);
    assert_eq!(sampler.sample(&[f32::MIN]).unwrap(), 0);
}

#[test]
fn options_out_of_range_name_their_flag() {
    let wrong = [
        (
            "--temp",
            SamplerOptions {
                temp: f32::NAN,
                ..off()
            },
        ),
        (
            "--top-p",
            SamplerOptions {
                top_p: 1.5,
                ..off()
            },
        ),
        (
            "--top-p",
            SamplerOptions {
                top_p: f32::NAN,
                ..off()
            },
        ),
        (
            "--min-p",
            SamplerOptions {
                min_p: -0.1,
                ..off()
            },
        ),
        (
            "--repeat-penalty",
            SamplerOptions {
                repeat_penalty: 0.0,
                ..off()
            },
        ),
        (
            "--repeat-penalty",
            SamplerOptions {
                repeat_penalty: f32::INFINITY,
                ..off()
            },
        ),
    ];
    for (flag, options) in wrong {
        match Sampler::new(3, &options) {
            Err(Error::Argument { name, .. }) => assert_eq!(name, flag),
            other => panic!("{options:?} gave {other:?}"),
        }
    }
}

#[test]
fn a_random_seed_can_be_asked_for_and_used_again() {
    let options = SamplerOptions {
        seed: None,
        ..off()
    };
    let mut first = sampler(3, &options);
    let again = SamplerOptions {
        seed: Some(first.seed()),
        ..off()
    };
    let mut second = sampler(3, &again);
    for _ in 0..30 {
        assert_eq!(
            first.sample(&three()).unwrap(),
            second.sample(&three()).unwrap()
        );
    }
}

/// The chain in steady state touches only what was allocated at the start.
#[test]
fn candidates_never_outgrow_their_buffer() {
    let logits: Vec<f32> = (0..5000)
        .map(|i| ((i * 7919) % 5000) as f32 / 500.0)
        .collect();
    for top_k in [0, 1, 40, 4000] {
        let mut sampler = sampler(logits.len(), &SamplerOptions { top_k, ..off() });
        let before = sampler.candidates.capacity();
        for _ in 0..5 {
            sampler.sample(&logits).unwrap();
        }
        assert_eq!(sampler.candidates.capacity(), before);
    }
}
