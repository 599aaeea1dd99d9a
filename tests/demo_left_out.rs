//! A program built without the model in the box (`--no-default-features`) asks for a file.
#![cfg(not(feature = "demo"))]

#[path = "cli/program.rs"]
mod program;

use program::wattle;

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
