//! `deepseek2`: Multi-head Latent Attention with a mixture of experts. DeepSeek-V2, V2-Lite, V3, R1, V3.1, Moonlight, Kimi-K2,
//! GigaChat3, Kanana-2, GLM-4.7-Flash, Youtu-LLM and others.
//!
//! Three layouts of the key and value projections are in the wild:
//!
//! | layout | tensors | files |
//! |---|---|---|
//! | split, 3-D | `attn_k_b {nope, rank, heads}`, `attn_v_b {rank, v, heads}` | since 2025 |
//! | split, 2-D | the same bytes as `{nope, heads * rank}`, `{rank, heads * v}`, beside `attn_kv_b` | `ik_llama.cpp` |
//! | legacy | `attn_kv_b {rank, heads * (nope + v)}`: a head's key rows, then its value rows | before 2025 |
//!
//! New files write the widths of the cache into `attention.key_length` (576) and `value_length` (512), legacy files those of a
//! head (192 and 128). The heads are therefore measured on the tensors, and the `_mla` keys, which mean one thing only,
//! are held against them.

use super::Recipe;
use super::rope::{rope, scaling};
use super::source::Source;
use crate::error::Result;
use crate::model::MAX_GROUPS;
use crate::model::absorb::split_kv_b;
use crate::model::config::{Config, Heads, MlaHeads};
use crate::model::matrix::{Matrix, Stack};
use crate::model::rope::{RopeKind, Scaling};
use crate::model::weights::{Attention, Ffn, Gating, Layer, Mla, Moe, Query, RouterRule, Weights};

pub(super) const RECIPE: Recipe = Recipe {
    name: "deepseek2",
    build,
};

fn build(source: &Source<'_>) -> Result<(Config, Weights)> {
    for key in [
        "attention.temperature_scale",
        "attention.temperature_length",
    ] {
        if source
            .real(key)
            .map_or(true, |value| value.is_some_and(|x| x != 0.0))
        {
            let what = format!(
                "key {:?} (Mistral's attention temperature)",
                source.key(key)
            );
            return Err(
                source.unsupported(what, "wattle runs the DeepSeek models of this architecture")
            );
        }
    }
    let n_embd = source.need("embedding_length")?;
    let scaling = scaling(source)?;
    let heads = heads(source, n_embd, scaling)?;
    let rule = rule(source)?;
    let dense = source.number("leading_dense_block_count")?.unwrap_or(0);
    let layers = (0..source.layers()?)
        .map(|i| {
            let block = format!("blk.{i}.");
            Ok(Layer {
                attention_norm: source.vector(&format!("{block}attn_norm.weight"), n_embd)?,
                attention: Attention::Mla(attention(source, &block, n_embd, &heads)?),
                ffn_norm: source.vector(&format!("{block}ffn_norm.weight"), n_embd)?,
                ffn: match rule {
                    Some(rule) if i >= dense => Ffn::Moe(moe(source, &block, n_embd, rule)?),
                    _ => Ffn::Dense(source.gated(&block, ".weight", n_embd)?),
                },
            })
        })
        .collect::<Result<Vec<_>>>()?;

    // With the log multiplier, the correction of YaRN is in the softmax scale; without it, in the cosines and sines.
    let magnitude = match log_multiplier(source)? {
        Some(_) => 1.0,
        None => scaling.magnitude(0.1),
    };
    let rope = rope(source, RopeKind::Norm, heads.rope, scaling, magnitude)?;
    let weights = source.weights(n_embd, layers)?;
    let config = source.config(Heads::Mla(heads), rope, n_embd, weights.output.rows())?;
    Ok((config, weights))
}

/// `0.1 * mscale_all_dim`, which multiplies the logarithm of the context extension; none when absent or 0.
fn log_multiplier(source: &Source<'_>) -> Result<Option<f32>> {
    let value = source.real("rope.scaling.yarn_log_multiplier")?;
    Ok(value.filter(|m| *m != 0.0))
}

/// The shape of attention, measured on the first block.
fn heads(source: &Source<'_>, n_embd: usize, scaling: Scaling) -> Result<MlaHeads> {
    let heads = source.need("attention.head_count")?;
    let rank = source.need("attention.kv_lora_rank")?;
    let rope = source.need("rope.dimension_count")?;

    let query = if source.has("blk.0.attn_q_b.weight") {
        "blk.0.attn_q_b.weight"
    } else {
        "blk.0.attn_q.weight"
    };
    let query_rows = source.matrix_any_rows(query, source.cols(query)?)?.rows();
    let k = per_head(source, query, query_rows, heads)?;
    let output = "blk.0.attn_output.weight";
    let v = per_head(source, output, source.cols(output)?, heads)?;
    for (key, found) in [
        ("attention.key_length_mla", k),
        ("attention.value_length_mla", v),
    ] {
        if let Some(said) = source.number(key)?.filter(|said| *said != found) {
            let expected = format!("{found}, as the tensors have it");
            return Err(source.bad_key(key, &expected, &said.to_string()));
        }
    }
    let Some(nope) = k.checked_sub(rope).filter(|nope| *nope > 0) else {
        let expected = format!("fewer than the {k} dimensions of a head");
        return Err(source.bad_key("rope.dimension_count", &expected, &rope.to_string()));
    };
    source.matrix(
        "blk.0.attn_kv_a_mqa.weight",
        rank.saturating_add(rope),
        n_embd,
    )?;

    let correction = scaling.magnitude(log_multiplier(source)?.unwrap_or(0.0));
    Ok(MlaHeads {
        heads,
        nope,
        rope,
        v,
        kv_lora_rank: rank,
        scale: correction * correction / (k as f32).sqrt(),
    })
}

/// `width / heads`, when that is a whole number.
fn per_head(source: &Source<'_>, tensor: &str, width: usize, heads: usize) -> Result<usize> {
    if !width.is_multiple_of(heads) {
        let expected = format!("a multiple of {heads} heads");
        return Err(source.bad_tensor(tensor, &expected, &width.to_string()));
    }
    Ok(width / heads)
}

/// The attention block whose tensors start with `block`.
fn attention(source: &Source<'_>, block: &str, n_embd: usize, heads: &MlaHeads) -> Result<Mla> {
    let name = |suffix: &str| format!("{block}{suffix}");
    let query_rows = source.times(&name("attn_q"), heads.heads, heads.nope + heads.rope)?;
    let query = if source.has(&name("attn_q_a.weight")) {
        let a = source.matrix_any_rows(&name("attn_q_a.weight"), n_embd)?;
        let rank = a.rows();
        Query::LowRank {
            a,
            norm: source.vector(&name("attn_q_a_norm.weight"), rank)?,
            b: source.matrix(&name("attn_q_b.weight"), query_rows, rank)?,
        }
    } else {
        Query::Direct(source.matrix(&name("attn_q.weight"), query_rows, n_embd)?)
    };
    let (k_b, v_b, kv_b) = key_and_value(source, block, heads)?;
    let rank = heads.kv_lora_rank;
    let output = name("attn_output.weight");
    Ok(Mla {
        query,
        kv_a: source.matrix(&name("attn_kv_a_mqa.weight"), rank + heads.rope, n_embd)?,
        kv_a_norm: source.vector(&name("attn_kv_a_norm.weight"), rank)?,
        k_b,
        v_b,
        kv_b,
        output: source.matrix(
            &output,
            n_embd,
            source.times(&output, heads.heads, heads.v)?,
        )?,
    })
}

/// The two projections behind the latent row, from whichever layout the file has, and what they were split from.
fn key_and_value(
    source: &Source<'_>,
    block: &str,
    heads: &MlaHeads,
) -> Result<(Stack, Stack, Option<Matrix>)> {
    let MlaHeads {
        heads,
        nope,
        v,
        kv_lora_rank: rank,
        ..
    } = *heads;
    let (k_b, v_b) = (
        format!("{block}attn_k_b.weight"),
        format!("{block}attn_v_b.weight"),
    );
    let both = format!("{block}attn_kv_b.weight");
    if source.has(&k_b) || !source.has(&both) {
        source.skip(&both);
        Ok((
            source.stack(&k_b, heads, rank, nope)?,
            source.stack(&v_b, heads, v, rank)?,
            None,
        ))
    } else {
        let rows = source.times(&both, heads, nope + v)?;
        let kv_b = source.matrix(&both, rows, rank)?;
        let (k_b, v_b) = split_kv_b(source.isa(), &kv_b, heads, nope, v);
        Ok((k_b, v_b, Some(kv_b)))
    }
}

/// How the router chooses; none in a model without experts.
fn rule(source: &Source<'_>) -> Result<Option<RouterRule>> {
    let experts = source.number("expert_count")?.unwrap_or(0);
    if experts == 0 {
        return Ok(None);
    }
    let used = source.need("expert_used_count")?;
    if used > experts {
        let expected = format!("at most the {experts} experts");
        return Err(source.bad_key("expert_used_count", &expected, &used.to_string()));
    }
    let groups = source.number("expert_group_count")?.unwrap_or(1).max(1);
    let groups_used = source
        .number("expert_group_used_count")?
        .unwrap_or(groups)
        .max(1);
    let grouped = groups <= MAX_GROUPS
        && experts.is_multiple_of(groups)
        && groups_used <= groups
        && groups_used * (experts / groups) >= used;
    if !grouped {
        let expected = format!(
            "a divisor of {experts} experts, at most {MAX_GROUPS}, of which those used hold {used} experts"
        );
        let found = format!("{groups} groups, {groups_used} used");
        return Err(source.bad_key("expert_group_count", &expected, &found));
    }
    let scale = source.real("expert_weights_scale")?.filter(|s| *s != 0.0);
    Ok(Some(RouterRule {
        gating: gating(source)?,
        used,
        groups,
        groups_used,
        normalise: source
            .meta()
            .bool(&source.key("expert_weights_norm"))?
            .unwrap_or(false),
        scale: scale.unwrap_or(1.0),
    }))
}

/// The router's function. Files of DeepSeek-V2 do not say and mean softmax; the first files of GLM-4.7-Flash do not say either
/// and mean sigmoid, so they are known by their shape.
fn gating(source: &Source<'_>) -> Result<Gating> {
    const GLM_4_7_FLASH_VOCAB: usize = 154_880;
    let name = "expert_gating_func";
    match source.number(name)? {
        None | Some(0) => {
            let blocks = source.need("block_count")?;
            let embedding =
                source.matrix_any_rows("token_embd.weight", source.cols("token_embd.weight")?)?;
            let glm = matches!(blocks, 47 | 48) && embedding.rows() == GLM_4_7_FLASH_VOCAB;
            Ok(if glm {
                Gating::Sigmoid
            } else {
                Gating::Softmax
            })
        }
        Some(1) => Ok(Gating::Softmax),
        Some(2) => Ok(Gating::Sigmoid),
        Some(3) => Ok(Gating::SoftmaxOfChosen),
        Some(other) => Err(source.unsupported(
            format!("router function {other} ({})", source.key(name)),
            "wattle knows 1 (softmax), 2 (sigmoid) and 3 (softmax of the chosen)",
        )),
    }
}

/// The mixture of experts whose tensors start with `block`.
fn moe(source: &Source<'_>, block: &str, n_embd: usize, rule: RouterRule) -> Result<Moe> {
    let experts = source.need("expert_count")?;
    let name = |suffix: &str| format!("{block}{suffix}");
    let merged = name("ffn_gate_up_exps.weight");
    let (gate, up) = if source.has(&merged) {
        source.gate_up_stacks(&merged, experts, n_embd)?
    } else {
        let gate = source.stack_any_rows(&name("ffn_gate_exps.weight"), experts, n_embd)?;
        let up = source.stack(&name("ffn_up_exps.weight"), experts, gate.rows(), n_embd)?;
        (gate, up)
    };
    let down = source.stack(&name("ffn_down_exps.weight"), experts, n_embd, gate.rows())?;
    let shared = source
        .has(&name("ffn_gate_shexp.weight"))
        .then(|| source.gated(block, "_shexp.weight", n_embd))
        .transpose()?;
    if shared.is_none() && source.number("expert_shared_count")?.unwrap_or(0) > 0 {
        let tensor = name("ffn_gate_shexp.weight");
        return Err(source.bad_tensor(
            &tensor,
            "the shared experts that the keys announce",
            "none",
        ));
    }
    Ok(Moe {
        router: source.matrix(&name("ffn_gate_inp.weight"), experts, n_embd)?,
        selection_bias: source.optional_vector(&name("exp_probs_b.bias"), experts)?,
        rule,
        gate,
        up,
        down,
        shared,
    })
}
