//! Files that a recipe must read in its own way, or refuse with a reason, as tiny models built in memory.
//!
//! What the models compute is held against Hugging Face in `tests/hf.rs`; here it is about keys and tensors.

use std::path::Path;

use wattle::gguf::{GgmlType, Gguf, Writer};
use wattle::model::{CacheType, Logits, Transformer};
use wattle::pool::Pool;
use wattle_kernels::Isa;

const N_EMBD: u64 = 32;
const RANK: u64 = 32;
const ROPE: u64 = 8;
const NOPE: u64 = 24;
const V: u64 = 16;
const EXPERTS: u64 = 4;
const FF: u64 = 8;

/// A deepseek2 file in the making: one head, every layer with experts. Change it, then [`File::build`] it.
#[derive(Clone)]
struct File {
    arch: &'static str,
    numbers: Vec<(String, u32)>,
    tensors: Vec<(String, Vec<u64>, GgmlType)>,
    integer: Integer,
}

/// How the numbers are written.
#[derive(Debug, Clone, Copy)]
enum Integer {
    U32,
    I32,
    U64,
    U16,
}

impl File {
    fn new(blocks: u32, vocab: u64) -> Self {
        let numbers = [
            ("context_length", 64),
            ("embedding_length", 32),
            ("block_count", blocks),
            ("attention.head_count", 1),
            ("attention.kv_lora_rank", 32),
            ("attention.key_length_mla", 32),
            ("attention.value_length_mla", 16),
            ("rope.dimension_count", 8),
            ("expert_count", 4),
            ("expert_used_count", 2),
            ("expert_shared_count", 0),
        ];
        let mut tensors = vec![
            (
                "token_embd.weight".to_owned(),
                vec![N_EMBD, vocab],
                GgmlType::Q8_0,
            ),
            ("output_norm.weight".to_owned(), vec![N_EMBD], GgmlType::F32),
        ];
        for i in 0..blocks {
            let block: [(&str, &[u64]); 11] = [
                ("attn_norm", &[N_EMBD]),
                ("ffn_norm", &[N_EMBD]),
                ("attn_q", &[N_EMBD, NOPE + ROPE]),
                ("attn_kv_a_mqa", &[N_EMBD, RANK + ROPE]),
                ("attn_kv_a_norm", &[RANK]),
                ("attn_k_b", &[NOPE, RANK, 1]),
                ("attn_v_b", &[RANK, V, 1]),
                ("attn_output", &[V, N_EMBD]),
                ("ffn_gate_inp", &[N_EMBD, EXPERTS]),
                ("ffn_gate_up_exps", &[N_EMBD, 2 * FF, EXPERTS]),
                ("ffn_down_exps", &[FF, N_EMBD, EXPERTS]),
            ];
            for (name, shape) in block {
                tensors.push((
                    format!("blk.{i}.{name}.weight"),
                    shape.to_vec(),
                    GgmlType::F32,
                ));
            }
        }
        Self {
            arch: "deepseek2",
            numbers: numbers.map(|(key, n)| (key.to_owned(), n)).to_vec(),
            tensors,
            integer: Integer::U32,
        }
    }

    fn with(mut self, key: &str, n: u32) -> Self {
        self.numbers.retain(|(k, _)| k != key);
        self.numbers.push((key.to_owned(), n));
        self
    }

    fn without(mut self, tensor: &str) -> Self {
        self.tensors.retain(|(name, ..)| name != tensor);
        self
    }

    fn tensor(mut self, name: &str, shape: &[u64], ty: GgmlType) -> Self {
        self = self.without(name);
        self.tensors.push((name.to_owned(), shape.to_vec(), ty));
        self
    }

    /// The file, with weights that look random and are the same for a tensor of the same name and shape.
    fn gguf(&self) -> Gguf {
        let mut writer = Writer::new();
        writer
            .key("general.architecture", self.arch)
            .expect("a key");
        for (key, n) in &self.numbers {
            let key = format!("{}.{key}", self.arch);
            match self.integer {
                Integer::U32 => writer.key(&key, *n),
                Integer::I32 => writer.key(&key, i32::try_from(*n).expect("a small number")),
                Integer::U64 => writer.key(&key, u64::from(*n)),
                Integer::U16 => writer.key(&key, u16::try_from(*n).expect("a small number")),
            }
            .expect("a key");
        }
        let eps = format!("{}.attention.layer_norm_rms_epsilon", self.arch);
        writer.key(&eps, 1e-6f32).expect("a key");
        for (name, shape, ty) in &self.tensors {
            writer.tensor(name, shape, *ty).expect("a tensor");
        }
        let mut body = writer.start(Vec::new()).expect("memory");
        for (name, shape, ty) in &self.tensors {
            let count: u64 = shape.iter().product();
            let mut noise = Noise(
                name.bytes()
                    .fold(count, |seed, b| seed.rotate_left(7) ^ u64::from(b)),
            );
            let bytes: Vec<u8> = match *ty {
                GgmlType::F32 => (0..count)
                    .flat_map(|_| noise.next().to_le_bytes())
                    .collect(),
                GgmlType::Q8_0 => (0..count / 32).flat_map(|_| noise.q8_0()).collect(),
                other => vec![0; (count / other.block() as u64) as usize * other.block_bytes()],
            };
            body.write(&bytes).expect("memory");
        }
        let bytes = body.finish().expect("all tensors");
        Gguf::from_bytes(Path::new("tiny.gguf"), bytes).expect("a well-formed file")
    }

    fn build(&self) -> wattle::Result<Transformer> {
        wattle::arch::build(&self.gguf(), Isa::best())
    }

    /// Why it is refused.
    fn refusal(&self) -> String {
        self.build().expect_err("a refusal").to_string()
    }

    fn logits(&self) -> Vec<f32> {
        let model = self.build().expect("a model");
        let pool = Pool::new(Some(1)).expect("a pool");
        let mut state = model.state(8, CacheType::F32, 8).expect("a state");
        model
            .forward(&pool, &[1, 5, 2], &mut state, Logits::Last)
            .expect("a pass")
            .to_vec()
    }
}

struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    }

    /// A block: the scale 2^-7 as f16, then 32 weights.
    fn q8_0(&mut self) -> Vec<u8> {
        let weights: Vec<u8> = (0..32)
            .map(|_| ((self.next() * 200.0) as i8).to_le_bytes()[0])
            .collect();
        [&[0x00, 0x20][..], &weights].concat()
    }
}

fn small() -> File {
    File::new(2, 64)
}

#[test]
fn a_missing_router_function_is_softmax() {
    let silent = small().logits();
    assert_eq!(silent, small().with("expert_gating_func", 1).logits());
    assert_ne!(silent, small().with("expert_gating_func", 2).logits());
}

#[test]
fn a_missing_router_function_is_sigmoid_in_glm_4_7_flash() {
    let glm = File::new(47, 154_880);
    let silent = glm.logits();
    assert_eq!(silent, glm.clone().with("expert_gating_func", 2).logits());
    assert_ne!(silent, glm.with("expert_gating_func", 1).logits());
}

#[test]
fn layers_that_predict_further_tokens_are_skipped_there_or_not() {
    let plain = small().logits();
    let three = File::new(3, 64).with("nextn_predict_layers", 1);
    assert_eq!(plain, three.logits(), "their tensors are in the file");
    let announced = small()
        .with("block_count", 3)
        .with("nextn_predict_layers", 1);
    assert_eq!(
        plain,
        announced.logits(),
        "their tensors are not in the file"
    );
}

#[test]
fn integers_of_any_type_are_read() {
    let plain = small().logits();
    for integer in [Integer::I32, Integer::U64, Integer::U16] {
        let file = File { integer, ..small() };
        assert_eq!(plain, file.logits(), "{integer:?}");
    }
}

/// What is wrong, and words that its refusal must hold.
#[test]
fn refusals_say_what_is_wrong() {
    let mut bert = small();
    bert.arch = "bert";
    let k_b = "blk.1.attn_k_b.weight";
    let cases = [
        (
            bert,
            vec!["architecture \"bert\"", "deepseek2, llama, qwen2"],
        ),
        (small().without(k_b), vec![k_b, "found none"]),
        (
            small().without("blk.0.attn_output.weight"),
            vec!["blk.0.attn_output.weight", "found none"],
        ),
        (
            small().tensor(k_b, &[NOPE, RANK + 1, 1], GgmlType::F32),
            vec![k_b, "24 columns and 32 rows", "{24, 33, 1}"],
        ),
        (
            small().tensor("blk.0.attn_q.weight", &[N_EMBD, NOPE + ROPE], GgmlType::I32),
            vec!["type I32 of tensor \"blk.0.attn_q.weight\"", "Q4_K"],
        ),
        (
            small().tensor("blk.0.attn_sinks.weight", &[1], GgmlType::F32),
            vec!["blk.0.attn_sinks.weight", "wrong text"],
        ),
        (
            small().with("attention.key_length_mla", 48),
            vec!["key_length_mla", "expected 32", "found 48"],
        ),
        (
            small().with("rope.dimension_count", 32),
            vec!["rope.dimension_count", "fewer than the 32"],
        ),
        (
            small().with("attention.head_count", 3),
            vec!["a multiple of 3 heads"],
        ),
        (
            small().with("attention.head_count", 0),
            vec!["attention.head_count", "at least 1"],
        ),
        (
            small().with("attention.kv_lora_rank", 40),
            vec!["attn_kv_a_mqa", "48 rows"],
        ),
        (
            small().with("block_count", 0),
            vec!["block_count", "at least 1"],
        ),
        (
            small().with("block_count", 100_000),
            vec!["block_count", "at most 512"],
        ),
        (
            small().with("nextn_predict_layers", 2),
            vec!["nextn_predict_layers", "fewer than the 2 blocks"],
        ),
        (
            small().with("expert_used_count", 5),
            vec!["expert_used_count", "at most the 4 experts"],
        ),
        (
            small().with("expert_used_count", 0),
            vec!["expert_used_count", "at least 1"],
        ),
        (
            small().with("expert_group_count", 3),
            vec!["expert_group_count", "a divisor of 4"],
        ),
        (
            small()
                .with("expert_group_count", 4)
                .with("expert_group_used_count", 1),
            vec!["expert_group_count", "4 groups, 1 used"],
        ),
        (
            small().with("expert_gating_func", 4),
            vec!["router function 4"],
        ),
        (
            small().with("expert_shared_count", 1),
            vec!["ffn_gate_shexp", "announce"],
        ),
        (
            small().with("expert_count", u32::MAX),
            vec!["ffn_gate_up_exps"],
        ),
        (
            small().with("attention.head_count", u32::MAX),
            vec!["heads"],
        ),
        (
            small().with("attention.kv_lora_rank", u32::MAX),
            vec!["attn_kv_a_mqa"],
        ),
    ];
    for (file, words) in cases {
        let refusal = file.refusal();
        for word in words {
            assert!(refusal.contains(word), "{refusal:?} does not say {word:?}");
        }
        assert!(
            refusal.starts_with("tiny.gguf: "),
            "{refusal:?} names the file first"
        );
    }
}
