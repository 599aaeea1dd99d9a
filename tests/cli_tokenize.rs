//! `wattle tokenize` as a user runs it: output, refusals, exit codes.

#[path = "cli/program.rs"]
mod program;

use std::path::Path;

use program::{Folder, Ran, wattle};
use wattle::gguf::Writer;

fn tokenize(model: &Path, flags: &[&str]) -> Ran {
    let mut args = vec!["tokenize".as_ref(), "-m".as_ref(), model.as_os_str()];
    args.extend(flags.iter().map(AsRef::<std::ffi::OsStr>::as_ref));
    wattle(args)
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

fn stdout(ran: &Ran) -> &str {
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    &ran.stdout
}

#[test]
fn text_to_lines_and_back() {
    let folder = Folder::new("tokenize-lines");
    let model = folder.file("model.gguf", &vocabulary());
    let ran = tokenize(&model, &["-p", "ab\né"]);
    let lines = stdout(&ran);
    assert_eq!(
        lines, "2\tab\n4\t\\n\n5\t\\xc3\n6\t\\xa9\n",
        "no BOS unless asked"
    );
    let ran = tokenize(&model, &["-p", "<s>a", "--parse-special", "--bos"]);
    let lines = stdout(&ran);
    assert_eq!(lines, "7\t<s>\n0\ta\n", "one BOS");
    let ran = tokenize(&model, &["-p", "a", "--bos"]);
    let lines = stdout(&ran);
    assert_eq!(lines, "7\t<s>\n0\ta\n");
    let ran = tokenize(&model, &["-p", "-a", "--json"]);
    assert!(
        stdout(&ran).contains("tokens"),
        "a text that begins like a flag"
    );
    let ran = tokenize(&model, &["--ids", "7,2,3,5,6,4"]);
    let text = stdout(&ran);
    assert_eq!(text, "ab é\n\n");
    let ran = tokenize(&model, &["--ids", "7,5,7,2", "--parse-special"]);
    let text = stdout(&ran);
    assert_eq!(
        text, "<s>\u{fffd}<s>ab\n",
        "control tokens as they are spelled"
    );
    let file = folder.file("text", b"ab a");
    let name = file.to_str().expect("a plain name");
    assert_eq!(
        stdout(&tokenize(&model, &["-f", name])),
        "2\tab\n3\t \n0\ta\n"
    );
}

#[test]
fn json() {
    let folder = Folder::new("tokenize-json");
    let model = folder.file("model.gguf", &vocabulary());
    let ran = tokenize(&model, &["-p", "ab\n", "--json", "--bos"]);
    let text = stdout(&ran);
    let json: serde_json::Value = serde_json::from_str(text).expect("JSON");
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
    let folder = Folder::new("tokenize-cut");
    let whole = vocabulary();
    let cut = folder.file("cut.gguf", &whole[..whole.len() - 40]);
    let ran = tokenize(&cut, &["-p", "ab"]);
    assert_eq!(stdout(&ran), "2\tab\n");
    assert!(ran.stderr.contains("cut short"), "{}", ran.stderr);
    let early = folder.file("early.gguf", &whole[..200]);
    tokenize(&early, &["-p", "ab"]).fails(1, &["the rest may hold it"]);
}

#[test]
fn refusals_are_a_sentence() {
    let folder = Folder::new("tokenize-refusals");
    let model = folder.file("model.gguf", &vocabulary());
    let no_text = folder.file("binary", b"a\xff");
    let name = no_text.to_str().expect("a plain name");
    let cases: [(&[&str], i32, &str); 6] = [
        (&["--ids", "8"], 1, "token id 8"),
        (&["-f", "/no/such/file"], 1, "/no/such/file"),
        (&["-f", name], 1, "UTF-8"),
        (&[], 2, "required"),
        (&["-p", "a", "--ids", "1"], 2, "cannot be used with"),
        (&["--ids", "x"], 2, "invalid"),
    ];
    for (flags, code, word) in cases {
        tokenize(&model, flags).fails(code, &[word]);
    }
}

#[test]
fn what_the_model_cannot_spell_is_said() {
    let folder = Folder::new("tokenize-lost");
    let model = folder.file("model.gguf", &vocabulary());
    let lost = tokenize(&model, &["-p", "a?b"]);
    assert_eq!(stdout(&lost), "0\ta\n1\tb\n");
    assert!(lost.stderr.contains("are lost"), "{}", lost.stderr);
    let whole = tokenize(&model, &["-p", " ab", "--bos"]);
    assert_eq!(whole.stderr, "", "nothing was lost");
}
