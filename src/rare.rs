//! The types of GGUF files that wattle has no kernel for: decoded by ggml at load, where it is built in (feature `ggml`).
//!
//! ```text
//!   rows of the file -> ggml: one row of f32 -> encode -> Q8_0, in memory          8.5 bits a weight
//! ```
//!
//! These types have from 1.1 to 4.5 bits a weight, and their codebooks of up to 2048 entries are made for the gather loads of large
//! CPUs; on a small board a file of a listed format decodes faster. So there is one way for all of them, the last resort: what they
//! decode to, as `Q8_0`. That is the smallest format which loses next to nothing of any of them: a block of 32 has one scale, and
//! its largest weight at least 116 steps unless all are whole steps, so that no weight moves by more than 1/232 of the largest. (In
//! blocks below 1/128 the scale is a subnormal f16; it may cost 127 times 2^-25 more.) The price is memory, two to seven times the
//! bytes of the file, and a start that has to encode every weight. No more of f32 is held than one row a thread, the pages of the
//! file are let go piece by piece, and packing gives back each tensor's rows as its tiles are made.
//!
//! Any bytes are safe to decode: an index into a codebook has no more bits than the codebook has entries for. What they decode to may
//! be infinite or not a number, and that is refused.
//!
//! Without the feature this module only knows the names, for an error that says what to do.

use core::fmt;
use core::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use wattle_kernels::{Format, encode};

use crate::error::Result;
use crate::os::Huge;
use crate::pool::Pool;

#[cfg(not(feature = "ggml"))]
mod without;

#[cfg(feature = "ggml")]
use wattle_ggml_sys as ggml;
#[cfg(not(feature = "ggml"))]
use without as ggml;

/// Ids of the types that ggml decodes and wattle has no kernel for.
const IDS: [u32; 12] = [
    16, // IQ2_XXS
    17, // IQ2_XS
    18, // IQ3_XXS
    19, // IQ1_S
    21, // IQ3_S
    22, // IQ2_S
    29, // IQ1_M
    34, // TQ1_0
    35, // TQ2_0
    40, // NVFP4
    41, // Q1_0
    42, // Q2_0
];

/// What the weights are held in.
pub const HELD_AS: Format = Format::Q8_0;

/// Weights that a thread decodes at a time, unless one row has more.
const PIECE: usize = 1 << 16;

/// Which ggml is built in, with the package that carried it.
#[must_use]
pub fn ggml() -> Option<&'static str> {
    cfg!(feature = "ggml").then_some(ggml::SOURCE)
}

/// Whether ggml, built in or not, decodes the type with this id in GGUF files, and wattle has no kernel for it.
#[must_use]
pub fn is_rare(id: u32) -> bool {
    IDS.contains(&id)
}

/// Decodes tensors of rare types on the threads of a pool.
#[derive(Clone, Copy)]
pub struct Loader<'a> {
    pool: &'a Pool,
}

/// Why a tensor was not decoded.
#[derive(Debug)]
pub enum Fault {
    /// This program decodes no such type.
    Unknown,
    /// The bytes are not whole rows, or none.
    Cut,
    /// A row holds a weight that is not a number, or infinite.
    NotFinite {
        /// The row, from 0.
        row: usize,
    },
    /// There is no memory for the weights.
    Memory(crate::Error),
}

/// Memory of one thread.
#[derive(Default)]
struct Scratch {
    row: Vec<f32>,
    copy: Vec<u8>,
}

impl<'a> Loader<'a> {
    /// A loader on these threads.
    #[must_use]
    pub fn new(pool: &'a Pool) -> Self {
        Self { pool }
    }

    /// Rows of `cols` weights of type `id`, as [`HELD_AS`]. `done` hears of bytes that will not be read again.
    ///
    /// # Errors
    /// As [`Fault`] lists.
    pub fn load(
        &self,
        id: u32,
        cols: usize,
        bytes: &[u8],
        done: impl Fn(Range<usize>) + Sync,
    ) -> core::result::Result<Huge, Fault> {
        let ty = ggml::Type::from_id(id).filter(|ty| is_rare(id) && ty.decodes());
        let ty = ty.ok_or(Fault::Unknown)?;
        let (Some(old_bytes), Some(new_bytes)) = (ty.row_bytes(cols), HELD_AS.row_bytes(cols))
        else {
            return Err(Fault::Cut);
        };
        if old_bytes == 0 || bytes.is_empty() || !bytes.len().is_multiple_of(old_bytes) {
            return Err(Fault::Cut);
        }
        let rows = bytes.len() / old_bytes;
        let mut held = zeros(rows * new_bytes).map_err(Fault::Memory)?;
        let width = held.len();
        let mut scratch: Vec<_> = (0..self.pool.threads())
            .map(|_| Scratch::default())
            .collect();
        let tile = (PIECE / cols).max(1) * new_bytes;
        let worst = AtomicUsize::new(usize::MAX);
        self.pool
            .columns_with(&mut scratch, &mut held, width, tile, |piece, scratch| {
                let first = piece.start() / new_bytes;
                let out = piece.into_row().chunks_exact_mut(new_bytes);
                let last = first + out.len();
                let read = first * old_bytes..last * old_bytes;
                scratch.row.resize(cols, 0.0);
                let old = bytes[read.clone()].chunks_exact(old_bytes);
                for (row, (old, new)) in (first..).zip(old.zip(out)) {
                    ggml::dequantize(ty, even(old, &mut scratch.copy), &mut scratch.row);
                    if !scratch.row.iter().all(|x| x.is_finite()) {
                        worst.fetch_min(row, Relaxed);
                    }
                    encode(HELD_AS, &scratch.row, None, new);
                }
                done(read);
            });
        match worst.into_inner() {
            usize::MAX => Ok(held),
            row => Err(Fault::NotFinite { row }),
        }
    }
}

impl fmt::Debug for Loader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loader").field("ggml", &ggml()).finish()
    }
}

fn zeros(bytes: usize) -> Result<Huge> {
    Huge::zeros(bytes, "weights that ggml decodes")
}

/// The same bytes at an even address, as ggml wants them: a file may align its tensors to single bytes.
fn even<'a>(bytes: &'a [u8], copy: &'a mut Vec<u8>) -> &'a [u8] {
    if bytes.as_ptr().addr().is_multiple_of(2) {
        return bytes;
    }
    copy.resize(bytes.len() + 1, 0);
    let pad = copy.as_ptr().addr() % 2;
    let copy = &mut copy[pad..pad + bytes.len()];
    copy.copy_from_slice(bytes);
    copy
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(id: u32, cols: usize, bytes: &[u8]) -> core::result::Result<Huge, Fault> {
        let pool = Pool::start(2, None).expect("threads");
        Loader::new(&pool).load(id, cols, bytes, |_| ())
    }

    #[test]
    fn what_has_a_kernel_is_not_rare_and_not_loaded() {
        for format in Format::ALL {
            let id = format.ggml_id();
            assert!(!is_rare(id), "{}", format.name());
            let bytes = vec![0; format.block_bytes()];
            let told = load(id, format.block(), &bytes);
            assert!(matches!(told, Err(Fault::Unknown)), "{told:?}");
        }
        let integers = load(26, 2, &[0; 8]);
        assert!(matches!(integers, Err(Fault::Unknown)), "{integers:?}");
    }

    #[cfg(not(feature = "ggml"))]
    #[test]
    fn without_ggml_nothing_is_loaded() {
        assert_eq!(ggml(), None);
        for id in IDS {
            let told = load(id, 256, &[0; 66]);
            assert!(matches!(told, Err(Fault::Unknown)), "{told:?}");
        }
    }

    #[cfg(feature = "ggml")]
    mod with_ggml {
        use std::sync::Mutex;

        use super::*;
        use crate::gguf::GgmlType;

        /// `TQ2_0`: 256 weights in 66 bytes, of which the last two are the scale.
        const TQ2_0: u32 = 35;

        /// `rows` rows of 512 weights: codes of all kinds, and a scale from 0.03 to 0.12.
        fn ternary(rows: usize) -> Vec<u8> {
            let byte = |i: usize| match i % 66 {
                64 => 0,
                65 => 0x28 + (i / 66 % 8) as u8,
                _ => (i * i % 251) as u8,
            };
            (0..rows * 132).map(byte).collect()
        }

        /// The same as one row after another, on one thread.
        fn plainly(bytes: &[u8]) -> Vec<u8> {
            let ty = ggml::Type::from_id(TQ2_0).expect("a type");
            let (mut row, mut held) = (vec![0.0; 512], Vec::new());
            for bytes in bytes.chunks(132) {
                ggml::dequantize(ty, bytes, &mut row);
                let mut new = vec![0; 544];
                encode(HELD_AS, &row, None, &mut new);
                held.extend(new);
            }
            held
        }

        #[test]
        fn the_list_is_what_ggml_decodes_and_has_the_names_of_files() {
            let decoded = ggml::Type::all().filter(|ty| ty.decodes());
            let rare = decoded.filter(|ty| Format::from_ggml(ty.id()).is_none());
            assert!(rare.map(ggml::Type::id).eq(IDS), "by rising id");
            for ty in IDS.map(|id| ggml::Type::from_id(id).expect("a type")) {
                let ours = GgmlType::from_id(ty.id()).expect("a type of files");
                assert_eq!(ours.name(), ty.name().to_uppercase());
                let sizes = (ours.block(), ours.block_bytes());
                assert_eq!(sizes, (ty.block(), ty.block_bytes()), "{ty:?}");
            }
        }

        #[test]
        fn pieces_on_many_threads_are_the_rows_one_after_another() {
            let bytes = ternary(700);
            let heard = Mutex::new(Vec::new());
            let pool = Pool::start(3, None).expect("threads");
            let held = Loader::new(&pool).load(TQ2_0, 512, &bytes, |range| {
                heard.lock().expect("no panic").push(range);
            });
            assert!(held.expect("whole rows")[..] == plainly(&bytes), "rows");
            let mut heard = heard.into_inner().expect("no panic");
            heard.sort_by_key(|range| range.start);
            assert!(heard.len() > 3, "pieces: {heard:?}");
            assert!(
                heard.windows(2).all(|two| two[0].end == two[1].start),
                "{heard:?}"
            );
            assert_eq!(
                (heard[0].start, heard[heard.len() - 1].end),
                (0, bytes.len())
            );
        }

        #[test]
        fn the_address_may_be_odd() {
            let bytes = ternary(3);
            let shifted = [&[0], &bytes[..], &[0]].concat();
            for from in [0, 1] {
                let (at, whole) = (&shifted[from..][..bytes.len()], plainly(&bytes));
                let held = load(TQ2_0, 512, at).expect("whole rows");
                assert!(from == 0 || held[..] == whole, "rows");
            }
        }

        #[test]
        fn faults_are_told() {
            let mut bytes = ternary(300);
            for part in [&bytes[..0], &bytes[..131], &bytes[..198]] {
                let told = load(TQ2_0, 512, part);
                assert!(matches!(told, Err(Fault::Cut)), "{told:?}");
            }
            let told = load(TQ2_0, 300, &bytes[..132]);
            assert!(matches!(told, Err(Fault::Cut)), "{told:?}");
            for row in [299, 7] {
                bytes[row * 132 + 131] = 0x7e; // a scale that is not a number
                let told = load(TQ2_0, 512, &bytes);
                assert!(
                    matches!(told, Err(Fault::NotFinite { row: r }) if r == row),
                    "{told:?}"
                );
            }
        }
    }
}
