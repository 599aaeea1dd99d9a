//! The model in the box: what the program does before anything is downloaded.
#![cfg(feature = "demo")]

#[path = "cli/program.rs"]
mod program;

use program::{Folder, Ran, command, finish, wattle};
use wattle::Model;
use wattle::load::LoadOptions;
use wattle::model::Transformer;

fn story(request: &str, seed: u32) -> String {
    let seed = seed.to_string();
    let Ran { code, stdout, .. } = wattle(["run", "-cnv", "-st", "-s", &seed, "-p", request]);
    assert_eq!(code, Some(0), "{request}");
    stdout
}

#[test]
fn the_help_says_which_model_is_used() {
    for subcommand in [
        "run",
        "score",
        "perplexity",
        "imatrix",
        "inspect",
        "tokenize",
    ] {
        let help = wattle([subcommand, "--help"]);
        assert!(help.stdout.contains("in the box"), "{subcommand}: {help:?}");
    }
}

#[test]
fn alone_the_program_tells_a_story() {
    // Elsewhere, so that no file of ours is near.
    let folder = Folder::new("story");
    let mut here = command();
    here.current_dir(&folder.path);
    let Ran {
        code,
        stdout,
        stderr,
    } = finish(here, b"");
    assert_eq!(code, Some(0), "{stderr}");
    assert!(
        stderr.contains("wattle-tales"),
        "says whose story it is: {stderr}"
    );
    assert!(
        stderr.contains("--help"),
        "says what else there is: {stderr}"
    );
    assert!(stdout.split_whitespace().count() > 40, "a story: {stdout}");
    let end = stdout.trim_end().chars().last();
    assert!(
        matches!(end, Some('.' | '!' | '?' | '"')),
        "whole sentences: {stdout}"
    );
}

#[test]
fn a_story_is_about_whom_was_asked_for() {
    // An emulator takes long for a story.
    let seeds = match std::env::var_os("WATTLE_TEST_RUNNER") {
        Some(_) => 1..=1,
        None => 1..=10,
    };
    let all = seeds.clone().count();
    let told = seeds
        .map(|seed| story("Tell me a story about a fox named Pip.", seed))
        .filter(|told| told.contains("Pip") && told.contains("fox"))
        .count();
    assert!(told * 10 >= all * 9, "{told} of {all}");
}

#[test]
fn a_seed_names_a_story() {
    let request = "Write a short story about a bear and a red kite.";
    let first = story(request, 7);
    assert_eq!(first, story(request, 7));
    assert_ne!(first, story(request, 8));
}

#[test]
fn a_text_is_continued() {
    let Ran {
        code,
        stdout,
        stderr,
    } = wattle(["run", "-p", "Once upon a time", "-n", "12", "--temp", "0"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("wattle-tales"), "{stderr}");
    assert!(stdout.split_whitespace().count() > 5, "{stdout}");
}

#[test]
fn it_does_not_stand_in_for_a_file_that_is_missing() {
    let folder = Folder::new("missing");
    let missing = folder.path.join("missing.gguf");
    let missing = missing.to_str().expect("a plain path");
    wattle(["run", "-m", missing, "-p", "Once"]).fails(1, &["missing.gguf"]);
    let broken = folder.file("broken.gguf", b"GGUF");
    let broken = broken.to_str().expect("a plain path");
    wattle(["run", "-m", broken, "-p", "Once"]).fails(1, &["broken.gguf"]);
}

#[test]
fn it_has_what_makes_a_deepseek_v3() {
    let Ran { code, stdout, .. } = wattle(["inspect", "--json"]);
    assert_eq!(code, Some(0));
    let model = Model::demo(&LoadOptions::default()).expect("in the box");
    let file = model.gguf();
    let key = |key: &str| file.metadata().need_u32(&format!("deepseek2.{key}")).ok();
    assert!(stdout.contains("deepseek2"), "{stdout}");
    assert!(key("attention.q_lora_rank").is_some_and(|rank| rank > 0));
    assert!(key("attention.kv_lora_rank").is_some_and(|rank| rank > 0));
    assert_eq!(key("leading_dense_block_count"), Some(1));
    assert_eq!(key("expert_gating_func"), Some(2), "sigmoid");
    assert_eq!(key("expert_shared_count"), Some(1));
    assert_eq!(key("nextn_predict_layers"), Some(1));
    let mtp = key("block_count").map(|n| format!("blk.{}.nextn.eh_proj.weight", n - 1));
    assert!(mtp.is_some_and(|name| file.tensor(&name).is_some()));
    let bias = file.tensor("blk.1.exp_probs_b.bias").map(|t| file.bytes(t));
    assert!(
        bias.is_some_and(|bytes| bytes.iter().any(|&b| b != 0)),
        "the selection bias was trained"
    );
    // Rows that formats of 256 fit, and rows that they do not.
    let rows = file.tensors().iter().filter(|t| t.n_dims > 1);
    let (long, short): (Vec<_>, Vec<_>) = rows.partition(|t| t.dims[0].is_multiple_of(256));
    assert!(!long.is_empty() && !short.is_empty());
    assert!(short.iter().all(|t| t.dims[0].is_multiple_of(32)));
    assert!(file.file_bytes() <= 8_000_000, "{}", file.file_bytes());
    assert!(Transformer::bytes_per_token(model.transformer()) < file.file_bytes());
}
