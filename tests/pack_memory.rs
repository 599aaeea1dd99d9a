//! Memory while weights are packed: never much more than the file. The peak is that of the process, so this test is alone in it.

use std::fs;
use std::io::Seek;

use wattle::Model;
use wattle::gguf::{GgmlType, Gguf, Writer};
use wattle::load::LoadOptions;

/// A field of `/proc/self/status`, in bytes.
fn status(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let number = line.and_then(|line| line.split_whitespace().next());
    1024 * number.and_then(|n| n.parse::<u64>().ok()).expect("kB")
}

#[test]
fn packing_never_holds_much_more_than_the_file() {
    let name = format!("wattle-pack-memory-{}.gguf", std::process::id());
    let path = std::env::temp_dir().join(name);
    let mut head = Writer::new();
    head.key("general.architecture", "llama").expect("a key");
    for (key, value) in [
        ("block_count", BLOCKS),
        ("embedding_length", WIDTH as u32),
        ("attention.head_count", 16),
        ("context_length", 64),
        ("feed_forward_length", FF as u32),
    ] {
        head.key(&format!("llama.{key}"), value).expect("a key");
    }
    let epsilon = "llama.attention.layer_norm_rms_epsilon";
    head.key(epsilon, 1e-5_f32).expect("a key");
    let mut matrix = |name: &str, dims: &[u64]| {
        let ty = if dims.len() == 1 {
            GgmlType::F32
        } else {
            GgmlType::Q4_0
        };
        head.tensor(&format!("{name}.weight"), dims, ty)
            .expect("a tensor");
    };
    matrix("token_embd", &[WIDTH, 64]);
    for i in 0..BLOCKS {
        for name in ["attn_q", "attn_k", "attn_v", "attn_output"] {
            matrix(&format!("blk.{i}.{name}"), &[WIDTH, WIDTH]);
        }
        matrix(&format!("blk.{i}.ffn_gate"), &[WIDTH, FF]);
        matrix(&format!("blk.{i}.ffn_up"), &[WIDTH, FF]);
        matrix(&format!("blk.{i}.ffn_down"), &[FF, WIDTH]);
        matrix(&format!("blk.{i}.attn_norm"), &[WIDTH]);
        matrix(&format!("blk.{i}.ffn_norm"), &[WIDTH]);
    }
    matrix("output_norm", &[WIDTH]);
    matrix("output", &[WIDTH, 64]);
    // Zeros that no disk holds, but memory does once they are read.
    let mut file = fs::File::create(&path).expect("a file");
    drop(head.start(&mut file).expect("the head"));
    let start = file.stream_position().expect("a place");
    file.set_len(start + (400 << 20)).expect("a sparse file");
    let gguf = Gguf::open(&path).expect("a model");
    let weights: u64 = gguf.tensors().iter().map(|tensor| tensor.n_bytes()).sum();
    drop(gguf);
    file.set_len(start + weights).expect("a sparse file");
    assert!(weights > 200 << 20, "{weights} bytes");

    let before = status("VmRSS:");
    let options = LoadOptions::default();
    let model = Model::load_with(&path, &options).expect("a model");
    fs::remove_file(&path).expect("removed");
    let (peak, held) = (status("VmHWM:") - before, status("VmRSS:") - before);
    // That tiles are held shows that the peak is one of packing.
    assert!(held > weights * 9 / 10, "{held} bytes held of {weights}");
    assert!(
        10 * peak < 11 * weights,
        "{peak} bytes at most for {weights}"
    );
    drop(model);
}

/// Blocks of the model: so many that a tenth of it is far more than the pieces on their way, which do not grow with it, and the
/// translated code of an emulator, which counts as the process's.
const BLOCKS: u32 = 8;
/// Width of the model.
const WIDTH: u64 = 2048;
/// Width of its feed-forward blocks.
const FF: u64 = 5504;
