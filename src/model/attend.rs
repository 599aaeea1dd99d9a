//! One head of one token over the rows of a cache: what both forms of attention come down to.

use wattle_kernels::{self as op, Isa};

use super::mla::Panels;

/// What one worker needs for one head of one token.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scratch {
    /// Scores, then probabilities: one a cached token.
    pub(crate) scores: Vec<f32>,
    /// The query in the shape of a cache row.
    pub(crate) query: Vec<f32>,
    /// Keys and values of a head, where latent attention builds them.
    pub(crate) panels: Panels,
}

/// `out = softmax(scale * query . keys) . values`, over rows of one cache.
pub(crate) fn attend(
    isa: Isa,
    query: &[f32],
    keys: op::Rows<'_>,
    values: op::Rows<'_>,
    scale: f32,
    scores: &mut [f32],
    out: &mut [f32],
) {
    let scores = &mut scores[..keys.n];
    op::scores(isa, query, keys, scale, scores);
    op::softmax(isa, scores);
    op::mix(isa, scores, values, out);
}
