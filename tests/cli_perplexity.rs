//! `wattle perplexity`: the numbers of llama.cpp on the same weights, its files read and written, and every refusal.
//!
//! `tests/data/perplexity/make.py` recorded what llama-perplexity says of the tiny models decoded to float32.

#[path = "cli/program.rs"]
mod program;
#[path = "cli/taught.rs"]
mod taught;
#[path = "cli/widen.rs"]
mod widen;

use std::fs;
use std::path::Path;
use std::process::Stdio;

use program::{Folder, Ran, command, finish, wattle};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use taught::{BREAD, answer, data, gguf, json};
use widen::widen;

/// The text that everything here is measured on.
fn text() -> String {
    data("smollm2/text.txt")
}

/// `wattle perplexity` with a float32 cache, as llama.cpp was run.
fn measure(model: &str, more: &[&str]) -> Ran {
    wattle([&["perplexity", "-ctk", "f32", "-m", model], more].concat())
}

/// The JSON that a successful run printed.
#[track_caller]
fn outcome(ran: &Ran) -> Value {
    assert_eq!(ran.code, Some(0), "{ran:?}");
    serde_json::from_str(&ran.stdout).expect("JSON and nothing else")
}

/// A tiny model in float32.
fn wide(folder: &Folder, model: &str) -> String {
    let path = folder.path.join(format!("{model}.gguf"));
    widen(Path::new(&gguf(model)), &path);
    path.to_str().expect("a plain path").into()
}

/// Names in a folder.
fn names(folder: &Folder) -> Vec<String> {
    let entries = fs::read_dir(&folder.path).expect("a folder");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    names
        .map(|name| name.to_string_lossy().into_owned())
        .collect()
}

#[track_caller]
fn number(json: &Value, name: &str) -> f64 {
    json[name].as_f64().expect("a number")
}

/// Asserts that two numbers are equal as far as llama.cpp prints them: `digits` after the point, and in floats 6 in all.
#[track_caller]
fn near(ours: f64, theirs: f64, digits: i32, name: &str) {
    let bound = (2e-6 * theirs.abs()).max(10f64.powi(-digits));
    let distance = (ours - theirs).abs();
    assert!(distance <= bound, "{name}: {ours} against {theirs}");
}

#[test]
fn perplexities_are_those_of_llama_cpp() {
    let folder = Folder::new("perplexities");
    let recorded = json("perplexity/llama.json");
    for model in ["tiny-chat", "tiny-llama"] {
        let path = wide(&folder, model);
        let cases = recorded["cases"].as_array().expect("cases").iter();
        for case in cases.filter(|case| case["model"] == model) {
            let [context, batch, chunks] =
                ["context", "batch", "chunks"].map(|name| case[name].as_i64().expect("a count"));
            let mut args = vec!["-f".into(), text(), "--json".into()];
            args.extend([
                "-c".into(),
                context.to_string(),
                "-b".into(),
                batch.to_string(),
            ]);
            if chunks > 0 {
                args.extend(["--chunks".into(), chunks.to_string()]);
            }
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let found = outcome(&measure(&path, &args));
            for name in ["ppl", "ppl_error"] {
                near(number(&found, name), number(case, name), 4, name);
            }
        }
    }
}

#[test]
fn a_file_of_llama_cpp_is_compared_with_as_it_does() {
    let folder = Folder::new("compared");
    let model = wide(&folder, "tiny-chat");
    let base = data("perplexity/base.kld");
    let theirs = &json("perplexity/llama.json")["divergence"];
    let compared = ["--kl-base", &base, "--kl-divergence"];
    let found = outcome(&measure(&model, &[&compared[..], &["--json"]].concat()));
    let ours = &found["base"];
    assert_eq!(ours["file"], base);
    let perplexities = [
        ("ppl", number(&found, "ppl")),
        ("ppl_error", number(&found, "ppl_error")),
        ("base_ppl", number(ours, "ppl")),
        ("base_ppl_error", number(ours, "ppl_error")),
    ];
    for (name, ours) in perplexities {
        near(ours, number(theirs, name), 4, name);
    }
    let distances = [
        "ln_ppl_ratio",
        "ppl_ratio",
        "kl",
        "p_change",
        "p_change_rms",
        "same_top",
    ];
    let errors = distances.map(|name| format!("{name}_error"));
    let percentiles = ["kl_median", "kl_99", "kl_99_9", "kl_max"];
    let names = distances
        .into_iter()
        .chain(errors.iter().map(String::as_str));
    for name in names.chain(percentiles) {
        near(number(ours, name), number(theirs, name), 5, name);
    }

    // The text that it was made from is accepted, whole or in part; the lines say the same as the JSON.
    let lines = measure(
        &model,
        &[&compared[..], &["-f", &text(), "-c", "64"]].concat(),
    );
    assert_eq!(lines.code, Some(0), "{lines:?}");
    let kl = format!(
        "mean KL                {:.6}",
        ours["kl"].as_f64().expect("a number")
    );
    assert!(lines.stdout.contains(&kl), "{kl} is not in {lines:?}");
    let part = [&compared[..], &["--chunks", "2", "--json"]].concat();
    assert_eq!(outcome(&measure(&model, &part))["scored_tokens"], 2 * 31);
}

#[test]
fn a_file_of_ours_is_laid_out_as_theirs_and_finds_the_model_unchanged() {
    let folder = Folder::new("saved");
    let model = gguf("tiny-chat");
    let path = folder.file("ours.kld", b"");
    let ours = path.to_str().expect("a plain path");
    let args = ["-f", &text(), "-c", "64", "--chunks", "4"];
    let plain = outcome(&measure(&model, &[&args[..], &["--json"]].concat()));
    let saving = [&args[..], &["--json", "--save-all-logits", ours]].concat();
    let saved = outcome(&measure(&model, &saving));
    assert_eq!(saved["ppl"], plain["ppl"], "saving changes nothing");
    assert_eq!(fs::read_dir(&folder.path).expect("a folder").count(), 1);

    let theirs = fs::read(data("perplexity/base.kld")).expect("the fixture");
    let bytes = fs::read(&path).expect("a file");
    let head = 20 + 4 * 4 * 64;
    assert_eq!(bytes[..head], theirs[..head], "numbers and tokens");
    assert_eq!(bytes.len(), theirs.len());

    for threads in ["1", "2"] {
        let compared = [
            "--kl-base",
            ours,
            "--kl-divergence",
            "--json",
            "-t",
            threads,
        ];
        let found = outcome(&measure(&model, &compared));
        assert_eq!(found["ppl"], plain["ppl"]);
        let base = &found["base"];
        assert!(number(base, "kl_max") < 1e-3, "{base}");
        assert!(number(base, "ln_ppl_ratio").abs() < 1e-4, "{base}");
        assert_eq!(number(base, "same_top"), 1.0);
    }
}

#[test]
fn the_answer_is_one_line_and_the_rest_is_not_on_stdout() {
    let model = gguf("tiny-llama");
    let ran = measure(&model, &["-f", &text(), "-c", "64", "--chunks", "2"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let found = outcome(&measure(
        &model,
        &["-f", &text(), "-c", "64", "--chunks", "2", "--json"],
    ));
    let (ppl, error) = (number(&found, "ppl"), number(&found, "ppl_error"));
    assert_eq!(ran.stdout, format!("perplexity {ppl:.4} +/- {error:.4}\n"));
    assert!(
        ran.stderr
            .starts_with("2 chunks of 64 tokens, 62 scored; 126 tokens in ")
    );
    assert!((number(&found, "nll").exp() - ppl).abs() < 1e-9 * ppl);
    for (name, expected) in [
        ("context", 64),
        ("chunks", 2),
        ("scored_tokens", 62),
        ("tokens", 126),
    ] {
        assert_eq!(found[name], expected, "{name}");
    }
    assert!(number(&found, "tokens_per_second") > 0.0 && number(&found, "seconds") > 0.0);
    // A token of this text spells about two bytes.
    let bits = number(&found, "nll") / core::f64::consts::LN_2;
    let bytes = bits / number(&found, "bits_per_byte");
    assert!((1.0..4.0).contains(&bytes), "{bytes} bytes a token");
}

#[test]
fn a_taught_text_surprises_little() {
    let text = format!("{BREAD}{}", answer("tiny-chat", &[]));
    let args = ["-p", &text, "-c", "48", "--chunks", "1", "--json"];
    let found = outcome(&measure(&gguf("tiny-chat"), &args));
    assert!(number(&found, "ppl") < 3.0, "{found}");
}

#[test]
fn a_text_is_read_from_standard_input_and_a_long_chunk_is_remarked_on() {
    let mut command = command();
    command.args([
        "perplexity",
        "-m",
        &gguf("tiny-llama"),
        "-c",
        "300",
        "--chunks",
        "1",
    ]);
    let text = fs::read(text()).expect("the text");
    let ran = finish(command, &text);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.starts_with("perplexity "), "{ran:?}");
    assert!(ran.stderr.contains("trained for 256 tokens"), "{ran:?}");
    let measured = "\n1 chunk of 300 tokens, 149 scored; 299 tokens in ";
    assert!(ran.stderr.contains(measured), "{ran:?}");
}

#[test]
fn a_signal_leaves_nothing() {
    let folder = Folder::new("kl-signal");
    let out = folder.path.join("base");
    let long = "The history of bread is long. ".repeat(2000);
    let long = folder.file("long.txt", long.as_bytes());
    for (subcommand, more, context) in [
        ("perplexity", "--kl-base", "0"),
        ("score", "--logits", "65536"),
    ] {
        let mut program = command();
        program.args([subcommand, "-c", context, "-m", &gguf("tiny-llama"), more]);
        program.arg(&out).arg("-f").arg(&long);
        let program = program.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = program.spawn().expect("the program starts");
        // At the first moment when there is something to leave behind.
        while names(&folder).len() == 1 && child.try_wait().expect("a child").is_none() {
            std::thread::yield_now();
        }
        kill_process(Pid::from_child(&child), Signal::INT).expect("a signal");
        let ended = child.wait_with_output().expect("the program ends");
        assert_eq!(ended.status.code(), Some(130), "{ended:?}");
        assert_eq!(names(&folder), ["long.txt"], "{subcommand}");
    }
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let folder = Folder::new("refused");
    let (model, text) = (gguf("tiny-chat"), text());
    let latin = folder.file("latin.txt", b"caf\xe9");
    let latin = latin.to_str().expect("a plain path");
    for (args, parts) in [
        (
            &["-p", ""][..],
            &["text (empty)", "at least one chunk of 512"][..],
        ),
        (
            &["-p", "Hello"],
            &["text of ", "at least one chunk of 512; lower -c"],
        ),
        (&["-f", &text, "-c", "2"], &["-c 2", "at least 3"]),
        (
            &["-f", &text, "--chunks", "0"],
            &["--chunks 0", "at least 1"],
        ),
        (&["-f", &text, "-b", "0"], &["-b 0", "at least 1"]),
        (&["-f", &text, "--kl-divergence"], &["--kl-base"]),
    ] {
        measure(&model, args).fails(2, parts);
    }
    measure(&model, &["-f", latin]).fails(1, &[latin, "UTF-8"]);
    measure(&model, &["-f", "/no/such/text"]).fails(1, &["/no/such/text", "cannot read"]);
    let hf = data("hf/v2-lite.gguf");
    measure(&hf, &["-f", &text]).fails(1, &[&hf, "tokenizer"]);
}

#[test]
fn a_file_that_does_not_fit_is_refused() {
    let folder = Folder::new("misfit");
    let (model, base) = (gguf("tiny-chat"), data("perplexity/base.kld"));
    let compare = |model: &str, base: &str, more: &[&str]| {
        let args = ["--kl-base", base, "--kl-divergence"];
        measure(model, &[&args[..], more].concat())
    };
    let llama = gguf("tiny-llama");
    compare(&llama, &base, &[]).fails(1, &[&base, "vocabulary of 288", "found 320"]);
    compare(&model, &base, &["-c", "128"]).fails(2, &["-c 128: expected 64"]);
    compare(&model, &base, &["-p", "The history of water"])
        .fails(1, &["token 290 of the text in place 11", "another text"]);
    compare(&model, &base, &["-p", "The history"]).fails(1, &["tokens and no more"]);
    compare(&model, &model, &[]).fails(1, &[&model, "_logits_", "\"GGUF"]);
    compare(&model, "/no/such/base", &[]).fails(1, &["/no/such/base", "cannot open"]);

    let whole = fs::read(&base).expect("the fixture");
    let cut = folder.file("cut.kld", &whole[..whole.len() - 1]);
    let cut = cut.to_str().expect("a plain path");
    compare(&model, cut, &[]).fails(1, &[cut, "81396 bytes", "found 81395", "incomplete"]);
    let mut changed = whole;
    changed[1044 + 10_000..][..4000].fill(0x7f);
    let changed = folder.file("changed.kld", &changed);
    let changed = changed.to_str().expect("a plain path");
    compare(&model, changed, &[]).fails(1, &[changed, "distribution 15", "add up to 1"]);

    // What is there and is something else is not written over; a folder that is not there is named.
    let copy = folder.file("copy.gguf", &fs::read(&model).expect("the model"));
    let copy = copy.to_str().expect("a plain path");
    let text = ["-f", &text(), "-c", "64"].map(String::from);
    let save = |to: &str| {
        let text = text.each_ref().map(String::as_str);
        measure(copy, &[&text[..], &["--kl-base", to]].concat())
    };
    save(copy).fails(2, &["--kl-base", copy, "a new file"]);
    assert_eq!(
        fs::read(copy).expect("the copy"),
        fs::read(&model).expect("the model")
    );
    save("/no/such/folder/a.kld").fails(1, &["/no/such/folder/a.kld", "cannot create"]);
}
