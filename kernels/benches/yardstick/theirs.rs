//! How ggml's is called: a graph of one `ggml_mul_mat` on one thread, weights as in the file and, where ggml has such kernels,
//! interleaved.

use wattle_ggml_sys::{Layout, Product, Type};
use wattle_kernels::Format;

use crate::case::{Case, Rounding};
use crate::{Contender, Entry};

/// ggml's entries for a format.
pub(crate) fn entries(format: Format) -> Vec<Entry> {
    let ty = ty(format);
    let rounding = match ty.dot_type().map(Type::name) {
        Some("f32") => Rounding::None,
        Some("f16") => Rounding::Float { bits: 11 },
        Some("bf16") => Rounding::Float { bits: 8 },
        Some("q8_0" | "q8_1") => Rounding::Int8 { block: 32 },
        Some("q8_K") => Rounding::Int8 { block: 256 },
        other => unreachable!("ggml multiplies {} with {other:?}", format.name()),
    };
    let file: fn(&Case) -> Box<dyn Contender> = |case| Box::new(product(case, Layout::File));
    let repacked: fn(&Case) -> Box<dyn Contender> =
        |case| Box::new(product(case, Layout::Repacked));
    let mut all = vec![("ggml", file)];
    // Whether it repacks a format depends on the CPU and on the rows, of which all our shapes have a multiple of 64.
    let small = vec![0; 64 * ty.row_bytes(256).expect("whole blocks in every format")];
    if Product::new(ty, &small, [64, 256], 1, 1, Layout::Repacked).is_some() {
        all.push(("ggml-repacked", repacked));
    }
    all.into_iter()
        .map(|(name, make)| Entry {
            name,
            rounding,
            make,
        })
        .collect()
}

fn ty(format: Format) -> Type {
    Type::from_id(format.ggml_id()).expect("ggml knows every format of ours")
}

fn product(case: &Case, layout: Layout) -> Product {
    let tokens = case.x.len() / case.cols;
    let shape = [case.rows, case.cols];
    let mut made = Product::new(ty(case.format), &case.weights, shape, tokens, 1, layout)
        .expect("a layout that was there for the small matrix");
    made.set(&case.x);
    made
}

impl Contender for Product {
    fn compute(&mut self) {
        Product::compute(self);
    }

    fn out(&self) -> &[f32] {
        Product::out(self)
    }
}
