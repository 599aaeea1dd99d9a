//! The real program where no model is needed: usage, files that are no models, values out of range.

#[path = "cli/program.rs"]
mod program;

use program::{Folder, command, finish, wattle};

/// The subcommands that run a model, each with the least that makes its flags complete.
const RUNNING: [&[&str]; 2] = [
    &["run", "-p", "x", "-m"],
    &["score", "--tokens", "1,2", "-m"],
];

#[test]
fn help_goes_to_stdout() {
    for args in [
        &["--help"][..],
        &["help"],
        &["run", "--help"],
        &["score", "--help"],
    ] {
        let ran = wattle(args);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(ran.stdout.contains("Usage: wattle"), "{ran:?}");
        assert_eq!(ran.stderr, "");
    }
}

#[test]
fn the_version_names_the_instruction_set() {
    for flag in ["--version", "-V"] {
        let ran = wattle([flag]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let start = format!("wattle {} (", env!("CARGO_PKG_VERSION"));
        assert!(ran.stdout.starts_with(&start), "{ran:?}");
        assert_eq!(ran.stdout.lines().count(), 1);
    }
}

#[test]
fn the_instruction_set_can_be_capped_but_not_invented() {
    let mut capped = command();
    capped.arg("--version").env("WATTLE_ISA", "scalar");
    let ran = finish(capped, b"");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.ends_with("(scalar)\n"), "{ran:?}");

    let mut invented = command();
    invented.arg("--version").env("WATTLE_ISA", "abacus");
    finish(invented, b"").fails(2, &["wattle: error: WATTLE_ISA abacus", "scalar"]);
}

#[test]
fn wrong_usage_is_exit_code_2() {
    for (args, part) in [
        (&["walk"][..], "walk"),
        (&["run", "-m", "x", "--no-such-flag"], "--no-such-flag"),
        (&["run", "-m", "x", "-n", "many"], "many"),
        (&["run", "-m", "x", "-p", "a", "-f", "b"], "--file"),
        (&["run", "-m", "x", "--cnv", "--no-cnv"], "--no-cnv"),
        (&["run", "-m", "x", "--cache-type", "q3"], "q3"),
        (&["score", "-m", "x", "--tokens", "1,-2"], "-2"),
        (
            &["score", "-m", "x", "--tokens", "1", "-p", "a"],
            "--prompt",
        ),
    ] {
        wattle(args).fails(2, &[part]);
    }
}

#[test]
fn values_out_of_range_name_their_flag() {
    for (flag, value, name) in [
        ("-t", "0", "-t 0"),
        ("-b", "0", "-b 0"),
        ("-n", "-2", "-n -2"),
        ("-s", "-2", "-s -2"),
        ("--temp", "nan", "--temp"),
        ("--top-p", "1.5", "--top-p"),
        ("--min-p", "-0.1", "--min-p"),
        ("--repeat-penalty", "0", "--repeat-penalty"),
        ("--repeat-last-n", "-2", "--repeat-last-n"),
    ] {
        let ran = wattle(["run", "-m", "no-model.gguf", "-p", "x", flag, value]);
        ran.fails(2, &["wattle: error: ", name, "expected"]);
    }
}

#[test]
fn files_that_are_no_models_are_named() {
    let folder = Folder::new("no-models");
    let empty = folder.file("empty.gguf", b"");
    let text = folder.file("text.gguf", b"once upon a time there was a model");
    let cut = folder.file("cut.gguf", b"GGUF\x03\x00\x00\x00");
    let missing = folder.path.join("missing.gguf");
    for args in RUNNING {
        for path in [&*empty, &*text, &*cut, &*missing, &*folder.path] {
            let name = path.to_str().expect("a plain name");
            let ran = wattle(args.iter().copied().chain([name]));
            ran.fails(1, &["wattle: error: ", name]);
            assert_eq!(ran.stderr.lines().count(), 1, "one sentence: {ran:?}");
        }
    }
}

#[test]
fn texts_that_cannot_be_read_are_named() {
    let folder = Folder::new("no-texts");
    let bytes = folder.file("bytes.txt", b"ab\xff");
    let missing = folder.path.join("missing.txt");
    for path in [bytes, missing] {
        let name = path.to_str().expect("a plain name");
        for subcommand in ["run", "score"] {
            wattle([subcommand, "-m", "no-model.gguf", "-f", name]).fails(1, &[name]);
        }
    }
    let mut piped = command();
    piped.args(["run", "-m", "no-model.gguf"]);
    finish(piped, b"\xff").fails(1, &["standard input"]);
}

#[test]
fn one_dash_flags_of_llama_cpp_are_understood() {
    // All flags are accepted, so that the missing file is what fails.
    let flags = [
        "-no-cnv", "-ctk", "f16", "-sys", "be brief", "-st", "-c", "0", "-s", "-1", "-n", "-1",
    ];
    let ran = wattle(
        ["run", "-m", "no-model.gguf", "-p", "-x"]
            .iter()
            .chain(&flags),
    );
    ran.fails(1, &["wattle: error: no-model.gguf"]);
}
