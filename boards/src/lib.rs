//! What this machine is and what a process may use of it.
//!
//! [`Topology`] says which cores there are, which of them are fast, and how many the process may keep busy; [`Machine`] what it is
//! called, and its caches and memory; [`State`] how it is doing: throttled, hot, busy; [`sensor`] what measures its power. Everything is
//! read from files of the kernel below one root directory, so that a test can give the files of any board.

mod cgroup;
mod file;
mod host;
mod list;
mod machine;
pub mod sensor;
mod state;
mod topology;

pub use host::Host;
pub use machine::Machine;
pub use state::{Activity, Clock, Cooling, FirmwareFlags, State, Temperature, Throttling};
pub use topology::{Core, Topology};
