//! Latent attention as files have it, for every architecture that attends so.
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

use super::source::Source;
use crate::error::Result;
use crate::model::absorb::split_kv_b;
use crate::model::config::{MlaHeads, Sparse};
use crate::model::matrix::{Matrix, Stack};
use crate::model::weights::{Indexer, Mla, Query};

/// The shape of attention, measured on the first block; `correction` is a factor on scores beside `1 / sqrt(nope + rope)`.
pub(super) fn heads(source: &Source<'_>, n_embd: usize, correction: f32) -> Result<MlaHeads> {
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

    Ok(MlaHeads {
        heads,
        nope,
        rope,
        v,
        kv_lora_rank: rank,
        scale: correction / (k as f32).sqrt(),
    })
}

/// The attention block whose tensors start with `block`.
pub(super) fn attention(
    source: &Source<'_>,
    block: &str,
    n_embd: usize,
    heads: &MlaHeads,
    sparse: Option<Sparse>,
) -> Result<Mla> {
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
    let indexer = sparse
        .map(|sparse| indexer(source, block, n_embd, &query, sparse))
        .transpose()?;
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
        indexer,
    })
}

/// How a token chooses the rows that it attends to, by the keys.
pub(super) fn sparse(source: &Source<'_>) -> Result<Sparse> {
    let rope = source.need("rope.dimension_count")?;
    let width = source.need("attention.indexer.key_length")?;
    if width < rope {
        let expected = format!("at least the {rope} dimensions that rotate");
        return Err(source.bad_key(
            "attention.indexer.key_length",
            &expected,
            &width.to_string(),
        ));
    }
    Ok(Sparse {
        heads: source.need("attention.indexer.head_count")?,
        width,
        top_k: source.need("attention.indexer.top_k")?,
    })
}

/// What chooses rows in the block whose tensors start with `block`.
fn indexer(
    source: &Source<'_>,
    block: &str,
    n_embd: usize,
    query: &Query,
    sparse: Sparse,
) -> Result<Indexer> {
    let name = |suffix: &str| format!("{block}indexer.{suffix}");
    let Query::LowRank { a, .. } = query else {
        let tensor = format!("{block}attn_q_a.weight");
        return Err(source.bad_tensor(&tensor, "the low rank that the indexer reads", "none"));
    };
    let (q_b, norm) = (name("attn_q_b.weight"), name("k_norm.weight"));
    let queries = source.times(&q_b, sparse.heads, sparse.width)?;
    Ok(Indexer {
        q_b: source.matrix(&q_b, queries, a.rows())?,
        k: source.matrix(&name("attn_k.weight"), sparse.width, n_embd)?,
        k_norm: [
            source.vector(&norm, sparse.width)?,
            source.vector(&name("k_norm.bias"), sparse.width)?,
        ],
        weights: source.matrix(&name("proj.weight"), sparse.heads, n_embd)?,
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

/// `width / heads`, when that is a whole number.
fn per_head(source: &Source<'_>, tensor: &str, width: usize, heads: usize) -> Result<usize> {
    if !width.is_multiple_of(heads) {
        let expected = format!("a multiple of {heads} heads");
        return Err(source.bad_tensor(tensor, &expected, &width.to_string()));
    }
    Ok(width / heads)
}
