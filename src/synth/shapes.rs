//! The shapes there are. A new one is one entry of [`SHAPES`].
//!
//! The numbers are those of the models' `config.json`. Three things differ from the models: the vocabulary is made up, also that of
//! MiniCPM3, which is SentencePiece in truth; `v3-few` and `v32-few` have one dense layer in place of three, so that the second of two has experts;
//! and the factors of MiniCPM3's long context are all 1.
//!
//! llama.cpp (November 2026) runs `plm` with `-fa 0` only: with flash attention its values have the wrong shape.

use super::shape::{Attention, Experts, Indexer, Latent, Router, Shape, Yarn};

/// The heads of DeepSeek-V2 and its descendants.
const DEEPSEEK: Latent = Latent {
    q_rank: None,
    rank: 512,
    nope: 128,
    rope: 64,
    v: 128,
    split: true,
    factors: false,
    indexer: None,
};

const V2_LITE_EXPERTS: Experts = Experts {
    count: 64,
    used: 6,
    shared: 2,
    width: 1408,
    dense: 1,
    router: Router::Softmax,
    groups: 1,
    groups_used: 1,
    scale: 1.0,
};

const V2_LITE: Shape = Shape {
    name: "v2-lite",
    model: "DeepSeek-V2-Lite",
    layers: 27,
    usual_layers: 27,
    architecture: "deepseek2",
    pre: "deepseek-llm",
    vocab: 102_400,
    context: 163_840,
    n_embd: 2048,
    heads: 16,
    attention: Attention::Latent(DEEPSEEK),
    ff: 10_944,
    gated: true,
    experts: Some(V2_LITE_EXPERTS),
    epsilon: 1e-6,
    rope_base: Some(10_000.0),
    yarn: Some(Yarn {
        factor: 40.0,
        original: 4096,
        mscale: 0.707,
    }),
    tied: false,
};

const V3_FEW: Shape = Shape {
    name: "v3-few",
    model: "DeepSeek-V3, a few layers of it",
    layers: 61,
    usual_layers: 2,
    pre: "deepseek-v3",
    vocab: 129_280,
    n_embd: 7168,
    heads: 128,
    attention: Attention::Latent(Latent {
        q_rank: Some(1536),
        ..DEEPSEEK
    }),
    ff: 18_432,
    experts: Some(Experts {
        count: 256,
        used: 8,
        shared: 1,
        width: 2048,
        dense: 1,
        router: Router::Sigmoid,
        groups: 8,
        groups_used: 4,
        scale: 2.5,
    }),
    yarn: Some(Yarn {
        factor: 40.0,
        original: 4096,
        mscale: 1.0,
    }),
    ..V2_LITE
};

/// Every shape.
const SHAPES: &[Shape] = &[
    V2_LITE,
    Shape {
        name: "v2-lite-16",
        model: "DeepSeek-V2-Lite with 16 experts",
        experts: Some(Experts {
            count: 16,
            ..V2_LITE_EXPERTS
        }),
        ..V2_LITE
    },
    Shape {
        name: "moonlight",
        model: "Moonlight-16B-A3B",
        pre: "kimi-k2",
        vocab: 163_840,
        context: 8192,
        ff: 11_264,
        experts: Some(Experts {
            router: Router::Sigmoid,
            scale: 2.446,
            ..V2_LITE_EXPERTS
        }),
        epsilon: 1e-5,
        rope_base: Some(50_000.0),
        yarn: None,
        ..V2_LITE
    },
    Shape {
        name: "minicpm3",
        model: "MiniCPM3-4B",
        layers: 62,
        usual_layers: 62,
        architecture: "minicpm3",
        pre: "gpt-2",
        vocab: 73_448,
        context: 32_768,
        n_embd: 2560,
        heads: 40,
        attention: Attention::Latent(Latent {
            q_rank: Some(768),
            rank: 256,
            nope: 64,
            rope: 32,
            v: 64,
            split: false,
            factors: true,
            indexer: None,
        }),
        ff: 6400,
        experts: None,
        epsilon: 1e-5,
        rope_base: None,
        yarn: None,
        tied: true,
        ..V2_LITE
    },
    Shape {
        name: "plm",
        model: "PLM-1.8B",
        layers: 32,
        usual_layers: 32,
        architecture: "plm",
        pre: "qwen2",
        vocab: 151_936,
        context: 4096,
        attention: Attention::Latent(Latent {
            split: false,
            ..DEEPSEEK
        }),
        ff: 8192,
        gated: false,
        experts: None,
        rope_base: Some(100_000.0),
        yarn: None,
        tied: true,
        ..V2_LITE
    },
    Shape {
        name: "r1-1.5b",
        model: "DeepSeek-R1-Distill-Qwen-1.5B",
        layers: 28,
        usual_layers: 28,
        architecture: "qwen2",
        pre: "deepseek-r1-qwen",
        vocab: 151_936,
        context: 131_072,
        n_embd: 1536,
        heads: 12,
        attention: Attention::Grouped { kv_heads: 2 },
        ff: 8960,
        experts: None,
        yarn: None,
        ..V2_LITE
    },
    V3_FEW,
    Shape {
        name: "v32-few",
        model: "DeepSeek-V3.2, a few layers of it",
        architecture: "deepseek32",
        attention: Attention::Latent(Latent {
            q_rank: Some(1536),
            indexer: Some(Indexer {
                heads: 64,
                width: 128,
                top_k: 2048,
            }),
            ..DEEPSEEK
        }),
        ..V3_FEW
    },
    Shape {
        name: "tiny",
        model: "DeepSeek-V2-Lite in miniature, to try things out",
        layers: 4,
        usual_layers: 4,
        vocab: 2048,
        context: 4096,
        n_embd: 256,
        heads: 4,
        attention: Attention::Latent(Latent {
            q_rank: None,
            rank: 128,
            nope: 32,
            rope: 32,
            v: 32,
            split: true,
            factors: false,
            indexer: None,
        }),
        ff: 512,
        experts: Some(Experts {
            count: 16,
            used: 4,
            width: 160,
            ..V2_LITE_EXPERTS
        }),
        yarn: None,
        ..V2_LITE
    },
];

impl Shape {
    /// Every shape there is.
    pub fn all() -> &'static [Self] {
        SHAPES
    }
}
