//! What a rounding of weights costs, judged on weights that were trained: those of the model in the box.
//!
//! The text is held out from its training (`tests/data/tales/held.txt`); `make.py` there made it, and recorded what llama.cpp makes of
//! the same weights. The bounds are those that the formats are chosen by; `tests/record` has the measured figures.
#![cfg(feature = "demo")]

#[path = "cli/program.rs"]
mod program;
#[path = "cli/widen.rs"]
mod widen;

use std::path::{Path, PathBuf};

use program::{Folder, wattle};
use serde_json::Value;
use widen::widen;

/// The file that is in the box.
const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/demo/wattle-tales.gguf");
const HELD_OUT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tales/held.txt");
/// llama.cpp's distributions of the shipped weights, decoded to float32.
const LLAMA_CPP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tales/llama.kld");

#[track_caller]
fn json(args: &[&str]) -> Value {
    let ran = wattle(args);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    serde_json::from_str(&ran.stdout).expect("JSON and nothing else")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// Perplexity of the held-out text.
fn perplexity(model: &[&str]) -> f64 {
    let common = ["perplexity", "-f", HELD_OUT, "-c", "128", "--json"];
    let json = json(&[&common, model].concat());
    json["ppl"].as_f64().expect("a number")
}

/// Mean divergence from llama.cpp's distributions.
fn divergence(more: &[&str]) -> f64 {
    let common = [
        "perplexity",
        "--kl-base",
        LLAMA_CPP,
        "--kl-divergence",
        "--json",
    ];
    let json = json(&[&common, more].concat());
    json["base"]["kl"].as_f64().expect("a number")
}

fn quantized(from: &Path, to: PathBuf, ty: &str) -> PathBuf {
    let ran = wattle(["quantize", "--allow-requantize", text(from), text(&to), ty]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    to
}

#[test]
fn the_distributions_are_those_of_llama_cpp() {
    let folder = Folder::new("tales-wide");
    let wide = folder.path.join("wide.gguf");
    widen(Path::new(SHIPPED), &wide);
    let exact = divergence(&["-m", text(&wide), "-ctk", "f32"]);
    // Both sides compute in floats; the file rounds log-probabilities to steps of up to 16 / 65,535.
    assert!(exact.abs() < 2e-5, "both sides in floats: {exact:e}");
    for cache in ["q8", "f16", "f32"] {
        let shipped = divergence(&["-ctk", cache]);
        assert!(shipped.abs() < 1e-3, "{cache} cache: {shipped:e}");
    }
}

#[test]
fn formats_cost_what_they_may() {
    if std::env::var_os("WATTLE_TEST_RUNNER").is_some() {
        eprintln!("SKIPPED by name: the cost of formats (an emulator would take minutes)");
        return;
    }
    let folder = Folder::new("tales-formats");
    let half = quantized(Path::new(SHIPPED), folder.path.join("f16.gguf"), "F16");
    let base = perplexity(&["-m", text(&half)]);
    for (ty, bound) in [
        ("Q8_0", 1.002),
        ("Q6_K", 1.005),
        ("Q5_K_M", 1.01),
        ("Q4_K_M", 1.03),
        ("Q4_0", 1.05),
        ("IQ4_NL", 1.05),
        ("MXFP4_MOE", 1.05),
    ] {
        let file = quantized(&half, folder.path.join(format!("{ty}.gguf")), ty);
        let ratio = perplexity(&["-m", text(&file)]) / base;
        eprintln!("{ty}: perplexity {ratio:.4} of that of F16, {base:.4}");
        assert!(ratio < bound, "{ty}: {ratio} of the perplexity of F16");
    }
    let exact = perplexity(&["-ctk", "f32"]);
    for cache in ["q8", "f16"] {
        let ratio = perplexity(&["-ctk", cache]) / exact;
        eprintln!("{cache} cache: perplexity {ratio:.5} of that of f32");
        assert!((ratio - 1.0).abs() < 1e-3, "{cache} cache: {ratio}");
    }
}

#[test]
fn distributions_of_another_model_or_text_are_refused() {
    let folder = Folder::new("tales-other");
    let common = ["perplexity", "--kl-base", LLAMA_CPP, "--kl-divergence"];
    let other = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tiny-chat.gguf");
    wattle([&common[..], &["-m", other]].concat()).fails(1, &["llama.kld", "vocabulary"]);
    let text = folder.file("other.txt", "Once upon a time. ".repeat(200).as_bytes());
    let text = text.to_str().expect("a plain path");
    wattle([&common[..], &["-f", text]].concat()).fails(1, &["llama.kld", "text"]);
}
