//! A real model against llama.cpp, without the noise of int8 activations: SmolLM2's weights decoded to float32.
//!
//! `tests/data/smollm2` holds what llama.cpp makes of SmolLM2-135M-Instruct.Q4_1.gguf with every weight decoded to float32: the
//! 64 likeliest tokens after each of 512 tokens. Here the same weights are decoded by our kernels, written to a file by our writer,
//! and run. Both sides compute in floats, so their distributions must be the same but for the order of sums; `.ci/smollm2.py` holds the
//! quantised file itself to the noise that llama.cpp makes.
//!
//! The model is not part of the repository: set `WATTLE_SMOLLM2` to the file, and have 600 MB of room in the temporary folder.

#[path = "cli/widen.rs"]
mod widen;

use std::path::Path;

use wattle::load::Model;
use wattle::model::{CacheType, Logits};
use widen::widen;

/// Likeliest tokens kept of a position.
const TOP: usize = 64;
/// Bytes of a position: ids as u16, natural log-probabilities as f32.
const RECORD: usize = TOP * (2 + 4);

#[test]
fn decoded_weights_give_the_distributions_of_llama_cpp() {
    let Some(path) = std::env::var_os("WATTLE_SMOLLM2") else {
        eprintln!(
            "SKIPPED by name: SmolLM2 decoded to float32 (WATTLE_SMOLLM2 is not set to the file)"
        );
        return;
    };
    let wide = std::env::temp_dir().join(format!("wattle-smollm2-f32-{}.gguf", std::process::id()));
    widen(Path::new(&path), &wide);
    let kl = mean_kl(&wide);
    std::fs::remove_file(&wide).expect("the file was written above");
    eprintln!("mean KL from llama.cpp over 512 tokens: {kl:.2e}");
    assert!(kl.abs() < 1e-5, "mean KL {kl:e}");
}

/// Mean of KL(llama.cpp || ours) over the kept tokens and one bucket for all others.
fn mean_kl(path: &Path) -> f64 {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/smollm2");
    let reference =
        std::fs::read(data.join("top64.bin")).expect("the reference is in the repository");
    let json = std::fs::read_to_string(data.join("reference.json"))
        .expect("the reference is in the repository");
    let json: serde_json::Value = serde_json::from_str(&json).expect("make.py writes valid JSON");
    let tokens: Vec<u32> = serde_json::from_value(json["tokens"].clone()).expect("token ids");
    assert_eq!(reference.len(), tokens.len() * RECORD, "a record a token");

    let model = Model::load(path).expect("the widened model loads");
    let (transformer, batch) = (model.transformer(), 64);
    let mut state = transformer
        .state(tokens.len(), CacheType::F32, batch)
        .expect("a small state");
    let mut sum = 0.0;
    let mut records = reference.chunks_exact(RECORD);
    for part in tokens.chunks(batch) {
        let logits = transformer
            .forward(model.pool(), part, &mut state, Logits::All)
            .expect("the tokens fit");
        for (row, record) in logits
            .chunks_exact(logits.len() / part.len())
            .zip(&mut records)
        {
            sum += kl(row, record);
        }
    }
    sum / tokens.len() as f64
}

fn kl(logits: &[f32], record: &[u8]) -> f64 {
    let (ids, logprobs) = record.split_at(2 * TOP);
    let ids = ids
        .as_chunks()
        .0
        .iter()
        .map(|b| usize::from(u16::from_le_bytes(*b)));
    let theirs = logprobs
        .as_chunks()
        .0
        .iter()
        .map(|b| f64::from(f32::from_le_bytes(*b)));
    let top = logits.iter().fold(f64::MIN, |m, x| m.max(f64::from(*x)));
    let scale = top
        + logits
            .iter()
            .map(|x| (f64::from(*x) - top).exp())
            .sum::<f64>()
            .ln();
    let (mut sum, mut rest) = (0.0, [1.0, 1.0]);
    for (id, theirs) in ids.zip(theirs) {
        let ours = f64::from(logits[id]) - scale;
        sum += theirs.exp() * (theirs - ours);
        rest = [rest[0] - theirs.exp(), rest[1] - ours.exp()];
    }
    sum + rest[0] * (rest[0] / rest[1]).ln()
}
