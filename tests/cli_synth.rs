//! `wattle synth`: the files it writes are those of its seed, have the types that quantize gives, and run.

#[path = "cli/program.rs"]
mod program;

use std::fs;
use std::path::Path;

use program::{Folder, Ran, wattle};
use serde_json::Value;
use wattle::gguf::{GgmlType, Gguf, TensorInfo, Writer};

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

fn synth<'a>(args: impl IntoIterator<Item = &'a str>) -> Ran {
    wattle(["synth"].into_iter().chain(args))
}

#[track_caller]
fn json(ran: &Ran) -> Value {
    assert_eq!(ran.code, Some(0), "{ran:?}");
    serde_json::from_str(&ran.stdout).expect("JSON")
}

/// Names in a folder.
fn names(folder: &Folder) -> Vec<String> {
    let entries = fs::read_dir(&folder.path).expect("a folder");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    names
        .map(|name| name.to_string_lossy().into_owned())
        .collect()
}

#[test]
fn the_seed_decides_the_bytes() {
    let folder = Folder::new("synth-seed");
    let made = |name: &str, more: &[&str]| {
        let path = folder.path.join(name);
        let ran = synth(
            ["tiny", text(&path)]
                .into_iter()
                .chain(more.iter().copied()),
        );
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""), "{ran:?}");
        fs::read(path).expect("a file")
    };
    let first = made("a", &[]);
    assert!(first == made("b", &["--seed", "0", "-t", "1"]), "same seed");
    let other = made("c", &["-s", "1"]);
    assert_eq!(first.len(), other.len());
    assert!(first != other, "another seed, the same weights");
}

#[test]
fn types_are_those_of_quantize() {
    let folder = Folder::new("synth-types");
    for ty in ["Q4_0", "Q4_K_M", "Q2_K", "IQ4_XS", "MXFP4_MOE", "F16"] {
        let path = folder.path.join(ty);
        let args = ["tiny", text(&path), ty, "--layers", "3", "--json"];
        let report = json(&synth(args));
        let model = Gguf::open(&path).expect("a sound file");
        assert_eq!(report["tensors"], model.tensors().len());

        // The same model as a converter would write it: matrices in BF16, the rest in F32.
        let mut head = Writer::new();
        for (key, value) in model.metadata().iter() {
            if !key.starts_with("tokenizer.") {
                head.copy(key, value).expect("a key");
            }
        }
        let matrix =
            |tensor: &TensorInfo| tensor.n_dims > 1 && !tensor.name.contains("ffn_gate_inp");
        for tensor in model.tensors() {
            let ty = match matrix(tensor) {
                true => GgmlType::BF16,
                false => GgmlType::F32,
            };
            head.tensor(&tensor.name, tensor.shape(), ty).expect("once");
        }
        let mut body = head.start(Vec::new()).expect("in memory");
        for tensor in model.tensors() {
            let bytes = tensor.elements() * if matrix(tensor) { 2 } else { 4 };
            body.write(&vec![0; bytes as usize]).expect("in memory");
        }
        let source = folder.file("source", &body.finish().expect("whole"));
        let args = ["quantize", text(&source), ty, "--dry-run", "--json"];
        let plan = json(&wattle(args));
        let plan = plan["plan"].as_array().expect("a list");
        assert_eq!(plan.len(), model.tensors().len(), "{ty}");
        for (step, tensor) in plan.iter().zip(model.tensors()) {
            assert_eq!(step["name"], tensor.name.as_str());
            assert_eq!(step["to"], tensor.ty.name(), "{ty}: {}", tensor.name);
        }
    }
}

#[test]
fn it_is_inspected_and_runs() {
    let folder = Folder::new("synth-run");
    let path = folder.path.join("a.gguf");
    for ty in ["Q4_0", "Q4_K_M"] {
        let report = json(&synth(["tiny", text(&path), ty, "-f", "--json"]));
        assert_eq!(report["type"], ty);
        let inspected = json(&wattle(["inspect", text(&path), "--json"]));
        assert_eq!(inspected["architecture"], "deepseek2");
        assert_eq!(inspected["cut"], Value::Null);
        assert_eq!(inspected["notes"], Value::Array(Vec::new()));
        for (of_file, of_synth) in [
            (&inspected["parameters"], "parameters"),
            (&inspected["weight_bytes"], "bytes"),
            (&inspected["token"]["parameters"], "active_parameters"),
        ] {
            assert_eq!(*of_file, report[of_synth], "{of_synth}");
        }
        let args = [
            "run",
            "-m",
            text(&path),
            "-p",
            "tell me",
            "-n",
            "12",
            "--temp",
            "0",
            "--no-cnv",
            "-t",
            "1",
        ];
        let ran = wattle(args);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(ran.stdout.len() > 12, "too short: {ran:?}");
        // Neither dead nor exploded: every token is possible, and they are not equally so.
        let ran = wattle([
            "score",
            "-m",
            text(&path),
            "-p",
            "tell me a story",
            "--json",
        ]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let scored: Value = serde_json::from_str(&ran.stdout).expect("JSON");
        let tokens = scored["tokens"].as_array().expect("a list").iter().skip(1);
        let logs: Vec<f64> = tokens.filter_map(|t| t["logprob"].as_f64()).collect();
        let (least, most) = logs
            .iter()
            .fold((0.0_f64, -1e9_f64), |(l, m), x| (l.min(*x), m.max(*x)));
        assert!(logs.len() > 8 && least > -40.0, "{logs:?}");
        assert!(most - least > 0.1, "{logs:?}");
    }
}

#[test]
fn the_list_has_every_shape() {
    let shapes = json(&synth(["--list", "--json"]));
    let shapes = shapes["shapes"].as_array().expect("a list");
    let plain = synth([""; 0]);
    assert_eq!(plain.code, Some(0), "{plain:?}");
    assert_eq!(plain.stdout.lines().count(), shapes.len() + 1);
    // In thousand millions: parameters as the makers give them, and those without experts at rest and the table of embeddings.
    for (name, parameters, active) in [
        ("v2-lite", 15.7, 2.4),
        ("moonlight", 16.0, 2.6),
        ("minicpm3", 4.07, 4.07),
        ("plm", 1.83, 1.83),
        ("r1-1.5b", 1.78, 1.54),
    ] {
        let shape = shapes.iter().find(|shape| shape["shape"] == name);
        let shape = shape.expect("a shape of this name");
        for (key, expected) in [("parameters", parameters), ("active_parameters", active)] {
            let found = shape[key].as_f64().expect("a number") / 1e9;
            assert!(
                (found / expected - 1.0).abs() < 0.03,
                "{name}: {key} {found}, {expected} expected"
            );
        }
        assert!(plain.stdout.contains(name), "{plain:?}");
    }
}

#[test]
fn what_cannot_be_made_is_refused() {
    let folder = Folder::new("synth-refused");
    let path = folder.path.join("a.gguf");
    let out = text(&path);
    synth(["huge", out]).fails(2, &["SHAPE huge", "one of v2-lite,", "tiny"]);
    synth(["tiny", out, "Q4_9"]).fails(2, &["TYPE Q4_9", "Q4_K_M"]);
    for layers in ["0", "5"] {
        synth(["tiny", out, "--layers", layers]).fails(2, &["--layers", "1 to 4"]);
    }
    synth(["tiny"]).fails(2, &["<OUT>"]);
    synth(["tiny", out, "-t", "0"]).fails(2, &["-t 0"]);
    assert_eq!(names(&folder), [""; 0], "nothing is left");

    fs::write(&path, "mine").expect("a file");
    synth(["tiny", out]).fails(2, &["OUT", "this one exists", "--force"]);
    assert_eq!(fs::read(&path).expect("a file"), b"mine");
    assert_eq!(synth(["tiny", out, "--force"]).code, Some(0));
    assert_eq!(names(&folder), ["a.gguf"]);
    let missing = folder.path.join("no/a.gguf");
    synth(["tiny", text(&missing)]).fails(1, &["cannot create"]);
}

#[test]
fn a_disk_without_room_is_noticed_before_it_is_full() {
    let folder = Folder::new("synth-room");
    let path = folder.path.join("a.gguf");
    // 2.7 TB: DeepSeek-V3 whole, which no disk of a test has.
    let args = ["v3-few", text(&path), "F32", "--layers", "61"];
    synth(args).fails(1, &["cannot write", "MB left", "fewer --layers"]);
    assert_eq!(names(&folder), [""; 0], "nothing is left");
}
