//! `wattle tokenize` as a user runs it: output, refusals, exit codes.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use wattle::gguf::Writer;

/// A file of this test, removed at the end.
struct Temp(PathBuf);

impl Temp {
    fn new(name: &str, bytes: &[u8]) -> Self {
        let name = format!("wattle-tokenize-{}-{name}", std::process::id());
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

fn tokenize(model: &Path, flags: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wattle"));
    command.arg("tokenize").arg("-m").arg(model).args(flags);
    command.output().expect("the program starts")
}

fn vocabulary() -> Vec<u8> {
    let mut w = Writer::new();
    w.key("general.architecture", "llama").expect("new");
    w.key("tokenizer.ggml.model", "gpt2").expect("new");
    w.key("tokenizer.ggml.pre", "gpt-2").expect("new");
    let tokens = ["a", "b", "ab", "Ġ", "Ċ", "Ã", "©", "<s>"];
    w.array("tokenizer.ggml.tokens", &tokens).expect("new");
    let types = [1_i32, 1, 1, 1, 1, 1, 1, 3];
    w.array("tokenizer.ggml.token_type", &types).expect("new");
    w.array("tokenizer.ggml.merges", &["a b"]).expect("new");
    w.key("tokenizer.ggml.bos_token_id", 7_u32).expect("new");
    w.key("tokenizer.ggml.add_bos_token", true).expect("new");
    w.key("zz.last", "x".repeat(100).as_str()).expect("new");
    w.start(Vec::new())
        .and_then(|b| b.finish())
        .expect("memory")
}

fn stdout(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout.clone()).expect("text")
}

#[test]
fn text_to_lines_and_back() {
    let model = Temp::new("lines", &vocabulary());
    let lines = stdout(&tokenize(&model.0, &["-p", "ab\né"]));
    assert_eq!(
        lines, "2\tab\n4\t\\n\n5\t\\xc3\n6\t\\xa9\n",
        "no BOS unless asked"
    );
    let lines = stdout(&tokenize(
        &model.0,
        &["-p", "<s>a", "--parse-special", "--bos"],
    ));
    assert_eq!(lines, "7\t<s>\n0\ta\n", "one BOS");
    let lines = stdout(&tokenize(&model.0, &["-p", "a", "--bos"]));
    assert_eq!(lines, "7\t<s>\n0\ta\n");
    let text = stdout(&tokenize(&model.0, &["--ids", "7,2,3,5,6,4"]));
    assert_eq!(text, "ab é\n\n");
    let text = stdout(&tokenize(
        &model.0,
        &["--ids", "7,5,7,2", "--parse-special"],
    ));
    assert_eq!(
        text, "<s>\u{fffd}<s>ab\n",
        "control tokens as they are spelled"
    );
    let file = Temp::new("text", b"ab a");
    let name = file.0.to_str().expect("a plain name");
    assert_eq!(
        stdout(&tokenize(&model.0, &["-f", name])),
        "2\tab\n3\t \n0\ta\n"
    );
}

#[test]
fn json() {
    let model = Temp::new("json", &vocabulary());
    let text = stdout(&tokenize(&model.0, &["-p", "ab\n", "--json", "--bos"]));
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(json["text"], "ab\n");
    let last = &json["tokens"][2];
    assert_eq!(
        (&last["id"], &last["token"], &last["text"]),
        (&4.into(), &"Ċ".into(), &"\n".into())
    );
    assert_eq!(json["tokens"][0]["kind"], "control");
}

#[test]
fn the_head_of_a_file_will_do() {
    let whole = vocabulary();
    let cut = Temp::new("cut", &whole[..whole.len() - 40]);
    let output = tokenize(&cut.0, &["-p", "ab"]);
    assert_eq!(stdout(&output), "2\tab\n");
    let note = String::from_utf8_lossy(&output.stderr);
    assert!(note.contains("cut short"), "{note}");
    let cut = Temp::new("cut-early", &whole[..200]);
    let output = tokenize(&cut.0, &["-p", "ab"]);
    assert_eq!(output.status.code(), Some(1), "the tokens are gone");
    assert!(output.stdout.is_empty(), "nothing on stdout");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("the rest may hold it"), "{error}");
}

#[test]
fn refusals_are_a_sentence() {
    let model = Temp::new("refusals", &vocabulary());
    let no_text = Temp::new("binary", b"a\xff");
    let name = no_text.0.to_str().expect("a plain name");
    let cases: [(&[&str], i32, &str); 6] = [
        (&["--ids", "8"], 1, "token id 8"),
        (&["-f", "/no/such/file"], 1, "/no/such/file"),
        (&["-f", name], 1, "UTF-8"),
        (&[], 2, "required"),
        (&["-p", "a", "--ids", "1"], 2, "cannot be used with"),
        (&["--ids", "x"], 2, "invalid"),
    ];
    for (flags, code, word) in cases {
        let output = tokenize(&model.0, flags);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{flags:?}: {error}");
        assert!(output.stdout.is_empty(), "{flags:?}: nothing on stdout");
        assert!(error.contains(word), "{flags:?}: {error}");
    }
}
