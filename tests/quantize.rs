//! The types that tensors get, against those that `llama-quantize` gives them; importance matrices that `gguf-py` wrote; and the
//! bytes of large tensors, against the encoder called row by row.
//!
//! `tests/data/quantize/make.py` asked `llama-quantize --dry-run` and wrote the answers to `types.json`.

use core::ops::ControlFlow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use wattle::gguf::{GgmlType, Gguf, Writer};
use wattle::imatrix::Imatrix;
use wattle::pool::Pool;
use wattle::quantize::{Mix, Options, TensorType, plan, unguided, writable, write};
use wattle_kernels::{Format, encode};

#[derive(Deserialize)]
struct Oracle {
    files: BTreeMap<String, BTreeMap<String, String>>,
    shapes: BTreeMap<String, Shape>,
    flags: Vec<Flags>,
}

#[derive(Deserialize)]
struct Shape {
    arch: String,
    keys: BTreeMap<String, u32>,
    /// `name:dim,dim ...`
    tensors: String,
    types: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Flags {
    shape: String,
    mix: String,
    flags: Vec<String>,
    types: String,
}

fn data(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(file)
}

fn oracle() -> Oracle {
    let text = std::fs::read_to_string(data("quantize/types.json")).expect("a fixture");
    serde_json::from_str(&text).expect("make.py writes valid JSON")
}

/// The model of zeros that `make.py` wrote too.
fn model(shape: &Shape) -> Gguf {
    let mut head = Writer::new();
    head.key("general.architecture", shape.arch.as_str())
        .expect("a key");
    for (key, value) in &shape.keys {
        head.key(&format!("{}.{key}", shape.arch), *value)
            .expect("a key");
    }
    let mut sizes = Vec::new();
    for tensor in shape.tensors.split(' ') {
        let (name, dims) = tensor.split_once(':').expect("dimensions");
        let dims = dims.split(',').map(|n| n.parse().expect("a number"));
        let dims: Vec<u64> = dims.collect();
        let ty = match dims.len() == 1 || name.contains("ffn_gate_inp") {
            true => GgmlType::F32,
            false => GgmlType::F16,
        };
        head.tensor(name, &dims, ty).expect("a tensor");
        sizes.push(dims.iter().product::<u64>() as usize * ty.block_bytes());
    }
    let mut body = head.start(Vec::new()).expect("in memory");
    for size in sizes {
        body.write(&vec![0; size]).expect("in memory");
    }
    let file = body.finish().expect("in memory");
    Gguf::from_bytes(Path::new("shape.gguf"), file).expect("a model")
}

/// The types that we choose, as `types.json` has them.
fn types(model: &Gguf, options: &Options) -> String {
    let steps = plan(model, options).expect("a plan");
    let names: Vec<_> = steps.iter().map(|step| step.to.name()).collect();
    names.join(" ")
}

#[track_caller]
fn agree(model: &Gguf, options: &Options, wanted: &str, what: &str) {
    let got = types(model, options);
    for ((tensor, got), wanted) in model
        .tensors()
        .iter()
        .zip(got.split(' '))
        .zip(wanted.split(' '))
    {
        assert_eq!(got, wanted, "{what}, {}: {}", options.mix.name, tensor.name);
    }
    assert_eq!(got, wanted, "{what}");
}

fn options(mix: &str) -> Options {
    Options::new(Mix::named(mix).expect("a mix"))
}

#[test]
fn every_mix_gives_the_types_that_llama_quantize_gives() {
    let oracle = oracle();
    for mix in Mix::all() {
        for (file, types) in &oracle.files {
            let model = Gguf::open(&data(file)).expect("a model");
            agree(&model, &Options::new(mix), &types[mix.name], file);
        }
        for (name, shape) in &oracle.shapes {
            agree(
                &model(shape),
                &Options::new(mix),
                &shape.types[mix.name],
                name,
            );
        }
    }
}

/// A matrix that knows something of each layer, which is all that the choice of types asks.
fn some_importance(model: &Gguf) -> Imatrix {
    let mut imatrix = Imatrix::new(Vec::new(), 1);
    for tensor in model.tensors() {
        if tensor.name.contains("attn_output") {
            imatrix.add(&tensor.name, 1, tensor.dims[0] as usize);
        }
    }
    imatrix
}

#[test]
fn every_flag_changes_the_types_as_llama_quantize_does() {
    let oracle = oracle();
    for case in &oracle.flags {
        let model = model(&oracle.shapes[&case.shape]);
        let mut options = options(&case.mix);
        let mut flags = case.flags.iter();
        while let Some(flag) = flags.next() {
            let mut value = || flags.next().expect("a value");
            match flag.as_str() {
                "--pure" => options.pure = true,
                "--leave-output-tensor" => options.leave_output = true,
                "--imatrix" => options.imatrix = Some(some_importance(&model)),
                "--output-tensor-type" => {
                    options.output_type = Some(writable("-", value()).expect("a type"));
                }
                "--token-embedding-type" => {
                    options.embedding_type = Some(writable("-", value()).expect("a type"));
                }
                "--tensor-type" => {
                    let one = TensorType::parse(value()).expect("a pattern and a type");
                    options.tensor_types.push(one);
                }
                other => panic!("{other}: no such flag"),
            }
        }
        agree(
            &model,
            &options,
            &case.types,
            &format!("{} {:?}", case.shape, case.flags),
        );
    }
}

#[test]
fn a_matrix_of_either_layout_is_read() {
    let new = Imatrix::open(&data("quantize/imatrix.gguf")).expect("GGUF");
    let old = Imatrix::open(&data("quantize/imatrix.dat")).expect("the older kind");
    assert_eq!(new.datasets(), ["tales.txt", "more.txt"]);
    assert_eq!((new.chunks(), new.chunk_size()), (7, 512));
    assert_eq!(old.datasets(), ["tales.txt"]);
    assert_eq!(old.chunks(), 7);
    assert!(new.tensors().eq(old.tensors()), "the same tensors");
    for name in new.tensors() {
        let (new, old) = (new.importance(name), old.importance(name));
        let (new, old) = (new.expect("known"), old.expect("known"));
        assert_eq!(new.len(), old.len(), "{name}");
        for (i, (new, old)) in new.iter().zip(&old).enumerate() {
            assert!(
                (new - old).abs() <= 1e-6 * new,
                "{name}, {i}: {new} and {old}"
            );
        }
    }
    let experts = new.importance("blk.1.ffn_up_exps.weight").expect("known");
    assert_eq!(experts.len(), 12 * 32);
    assert_eq!(experts[5], 1.0, "expert 0 was never asked");
    assert_eq!(experts[4 * 32 + 9], 4009.0 / 4.0);
    assert_eq!(new.importance("output.weight"), None);
}

#[test]
fn tensors_that_a_matrix_does_not_know_are_named() {
    let imatrix = Imatrix::open(&data("quantize/imatrix.gguf")).expect("GGUF");
    let model = Gguf::open(&data("hf/v3.gguf")).expect("a model");
    let steps = plan(&model, &options("Q8_0")).expect("a plan");
    let names = unguided(&steps, &imatrix);
    assert!(names.contains(&"token_embd.weight"), "{names:?}");
    assert!(!names.contains(&"blk.1.ffn_up_exps.weight"), "{names:?}");
    assert!(!names.contains(&"output_norm.weight"), "copied: {names:?}");
}

#[test]
fn a_matrix_of_another_model_is_refused() {
    let open = |name: &str| Gguf::open(&data(name)).expect("a model");
    let with = |layers: &[u32]| {
        let mut imatrix = Imatrix::new(Vec::new(), 1);
        for layer in layers {
            let name = format!("blk.{layer}.attn_output.weight");
            imatrix.add(&name, 1, 96).add(0, &[1.0; 96]);
        }
        Options {
            imatrix: Some(imatrix),
            ..options("Q8_0")
        }
    };
    for (layers, part) in [
        (&[0][..], "nothing of layer 1"),
        (&[1], "nothing of layer 0"),
        (&[], "nothing of layer 0"),
        (&[0, 1, 7], "layers 0 to 1, found layer 7"),
    ] {
        let fault = plan(&open("hf/v3.gguf"), &with(layers)).expect_err("of another model");
        let said = fault.to_string();
        assert!(said.contains(part) && said.contains("v3.gguf"), "{said}");
    }
    plan(&open("hf/v3.gguf"), &with(&[0, 1])).expect("all layers");
    // Its layer 2 predicts further tokens, and does not run when a matrix is made.
    plan(&open("hf/v3-mtp.gguf"), &with(&[0, 1])).expect("all layers that run");
}

/// Weights that are no pattern, from a simple generator.
fn noise(n: usize) -> Vec<f32> {
    let mut state = 1u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f32::from((state >> 16) as i16) / 32768.0
    };
    core::iter::repeat_with(next).take(n).collect()
}

/// A folder of its own, gone at the end of the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("wattle-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    fn files(&self) -> usize {
        std::fs::read_dir(&self.0).expect("a folder").count()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A tensor of several slabs, and a stack of matrices.
const LARGE: [(&str, [u64; 3]); 2] = [
    ("large.weight", [4096, 300, 1]),
    ("stack.weight", [256, 70, 5]),
];

fn large() -> Gguf {
    let mut head = Writer::new();
    let mut bytes = Vec::new();
    for (name, dims) in LARGE {
        head.tensor(name, &dims, GgmlType::F32).expect("a tensor");
        let weights = noise(dims.iter().product::<u64>() as usize);
        bytes.push(
            weights
                .iter()
                .flat_map(|x| x.to_le_bytes())
                .collect::<Vec<u8>>(),
        );
    }
    let mut body = head.start(Vec::new()).expect("in memory");
    for bytes in &bytes {
        body.write(bytes).expect("in memory");
    }
    let file = body.finish().expect("in memory");
    Gguf::from_bytes(Path::new("large.gguf"), file).expect("a model")
}

#[test]
fn slabs_and_threads_give_what_the_encoder_gives_row_by_row() {
    let folder = Folder::new("large");
    let model = large();
    let mut imatrix = Imatrix::new(Vec::new(), 1);
    for expert in 0..5 {
        let row: Vec<f32> = noise(1280)[expert * 256..][..256].to_vec();
        imatrix.add("stack.weight", 5, 256).add(expert, &row);
    }
    let importance = imatrix.importance("stack.weight").expect("known");
    // The search for four bits takes long, so the large one is only rounded.
    let options = Options {
        imatrix: Some(imatrix),
        tensor_types: vec![TensorType::parse("^large=f16").expect("a type")],
        ..options("Q4_0")
    };
    let steps = plan(&model, &options).expect("a plan");
    let mut losses = Vec::new();
    for threads in [Some(1), None] {
        let pool = Pool::new(threads).expect("threads");
        let out = folder.0.join(format!("{threads:?}.gguf"));
        let mut slabs = 0;
        let done = write(&model, &out, &steps, &options, &pool, &mut |at| {
            slabs += 1;
            assert!(at.done_bytes <= at.total_bytes, "{at:?}");
            ControlFlow::Continue(())
        });
        let done = done.expect("written").expect("not broken off");
        assert_eq!(slabs, 2 + 5, "two slabs, and one a matrix");
        losses.push(done.losses);
        let new = Gguf::open(&out).expect("a model");
        for (name, [cols, rows, matrices]) in LARGE {
            let [cols, size] = [cols, cols * rows].map(|n| n as usize);
            let weights = noise(size * matrices as usize);
            let mut expected = Vec::new();
            for (m, matrix) in weights.chunks(size).enumerate() {
                let (format, guide) = match name {
                    "large.weight" => (Format::F16, None),
                    _ => (Format::Q4_0, Some(&importance[m * cols..][..cols])),
                };
                for row in matrix.chunks(cols) {
                    let mut bytes = vec![0; format.row_bytes(cols).expect("blocks")];
                    encode(format, row, guide, &mut bytes);
                    expected.extend(bytes);
                }
            }
            let got = new.bytes(new.tensor(name).expect("the tensor"));
            assert!(got[..] == expected[..], "{name} with {threads:?} threads");
        }
    }
    assert_eq!(losses[0], losses[1], "the same to the last bit");
    let relative = losses[0][1].relative().expect("converted");
    assert!(relative > 1e-3 && relative < 2e-2, "four bits: {relative}");
}

#[test]
fn what_is_broken_off_leaves_nothing() {
    let folder = Folder::new("broken-off");
    let options = options("F16");
    let model = large();
    let steps = plan(&model, &options).expect("a plan");
    let pool = Pool::new(Some(1)).expect("threads");
    let out = folder.0.join("new.gguf");
    let mut files = 0;
    let done = write(&model, &out, &steps, &options, &pool, &mut |_| {
        files = folder.files();
        ControlFlow::Break(())
    });
    assert!(done.expect("no failure").is_none(), "broken off");
    assert_eq!((files, folder.files()), (1, 0), "a draft, and then nothing");
}
