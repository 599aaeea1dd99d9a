//! What needs the operating system or `unsafe`, behind doors that cannot be misused.
//!
//! This file and `os/` hold all the `unsafe` of the runtime; everything above them is checked by the compiler.
//!
//! - [`Mapped`]: a file in memory, read-only.

mod map;

pub use map::{Advice, Mapped};
