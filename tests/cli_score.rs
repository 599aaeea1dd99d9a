//! `wattle score`: log-probabilities and logits against the reference, and texts that are known to be probable.

#[path = "cli/program.rs"]
mod program;
#[path = "cli/taught.rs"]
mod taught;

use std::path::Path;

use program::{Folder, wattle};
use serde_json::Value;
use taught::{BREAD, answer, data, gguf, json};

/// Rows and numbers of an .npy file of float32.
fn npy(path: &Path) -> (Vec<usize>, Vec<f32>) {
    let bytes = std::fs::read(path).expect("an .npy file");
    assert_eq!(bytes[..8], *b"\x93NUMPY\x01\x00", "the magic of NumPy");
    let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = core::str::from_utf8(&bytes[10..start]).expect("text");
    assert!(
        header.contains("'<f4'") && header.contains("'fortran_order': False"),
        "{header}"
    );
    let shape = header
        .split_once('(')
        .and_then(|(_, rest)| rest.split_once(')'));
    let shape = shape.expect("a shape").0.split(',').map(str::trim);
    let shape = shape
        .filter(|n| !n.is_empty())
        .map(|n| n.parse().expect("a length"));
    let numbers = bytes[start..].chunks_exact(4);
    let numbers = numbers.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    (shape.collect(), numbers.collect())
}

#[test]
fn scores_and_logits_are_those_of_the_reference() {
    let folder = Folder::new("logits");
    let index = json("hf/index.json");
    for name in ["v2-lite", "v3", "qwen2"] {
        let mut cases = index["cases"].as_array().expect("cases").iter();
        let case = cases.find(|case| case["name"] == name).expect("the case");
        let ids: Vec<usize> = serde_json::from_value(case["tokens"].clone()).expect("ids");
        let list: Vec<String> = ids.iter().map(usize::to_string).collect();
        let out = folder.file(&format!("{name}.npy"), b"an older file, to be replaced");
        let ran = wattle([
            "score",
            "-ctk",
            "f32",
            "--json",
            "--top",
            "1",
            "--tokens",
            &list.join(","),
            "--logits",
            out.to_str().expect("a plain path"),
            "-m",
            &data(&format!("hf/{name}.gguf")),
        ]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let (shape, wanted) = npy(Path::new(&data(&format!("hf/{name}.npy"))));
        let (got_shape, got) = npy(&out);
        assert_eq!(got_shape, shape, "{name}");
        let largest = wanted.iter().fold(0f32, |a, b| a.max(b.abs()));
        for (got, wanted) in got.iter().zip(&wanted) {
            assert!(
                (got - wanted).abs() <= 1e-4 * largest,
                "{name}: {got} against {wanted}"
            );
        }

        let scores: Value = serde_json::from_str(&ran.stdout).expect("JSON");
        assert_eq!(scores["tokens"][0]["logprob"], Value::Null);
        let mut total = 0.0;
        for (i, row) in wanted.chunks_exact(shape[1]).enumerate() {
            let sum: f64 = row.iter().map(|&l| f64::from(l).exp()).sum();
            let logprob = |id: usize| f64::from(row[id]) - sum.ln();
            let best = (0..row.len())
                .max_by(|&a, &b| row[a].total_cmp(&row[b]))
                .expect("a row");
            let place = if i + 1 == ids.len() {
                &scores["next"]
            } else {
                &scores["tokens"][i + 1]["top"]
            };
            assert_eq!(place[0]["id"], best, "{name} after token {i}");
            if let Some(&next) = ids.get(i + 1) {
                let got = scores["tokens"][i + 1]["logprob"]
                    .as_f64()
                    .expect("a number");
                assert!((got - logprob(next)).abs() < 1e-3, "{name}: {got}");
                total += got;
            }
        }
        let got = scores["logprob"].as_f64().expect("a number");
        assert!((got - total).abs() < 1e-9, "{name}: {got} against {total}");
    }
}

#[test]
fn a_taught_text_is_probable() {
    let model = gguf("tiny-chat");
    let text = format!("{BREAD}{}", answer("tiny-chat", &[]));
    let ran = wattle(["score", "-m", &model, "-p", &text]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let (last, tokens) = ran
        .stdout
        .trim_end()
        .rsplit_once('\n')
        .map(|(t, l)| (l, t))
        .expect("lines");
    // The first line is BOS, which has no probability; --no-bos leaves it out.
    let first = tokens.lines().next().expect("a token");
    assert!(
        first.contains("begin▁of▁sentence") && first.contains(" - "),
        "{first}"
    );
    let perplexity = last.rsplit_once("perplexity ").expect("a perplexity").1;
    assert!(perplexity.parse::<f64>().expect("a number") < 3.0, "{last}");
    let without = wattle(["score", "-m", &model, "-p", &text, "--no-bos"]);
    assert_eq!(
        without.stdout.lines().count() + 1,
        ran.stdout.lines().count()
    );
}

#[test]
fn files_without_a_tokenizer_take_ids_only() {
    let model = data("hf/v2-lite.gguf");
    for subcommand in ["run", "score"] {
        wattle([subcommand, "-m", &model, "-p", "x"]).fails(1, &[&model, "tokenizer"]);
    }
    let two = wattle(["score", "-m", &model, "--tokens", "1,2"]);
    let total = "\n1 token after the first, log-probability ";
    assert!(two.stdout.contains(total), "{two:?}");
    wattle(["score", "-m", &model, "--tokens", "1,64"])
        .fails(1, &["token id 64", "vocabulary of 64"]);
}

#[test]
fn what_a_user_types_adds_no_control_tokens() {
    // Taken as a token, the end of the text would be one; spelled out it is many.
    let model = gguf("tiny-llama");
    let count = |args: &[&str]| {
        let ran = wattle([&["score", "-m", &model, "-p", "<|im_end|>"], args].concat());
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran.stdout.lines().count() - 1
    };
    assert_eq!(count(&["--parse-special"]), 1);
    assert!(count(&[]) > 1, "a control token out of plain text");
}
