//! The mixes that users ask for by name: a base type, and which tensors get a better one.
//!
//! The decisions are those of llama.cpp (`llama_tensor_get_type_impl` in `src/llama-quant.cpp`), so that a file of ours has the
//! types that its name promises; `tests/data/quantize` holds what `llama-quantize` chose, and a test that we choose the same. A new mix is one entry of
//! [`MIXES`].

use crate::gguf::GgmlType;

/// What a tensor is for, as far as the choice of its type goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// `output.weight`.
    Output,
    /// The table of token embeddings.
    Embedding,
    /// What values come from: `attn_v`, `attn_kv_b`, and `attn_qkv`.
    Value,
    /// `attn_k`.
    Key,
    /// `attn_output`.
    Attention,
    /// `ffn_gate` and `ffn_up`, also of experts.
    Wide,
    /// `ffn_down`, also of experts.
    Down,
    /// Everything else.
    Other,
}

impl Role {
    /// The role that the name of a tensor tells.
    pub(super) fn of(name: &str) -> Self {
        let has = |part| name.contains(part);
        match name {
            "output.weight" => Self::Output,
            "token_embd.weight" | "per_layer_token_embd.weight" => Self::Embedding,
            _ if has("attn_qkv.weight") || has("attn_kv_b.weight") || has("attn_v.weight") => {
                Self::Value
            }
            _ if has("attn_k.weight") => Self::Key,
            _ if has("attn_output.weight") => Self::Attention,
            _ if has("ffn_up") || has("ffn_gate") => Self::Wide,
            _ if has("ffn_down") => Self::Down,
            _ => Self::Other,
        }
    }
}

/// Where a tensor stands among those of its role, and in what model.
#[derive(Debug, Clone, Copy)]
pub(super) struct At {
    pub(super) layer: usize,
    pub(super) layers: usize,
    /// Query heads that share a key head.
    pub(super) gqa: u64,
    pub(super) experts: u64,
    /// Whether there is an importance matrix.
    pub(super) imatrix: bool,
}

impl At {
    /// The first and the last eighth of the layers, and every third between: where errors cost most.
    fn more_bits(&self) -> bool {
        let eighth = self.layers / 8;
        self.layer < eighth || self.layer >= 7 * self.layers / 8 || (self.layer - eighth) % 3 == 2
    }

    fn always(&self) -> bool {
        true
    }

    fn first_two(&self) -> bool {
        self.layer < 2
    }

    fn first_sixteenth(&self) -> bool {
        self.layer < self.layers / 16
    }

    fn first_four(&self) -> bool {
        self.layer < 4
    }

    fn first_eighth(&self) -> bool {
        self.layer < self.layers / 8
    }

    fn first_eighth_guided(&self) -> bool {
        self.first_eighth() && self.imatrix
    }

    fn first_eighth_unguided(&self) -> bool {
        self.first_eighth() && !self.imatrix
    }

    fn four_share_keys(&self) -> bool {
        self.gqa >= 4
    }

    /// Whether it is the shape of Mixtral 8x7B, which llama.cpp's rules know by its number of experts.
    pub(super) fn eight_experts(&self) -> bool {
        self.experts == 8
    }

    fn other_experts(&self) -> bool {
        !self.eight_experts()
    }
}

/// Tensors of `role` get the type `to` where `when` holds; the first rule that fits counts.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) role: Role,
    pub(super) when: fn(&At) -> bool,
    pub(super) to: GgmlType,
}

const fn rule(role: Role, when: fn(&At) -> bool, to: GgmlType) -> Rule {
    Rule { role, when, to }
}

/// A choice of types for the tensors of a model, known by name.
#[derive(Debug)]
#[non_exhaustive]
pub struct Mix {
    /// The name, as llama.cpp has it.
    pub name: &'static str,
    /// Another name.
    pub alias: Option<&'static str>,
    /// The value of the key `general.file_type`.
    pub file_type: u32,
    /// The type of every tensor that no rule gives another.
    pub base: GgmlType,
    /// When only stacks of matrices (experts) get the base: the type of the rest.
    pub(super) flat: Option<GgmlType>,
    pub(super) rules: &'static [Rule],
}

/// A mix without rules.
const fn plain(name: &'static str, file_type: u32, base: GgmlType) -> Mix {
    Mix {
        name,
        alias: None,
        file_type,
        base,
        flat: None,
        rules: &[],
    }
}

/// Every mix.
const MIXES: &[Mix] = &[
    plain("F32", 0, GgmlType::F32),
    plain("F16", 1, GgmlType::F16),
    plain("BF16", 32, GgmlType::BF16),
    plain("Q8_0", 7, GgmlType::Q8_0),
    Mix {
        rules: &[rule(Role::Down, At::first_eighth_guided, GgmlType::Q4_1)],
        ..plain("Q4_0", 2, GgmlType::Q4_0)
    },
    plain("Q4_1", 3, GgmlType::Q4_1),
    Mix {
        rules: &[rule(Role::Down, At::first_eighth_guided, GgmlType::Q5_1)],
        ..plain("Q5_0", 8, GgmlType::Q5_0)
    },
    plain("Q5_1", 9, GgmlType::Q5_1),
    Mix {
        rules: &[
            rule(Role::Value, At::four_share_keys, GgmlType::Q4_K),
            rule(Role::Value, At::always, GgmlType::Q3_K),
            rule(Role::Down, At::always, GgmlType::Q3_K),
            rule(Role::Attention, At::eight_experts, GgmlType::Q5_K),
            rule(Role::Attention, At::always, GgmlType::Q3_K),
        ],
        ..plain("Q2_K", 10, GgmlType::Q2_K)
    },
    Mix {
        rules: &[rule(Role::Attention, At::eight_experts, GgmlType::Q5_K)],
        ..plain("Q3_K_S", 11, GgmlType::Q3_K)
    },
    Mix {
        alias: Some("Q3_K"),
        rules: &[
            rule(Role::Value, At::first_two, GgmlType::Q5_K),
            rule(Role::Value, At::always, GgmlType::Q4_K),
            rule(Role::Down, At::first_sixteenth, GgmlType::Q5_K),
            rule(Role::Down, At::always, GgmlType::Q4_K),
            rule(Role::Attention, At::eight_experts, GgmlType::Q5_K),
            rule(Role::Attention, At::always, GgmlType::Q4_K),
        ],
        ..plain("Q3_K_M", 12, GgmlType::Q3_K)
    },
    Mix {
        rules: &[
            rule(Role::Value, At::always, GgmlType::Q5_K),
            rule(Role::Down, At::always, GgmlType::Q5_K),
            rule(Role::Attention, At::other_experts, GgmlType::Q5_K),
        ],
        ..plain("Q3_K_L", 13, GgmlType::Q3_K)
    },
    Mix {
        rules: &[
            rule(Role::Value, At::first_four, GgmlType::Q5_K),
            rule(Role::Down, At::first_eighth, GgmlType::Q5_K),
            rule(Role::Attention, At::eight_experts, GgmlType::Q5_K),
        ],
        ..plain("Q4_K_S", 14, GgmlType::Q4_K)
    },
    Mix {
        alias: Some("Q4_K"),
        rules: &[
            rule(Role::Value, At::more_bits, GgmlType::Q6_K),
            rule(Role::Down, At::more_bits, GgmlType::Q6_K),
            rule(Role::Attention, At::eight_experts, GgmlType::Q5_K),
        ],
        ..plain("Q4_K_M", 15, GgmlType::Q4_K)
    },
    plain("Q5_K_S", 16, GgmlType::Q5_K),
    Mix {
        alias: Some("Q5_K"),
        rules: &[
            rule(Role::Value, At::more_bits, GgmlType::Q6_K),
            rule(Role::Down, At::more_bits, GgmlType::Q6_K),
        ],
        ..plain("Q5_K_M", 17, GgmlType::Q5_K)
    },
    plain("Q6_K", 18, GgmlType::Q6_K),
    Mix {
        rules: &[
            rule(Role::Value, At::four_share_keys, GgmlType::Q5_K),
            rule(Role::Down, At::first_eighth_unguided, GgmlType::Q5_K),
            rule(Role::Attention, At::eight_experts, GgmlType::Q5_K),
        ],
        ..plain("IQ4_NL", 25, GgmlType::IQ4_NL)
    },
    Mix {
        rules: &[
            rule(Role::Value, At::four_share_keys, GgmlType::Q5_K),
            rule(Role::Down, At::first_eighth_unguided, GgmlType::Q5_K),
            rule(Role::Attention, At::eight_experts, GgmlType::Q5_K),
        ],
        ..plain("IQ4_XS", 30, GgmlType::IQ4_XS)
    },
    Mix {
        alias: Some("MXFP4"),
        flat: Some(GgmlType::Q8_0),
        ..plain("MXFP4_MOE", 38, GgmlType::MXFP4)
    },
];

impl Mix {
    /// Every mix there is.
    pub fn all() -> &'static [Self] {
        MIXES
    }

    /// The mix of that name or alias, in any case of letters.
    pub fn named(name: &str) -> Option<&'static Self> {
        MIXES.iter().find(|mix| {
            let mut names = [Some(mix.name), mix.alias].into_iter().flatten();
            names.any(|known| known.eq_ignore_ascii_case(name))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_file_types_are_unique() {
        for (i, mix) in MIXES.iter().enumerate() {
            assert!(
                Mix::named(&mix.name.to_lowercase()).is_some_and(|found| found.name == mix.name),
                "{}",
                mix.name
            );
            for other in &MIXES[..i] {
                assert_ne!(mix.file_type, other.file_type, "{}", mix.name);
                assert_ne!(Some(mix.name), other.alias);
            }
        }
        assert_eq!(Mix::named("q4_k").map(|mix| mix.name), Some("Q4_K_M"));
        assert!(Mix::named("Q4_K_L").is_none(), "no such mix");
    }

    #[test]
    fn more_bits_go_to_the_ends_and_every_third() {
        let better = |layers| {
            let at = |layer| At {
                layer,
                layers,
                gqa: 1,
                experts: 0,
                imatrix: false,
            };
            (0..layers)
                .filter(|&layer| at(layer).more_bits())
                .collect::<Vec<_>>()
        };
        assert_eq!(better(16), [0, 1, 4, 7, 10, 13, 14, 15]);
        assert_eq!(better(1), [0]);
        assert_eq!(better(0), [0; 0]);
    }
}
