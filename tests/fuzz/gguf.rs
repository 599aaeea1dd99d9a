//! No bytes make the reader of model files panic, hang, or allocate without measure.
//!
//! From the root of the repository (stable Rust; a C++ compiler for libFuzzer, and `cargo install cargo-fuzz`):
//!
//! ```text
//! mkdir -p tests/fuzz/corpus/gguf
//! RUSTC_BOOTSTRAP=1 cargo fuzz run --fuzz-dir tests/fuzz gguf tests/fuzz/corpus/gguf tests/fuzz/seeds/gguf -- \
//!     -dict=tests/fuzz/gguf.dict -max_total_time=60 -timeout=5 -malloc_limit_mb=256
//! ```

#![no_main]

use libfuzzer_sys::fuzz_target;
use wattle::gguf::{Gguf, Value};

fuzz_target!(|bytes: &[u8]| {
    let read =
        [Gguf::from_bytes, Gguf::head_from_bytes].map(|read| read("fuzz.gguf".as_ref(), bytes));
    for model in read.iter().flatten() {
        for (key, value) in model.metadata().iter() {
            let _numbers = (model.metadata().u32s(key), model.metadata().f32s(key));
            if let Value::Array(array) = value {
                assert_eq!(array.iter().count(), array.len(), "{key}");
            }
        }
        for tensor in model.tensors() {
            let data = model.bytes(tensor);
            assert!(
                model.cut().is_some() || data.len() as u64 == tensor.n_bytes(),
                "{tensor:?}"
            );
            std::hint::black_box(data.iter().fold(0, |sum, byte| sum ^ byte));
        }
    }
});
