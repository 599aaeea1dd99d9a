//! `wattle imatrix`: what llama.cpp learns from the same text about the same weights, and every refusal.
//!
//! `tests/data/imatrix/make.py` recorded what llama-imatrix learns about tiny-chat decoded to float32.

#[path = "cli/program.rs"]
mod program;
#[path = "cli/widen.rs"]
mod widen;

use std::fs;
use std::path::{Path, PathBuf};

use program::{Folder, Ran, wattle};
use wattle::imatrix::Imatrix;
use widen::widen;

fn data(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    path.join(name).to_str().expect("a plain path").into()
}

/// `wattle imatrix` of a model over chunks of 128 tokens, written to `out`.
fn learn(model: &str, out: &Path, more: &[&str]) -> Ran {
    let text = data("smollm2/text.txt");
    let out = out.to_str().expect("a plain path");
    let args = ["imatrix", "-m", model, "-f", &text, "-o", out, "-c", "128"];
    wattle([&args[..], more].concat())
}

#[track_caller]
fn open(path: &Path) -> Imatrix {
    Imatrix::open(path).expect("an importance matrix")
}

#[test]
fn what_is_learned_is_what_llama_cpp_learns() {
    let folder = Folder::new("learned");
    let model = folder.path.join("wide.gguf");
    widen(Path::new(&data("tiny-chat.gguf")), &model);
    let model = model.to_str().expect("a plain path");
    let out = folder.path.join("ours.gguf");
    let more = [
        "--chunks",
        "4",
        "--process-output",
        "-ctk",
        "f32",
        "-b",
        "50",
    ];
    let ran = learn(model, &out, &more);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(
        ran.stdout,
        format!("{}: 23 tensors, 4 chunks of 128 tokens\n", out.display())
    );
    assert!(ran.stderr.starts_with("512 tokens in "), "{ran:?}");

    let (ours, theirs) = (open(&out), open(Path::new(&data("imatrix/tiny-chat.gguf"))));
    assert_eq!(ours.datasets(), [data("smollm2/text.txt")]);
    assert_eq!(
        (ours.chunks(), ours.chunk_size()),
        (theirs.chunks(), theirs.chunk_size())
    );
    let names: Vec<_> = theirs.tensors().collect();
    assert_eq!(ours.tensors().collect::<Vec<_>>(), names);
    // Of each kind that there is: heads of both projections, experts, router, shared expert, output.
    for part in [
        "attn_k_b",
        "attn_v_b",
        "ffn_down_exps",
        "ffn_gate_inp",
        "ffn_up_shexp",
        "output",
    ] {
        assert!(names.iter().any(|name| name.contains(part)), "{part}");
    }
    for name in names {
        let [ours, theirs] = [&ours, &theirs].map(|m| m.importance(name).expect("the tensor"));
        assert_eq!(ours.len(), theirs.len(), "{name}");
        let largest = theirs.iter().fold(0f32, |most, x| most.max(*x));
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert!(
                (ours - theirs).abs() <= 1e-5 * largest,
                "{name}: {ours} against {theirs}"
            );
        }
    }
}

#[test]
fn the_output_is_left_out_and_an_older_matrix_replaced() {
    let folder = Folder::new("older");
    let model = data("tiny-chat.gguf");
    let older = fs::read(data("imatrix/tiny-chat.gguf")).expect("the fixture");
    let out = folder.file("matrix.gguf", &older);
    let ran = learn(&model, &out, &["--chunks", "1"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(
        ran.stdout
            .ends_with(": 22 tensors, 1 chunk of 128 tokens\n")
    );
    let learned = open(&out);
    assert_eq!((learned.chunks(), learned.tensors().len()), (1, 22));
    assert!(learned.importance("output.weight").is_none());
    assert_eq!(fs::read_dir(&folder.path).expect("a folder").count(), 1);
}

#[test]
fn what_cannot_be_learned_from_or_written_to_is_refused() {
    let folder = Folder::new("unlearned");
    let model = data("tiny-llama.gguf");
    let out = folder.path.join("new.gguf");
    let text = folder.file("text.txt", b"A short text.");
    let copy = folder.file("copy.gguf", &fs::read(&model).expect("the model"));
    let named = |path: &PathBuf| path.to_str().expect("a plain path").to_owned();
    for taken in [&text, &copy, &folder.path] {
        let before = fs::read(taken).ok();
        learn(&model, taken, &[]).fails(2, &["-o", &named(taken), "a new file"]);
        assert_eq!(fs::read(taken).ok(), before, "nothing is written over");
    }
    let short = [
        "imatrix",
        "-m",
        &model,
        "-f",
        &named(&text),
        "-o",
        &named(&out),
    ];
    wattle(short).fails(2, &["text of ", "at least one chunk of 512"]);
    wattle([&short[..], &["--chunks", "0"]].concat()).fails(2, &["--chunks 0"]);
    wattle([&short[..], &["-c", "1"]].concat()).fails(2, &["-c 1", "at least 3"]);
    let nowhere = Path::new("/no/such/folder/a.gguf");
    // Said before the work is begun: not even the model is looked for.
    learn("/no/such/model.gguf", nowhere, &[])
        .fails(1, &["/no/such/folder/a.gguf", "cannot create"]);
    assert!(!out.exists(), "a file after a failure");
}
