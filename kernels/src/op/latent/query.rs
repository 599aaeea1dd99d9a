//! Queries, quantised as the rows are, once for all blocks.

use super::planes::{LEVELS, one_plane, scale, two_planes};
use super::{GROUP, Shape};
use crate::Isa;
use crate::simd::{Simd, SimdOp};

/// Queries ready for blocks of a shape.
#[derive(Clone, Copy, Debug)]
pub struct Queries<'a> {
    /// `(columns, Shape::query)`
    pub bytes: &'a [i8],
    /// `(columns, Shape::products)`: what an integer sum is multiplied by, beside the row's scale.
    pub factors: &'a [f32],
    /// `(columns, Shape::products)`: what an integer sum starts from.
    pub starts: &'a [i32],
}

/// Quantises a query: `latent`, `(rank)`, and `rotary`, `(rope)`. Its scores will be multiplied by `factor`. Into one column of
/// [`Queries`].
///
/// # Panics
/// If the lengths are not those of `shape`.
pub fn query(
    isa: Isa,
    shape: Shape,
    [latent, rotary]: [&[f32]; 2],
    factor: f32,
    bytes: &mut [i8],
    factors: &mut [f32],
    starts: &mut [i32],
) {
    assert_eq!(latent.len(), shape.rank, "query: the latent part");
    assert_eq!(rotary.len(), shape.rope, "query: the rotary part");
    assert_eq!(bytes.len(), shape.query(), "query: bytes");
    assert_eq!(factors.len(), shape.products(), "query: factors");
    assert_eq!(starts.len(), shape.products(), "query: starts");
    isa.dispatch(Query {
        shape,
        latent,
        rotary,
        factor,
        bytes,
        factors,
        starts,
    });
}

struct Query<'a> {
    shape: Shape,
    latent: &'a [f32],
    rotary: &'a [f32],
    factor: f32,
    bytes: &'a mut [i8],
    factors: &'a mut [f32],
    starts: &'a mut [i32],
}

impl SimdOp for Query<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, s: S) {
        let Query { shape, factor, .. } = self;
        let (mut high, mut low) = ([0; 32], [0; 32]);
        self.bytes.fill(0);
        for (g, x) in self.latent.chunks(GROUP).enumerate() {
            let (d, inverse) = scale(s, x, 127.0);
            self.factors[g] = factor * d;
            for (k, x) in x.chunks(32).enumerate() {
                one_plane(s, x, inverse, &mut high);
                let out = &mut self.bytes[g * GROUP + 32 * k..][..x.len()];
                out.copy_from_slice(&high[..x.len()]);
            }
        }
        let (d, inverse) = scale(s, self.rotary, LEVELS);
        let [.., to_high, to_both] = self.factors else {
            return;
        };
        (*to_high, *to_both) = (factor * d * 16384.0, factor * d * 128.0);
        let (_, rotary) = self.bytes.split_at_mut(shape.mixed());
        let (first, both) = rotary.split_at_mut(shape.rotary());
        let (of_low, of_high) = both.split_at_mut(shape.rotary());
        for (k, x) in self.rotary.chunks(32).enumerate() {
            two_planes(s, x, inverse, &mut high, &mut low);
            let range = 32 * k..32 * k + x.len();
            first[range.clone()].copy_from_slice(&high[..x.len()]);
            of_high[range.clone()].copy_from_slice(&high[..x.len()]);
            of_low[range].copy_from_slice(&low[..x.len()]);
        }
        for (i, start) in self.starts.iter_mut().enumerate() {
            let product = shape.product(i);
            let bytes = &self.bytes[product.query..][..product.len];
            let sum: i32 = bytes.iter().map(|x| i32::from(*x)).sum();
            *start = -i32::from(S::BIAS) * sum;
        }
    }
}
