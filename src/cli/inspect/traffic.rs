//! What the model asks of a machine: bytes read for a token, and memory for a context.
//!
//! **Bytes a token.** Decoding touches every weight once, but for
//! - experts: of the `E` experts of a layer, `expert_used_count` are read (the tensors `*_exps`, whose last dimension is `E`);
//! - the embedding: one row, unless the output is tied to it;
//! - layers that predict further tokens (MTP: the last `nextn_predict_layers` blocks), which are not run;
//! - `attn_kv_b` beside `attn_k_b` and `attn_v_b`, which hold the same weights once more.
//!
//! `attn_kv_b` alone counts as it is held once it is split at load ([`split_bytes`]), here and in memory.
//!
//! **Cache**: latent attention keeps `kv_lora_rank + rope.dimension_count` numbers a token and layer; other attention keeps
//! `head_count_kv * (key_length + value_length)`. Sparse attention keeps `attention.indexer.key_length` more in a context of more than
//! `attention.indexer.top_k` tokens. Layers with no key-value head (linear attention) keep nothing that grows.
//! What a number takes is told by the type of the cache.
//!
//! It has more than 400 lines with its tests, which need files of many keys.

use serde::Serialize;
use wattle::gguf::{Gguf, Metadata, TensorInfo};
use wattle::model::{CacheType, split_bytes};
use wattle_kernels::Format;

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

    /// Heads of latent attention, and the dimensions of a head's key that do not rotate.
    fn latent_heads(&mut self) -> Option<[u64; 2]> {
        self.number("attention.kv_lora_rank")?;
        let heads = self.numbers("attention.head_count")?;
        let heads = heads.into_iter().find(|&n| n > 0)?;
        let key = self.number("attention.key_length_mla");
        let key = key.or_else(|| self.number("attention.key_length"))?;
        let nope = key.checked_sub(self.number("rope.dimension_count")?)?;
        Some([heads.into(), nope])
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
    let latent = keys.latent_heads();
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
        token.bytes = token.bytes.saturating_add(part(held_bytes(tensor, latent)));
        token.parameters = token.parameters.saturating_add(part(tensor.elements()));
    }
    Some(token).filter(|token| token.parameters > 0)
}

/// What a context of so many tokens needs; `None` when the keys do not say.
pub(super) fn memory(model: &Gguf, keys: &mut Keys<'_>, context: u64) -> Option<Memory> {
    let layers = keys.layers()?;
    let (cache, row) = cache(keys, layers, context)?;
    let run = model.tensors().iter().filter(|t| is_run(t, layers));
    let latent = keys.latent_heads();
    let weight_bytes = run.map(|tensor| match is_copy(model, tensor) {
        true => tensor.n_bytes(),
        false => held_bytes(tensor, latent),
    });
    let weight_bytes = weight_bytes.fold(0, u64::saturating_add);
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
    /// Latent numbers, a rotary key and what it is found by, in so many layers.
    Latent {
        rank: u64,
        rope: u64,
        index: u64,
        layers: u64,
    },
    /// Numbers of keys and values, over all layers.
    Numbers(u64),
}

impl Row {
    /// In bytes.
    fn bytes(self, kind: CacheType) -> u64 {
        let size = |n: u64| usize::try_from(n).ok().filter(|n| *n < 1 << 32);
        match self {
            Self::Latent {
                rank,
                rope,
                index,
                layers,
            } => size(rank).zip(size(rope)).map_or(u64::MAX, |(rank, rope)| {
                let index = index.saturating_mul(kind.row_bytes(1) as u64);
                let row = index.saturating_add(kind.latent_bytes(rank, rope) as u64);
                layers.saturating_mul(row)
            }),
            Self::Numbers(n) => n.saturating_mul(kind.row_bytes(1) as u64),
        }
    }
}

/// Kind of the cache, and what it holds of a token of a context.
fn cache(keys: &mut Keys<'_>, layers: u64, context: u64) -> Option<(&'static str, Row)> {
    let heads = keys.numbers("attention.head_count")?;
    let kv_heads = keys.numbers("attention.head_count_kv");
    let kv_heads = kv_heads.unwrap_or_else(|| heads.clone());
    if let Some(rank) = keys.number("attention.kv_lora_rank") {
        let rope = keys.number("rope.dimension_count")?;
        let layers = over_layers(&kv_heads, layers, |n| n.min(1));
        let index = match keys.number("attention.indexer.top_k") {
            Some(top_k) if context > top_k => keys.number("attention.indexer.key_length"),
            _ => None,
        };
        let index = index.unwrap_or(0);
        let row = Row::Latent {
            rank,
            rope,
            index,
            layers,
        };
        return Some(("latent", row));
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

/// Bytes of a tensor as it is held after loading, in a model of so many heads and nope dimensions.
fn held_bytes(tensor: &TensorInfo, latent: Option<[u64; 2]>) -> u64 {
    let split = || {
        let [heads, nope] = latent.filter(|_| tensor.name.ends_with(".attn_kv_b.weight"))?;
        let v = (tensor.rows() / heads).checked_sub(nope)?;
        let format = Format::from_ggml(tensor.ty.id())?;
        let [rank, heads, nope, v] =
            [tensor.shape()[0], heads, nope, v].map(|n| usize::try_from(n).unwrap_or(usize::MAX));
        split_bytes(format, rank, heads, nope, v)
    };
    split().map_or(tensor.n_bytes(), |bytes| bytes as u64)
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
mod tests;
