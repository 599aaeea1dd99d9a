//! The figures of a quantisation, type by type.

use super::{Loss, Step};
use crate::gguf::{GgmlType, Gguf};

/// What the tensors of a model become, in numbers.
#[derive(Debug)]
#[non_exhaustive]
pub struct Summary {
    /// Weights of all tensors.
    pub weights: u64,
    /// Bytes of all tensors before.
    pub bytes_in: u64,
    /// Bytes of all tensors after.
    pub bytes_out: u64,
    /// One a new type, the largest first.
    pub types: Vec<OfType>,
}

/// The tensors that have one type afterwards.
#[derive(Debug)]
#[non_exhaustive]
pub struct OfType {
    /// The type.
    pub ty: GgmlType,
    /// Number of tensors.
    pub tensors: usize,
    /// Their weights.
    pub weights: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How far those that were converted are from what they were.
    pub loss: Loss,
}

impl Summary {
    /// Sums up `steps` of `model`, and the `losses` of the same tensors if they have been converted.
    pub fn of(model: &Gguf, steps: &[Step], losses: &[Loss]) -> Self {
        let mut summary = Self {
            weights: 0,
            bytes_in: 0,
            bytes_out: 0,
            types: Vec::new(),
        };
        for (i, (tensor, step)) in model.tensors().iter().zip(steps).enumerate() {
            summary.weights += tensor.elements();
            summary.bytes_in += tensor.n_bytes();
            summary.bytes_out += step.bytes;
            let known = summary.types.iter().position(|one| one.ty == step.to);
            let at = known.unwrap_or_else(|| {
                summary.types.push(OfType {
                    ty: step.to,
                    tensors: 0,
                    weights: 0,
                    bytes: 0,
                    loss: Loss::default(),
                });
                summary.types.len() - 1
            });
            let one = &mut summary.types[at];
            one.tensors += 1;
            one.weights += tensor.elements();
            one.bytes += step.bytes;
            one.loss.add(losses.get(i).copied().unwrap_or_default());
        }
        summary
            .types
            .sort_by_key(|one| core::cmp::Reverse(one.bytes));
        summary
    }

    /// Bits of a weight, on average; `None` without weights.
    pub fn bits_per_weight(&self) -> Option<f64> {
        let weights = self.weights;
        (weights > 0).then(|| self.bytes_out as f64 * 8.0 / weights as f64)
    }
}
