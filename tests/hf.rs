//! Golden logits: the tiny models of `tests/data/hf` against Hugging Face transformers.
//!
//! `tests/data/hf/make.py` built the models and ran them in float32; `index.json` lists the cases. Here every case runs on every
//! instruction set of this machine, on one thread and on two, with the tokens in one batch, in uneven batches and one by one.
//! The cache is f32, so what differs is the order of sums and the absorbed form of attention, and
//! `max |ours - theirs| <= 1e-4 * max |theirs|` must hold.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use wattle::load::{LoadOptions, Model};
use wattle::model::{CacheType, Logits};
use wattle_kernels::Isa;

const TOLERANCE: f32 = 1e-4;

#[derive(Deserialize)]
struct Index {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    /// The GGUF file.
    file: String,
    /// The `.npy` file with the logits after every token, float32 `[tokens, n_vocab]`.
    logits: String,
    note: String,
    tokens: Vec<u32>,
}

fn data(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/hf")
        .join(file)
}

fn cases() -> Vec<Case> {
    let text = fs::read_to_string(data("index.json")).expect("the index is in the repository");
    let index: Index = serde_json::from_str(&text).expect("make.py writes valid JSON");
    index.cases
}

/// The numbers of a `.npy` file of little-endian float32 in C order (NEP 1: magic, version, u16 header length, header, data).
fn npy(file: &str) -> Vec<f32> {
    let bytes = fs::read(data(file)).expect("the logits are in the repository");
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00", "{file} is not npy 1.0");
    let data = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = String::from_utf8_lossy(&bytes[10..data]);
    let plain = header.contains("'<f4'") && header.contains("'fortran_order': False");
    assert!(plain, "{file}: {header}");
    let numbers = bytes[data..].chunks_exact(4);
    numbers
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect()
}

/// Our logits after every token, with `tokens` fed in batches of at most `batch`.
fn run(model: &Model, tokens: &[u32], batch: usize) -> Vec<f32> {
    let mut state = model
        .transformer()
        .state(tokens.len(), CacheType::F32, batch)
        .expect("a small state fits");
    let mut logits = Vec::new();
    for part in tokens.chunks(batch) {
        let rows = model
            .transformer()
            .forward(model.pool(), part, &mut state, Logits::All)
            .expect("the tokens fit");
        logits.extend_from_slice(rows);
    }
    logits
}

/// `max |a - b| / max |b|`; infinite when anything is not a number.
fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "as many logits as expected");
    let difference = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    let worst = difference.fold(
        0.0,
        |m: f32, x| {
            if x.is_nan() { f32::INFINITY } else { m.max(x) }
        },
    );
    worst / b.iter().fold(0.0, |m: f32, x| m.max(x.abs()))
}

/// Runs every case with `threads` threads and returns what went wrong.
fn faults(threads: usize) -> Vec<String> {
    let mut faults = Vec::new();
    for case in cases() {
        let want = npy(&case.logits);
        for isa in Isa::available().map(Isa::name) {
            let options = LoadOptions {
                threads: Some(threads),
                isa: Some(isa.to_owned()),
                ..LoadOptions::default()
            };
            let model = match Model::load_with(data(&case.file), &options) {
                Ok(model) => model,
                Err(error) => {
                    faults.push(format!("{}: {error}", case.name));
                    continue;
                }
            };
            for batch in [case.tokens.len(), 7, 1] {
                let off = distance(&run(&model, &case.tokens, batch), &want);
                if off.is_nan() || off > TOLERANCE {
                    faults.push(format!(
                        "{} ({}): off by {off:.1e} on {isa}, {threads} threads, batches of {batch}",
                        case.name, case.note
                    ));
                }
            }
        }
    }
    faults
}

#[test]
fn logits_are_those_of_transformers() {
    let faults = faults(1);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn logits_are_those_of_transformers_on_two_threads() {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if cores < 2 {
        eprintln!("skipped: two threads on a machine with one core");
        return;
    }
    let faults = faults(2);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// What every architecture remembers of a token is forgotten with it.
#[test]
fn a_state_that_was_rewound_goes_on_as_before() {
    for (case, kind) in cases()
        .iter()
        .flat_map(|case| CacheType::ALL.iter().map(move |kind| (case, *kind)))
    {
        let model = Model::load(data(&case.file)).expect("a model of the repository");
        let transformer = model.transformer();
        let mut state = transformer
            .state(case.tokens.len(), kind, 1)
            .expect("a small state fits");
        let mut run = |tokens: &[u32], keep: usize| {
            state.truncate(keep);
            let mut last = Vec::new();
            for token in tokens {
                let logits = transformer.forward(model.pool(), &[*token], &mut state, Logits::Last);
                last = logits.expect("the tokens fit").to_vec();
            }
            last
        };
        let once = run(&case.tokens, 0);
        let (before, after) = case.tokens.split_at(case.tokens.len() / 2);
        let other: Vec<u32> = after.iter().map(|token| token ^ 1).collect();
        let what = format!("{} with a cache in {}", case.name, kind.name());
        assert_ne!(run(&other, before.len()), once, "{what}");
        assert_eq!(run(after, before.len()), once, "{what}");
    }
}

#[test]
fn index_names_every_model() {
    let mut listed: Vec<_> = cases().into_iter().map(|case| case.file).collect();
    let mut there: Vec<_> = fs::read_dir(data(""))
        .expect("the directory is in the repository")
        .map(|entry| {
            entry
                .expect("readable")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .filter(|name| name.ends_with(".gguf"))
        .collect();
    listed.sort();
    there.sort();
    assert_eq!(
        listed, there,
        "make.py writes the files and the index together"
    );
}
