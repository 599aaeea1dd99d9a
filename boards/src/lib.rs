//! What this machine is and what a process may use of it.
