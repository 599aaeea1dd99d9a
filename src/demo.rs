//! The model in the box: `wattle-tales`, a DeepSeek-V3 of 6.5 million parameters that tells short stories.
//!
//! No package registry holds trained weights with latent attention, so these are our own: `src/demo/README.md` says from what
//! text and how, and the scripts beside it make them again. They are here so that the program does its main job before
//! anything is downloaded, and so that kernels and caches are judged on weights that mean something.
//!
//! The feature `demo`, on by default, puts the file into the program.

#[cfg(feature = "demo")]
use std::path::Path;

use crate::error::Result;
use crate::gguf::Gguf;

/// What the model is called, in errors too, where other models have a path.
pub const NAME: &str = "wattle-tales";

/// A file, placed as a mapped one would be: its tensors lie at multiples of 32 bytes from its start.
#[cfg(feature = "demo")]
#[repr(C, align(64))]
struct Aligned<T: ?Sized>(T);

#[cfg(feature = "demo")]
static FILE: &Aligned<[u8]> = &Aligned(*include_bytes!("demo/wattle-tales.gguf"));

/// Whether the model is in this program.
#[must_use]
pub const fn is_here() -> bool {
    cfg!(feature = "demo")
}

/// The model's file.
///
/// # Errors
/// When this program was built without the feature `demo`.
pub fn gguf() -> Result<Gguf> {
    #[cfg(feature = "demo")]
    return Gguf::from_static(Path::new(NAME), &FILE.0);
    #[cfg(not(feature = "demo"))]
    Err(crate::Error::Argument {
        name: "-m",
        value: "is not given".into(),
        expected: "a model file: this wattle was built without one in the box (feature `demo`)"
            .into(),
    })
}
