//! What a shape is made of: the numbers that decide which keys and tensors a model has.
//!
//! Widths are in elements. `u32`, because the keys of a file are.

/// The shape of a model.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Shape {
    /// Its name on the command line.
    pub name: &'static str,
    /// The model that has it.
    pub model: &'static str,
    /// Layers of that model.
    pub layers: u32,
    /// Layers that are written unless others are asked for.
    pub usual_layers: u32,
    /// `general.architecture`.
    pub(super) architecture: &'static str,
    /// `tokenizer.ggml.pre`.
    pub(super) pre: &'static str,
    /// Tokens in the vocabulary.
    pub(super) vocab: u32,
    /// Tokens that the model was made for.
    pub(super) context: u32,
    /// Width of the residual stream.
    pub(super) n_embd: u32,
    /// Query heads.
    pub(super) heads: u32,
    pub(super) attention: Attention,
    /// Width of a dense feed-forward network.
    pub(super) ff: u32,
    /// Whether it has a gate (SwiGLU).
    pub(super) gated: bool,
    pub(super) experts: Option<Experts>,
    /// Of all RMS norms.
    pub(super) epsilon: f32,
    /// Base of the rotary frequencies; none leaves the key out.
    pub(super) rope_base: Option<f32>,
    pub(super) yarn: Option<Yarn>,
    /// The embeddings serve as output, too.
    pub(super) tied: bool,
}

/// How keys and values come about.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Attention {
    /// Several query heads share a key head; queries, keys and values have a bias.
    Grouped { kv_heads: u32 },
    /// Through a latent row.
    Latent(Latent),
}

/// Multi-head latent attention.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Latent {
    /// `q_lora_rank`; none when queries come straight from the residual stream.
    pub(super) q_rank: Option<u32>,
    /// `kv_lora_rank`.
    pub(super) rank: u32,
    /// Of a head: the dimensions without and with rotation, and those of its value.
    pub(super) nope: u32,
    pub(super) rope: u32,
    pub(super) v: u32,
    /// `attn_k_b` and `attn_v_b`, else one `attn_kv_b`.
    pub(super) split: bool,
    /// A divisor for each rotary frequency, for long and for short contexts (`rope_factors_*`).
    pub(super) factors: bool,
    /// What chooses the rows to attend to.
    pub(super) indexer: Option<Indexer>,
}

/// Ranks the rows of a cache for a token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Indexer {
    pub(super) heads: u32,
    pub(super) width: u32,
    /// Rows that are chosen.
    pub(super) top_k: u32,
}

/// A mixture of experts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Experts {
    pub(super) count: u32,
    pub(super) used: u32,
    pub(super) shared: u32,
    /// Width of one.
    pub(super) width: u32,
    /// Layers at the start that have none.
    pub(super) dense: u32,
    pub(super) router: Router,
    /// Of which the router looks at so many.
    pub(super) groups: u32,
    pub(super) groups_used: u32,
    /// What the weights of the chosen are multiplied with.
    pub(super) scale: f32,
}

/// How experts are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Router {
    /// DeepSeek-V2: softmax over all, weights as they are.
    Softmax,
    /// DeepSeek-V3: sigmoid and a bias for the choice, weights divided by their sum.
    Sigmoid,
}

/// An extended context.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Yarn {
    pub(super) factor: f32,
    pub(super) original: u32,
    /// `mscale_all_dim`.
    pub(super) mscale: f32,
}

impl Shape {
    /// The shape of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        Self::all().iter().find(|shape| shape.name == name)
    }
}
