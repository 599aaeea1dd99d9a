//! What the model asks of a machine: bytes read for a token, and memory for a context.
//!
//! **Bytes a token.** Decoding touches every weight once, but for
//! - experts: of the `E` experts of a layer, `expert_used_count` are read (the tensors `*_exps`, whose last dimension is `E`);
//! - the embedding: one row, unless the output is tied to it;
//! - layers that predict further tokens (MTP: the last `nextn_predict_layers` blocks), which are not run;
//! - `attn_kv_b` beside `attn_k_b` and `attn_v_b`, which hold the same weights once more.
//!
//! **Cache**: latent attention keeps `kv_lora_rank + rope.dimension_count` numbers a token and layer; other attention keeps
//! `head_count_kv * (key_length + value_length)`. Layers with no key-value head (linear attention) keep nothing that grows.
//! What a number takes is told by the type of the cache.
//!
//! It has more than 400 lines with its tests, which need files of many keys.

use serde::Serialize;
use wattle::gguf::{Gguf, Metadata, TensorInfo};
use wattle::model::CacheType;

/// What decoding one token reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Token {
    pub(super) bytes: u64,
    pub(super) parameters: u64,
}

/// Memory for weights and a cache of `context` tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Memory {
    pub(super) context: u64,
    /// `"latent"` or `"key-value"`.
    pub(super) cache: &'static str,
    pub(super) cache_bytes_per_token: u64,
    pub(super) cache_bytes: u64,
    pub(super) weight_bytes: u64,
    pub(super) bytes: u64,
    /// The cache in each type.
    pub(super) types: [InType; CacheType::ALL.len()],
}

/// The cache in one type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct InType {
    #[serde(rename = "type")]
    pub(super) name: &'static str,
    pub(super) cache_bytes_per_token: u64,
    pub(super) cache_bytes: u64,
}

/// The keys of the model's architecture. A key that cannot be used counts as absent and leaves a note.
#[derive(Debug)]
pub(super) struct Keys<'a> {
    metadata: &'a Metadata,
    architecture: Option<&'a str>,
    notes: Vec<String>,
}

impl<'a> Keys<'a> {
    pub(super) fn new(metadata: &'a Metadata) -> Self {
        let mut keys = Self {
            metadata,
            architecture: None,
            notes: Vec::new(),
        };
        keys.architecture = keys.noted(metadata.str("general.architecture"));
        keys
    }

    pub(super) fn architecture(&self) -> Option<&'a str> {
        self.architecture
    }

    /// The integer `ARCHITECTURE.suffix`.
    pub(super) fn number(&mut self, suffix: &str) -> Option<u64> {
        let key = self.key(suffix)?;
        let number = self.metadata.u64(&key);
        self.noted(number)
    }

    /// The integers `ARCHITECTURE.suffix`, one for all layers or one a layer.
    fn numbers(&mut self, suffix: &str) -> Option<Vec<u32>> {
        let key = self.key(suffix)?;
        let numbers = self.metadata.u32s(&key);
        self.noted(numbers)
    }

    pub(super) fn into_notes(self) -> Vec<String> {
        self.notes
    }

    fn key(&self, suffix: &str) -> Option<String> {
        Some(format!("{}.{suffix}", self.architecture?))
    }

    fn noted<T>(&mut self, read: wattle::Result<Option<T>>) -> Option<T> {
        read.unwrap_or_else(|error| {
            let note = error.to_string();
            if !self.notes.contains(&note) {
                self.notes.push(note);
            }
            None
        })
    }

    /// Layers that every token passes.
    fn layers(&mut self) -> Option<u64> {
        let blocks = self.number("block_count")?;
        let further = self.number("nextn_predict_layers").unwrap_or(0);
        Some(blocks.saturating_sub(further))
    }
}

/// What decoding a token reads; `None` for a file without layers.
pub(super) fn token(model: &Gguf, keys: &mut Keys<'_>) -> Option<Token> {
    let layers = keys.layers()?;
    let experts = keys.number("expert_count").unwrap_or(0);
    let used = keys.number("expert_used_count").unwrap_or(experts);
    let tied = model.tensor("output.weight").is_none();
    let mut token = Token {
        bytes: 0,
        parameters: 0,
    };
    for tensor in model.tensors().iter().filter(|t| is_run(t, layers)) {
        // The part of the tensor that is read: `count` of `of` equal pieces.
        let (count, of) = if tensor.name == "token_embd.weight" && !tied {
            (1, tensor.rows())
        } else if is_copy(model, tensor) {
            (0, 1)
        } else if is_experts(tensor, experts) {
            (used.min(experts), experts)
        } else {
            (1, 1)
        };
        let part = |n: u64| (n / of.max(1)).saturating_mul(count);
        token.bytes = token.bytes.saturating_add(part(tensor.n_bytes()));
        token.parameters = token.parameters.saturating_add(part(tensor.elements()));
    }
    Some(token).filter(|token| token.parameters > 0)
}

/// What a context of so many tokens needs; `None` when the keys do not say.
pub(super) fn memory(model: &Gguf, keys: &mut Keys<'_>, context: u64) -> Option<Memory> {
    let layers = keys.layers()?;
    let (cache, row) = cache(keys, layers)?;
    let run = model.tensors().iter().filter(|t| is_run(t, layers));
    let weight_bytes = run.map(TensorInfo::n_bytes).fold(0, u64::saturating_add);
    let of = |kind: CacheType| row.bytes(kind);
    let mut types = [InType {
        name: "",
        cache_bytes_per_token: 0,
        cache_bytes: 0,
    }; CacheType::ALL.len()];
    for (out, &kind) in types.iter_mut().zip(CacheType::ALL) {
        *out = InType {
            name: kind.name(),
            cache_bytes_per_token: of(kind),
            cache_bytes: of(kind).saturating_mul(context),
        };
    }
    let cache_bytes_per_token = of(CacheType::default());
    let cache_bytes = cache_bytes_per_token.saturating_mul(context);
    Some(Memory {
        context,
        cache,
        cache_bytes_per_token,
        cache_bytes,
        weight_bytes,
        bytes: weight_bytes.saturating_add(cache_bytes),
        types,
    })
}

/// What a token leaves in the cache.
#[derive(Debug, Clone, Copy)]
enum Row {
    /// Latent numbers and a rotary key, in so many layers.
    Latent { rank: u64, rope: u64, layers: u64 },
    /// Numbers of keys and values, over all layers.
    Numbers(u64),
}

impl Row {
    /// In bytes.
    fn bytes(self, kind: CacheType) -> u64 {
        let size = |n: u64| usize::try_from(n).ok().filter(|n| *n < 1 << 32);
        match self {
            Self::Latent { rank, rope, layers } => {
                size(rank).zip(size(rope)).map_or(u64::MAX, |(rank, rope)| {
                    layers.saturating_mul(kind.latent_bytes(rank, rope) as u64)
                })
            }
            Self::Numbers(n) => n.saturating_mul(kind.row_bytes(1) as u64),
        }
    }
}

/// Kind of the cache, and what it holds of a token.
fn cache(keys: &mut Keys<'_>, layers: u64) -> Option<(&'static str, Row)> {
    let heads = keys.numbers("attention.head_count")?;
    let kv_heads = keys.numbers("attention.head_count_kv");
    let kv_heads = kv_heads.unwrap_or_else(|| heads.clone());
    if let Some(rank) = keys.number("attention.kv_lora_rank") {
        let rope = keys.number("rope.dimension_count")?;
        let layers = over_layers(&kv_heads, layers, |n| n.min(1));
        return Some(("latent", Row::Latent { rank, rope, layers }));
    }
    let heads = heads.into_iter().find(|&n| n > 0)?;
    let width = keys.number("embedding_length")?;
    let head = width / u64::from(heads);
    let key = keys.number("attention.key_length").unwrap_or(head);
    let value = keys.number("attention.value_length").unwrap_or(head);
    let numbers = key
        .saturating_add(value)
        .saturating_mul(over_layers(&kv_heads, layers, |n| n));
    Some(("key-value", Row::Numbers(numbers)))
}

/// The sum of `f` over the layers, of one number for all layers or of one number a layer.
fn over_layers(numbers: &[u32], layers: u64, f: impl Fn(u64) -> u64) -> u64 {
    if let [number] = *numbers {
        return f(number.into()).saturating_mul(layers);
    }
    let count = usize::try_from(layers).unwrap_or(usize::MAX);
    let each = numbers.iter().take(count).map(|&n| f(n.into()));
    each.fold(0, u64::saturating_add)
}

/// Whether a tensor takes part in decoding: it is of no block, or of one of the first `layers`.
fn is_run(tensor: &TensorInfo, layers: u64) -> bool {
    let block = tensor.name.strip_prefix("blk.");
    let number = block.and_then(|rest| rest.split('.').next()?.parse::<u64>().ok());
    number.is_none_or(|number| number < layers)
}

/// Whether a tensor holds one matrix or row for each of the experts.
fn is_experts(tensor: &TensorInfo, experts: u64) -> bool {
    experts > 0 && tensor.name.contains("_exps.") && tensor.shape().last() == Some(&experts)
}

/// Whether a tensor holds weights that two others hold too.
fn is_copy(model: &Gguf, tensor: &TensorInfo) -> bool {
    let Some(block) = tensor.name.strip_suffix("attn_kv_b.weight") else {
        return false;
    };
    let beside = |name: &str| model.tensor(&format!("{block}{name}.weight")).is_some();
    beside("attn_k_b") && beside("attn_v_b")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use wattle::gguf::{GgmlType, Writer};

    use super::*;

    /// A file with these keys of `deepseek2` and these tensors of f32.
    fn model(keys: &[(&str, u32)], tensors: &[(&str, &[u64])]) -> Gguf {
        let mut writer = Writer::new();
        let new = "keys and tensors are new";
        writer.key("general.architecture", "deepseek2").expect(new);
        for (key, value) in keys {
            writer.key(&format!("deepseek2.{key}"), *value).expect(new);
        }
        for (name, dims) in tensors {
            writer.tensor(name, dims, GgmlType::F32).expect(new);
        }
        let mut body = writer.start(Vec::new()).expect("memory");
        for (_, dims) in tensors {
            let bytes = vec![0; 4 * dims.iter().product::<u64>() as usize];
            body.write(&bytes).expect("memory");
        }
        let bytes = body.finish().expect("all data");
        Gguf::from_bytes(Path::new("test.gguf"), bytes).expect("a good file")
    }

    /// Parameters read for a token; everything is f32, so bytes are four times that.
    fn read(keys: &[(&str, u32)], tensors: &[(&str, &[u64])]) -> Option<u64> {
        let model = model(keys, tensors);
        let token = token(&model, &mut Keys::new(model.metadata()))?;
        assert_eq!(token.bytes, token.parameters * 4);
        Some(token.parameters)
    }

    const MOE: &[(&str, u32)] = &[
        ("block_count", 3),
        ("nextn_predict_layers", 1),
        ("expert_count", 8),
        ("expert_used_count", 2),
    ];

    #[test]
    fn a_token_reads_the_experts_that_are_used_and_one_row_of_the_embedding() {
        let tensors: &[(&str, &[u64])] = &[
            ("token_embd.weight", &[4, 100]),
            ("blk.0.ffn_up.weight", &[4, 16]),
            ("blk.1.ffn_gate_inp.weight", &[4, 8]),
            ("blk.1.ffn_up_exps.weight", &[4, 6, 8]),
            ("blk.1.ffn_up_exps.bias", &[6, 8]),
            ("blk.1.ffn_up_shexp.weight", &[4, 6]),
            // The further block is not run.
            ("blk.2.ffn_up_exps.weight", &[4, 6, 8]),
            ("blk.2.nextn.eh_proj.weight", &[8, 4]),
            ("output.weight", &[4, 100]),
        ];
        let used = 4 + 64 + 32 + 4 * 6 * 2 + 6 * 2 + 24 + 400;
        assert_eq!(read(MOE, tensors), Some(used));
        // Tied: the embedding is read whole, as the output.
        let tied = &tensors[..8];
        assert_eq!(read(MOE, tied), Some(used - 4));
    }

    #[test]
    fn weights_that_are_there_twice_are_read_once() {
        let tensors: &[(&str, &[u64])] = &[
            ("blk.0.attn_kv_b.weight", &[8, 24]),
            ("blk.0.attn_k_b.weight", &[4, 16]),
            ("blk.0.attn_v_b.weight", &[8, 16]),
        ];
        assert_eq!(read(MOE, tensors), Some(64 + 128));
        assert_eq!(read(MOE, &tensors[..1]), Some(8 * 24), "the old layout");
    }

    #[test]
    fn counts_of_zero_and_nonsense_divide_nothing() {
        let experts: &[(&str, &[u64])] = &[("blk.0.ffn_up_exps.weight", &[4, 6, 8])];
        let zero = [
            ("block_count", 1),
            ("expert_count", 0),
            ("expert_used_count", 2),
        ];
        assert_eq!(read(&zero, experts), Some(192), "no experts: all of it");
        let more = [
            ("block_count", 1),
            ("expert_count", 8),
            ("expert_used_count", u32::MAX),
        ];
        assert_eq!(read(&more, experts), Some(192), "at most all experts");
        assert_eq!(read(&[("block_count", 0)], experts), None, "no layer");
        assert_eq!(read(&[], experts), None, "no key");
        let empty: &[(&str, &[u64])] =
            &[("token_embd.weight", &[4, 0]), ("output.weight", &[4, 0])];
        assert_eq!(read(&[("block_count", 1)], empty), None, "no weights");
    }

    fn cached(keys: &[(&str, u32)]) -> Option<(&'static str, u64)> {
        let model = model(keys, &[]);
        let mut keys = Keys::new(model.metadata());
        memory(&model, &mut keys, 10).map(|memory| {
            assert_eq!(
                memory.cache_bytes,
                memory.cache_bytes_per_token.saturating_mul(10)
            );
            let f16 = memory.types.iter().find(|t| t.name == "f16");
            (memory.cache, f16.expect("a type").cache_bytes_per_token)
        })
    }

    #[test]
    fn the_cache_of_known_models() {
        // DeepSeek-V2-Lite: 27 layers of 512 + 64; 30.4 KiB a token.
        let latent = [
            ("block_count", 27),
            ("attention.head_count", 16),
            ("attention.kv_lora_rank", 512),
            ("rope.dimension_count", 64),
        ];
        assert_eq!(cached(&latent), Some(("latent", 27 * 576 * 2)));
        let lite = model(&latent, &[]);
        let types = memory(&lite, &mut Keys::new(lite.metadata()), 1)
            .expect("all keys")
            .types;
        assert_eq!(
            types.map(|t| t.cache_bytes_per_token),
            [27 * 660, 27 * 1152, 27 * 2304]
        );
        // SmolLM2-135M: 30 layers of 3 heads of 64, keys and values.
        let grouped = [
            ("block_count", 30),
            ("embedding_length", 576),
            ("attention.head_count", 9),
            ("attention.head_count_kv", 3),
        ];
        assert_eq!(cached(&grouped), Some(("key-value", 30 * 3 * 128 * 2)));
        let sized = [
            ("block_count", 2),
            ("embedding_length", 64),
            ("attention.head_count", 4),
            ("attention.key_length", 24),
            ("attention.value_length", 16),
        ];
        assert_eq!(cached(&sized), Some(("key-value", 2 * 4 * 40 * 2)));
        let none = [
            ("block_count", 2),
            ("embedding_length", 64),
            ("attention.head_count", 0),
        ];
        assert_eq!(cached(&none), None, "no heads");
        let most = [
            ("block_count", u32::MAX),
            ("attention.head_count", u32::MAX),
        ];
        let most: Vec<_> = most
            .into_iter()
            .chain([
                ("attention.kv_lora_rank", u32::MAX),
                ("rope.dimension_count", u32::MAX),
            ])
            .collect();
        assert_eq!(cached(&most), Some(("latent", u64::MAX)), "saturates");
    }

    #[test]
    fn layers_can_differ_in_their_heads() {
        assert_eq!(over_layers(&[0, 3, 5, 7], 3, |n| n), 8);
        assert_eq!(over_layers(&[0, 3, 5, 7], 9, |n| n.min(1)), 3);
        assert_eq!(over_layers(&[4], 3, |n| n), 12);
        assert_eq!(over_layers(&[], 3, |n| n), 0);
    }
}
