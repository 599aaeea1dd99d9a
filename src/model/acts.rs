//! Activations on their way into a product: quantised to int8 in blocks of 32, with the floats beside them.
//!
//! A pass of [`LEAST_TOKENS`] or more quantises them once more, with one scale for a piece of a row, for the products of many
//! tokens, which are twice as fast on ARM then. A shorter pass gives the same bits however its tokens are cut into passes, and so
//! does any pass of a model that is not [coarse](crate::load::LoadOptions::coarse).
//!
//! Rows are independent, so the threads share them: an [`ActBuffer`] gives out its rows in blocks, and who has a block writes one
//! row after the other, right after it has made the floats of it.

use wattle_kernels::{Acts, Isa, piece_len, quantize, quantize_pieces, scale_len, sum_len};

use super::memory::{filled, zeros};
use super::step::Step;
use crate::error::Result;

/// Columns in a block of activations.
const BLOCK: usize = 32;
/// Fewest tokens of a pass whose activations are quantised in pieces.
pub(crate) const LEAST_TOKENS: usize = 64;
/// What a number costs that is made, most often by an exponential, in numbers that are only quantised.
const MADE: usize = 4;

/// Room for the quantised form of one activation matrix at a time.
#[derive(Debug)]
pub(crate) struct ActBuffer {
    q: Vec<i8>,
    /// Scales and sums, row by row.
    scales: Vec<f32>,
    /// Integer sums, row by row.
    sums: Vec<i32>,
    /// Once more, in pieces: integers and scales, row by row; empty where no pass wants them.
    pieces: (Vec<i8>, Vec<f32>),
    /// Whether the rows that were written last have pieces.
    in_pieces: bool,
}

impl ActBuffer {
    /// Room for `rows` rows of `width` activations, and for their pieces, if long passes shall have them.
    pub(crate) fn new(rows: usize, width: usize, pieces: bool) -> Result<Self> {
        let what = "the activations of a batch";
        let q: Vec<i8> = filled(0, &[rows, width], what)?;
        let blocks = q.len().next_multiple_of(BLOCK);
        let scales = zeros(&[scale_len(blocks)])?;
        let sums = filled(0, &[sum_len(blocks)], what)?;
        // Rows may be as short as a block, and the shortest piece is.
        let pieces = if pieces {
            let scales = zeros(&[blocks / BLOCK * piece_len(BLOCK)])?;
            (filled(0, &[q.len()], what)?, scales)
        } else {
            (Vec::new(), Vec::new())
        };
        let in_pieces = false;
        Ok(Self {
            q,
            scales,
            sums,
            pieces,
            in_pieces,
        })
    }

    /// The rows of `x`, `(tokens, cols)`, ready for a product.
    ///
    /// Rows that are not whole blocks stay floats only: no integer format has such rows.
    pub(crate) fn quantize<'a>(
        &'a mut self,
        step: Step<'_>,
        x: &'a [f32],
        cols: usize,
    ) -> Acts<'a> {
        let each = step.block(x.len() / cols, cols);
        let parts = x
            .chunks(each * cols)
            .zip(self.blocks(step.tokens, x.len(), cols, each));
        step.pool.parts(parts, |(x, mut acts)| {
            for row in x.chunks_exact(cols) {
                acts.quantize(step.isa, row);
            }
        });
        self.acts(x, cols)
    }

    /// Fills each row of `x`, `(tokens, cols)`, by `make(t, row)`, and quantises it as [`quantize`](Self::quantize) does, on the
    /// thread that made it.
    pub(crate) fn make(
        &mut self,
        step: Step<'_>,
        x: &mut [f32],
        cols: usize,
        make: impl Fn(usize, &mut [f32]) + Sync,
    ) {
        let each = step.block(x.len() / cols, MADE * cols);
        let blocks = self.blocks(step.tokens, x.len(), cols, each);
        let parts = x.chunks_mut(each * cols).zip(blocks).enumerate();
        step.pool.parts(parts, |(i, (x, mut acts))| {
            for (t, row) in x.chunks_exact_mut(cols).enumerate() {
                make(i * each + t, row);
                acts.quantize(step.isa, row);
            }
        });
    }

    /// Rows of `cols` for `len` activations of a pass of `tokens`, in blocks of `each` rows, to be written.
    pub(crate) fn blocks(
        &mut self,
        tokens: usize,
        len: usize,
        cols: usize,
        each: usize,
    ) -> impl Iterator<Item = ActRows<'_>> {
        let int8 = if has_int8(cols) { len } else { 0 };
        let q = self.q[..int8].chunks_mut(each * cols);
        let scales = self.scales[..scale_len(int8)].chunks_mut(each * scale_len(cols).max(1));
        let sums = self.sums[..sum_len(int8)].chunks_mut(each * sum_len(cols).max(1));
        let (pieces, piece_scales) = &mut self.pieces;
        self.in_pieces = tokens >= LEAST_TOKENS && !pieces.is_empty();
        let in_pieces = if self.in_pieces { int8 } else { 0 };
        let mut pieces = pieces[..in_pieces].chunks_mut(each * cols);
        let mut piece_scales = piece_scales[..in_pieces / cols * piece_len(cols)]
            .chunks_mut(each * piece_len(cols).max(1));
        let written = q.zip(scales).zip(sums).map(move |((q, scales), sums)| {
            let pieces = (
                pieces.next().unwrap_or_default(),
                piece_scales.next().unwrap_or_default(),
            );
            let int8 = Int8 {
                q,
                scales,
                sums,
                pieces,
            };
            ActRows { cols, int8 }
        });
        let none = (int8..len).step_by(each * cols).map(move |_| {
            let int8 = Int8::default();
            ActRows { cols, int8 }
        });
        written.chain(none)
    }

    /// The rows that were written here, with the floats `x` that they were made from.
    pub(crate) fn acts<'a>(&'a self, x: &'a [f32], cols: usize) -> Acts<'a> {
        if !has_int8(cols) {
            return Acts::floats(cols, x);
        }
        let acts = Acts::new(
            cols,
            x,
            &self.q[..x.len()],
            &self.scales[..scale_len(x.len())],
            &self.sums[..sum_len(x.len())],
        );
        if !self.in_pieces {
            return acts;
        }
        let (q, scales) = &self.pieces;
        let scales = &scales[..x.len() / cols * piece_len(cols)];
        acts.with_pieces(&q[..x.len()], scales)
    }
}

/// Some rows of an [`ActBuffer`], which are written from the first to the last.
#[derive(Debug)]
pub(crate) struct ActRows<'a> {
    cols: usize,
    /// What is not yet written; nothing when such rows have no int8 form.
    int8: Int8<'a>,
}

/// Rows in their int8 form.
#[derive(Debug, Default)]
struct Int8<'a> {
    q: &'a mut [i8],
    scales: &'a mut [f32],
    sums: &'a mut [i32],
    /// Empty when the pass has none.
    pieces: (&'a mut [i8], &'a mut [f32]),
}

impl<'a> ActRows<'a> {
    /// Quantises `x` into the next row.
    pub(crate) fn quantize(&mut self, isa: Isa, x: &[f32]) {
        let cols = self.cols;
        if let Some(int8) = self.next() {
            quantize(isa, x, cols, int8.q, int8.scales, int8.sums);
            let (q, scales) = int8.pieces;
            if !q.is_empty() {
                quantize_pieces(isa, x, cols, q, scales);
            }
        }
    }

    /// Copies row `i` of `from`, whose rows are as wide, into the next row.
    pub(crate) fn copy(&mut self, from: &ActBuffer, i: usize) {
        let cols = self.cols;
        if let Some(Int8 {
            q,
            scales,
            sums,
            pieces,
        }) = self.next()
        {
            q.copy_from_slice(&from.q[i * cols..][..cols]);
            scales.copy_from_slice(&from.scales[i * scale_len(cols)..][..scale_len(cols)]);
            sums.copy_from_slice(&from.sums[i * sum_len(cols)..][..sum_len(cols)]);
            let (q, scales) = pieces;
            if !q.is_empty() {
                let each = piece_len(cols);
                q.copy_from_slice(&from.pieces.0[i * cols..][..cols]);
                scales.copy_from_slice(&from.pieces.1[i * each..][..each]);
            }
        }
    }

    fn next(&mut self) -> Option<Int8<'a>> {
        let q = self.int8.q.split_off_mut(..self.cols);
        let scales = self.int8.scales.split_off_mut(..scale_len(self.cols));
        let sums = self.int8.sums.split_off_mut(..sum_len(self.cols));
        assert_eq!(q.is_some(), has_int8(self.cols), "a row of this block");
        let (pieces, piece_scales) = &mut self.int8.pieces;
        let pieces = (
            pieces.split_off_mut(..self.cols).unwrap_or_default(),
            piece_scales
                .split_off_mut(..piece_len(self.cols))
                .unwrap_or_default(),
        );
        let (q, scales, sums) = (q?, scales?, sums?);
        Some(Int8 {
            q,
            scales,
            sums,
            pieces,
        })
    }
}

/// Whether rows of `cols` have an int8 form.
fn has_int8(cols: usize) -> bool {
    cols.is_multiple_of(BLOCK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::config::{Config, GqaHeads, Heads, Scales};
    use crate::model::rope::{Rope, RopeKind, Scaling};
    use crate::pool::Pool;

    /// Enough rows for several blocks.
    const ROWS: usize = 1100;

    fn config(cols: usize) -> Config {
        Config {
            arch: "test",
            n_embd: cols,
            n_vocab: 1,
            n_ctx_train: 1,
            norm_eps: 1e-6,
            rope: Rope::new(RopeKind::Norm, 2, 100.0, Scaling::None, None, 1.0),
            heads: Heads::Gqa(GqaHeads {
                heads: 1,
                kv_heads: 1,
                k: 2,
                v: 2,
                scale: 1.0,
            }),
            scales: Scales::default(),
            sparse: None,
        }
    }

    /// The form in blocks: integers, scales, sums; and that in pieces: integers, scales.
    type All<'a> = (&'a [i8], &'a [f32], &'a [i32], &'a [i8], &'a [f32]);

    fn all(buffer: &ActBuffer) -> All<'_> {
        let (q, scales) = &buffer.pieces;
        (&buffer.q, &buffer.scales, &buffer.sums, q, scales)
    }

    #[test]
    fn rows_are_quantised_alike_whoever_does_it_and_in_whatever_order() {
        for cols in [64, 20] {
            let x: Vec<f32> = (0..ROWS * cols).map(|i| (i as f32).sin()).collect();
            let (pool, config) = (Pool::start(3, None).expect("threads"), config(cols));
            let step = Step {
                pool: &pool,
                isa: Isa::best(),
                config: &config,
                tokens: ROWS,
                pasts: &[0],
                watch: None,
            };
            assert!(step.block(ROWS, cols) < ROWS, "there is something to share");
            let buffer = || ActBuffer::new(ROWS, cols, true).expect("room");

            let (mut whole, mut made, mut turned) = (buffer(), buffer(), buffer());
            let int8 = whole.quantize(step, &x, cols).has_int8();
            assert_eq!(int8, cols == 64, "{cols}");
            let mut alone = buffer();
            for (t, mut row) in alone.blocks(ROWS, x.len(), cols, 1).enumerate() {
                row.quantize(Isa::best(), &x[t * cols..][..cols]);
            }
            assert_eq!(all(&alone), all(&whole));

            let mut floats = vec![0.0; x.len()];
            made.make(step, &mut floats, cols, |t, row| {
                row.copy_from_slice(&x[t * cols..][..cols]);
            });
            assert_eq!(floats, x);
            assert_eq!(all(&made), all(&whole));

            for (i, mut block) in turned.blocks(ROWS, x.len(), cols, 100).enumerate() {
                for t in i * 100..(i + 1) * 100 {
                    block.copy(&whole, ROWS - 1 - t);
                }
            }
            for (turned, whole) in [(&turned.q, &whole.q), (&turned.pieces.0, &whole.pieces.0)] {
                for (t, row) in turned.chunks(cols).enumerate() {
                    assert_eq!(row, &whole[(ROWS - 1 - t) * cols..][..cols], "row {t}");
                }
            }
            assert_eq!(whole.in_pieces, turned.in_pieces);
            let made_pieces = whole.pieces.0.iter().any(|&q| q != 0);
            assert_eq!(made_pieces, int8, "{cols}: pieces");
        }
    }
}
