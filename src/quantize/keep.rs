//! Which tensors are never converted: those that are small and upset a model most when they are wrong.
//!
//! llama.cpp's list (`tensor_allows_quantization` in `src/llama-quant.cpp`). It goes by names and the number of dimensions, so
//! that it serves architectures nobody here has heard of.

use crate::gguf::TensorInfo;

/// Parts of names, anywhere.
const PARTS: &[&str] = &[
    "_norm.weight",
    // The router of experts, and DeepSeek-V4's table from token to expert.
    "ffn_gate_inp.weight",
    "ffn_gate_tid2eid.weight",
    // Gemma 3n.
    "altup",
    "laurel",
    "per_layer_model_proj",
    // Convolutions of Mamba, Kimi and LFM2.
    "ssm_conv1d",
    "shortconv.conv.weight",
    // MiniMax's indexer.
    "indexer.k_proj.weight",
    "indexer.q_proj.weight",
    // RWKV.
    "time_mix_first.weight",
    "time_mix_w0.weight",
    "time_mix_w1.weight",
    "time_mix_w2.weight",
    "time_mix_v0.weight",
    "time_mix_v1.weight",
    "time_mix_v2.weight",
    "time_mix_a0.weight",
    "time_mix_a1.weight",
    "time_mix_a2.weight",
    "time_mix_g1.weight",
    "time_mix_g2.weight",
    "time_mix_decay_w1.weight",
    "time_mix_decay_w2.weight",
    "time_mix_lerp_fused.weight",
    // T5's positions.
    "attn_rel_b.weight",
    // Vision and audio.
    ".position_embd",
    "sam.pos_embd",
    "sam.neck.",
    "sam.net_",
    ".rel_pos",
    ".patch_embd",
    ".patch_merger",
    "a.rvq.codebook",
    "mm.a.code_embd",
];

/// Whole names: BERT's positions and kinds of tokens.
const NAMES: &[&str] = &["position_embd.weight", "token_types.weight"];

/// Parts of names that one architecture keeps.
const OF_ARCHITECTURE: &[(&str, &[&str])] = &[(
    "glm5-next",
    &[
        "hc_",
        "indexer.attn_q_b",
        "indexer.attn_k",
        "indexer.proj",
        "indexer_compressor_gate",
        "indexer_compressor_ape",
        "ssm_f_a.weight",
        "ssm_f_b.weight",
        "ssm_g_a.weight",
        "ssm_g_b.weight",
        "ssm_beta.weight",
        "attn_kv_a_mqa.weight",
        "attn_k_b.weight",
        "attn_v_b.weight",
    ],
)];

/// Whether a tensor keeps its type whatever the user asks for.
pub(super) fn is_kept(tensor: &TensorInfo, architecture: &str) -> bool {
    let name = tensor.name.as_str();
    let [_, outer @ ..] = tensor.dims;
    let has = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
    let special = OF_ARCHITECTURE
        .iter()
        .any(|(of, parts)| *of == architecture && has(parts));
    // A dimension of 1 at the end does not count, so a matrix of one row is a vector.
    outer.iter().all(|&dim| dim == 1)
        || !name.ends_with("weight")
        || has(PARTS)
        || NAMES.contains(&name)
        || special
}
