//! A program built without the model in the box (`--no-default-features`) asks for a file.
#![cfg(not(feature = "demo"))]

#[path = "cli/program.rs"]
mod program;

use program::{Folder, wattle};

#[test]
fn nothing_asked_for_shows_how_to_ask() {
    wattle([""; 0]).fails(2, &["Usage: wattle", "run", "score"]);
}

#[test]
fn a_model_must_be_named() {
    for args in [
        &["run", "-p", "Once"][..],
        &["score", "-p", "Once"],
        &["inspect"],
        &["tokenize", "-p", "Once"],
    ] {
        wattle(args).fails(2, &["-m", "a model file", "built without"]);
    }
}

#[test]
fn no_help_promises_a_model() {
    for subcommand in [
        "run",
        "score",
        "perplexity",
        "imatrix",
        "inspect",
        "tokenize",
    ] {
        let help = wattle([subcommand, "--help"]);
        assert_eq!(help.code, Some(0), "{help:?}");
        assert!(help.stdout.contains("--model"), "{help:?}");
        assert!(
            !help.stdout.contains("in the box"),
            "{subcommand}: {help:?}"
        );
    }
}

#[test]
fn a_file_that_is_named_is_opened() {
    let folder = Folder::new("left-out");
    let broken = folder.file("broken.gguf", b"GGUF");
    let broken = broken.to_str().expect("a plain path");
    wattle(["run", "-m", broken, "-p", "Once"]).fails(1, &["broken.gguf"]);
}
