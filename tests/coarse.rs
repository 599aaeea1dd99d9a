//! Long passes with coarse scales (`--coarse`), where an instruction set takes them, and without, on the model in the box.

#![cfg(feature = "demo")]

use wattle::load::{LoadOptions, Model};
use wattle::model::{CacheType, Logits};
use wattle_kernels::Isa;

/// Tokens of the text: more than the fewest of a long pass.
const TOKENS: usize = 80;

/// Logits after [`TOKENS`] tokens that go through the model in passes of at most `batch`.
fn logits(isa: Isa, coarse: bool, batch: usize) -> Vec<f32> {
    let model = Model::demo(&LoadOptions {
        threads: Some(2),
        isa: Some(isa.name().to_owned()),
        coarse,
        ..LoadOptions::default()
    })
    .expect("the model in the box");
    assert_eq!(
        model.transformer().in_pieces(),
        isa.takes_pieces() && coarse,
        "{}",
        isa.name()
    );
    let tokens: Vec<u32> = (0..TOKENS as u32).map(|i| 300 + i * i % 1000).collect();
    let mut state = model
        .transformer()
        .state(TOKENS, CacheType::F32, batch)
        .expect("a small state");
    let mut last = Vec::new();
    for part in tokens.chunks(batch) {
        last = model
            .transformer()
            .forward(model.pool(), part, &mut state, Logits::Last)
            .expect("the tokens fit")
            .to_vec();
    }
    last
}

#[test]
fn long_passes_are_near_the_exact_ones_and_short_passes_are_exact() {
    for isa in Isa::available() {
        let name = isa.name();
        let short = logits(isa, true, 63);
        assert_eq!(short, logits(isa, false, 63), "{name}: passes of 63 and 17");
        let (long, exact) = (logits(isa, true, TOKENS), logits(isa, false, TOKENS));
        if !isa.takes_pieces() {
            assert_eq!(long, exact, "{name}");
            continue;
        }
        assert_ne!(long, exact, "{name}: the scales are coarser");
        let size: f32 = exact.iter().map(|x| x * x).sum();
        let error: f32 = long.iter().zip(&exact).map(|(a, b)| (a - b).powi(2)).sum();
        let share = (error / size).sqrt();
        assert!(share < 0.03, "{name}: logits are {share} off");
    }
}
