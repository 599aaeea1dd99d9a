//! Branches of a sequence, and passes of several sequences: each is what it would be alone, bit for bit.

use super::{MLA, N_EMBD, Noise, VOCAB, config, deep, gated, grouped, model, moe, pool};
use crate::model::config::{Heads, Sparse};
use crate::model::weights::{Attention, Ffn, Indexer, Query};
use crate::model::{CacheType, Logits, Sequence, State, Transformer};
use crate::pool::Pool;
use wattle_kernels::Isa;

pub(super) const CONTEXT: usize = 1300;
/// Tokens that are added: enough to leave a block that is nearly full.
pub(super) const MORE: usize = 4;
/// Rows that a token of the sparse model attends to.
const TOP_K: usize = 40;

/// Latent attention that chooses rows, behind a query at a low rank.
pub(super) fn choosing(isa: Isa, seed: u64) -> Transformer {
    let (rank, width, heads) = (16, 8, 2);
    let mut noise = Noise(seed);
    let mut layer = |ffn| {
        let mut mla = super::mla(isa, &mut noise).0;
        mla.query = Query::LowRank {
            a: noise.matrix(isa, rank, N_EMBD),
            norm: noise.vector(rank),
            b: noise.matrix(isa, MLA.heads * (MLA.nope + MLA.rope), rank),
        };
        mla.indexer = Some(Indexer {
            q_b: noise.matrix(isa, heads * width, rank),
            k: noise.matrix(isa, width, N_EMBD),
            k_norm: [noise.vector(width), noise.vector(width)],
            weights: noise.matrix(isa, heads, N_EMBD),
        });
        let ffn: Ffn = match ffn {
            0 => Ffn::Dense(gated(isa, &mut noise, 40)),
            _ => Ffn::Moe(moe(isa, &mut noise)),
        };
        (Attention::Mla(mla), ffn)
    };
    let layers = vec![layer(0), layer(1)];
    let mut config = config(Heads::Mla(MLA), MLA.rope);
    config.sparse = Some(Sparse {
        heads,
        width,
        top_k: TOP_K,
    });
    model(isa, config, &mut noise, layers)
}

pub(super) fn models(isa: Isa) -> [Transformer; 3] {
    [deep(isa, 3), grouped(isa, 4), choosing(isa, 5)]
}

/// Token `i` of text number `text`.
pub(super) fn token(text: usize, i: usize) -> u32 {
    ((7 * i + i * i / 5 + 13 * text) % VOCAB) as u32
}

/// A state that has read the first `n` tokens of text 0, in passes of 7 tokens.
pub(super) fn read(model: &Transformer, pool: &Pool, cache: CacheType, n: usize) -> State {
    let mut state = model.state(CONTEXT, cache, 8).expect("a state");
    go_on(model, pool, &mut state, n);
    state
}

fn go_on(model: &Transformer, pool: &Pool, state: &mut State, n: usize) {
    let tokens: Vec<u32> = (state.len()..n).map(|i| token(0, i)).collect();
    for tokens in tokens.chunks(7) {
        model
            .forward(pool, tokens, state, Logits::None)
            .expect("a pass");
    }
}

/// Logits after each of [`MORE`] tokens of text `text`, which follow what `state` holds.
pub(super) fn alone(model: &Transformer, pool: &Pool, state: &mut State, text: usize) -> Vec<f32> {
    let mut all = Vec::new();
    for i in 0..MORE {
        let logits = model.forward(pool, &[token(text, i)], state, Logits::Last);
        all.extend_from_slice(logits.expect("a pass"));
    }
    all
}

/// The same for several sequences in one pass a token, through the buffers of `state`.
pub(super) fn together(
    model: &Transformer,
    pool: &Pool,
    sequences: &mut [Sequence],
    state: &mut State,
) -> Vec<Vec<f32>> {
    let mut all = vec![Vec::new(); sequences.len()];
    for i in 0..MORE {
        let tokens: Vec<u32> = (1..=sequences.len()).map(|text| token(text, i)).collect();
        let logits = model.forward_each(pool, &tokens, sequences, state);
        let rows = logits.expect("a pass").chunks_exact(VOCAB);
        for (all, row) in all.iter_mut().zip(rows) {
            all.extend_from_slice(row);
        }
    }
    all
}

#[test]
fn branches_go_on_as_if_alone_around_the_edges_of_blocks() {
    for model in models(Isa::best()) {
        for &cache in CacheType::ALL {
            for n in [1, 60, 61, 63, 64, 65, 127] {
                let pool = pool(2);
                let mut state = read(&model, &pool, cache, n);
                let mut branches: Vec<_> = (0..3)
                    .map(|_| state.sequence().branch().expect("a branch"))
                    .collect();
                let got = together(&model, &pool, &mut branches, &mut state);
                for (text, got) in got.iter().enumerate() {
                    let mut fresh = read(&model, &pool, cache, n);
                    let want = alone(&model, &pool, &mut fresh, text + 1);
                    assert!(*got == want, "{} {n} tokens, {text}", cache.name());
                }
                // What the branches wrote is nothing to the first one.
                let mut fresh = read(&model, &pool, cache, n);
                let want = alone(&model, &pool, &mut fresh, 9);
                assert_eq!(alone(&model, &pool, &mut state, 9), want, "{n} tokens");
            }
        }
    }
}

#[test]
fn forgetting_is_nothing_to_a_branch() {
    for model in models(Isa::best()) {
        for &cache in CacheType::ALL {
            for (n, keep) in [(70, 65), (70, 64), (70, 63), (130, 20), (128, 0), (100, 99)] {
                let pool = pool(1);
                let mut state = read(&model, &pool, cache, n);
                let mut branch = [state.sequence().branch().expect("a branch")];
                state.truncate(keep);
                // Once with the block still shared, and once with the branch gone before the first writes.
                let mut again = [branch[0].branch().expect("a branch")];
                again[0].truncate(keep);
                let mut fresh = read(&model, &pool, cache, keep);
                let want = alone(&model, &pool, &mut fresh, 1);
                assert!(alone(&model, &pool, &mut state, 1) == want, "{n} {keep}");
                let got = together(&model, &pool, &mut branch, &mut state);
                let mut fresh = read(&model, &pool, cache, n);
                assert!(got[0] == alone(&model, &pool, &mut fresh, 1), "{n} {keep}");
                drop(branch);
                let got = together(&model, &pool, &mut again, &mut state);
                assert!(got[0] == want, "{n} {keep}");
            }
        }
    }
}

#[test]
fn sequences_of_any_length_pass_together() {
    for isa in [Isa::best(), Isa::named("scalar").expect("it is everywhere")] {
        for model in models(isa) {
            for &cache in CacheType::ALL {
                // Two slices, and three; what folds them is the same for every type.
                let lengths = match (isa == Isa::best(), cache) {
                    (true, CacheType::Q8) => [1, 5, 63, 64, 300, 511, 513, 1030],
                    (true, _) => [1, 5, 63, 64, 300, 511, 512, 513],
                    (false, _) => [1, 5, 30, 62, 63, 64, 65, 90],
                };
                let pool = pool(2);
                let mut state = read(&model, &pool, cache, lengths[7]);
                let mut sequences: Vec<_> = lengths
                    .iter()
                    .map(|n| {
                        let mut branch = state.sequence().branch().expect("a branch");
                        branch.truncate(*n);
                        branch
                    })
                    .collect();
                let got = together(&model, &pool, &mut sequences, &mut state);
                for (i, n) in lengths.into_iter().enumerate().rev() {
                    state.truncate(n);
                    let want = alone(&model, &pool, &mut state, i + 1);
                    let name = isa.name();
                    assert!(got[i] == want, "{name}, {} {n} tokens", cache.name());
                    state.truncate(n);
                }
            }
        }
    }
}

#[test]
fn branches_cost_what_they_add() {
    for model in models(Isa::best()) {
        let pool = pool(1);
        let mut state = read(&model, &pool, CacheType::Q8, 10 * 64 + 62);
        let alone = Sequence::cache_bytes([state.sequence()]);
        let mut branches: Vec<_> = (0..8)
            .map(|_| state.sequence().branch().expect("a branch"))
            .collect();
        let all = |branches: &[Sequence], state: &State| {
            Sequence::cache_bytes(branches.iter().chain([state.sequence()]))
        };
        assert_eq!(all(&branches, &state), alone, "nothing is copied");
        together(&model, &pool, &mut branches, &mut state);
        // The block that was not full was copied, and the tokens begin another one: of 11 blocks, two more each.
        assert_eq!(11 * all(&branches, &state), (11 + 8 * 2) * alone);
    }
}

#[test]
fn passes_that_cannot_be_are_refused() {
    let model = deep(Isa::best(), 1);
    let pool = pool(1);
    let mut state = model.state(4, CacheType::F16, 4).expect("a state");
    let branch = |state: &State| state.sequence().branch().expect("a branch");
    let mut five: Vec<_> = (0..5).map(|_| branch(&state)).collect();
    let told = |tokens: &[u32], sequences: &mut [Sequence], state: &mut State| {
        let logits = model.forward_each(&pool, tokens, sequences, state);
        logits.expect_err("refused").to_string()
    };
    assert!(told(&[0; 5], &mut five, &mut state).contains("4 tokens"));
    assert!(told(&[0, 99], &mut five[..2], &mut state).contains("99"));
    for _ in 0..4 {
        let pass = model.forward_each(&pool, &[1], &mut five[1..2], &mut state);
        pass.expect("a pass");
    }
    assert!(told(&[0; 2], &mut five[..2], &mut state).contains("5 tokens"));
    let lengths: Vec<_> = five.iter().map(Sequence::len).collect();
    assert_eq!(lengths, [0, 4, 0, 0, 0]);
}
