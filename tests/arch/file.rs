//! A tiny model file of random weights, to be changed and built.

use std::path::Path;

use wattle::gguf::{GgmlType, Gguf, Value, Writer};
use wattle::model::{CacheType, Logits, Transformer};
use wattle::pool::Pool;
use wattle::rare::Loader;
use wattle_kernels::Isa;

pub(crate) const N_EMBD: u64 = 32;
pub(crate) const RANK: u64 = 32;
pub(crate) const ROPE: u64 = 8;
pub(crate) const NOPE: u64 = 24;
pub(crate) const V: u64 = 16;
pub(crate) const EXPERTS: u64 = 4;
pub(crate) const FF: u64 = 8;

/// A deepseek2 file in the making: one head, every layer with experts. Change it, then [`File::build`] it.
#[derive(Debug, Clone)]
pub(crate) struct File {
    pub(crate) arch: &'static str,
    pub(crate) numbers: Vec<(String, u32)>,
    pub(crate) tensors: Vec<(String, Vec<u64>, GgmlType)>,
    pub(crate) integer: Integer,
    pub(crate) fill: Fill,
    /// Keys that are no numbers of the usual kind.
    pub(crate) others: Vec<(&'static str, Value)>,
}

/// What the weights are.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fill {
    /// Small numbers, the same for a tensor of the same name and shape.
    Noise,
    Nan,
    Huge,
}

/// How the numbers are written.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Integer {
    U32,
    I32,
    U64,
    U16,
}

impl File {
    pub(crate) fn new(blocks: u32, vocab: u64) -> Self {
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
            fill: Fill::Noise,
            others: Vec::new(),
        }
    }

    pub(crate) fn with(mut self, key: &str, n: u32) -> Self {
        self.numbers.retain(|(k, _)| k != key);
        self.numbers.push((key.to_owned(), n));
        self
    }

    pub(crate) fn other(mut self, key: &'static str, value: Value) -> Self {
        self.others.push((key, value));
        self
    }

    /// With a context extended from 64 by a factor of 4.
    pub(crate) fn yarn(self) -> Self {
        self.other("rope.scaling.type", Value::String((*b"yarn").into()))
            .other("rope.scaling.factor", Value::F32(4.0))
    }

    pub(crate) fn without(mut self, tensor: &str) -> Self {
        self.tensors.retain(|(name, ..)| name != tensor);
        self
    }

    pub(crate) fn tensor(mut self, name: &str, shape: &[u64], ty: GgmlType) -> Self {
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
        for (key, value) in &self.others {
            let key = format!("{}.{key}", self.arch);
            writer.copy(&key, value).expect("a key");
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
                    .flat_map(|_| match self.fill {
                        Fill::Noise => noise.next().to_le_bytes(),
                        Fill::Nan => f32::NAN.to_le_bytes(),
                        Fill::Huge => f32::MIN.to_le_bytes(),
                    })
                    .collect(),
                GgmlType::Q8_0 => (0..count / 32).flat_map(|_| noise.q8_0()).collect(),
                other => vec![0; (count / other.block() as u64) as usize * other.block_bytes()],
            };
            body.write(&bytes).expect("memory");
        }
        let bytes = body.finish().expect("all tensors");
        Gguf::from_bytes(Path::new("tiny.gguf"), bytes).expect("a well-formed file")
    }

    pub(crate) fn build(&self) -> wattle::Result<Transformer> {
        let pool = Pool::new(Some(1)).expect("a pool");
        wattle::arch::build(&self.gguf(), Isa::best(), Loader::new(&pool))
    }

    /// Why it is refused.
    pub(crate) fn refusal(&self) -> String {
        self.build().expect_err("a refusal").to_string()
    }

    pub(crate) fn logits(&self) -> Vec<f32> {
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

/// Two layers, both with experts, and 64 tokens.
pub(crate) fn small() -> File {
    File::new(2, 64)
}
