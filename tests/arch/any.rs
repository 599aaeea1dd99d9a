//! Whatever the shape of a model and the numbers of its user: it is refused, or it runs.
//!
//! Random shapes in both layouts of the projections, with odd edits of keys and dimensions, and weights that are no numbers.

use proptest::prelude::*;
use wattle::gguf::GgmlType;
use wattle::model::{CacheType, Logits};
use wattle::pool::Pool;

use super::file::{File, Fill, small};

/// The shape of a model of one dense layer and one with experts, drawn at random.
#[derive(Debug, Clone)]
struct Shape {
    n_embd: u64,
    vocab: u64,
    heads: u64,
    rank: u64,
    rope: u64,
    nope: u64,
    v: u64,
    q_rank: Option<u64>,
    ff: u64,
    per_group: u64,
    groups: u64,
    groups_used: u64,
    used: u64,
    gating: u32,
}

impl Shape {
    fn any() -> impl Strategy<Value = Self> {
        let width = || prop::sample::select(vec![1_u64, 2, 3, 8, 31, 32, 33, 64]);
        let sizes = (width(), width(), width(), width(), width(), width());
        let heads = (1_u64..4, 1_u64..4, prop::option::of(width()));
        let experts = (1_u64..4, 1_u64..4, 1_u64..4, 1_u64..6, 0_u32..4);
        (sizes, heads, experts).prop_map(|(sizes, heads, experts)| {
            let (n_embd, vocab, rank, nope, v, ff) = sizes;
            let (heads, half_rope, q_rank) = heads;
            let (per_group, groups, groups_used, used, gating) = experts;
            Self {
                n_embd,
                vocab,
                heads,
                rank,
                rope: 2 * half_rope,
                nope,
                v,
                q_rank,
                ff,
                per_group,
                groups,
                groups_used,
                used,
                gating,
            }
        })
    }

    /// A file of this shape, with projections in the layout that `legacy` says.
    fn file(&self, legacy: bool) -> File {
        let Self { n_embd, heads, .. } = *self;
        let experts = self.groups * self.per_group;
        let k = self.nope + self.rope;
        let mut file = File::new(0, self.vocab);
        for (key, n) in [
            ("embedding_length", n_embd),
            ("block_count", 2),
            ("attention.head_count", heads),
            ("attention.kv_lora_rank", self.rank),
            ("attention.key_length_mla", k),
            ("attention.value_length_mla", self.v),
            ("rope.dimension_count", self.rope),
            ("leading_dense_block_count", 1),
            ("expert_count", experts),
            ("expert_used_count", self.used),
            ("expert_group_count", self.groups),
            ("expert_group_used_count", self.groups_used),
            ("expert_gating_func", self.gating.into()),
        ] {
            file = file.with(key, u32::try_from(n).expect("a small number"));
        }
        let mut add = |name: &str, shape: &[u64]| {
            let tensor = (format!("{name}.weight"), shape.to_vec(), GgmlType::F32);
            file.tensors.retain(|(name, ..)| *name != tensor.0);
            file.tensors.push(tensor);
        };
        add("token_embd", &[n_embd, self.vocab]);
        add("output_norm", &[n_embd]);
        for i in 0..2 {
            let mut add = |name: &str, shape: &[u64]| add(&format!("blk.{i}.{name}"), shape);
            add("attn_norm", &[n_embd]);
            add("ffn_norm", &[n_embd]);
            match self.q_rank {
                None => add("attn_q", &[n_embd, heads * k]),
                Some(rank) => {
                    add("attn_q_a", &[n_embd, rank]);
                    add("attn_q_a_norm", &[rank]);
                    add("attn_q_b", &[rank, heads * k]);
                }
            }
            add("attn_kv_a_mqa", &[n_embd, self.rank + self.rope]);
            add("attn_kv_a_norm", &[self.rank]);
            if legacy {
                add("attn_kv_b", &[self.rank, heads * (self.nope + self.v)]);
            } else {
                add("attn_k_b", &[self.nope, self.rank, heads]);
                add("attn_v_b", &[self.rank, self.v, heads]);
            }
            add("attn_output", &[heads * self.v, n_embd]);
            if i == 0 {
                add("ffn_gate", &[n_embd, self.ff]);
                add("ffn_up", &[n_embd, self.ff]);
                add("ffn_down", &[self.ff, n_embd]);
            } else {
                add("ffn_gate_inp", &[n_embd, experts]);
                add("ffn_gate_up_exps", &[n_embd, 2 * self.ff, experts]);
                add("ffn_down_exps", &[self.ff, n_embd, experts]);
            }
        }
        file
    }
}

/// A number of the keys or of a shape that becomes another one: (which, what).
fn edits() -> impl Strategy<Value = Vec<(prop::sample::Index, u32)>> {
    let odd = prop::sample::select(vec![0, 1, 2, 3, 4, 5, 31, 32, 64]);
    prop::collection::vec((any::<prop::sample::Index>(), odd), 0..3)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// A model is refused or runs, whatever its shape; what comes out may be nonsense.
    #[test]
    fn whatever_is_not_refused_runs(
        shape in Shape::any(),
        legacy: bool,
        edits in edits(),
        fill in prop::sample::select(vec![Fill::Noise, Fill::Nan, Fill::Huge]),
        batch in 1_usize..4,
    ) {
        let mut file = File { fill, ..shape.file(legacy) };
        for (place, n) in &edits {
            let dims: usize = file.tensors.iter().map(|(_, shape, _)| shape.len()).sum();
            let place = place.index(file.numbers.len() + dims);
            let mut numbers = file.tensors.iter_mut().flat_map(|(_, shape, _)| shape);
            match place.checked_sub(file.numbers.len()) {
                None => file.numbers[place].1 = *n,
                Some(place) => *numbers.nth(place).expect("a dimension") = (*n).into(),
            }
        }
        let Ok(model) = file.build() else { return Ok(()) };
        let pool = Pool::new(Some(1)).expect("a pool");
        let mut state = model.state(8, CacheType::F16, batch).expect("a small state");
        for part in [[0_u32, 0, 0, 0], [0; 4]].map(|ids| ids[..batch].to_vec()) {
            let logits = model.forward(&pool, &part, &mut state, Logits::All).expect("a pass");
            prop_assert_eq!(logits.len(), batch * model.config().n_vocab);
        }
    }

    /// Nothing above is refused for a fault of the test.
    #[test]
    fn consistent_shapes_are_taken(shape in Shape::any(), legacy: bool) {
        let possible = shape.used <= shape.groups * shape.per_group
            && shape.groups_used <= shape.groups
            && shape.used <= shape.groups_used * shape.per_group;
        let built = shape.file(legacy).build();
        prop_assert_eq!(built.is_ok(), possible, "{:?}", built.err().map(|e| e.to_string()));
    }
}

#[test]
fn memory_that_is_not_there_is_an_error() {
    let model = small().build().expect("a model");
    for cache in [CacheType::F16, CacheType::F32] {
        for context in [usize::MAX, usize::MAX / 2, 1 << 60, 1 << 50] {
            for batch in [1, usize::MAX] {
                let told = model
                    .state(context, cache, batch)
                    .expect_err("too much")
                    .to_string();
                assert!(told.starts_with("cannot allocate"), "{told}");
            }
        }
    }
}
