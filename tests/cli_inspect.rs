//! `wattle inspect` as a user runs it: output, refusals, exit codes.

#[path = "cli/program.rs"]
mod program;

use std::path::{Path, PathBuf};

use program::{Folder, Ran, wattle};
use wattle::gguf::{GgmlType, Writer};

fn inspect(path: &Path, flags: &[&str]) -> Ran {
    let mut args = vec!["inspect".as_ref(), path.as_os_str()];
    args.extend(flags.iter().map(AsRef::<std::ffi::OsStr>::as_ref));
    wattle(args)
}

fn small() -> Vec<u8> {
    let mut w = Writer::new();
    w.key("general.architecture", "deepseek2").expect("new");
    w.key("deepseek2.block_count", 1_u16).expect("new");
    w.key("deepseek2.context_length", 512_u64).expect("new");
    w.key("deepseek2.attention.head_count", 4_u32).expect("new");
    w.key("deepseek2.attention.kv_lora_rank", 32_u32)
        .expect("new");
    w.key("deepseek2.rope.dimension_count", 8_u32).expect("new");
    w.tensor("output.weight", &[32, 4], GgmlType::Q8_0)
        .expect("new");
    let mut body = w.start(Vec::new()).expect("memory");
    body.write(&[1; 136]).expect("memory");
    body.finish().expect("all data")
}

#[test]
fn a_model_is_described() {
    let folder = Folder::new("inspect-good.gguf");
    let file = folder.file("model.gguf", &small());
    let shown = inspect(&file, &[]);
    let text = shown.stdout;
    assert_eq!((shown.code, &*shown.stderr), (Some(0), ""));
    for part in [
        "deepseek2, 128 parameters",
        "deepseek2.attention.kv_lora_rank  u32     32",
        "output.weight  Q8_0  32 x 4      136 B",
        "A decoded token reads 136 B of weights (128 parameters)",
        "Memory for 4096 tokens: 327.8 kB = 136 B weights + 327.7 kB cache (latent, f16, 80 B a token)",
        "The cache by its type (-ctk): q8 294.9 kB, f16 327.7 kB, f32 655.4 kB",
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
}

#[test]
fn json_is_one_object_for_the_context_asked_for() {
    let folder = Folder::new("inspect-json.gguf");
    let file = folder.file("model.gguf", &small());
    for (flags, tokens) in [(["-c", "10"], 10), (["--ctx-size", "0"], 512)] {
        let shown = inspect(&file, &[&["--json"][..], &flags].concat());
        let json: serde_json::Value = serde_json::from_str(&shown.stdout).expect("JSON");
        assert_eq!(json["memory"]["context"], tokens);
        assert_eq!(json["memory"]["cache_bytes"], tokens * 80);
        assert_eq!(json["tensors"][0]["bytes"], 136);
    }
}

#[test]
fn a_file_without_tensors_and_one_cut_short_are_described_too() {
    let mut w = Writer::new();
    w.key("general.architecture", "llama").expect("new");
    let bytes = w.start(Vec::new()).and_then(|body| body.finish());
    let folder = Folder::new("inspect-vocab.gguf");
    let file = folder.file("model.gguf", &bytes.expect("memory"));
    let shown = inspect(&file, &[]);
    assert_eq!(shown.code, Some(0), "no tensors");

    let mut bytes = small();
    // What pads the last tensor is not missed.
    bytes.truncate(bytes.len() - 24);
    let folder = Folder::new("inspect-cut.gguf");
    let file = folder.file("model.gguf", &bytes[..bytes.len() - 30]);
    let shown = inspect(&file, &[]);
    let text = shown.stdout;
    assert_eq!(shown.code, Some(0), "cut short");
    assert!(
        text.contains("NOT WHOLE") && text.contains("30 bytes are missing"),
        "{text}"
    );
    let shown = inspect(&file, &["--json"]);
    let json: serde_json::Value = serde_json::from_str(&shown.stdout).expect("JSON");
    assert_eq!(json["cut"]["need_bytes"], bytes.len());
    assert_eq!(json["cut"]["exact"], true);
}

#[test]
fn what_is_no_model_is_one_sentence_and_exit_code_1() {
    let folder = Folder::new("inspect-no-model");
    let text = b"once upon a time there was no model in this file";
    let empty = folder.file("empty.gguf", b"");
    for (path, says) in [
        (std::env::temp_dir(), "directory"),
        (PathBuf::from("/nonexistent/m.gguf"), "cannot open"),
        (empty.clone(), "empty file"),
        (folder.file("text.gguf", text), "found \"once\""),
        (folder.file("magic.gguf", b"GGUF"), "cut short"),
    ] {
        let shown = inspect(&path, &[]);
        shown.fails(1, &[says, &path.to_string_lossy()]);
        assert_eq!(shown.stderr.lines().count(), 1, "{}", shown.stderr);
    }
    inspect(&empty, &["--no-such-flag"]).fails(2, &["--no-such-flag"]);
}

#[test]
fn the_file_may_be_given_as_everywhere_else() {
    let folder = Folder::new("inspect-flag");
    let file = folder.file("model.gguf", &small());
    let flagged = wattle(["inspect".as_ref(), "-m".as_ref(), file.as_os_str()]);
    assert_eq!(flagged.code, Some(0), "{flagged:?}");
    assert_eq!(flagged.stdout, inspect(&file, &[]).stdout);
}
