//! The bytes of one tensor, from one type to another, in slabs that all threads share.
//!
//! ```text
//! mapped file -> decode -> check -> encode -> slab -> out          a slab: rows of one matrix, about a million weights
//!                             \-> decode again -> loss             a tile:  rows of it, about 16 thousand, one thread
//! ```
//!
//! So the memory does not grow with the tensor, and rows never cross from one expert to the next, each of which has an
//! importance of its own. What was written is decoded again: that measures the error, and finds numbers that the new type does
//! not hold (100000 in F16), of which the encoders make the largest that it does. Sums are added in the order of the tiles, so the figures do not depend on the threads.

use core::ops::ControlFlow;
use std::io::Write;
use std::path::Path;

use wattle_kernels::{Format, decode, encode};

use crate::error::{Error, Place, Result};
use crate::gguf::{Body, GgmlType, TensorBytes, TensorInfo};
use crate::os::Advice;
use crate::pool::Pool;

/// The largest number of F16. Only larger weights can be cut off: no block has a scale less precise than this.
const F16_MAX: f64 = 65504.0;

/// Weights of a slab, and of a tile, unless one row has more.
const SLAB: usize = 1 << 20;
const TILE: usize = 1 << 14;

/// How far new weights are from the old ones.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Loss {
    /// Sum of the squares of the differences.
    pub error: f64,
    /// Sum of the squares of the old weights.
    pub power: f64,
}

impl Loss {
    /// The mean squared error, relative to the mean square of the weights; `None` when nothing was converted.
    pub fn relative(&self) -> Option<f64> {
        (self.power > 0.0).then(|| self.error / self.power)
    }

    /// Adds that of other weights.
    pub fn add(&mut self, other: Self) {
        self.error += other.error;
        self.power += other.power;
    }
}

/// One tensor to convert.
#[derive(Debug, Clone, Copy)]
pub(super) struct Job<'a> {
    pub(super) path: &'a Path,
    pub(super) tensor: &'a TensorInfo,
    pub(super) bytes: &'a TensorBytes,
    /// The new type; the old one to copy.
    pub(super) to: GgmlType,
    /// Importance of each column, expert after expert; `None` for all the same.
    pub(super) importance: Option<&'a [f32]>,
}

/// Memory of one thread.
#[derive(Debug, Default)]
struct Scratch {
    old: Vec<f32>,
    new: Vec<f32>,
}

/// Some rows, for one thread.
struct Tile<'a> {
    from: &'a [u8],
    to: &'a mut [u8],
    sums: Loss,
    fault: Option<Fault>,
}

/// A weight that cannot be converted.
struct Fault {
    /// Its place in the tile.
    at: usize,
    old: f32,
    /// It is too large for the new type, and else no number.
    cut: bool,
}

/// Converts tensors one after another, with the same memory.
#[derive(Debug)]
pub(super) struct Converter<'a> {
    pool: &'a Pool,
    scratch: Vec<Scratch>,
    slab: Vec<u8>,
}

impl<'a> Converter<'a> {
    pub(super) fn new(pool: &'a Pool) -> Self {
        let threads = 0..pool.threads();
        Self {
            pool,
            scratch: threads.map(|_| Scratch::default()).collect(),
            slab: Vec::new(),
        }
    }

    /// Writes the tensor of `job` to `body`, which errors call `out`. After each slab `go_on` is told how many bytes of the old
    /// tensor it had; `None` when it says no.
    ///
    /// # Errors
    ///
    /// A weight is not finite, or not in the new type; `body` cannot be written.
    pub(super) fn write<W: Write>(
        &mut self,
        job: Job<'_>,
        out: &Path,
        body: &mut Body<W>,
        go_on: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Option<Loss>> {
        let Job { tensor, bytes, .. } = job;
        let [cols, rows, ..] = tensor
            .dims
            .map(|dim| usize::try_from(dim).unwrap_or(usize::MAX));
        let row_bytes = usize::try_from(tensor.row_bytes()).unwrap_or(usize::MAX);
        let formats = format(tensor.ty).zip(format(job.to));
        let new_row_bytes = formats.and_then(|(_, to)| to.row_bytes(cols));
        let mut sums = Loss::default();
        let (mut row, mut start) = (0, 0);
        let slab_rows = (SLAB / cols.max(1)).max(1);
        while start < bytes.len() && row_bytes > 0 {
            // Up to the end of the slab, or of the matrix.
            let count = slab_rows.min(rows - row % rows);
            let end = start + count * row_bytes;
            let slab = Slab {
                job,
                formats,
                from: &bytes[start..end],
                row,
                cols,
                rows,
                row_bytes,
            };
            sums.add(self.slab(&slab, new_row_bytes.unwrap_or(row_bytes))?);
            let written = match job.to == tensor.ty {
                true => body.write(slab.from),
                false => body.write(&self.slab),
            };
            written.map_err(|source| Error::io(out, "write", source))?;
            if let Some((map, range)) = bytes.mapping() {
                map.advise(range.start + start..range.start + end, Advice::DontNeed);
            }
            if go_on((end - start) as u64).is_break() {
                return Ok(None);
            }
            (row, start) = (row + count, end);
        }
        Ok(Some(sums))
    }

    /// Checks a slab, and leaves its new bytes in `self.slab` if they are not the old ones.
    fn slab(&mut self, slab: &Slab<'_>, new_row_bytes: usize) -> Result<Loss> {
        let Some((from, to)) = slab.formats else {
            return Ok(Loss::default()); // integers, or blocks that are only copied
        };
        let (tensor, cols) = (slab.job.tensor, slab.cols);
        let copy = slab.job.to == tensor.ty;
        let count = slab.from.len() / slab.row_bytes;
        let new_bytes = if copy { 0 } else { count * new_row_bytes };
        self.slab.resize(new_bytes, 0);
        let tile_rows = (TILE / cols).max(1);
        let mut left = self.slab.as_mut_slice();
        let mut tiles: Vec<Tile<'_>> = Vec::with_capacity(count.div_ceil(tile_rows));
        for from in slab.from.chunks(tile_rows * slab.row_bytes) {
            let size = if copy {
                0
            } else {
                from.len() / slab.row_bytes * new_row_bytes
            };
            let (to, rest) = left.split_at_mut(size);
            left = rest;
            tiles.push(Tile {
                from,
                to,
                sums: Loss::default(),
                fault: None,
            });
        }
        let matrix = slab.row / slab.rows;
        let importance = slab.job.importance.map(|all| &all[matrix * cols..][..cols]);
        let tile_count = tiles.len();
        self.pool.columns_with(
            &mut self.scratch,
            &mut tiles,
            tile_count,
            1,
            |one, scratch| {
                for tile in one.into_row() {
                    if copy {
                        tile.check(from, scratch);
                    } else {
                        tile.convert((from, to), cols, importance, scratch);
                    }
                }
            },
        );
        let mut sums = Loss::default();
        for (i, tile) in tiles.iter().enumerate() {
            if let Some(fault) = &tile.fault {
                return Err(slab.fault(i * tile_rows, fault));
            }
            sums.add(tile.sums);
        }
        Ok(sums)
    }
}

/// Rows of one matrix of a tensor.
struct Slab<'a> {
    job: Job<'a>,
    /// Old and new format, when both are known.
    formats: Option<(Format, Format)>,
    from: &'a [u8],
    /// Its first row, counted through all matrices.
    row: usize,
    cols: usize,
    /// Rows of one matrix.
    rows: usize,
    row_bytes: usize,
}

impl Slab<'_> {
    fn fault(&self, first_row: usize, fault: &Fault) -> Error {
        let row = self.row + first_row + fault.at / self.cols;
        let column = fault.at % self.cols;
        let old = fault.old;
        let found = format!("{old} in row {row}, column {column} (from 0)");
        let (expected, hint) = match fault.cut {
            false => (
                "finite weights".to_owned(),
                "the model is broken: copy or download it again".to_owned(),
            ),
            true => (
                format!("weights that {} can hold", self.job.to),
                format!(
                    "take BF16 for the file, or for this tensor of a quantised one: --tensor-type {}=BF16",
                    self.job.tensor.name
                ),
            ),
        };
        let place = Place::Tensor(self.job.tensor.name.clone());
        Error::file(self.job.path, place, expected, found).advise(hint)
    }
}

impl Tile<'_> {
    /// Decodes the old weights and looks for one that is not finite.
    fn check<'s>(&mut self, from: Format, scratch: &'s mut Scratch) -> Option<&'s [f32]> {
        let weights = self.from.len() / from.block_bytes() * from.block();
        scratch.old.resize(weights, 0.0);
        decode(from, self.from, &mut scratch.old);
        let wrong = scratch.old.iter().position(|x| !x.is_finite());
        self.fault = wrong.map(|at| Fault {
            at,
            old: scratch.old[at],
            cut: false,
        });
        match self.fault {
            Some(_) => None,
            None => Some(&scratch.old),
        }
    }

    fn convert(
        &mut self,
        (from, to): (Format, Format),
        cols: usize,
        importance: Option<&[f32]>,
        scratch: &mut Scratch,
    ) {
        let mut new = core::mem::take(&mut scratch.new);
        if let Some(old) = self.check(from, scratch) {
            let row_bytes = self.to.len() / (old.len() / cols);
            for (row, out) in old.chunks(cols).zip(self.to.chunks_mut(row_bytes)) {
                encode(to, row, importance, out);
            }
            new.resize(old.len(), 0.0);
            decode(to, self.to, &mut new);
            let least = if to.block() == 1 { 0.99 } else { 0.5 };
            for (at, (&old, &new)) in old.iter().zip(&new).enumerate() {
                let (a, b) = (f64::from(old), f64::from(new));
                self.sums.error += (a - b) * (a - b);
                self.sums.power += a * a;
                if a.abs() > F16_MAX && b.abs() < least * a.abs() && self.fault.is_none() {
                    self.fault = Some(Fault { at, old, cut: true });
                }
            }
        }
        scratch.new = new;
    }
}

/// The kernels' format of a type, if they have one.
fn format(ty: GgmlType) -> Option<Format> {
    Format::from_ggml(ty.id())
}
