//! Context shift: keys that moved are those of the same tokens at their new positions, and a shifted sequence goes on.

use super::branch::{CONTEXT, MORE, alone, models, read, together, token};
use super::{MLA, VOCAB, pool, worst};
use crate::model::cache::{Cache, Layout};
use crate::model::config::Heads;
use crate::model::rope::{Rope, RopeKind, Scaling};
use crate::model::{CacheType, Logits, Sequence, Transformer};
use wattle_kernels::Isa;

/// The models of the branches, and latent attention with frequencies that YaRN scales, with a factor, and with long ones.
fn shifted_models() -> Vec<Transformer> {
    let scaling = Scaling::Yarn {
        factor: 8.0,
        original_context: 32,
        beta_fast: 4.0,
        beta_slow: 1.0,
    };
    let mut all: Vec<_> = models(Isa::best()).into();
    let rope = |scaling, factors, magnitude| {
        Rope::new(RopeKind::Neox, MLA.rope, 100.0, scaling, factors, magnitude)
    };
    let [mut scaled, _, mut long] = models(Isa::best());
    scaled.config.rope = rope(scaling, None, 1.3);
    let factors = [1.0, 1.5, 3.0, 9.0];
    let far = rope(Scaling::None, Some(&factors), 1.1);
    long.config.rope = rope(Scaling::None, None, 1.0).beyond(CONTEXT - 1, far);
    all.extend([scaled, long]);
    all
}

/// `n` rows of a cache as numbers, each split at `at`.
fn rows(cache: &Cache, n: usize, width: usize, at: usize) -> [Vec<f32>; 2] {
    let mut row = vec![0.0; width];
    let mut parts = [Vec::new(), Vec::new()];
    for i in 0..n {
        cache.load(Isa::best(), i, &mut row);
        parts[0].extend_from_slice(&row[..at]);
        parts[1].extend_from_slice(&row[at..]);
    }
    parts
}

#[test]
fn keys_that_moved_are_those_of_their_new_positions() {
    for (no, model) in shifted_models().iter().enumerate() {
        for &kind in CacheType::ALL {
            let shifts = [
                (100, 10, 33),
                (129, 64, 1),
                (130, 0, 65),
                (140, 63, 64),
                (70, 3, 67),
            ];
            // Where only the frequencies differ, blocks are moved alike.
            for (n, keep, discard) in shifts.into_iter().take(if no < 3 { 5 } else { 2 }) {
                let pool = pool(1);
                let mut state = read(model, &pool, kind, n);
                let sequence = state.sequence_mut();
                let before = Sequence::cache_bytes([&*sequence]);
                model.shift(sequence, keep, discard).expect("a shift");
                assert_eq!(sequence.len(), n - discard, "{no}");
                assert!(Sequence::cache_bytes([&*sequence]) <= before, "{no}");
                let mut fresh = model.state(CONTEXT, kind, 8).expect("a state");
                let stays = |i: &usize| *i < keep || *i >= keep + discard;
                let tokens: Vec<u32> = (0..n).filter(stays).map(|i| token(0, i)).collect();
                for tokens in tokens.chunks(7) {
                    let pass = model.forward(&pool, tokens, &mut fresh, Logits::None);
                    pass.expect("a pass");
                }
                let (sequence, fresh) = (state.sequence(), fresh.sequence());
                let width = model.config.heads.cache_width();
                // What rotates, and what does not.
                let (at, turns) = match model.config.heads {
                    Heads::Mla(heads) => (heads.kv_lora_rank, 1),
                    Heads::Gqa(heads) => (heads.kv_heads * heads.k, 0),
                };
                // Rounding of angles, and twice that of the cache.
                let bound = |layout: Layout| match layout {
                    Layout::F32(_) => 3e-5,
                    Layout::F16(_) => 2e-3,
                    Layout::Latent(_) => 4e-4,
                };
                let got = rows(&sequence.caches[0], n - discard, width, at);
                let want = rows(&fresh.caches[0], n - discard, width, at);
                assert!(got[1 - turns] == want[1 - turns], "{no}: what stays");
                let far = worst(&want[turns], &got[turns]);
                let name = kind.name();
                let limit = bound(sequence.caches[0].layout());
                assert!(far < limit, "{no} {name} {n} {keep} {discard}: {far}");
                // Not because nothing had to be done.
                if n - keep - discard > 8 {
                    let old = read(model, &pool, kind, n);
                    let mut old = rows(&old.sequence().caches[0], n, width, at);
                    let row = old[turns].len() / n;
                    old[turns].drain(keep * row..(keep + discard) * row);
                    assert!(worst(&want[turns], &old[turns]) > 0.05, "{no}");
                }
                for (got, want) in sequence.index.iter().zip(&fresh.index).take(1) {
                    let got = &rows(&got.0, n - discard, 8, 0)[1];
                    let far = worst(&rows(&want.0, n - discard, 8, 0)[1], got);
                    assert!(far < bound(want.0.layout()), "{no} index: {far}");
                }
            }
        }
    }
}

#[test]
fn a_shifted_sequence_goes_on_and_its_branch_too() {
    for model in shifted_models() {
        for &kind in CacheType::ALL {
            let pool = pool(2);
            let mut state = read(&model, &pool, kind, 150);
            let mut branch = [state.sequence().branch().expect("a branch")];
            model.shift(state.sequence_mut(), 5, 24).expect("a shift");
            let logits = alone(&model, &pool, &mut state, 2);
            assert_eq!(logits.len(), MORE * VOCAB, "all tokens");
            assert!(logits.iter().all(|x| x.is_finite()), "numbers");
            let got = together(&model, &pool, &mut branch, &mut state);
            let mut fresh = read(&model, &pool, kind, 150);
            assert!(
                got[0] == alone(&model, &pool, &mut fresh, 1),
                "{}",
                kind.name()
            );
        }
    }
}

#[test]
fn a_shift_of_more_than_there_is_is_refused() {
    let [model, ..] = models(Isa::best());
    let pool = pool(1);
    let mut state = read(&model, &pool, CacheType::Q8, 10);
    for (keep, discard) in [(0, 11), (11, 0), (5, 6), (usize::MAX, 1)] {
        let told = model.shift(state.sequence_mut(), keep, discard);
        let told = told.expect_err("refused").to_string();
        assert!(
            told.contains("--keep") && told.contains("10 tokens"),
            "{told}"
        );
    }
    model.shift(state.sequence_mut(), 10, 0).expect("nothing");
    assert_eq!(state.len(), 10, "as it was");
}
