//! Packs the weights of a model in tiles, and lets go of the file as it proceeds.
//!
//! A tile is sixteen rows side by side ([`wattle_kernels::pack`]), which the kernels multiply several times as fast as rows. All tiles
//! lie in one piece of memory in huge pages, in the order in which a pass reads them. They have the bytes of the rows; as soon as
//! rows are packed, the pages of the file that held them are let go, so that memory never holds much more than the file. Rows that
//! were decoded to memory of their own ([`crate::rare`]) are given back with the last piece of their tensor.
//!
//! Floats stay in the file, and so does the embedding, of which a token reads one row, unless it is the output too: its rows are taken
//! out of the tiles then. The system maps 64 KB around each byte of a file that is read, so a long prompt would bring in most of it
//! a second time.
//!
//! The tiles can be kept in a file (`store`), which the next start maps in place of packing.

mod key;
mod layout;
mod store;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::matrix::Bytes;
use super::weights::{Factor, Weights};
use crate::error::{Error, Result};
use crate::gguf::TensorBytes;
use crate::os::{Advice, Huge};
use crate::pool::Pool;
use layout::{Layout, parts};
use store::Store;

/// What became of a file of packed weights.
#[derive(Debug)]
pub struct PackCache {
    /// The file.
    pub file: PathBuf,
    /// Whether it is in use, and since when.
    pub state: PackState,
    /// Why an earlier file of this name was not used, and why no new one was written. The model runs all the same.
    pub faults: Vec<Error>,
}

/// Whether a file of packed weights is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackState {
    /// The weights are mapped from it.
    Mapped,
    /// The weights were packed in memory; it was written for the next start, with so many bytes of them.
    Written(u64),
    /// The weights were packed in memory, and no file could be written.
    Missing,
}

/// Packs what goes in tiles, or maps it from the folder `keep`, where it is left for the next start under a name that begins with
/// `name`. `None` when nothing is kept.
///
/// # Errors
/// When there is no memory for the tiles. A fault of the kept file is none.
pub(super) fn pack(
    weights: &mut Weights,
    pool: &Pool,
    keep: Option<(&Path, &str)>,
) -> Result<Option<PackCache>> {
    let mut factors = weights.factors();
    let layout = Layout::of(&factors);
    if layout.is_empty() {
        return Ok(None);
    }
    let store = keep.map(|(folder, name)| {
        let key = key::of(&factors, &layout);
        Store::new(folder, name, key, layout.bytes())
    });
    let mut faults = Vec::new();
    if let Some(store) = &store {
        match store.open(pool) {
            Ok(Some((map, at))) => {
                hand_out(weights, &layout, |range| {
                    Bytes::Kept(map.clone(), at + range.start..at + range.end)
                });
                return Ok(Some(PackCache {
                    file: store.path().to_path_buf(),
                    state: PackState::Mapped,
                    faults,
                }));
            }
            Ok(None) => {}
            Err(fault) => faults.push(fault),
        }
    }
    let mut memory = Huge::zeros(layout.bytes(), "the packed weights")?;
    // The pieces of the layout alone hold the rows from here on.
    let rows = let_go(&mut factors, &layout);
    layout.fill(&mut memory, pool);
    // The first page that is read of a piece brings in the pages before it again.
    for (map, range) in rows.iter().filter_map(TensorBytes::mapping) {
        map.advise(range, Advice::DontNeed);
    }
    let memory = Arc::new(memory);
    hand_out(weights, &layout, |range| {
        Bytes::Packed(Arc::clone(&memory), range)
    });
    Ok(store.map(|store| {
        let state = match store.write(&memory, pool) {
            Ok(()) => PackState::Written(memory.len() as u64),
            Err(fault) => {
                faults.push(fault);
                PackState::Missing
            }
        };
        PackCache {
            file: store.path().to_path_buf(),
            state,
            faults,
        }
    }))
}

/// Lets go of the rows of each factor that goes in tiles; those of the file, which cost nothing.
fn let_go(factors: &mut [Factor<'_>], layout: &Layout) -> Vec<TensorBytes> {
    let mut of_file = Vec::new();
    for (factor, range) in factors.iter_mut().zip(layout.ranges()) {
        if range.is_empty() {
            continue;
        }
        if let Bytes::Mapped(tensor) = parts(factor).0.bytes() {
            of_file.push(tensor.clone());
        }
        match factor {
            Factor::Matrix(matrix) => matrix.let_go(),
            Factor::Stack(stack) => stack.let_go(),
        }
    }
    of_file
}

/// Gives each factor that goes in tiles its bytes, and the embedding those of the output that it is.
fn hand_out(
    weights: &mut Weights,
    layout: &Layout,
    bytes: impl Fn(core::ops::Range<usize>) -> Bytes,
) {
    for (factor, range) in weights.factors().into_iter().zip(layout.ranges()) {
        if range.is_empty() {
            continue;
        }
        let bytes = bytes(range.clone());
        match factor {
            Factor::Matrix(matrix) => *matrix = matrix.packed(matrix.rows(), bytes),
            Factor::Stack(stack) => *stack = stack.packed(bytes),
        }
    }
    if weights.tied && weights.output.in_tiles() {
        weights.embedding = weights.output.clone();
    }
}
