//! Which kernel a matrix gets: decided once, from the instruction set and the format, and kept with the matrix.
//!
//! Today every pair has the kernel that `quant` and `isa` make together. A hand-tuned one will be chosen here.

use crate::op::acts::Acts;
use crate::op::coarse;
use crate::op::matmul::{GROUP, PANEL, Tile, panel};
use crate::op::panels::{self, STRIP, Strip, TILES, ZERO};
use crate::op::tiles::{self, FEW};
use crate::quant::{Quant, Tiled, Visit, VisitTiled};
use crate::{Format, Isa, TILE_ROWS, tile_bytes};

/// Products of one panel of rows with a group of tokens.
type PanelFn = fn(Isa, &[u8], usize, &Acts<'_>, usize, &mut Tile);

/// Products of some tiles, and the bytes of each, with a few tokens.
type FewFn = fn(Isa, (&[u8], usize), &Acts<'_>, &mut dyn FnMut(usize, usize, &[f32; TILE_ROWS]));

/// Products of some tiles, and the bytes of each, with a strip of tokens.
type ManyFn = fn(Isa, (&[u8], usize), &Acts<'_>, &mut Strip);

/// The same with coarse scales.
type CoarseFn = fn(Isa, (&[u8], usize), &Acts<'_>, &mut coarse::Sums);

/// Most tokens that are multiplied with a tile as it is unpacked.
const FEW_TOKENS: usize = 2 * FEW;

/// A format's products on one instruction set.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    isa: Isa,
    format: Format,
    one: PanelFn,
    four: PanelFn,
    /// None where the format does not go in tiles.
    tiles: Option<(FewFn, ManyFn, CoarseFn)>,
}

/// The kernel for weights of that format.
pub fn plan(isa: Isa, format: Format) -> Kernel {
    #[derive(Clone, Copy)]
    struct Find(Isa, Format);
    impl Visit for Find {
        type Output = Kernel;
        fn visit<Q: Quant>(self) -> Kernel {
            let Find(isa, format) = self;
            Kernel {
                isa,
                format,
                one: panel::<Q, 1>,
                four: panel::<Q, GROUP>,
                tiles: format.visit_tiled(self),
            }
        }
    }
    impl VisitTiled for Find {
        type Output = (FewFn, ManyFn, CoarseFn);
        fn visit<Q: Tiled>(self) -> Self::Output {
            (
                tiles::multiply::<Q>,
                panels::multiply::<Q>,
                coarse::multiply::<Q>,
            )
        }
    }
    format.visit(Find(isa, format))
}

impl Kernel {
    /// The instruction set.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// As [`matmul`](Self::matmul), with weights in tiles, as [`crate::pack`] makes them: `rows` of them count, from the first.
    ///
    /// # Panics
    /// If the format does not go in tiles, `weights` has not the length of as many tiles as `rows` rows fill, or `acts` has no int8.
    pub fn multiply_tiles(
        &self,
        weights: &[u8],
        rows: usize,
        acts: &Acts<'_>,
        store: &mut dyn FnMut(usize, usize, &[f32]),
    ) {
        let name = self.format.name();
        let bytes = tile_bytes(self.format, acts.cols());
        let (Some((few, many, coarse)), Some(bytes)) = (self.tiles, bytes) else {
            panic_columns(name, acts.cols());
        };
        assert_eq!(
            Some(weights.len()),
            bytes.checked_mul(rows.div_ceil(TILE_ROWS)),
            "{name}: bytes of the tiles of {rows} rows of {}",
            acts.cols()
        );
        assert!(acts.has_int8(), "{name} multiplies int8 activations");
        if acts.tokens() <= FEW_TOKENS {
            for first in (0..acts.tokens()).step_by(FEW) {
                let acts = acts.rows(first, FEW.min(acts.tokens() - first));
                few(self.isa, (weights, bytes), &acts, &mut |t, tile, values| {
                    let row = tile * TILE_ROWS;
                    store(first + t, row, &values[..TILE_ROWS.min(rows - row)]);
                });
            }
        } else if acts.has_pieces() && self.isa.takes_pieces() {
            by_pieces(coarse, self.isa, (weights, bytes), rows, acts, store);
        } else {
            by_strips(many, self.isa, (weights, bytes), rows, acts, store);
        }
    }

    /// `weights[r] . acts[t]` for all rows and tokens, handed over piecewise: `store(token, first_row, values)`.
    ///
    /// # Panics
    /// If `weights` has not the length of `rows` rows of `acts.cols()` numbers, or the format needs int8 activations
    /// ([`Format::needs_int8`]) and `acts` has none.
    pub fn matmul(
        &self,
        weights: &[u8],
        rows: usize,
        acts: &Acts<'_>,
        store: &mut dyn FnMut(usize, usize, &[f32]),
    ) {
        let name = self.format.name();
        let Some(row_bytes) = self.format.row_bytes(acts.cols()) else {
            panic_columns(name, acts.cols());
        };
        assert_eq!(
            Some(weights.len()),
            row_bytes.checked_mul(rows),
            "{name}: bytes of {rows} rows of {}",
            acts.cols()
        );
        assert!(
            !self.format.needs_int8() || acts.has_int8(),
            "{name} multiplies int8 activations"
        );
        let mut tile = [[0.0; PANEL]; GROUP];
        for (p, weights) in weights.chunks(PANEL * row_bytes).enumerate() {
            let height = weights.len() / row_bytes;
            let mut token = 0;
            while token < acts.tokens() {
                // Two or three of four: kernels of their own were a third of this code, which only weights as they lie take.
                let (group, panel) = match acts.tokens() - token {
                    1 => (1, self.one),
                    more => (more.min(GROUP), self.four),
                };
                panel(self.isa, weights, row_bytes, acts, token, &mut tile);
                for (t, values) in tile[..group].iter().enumerate() {
                    store(token + t, p * PANEL, &values[..height]);
                }
                token += group;
            }
        }
    }
}

/// `out[t][r] = weights[r] . acts[t]`; `weights` are `rows` rows of `acts.cols()` numbers, `out` is `acts.tokens() x rows`.
///
/// # Panics
/// As [`matmul_with`], or if `out` has not `acts.tokens() * rows` numbers.
pub fn matmul(
    isa: Isa,
    format: Format,
    weights: &[u8],
    rows: usize,
    acts: &Acts<'_>,
    out: &mut [f32],
) {
    assert_eq!(
        out.len(),
        acts.tokens() * rows,
        "a product for each row and token"
    );
    plan(isa, format).matmul(weights, rows, acts, &mut |token, row, values| {
        out[token * rows + row..][..values.len()].copy_from_slice(values);
    });
}

/// Like [`matmul`], but hands over the products piecewise: `store(token, first_row, values)`.
///
/// # Panics
/// If `weights` has not the length of `rows` rows, or the format needs int8 activations and `acts` has none.
pub fn matmul_with(
    isa: Isa,
    format: Format,
    weights: &[u8],
    rows: usize,
    acts: &Acts<'_>,
    store: &mut dyn FnMut(usize, usize, &[f32]),
) {
    plan(isa, format).matmul(weights, rows, acts, store);
}

/// The tiles of `rows` rows, and the bytes of each, times many tokens.
///
/// Its sums take much of the stack, which is touched page by page on entry; decode must not pay for that.
#[inline(never)]
fn by_strips(
    many: ManyFn,
    isa: Isa,
    (weights, bytes): (&[u8], usize),
    rows: usize,
    acts: &Acts<'_>,
    store: &mut dyn FnMut(usize, usize, &[f32]),
) {
    let mut sums = [ZERO; STRIP];
    for first in (0..acts.tokens()).step_by(STRIP) {
        let acts = acts.rows(first, STRIP.min(acts.tokens() - first));
        for (i, tiles) in weights.chunks(TILES * bytes).enumerate() {
            let row = i * TILES * TILE_ROWS;
            many(isa, (tiles, bytes), &acts, &mut sums);
            for (t, values) in sums[..acts.tokens()].iter().enumerate() {
                let values = values.as_flattened().as_flattened();
                store(first + t, row, &values[..values.len().min(rows - row)]);
            }
        }
    }
}

/// The same with coarse scales.
#[inline(never)]
fn by_pieces(
    coarse: CoarseFn,
    isa: Isa,
    (weights, bytes): (&[u8], usize),
    rows: usize,
    acts: &Acts<'_>,
    store: &mut dyn FnMut(usize, usize, &[f32]),
) {
    let mut sums = coarse::ZERO;
    for first in (0..acts.tokens()).step_by(STRIP) {
        let acts = acts.rows(first, STRIP.min(acts.tokens() - first));
        for (i, tiles) in weights.chunks(TILES * bytes).enumerate() {
            let row = i * TILES * TILE_ROWS;
            coarse(isa, (tiles, bytes), &acts, &mut sums);
            for t in 0..acts.tokens() {
                let mut values = [[0.0; TILE_ROWS / 2]; 2 * TILES];
                for (values, sums) in values.iter_mut().zip(sums.as_flattened()) {
                    *values = sums.as_flattened()[t];
                }
                let values = values.as_flattened();
                store(first + t, row, &values[..values.len().min(rows - row)]);
            }
        }
    }
}

/// The caller broke the contract of [`Kernel::matmul`].
#[expect(
    clippy::panic,
    reason = "a broken contract of the caller, as the assertions beside it"
)]
fn panic_columns(format: &str, cols: usize) -> ! {
    panic!("{format}: {cols} columns are not whole blocks");
}
