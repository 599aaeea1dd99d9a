//! `wattle quantize`: what comes out of it, what is kept, and that nothing is ever lost. More than 400 lines, because every way to
//! fail is tried on the real program.

#[path = "cli/program.rs"]
mod program;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use program::{Folder, Ran, command, finish, wattle};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use wattle::gguf::{GgmlType, Gguf, Writer};
use wattle::imatrix::Imatrix;
use wattle_kernels::{Format, decode};

fn data(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    text(&path.join(name)).to_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

fn quantize<'a>(args: impl IntoIterator<Item = &'a str>) -> Ran {
    wattle(["quantize"].into_iter().chain(args))
}

fn json(ran: &Ran) -> Value {
    assert_eq!(ran.code, Some(0), "{ran:?}");
    serde_json::from_str(&ran.stdout).expect("JSON")
}

/// Names in a folder, sorted.
fn names(folder: &Folder) -> Vec<String> {
    let entries = fs::read_dir(&folder.path).expect("a folder");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<_> = names
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// The weights of a tensor.
fn weights(model: &Gguf, name: &str) -> Vec<f32> {
    let tensor = model.tensor(name).expect("the tensor");
    let format = Format::from_ggml(tensor.ty.id()).expect("a format with kernels");
    let mut out = vec![0.0; tensor.elements() as usize];
    decode(format, &model.bytes(tensor), &mut out);
    out
}

/// A model of an architecture that nobody knows, with F32 tensors of these shapes and weights.
fn strange(folder: &Folder, name: &str, tensors: &[(&str, &[u64], Vec<f32>)]) -> PathBuf {
    let mut head = Writer::new();
    head.key("general.architecture", "strange").expect("a key");
    for (name, dims, _) in tensors {
        head.tensor(name, dims, GgmlType::F32).expect("a tensor");
    }
    let mut body = head.start(Vec::new()).expect("in memory");
    for (.., weights) in tensors {
        let bytes: Vec<u8> = weights.iter().flat_map(|x| x.to_le_bytes()).collect();
        body.write(&bytes).expect("in memory");
    }
    folder.file(name, &body.finish().expect("in memory"))
}

/// Holds a new file against the one it was made of: keys, order of tensors, shapes, and weights but for a few percent.
#[track_caller]
fn same_but_smaller(old: &Gguf, new: &Gguf) {
    let kept = |key: &str| !key.starts_with("general.file_type") && !key.contains("quantization");
    let keys = |model: &Gguf| -> Vec<(String, String)> {
        let all = model.metadata().iter().filter(|(key, _)| kept(key));
        all.map(|(key, value)| (key.to_owned(), format!("{value}")))
            .collect()
    };
    assert_eq!(keys(old), keys(new), "keys");
    assert_eq!(old.tensors().len(), new.tensors().len(), "tensors");
    for (a, b) in old.tensors().iter().zip(new.tensors()) {
        let shapes = [(&a.name, a.shape()), (&b.name, b.shape())];
        assert_eq!(shapes[0], shapes[1], "name and shape");
        if a.ty == b.ty {
            assert_eq!(old.bytes(a)[..], new.bytes(b)[..], "{}: copied", a.name);
            continue;
        }
        let (a, b) = (weights(old, &a.name), weights(new, &b.name));
        let power: f32 = a.iter().map(|x| x * x).sum();
        let error: f32 = a.iter().zip(&b).map(|(x, y)| (x - y) * (x - y)).sum();
        assert!(error <= 0.02 * power, "{error} of {power}");
    }
}

#[test]
fn keys_tensors_and_weights_are_kept() {
    let folder = Folder::new("quantize-kept");
    // With a layer that predicts further tokens, and rows that fit no block.
    let source = data("hf/v3-mtp.gguf");
    let out = folder.path.join("new.gguf");
    for (ty, file_type) in [("q8_0", 7), ("Q4_K", 15), ("BF16", 32), ("Mxfp4", 38)] {
        let ran = quantize([&source, text(&out), ty, "1", "--force", "--json"]);
        let report = json(&ran);
        let (old, new) = (Gguf::open(Path::new(&source)), Gguf::open(&out));
        let (old, new) = (old.expect("a model"), new.expect("a model"));
        same_but_smaller(&old, &new);
        let key = |key| new.metadata().u32(key).expect("a number");
        assert_eq!(key("general.file_type"), Some(file_type));
        assert_eq!(key("general.quantization_version"), Some(2));
        assert_eq!(report["tensors"], new.tensors().len());
        assert_eq!(report["output"][0], text(&out));
        assert_eq!(report["threads"], 1);
        let bytes: u64 = new.tensors().iter().map(|tensor| tensor.n_bytes()).sum();
        assert_eq!(report["bytes_out"], bytes);
        for (step, tensor) in report["plan"]
            .as_array()
            .expect("a plan")
            .iter()
            .zip(new.tensors())
        {
            assert_eq!(step["name"], tensor.name.as_str());
            assert_eq!(step["to"], tensor.ty.name());
        }
        let types = report["types"].as_array().expect("types");
        let count: u64 = types.iter().filter_map(|one| one["tensors"].as_u64()).sum();
        assert_eq!(count, new.tensors().len() as u64);
    }
    assert_eq!(names(&folder), ["new.gguf"]);
}

#[test]
fn a_model_of_an_unknown_architecture_is_converted() {
    let folder = Folder::new("quantize-strange");
    let ramp = |n: usize| -> Vec<f32> { (0..n).map(|i| (i as f32 * 0.37).sin()).collect() };
    let model = strange(
        &folder,
        "old.gguf",
        &[
            ("a.weight", &[64, 3], ramp(192)),
            ("empty.weight", &[32, 0], Vec::new()),
            ("one.weight", &[64], ramp(64)),
            ("a.stack.weight", &[32, 2, 5], ramp(320)),
            ("odd.weight", &[33, 2], ramp(66)),
        ],
    );
    let out = folder.path.join("new.gguf");
    let ran = quantize([text(&model), text(&out), "Q5_1"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""), "{ran:?}");
    assert!(ran.stderr.contains("note: 1 tensor: rows"), "{ran:?}");
    assert!(ran.stderr.contains("odd.weight"), "a note: {ran:?}");
    assert!(ran.stderr.contains("F32  1 tensor, "), "{ran:?}");
    let (old, new) = (
        Gguf::open(&model).expect("old"),
        Gguf::open(&out).expect("new"),
    );
    same_but_smaller(&old, &new);
    let types: Vec<_> = new
        .tensors()
        .iter()
        .map(|tensor| tensor.ty.name())
        .collect();
    assert_eq!(types, ["Q5_1", "Q5_1", "F32", "Q5_1", "F16"]);
}

#[test]
fn a_split_model_stays_split() {
    let folder = Folder::new("quantize-split");
    let source = data("tiny-llama-split-00001-of-00003.gguf");
    let old = Gguf::open(Path::new(&source)).expect("three files");
    let out = folder.path.join("new.gguf");
    let report = json(&quantize([
        &source,
        text(&out),
        "Q8_0",
        "--keep-split",
        "--allow-requantize",
        "--json",
    ]));
    let files: Vec<String> = (1..=3)
        .map(|i| format!("new-0000{i}-of-00003.gguf"))
        .collect();
    assert_eq!(names(&folder), files);
    assert_eq!(report["output"].as_array().map(Vec::len), Some(3));
    let first = folder.path.join(&files[0]);
    let new = Gguf::open(&first).expect("three files");
    same_but_smaller(&old, &new);
    for (a, b) in old.tensors().iter().zip(new.tensors()) {
        assert_eq!(a.shard(), b.shard(), "{}", a.name);
    }

    // Whoever names the first file gets the same, and is not let onto it.
    quantize([&source, text(&first), "Q8_0", "--allow-requantize"])
        .fails(2, &["this one exists", "--force"]);
    let merged = folder.path.join("merged.gguf");
    let ran = quantize([
        &source,
        text(&merged),
        "Q8_0",
        "--merge",
        "--allow-requantize",
    ]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let one = Gguf::open(&merged).expect("one file");
    assert!(
        one.metadata()
            .iter()
            .all(|(key, _)| !key.starts_with("split."))
    );
    assert_eq!(one.tensors().len(), new.tensors().len());
    for (a, b) in one.tensors().iter().zip(new.tensors()) {
        assert_eq!(a.name, b.name);
        assert_eq!(one.bytes(a)[..], new.bytes(b)[..], "{}", a.name);
    }
}

#[test]
fn a_key_of_several_files_is_merged_once() {
    let folder = Folder::new("quantize-merge");
    for no in 0..3_u16 {
        let mut head = Writer::new();
        head.key("split.no", no).expect("a key");
        head.key("split.count", 3_u16).expect("a key");
        head.key("split.tensors.count", 2_i32).expect("a key");
        if no > 0 {
            head.key("note", u32::from(no)).expect("a key");
            head.key("general.file_type", 0_u32).expect("a key");
            head.align(64).expect("a key");
            let name = format!("{no}.weight");
            head.tensor(&name, &[1], GgmlType::F32).expect("a tensor");
        }
        let mut body = head.start(Vec::new()).expect("in memory");
        if no > 0 {
            body.write(&[0; 4]).expect("in memory");
        }
        let name = format!("old-0000{}-of-00003.gguf", no + 1);
        folder.file(&name, &body.finish().expect("in memory"));
    }
    let old = folder.path.join("old-00001-of-00003.gguf");
    let out = folder.path.join("new.gguf");
    let ran = quantize([text(&old), text(&out), "Q8_0", "--merge"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let new = Gguf::open(&out).expect("one file");
    assert_eq!(new.metadata().u32("note").expect("a number"), Some(1));
    assert_eq!(new.tensors().len(), 2);

    // Split, each keeps its keys, of which none tells of the old types; a later file gets no new ones.
    let ran = quantize([text(&old), text(&out), "Q8_0"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let new = Gguf::open(&folder.path.join("new-00001-of-00003.gguf")).expect("three files");
    for no in 0..3 {
        let keys = new.metadata_of(no);
        let number = |key| keys.u32(key).expect("a number");
        assert_eq!(number("general.file_type"), Some(7), "file {no}");
        assert_eq!(number("note"), (no > 0).then_some(no as u32));
        let version = (no == 0).then_some(2);
        assert_eq!(number("general.quantization_version"), version);
    }
}

#[test]
fn a_signal_leaves_nothing() {
    let folder = Folder::new("quantize-signal");
    let mut head = Writer::new();
    let rows = 1_u64 << 20;
    head.tensor("a.weight", &[256, rows], GgmlType::F32)
        .expect("a tensor");
    // A gigabyte of zeros, of which the disk holds none: the program is at work for seconds.
    let model = folder.file("old.gguf", b"");
    let mut file = fs::File::create(&model).expect("a file");
    drop(head.start(&mut file).expect("written"));
    let start = file.metadata().expect("a file").len();
    file.set_len(start + rows * 256 * 4).expect("a longer file");
    let out = folder.path.join("new.gguf");
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut program = command();
        program.args(["quantize", text(&model), text(&out), "Q6_K"]);
        let program = program.stderr(Stdio::piped());
        let mut child = program.spawn().expect("the program starts");
        while names(&folder).len() == 1 && child.try_wait().expect("a child").is_none() {
            std::thread::yield_now();
        }
        kill_process(Pid::from_child(&child), signal).expect("a signal");
        let ended = child.wait_with_output().expect("the program ends");
        assert_eq!(ended.status.code(), Some(code), "{ended:?}");
        assert_eq!(names(&folder), ["old.gguf"]);
    }
}

#[test]
fn what_is_read_is_never_written_over() {
    let folder = Folder::new("quantize-over");
    let bytes = fs::read(data("hf/llama.gguf")).expect("a model");
    let source = folder.file("a.gguf", &bytes);
    let (soft, hard) = (folder.path.join("soft.gguf"), folder.path.join("hard.gguf"));
    symlink(&source, &soft).expect("a link");
    fs::hard_link(&source, &hard).expect("a link");
    let before = names(&folder);
    for out in [&source, &soft, &hard] {
        let ran = quantize([text(&source), text(out), "Q8_0", "--force"]);
        ran.fails(2, &[text(out), "which is read"]);
    }
    quantize([text(&source), "/dev/null", "Q8_0", "-f"]).fails(2, &["--dry-run"]);
    let lost = folder.path.join("no/such/folder.gguf");
    quantize([text(&source), text(&lost), "Q8_0"]).fails(1, &[text(&lost), "cannot create"]);
    assert_eq!(names(&folder), before);
    assert_eq!(fs::read(&source).expect("a model"), bytes);

    // A file of a split model, under the name that the new one would have.
    for i in 1..=3 {
        let name = format!("tiny-llama-split-0000{i}-of-00003.gguf");
        fs::copy(data(&name), folder.path.join(&name)).expect("a copy");
    }
    let first = folder.path.join("tiny-llama-split-00001-of-00003.gguf");
    let whole = folder.path.join("tiny-llama-split.gguf");
    for out in [&first, &whole] {
        let ran = quantize([text(&first), text(out), "Q8_0", "-f", "--allow-requantize"]);
        ran.fails(2, &["00001-of-00003.gguf", "which is read"]);
    }
}

#[test]
fn a_folder_is_refused_before_any_work() {
    let folder = Folder::new("quantize-folder");
    let new = folder.path.join("new");
    for source in ["hf/llama.gguf", "tiny-llama-split-00001-of-00003.gguf"] {
        for out in [
            text(&folder.path).to_owned(),
            format!("{}/", new.display()),
            format!("{}/.", new.display()),
            format!("{}/..", new.display()),
        ] {
            let ran = quantize([&data(source), &out, "Q8_0", "-f", "--allow-requantize"]);
            ran.fails(2, &[&out, "a regular file", "a folder"]);
        }
    }
    assert_eq!(names(&folder), [""; 0]);
}

#[test]
fn a_file_that_exists_is_replaced_only_by_force() {
    let folder = Folder::new("quantize-force");
    let source = data("hf/llama.gguf");
    let out = folder.file("new.gguf", b"something dear");
    quantize([&source, text(&out), "Q8_0"]).fails(2, &["this one exists", "--force"]);
    assert_eq!(fs::read(&out).expect("a file"), b"something dear");
    let ran = quantize([&source, text(&out), "Q8_0", "-f"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    Gguf::open(&out).expect("the new model");
    assert_eq!(names(&folder), ["new.gguf"]);
}

#[test]
fn a_full_disk_leaves_nothing_half_written() {
    let folder = Folder::new("quantize-full");
    let out = folder.file("new.gguf", b"something dear");
    // A limit on the size of files stands for the disk: with its signal ignored, writing past it fails as on a full one.
    let program = command();
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$@\"", "sh"])
        .arg(program.get_program())
        .args(program.get_args())
        .args(["quantize", "--force", &data("hf/llama.gguf")])
        .args([text(&out), "Q8_0"]);
    finish(limited, b"").fails(1, &[text(&out), "cannot write"]);
    assert_eq!(fs::read(&out).expect("a file"), b"something dear");
    assert_eq!(names(&folder), ["new.gguf"]);
}

#[test]
fn weights_that_are_no_numbers_are_named() {
    let folder = Folder::new("quantize-nan");
    let mut nan = vec![1.0; 96];
    nan[64 + 5] = f32::NAN;
    let mut large = vec![1.0; 96];
    large[32] = 1e30;
    let out = folder.path.join("new.gguf");
    for (name, weights, dims, ty, parts) in [
        (
            "nan",
            nan.clone(),
            &[32, 3][..],
            "Q8_0",
            ["finite", "NaN in row 2, column 5"],
        ),
        (
            "copied",
            nan,
            &[96],
            "Q8_0",
            ["finite", "NaN in row 0, column 69"],
        ),
        (
            "large",
            large,
            &[32, 3],
            "F16",
            ["F16 can hold", "row 1, column 0"],
        ),
    ] {
        let tensor = format!("{name}.weight");
        let model = strange(&folder, name, &[(&tensor, dims, weights)]);
        let ran = quantize([text(&model), text(&out), ty]);
        ran.fails(1, &[text(&model), &tensor, parts[0], parts[1]]);
    }
    assert_eq!(names(&folder), ["copied", "large", "nan"]);
}

#[test]
fn what_cannot_be_converted_is_refused_at_once() {
    let folder = Folder::new("quantize-refused");
    let out = folder.path.join("new.gguf");
    let out = text(&out);
    let source = data("hf/llama.gguf");
    quantize([&source, out, "Q4_K_L"]).fails(2, &["TYPE Q4_K_L", "Q4_K_M, ", "MXFP4_MOE"]);
    quantize([&source, out]).fails(2, &["<TYPE>"]);
    for (flag, value, expected) in [
        ("--output-tensor-type", "Q9_0", "one of F32"),
        ("--token-embedding-type", "IQ1_S", "one of F32"),
        ("--tensor-type", "attn_q", "PATTERN=TYPE"),
        ("--tensor-type", "=q8_0", "PATTERN=TYPE"),
        ("--tensor-type", "a=b=q8_0", "one of F32"),
        ("--tensor-type", "(=q8_0", "a regular expression"),
    ] {
        quantize([&source, out, "Q8_0", flag, value]).fails(2, &[flag, expected]);
    }

    let small = folder.path.join("small.gguf");
    let ran = quantize([&source, text(&small), "Q8_0"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    quantize([text(&small), out, "Q4_0"]).fails(1, &["Q8_0", "--allow-requantize", ".weight"]);
    let ran = quantize([text(&small), out, "Q4_0", "--allow-requantize"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");

    let mut head = Writer::new();
    head.tensor("a.weight", &[256, 2], GgmlType::IQ2_XXS)
        .expect("a tensor");
    let mut body = head.start(Vec::new()).expect("in memory");
    body.write(&[0; 132]).expect("in memory");
    let rare = folder.file("rare.gguf", &body.finish().expect("in memory"));
    let other = folder.path.join("other.gguf");
    let ran = quantize([text(&rare), text(&other), "Q8_0", "--allow-requantize"]);
    ran.fails(
        1,
        &["a.weight", "IQ2_XXS, which this program cannot decode"],
    );
}

#[test]
fn a_dry_run_says_what_would_be_done() {
    let source = data("hf/v3.gguf");
    for args in [&["Q4_K_M"][..], &["out.gguf", "Q4_K_M"]] {
        let ran = quantize(
            [&source, "--dry-run"]
                .into_iter()
                .chain(args.iter().copied()),
        );
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let model = Gguf::open(Path::new(&source)).expect("a model");
        assert_eq!(ran.stdout.lines().count(), model.tensors().len());
        let line = ran
            .stdout
            .lines()
            .find(|line| line.starts_with("output.weight "));
        let line = line.expect("a line for each tensor");
        assert!(
            line.contains("32 x 64") && line.ends_with("F16   -> Q8_0"),
            "{line}"
        );
        assert!(ran.stderr.contains("nothing written"), "{ran:?}");
    }
    let report = json(&quantize([source.as_str(), "--dry-run", "Q8_0", "--json"]));
    assert_eq!(report["output"].as_array().map(Vec::len), Some(0));
    assert_eq!(report["seconds"], Value::Null);
}

#[test]
fn an_importance_matrix_is_used_and_recorded() {
    let folder = Folder::new("quantize-imatrix");
    let source = data("hf/v3.gguf");
    let plain = folder.path.join("plain.gguf");
    let guided = folder.path.join("guided.gguf");
    let matrix = data("quantize/imatrix.gguf");
    let ran = quantize([&source, text(&plain), "Q4_0"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let ran = quantize([&source, text(&guided), "Q4_0", "--imatrix", &matrix]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(
        ran.stderr.contains("not known to the importance matrix"),
        "a note: {ran:?}"
    );
    let (plain, guided) = (
        Gguf::open(&plain).expect("plain"),
        Gguf::open(&guided).expect("guided"),
    );
    let bytes = |model: &Gguf, name: &str| model.bytes(model.tensor(name).expect("it")).to_vec();
    let known = "blk.1.ffn_up_exps.weight";
    assert!(
        bytes(&plain, known) != bytes(&guided, known),
        "weighted otherwise"
    );
    let unknown = "blk.0.ffn_up.weight";
    assert!(
        bytes(&plain, unknown) == bytes(&guided, unknown),
        "not weighted"
    );
    let keys = guided.metadata();
    assert_eq!(
        keys.str("quantize.imatrix.file").expect("text"),
        Some(matrix.as_str())
    );
    assert_eq!(
        keys.str("quantize.imatrix.dataset").expect("text"),
        Some("tales.txt")
    );
    assert_eq!(
        keys.u32("quantize.imatrix.entries_count")
            .expect("a number"),
        Some(3)
    );
    assert_eq!(
        keys.u32("quantize.imatrix.chunks_count").expect("a number"),
        Some(7)
    );

    // Of another model: more layers here, other columns there, and more layers than the model has.
    let out = folder.path.join("other.gguf");
    for (model, parts) in [
        (
            "hf/v3-mtp.gguf",
            ["blk.1.ffn_up_exps.weight", "128 columns"],
        ),
        ("hf/llama.gguf", ["blk.0.attn_output.weight", "32 columns"]),
    ] {
        let ran = quantize([&data(model), text(&out), "Q4_0", "--imatrix", &matrix]);
        ran.fails(1, &[&matrix, parts[0], parts[1], "another model"]);
    }
    // Numbers of layers that no model has.
    for layer in [i64::MIN, i64::MAX] {
        let name = format!("blk.{layer}.a.weight");
        let weights = vec![1.0; 64];
        let model = strange(&folder, "huge.gguf", &[(&name, &[32, 2], weights)]);
        let ran = quantize([text(&model), text(&out), "Q4_0", "--imatrix", &matrix]);
        ran.fails(1, &[&matrix, "tensors of layers", "another model"]);
    }
    let copy = folder.file("copy.gguf", &fs::read(&matrix).expect("a matrix"));
    let ran = quantize([&source, text(&copy), "Q4_0", "-f", "--imatrix", text(&copy)]);
    ran.fails(2, &["which is read"]);
    let ran = quantize([&source, text(&out), "Q4_0", "--imatrix", &source]);
    ran.fails(1, &[&source, "importance matrix", "wattle imatrix"]);

    // Of an older matrix nothing is left beside a new one.
    let mut nameless = Imatrix::new(Vec::new(), 8);
    nameless.add(known, 1, 1).add(0, &[1.0]);
    let file = folder.path.join("nameless.gguf");
    nameless.save(&file).expect("saved");
    let again = folder.path.join("again.gguf");
    let source = guided.path();
    let flags = ["F16", "--allow-requantize", "--imatrix", text(&file)];
    let ran = quantize([text(source), text(&again)].into_iter().chain(flags));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let again = Gguf::open(&again).expect("again");
    let key = |name: &str| again.metadata().str(&format!("quantize.imatrix.{name}"));
    assert_eq!(key("file").expect("text"), Some(text(&file)));
    assert_eq!(key("dataset").expect("text"), None);
}
