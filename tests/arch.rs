//! Files that a recipe must read in its own way, or refuse with a reason, as tiny models built in memory.
//!
//! What the models compute is held against Hugging Face in `tests/hf.rs`; here it is about keys and tensors.

#[path = "arch/any.rs"]
mod any;
#[path = "arch/file.rs"]
mod file;

use file::{File, Integer, N_EMBD, NOPE, RANK, ROPE, small};
use wattle::gguf::{GgmlType, Value};

#[test]
fn a_missing_router_function_is_softmax() {
    let silent = small().logits();
    assert_eq!(silent, small().with("expert_gating_func", 1).logits());
    assert_ne!(silent, small().with("expert_gating_func", 2).logits());
}

#[test]
fn a_missing_router_function_is_sigmoid_in_glm_4_7_flash() {
    let glm = File::new(47, 154_880);
    let silent = glm.logits();
    assert_eq!(silent, glm.clone().with("expert_gating_func", 2).logits());
    assert_ne!(silent, glm.with("expert_gating_func", 1).logits());
}

#[test]
fn the_ramp_of_yarn_is_the_files() {
    let usual = small().yarn().logits();
    let beta = |key, x| small().yarn().other(key, Value::F32(x)).logits();
    assert_eq!(usual, beta("rope.scaling.yarn_beta_fast", 32.0));
    assert_eq!(usual, beta("rope.scaling.yarn_beta_slow", 1.0));
    assert_ne!(usual, beta("rope.scaling.yarn_beta_fast", 0.5));
    assert_ne!(usual, beta("rope.scaling.yarn_beta_slow", 8.0));
    assert_eq!(usual, beta("rope.scaling.yarn_attn_factor", 1.0));
    assert_eq!(usual, beta("rope.scaling.yarn_ext_factor", -1.0));
}

#[test]
fn layers_that_predict_further_tokens_are_skipped_there_or_not() {
    let plain = small().logits();
    let three = File::new(3, 64).with("nextn_predict_layers", 1);
    assert_eq!(plain, three.logits(), "their tensors are in the file");
    let announced = small()
        .with("block_count", 3)
        .with("nextn_predict_layers", 1);
    assert_eq!(
        plain,
        announced.logits(),
        "their tensors are not in the file"
    );
}

#[test]
fn integers_of_any_type_are_read() {
    let plain = small().logits();
    for integer in [Integer::I32, Integer::U64, Integer::U16] {
        let file = File { integer, ..small() };
        assert_eq!(plain, file.logits(), "{integer:?}");
    }
}

/// What is wrong, and words that its refusal must hold.
#[test]
fn refusals_say_what_is_wrong() {
    let mut bert = small();
    bert.arch = "bert";
    let mut mixtral = small();
    mixtral.arch = "llama";
    let k_b = "blk.1.attn_k_b.weight";
    let mut minicpm3 = small().tensor("rope_factors_long.weight", &[ROPE / 2], GgmlType::F32);
    minicpm3.arch = "minicpm3";
    let mut v32 = small()
        .with("attention.indexer.head_count", 2)
        .with("attention.indexer.key_length", 16)
        .with("attention.indexer.top_k", 4);
    v32.arch = "deepseek32";
    let sigmoid = || v32.clone().with("expert_gating_func", 2);
    let cases = [
        (
            bert,
            vec![
                "architecture \"bert\"",
                "deepseek2, deepseek32, llama, minicpm3, plm, qwen2",
            ],
        ),
        (
            mixtral,
            vec!["a mixture of experts (llama.expert_count)", "dense"],
        ),
        (
            minicpm3.clone(),
            vec!["rope_factors_short.weight", "found none"],
        ),
        (
            minicpm3.tensor("rope_factors_short.weight", &[ROPE / 2], GgmlType::I8),
            vec!["type I8 of tensor \"rope_factors_short.weight\""],
        ),
        (v32.clone(), vec!["deepseek32.expert_gating_func"]),
        (
            sigmoid().with("attention.indexer.key_length", 4),
            vec!["indexer.key_length", "at least the 8", "found 4"],
        ),
        (
            sigmoid().with("attention.indexer.top_k", 0),
            vec!["indexer.top_k", "at least 1"],
        ),
        (
            sigmoid(),
            vec![
                "blk.0.attn_q_a.weight",
                "the low rank that the indexer reads",
            ],
        ),
        (small().without(k_b), vec![k_b, "found none"]),
        (
            small().without("blk.0.attn_output.weight"),
            vec!["blk.0.attn_output.weight", "found none"],
        ),
        (
            small().tensor(k_b, &[NOPE, RANK + 1, 1], GgmlType::F32),
            vec![k_b, "24 columns and 32 rows", "{24, 33, 1}"],
        ),
        (
            small().tensor("blk.0.attn_q.weight", &[N_EMBD, NOPE + ROPE], GgmlType::I32),
            vec!["type I32 of tensor \"blk.0.attn_q.weight\"", "Q4_K"],
        ),
        (
            small().tensor("blk.0.attn_sinks.weight", &[1], GgmlType::F32),
            vec!["blk.0.attn_sinks.weight", "wrong text"],
        ),
        (
            small().with("attention.key_length_mla", 48),
            vec!["key_length_mla", "expected 32", "found 48"],
        ),
        (
            small().with("rope.dimension_count", 32),
            vec!["rope.dimension_count", "fewer than the 32"],
        ),
        (
            small().with("attention.head_count", 3),
            vec!["a multiple of 3 heads"],
        ),
        (
            small().with("attention.head_count", 0),
            vec!["attention.head_count", "at least 1"],
        ),
        (
            small().with("attention.kv_lora_rank", 40),
            vec!["attn_kv_a_mqa", "48 rows"],
        ),
        (
            small().with("block_count", 0),
            vec!["block_count", "at least 1"],
        ),
        (
            small().with("block_count", 100_000),
            vec!["block_count", "at most 512"],
        ),
        (
            small().with("nextn_predict_layers", 2),
            vec!["nextn_predict_layers", "fewer than the 2 blocks"],
        ),
        (
            small().with("expert_used_count", 5),
            vec!["expert_used_count", "at most the 4 experts"],
        ),
        (
            small().with("expert_used_count", 0),
            vec!["expert_used_count", "at least 1"],
        ),
        (
            small().with("expert_group_count", 3),
            vec!["expert_group_count", "a divisor of 4"],
        ),
        (
            small()
                .with("expert_group_count", 4)
                .with("expert_group_used_count", 1),
            vec!["expert_group_count", "4 groups, 1 used"],
        ),
        (
            small().with("expert_gating_func", 4),
            vec!["router function 4"],
        ),
        (
            small().with("expert_shared_count", 1),
            vec!["ffn_gate_shexp", "announce"],
        ),
        (
            // The layout before 2025, whose heads have no values.
            small()
                .without("blk.0.attn_k_b.weight")
                .without("blk.0.attn_v_b.weight")
                .tensor("blk.0.attn_kv_b.weight", &[RANK, NOPE], GgmlType::F32)
                .tensor("blk.0.attn_output.weight", &[0, N_EMBD], GgmlType::F32)
                .with("attention.value_length_mla", 0),
            vec!["blk.0.attn_output.weight", "at least one weight", "{0, 32}"],
        ),
        (
            small()
                .yarn()
                .other("rope.scaling.yarn_beta_slow", Value::F32(0.0)),
            vec!["yarn_beta_slow", "a positive number"],
        ),
        (
            small()
                .yarn()
                .other("rope.scaling.attn_factor", Value::F32(0.8782)),
            vec!["rope.scaling.attn_factor", "0.8782"],
        ),
        (
            small()
                .yarn()
                .other("rope.scaling.yarn_ext_factor", Value::F32(0.0)),
            vec!["yarn_ext_factor"],
        ),
        (
            small().with("expert_count", u32::MAX),
            vec!["ffn_gate_up_exps"],
        ),
        (
            small().with("attention.head_count", u32::MAX),
            vec!["heads"],
        ),
        (
            small().with("attention.kv_lora_rank", u32::MAX),
            vec!["attn_kv_a_mqa"],
        ),
    ];
    for (file, words) in cases {
        let refusal = file.refusal();
        for word in words {
            assert!(refusal.contains(word), "{refusal:?} does not say {word:?}");
        }
        assert!(
            refusal.starts_with("tiny.gguf: "),
            "{refusal:?} names the file first"
        );
    }
}
