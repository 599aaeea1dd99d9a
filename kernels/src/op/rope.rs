//! Rotary positions: pairs of numbers turn by an angle that grows with the position, `(a, b) -> (a cos - b sin, a sin + b cos)`.
//!
//! The caller gives cosines and sines of one position, so that scaling rules (`YaRN`) stay out of here. What goes through is a few
//! hundred numbers a token: plain code.

/// Which numbers make a pair, in a part of `d` numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RopeKind {
    /// Neighbours: `(2i, 2i + 1)`. `DeepSeek` and llama.
    Norm,
    /// Halves: `(i, i + d/2)`. GPT-NeoX, qwen2.
    Neox,
}

/// Rotates each part of `2 * cos.len()` numbers of `x`.
///
/// # Panics
/// If `cos` and `sin` differ in length, or `x` is not whole parts.
pub fn rope(x: &mut [f32], cos: &[f32], sin: &[f32], kind: RopeKind) {
    let half = cos.len();
    assert_eq!(sin.len(), half, "rope: as many sines as cosines");
    assert!(
        half > 0 && x.len().is_multiple_of(2 * half),
        "rope: {} numbers are not whole parts of {}",
        x.len(),
        2 * half
    );
    for part in x.chunks_exact_mut(2 * half) {
        match kind {
            RopeKind::Norm => {
                for ((pair, cos), sin) in part.as_chunks_mut::<2>().0.iter_mut().zip(cos).zip(sin) {
                    let [a, b] = *pair;
                    *pair = [a * cos - b * sin, a * sin + b * cos];
                }
            }
            RopeKind::Neox => {
                let (low, high) = part.split_at_mut(half);
                for (((a, b), cos), sin) in low.iter_mut().zip(high).zip(cos).zip(sin) {
                    (*a, *b) = (*a * cos - *b * sin, *a * sin + *b * cos);
                }
            }
        }
    }
}
