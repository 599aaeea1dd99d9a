//! A look at what goes into the matrices while tokens pass, for who wants to learn how much each of their columns matters.
//!
//! A matrix that comes from a file knows the name of its tensor. When a pass is watched, every product first shows its input, in
//! floats and before anything is quantised; when it is not, a product costs one comparison more.

use super::matrix::{Matrix, Stack};
use super::step::Step;

/// Is shown the inputs of all products of a pass, in the order of the walk, on the thread that runs it.
///
/// The embedding is looked up and not multiplied, and a matrix that was made at load has no tensor: they are not shown.
pub trait Watch: core::fmt::Debug {
    /// `rows`, `(n, cols)`, go into the matrix `tensor`.
    fn rows(&self, tensor: &str, cols: usize, rows: &[f32]);

    /// Row `t` of head `h`, `(heads, n, cols)`, goes into matrix `h` of the stack `tensor`.
    fn heads(&self, tensor: &str, cols: usize, heads: usize, rows: &[f32]);

    /// `rows`, `(n, cols)`, go into matrix `expert` of the stack `tensor`: the router chose it for `n` tokens.
    fn expert(&self, tensor: &str, cols: usize, expert: usize, rows: &[f32]);
}

impl Step<'_> {
    /// Shows the input of some matrices, `(n, cols)`.
    pub(crate) fn show(&self, matrices: &[&Matrix], rows: &[f32]) {
        let Some(watch) = self.watch else { return };
        for matrix in matrices {
            if let Some(name) = matrix.name() {
                watch.rows(name, matrix.cols(), rows);
            }
        }
    }

    /// Shows the input of a matrix for each head, `(heads, n, cols)`.
    pub(crate) fn show_heads(&self, stack: &Stack, rows: &[f32]) {
        if let (Some(watch), Some(name)) = (self.watch, stack.name()) {
            watch.heads(name, stack.cols(), stack.count(), rows);
        }
    }

    /// Shows the input of the experts: the slots of expert `e`, `(slots, cols)`, are `starts[e]..starts[e + 1]`.
    pub(crate) fn show_experts(&self, stack: &Stack, starts: &[usize], rows: &[f32]) {
        if let (Some(watch), Some(name)) = (self.watch, stack.name()) {
            let cols = stack.cols();
            for (expert, slots) in starts.windows(2).take(stack.count()).enumerate() {
                if slots[0] < slots[1] {
                    let rows = &rows[slots[0] * cols..slots[1] * cols];
                    watch.expert(name, cols, expert, rows);
                }
            }
        }
    }
}
