//! The weights of a model, by their role. An architecture's recipe fills these in; the forward pass reads them.
//!
//! Comments give shapes as `(rows, columns)`; a matrix of `(out, in)` computes `y = W x`.

use super::matrix::{Matrix, Stack};

/// All weights.
#[derive(Debug)]
pub struct Weights {
    /// `(n_vocab, n_embd)`, one row a token.
    pub embedding: Matrix,
    /// Transformer layers, in order.
    pub layers: Vec<Layer>,
    /// `(n_embd)`, the norm before the output.
    pub output_norm: Box<[f32]>,
    /// `(n_vocab, n_embd)`; the embedding itself when the model ties them.
    pub output: Matrix,
    /// Whether `output` is the embedding.
    pub tied: bool,
}

/// One transformer layer: `h = x + attention(norm(x))`, then `h + ffn(norm(h))`.
#[derive(Debug)]
pub struct Layer {
    /// `(n_embd)`
    pub attention_norm: Box<[f32]>,
    /// The attention block.
    pub attention: Attention,
    /// `(n_embd)`
    pub ffn_norm: Box<[f32]>,
    /// The feed-forward block.
    pub ffn: Ffn,
}

/// The attention block of a layer.
#[expect(
    clippy::large_enum_variant,
    reason = "one a layer, and all layers are read every token"
)]
#[derive(Debug)]
pub enum Attention {
    /// Multi-head Latent Attention.
    Mla(Mla),
    /// Grouped-query attention.
    Gqa(Gqa),
}

/// Multi-head Latent Attention in its absorbed form.
#[derive(Debug)]
pub struct Mla {
    /// How the query is made.
    pub query: Query,
    /// `(kv_lora_rank + rope, n_embd)`: the latent, then the rotary key.
    pub kv_a: Matrix,
    /// `(kv_lora_rank)`
    pub kv_a_norm: Box<[f32]>,
    /// A matrix `(kv_lora_rank, nope)` a head: carries the query into the latent space.
    pub k_b: Stack,
    /// A matrix `(v, kv_lora_rank)` a head: rebuilds the head's value.
    pub v_b: Stack,
    /// `(heads * (nope + v), kv_lora_rank)`: what the two were split from, in a legacy file. Nothing is multiplied with it.
    pub kv_b: Option<Matrix>,
    /// `(n_embd, heads * v)`
    pub output: Matrix,
    /// What chooses the rows to attend to, in a model with sparse attention.
    pub indexer: Option<Indexer>,
}

/// Ranks the rows of a cache for a token (DeepSeek-V3.2, section 2.1).
#[derive(Debug)]
pub struct Indexer {
    /// `(heads * width, q_lora_rank)`: queries, from the low rank.
    pub q_b: Matrix,
    /// `(width, n_embd)`: the key.
    pub k: Matrix,
    /// `(width)`, weight and bias of the layer norm of a key.
    pub k_norm: [Box<[f32]>; 2],
    /// `(heads, n_embd)`: what each head counts.
    pub weights: Matrix,
}

/// How latent attention makes its query.
#[derive(Debug)]
pub enum Query {
    /// `(heads * (nope + rope), n_embd)`
    Direct(Matrix),
    /// Through a low rank, with a norm between.
    LowRank {
        /// `(q_lora_rank, n_embd)`
        a: Matrix,
        /// `(q_lora_rank)`
        norm: Box<[f32]>,
        /// `(heads * (nope + rope), q_lora_rank)`
        b: Matrix,
    },
}

/// Grouped-query attention.
#[derive(Debug)]
pub struct Gqa {
    /// `(heads * k, n_embd)`
    pub q: Linear,
    /// `(kv_heads * k, n_embd)`
    pub k: Linear,
    /// `(kv_heads * v, n_embd)`
    pub v: Linear,
    /// `(n_embd, heads * v)`
    pub output: Linear,
}

/// A matrix with an optional bias on its output.
#[derive(Debug)]
pub struct Linear {
    /// `(out, in)`
    pub weight: Matrix,
    /// `(out)`
    pub bias: Option<Box<[f32]>>,
}

/// The feed-forward block of a layer.
#[expect(
    clippy::large_enum_variant,
    reason = "one a layer, and all layers are read every token"
)]
#[derive(Debug)]
pub enum Ffn {
    /// One gated network.
    Dense(Gated),
    /// One network without a gate.
    Squared(Squared),
    /// A mixture of experts.
    Moe(Moe),
}

/// `down(silu(gate x) * up x)` (SwiGLU, Shazeer 2020).
#[derive(Debug)]
pub struct Gated {
    /// `(ff, n_embd)`
    pub gate: Matrix,
    /// `(ff, n_embd)`
    pub up: Matrix,
    /// `(n_embd, ff)`
    pub down: Matrix,
}

/// `down(relu(up x)^2)` (Primer, So et al. 2021).
#[derive(Debug)]
pub struct Squared {
    /// `(ff, n_embd)`
    pub up: Matrix,
    /// `(n_embd, ff)`
    pub down: Matrix,
}

/// A mixture of experts with its router (DeepSeek-V2 section 2.2, DeepSeek-V3 section 2.1.2).
#[derive(Debug)]
pub struct Moe {
    /// `(experts, n_embd)`
    pub router: Matrix,
    /// `(experts)`, added to the scores when experts are chosen, never to their weight.
    pub selection_bias: Option<Box<[f32]>>,
    /// How scores become choices and weights.
    pub rule: RouterRule,
    /// `(ff, n_embd)` an expert.
    pub gate: Stack,
    /// `(ff, n_embd)` an expert.
    pub up: Stack,
    /// `(n_embd, ff)` an expert.
    pub down: Stack,
    /// The experts that every token uses, fused into one.
    pub shared: Option<Gated>,
}

/// How a router's scores become the choice of experts and their weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RouterRule {
    /// From scores to probabilities.
    pub gating: Gating,
    /// Experts a token uses.
    pub used: usize,
    /// Groups that the experts are divided into; 1 when there is no limit.
    pub groups: usize,
    /// Groups a token may choose from.
    pub groups_used: usize,
    /// Whether the weights of the chosen experts are divided by their sum.
    pub normalise: bool,
    /// Factor on the weights.
    pub scale: f32,
}

/// From router scores to probabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gating {
    /// Softmax over all experts (DeepSeek-V2).
    Softmax,
    /// A sigmoid each (DeepSeek-V3).
    Sigmoid,
    /// The scores choose; softmax over the chosen ones weighs.
    SoftmaxOfChosen,
}

/// Weights that are multiplied with.
#[derive(Debug)]
pub(super) enum Factor<'a> {
    /// One matrix.
    Matrix(&'a mut Matrix),
    /// Several of one shape.
    Stack(&'a mut Stack),
}

impl Weights {
    /// Multiplies what goes into the output by `factor`, in the norm before it.
    pub(crate) fn scale_output(&mut self, factor: f32) {
        self.output_norm.iter_mut().for_each(|w| *w *= factor);
    }

    /// Everything that is multiplied with, in the order of a pass. The embedding is not: its rows are looked up.
    pub(super) fn factors(&mut self) -> Vec<Factor<'_>> {
        let mut out = Vec::new();
        for layer in &mut self.layers {
            match &mut layer.attention {
                Attention::Mla(mla) => {
                    match &mut mla.query {
                        Query::Direct(q) => out.push(Factor::Matrix(q)),
                        Query::LowRank { a, b, .. } => out.extend([a, b].map(Factor::Matrix)),
                    }
                    out.push(Factor::Matrix(&mut mla.kv_a));
                    out.extend([&mut mla.k_b, &mut mla.v_b].map(Factor::Stack));
                    if let Some(Indexer {
                        q_b, k, weights, ..
                    }) = &mut mla.indexer
                    {
                        out.extend([k, weights, q_b].map(Factor::Matrix));
                    }
                    out.push(Factor::Matrix(&mut mla.output));
                }
                Attention::Gqa(gqa) => {
                    let all = [&mut gqa.q, &mut gqa.k, &mut gqa.v, &mut gqa.output];
                    out.extend(all.map(|linear| Factor::Matrix(&mut linear.weight)));
                }
            }
            match &mut layer.ffn {
                Ffn::Dense(gated) => out.extend(gated.factors()),
                Ffn::Squared(Squared { up, down }) => out.extend([up, down].map(Factor::Matrix)),
                Ffn::Moe(moe) => {
                    out.push(Factor::Matrix(&mut moe.router));
                    out.extend([&mut moe.gate, &mut moe.up, &mut moe.down].map(Factor::Stack));
                    out.extend(moe.shared.iter_mut().flat_map(Gated::factors));
                }
            }
        }
        out.push(Factor::Matrix(&mut self.output));
        out
    }
}

impl Gated {
    fn factors(&mut self) -> [Factor<'_>; 3] {
        [&mut self.gate, &mut self.up, &mut self.down].map(Factor::Matrix)
    }
}
