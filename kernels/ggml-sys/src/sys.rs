//! The bindings, as bindgen writes them (build/bind.rs).

#![expect(
    dead_code,
    non_camel_case_types,
    unreachable_pub,
    reason = "generated from C headers"
)]

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
