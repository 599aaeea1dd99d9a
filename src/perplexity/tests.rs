//! Chunks, judges and files on a toy model whose logits are known.

use core::ops::ControlFlow;
use std::fs;
use std::path::PathBuf;

use super::*;
use crate::generate::toy::Toy;

fn text(n: u32) -> Vec<u32> {
    (0..n).map(|i| (i * 7 + i / 3) % 10).collect()
}

fn go_on(_: usize, _: usize, _: &Mean) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// What the head of the module says, word for word.
fn plainly(tokens: &[u32], context: usize, bos: Option<u32>) -> Vec<f64> {
    let mut nlls = Vec::new();
    for chunk in tokens.chunks_exact(context) {
        let mut seen = chunk.to_vec();
        seen[0] = bos.unwrap_or(seen[0]);
        for t in context / 2 + 1..context {
            let logits = Toy::logits_after(&seen[..t]);
            let sum: f64 = logits.iter().map(|&l| f64::from(l).exp()).sum();
            nlls.push(sum.ln() - f64::from(logits[seen[t] as usize]));
        }
    }
    nlls
}

#[test]
fn the_second_half_of_every_chunk_is_scored() {
    let text = text(50);
    for (context, bos) in [
        (3, None),
        (4, Some(9)),
        (7, Some(0)),
        (16, None),
        (50, Some(1)),
    ] {
        let chunks = Chunks::new(&text, context, None, bos).unwrap();
        assert_eq!(chunks.count(), 50 / context);
        let expected = plainly(&text, context, bos);
        let scored: usize = chunks.scored().map(<[u32]>::len).sum();
        assert_eq!(scored, expected.len());
        for batch in [1, 3, 64] {
            for threads in [1, 3] {
                let pool = Pool::start(threads, None).unwrap();
                let mut judge = Perplexity::default();
                let mut toy = Toy::new(context, batch);
                let mut last = 0;
                let mut progress = |done, total, nll: &Mean| {
                    assert!(done > last && total == chunks.run(), "{done} of {total}");
                    assert!(nll.count() <= done, "scored before it was run");
                    last = done;
                    ControlFlow::Continue(())
                };
                measure(&mut toy, &pool, &chunks, &mut judge, &mut progress).unwrap();
                assert_eq!(last, chunks.run());
                assert_eq!(toy.passes.iter().sum::<usize>(), chunks.run());
                assert_eq!(judge.nll().count(), expected.len());
                let sum: f64 = expected.iter().sum();
                assert!((judge.nll().sum() - sum).abs() < 1e-9, "{context} {batch}");
            }
        }
    }
}

#[test]
fn threads_and_batches_change_no_bit() {
    let text = text(64);
    let chunks = Chunks::new(&text, 16, None, None).unwrap();
    let sums = [(1, 64), (2, 64), (4, 5), (3, 1)].map(|(threads, batch)| {
        let pool = Pool::start(threads, None).unwrap();
        let mut judge = Perplexity::default();
        measure(
            &mut Toy::new(16, batch),
            &pool,
            &chunks,
            &mut judge,
            &mut go_on,
        )
        .unwrap();
        *judge.nll()
    });
    assert!(sums.iter().all(|sum| *sum == sums[0]), "{sums:?}");
}

#[test]
fn it_stops_when_told_to() {
    let text = text(40);
    let chunks = Chunks::new(&text, 8, None, None).unwrap();
    let pool = Pool::start(1, None).unwrap();
    for batches in 1..6 {
        let mut toy = Toy::new(8, 2);
        let mut left = batches;
        measure(
            &mut toy,
            &pool,
            &chunks,
            &mut Perplexity::default(),
            &mut |_, _, _| {
                left -= 1;
                match left {
                    0 => ControlFlow::Break(()),
                    _ => ControlFlow::Continue(()),
                }
            },
        )
        .unwrap();
        assert_eq!(toy.passes.len(), batches);
    }
}

#[test]
fn a_text_or_a_chunk_too_short_is_refused() {
    let text = text(10);
    for (tokens, context, most, said) in [
        (
            &text[..],
            11,
            None,
            "text of 10 tokens: expected at least one chunk of 11; lower -c",
        ),
        (
            &text[..1],
            4,
            None,
            "text of 1 token: expected at least one chunk of 4",
        ),
        (&[], 4, None, "text (empty)"),
        (&text[..], 2, None, "-c 2: expected at least 3"),
        (&text[..], 4, Some(0), "--chunks 0: expected at least 1"),
    ] {
        let error = Chunks::new(tokens, context, most, None).unwrap_err();
        assert!(error.to_string().starts_with(said), "{error}");
    }
    assert_eq!(Chunks::new(&text, 4, Some(9), None).unwrap().count(), 2);
    assert_eq!(
        Chunks::new(&text, 4, Some(1), None).unwrap().tokens(),
        &text[..4]
    );
}

#[test]
fn a_model_too_small_is_refused() {
    let text = text(10);
    let chunks = Chunks::new(&text, 10, None, None).unwrap();
    let pool = Pool::start(1, None).unwrap();
    let judge = &mut Perplexity::default();
    let error = measure(&mut Toy::new(8, 8), &pool, &chunks, judge, &mut go_on).unwrap_err();
    assert!(matches!(error, Error::ContextFull { .. }), "{error}");
}

#[test]
fn a_token_without_a_probability_is_named() {
    let folder = Folder::new("impossible");
    let pool = Pool::start(1, None).unwrap();
    let chunks = Chunks::new(&[0, 1, 2, 0], 4, None, None).unwrap();
    let saving = Saving::create(&folder.0.join("base"), &chunks, 3).unwrap();
    let judges: [Box<dyn Judge>; 2] = [Box::new(Perplexity::default()), Box::new(saving)];
    for mut judge in judges {
        let logits = [0.0, f32::NEG_INFINITY, 1.0];
        let error = judge.take(&pool, &[1], &logits).unwrap_err();
        assert!(matches!(error, Error::Logits { .. }), "{error}");
        assert!(error.to_string().contains("token 1"), "{error}");
        assert_eq!(judge.nll().count(), 0);
    }
    assert_eq!(folder.names(), [""; 0]);
}

/// A folder of its own.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("wattle-kl-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Saves the toy's distributions over `text` in chunks of 8, and returns the file.
fn saved(folder: &Folder, text: &[u32]) -> PathBuf {
    let path = folder.0.join("base");
    let chunks = Chunks::new(text, 8, None, None).unwrap();
    let pool = Pool::start(2, None).unwrap();
    let mut judge = Saving::create(&path, &chunks, Toy::VOCAB).unwrap();
    measure(&mut Toy::new(8, 3), &pool, &chunks, &mut judge, &mut go_on).unwrap();
    judge.finish().unwrap();
    path
}

/// Compares the toy with what is in `path`.
fn compare(path: &std::path::Path) -> Result<Option<Comparison>> {
    let base = Base::open(path)?;
    let text = base.tokens().to_vec();
    let context = base.context();
    let mut judge = Divergence::new(base, Toy::VOCAB)?;
    let chunks = Chunks::new(&text, context, None, None)?;
    let pool = Pool::start(1, None)?;
    measure(
        &mut Toy::new(context.min(64), 5),
        &pool,
        &chunks,
        &mut judge,
        &mut go_on,
    )?;
    Ok(judge.finish())
}

#[test]
fn a_model_is_no_distance_from_itself() {
    let folder = Folder::new("itself");
    let found = compare(&saved(&folder, &text(35))).unwrap().unwrap();
    assert_eq!(found.scored, 4 * 3);
    // Steps of 6 / 65535 in the logarithm.
    assert!(
        found.kl.value.abs() < 1e-4 && found.kl_max < 2e-4,
        "{found:?}"
    );
    assert!(found.ln_ratio.value.abs() < 1e-4, "{found:?}");
    assert!(found.p_change_rms.value < 1e-4, "{found:?}");
    assert_eq!(found.same_top.value, 1.0);
    assert_eq!(folder.names(), ["base"]);
}

#[test]
fn the_divergence_of_known_distributions_is_known() {
    let folder = Folder::new("known");
    let path = folder.0.join("base");
    let text = [0, 1, 2, 0];
    // One scored token, 0, in place 3: the base gives it 1/2, the others 1/4 and 1/4.
    let chunks = Chunks::new(&text, 4, None, None).unwrap();
    let pool = Pool::start(1, None).unwrap();
    let mut saving = Saving::create(&path, &chunks, 3).unwrap();
    let logits = [0.5f32, 0.25, 0.25].map(f32::ln);
    saving.take(&pool, &[0], &logits).unwrap();
    assert!((saving.nll().sum() - 2f64.ln()).abs() < 1e-7);
    saving.finish().unwrap();

    let mut judge = Divergence::new(Base::open(&path).unwrap(), 3).unwrap();
    let logits = [0.25f32, 0.25, 0.5].map(f32::ln);
    judge.take(&pool, &[0], &logits).unwrap();
    let found = judge.finish().unwrap();
    // 1/2 ln 2 + 1/4 ln 1 - 1/4 ln 2
    let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-5, "{a} is not {b}");
    near(found.kl.value, 0.25 * 2f64.ln());
    near(found.kl_median, found.kl_max);
    near(found.perplexity.value, 4.0);
    near(found.base_perplexity.value, 2.0);
    near(found.ratio.value, 2.0);
    near(found.p_change.value, -0.25);
    near(found.p_change_rms.value, 0.25);
    assert_eq!(found.same_top.value, 0.0);
    assert_eq!((found.scored, found.kl.error), (1, None));
}

#[test]
fn only_what_holds_distributions_is_replaced() {
    let folder = Folder::new("replaced");
    let text = text(16);
    let path = saved(&folder, &text);
    let before = fs::read(&path).unwrap();
    // Begun and not finished: the older file stays, and nothing else does.
    let chunks = Chunks::new(&text, 4, None, None).unwrap();
    drop(Saving::create(&path, &chunks, 10).unwrap());
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(folder.names(), ["base"]);
    saved(&folder, &text);

    let other = folder.0.join("model.gguf");
    fs::write(&other, "GGUF and more").unwrap();
    for path in [&other, &folder.0] {
        let error = Saving::create(path, &chunks, 10).unwrap_err();
        assert!(matches!(error, Error::Argument { .. }), "{error}");
    }
    assert_eq!(fs::read(&other).unwrap(), b"GGUF and more");
}

#[test]
fn a_file_that_does_not_fit_is_named_with_its_reason() {
    let folder = Folder::new("fit");
    let text = text(16);
    let path = saved(&folder, &text);
    let base = Base::open(&path).unwrap();
    assert_eq!(
        (base.context(), base.vocab(), base.tokens()),
        (8, 10, &text[..])
    );
    base.check_text(&text, 16).unwrap();
    let mut other = text.clone();
    other[11] = (other[11] + 1) % 10;
    base.check_text(&other, 8).unwrap();
    let error = base.check_text(&other, 16).unwrap_err().to_string();
    assert!(
        error.contains("in place 11") && error.contains("byte 64"),
        "{error}"
    );
    let error = base.check_text(&text[..9], 16).unwrap_err().to_string();
    assert!(error.contains("the text's 9 tokens and no more"), "{error}");
    let error = Divergence::new(base, 11).unwrap_err().to_string();
    assert!(
        error.contains("vocabulary of 11 tokens") && error.contains("found 10"),
        "{error}"
    );
    let error = Base::open(&folder.0.join("none")).unwrap_err().to_string();
    assert!(error.contains("none: cannot open"), "{error}");
}

mod damage {
    use proptest::prelude::*;
    use proptest::test_runner::TestRunner;

    use super::*;

    /// Cut anywhere, a file is refused; with any byte changed, it is refused or still made of probabilities.
    #[test]
    fn no_bytes_are_believed_blindly() {
        let folder = Folder::new("damage");
        let path = saved(&folder, &text(16));
        let whole = fs::read(&path).unwrap();
        let mut runner = TestRunner::new(ProptestConfig::with_cases(128));
        let damage = (0..whole.len(), any::<u8>(), any::<bool>());
        let held = runner.run(&damage, |(place, byte, cut)| {
            let mut bytes = whole.clone();
            if cut {
                bytes.truncate(place);
            } else {
                bytes[place] = byte;
            }
            fs::write(&path, &bytes).unwrap();
            match compare(&path) {
                Err(error) => {
                    let said = error.to_string();
                    prop_assert!(said.contains("base: "), "{}", said);
                }
                Ok(found) => {
                    prop_assert!(!cut, "a part of the file was taken for all of it");
                    let found = found.expect("tokens were scored");
                    prop_assert!(found.kl.value.is_finite() && found.ratio.value.is_finite());
                }
            }
            Ok(())
        });
        held.unwrap();
    }
}
