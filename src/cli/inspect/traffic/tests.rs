//! What is read and held, of models whose figures are known.

use std::path::Path;

use wattle::gguf::{GgmlType, Writer};

use super::*;

/// A file with these keys of `deepseek2` and these tensors of f32.
fn model(keys: &[(&str, u32)], tensors: &[(&str, &[u64])]) -> Gguf {
    let mut writer = Writer::new();
    let new = "keys and tensors are new";
    writer.key("general.architecture", "deepseek2").expect(new);
    for (key, value) in keys {
        writer.key(&format!("deepseek2.{key}"), *value).expect(new);
    }
    for (name, dims) in tensors {
        writer.tensor(name, dims, GgmlType::F32).expect(new);
    }
    let mut body = writer.start(Vec::new()).expect("memory");
    for (_, dims) in tensors {
        let bytes = vec![0; 4 * dims.iter().product::<u64>() as usize];
        body.write(&bytes).expect("memory");
    }
    let bytes = body.finish().expect("all data");
    Gguf::from_bytes(Path::new("test.gguf"), bytes).expect("a good file")
}

/// Parameters read for a token; everything is f32, so bytes are four times that.
fn read(keys: &[(&str, u32)], tensors: &[(&str, &[u64])]) -> Option<u64> {
    let model = model(keys, tensors);
    let token = token(&model, &mut Keys::new(model.metadata()))?;
    assert_eq!(token.bytes, token.parameters * 4);
    Some(token.parameters)
}

const MOE: &[(&str, u32)] = &[
    ("block_count", 3),
    ("nextn_predict_layers", 1),
    ("expert_count", 8),
    ("expert_used_count", 2),
];

#[test]
fn a_token_reads_the_experts_that_are_used_and_one_row_of_the_embedding() {
    let tensors: &[(&str, &[u64])] = &[
        ("token_embd.weight", &[4, 100]),
        ("blk.0.ffn_up.weight", &[4, 16]),
        ("blk.1.ffn_gate_inp.weight", &[4, 8]),
        ("blk.1.ffn_up_exps.weight", &[4, 6, 8]),
        ("blk.1.ffn_up_exps.bias", &[6, 8]),
        ("blk.1.ffn_up_shexp.weight", &[4, 6]),
        // The further block is not run.
        ("blk.2.ffn_up_exps.weight", &[4, 6, 8]),
        ("blk.2.nextn.eh_proj.weight", &[8, 4]),
        ("output.weight", &[4, 100]),
    ];
    let used = 4 + 64 + 32 + 4 * 6 * 2 + 6 * 2 + 24 + 400;
    assert_eq!(read(MOE, tensors), Some(used));
    // Tied: the embedding is read whole, as the output.
    let tied = &tensors[..8];
    assert_eq!(read(MOE, tied), Some(used - 4));
}

#[test]
fn weights_that_are_there_twice_are_read_once() {
    let tensors: &[(&str, &[u64])] = &[
        ("blk.0.attn_kv_b.weight", &[8, 24]),
        ("blk.0.attn_k_b.weight", &[4, 16]),
        ("blk.0.attn_v_b.weight", &[8, 16]),
    ];
    assert_eq!(read(MOE, tensors), Some(64 + 128));
    assert_eq!(read(MOE, &tensors[..1]), Some(8 * 24), "the old layout");
}

#[test]
fn counts_of_zero_and_nonsense_divide_nothing() {
    let experts: &[(&str, &[u64])] = &[("blk.0.ffn_up_exps.weight", &[4, 6, 8])];
    let zero = [
        ("block_count", 1),
        ("expert_count", 0),
        ("expert_used_count", 2),
    ];
    assert_eq!(read(&zero, experts), Some(192), "no experts: all of it");
    let more = [
        ("block_count", 1),
        ("expert_count", 8),
        ("expert_used_count", u32::MAX),
    ];
    assert_eq!(read(&more, experts), Some(192), "at most all experts");
    assert_eq!(read(&[("block_count", 0)], experts), None, "no layer");
    assert_eq!(read(&[], experts), None, "no key");
    let empty: &[(&str, &[u64])] = &[("token_embd.weight", &[4, 0]), ("output.weight", &[4, 0])];
    assert_eq!(read(&[("block_count", 1)], empty), None, "no weights");
}

fn cached(keys: &[(&str, u32)]) -> Option<(&'static str, u64)> {
    let model = model(keys, &[]);
    let mut keys = Keys::new(model.metadata());
    memory(&model, &mut keys, 10).map(|memory| {
        assert_eq!(
            memory.cache_bytes,
            memory.cache_bytes_per_token.saturating_mul(10)
        );
        let f16 = memory.types.iter().find(|t| t.name == "f16");
        (memory.cache, f16.expect("a type").cache_bytes_per_token)
    })
}

#[test]
fn the_cache_of_known_models() {
    // DeepSeek-V2-Lite: 27 layers of 512 + 64; 30.4 KiB a token.
    let latent = [
        ("block_count", 27),
        ("attention.head_count", 16),
        ("attention.kv_lora_rank", 512),
        ("rope.dimension_count", 64),
    ];
    assert_eq!(cached(&latent), Some(("latent", 27 * 576 * 2)));
    let lite = model(&latent, &[]);
    let types = memory(&lite, &mut Keys::new(lite.metadata()), 1)
        .expect("all keys")
        .types;
    assert_eq!(
        types.map(|t| t.cache_bytes_per_token),
        [27 * 660, 27 * 1152, 27 * 2304]
    );
    // SmolLM2-135M: 30 layers of 3 heads of 64, keys and values.
    let grouped = [
        ("block_count", 30),
        ("embedding_length", 576),
        ("attention.head_count", 9),
        ("attention.head_count_kv", 3),
    ];
    assert_eq!(cached(&grouped), Some(("key-value", 30 * 3 * 128 * 2)));
    let sized = [
        ("block_count", 2),
        ("embedding_length", 64),
        ("attention.head_count", 4),
        ("attention.key_length", 24),
        ("attention.value_length", 16),
    ];
    assert_eq!(cached(&sized), Some(("key-value", 2 * 4 * 40 * 2)));
    let none = [
        ("block_count", 2),
        ("embedding_length", 64),
        ("attention.head_count", 0),
    ];
    assert_eq!(cached(&none), None, "no heads");
    let most = [
        ("block_count", u32::MAX),
        ("attention.head_count", u32::MAX),
    ];
    let most: Vec<_> = most
        .into_iter()
        .chain([
            ("attention.kv_lora_rank", u32::MAX),
            ("rope.dimension_count", u32::MAX),
        ])
        .collect();
    assert_eq!(cached(&most), Some(("latent", u64::MAX)), "saturates");
}

#[test]
fn an_index_is_kept_where_rows_are_chosen() {
    // Contexts of these tests have 10 tokens.
    let with = |top_k| {
        cached(&[
            ("block_count", 2),
            ("attention.head_count", 4),
            ("attention.kv_lora_rank", 32),
            ("rope.dimension_count", 8),
            ("attention.indexer.key_length", 16),
            ("attention.indexer.top_k", top_k),
        ])
    };
    assert_eq!(with(10), Some(("latent", 2 * 40 * 2)));
    assert_eq!(with(9), Some(("latent", 2 * 56 * 2)));
}

#[test]
fn an_old_projection_counts_as_it_is_held() {
    let mut writer = Writer::new();
    let new = "keys and tensors are new";
    writer.key("general.architecture", "deepseek2").expect(new);
    for (key, value) in [
        ("block_count", 1_u32),
        ("attention.head_count", 3),
        ("attention.kv_lora_rank", 64),
        ("attention.key_length", 40),
        ("rope.dimension_count", 8),
    ] {
        writer.key(&format!("deepseek2.{key}"), value).expect(new);
    }
    let (name, dims) = ("blk.0.attn_kv_b.weight", [64, 3 * (32 + 16)]);
    writer.tensor(name, &dims, GgmlType::Q4_0).expect(new);
    let mut body = writer.start(Vec::new()).expect("memory");
    body.write(&[0; 3 * (32 + 16) * 2 * 18]).expect("memory");
    let bytes = body.finish().expect("all data");
    let model = Gguf::from_bytes(Path::new("test.gguf"), bytes).expect("a good file");
    let mut keys = Keys::new(model.metadata());
    // Keys: 3 heads of 64 rows of a block of Q8_0; values: 3 heads of 16 rows of two blocks of Q4_0.
    let held = 3 * 64 * 34 + 3 * 16 * 2 * 18;
    assert_eq!(
        token(&model, &mut keys).map(|token| token.bytes),
        Some(held)
    );
    let memory = memory(&model, &mut keys, 10).expect("all keys");
    assert_eq!(memory.weight_bytes, held);
}

#[test]
fn layers_can_differ_in_their_heads() {
    assert_eq!(over_layers(&[0, 3, 5, 7], 3, |n| n), 8);
    assert_eq!(over_layers(&[0, 3, 5, 7], 9, |n| n.min(1)), 3);
    assert_eq!(over_layers(&[4], 3, |n| n), 12);
    assert_eq!(over_layers(&[], 3, |n| n), 0);
}
