//! The keys of a shape, as llama.cpp's converter writes them.

use std::io;

use super::shape::{Attention, Experts, Router, Shape, Yarn};
use crate::gguf::Writer;

/// ggml's version of the quantised layouts.
const QUANTIZATION_VERSION: u32 = 2;

/// Adds all keys but those of the vocabulary.
pub(super) fn put(head: &mut Writer, shape: &Shape, layers: u32, file_type: u32) -> io::Result<()> {
    let architecture = shape.architecture;
    head.key("general.architecture", architecture)?;
    head.key("general.type", "model")?;
    head.key("general.name", format!("{} (random weights)", shape.model))?;
    head.key("general.file_type", file_type)?;
    head.key("general.quantization_version", QUANTIZATION_VERSION)?;
    let mut keys = Keys { head, architecture };
    keys.number("block_count", layers)?;
    keys.number("context_length", shape.context)?;
    keys.number("embedding_length", shape.n_embd)?;
    keys.number("feed_forward_length", shape.ff)?;
    keys.number("vocab_size", shape.vocab)?;
    keys.number("attention.head_count", shape.heads)?;
    keys.real("attention.layer_norm_rms_epsilon", shape.epsilon)?;
    if let Some(base) = shape.rope_base {
        keys.real("rope.freq_base", base)?;
    }
    if let Some(yarn) = shape.yarn {
        keys.yarn(&yarn)?;
    }
    keys.attention(shape)?;
    match shape.experts {
        Some(experts) => keys.experts(&experts, layers),
        None => Ok(()),
    }
}

/// The keys of one architecture.
struct Keys<'a> {
    head: &'a mut Writer,
    architecture: &'static str,
}

impl Keys<'_> {
    fn name(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture)
    }

    fn number(&mut self, key: &str, value: u32) -> io::Result<()> {
        self.head.key(&self.name(key), value)
    }

    fn real(&mut self, key: &str, value: f32) -> io::Result<()> {
        self.head.key(&self.name(key), value)
    }

    fn yarn(&mut self, yarn: &Yarn) -> io::Result<()> {
        self.head.key(&self.name("rope.scaling.type"), "yarn")?;
        self.real("rope.scaling.factor", yarn.factor)?;
        self.number("rope.scaling.original_context_length", yarn.original)?;
        // A tenth of it, by a custom of the converter that all readers know.
        self.real("rope.scaling.yarn_log_multiplier", 0.1 * yarn.mscale)
    }

    fn attention(&mut self, shape: &Shape) -> io::Result<()> {
        let latent = match shape.attention {
            Attention::Grouped { kv_heads } => {
                return self.number("attention.head_count_kv", kv_heads);
            }
            Attention::Latent(latent) => latent,
        };
        let (k, v) = (latent.nope + latent.rope, latent.v);
        if let Some(rank) = latent.q_rank {
            self.number("attention.q_lora_rank", rank)?;
        } else if self.architecture == "deepseek2" {
            // llama.cpp knows models without it by their 27 layers. Of others it asks for the key, and takes 0.
            self.number("attention.q_lora_rank", 0)?;
        }
        self.number("attention.kv_lora_rank", latent.rank)?;
        self.number("rope.dimension_count", latent.rope)?;
        if let Some(indexer) = latent.indexer {
            self.number("attention.indexer.head_count", indexer.heads)?;
            self.number("attention.indexer.key_length", indexer.width)?;
            self.number("attention.indexer.top_k", indexer.top_k)?;
        }
        if latent.split {
            // As the cache has it: one key head, whose key is the latent row with the rotary part.
            self.number("attention.head_count_kv", 1)?;
            self.number("attention.key_length", latent.rank + latent.rope)?;
            self.number("attention.value_length", latent.rank)?;
            self.number("attention.key_length_mla", k)?;
            self.number("attention.value_length_mla", v)
        } else {
            self.number("attention.head_count_kv", shape.heads)?;
            self.number("attention.key_length", k)?;
            self.number("attention.value_length", v)
        }
    }

    fn experts(&mut self, experts: &Experts, layers: u32) -> io::Result<()> {
        self.number("leading_dense_block_count", experts.dense.min(layers))?;
        self.number("expert_count", experts.count)?;
        self.number("expert_used_count", experts.used)?;
        self.number("expert_shared_count", experts.shared)?;
        self.number("expert_feed_forward_length", experts.width)?;
        self.number("expert_group_count", experts.groups)?;
        self.number("expert_group_used_count", experts.groups_used)?;
        self.real("expert_weights_scale", experts.scale)?;
        let sigmoid = experts.router == Router::Sigmoid;
        let normalised = self.name("expert_weights_norm");
        self.head.key(&normalised, sigmoid)?;
        self.number("expert_gating_func", if sigmoid { 2 } else { 1 })
    }
}
