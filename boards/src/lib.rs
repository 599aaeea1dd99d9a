//! What this machine is and what a process may use of it.
//!
//! [`Topology`] says which cores there are, which of them are fast, and how many the process may keep busy; [`Machine`] what it is
//! called, and its caches and memory; [`Board`] which of the known boards it is, or what its kernel says of an unknown one
//! ([`Profiles`] lists those that are known); [`State`] how it is doing: throttled, hot, busy; [`sensor`] what measures its power.
//! Everything is read from files of the kernel below one root directory, so that a test can give the files of any board.

mod board;
mod cap;
mod cgroup;
mod file;
mod host;
mod identity;
mod list;
mod machine;
mod midr;
mod pages;
mod profile;
mod profiles;
pub mod sensor;
mod state;
mod topology;

pub use board::{Board, Group};
pub use cap::{Caps, Policy};
pub use host::Host;
pub use identity::{Identity, X86};
pub use list::name as list_name;
pub use machine::Machine;
pub use midr::Midr;
pub use pages::Pages;
pub use profile::{Cluster, Fit, Match, Profile, ProfileError, Range, Source};
pub use profiles::{Profiles, own_folder};
pub use state::{Activity, Clock, Cooling, FirmwareFlags, State, Temperature, Throttling};
pub use topology::{Core, Topology};
