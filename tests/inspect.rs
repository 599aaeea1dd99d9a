//! `wattle inspect` as a user runs it: output, refusals, exit codes.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use wattle::gguf::{GgmlType, Writer};

/// A file of this test, removed at the end.
struct Temp(PathBuf);

impl Temp {
    fn new(name: &str, bytes: &[u8]) -> Self {
        let name = format!("wattle-inspect-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, bytes).expect("a temporary file");
        Self(path)
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        let _gone = std::fs::remove_file(&self.0);
    }
}

fn inspect(path: &Path, flags: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wattle"))
        .arg("inspect")
        .arg(path)
        .args(flags)
        .output()
        .expect("the program starts")
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
    let file = Temp::new("good.gguf", &small());
    let shown = inspect(&file.0, &[]);
    let text = String::from_utf8(shown.stdout).expect("UTF-8");
    assert_eq!((shown.status.code(), &*shown.stderr), (Some(0), &b""[..]));
    for part in [
        "deepseek2, 128 parameters",
        "deepseek2.attention.kv_lora_rank  u32     32",
        "output.weight  Q8_0  32 x 4      136 B",
        "A decoded token reads 136 B of weights (128 parameters)",
        "Memory for 4096 tokens: 327.8 kB = 136 B weights + 327.7 kB cache (latent, f16, 80 B a token)",
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
}

#[test]
fn json_is_one_object_for_the_context_asked_for() {
    let file = Temp::new("json.gguf", &small());
    for (flags, tokens) in [(["-c", "10"], 10), (["--ctx-size", "0"], 512)] {
        let shown = inspect(&file.0, &[&["--json"][..], &flags].concat());
        let json: serde_json::Value = serde_json::from_slice(&shown.stdout).expect("JSON");
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
    let file = Temp::new("vocab.gguf", &bytes.expect("memory"));
    let shown = inspect(&file.0, &[]);
    assert!(shown.status.success(), "no tensors");

    let mut bytes = small();
    // What pads the last tensor is not missed.
    bytes.truncate(bytes.len() - 24);
    let file = Temp::new("cut.gguf", &bytes[..bytes.len() - 30]);
    let shown = inspect(&file.0, &[]);
    let text = String::from_utf8(shown.stdout).expect("UTF-8");
    assert!(shown.status.success(), "cut short");
    assert!(
        text.contains("NOT WHOLE") && text.contains("30 bytes are missing"),
        "{text}"
    );
    let shown = inspect(&file.0, &["--json"]);
    let json: serde_json::Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    assert_eq!(json["cut"]["need_bytes"], bytes.len());
    assert_eq!(json["cut"]["exact"], true);
}

#[test]
fn what_is_no_model_is_one_sentence_and_exit_code_1() {
    let empty = Temp::new("empty.gguf", b"");
    let text = Temp::new(
        "text.gguf",
        b"once upon a time there was no model in this file",
    );
    let magic = Temp::new("magic.gguf", b"GGUF");
    for (path, says) in [
        (std::env::temp_dir(), "directory"),
        (PathBuf::from("/nonexistent/m.gguf"), "cannot open"),
        (empty.0.clone(), "empty file"),
        (text.0.clone(), "found \"once\""),
        (magic.0.clone(), "cut short"),
    ] {
        let shown = inspect(&path, &[]);
        let told = String::from_utf8(shown.stderr).expect("UTF-8");
        assert_eq!(shown.status.code(), Some(1), "{told}");
        assert!(shown.stdout.is_empty(), "nothing on standard output");
        assert!(told.contains(says) && told.lines().count() == 1, "{told}");
        assert!(told.contains(&*path.to_string_lossy()), "{told}");
    }
    assert_eq!(
        inspect(&empty.0, &["--no-such-flag"]).status.code(),
        Some(2)
    );
}
