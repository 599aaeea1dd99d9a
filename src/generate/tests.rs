//! Generation over a toy model: what is run, what comes out, and why it ends.

use super::toy::Toy;
use super::*;
use crate::sample::SamplerOptions;

fn go_on(_: usize, _: usize) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn greedy() -> Sampler {
    Sampler::new(Toy::VOCAB, &SamplerOptions::greedy()).unwrap()
}

fn best_after(text: &[u32]) -> u32 {
    let logits = Toy::logits_after(text);
    let best = |&a: &usize, &b: &usize| logits[a].total_cmp(&logits[b]);
    (0..Toy::VOCAB).max_by(best).unwrap() as u32
}

fn run(toy: &mut Toy, prompt: &[u32], n: Option<usize>, ends: &[u32]) -> (Vec<u32>, End) {
    let options = GenerateOptions {
        n,
        ..GenerateOptions::default()
    };
    let mut sampler = greedy();
    let mut generation =
        Generation::new(toy, prompt, &mut sampler, ends, options, &mut go_on).unwrap();
    let ids = generation.by_ref().map(|token| token.unwrap().id).collect();
    (ids, generation.end().unwrap())
}

#[test]
fn an_answer_continues_its_prompt() {
    for batch in [1, 2, 3, 7, 50] {
        let mut toy = Toy::new(64, batch);
        let prompt = [5, 3, 8, 1, 1, 2, 9];
        let (answer, end) = run(&mut toy, &prompt, Some(12), &[]);
        assert_eq!((answer.len(), end), (12, End::Length));
        let mut text = prompt.to_vec();
        for id in answer {
            assert_eq!(id, best_after(&text), "after {text:?}");
            text.push(id);
        }
        // The last token was not run.
        assert_eq!(toy.tokens, text[..text.len() - 1]);
        let prefill: Vec<usize> = prompt.chunks(batch).map(<[u32]>::len).collect();
        assert_eq!(toy.passes[..prefill.len()], prefill);
        assert!(
            toy.passes[prefill.len()..].iter().all(|&n| n == 1),
            "decode in batches"
        );
        assert_eq!(toy.passes.len(), prefill.len() + 11);
    }
}

#[test]
fn the_context_ends_an_answer() {
    let mut toy = Toy::new(10, 4);
    let (answer, end) = run(&mut toy, &[1, 2, 3], None, &[]);
    // Seven tokens fit beside the prompt; the eighth is known and needs no place.
    assert_eq!((answer.len(), end), (8, End::Context));
    let mut toy = Toy::new(3, 4);
    assert_eq!(run(&mut toy, &[1, 2, 3], None, &[]).0.len(), 1);
}

#[test]
fn an_end_token_ends_an_answer_and_is_no_part_of_it() {
    let prompt = [1, 2, 3];
    let (without, _) = run(&mut Toy::new(64, 8), &prompt, Some(30), &[]);
    let first = without.iter().position(|&id| id >= 7).unwrap();
    let (answer, end) = run(&mut Toy::new(64, 8), &prompt, Some(30), &[7, 8, 9]);
    assert_eq!(answer, without[..first]);
    assert_eq!(end, End::Token(without[first]));
}

#[test]
fn suppressed_end_tokens_let_it_go_on() {
    let mut toy = Toy::new(64, 8);
    let mut sampler = greedy();
    sampler.suppress(7..10);
    let options = GenerateOptions {
        n: Some(30),
        logprobs: false,
        shift: None,
    };
    let ends = &[7, 8, 9];
    let generation = Generation::new(
        &mut toy,
        &[1, 2, 3],
        &mut sampler,
        ends,
        options,
        &mut go_on,
    )
    .unwrap();
    assert_eq!(generation.count(), 30);
}

#[test]
fn nothing_asked_for_is_only_a_prefill() {
    let mut toy = Toy::new(8, 2);
    let (answer, end) = run(&mut toy, &[4, 4, 4], Some(0), &[]);
    assert_eq!((answer, end), (vec![], End::Length));
    assert_eq!(toy.tokens, [4, 4, 4]);
}

#[test]
fn a_prompt_that_does_not_fit_is_refused_before_any_work() {
    for (prompt, full) in [(&[1u32; 9][..], true), (&[][..], false)] {
        let mut toy = Toy::new(8, 2);
        let mut sampler = greedy();
        let options = GenerateOptions::default();
        let error = Generation::new(&mut toy, prompt, &mut sampler, &[], options, &mut go_on)
            .err()
            .unwrap();
        assert_eq!(
            matches!(
                error,
                Error::ContextFull {
                    tokens: 9,
                    context: 8
                }
            ),
            full,
            "{error}"
        );
        assert!(toy.passes.is_empty(), "something was run");
    }
}

#[test]
fn progress_counts_the_prompt_and_can_stop_it() {
    let mut seen = Vec::new();
    let mut toy = Toy::new(16, 3);
    let mut sampler = greedy();
    let options = GenerateOptions::default();
    let mut stop_past_three = |done, total| {
        seen.push((done, total));
        if done > 3 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    let prompt = [1; 10];
    let mut generation = Generation::new(
        &mut toy,
        &prompt,
        &mut sampler,
        &[],
        options,
        &mut stop_past_three,
    )
    .unwrap();
    assert!(generation.next().is_none(), "an answer without its prompt");
    assert_eq!(generation.end(), Some(End::Stopped));
    assert_eq!(seen, [(0, 10), (3, 10), (6, 10)]);
    assert_eq!(toy.len(), 6);

    let mut seen = Vec::new();
    let mut note = |done, _| {
        seen.push(done);
        ControlFlow::Continue(())
    };
    Generation::new(
        &mut Toy::new(16, 4),
        &prompt,
        &mut sampler,
        &[],
        options,
        &mut note,
    )
    .unwrap();
    assert_eq!(seen, [0, 4, 8, 10]);
}

#[test]
fn a_model_that_fails_ends_the_answer() {
    let mut toy = Toy::new(64, 8);
    toy.fails_at = Some(3);
    let mut sampler = greedy();
    let options = GenerateOptions::default();
    let generation =
        Generation::new(&mut toy, &[1], &mut sampler, &[], options, &mut go_on).unwrap();
    let tokens: Vec<_> = generation.collect();
    assert_eq!(tokens.len(), 4);
    assert!(tokens[..3].iter().all(Result::is_ok), "an early error");
    assert!(tokens[3].is_err(), "the error is lost");
}

#[test]
fn log_probabilities_are_of_the_raw_logits() {
    let mut toy = Toy::new(64, 8);
    let options = SamplerOptions {
        seed: Some(3),
        ..SamplerOptions::default()
    };
    let mut sampler = Sampler::new(Toy::VOCAB, &options).unwrap();
    let options = GenerateOptions {
        n: Some(20),
        logprobs: true,
        ..GenerateOptions::default()
    };
    let mut text = vec![6];
    let generation =
        Generation::new(&mut toy, &[6], &mut sampler, &[], options, &mut go_on).unwrap();
    for token in generation {
        let token = token.unwrap();
        let logits = Toy::logits_after(&text);
        let total: f64 = logits.iter().map(|&l| f64::from(l).exp()).sum();
        let expected = f64::from(logits[token.id as usize]) - total.ln();
        assert!((token.logprob.unwrap() - expected).abs() < 1e-9);
        text.push(token.id);
    }
}

#[test]
fn speed_counts_passes() {
    let mut toy = Toy::new(64, 2);
    let mut sampler = greedy();
    let options = GenerateOptions {
        n: Some(5),
        logprobs: false,
        shift: None,
    };
    let mut generation =
        Generation::new(&mut toy, &[1; 7], &mut sampler, &[], options, &mut go_on).unwrap();
    generation.by_ref().for_each(drop);
    let speed = generation.speed();
    assert_eq!(
        (
            speed.prefill.tokens,
            speed.decode.tokens,
            speed.answer_tokens
        ),
        (7, 4, 5)
    );
    assert_eq!(speed.bytes_per_token, 1000);
}

#[test]
fn log_sum_exp_stands_large_and_broken_rows() {
    assert!((log_sum_exp(&[1000.0, 1000.0]).unwrap() - (1000.0 + 2f64.ln())).abs() < 1e-9);
    assert_eq!(log_sum_exp(&[-5.0, f32::NEG_INFINITY]).unwrap(), -5.0);
    for broken in [
        [f32::NAN, 0.0],
        [f32::INFINITY, 0.0],
        [f32::NEG_INFINITY; 2],
    ] {
        assert!(
            matches!(log_sum_exp(&broken), Err(Error::Logits { .. })),
            "{broken:?}"
        );
    }
}

#[test]
fn a_full_context_forgets_its_middle_and_goes_on() {
    // Text, what is kept, and what the sequence holds after 7 more tokens in a context of 8.
    for (keep, held) in [(0, 8), (3, 8), (7, 8), (8, 8)] {
        let mut toy = Toy::new(8, 4);
        let mut sampler = Sampler::new(Toy::VOCAB, &SamplerOptions::greedy()).expect("a sampler");
        let options = GenerateOptions {
            n: Some(20),
            shift: Some(keep),
            ..GenerateOptions::default()
        };
        let mut go_on = |_, _| ControlFlow::Continue(());
        let prompt = [1, 2, 3, 4, 5];
        let mut answer = Generation::new(&mut toy, &prompt, &mut sampler, &[], options, &mut go_on)
            .expect("an answer");
        let tokens = answer.by_ref().map(|token| token.expect("a token").id);
        let n = tokens.count();
        // Nothing is left to forget when all is to be kept.
        let (want, end) = match keep {
            8 => (4, End::Context),
            _ => (20, End::Length),
        };
        assert_eq!((n, answer.end()), (want, Some(end)), "{keep}");
        assert!(toy.tokens.len() <= held, "{keep}");
        let kept = keep.min(5);
        assert_eq!(toy.tokens[..kept], prompt[..kept], "{keep}");
    }
}
