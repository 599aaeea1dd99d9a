//! A row into its place in a block, and back.

use super::planes::{LEVELS, one_plane, scale, two_planes};
use super::{GROUP, Line, Shape, TILE, bias};
use crate::Isa;
use crate::op::stream::BLOCK;
use crate::simd::{Simd, SimdOp};

/// Makes `row`, `(rank + rope)`, that of token `i` of a block.
///
/// # Panics
/// If the lengths are not those of `shape`, or there is no such token.
pub fn store(
    isa: Isa,
    shape: Shape,
    row: &[f32],
    i: usize,
    words: &mut [Line],
    scales: &mut [f32],
) {
    assert_eq!(row.len(), shape.rank + shape.rope, "store: a row");
    assert!(i < BLOCK, "store: token {i} of a block of {BLOCK}");
    shape.check(words, scales);
    isa.dispatch(Store {
        shape,
        row,
        i,
        words,
        scales,
    });
}

struct Store<'a> {
    shape: Shape,
    row: &'a [f32],
    i: usize,
    words: &'a mut [Line],
    scales: &'a mut [f32],
}

impl SimdOp for Store<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, s: S) {
        let Store {
            shape,
            row,
            i,
            words,
            scales,
        } = self;
        let tile = &mut words[i / TILE * shape.tile()..][..shape.tile()];
        let at = i % TILE * 4;
        let mut put = |column: usize, n: usize, bytes: &[i8; 32]| {
            let words = &mut tile[column / 4..][..n.div_ceil(4)];
            for (word, four) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
                word.0[at..at + 4].copy_from_slice(&four.map(|b| b.cast_unsigned() ^ S::BIAS));
            }
        };
        let (mut high, mut low) = ([0; 32], [0; 32]);
        let (latent, rotary) = row.split_at(shape.rank);
        for (g, x) in latent.chunks(GROUP).enumerate() {
            let (d, inverse) = scale(s, x, 127.0);
            scales[g * BLOCK + i] = d;
            for (k, x) in x.chunks(32).enumerate() {
                one_plane(s, x, inverse, &mut high);
                put(g * GROUP + 32 * k, x.len(), &high);
            }
        }
        let (d, inverse) = scale(s, rotary, LEVELS);
        scales[shape.groups() * BLOCK + i] = d;
        for (k, x) in rotary.chunks(32).enumerate() {
            two_planes(s, x, inverse, &mut high, &mut low);
            put(shape.mixed() + 32 * k, x.len(), &high);
            put(shape.mixed() + shape.rotary() + 32 * k, x.len(), &low);
        }
    }
}

/// The row of token `i` of a block as numbers, `(rank + rope)`.
///
/// # Panics
/// As [`store`].
pub fn load(isa: Isa, shape: Shape, words: &[Line], scales: &[f32], i: usize, row: &mut [f32]) {
    assert_eq!(row.len(), shape.rank + shape.rope, "load: a row");
    assert!(i < BLOCK, "load: token {i} of a block of {BLOCK}");
    shape.check(words, scales);
    let bias = bias(isa);
    let tile = &words[i / TILE * shape.tile()..][..shape.tile()];
    let at = i % TILE * 4;
    let byte = |column: usize| (tile[column / 4].0[at + column % 4] ^ bias).cast_signed();
    let (latent, rotary) = row.split_at_mut(shape.rank);
    for (g, x) in latent.chunks_mut(GROUP).enumerate() {
        let d = scales[g * BLOCK + i];
        for (k, x) in x.chunks_mut(4).enumerate() {
            let four = &tile[g * GROUP / 4 + k].0[at..at + 4];
            for (x, byte) in x.iter_mut().zip(four) {
                *x = d * f32::from((byte ^ bias).cast_signed());
            }
        }
    }
    let d = scales[shape.groups() * BLOCK + i];
    for (k, x) in rotary.iter_mut().enumerate() {
        let high = byte(shape.mixed() + k);
        let low = byte(shape.mixed() + shape.rotary() + k);
        *x = d * (128.0 * f32::from(high) + f32::from(low));
    }
}
