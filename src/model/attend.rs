//! Heads of one token over the rows of a cache: what few tokens come down to in every form of attention.

use wattle_kernels::{self as op, Isa};

use super::mla::Panels;

/// Heads of a token that go over the rows together: a row is read and converted once for them.
pub(crate) const HEADS: usize = 4;

/// What one worker needs for up to [`HEADS`] heads of one token.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scratch {
    /// Scores, then probabilities: one a head and cached token.
    pub(crate) scores: Vec<f32>,
    /// The queries in the shape of a cache row.
    pub(crate) query: Vec<f32>,
    /// Keys and values of a head, where latent attention builds them.
    pub(crate) panels: Panels,
}

/// `out = softmax(scale * query . keys) . values` for each row of `query`, over rows of one cache.
pub(crate) fn attend(
    isa: Isa,
    query: &[f32],
    keys: op::Rows<'_>,
    values: op::Rows<'_>,
    scale: f32,
    scores: &mut [f32],
    out: &mut [f32],
) {
    let heads = query.len() / keys.width;
    let scores = &mut scores[..heads * keys.n];
    op::scores(isa, query, keys, scale, scores);
    for scores in scores.chunks_exact_mut(keys.n) {
        op::softmax(isa, scores);
    }
    op::mix(isa, scores, values, out);
}

/// How many of `heads` heads of a token to take together, so that `threads` threads still share them evenly.
pub(crate) fn together(heads: usize, threads: usize) -> usize {
    [HEADS, HEADS / 2]
        .into_iter()
        .find(|n| {
            let items = heads / n;
            heads.is_multiple_of(*n) && (items.is_multiple_of(threads) || items >= 4 * threads)
        })
        .unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_go_together_where_no_thread_waits_for_it() {
        for (heads, threads, want) in [
            (16, 2, 4),
            (16, 4, 4),
            (16, 3, 1),
            (40, 4, 2),
            (128, 3, 4),
            (3, 1, 1),
            (1, 4, 1),
        ] {
            assert_eq!(together(heads, threads), want, "{heads} on {threads}");
        }
    }
}
