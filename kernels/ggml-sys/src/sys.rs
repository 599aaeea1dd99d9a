//! The bindings, as bindgen writes them (build/bind.rs).

#![expect(non_camel_case_types, dead_code, reason = "generated from C headers")]

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
