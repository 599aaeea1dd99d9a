//! The forward pass against plain oracles, on small random models built in memory.

use std::sync::Arc;

use proptest::prelude::*;
use wattle_kernels::{Format, Isa};

use super::absorb::split_kv_b;
use super::config::{Config, GqaHeads, Heads, MlaHeads, Scales};
use super::matrix::{Bytes, Matrix, Stack};
use super::rope::{Rope, RopeKind, Scaling};
use super::sequence::LayerCaches;
use super::weights::{
    Attention, Ffn, Gated, Gating, Gqa, Layer, Linear, Mla, Moe, Query, RouterRule, Weights,
};
use super::{CacheType, Logits, Transformer};
use crate::pool::Pool;

mod branch;
mod expanded;
mod long;
mod shift;

use expanded::expanded;

const N_EMBD: usize = 32;
const VOCAB: usize = 48;

/// Small numbers that look random, the same on every run.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    }

    fn vector(&mut self, n: usize) -> Box<[f32]> {
        (0..n).map(|_| 1.0 + 0.2 * self.next()).collect()
    }

    fn matrix(&mut self, isa: Isa, rows: usize, cols: usize) -> Matrix {
        let spread = 2.0 / (cols as f32).sqrt();
        let values: Vec<f32> = (0..rows * cols).map(|_| spread * self.next()).collect();
        matrix(isa, rows, cols, &values)
    }
}

fn matrix(isa: Isa, rows: usize, cols: usize, values: &[f32]) -> Matrix {
    let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
    Matrix::new(isa, Format::F32, rows, cols, Bytes::Owned(Arc::from(bytes))).expect("whole rows")
}

fn config(heads: Heads, rope: usize) -> Config {
    Config {
        arch: "test",
        n_embd: N_EMBD,
        n_vocab: VOCAB,
        n_ctx_train: 64,
        norm_eps: 1e-6,
        rope: Rope::new(RopeKind::Norm, rope, 100.0, Scaling::None, None, 1.0),
        heads,
        scales: Scales::default(),
        sparse: None,
    }
}

fn model(
    isa: Isa,
    config: Config,
    noise: &mut Noise,
    layers: Vec<(Attention, Ffn)>,
) -> Transformer {
    let layers = layers
        .into_iter()
        .map(|(attention, ffn)| Layer {
            attention_norm: noise.vector(N_EMBD),
            attention,
            ffn_norm: noise.vector(N_EMBD),
            ffn,
        })
        .collect();
    let weights = Weights {
        embedding: noise.matrix(isa, VOCAB, N_EMBD),
        layers,
        output_norm: noise.vector(N_EMBD),
        output: noise.matrix(isa, VOCAB, N_EMBD),
        tied: false,
    };
    Transformer::new(config, weights, isa)
}

const MLA: MlaHeads = MlaHeads {
    heads: 3,
    nope: 12,
    rope: 8,
    v: 20,
    kv_lora_rank: 24,
    scale: 0.3,
};

/// Latent attention with its legacy projection, which the oracle expands.
fn mla(isa: Isa, noise: &mut Noise) -> (Mla, Matrix) {
    let width = MLA.heads * (MLA.nope + MLA.rope);
    let kv_b = noise.matrix(isa, MLA.heads * (MLA.nope + MLA.v), MLA.kv_lora_rank);
    let (k_b, v_b) = split_kv_b(isa, &kv_b, MLA.heads, MLA.nope, MLA.v);
    let mla = Mla {
        query: Query::Direct(noise.matrix(isa, width, N_EMBD)),
        kv_a: noise.matrix(isa, MLA.kv_lora_rank + MLA.rope, N_EMBD),
        kv_a_norm: noise.vector(MLA.kv_lora_rank),
        k_b,
        kv_b: None,
        v_b,
        output: noise.matrix(isa, N_EMBD, MLA.heads * MLA.v),
        indexer: None,
    };
    (mla, kv_b)
}

fn gated(isa: Isa, noise: &mut Noise, ff: usize) -> Gated {
    Gated {
        gate: noise.matrix(isa, ff, N_EMBD),
        up: noise.matrix(isa, ff, N_EMBD),
        down: noise.matrix(isa, N_EMBD, ff),
    }
}

fn moe(isa: Isa, noise: &mut Noise) -> Moe {
    let (experts, ff) = (6, 20);
    let mut stack = |rows, cols| {
        Stack::new(
            noise.matrix(isa, experts * rows, cols),
            0,
            rows,
            rows,
            experts,
        )
        .expect("whole matrices")
    };
    let (gate, up, down) = (stack(ff, N_EMBD), stack(ff, N_EMBD), stack(N_EMBD, ff));
    Moe {
        router: noise.matrix(isa, experts, N_EMBD),
        selection_bias: Some(noise.vector(experts)),
        rule: RouterRule {
            gating: Gating::Sigmoid,
            used: 2,
            groups: 1,
            groups_used: 1,
            normalise: true,
            scale: 1.5,
        },
        gate,
        up,
        down,
        shared: Some(gated(isa, noise, 12)),
    }
}

/// A model with everything: latent attention, a dense layer, a layer of experts.
fn deep(isa: Isa, seed: u64) -> Transformer {
    let mut noise = Noise(seed);
    let layers = vec![
        (
            Attention::Mla(mla(isa, &mut noise).0),
            Ffn::Dense(gated(isa, &mut noise, 40)),
        ),
        (
            Attention::Mla(mla(isa, &mut noise).0),
            Ffn::Moe(moe(isa, &mut noise)),
        ),
    ];
    model(isa, config(Heads::Mla(MLA), MLA.rope), &mut noise, layers)
}

fn grouped(isa: Isa, seed: u64) -> Transformer {
    let heads = GqaHeads {
        heads: 4,
        kv_heads: 2,
        k: 12,
        v: 16,
        scale: 0.3,
    };
    let mut noise = Noise(seed);
    let mut linear = |rows, cols| Linear {
        weight: noise.matrix(isa, rows, cols),
        bias: Some(noise.vector(rows)),
    };
    let gqa = Gqa {
        q: linear(48, N_EMBD),
        k: linear(24, N_EMBD),
        v: linear(32, N_EMBD),
        output: linear(N_EMBD, 64),
    };
    let layers = vec![(Attention::Gqa(gqa), Ffn::Dense(gated(isa, &mut noise, 40)))];
    model(isa, config(Heads::Gqa(heads), 8), &mut noise, layers)
}

/// As many threads as asked for, also on fewer cores.
fn pool(threads: usize) -> Pool {
    Pool::start(threads, None).expect("a pool")
}

/// Logits of every token, passed in pieces of the given sizes.
fn run(model: &Transformer, threads: usize, tokens: &[u32], pieces: &[usize]) -> Vec<f32> {
    run_in(CacheType::F32, model, threads, tokens, pieces)
}

/// The same with another cache.
fn run_in(
    cache: CacheType,
    model: &Transformer,
    threads: usize,
    tokens: &[u32],
    pieces: &[usize],
) -> Vec<f32> {
    let pool = pool(threads);
    let mut state = model.state(64, cache, 64).expect("a state");
    let mut logits = Vec::new();
    let mut rest = tokens;
    for &n in pieces.iter().cycle() {
        let (piece, after) = rest.split_at(n.min(rest.len()));
        if piece.is_empty() {
            break;
        }
        logits.extend_from_slice(
            model
                .forward(&pool, piece, &mut state, Logits::All)
                .expect("a pass"),
        );
        rest = after;
    }
    logits
}

fn tokens() -> impl Strategy<Value = Vec<u32>> {
    proptest::collection::vec(0..VOCAB as u32, 1..24)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn any_split_and_any_number_of_threads_give_the_same_bits(
        tokens in tokens(), pieces in proptest::collection::vec(1usize..9, 1..5), seed: u64,
    ) {
        for isa in Isa::available() {
            for model in [deep(isa, seed), grouped(isa, seed)] {
                for &cache in CacheType::ALL {
                    let whole = run_in(cache, &model, 1, &tokens, &[tokens.len()]);
                    let split = run_in(cache, &model, 3, &tokens, &pieces);
                    prop_assert_eq!(&whole, &split, "{}, {}", isa.name(), cache.name());
                }
            }
        }
    }

    #[test]
    fn a_rewound_sequence_is_as_good_as_a_new_one(tokens in tokens(), keep in 0usize..24, seed: u64) {
        let model = deep(Isa::best(), seed);
        let keep = keep.min(tokens.len() - 1);
        let pool = pool(1);
        for cache in [CacheType::Q8, CacheType::F16] {
            let mut state = model.state(64, cache, 64).expect("a state");
            let first = model.forward(&pool, &tokens, &mut state, Logits::Last).expect("a pass").to_vec();
            state.truncate(keep);
            let again = model.forward(&pool, &tokens[keep..], &mut state, Logits::Last).expect("a pass");
            prop_assert_eq!(first, again);
        }
    }

    #[test]
    fn every_isa_agrees_with_scalar(tokens in tokens(), seed: u64) {
        let scalar = Isa::named("scalar").expect("scalar is everywhere");
        for build in [deep, grouped] {
            let want = run(&build(scalar, seed), 1, &tokens, &[64]);
            for isa in Isa::available() {
                let got = run(&build(isa, seed), 1, &tokens, &[64]);
                let worst = worst(&want, &got);
                prop_assert!(worst < 1e-4, "{}: {worst}", isa.name());
            }
        }
    }

    #[test]
    fn absorbed_attention_equals_expanded(tokens in 1usize..12, seed: u64) {
        let isa = Isa::best();
        let mut noise = Noise(seed);
        let (mla, kv_b) = mla(isa, &mut noise);
        let x: Vec<f32> = (0..tokens * N_EMBD).map(|_| noise.next()).collect();
        let want = expanded(&mla, &kv_b, &x);

        let ff = gated(isa, &mut noise, 8);
        let model = model(isa, config(Heads::Mla(MLA), MLA.rope), &mut noise, vec![(Attention::Mla(mla), Ffn::Dense(ff))]);
        let pool = pool(2);
        let mut state = model.state(64, CacheType::F32, 64).expect("a state");
        let step = super::step::Step { pool: &pool, isa, config: &model.config, tokens, pasts: &[0], watch: None };
        state.sequence.reserve(tokens).expect("room");
        let caches = LayerCaches::new(core::slice::from_mut(&mut state.sequence), 0);
        let b = &mut state.buffers;
        b.prepare(pool.threads(), &model.config).expect("scratch");
        b.angles.fill(step);
        let mut got = vec![0.0; tokens * N_EMBD];
        let mut int8 = super::acts::ActBuffer::new(tokens, N_EMBD, true).expect("room");
        int8.quantize(step, &x, N_EMBD);
        let input = super::input::Input { rows: &x, int8: &int8, cols: N_EMBD };
        model.weights.layers[0].attention.forward(
            step, input, &b.angles, caches, &mut b.attention, &mut b.acts, &mut got,
        );
        let worst = worst(&want, &got);
        prop_assert!(worst < 1e-5, "{worst}");
    }
}

/// Largest difference, relative to the largest number.
fn worst(want: &[f32], got: &[f32]) -> f32 {
    assert_eq!(want.len(), got.len(), "as many numbers");
    let size = want.iter().fold(1e-30f32, |m, x| m.max(x.abs()));
    let gap = want
        .iter()
        .zip(got)
        .fold(0f32, |m, (a, b)| m.max((a - b).abs()));
    gap / size
}

#[test]
fn what_a_pass_cannot_take_is_refused_and_changes_nothing() {
    let model = deep(Isa::best(), 1);
    let pool = pool(1);
    let mut state = model.state(4, CacheType::F16, 3).expect("a state");
    let mut refuse = |tokens: &[u32], words: &str| {
        let error = model
            .forward(&pool, tokens, &mut state, Logits::Last)
            .expect_err("a refusal");
        assert!(error.to_string().contains(words), "{error}");
    };
    refuse(&[0, VOCAB as u32], "token id 48 is outside");
    refuse(&[0, 0, 0, 0, 0], "5 tokens do not fit a context of 4");
    refuse(&[0, 0, 0, 0], "takes 1 to 3 tokens");
    refuse(&[], "takes 1 to 3 tokens");
    assert!(state.is_empty(), "nothing was appended");
    assert!(model.state(0, CacheType::F16, 1).is_err(), "no context");
}

#[test]
#[should_panic(expected = "another shape")]
fn the_state_of_another_model_is_refused() {
    let (mla, gqa) = (deep(Isa::best(), 1), grouped(Isa::best(), 1));
    let mut state = gqa.state(4, CacheType::F16, 4).expect("a state");
    let _ = mla.forward(&pool(1), &[1], &mut state, Logits::Last);
}
