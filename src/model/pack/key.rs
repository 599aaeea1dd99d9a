//! By what packed weights are known again: everything that decides on their bytes.
//!
//! That is the layout of tiles, and for each factor its format, its rows, its place among the tiles, and the bytes that it is made
//! from. The last are known by the range of the file that they are and by the [identity](crate::os::Identity) of that file; reading
//! them all is what a kept file is to avoid. Since an image of a disk may hold another model under the same number and times, a
//! few bytes out of many tensors count too: two trainings of one model differ in nearly all of them. Bytes that lie in no file (an
//! older file's projections that were split, the model in the box) count whole.
//!
//! Not the instruction set: tiles are the same on all, so that one file serves every machine that can read it.

use wattle_kernels::TILE_LAYOUT;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::layout::{Layout, parts};
use crate::model::matrix::Bytes;
use crate::model::weights::Factor;

/// Most places that are looked at: each may cost a read of a disk.
const PLACES: usize = 64;
/// Bytes of a place.
const PLACE: usize = 256;

/// The key of the tiles of `factors`.
pub(super) fn of(factors: &[Factor<'_>], layout: &Layout) -> u128 {
    let mut key = Key(Xxh3::new());
    key.number(u64::from(TILE_LAYOUT));
    let every = factors.len().div_ceil(PLACES).max(1);
    for (i, (factor, range)) in factors.iter().zip(layout.ranges()).enumerate() {
        if range.is_empty() {
            continue;
        }
        let (matrix, parts) = parts(factor);
        key.text(matrix.format().name());
        key.numbers([matrix.cols(), parts.len(), range.start, range.end]);
        for rows in parts {
            key.numbers([rows.start, rows.end]);
        }
        let mapping = match matrix.bytes() {
            Bytes::Mapped(tensor) => tensor.mapping(),
            _ => None,
        };
        let bytes: &[u8] = matrix.bytes();
        match mapping {
            Some((map, range)) => {
                let file = map.identity();
                key.numbers([range.start, range.end]);
                key.number(file.inode);
                key.number(file.size);
                for (seconds, nanoseconds) in [file.written, file.changed] {
                    key.number(seconds as u64);
                    key.number(nanoseconds as u64);
                }
                if i % every == 0 {
                    let middle = bytes.len() / 2;
                    key.bytes(&bytes[middle..bytes.len().min(middle + PLACE)]);
                }
            }
            None => key.bytes(&xxh3_128(bytes).to_le_bytes()),
        }
    }
    key.0.digest128()
}

/// A hash of numbers and texts; none runs into the next.
struct Key(Xxh3);

impl Key {
    fn number(&mut self, number: u64) {
        self.0.update(&number.to_le_bytes());
    }

    fn numbers<const N: usize>(&mut self, numbers: [usize; N]) {
        for number in numbers {
            self.number(number as u64);
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }
}
