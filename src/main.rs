//! The program: parse, run, print the error, set the exit code.

fn main() {}
