//! How ours is called: the only file here that knows the interface of the kernels.

use wattle_kernels::{Acts, Format, Isa, Kernel, plan, quantize, scale_len, sum_len};

use crate::case::{Case, Rounding};
use crate::{Contender, Entry};

/// The instruction set: the best, or the one that `WATTLE_ISA` names.
pub(crate) fn isa() -> Isa {
    let named = std::env::var("WATTLE_ISA").ok();
    named.map_or_else(Isa::best, |name| {
        Isa::named(&name).expect("WATTLE_ISA names an instruction set of this CPU")
    })
}

/// Our entry for a format.
pub(crate) fn entry(format: Format) -> Entry {
    let rounding = if format.needs_int8() {
        Rounding::Int8 { block: 32 }
    } else {
        Rounding::None
    };
    Entry {
        name: "ours",
        rounding,
        make: |case| Box::new(Ours::new(case)),
    }
}

/// A product of ours with its memory.
struct Ours {
    kernel: Kernel,
    weights: Vec<u8>,
    rows: usize,
    cols: usize,
    x: Vec<f32>,
    q: Vec<i8>,
    scales: Vec<f32>,
    sums: Vec<i32>,
    out: Vec<f32>,
}

impl Ours {
    fn new(case: &Case) -> Self {
        let tokens = case.x.len() / case.cols;
        Self {
            kernel: plan(isa(), case.format),
            weights: case.weights.clone(),
            rows: case.rows,
            cols: case.cols,
            x: case.x.clone(),
            q: vec![0; case.x.len()],
            scales: vec![0.0; tokens * scale_len(case.cols)],
            sums: vec![0; tokens * sum_len(case.cols)],
            out: vec![0.0; tokens * case.rows],
        }
    }
}

impl Contender for Ours {
    fn compute(&mut self) {
        let acts = if self.kernel.format().needs_int8() {
            quantize(
                self.kernel.isa(),
                &self.x,
                self.cols,
                &mut self.q,
                &mut self.scales,
                &mut self.sums,
            );
            Acts::new(self.cols, &self.x, &self.q, &self.scales, &self.sums)
        } else {
            Acts::floats(self.cols, &self.x)
        };
        let (rows, out) = (self.rows, &mut self.out);
        self.kernel
            .matmul(&self.weights, rows, &acts, &mut |t, r, values| {
                out[t * rows + r..][..values.len()].copy_from_slice(values);
            });
    }

    fn out(&self) -> &[f32] {
        &self.out
    }
}
