//! Models whose weights have types without a kernel. Where ggml is built in (feature `ggml`) they run, and give what they would
//! give as `Q8_0`; where it is not, they are refused with advice.

#[path = "cli/program.rs"]
mod program;

use std::ffi::OsStr;
use std::path::Path;

use program::{Folder, wattle};
use wattle::gguf::{GgmlType, Gguf, Writer};
use wattle::model::Transformer;
use wattle::pool::Pool;
use wattle::rare::Loader;
use wattle_kernels::Isa;

/// A tensor: name and shape.
type Shape = (String, Vec<u64>);

/// A model of one layer: its numbers and tensors.
#[derive(Clone, Copy)]
struct Net {
    arch: &'static str,
    numbers: &'static [(&'static str, u32)],
    layer: &'static [(&'static str, &'static [u64])],
}

const LLAMA: Net = Net {
    arch: "llama",
    numbers: &[
        ("attention.head_count", 4),
        ("attention.head_count_kv", 2),
        ("rope.dimension_count", 64),
    ],
    layer: &[
        ("attn_q", &[256, 256]),
        ("attn_k", &[256, 128]),
        ("attn_v", &[256, 128]),
        ("attn_output", &[256, 256]),
        ("ffn_gate", &[256, 512]),
        ("ffn_up", &[256, 512]),
        ("ffn_down", &[512, 256]),
    ],
};

/// With stacks of experts: gate and up in one tensor, and apart from it down.
const DEEPSEEK: Net = Net {
    arch: "deepseek2",
    numbers: &[
        ("attention.head_count", 1),
        ("attention.kv_lora_rank", 32),
        ("attention.key_length_mla", 32),
        ("attention.value_length_mla", 16),
        ("rope.dimension_count", 8),
        ("expert_count", 4),
        ("expert_used_count", 2),
        ("expert_shared_count", 0),
    ],
    layer: &[
        ("attn_q", &[256, 32]),
        ("attn_kv_a_mqa", &[256, 40]),
        ("attn_kv_a_norm", &[32]),
        ("attn_k_b", &[24, 32, 1]),
        ("attn_v_b", &[32, 16, 1]),
        ("attn_output", &[16, 256]),
        ("ffn_gate_inp", &[256, 4]),
        ("ffn_gate_up_exps", &[256, 512, 4]),
        ("ffn_down_exps", &[256, 256, 4]),
    ],
};

impl Net {
    fn tensors(&self) -> Vec<Shape> {
        let outside: [(&str, &[u64]); 2] = [("token_embd", &[256, 64]), ("output_norm", &[256])];
        let norms: [(&str, &[u64]); 2] = [("attn_norm", &[256]), ("ffn_norm", &[256])];
        let named = |before: &str, (name, shape): &(&str, &[u64])| {
            (format!("{before}{name}.weight"), shape.to_vec())
        };
        let layer = norms.iter().chain(self.layer);
        let outside = outside.iter().map(|tensor| named("", tensor));
        outside
            .chain(layer.map(|tensor| named("blk.0.", tensor)))
            .collect()
    }

    /// The file. Its matrices of whole blocks of 256 are of type `ty`, with the bytes that `bytes` gives for their name and count;
    /// all else is F32.
    fn file(&self, ty: GgmlType, bytes: impl Fn(&str, usize) -> Vec<u8>) -> Vec<u8> {
        let has_type = |shape: &[u64]| shape.len() > 1 && shape[0].is_multiple_of(256);
        let mut writer = Writer::new();
        let key = |name: &str| format!("{}.{name}", self.arch);
        writer.key("general.architecture", self.arch).expect("new");
        let shared = [
            ("context_length", 64),
            ("embedding_length", 256),
            ("block_count", 1),
        ];
        for (name, n) in shared.iter().chain(self.numbers) {
            writer.key(&key(name), *n).expect("new");
        }
        let eps = key("attention.layer_norm_rms_epsilon");
        writer.key(&eps, 1e-6f32).expect("new");
        let tensors = self.tensors();
        for (name, shape) in &tensors {
            let ty = if has_type(shape) { ty } else { GgmlType::F32 };
            writer.tensor(name, shape, ty).expect("new");
        }
        let mut body = writer.start(Vec::new()).expect("memory");
        for (name, shape) in &tensors {
            let count = usize::try_from(shape.iter().product::<u64>()).expect("small");
            let bytes = match has_type(shape) {
                true => bytes(name, count),
                false => random(name).take(count).flat_map(number).collect(),
            };
            body.write(&bytes).expect("the size of the tensor");
        }
        body.finish().expect("all tensors")
    }
}

/// Words that look random, and are the same for the same seed.
fn random(seed: &str) -> impl Iterator<Item = u32> {
    let mut state = seed
        .bytes()
        .fold(17, |seed: u64, byte| seed.rotate_left(7) ^ u64::from(byte));
    std::iter::repeat_with(move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 32) as u32
    })
}

/// A word as the bytes of a number from -0.5 to 0.5.
fn number(word: u32) -> [u8; 4] {
    (word as f32 / u32::MAX as f32 - 0.5).to_le_bytes()
}

fn build(file: Vec<u8>, pool: &Pool) -> wattle::Result<Transformer> {
    let gguf = Gguf::from_bytes(Path::new("rare.gguf"), file).expect("a well-formed file");
    wattle::arch::build(&gguf, Isa::best(), Loader::new(pool))
}

/// A file whose matrices are all zeros, of type `ty`.
fn zeros(net: Net, ty: GgmlType) -> Vec<u8> {
    net.file(ty, |_, count| {
        vec![0; count / ty.block() * ty.block_bytes()]
    })
}

#[test]
fn inspect_describes_rare_types_with_and_without_ggml() {
    let folder = Folder::new("rare-inspect");
    let path = folder.file("rare.gguf", &zeros(LLAMA, GgmlType::IQ3_S));
    let shown = wattle([OsStr::new("inspect"), path.as_os_str()]);
    assert_eq!((shown.code, &*shown.stderr), (Some(0), ""));
    assert!(shown.stdout.contains("IQ3_S"), "{}", shown.stdout);
    let ran = wattle([
        OsStr::new("run"),
        "-p".as_ref(),
        "a".as_ref(),
        "-m".as_ref(),
        path.as_os_str(),
    ]);
    let told = match cfg!(feature = "ggml") {
        true => "tokenizer.ggml.model",
        false => "type IQ3_S of tensor",
    };
    ran.fails(1, &["rare.gguf", told]);
    let version = wattle(["--version"]).stdout;
    assert_eq!(
        version.contains(" with ggml "),
        cfg!(feature = "ggml"),
        "{version}"
    );
}

#[cfg(not(feature = "ggml"))]
#[test]
fn without_ggml_the_refusal_says_what_to_do() {
    let pool = Pool::new(Some(1)).expect("a pool");
    for net in [LLAMA, DEEPSEEK] {
        let told = build(zeros(net, GgmlType::IQ2_XS), &pool)
            .expect_err("a refusal")
            .to_string();
        for part in [
            "rare.gguf: type IQ2_XS of tensor \"",
            ".weight\" is not supported; this build has no kernel for it",
            "`--features ggml`",
            "a C++ compiler and libclang",
            "`llama-quantize --allow-requantize`",
            "Q4_0",
        ] {
            assert!(told.contains(part), "{part:?} is not in {told:?}");
        }
    }
}

#[cfg(feature = "ggml")]
mod with_ggml {
    use super::*;
    use wattle::model::{CacheType, Logits};
    use wattle_ggml_sys::{Type, dequantize};
    use wattle_kernels::{Format, decode, encode};

    /// The rare types, with how ggml knows them.
    fn rare() -> Vec<(GgmlType, Type)> {
        let rare = |ty: &GgmlType| wattle::rare::is_rare(ty.id());
        let both = |ty: &GgmlType| (*ty, Type::from_id(ty.id()).expect("a type of ggml"));
        GgmlType::ALL
            .iter()
            .filter(|ty| rare(ty))
            .map(both)
            .collect()
    }

    /// Blocks of random bytes: all codes, also those that no encoder would choose. Only scales are limited: by drawing a block again
    /// until its largest weight is between 1/64 and 1.
    fn blocks(ty: Type, seed: &str, count: usize) -> Vec<u8> {
        let mut words = random(seed);
        let mut weights = vec![0.0; ty.block()];
        let mut out = Vec::new();
        while out.len() < count / ty.block() * ty.block_bytes() {
            let draw = words.by_ref().take(ty.block_bytes());
            let block: Vec<u8> = draw.map(|word| (word >> 8) as u8).collect();
            dequantize(ty, &block, &mut weights);
            let most = weights.iter().fold(0.0, |most: f32, x| most.max(x.abs()));
            if weights.iter().all(|x| x.is_finite()) && (1.0 / 64.0..=1.0).contains(&most) {
                out.extend(block);
            }
        }
        out
    }

    /// What ggml decodes bytes to.
    fn decoded(ty: Type, bytes: &[u8]) -> Vec<f32> {
        let mut weights = vec![0.0; bytes.len() / ty.block_bytes() * ty.block()];
        dequantize(ty, bytes, &mut weights);
        weights
    }

    fn logits(model: &Transformer, pool: &Pool) -> Vec<f32> {
        let mut state = model.state(8, CacheType::F32, 8).expect("a state");
        let logits = model.forward(pool, &[1, 5, 2, 60, 33], &mut state, Logits::All);
        logits.expect("a pass").to_vec()
    }

    #[test]
    fn weights_are_ggml_s_but_for_half_a_step_of_8_bits() {
        let pool = Pool::new(Some(1)).expect("a pool");
        let rare = rare();
        assert_eq!(rare.len(), 12, "{rare:?}");
        for (ours, ty) in rare {
            let bytes = blocks(ty, ty.name(), 32 * 512);
            let held = Loader::new(&pool).load(ours.id(), 512, &bytes, |_| ());
            let held = held.expect("whole rows");
            let mut found = vec![0.0; 32 * 512];
            decode(wattle::rare::HELD_AS, &held, &mut found);
            let want = decoded(ty, &bytes);
            let mut moved = 0;
            for (found, want) in found.chunks(32).zip(want.chunks(32)) {
                let most = want.iter().fold(0.0, |most: f32, x| most.max(x.abs()));
                // Half a step, with the largest weight at level 116 or above, or multiples of a step; and what the scale loses as
                // f16: in small blocks, where it is subnormal, up to 2^-25, times the code.
                let small = most < 128.0 * 2f32.powi(-14);
                let scale = if small { 127.0 * 2f32.powi(-25) } else { 0.0 };
                let bound = most / 232.0 * (1.0 + 1.0 / 2048.0) + scale;
                for (found, want) in found.iter().zip(want) {
                    let off = (found - want).abs();
                    assert!(off <= bound, "{ty:?}: {found} for {want}, bound {bound}");
                    moved += usize::from(found != want);
                }
            }
            assert!(moved < found.len(), "{ty:?}: no weight is the same");
        }
    }

    #[test]
    fn a_model_gives_what_it_gives_as_q8_0() {
        let pool = Pool::new(Some(1)).expect("a pool");
        for (i, (ours, ty)) in rare().into_iter().enumerate() {
            let net = [LLAMA, DEEPSEEK][i % 2];
            let given = net.file(ours, |name, count| blocks(ty, name, count));
            let plain = net.file(GgmlType::Q8_0, |name, count| {
                let mut bytes = vec![0; count / 32 * 34];
                let weights = decoded(ty, &blocks(ty, name, count));
                encode(Format::Q8_0, &weights, None, &mut bytes);
                bytes
            });
            let [mut given, mut plain] =
                [given, plain].map(|file| build(file, &pool).expect("a model"));
            let (told, what) = (logits(&given, &pool), format!("{ty:?} in {}", net.arch));
            assert!(told.iter().all(|x| x.is_finite()), "{what}: {told:?}");
            assert!(told.iter().any(|x| *x != told[0]), "{what}: all alike");
            assert!(told == logits(&plain, &pool), "{what}: as rows");
            for model in [&mut given, &mut plain] {
                model.pack(&pool).expect("memory");
            }
            assert!(
                logits(&given, &pool) == logits(&plain, &pool),
                "{what}: in tiles"
            );
        }
    }

    #[test]
    fn weights_that_are_no_numbers_are_refused_by_name() {
        let pool = Pool::new(Some(1)).expect("a pool");
        let ty = Type::from_id(GgmlType::TQ2_0.id()).expect("a type of ggml");
        let file = LLAMA.file(GgmlType::TQ2_0, |name, count| {
            let mut bytes = blocks(ty, name, count);
            if name == "blk.0.ffn_up.weight" {
                bytes[3 * 66 + 64..][..2].copy_from_slice(&[0, 0x7c]); // the scale of row 3: infinite
            }
            bytes
        });
        let told = build(file, &pool).expect_err("a refusal").to_string();
        for part in ["blk.0.ffn_up.weight", "finite weights", "row 3"] {
            assert!(told.contains(part), "{part:?} is not in {told:?}");
        }
    }
}
