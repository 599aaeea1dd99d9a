//! What needs the operating system or `unsafe`, behind doors that cannot be misused.
//!
//! This file and `os/` hold all the `unsafe` of the runtime; everything above them is checked by the compiler.
//!
//! - [`Mapped`]: a file in memory, read-only.
//! - [`Draft`]: a file that appears only when it is whole; [`names_a_file`]: whether one can have a name.
//! - [`Huge`]: memory in huge pages.
//! - [`Lend`]: lends a closure that borrows to threads that already run, and takes it back before the call returns.
//! - [`Queue`]: gives out numbers to workers, each once.
//! - [`Windows`], [`Pieces`], [`Slots`]: cut one `&mut` slice into parts that different threads may write at the same time.
//! - [`confine`]: keeps a thread on a set of cores.
//! - [`ask_firmware`]: a question to the firmware of a Raspberry Pi.

mod affinity;
mod draft;
mod huge;
mod lend;
mod mailbox;
mod map;
mod pieces;
mod queue;
mod slots;
mod spin;
#[cfg(test)]
mod temp;
mod windows;

pub use affinity::confine;
pub use draft::{Draft, names_a_file};
pub use huge::Huge;
pub use lend::Lend;
pub use mailbox::ask_firmware;
pub use map::{Advice, Identity, Mapped};
pub use pieces::Pieces;
pub use queue::Queue;
pub use slots::Slots;
#[cfg(test)]
pub(crate) use temp::Temp;
pub use windows::{Columns, Windows};
