//! Passes of so many tokens that keys and values are built, against the plain oracle and against the absorbed form.

use super::expanded::expanded;
use super::{MLA, N_EMBD, Noise, config, gated, mla, model, pool, worst};
use crate::model::acts::ActBuffer;
use crate::model::cache::Layout;
use crate::model::config::{Heads, MlaHeads};
use crate::model::input::Input;
use crate::model::mla::pays;
use crate::model::sequence::LayerCaches;
use crate::model::step::Step;
use crate::model::weights::{Attention, Ffn};
use crate::model::{CacheType, Transformer};
use wattle_kernels::Isa;

/// The attention block of the only layer, over rows that come in `pieces`.
fn attention(
    cache: CacheType,
    model: &Transformer,
    threads: usize,
    x: &[f32],
    pieces: &[usize],
) -> Vec<f32> {
    let pool = pool(threads);
    let tokens: usize = pieces.iter().sum();
    let batch = pieces.iter().copied().max().unwrap_or(1);
    let mut state = model.state(tokens, cache, batch).expect("a state");
    state.sequence.reserve(tokens).expect("room");
    let b = &mut state.buffers;
    b.prepare(pool.threads(), &model.config).expect("scratch");
    let mut out = vec![0.0; tokens * N_EMBD];
    let mut past = 0;
    for &tokens in pieces {
        let step = Step {
            pool: &pool,
            isa: model.isa,
            config: &model.config,
            tokens,
            pasts: &[past],
            watch: None,
        };
        b.angles.fill(step);
        let range = past * N_EMBD..(past + tokens) * N_EMBD;
        let rows = &x[range.clone()];
        let mut int8 = ActBuffer::new(tokens, N_EMBD, true).expect("room");
        int8.quantize(step, rows, N_EMBD);
        let (int8, cols) = (&int8, N_EMBD);
        model.weights.layers[0].attention.forward(
            step,
            Input { rows, int8, cols },
            &b.angles,
            LayerCaches::new(core::slice::from_mut(&mut state.sequence), 0),
            &mut b.attention,
            &mut b.acts,
            &mut out[range],
        );
        past += tokens;
    }
    out
}

#[test]
fn built_keys_and_values_equal_the_oracle_across_chunks() {
    // The chunk of 512 ends inside of the third piece; the second is absorbed, between two that are not.
    let pieces = [200, 3, 330, 64];
    let expands: Vec<bool> = pieces
        .iter()
        .scan(0, |past, &n| {
            *past += n;
            Some(pays(Isa::best(), &MLA, Layout::F32(32), *past - n, n))
        })
        .collect();
    assert_eq!(expands, [true, false, true, true]);
    let tokens: usize = pieces.iter().sum();
    for isa in Isa::available() {
        let mut noise = Noise(7);
        let (mla, kv_b) = mla(isa, &mut noise);
        let x: Vec<f32> = (0..tokens * N_EMBD).map(|_| noise.next()).collect();
        let want = expanded(&mla, &kv_b, &x);
        let layer = (Attention::Mla(mla), Ffn::Dense(gated(isa, &mut noise, 8)));
        let config = config(Heads::Mla(MLA), MLA.rope);
        let model = model(isa, config, &mut noise, vec![layer]);
        let built = attention(CacheType::F32, &model, 3, &x, &pieces);
        let error = worst(&want, &built);
        assert!(error < 1e-5, "{}: {error}", isa.name());
        // What is built does not depend on where a pass begins, nor on who builds it.
        assert_eq!(
            built[..200 * N_EMBD],
            attention(CacheType::F32, &model, 1, &x, &[120, 80])[..]
        );
        let absorbed = attention(CacheType::F32, &model, 2, &x[..66 * N_EMBD], &[33; 2]);
        let error = worst(&built[..66 * N_EMBD], &absorbed);
        assert!(error < 1e-5, "{}: {error}", isa.name());
        // Of int8 rows, whether they are absorbed or built, over several slices; absorbed with any number of threads the same bits.
        let int8 = attention(CacheType::Q8, &model, 3, &x, &pieces);
        let error = worst(&built, &int8);
        assert!(error < 0.01, "{}: {error}", isa.name());
        let few = [[30; 19].as_slice(), &[27]].concat();
        let absorbed = attention(CacheType::Q8, &model, 1, &x, &few);
        let error = worst(&built, &absorbed);
        assert!(error < 0.01, "{}: {error}", isa.name());
        assert_eq!(absorbed, attention(CacheType::Q8, &model, 3, &x, &few));
    }
}

#[test]
fn few_tokens_and_long_contexts_stay_absorbed() {
    let v2_lite = MlaHeads {
        heads: 16,
        nope: 128,
        rope: 64,
        v: 128,
        kv_lora_rank: 512,
        scale: 0.1,
    };
    assert!(pays(Isa::best(), &v2_lite, Layout::F16(576), 0, 512));
    assert!(pays(Isa::best(), &v2_lite, Layout::F16(576), 4096, 512));
    assert!(
        !pays(Isa::best(), &v2_lite, Layout::F16(576), 0, 8),
        "few tokens"
    );
    assert!(
        !pays(Isa::best(), &v2_lite, Layout::F16(576), 0, 63),
        "as few as keep their bits"
    );
}
