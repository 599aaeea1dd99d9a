//! The shape of a model: numbers read from the file once, checked there, and never changed.

use super::rope::Rope;

/// Everything about a model that is not a weight.
#[derive(Debug, Clone)]
pub struct Config {
    /// Name of the architecture as GGUF writes it.
    pub arch: &'static str,
    /// Width of the residual stream.
    pub n_embd: usize,
    /// Rows of the output matrix; token ids are below this.
    pub n_vocab: usize,
    /// Context that the model was trained for.
    pub n_ctx_train: usize,
    /// `eps` of every RMSNorm.
    pub norm_eps: f32,
    /// Rotary embedding of the rotated part of queries and keys.
    pub rope: Rope,
    /// Shape of attention.
    pub heads: Heads,
    /// Constant factors on the residual stream.
    pub scales: Scales,
    /// How latent attention chooses rows; none where it reads all.
    pub sparse: Option<Sparse>,
}

/// Sparse attention (DeepSeek-V3.2, section 2.1): with more than `top_k` rows in the cache a token attends to those that an indexer
/// ranks highest, and to all before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sparse {
    /// Heads of the indexer.
    pub heads: usize,
    /// Dimensions of a head's query, and of the one key a token; the first of them rotate.
    pub width: usize,
    /// Rows that a token attends to.
    pub top_k: usize,
}

/// Constant factors on the residual stream, which keep it of one size whatever the depth (Hu et al. 2024, section 3);
/// 1 in most models.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scales {
    /// On what is looked up for a token.
    pub embedding: f32,
    /// On what a block puts out, before it is added.
    pub branch: f32,
}

impl Default for Scales {
    fn default() -> Self {
        Self {
            embedding: 1.0,
            branch: 1.0,
        }
    }
}

/// The shape of attention, the same in all layers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Heads {
    /// Multi-head Latent Attention (DeepSeek-V2, section 2.1).
    Mla(MlaHeads),
    /// Grouped-query attention; multi-head attention when `kv_heads == heads`.
    Gqa(GqaHeads),
}

/// Multi-head Latent Attention: keys and values are rebuilt from one latent row a token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MlaHeads {
    /// Query heads.
    pub heads: usize,
    /// Dimensions of a head's query and key without position.
    pub nope: usize,
    /// Dimensions of the rotated part; one rotary key is shared by all heads.
    pub rope: usize,
    /// Dimensions of a head's value.
    pub v: usize,
    /// Width of the latent row.
    pub kv_lora_rank: usize,
    /// Factor on scores before the softmax, YaRN's correction included.
    pub scale: f32,
}

/// Grouped-query attention.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GqaHeads {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Dimensions of a query or key head.
    pub k: usize,
    /// Dimensions of a value head.
    pub v: usize,
    /// Factor on scores before the softmax.
    pub scale: f32,
}

impl Heads {
    /// Numbers that the cache holds for a token in one layer.
    #[must_use]
    pub fn cache_width(&self) -> usize {
        match self {
            Self::Mla(h) => h.kv_lora_rank + h.rope,
            Self::Gqa(h) => h.kv_heads * (h.k + h.v),
        }
    }

    /// Width of the query row of a token, all heads.
    #[must_use]
    pub fn query_width(&self) -> usize {
        match self {
            Self::Mla(h) => h.heads * (h.nope + h.rope),
            Self::Gqa(h) => h.heads * h.k,
        }
    }

    /// Width of the attention output of a token before the output matrix, all heads.
    #[must_use]
    pub fn output_width(&self) -> usize {
        match self {
            Self::Mla(h) => h.heads * h.v,
            Self::Gqa(h) => h.heads * h.v,
        }
    }
}
