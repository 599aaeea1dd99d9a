//! `deepseek2`: Multi-head Latent Attention with a mixture of experts. DeepSeek-V2, V2-Lite, V3, R1, V3.1, Moonlight, Kimi-K2,
//! GigaChat3, Kanana-2, GLM-4.7-Flash, Youtu-LLM and others.

use super::rope::{rope, scaling};
use super::source::Source;
use super::{Recipe, mla};
use crate::error::Result;
use crate::model::MAX_GROUPS;
use crate::model::config::{Config, Heads, Sparse};
use crate::model::rope::RopeKind;
use crate::model::weights::{Attention, Ffn, Gating, Layer, Moe, RouterRule, Weights};

pub(super) const RECIPE: Recipe = Recipe {
    name: "deepseek2",
    build: |source| build(source, None),
};

/// A model whose tokens attend to all rows, or to those that an indexer chooses.
pub(super) fn build(source: &Source<'_>, sparse: Option<Sparse>) -> Result<(Config, Weights)> {
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
    let correction = scaling.magnitude(log_multiplier(source)?.unwrap_or(0.0));
    let heads = mla::heads(source, n_embd, correction * correction)?;
    let rule = rule(source)?;
    let dense = source.number("leading_dense_block_count")?.unwrap_or(0);
    let layers = (0..source.layers()?)
        .map(|i| {
            let block = format!("blk.{i}.");
            Ok(Layer {
                attention_norm: source.vector(&format!("{block}attn_norm.weight"), n_embd)?,
                attention: Attention::Mla(mla::attention(source, &block, n_embd, &heads, sparse)?),
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
    let config = Config {
        sparse,
        ..source.config(Heads::Mla(heads), rope, n_embd, weights.output.rows())?
    };
    Ok((config, weights))
}

/// `0.1 * mscale_all_dim`, which multiplies the logarithm of the context extension; none when absent or 0.
fn log_multiplier(source: &Source<'_>) -> Result<Option<f32>> {
    let value = source.real("rope.scaling.yarn_log_multiplier")?;
    Ok(value.filter(|m| *m != 0.0))
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
