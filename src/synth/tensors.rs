//! The tensors of a shape: names, dimensions, and how their weights are drawn.
//!
//! Dimensions are in the order of the file: a matrix from `n` inputs to `m` outputs is `[n, m]`. Names and layouts are those that
//! llama.cpp's converter gives (`conversion/*.py`, `src/llama-arch.cpp`).
//!
//! A weight is normal around 0 with the deviation `1 / sqrt(inputs)`, so that every matrix turns numbers of about 1 into numbers of
//! about 1. A layer adds its part to the residual stream, which therefore grows with the square root of the layers, and
//! neither explodes nor dies; a norm stands before everything that reads it.

use super::shape::{Attention, Experts, Indexer, Latent, Router, Shape};
use crate::gguf::GgmlType;

/// How the weights of a tensor are drawn: normal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Draw {
    pub(super) mean: f32,
    pub(super) deviation: f32,
}

/// Weights of a norm.
const NORM: Draw = Draw {
    mean: 1.0,
    deviation: 0.1,
};

const BIAS: Draw = Draw {
    mean: 0.0,
    deviation: 0.1,
};

/// Rotary factors that change nothing.
const ONE: Draw = Draw {
    mean: 1.0,
    deviation: 0.0,
};

/// A tensor to be written.
#[derive(Debug)]
pub(super) struct Tensor {
    pub(super) name: String,
    pub(super) dims: Vec<u64>,
    pub(super) draw: Draw,
}

impl Tensor {
    /// The type that a converter gives it: F32 to vectors and routers, which no mix changes, and BF16 to the rest.
    pub(super) fn converted(&self) -> GgmlType {
        let is_router = self.name.ends_with("ffn_gate_inp.weight");
        match self.dims.len() {
            1 => GgmlType::F32,
            _ if is_router => GgmlType::F32,
            _ => GgmlType::BF16,
        }
    }
}

/// The tensors of `shape` with so many layers, in the order of the file.
pub(super) fn tensors(shape: &Shape, layers: u32) -> Vec<Tensor> {
    let mut list = List {
        tensors: Vec::new(),
        block: String::new(),
    };
    let (n_embd, vocab) = (shape.n_embd, shape.vocab);
    list.matrix("token_embd", n_embd, vocab);
    if let Attention::Latent(Latent {
        factors: true,
        rope,
        ..
    }) = shape.attention
    {
        list.add("rope_factors_long.weight", &[rope / 2], ONE);
        list.add("rope_factors_short.weight", &[rope / 2], ONE);
    }
    for layer in 0..layers {
        list.block = format!("blk.{layer}.");
        list.norm("attn_norm", n_embd);
        match shape.attention {
            Attention::Grouped { kv_heads } => list.grouped(shape, kv_heads),
            Attention::Latent(latent) => list.latent(shape, &latent),
        }
        list.norm("ffn_norm", n_embd);
        match shape.experts {
            Some(experts) if layer >= experts.dense => list.experts(n_embd, &experts),
            _ => list.dense(shape),
        }
    }
    list.block.clear();
    list.norm("output_norm", n_embd);
    if !shape.tied {
        list.matrix("output", n_embd, vocab);
    }
    list.tensors
}

/// A list that grows.
struct List {
    tensors: Vec<Tensor>,
    /// What names start with.
    block: String,
}

impl List {
    fn add(&mut self, name: &str, dims: &[u32], draw: Draw) {
        self.tensors.push(Tensor {
            name: format!("{}{name}", self.block),
            dims: dims.iter().map(|&dim| u64::from(dim)).collect(),
            draw,
        });
    }

    fn norm(&mut self, name: &str, width: u32) {
        self.add(&format!("{name}.weight"), &[width], NORM);
    }

    fn matrix(&mut self, name: &str, inputs: u32, outputs: u32) {
        let dims = [inputs, outputs];
        self.add(&format!("{name}.weight"), &dims, fan_in(inputs));
    }

    fn stack(&mut self, name: &str, dims: [u32; 3], inputs: u32) {
        self.add(&format!("{name}.weight"), &dims, fan_in(inputs));
    }

    fn grouped(&mut self, shape: &Shape, kv_heads: u32) {
        let width = shape.n_embd / shape.heads * kv_heads;
        for (name, outputs) in [
            ("attn_q", shape.n_embd),
            ("attn_k", width),
            ("attn_v", width),
        ] {
            self.matrix(name, shape.n_embd, outputs);
            self.add(&format!("{name}.bias"), &[outputs], BIAS);
        }
        self.matrix("attn_output", shape.n_embd, shape.n_embd);
    }

    fn latent(&mut self, shape: &Shape, latent: &Latent) {
        let (n_embd, heads) = (shape.n_embd, shape.heads);
        let &Latent {
            q_rank,
            rank,
            nope,
            rope,
            v,
            split,
            ..
        } = latent;
        let queries = heads * (nope + rope);
        match q_rank {
            Some(q_rank) => {
                self.matrix("attn_q_a", n_embd, q_rank);
                self.norm("attn_q_a_norm", q_rank);
                self.matrix("attn_q_b", q_rank, queries);
            }
            None => self.matrix("attn_q", n_embd, queries),
        }
        self.matrix("attn_kv_a_mqa", n_embd, rank + rope);
        self.norm("attn_kv_a_norm", rank);
        if split {
            // Stored transposed: keys come from the latent row, whatever the file's order.
            self.stack("attn_k_b", [nope, rank, heads], rank);
            self.stack("attn_v_b", [rank, v, heads], rank);
        } else {
            self.matrix("attn_kv_b", rank, heads * (nope + v));
        }
        self.matrix("attn_output", heads * v, n_embd);
        if let (Some(indexer), Some(q_rank)) = (latent.indexer, q_rank) {
            let Indexer { heads, width, .. } = indexer;
            self.norm("indexer.k_norm", width);
            self.add("indexer.k_norm.bias", &[width], BIAS);
            self.matrix("indexer.proj", n_embd, heads);
            self.matrix("indexer.attn_k", n_embd, width);
            self.matrix("indexer.attn_q_b", q_rank, heads * width);
        }
    }

    fn dense(&mut self, shape: &Shape) {
        if shape.gated {
            self.matrix("ffn_gate", shape.n_embd, shape.ff);
        }
        self.matrix("ffn_up", shape.n_embd, shape.ff);
        self.matrix("ffn_down", shape.ff, shape.n_embd);
    }

    fn experts(&mut self, n_embd: u32, experts: &Experts) {
        let &Experts {
            count,
            shared,
            width,
            router,
            ..
        } = experts;
        self.matrix("ffn_gate_inp", n_embd, count);
        if router == Router::Sigmoid {
            self.add("exp_probs_b.bias", &[count], BIAS);
        }
        self.stack("ffn_gate_exps", [n_embd, width, count], n_embd);
        self.stack("ffn_up_exps", [n_embd, width, count], n_embd);
        self.stack("ffn_down_exps", [width, n_embd, count], width);
        self.matrix("ffn_gate_shexp", n_embd, shared * width);
        self.matrix("ffn_up_shexp", n_embd, shared * width);
        self.matrix("ffn_down_shexp", shared * width, n_embd);
    }
}

/// Weights that sum up so many inputs.
fn fan_in(inputs: u32) -> Draw {
    Draw {
        mean: 0.0,
        deviation: 1.0 / (inputs as f32).sqrt(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names without `blk.N.` and `.weight`, with dimensions: the last layer and what stands around it.
    fn listed(name: &str, layers: u32) -> Vec<String> {
        let shape = Shape::named(name).expect("a shape");
        let last = format!("blk.{}.", layers - 1);
        let all = tensors(shape, layers).into_iter();
        let inner =
            all.filter(|tensor| !tensor.name.starts_with("blk.") || tensor.name.starts_with(&last));
        inner
            .map(|tensor| {
                let name = tensor.name.replace(&last, "").replace(".weight", "");
                format!("{name} {:?}", tensor.dims)
            })
            .collect()
    }

    #[test]
    fn layouts_that_no_other_test_reads() {
        assert_eq!(
            listed("minicpm3", 1),
            [
                "token_embd [2560, 73448]",
                "rope_factors_long [16]",
                "rope_factors_short [16]",
                "attn_norm [2560]",
                "attn_q_a [2560, 768]",
                "attn_q_a_norm [768]",
                "attn_q_b [768, 3840]",
                "attn_kv_a_mqa [2560, 288]",
                "attn_kv_a_norm [256]",
                "attn_kv_b [256, 5120]",
                "attn_output [2560, 2560]",
                "ffn_norm [2560]",
                "ffn_gate [2560, 6400]",
                "ffn_up [2560, 6400]",
                "ffn_down [6400, 2560]",
                "output_norm [2560]",
            ]
        );
        assert_eq!(
            listed("plm", 1),
            [
                "token_embd [2048, 151936]",
                "attn_norm [2048]",
                "attn_q [2048, 3072]",
                "attn_kv_a_mqa [2048, 576]",
                "attn_kv_a_norm [512]",
                "attn_kv_b [512, 4096]",
                "attn_output [2048, 2048]",
                "ffn_norm [2048]",
                "ffn_up [2048, 8192]",
                "ffn_down [8192, 2048]",
                "output_norm [2048]",
            ]
        );
    }

    #[test]
    fn deepseek_v32_has_an_indexer_and_is_v3_else() {
        let is_index = |line: &String| line.starts_with("indexer.");
        let (index, rest): (Vec<_>, Vec<_>) = listed("v32-few", 2).into_iter().partition(is_index);
        assert_eq!(rest, listed("v3-few", 2));
        assert_eq!(
            index,
            [
                "indexer.k_norm [128]",
                "indexer.k_norm.bias [128]",
                "indexer.proj [7168, 64]",
                "indexer.attn_k [7168, 128]",
                "indexer.attn_q_b [1536, 8192]",
            ]
        );
    }

    #[test]
    fn a_layer_of_deepseek_v3() {
        assert_eq!(
            listed("v3-few", 2)[1..],
            [
                "attn_norm [7168]",
                "attn_q_a [7168, 1536]",
                "attn_q_a_norm [1536]",
                "attn_q_b [1536, 24576]",
                "attn_kv_a_mqa [7168, 576]",
                "attn_kv_a_norm [512]",
                "attn_k_b [128, 512, 128]",
                "attn_v_b [512, 128, 128]",
                "attn_output [16384, 7168]",
                "ffn_norm [7168]",
                "ffn_gate_inp [7168, 256]",
                "exp_probs_b.bias [256]",
                "ffn_gate_exps [7168, 2048, 256]",
                "ffn_up_exps [7168, 2048, 256]",
                "ffn_down_exps [2048, 7168, 256]",
                "ffn_gate_shexp [7168, 2048]",
                "ffn_up_shexp [7168, 2048]",
                "ffn_down_shexp [2048, 7168]",
                "output_norm [7168]",
                "output [7168, 129280]",
            ]
        );
    }
}
