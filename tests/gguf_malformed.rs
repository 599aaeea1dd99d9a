//! No bytes make the reader panic, loop, read out of bounds or allocate without measure.
//!
//! The named cases are the check list of the reference reader's own tests and the classes of the published faults of
//! other GGUF parsers; each asserts which part of the file the error names, at which offset, and what it says was
//! expected and found there. Then come all truncations and all one-byte changes of a small file, and random ones. Every
//! read of every test in this file runs under an allocator that counts: its peak is bounded by the size of the file.
//!
//! The file is long because it is a list, and because all of the list needs that allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Write;
use std::path::Path;

use proptest::prelude::*;
use wattle::error::Place;
use wattle::gguf::{GgmlType, Gguf, Value, Writer};
use wattle::{Error, Result};

// --- an allocator that counts ---------------------------------------------------------------------------------------

thread_local! {
    /// Bytes that this thread holds, and the most that it held since it last asked.
    static LIVE: Cell<i64> = const { Cell::new(0) };
    static PEAK: Cell<i64> = const { Cell::new(0) };
}

struct Counting;

impl Counting {
    fn add(bytes: i64) {
        // Fails only while the thread ends, when nobody asks any more.
        let _ending = LIVE.try_with(|live| {
            live.set(live.get() + bytes);
            let _ending = PEAK.try_with(|peak| peak.set(peak.get().max(live.get())));
        });
    }
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

// SAFETY: every call is passed on unchanged to the system's allocator, which keeps the contract; counting neither
// allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::add(signed(layout.size()));
        // SAFETY: the caller's promise on `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        Self::add(-signed(layout.size()));
        // SAFETY: the caller's promise on `ptr` and `layout` is passed on; `System` made `ptr`.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs `f` and asserts that it held at most a small multiple of `len` bytes beyond what was held before.
///
/// The factor: a tensor list grows by doubling (old and new together are three times what is used), its smallest entry
/// is 24 bytes in the file and about 150 in memory. The constant covers the text of an error.
fn measured<T>(len: usize, f: impl FnOnce() -> T) -> T {
    let before = LIVE.with(Cell::get);
    PEAK.with(|peak| peak.set(before));
    let result = f();
    let peak = PEAK.with(Cell::get) - before;
    let allowed = 24 * signed(len) + 8192;
    assert!(
        peak <= allowed,
        "{peak} bytes allocated to read {len}, allowed are {allowed}"
    );
    result
}

// --- reading all there is -------------------------------------------------------------------------------------------

const NAME: &str = "test.gguf";

/// Reads `bytes` whole and as a head, and uses all that was read in every way there is.
fn exercise(bytes: &[u8]) -> Result<Gguf> {
    measured(bytes.len(), || {
        if let Ok(head) = Gguf::head_from_bytes(Path::new(NAME), bytes) {
            use_all(&head);
        }
    });
    measured(bytes.len(), || {
        let model = Gguf::from_bytes(Path::new(NAME), bytes)?;
        use_all(&model);
        for tensor in model.tensors() {
            let data = model.bytes(tensor);
            assert_eq!(data.len() as u64, tensor.n_bytes(), "{}", tensor.name);
        }
        assert!(model.cut().is_none(), "whole");
        Ok(model)
    })
}

fn use_all(model: &Gguf) {
    let meta = model.metadata();
    for (key, value) in meta.iter() {
        let _shown = value.to_string();
        let _numbers = (meta.u32(key).ok(), meta.u64(key).ok(), meta.f32(key).ok());
        let _others = (meta.bool(key).ok(), meta.str(key).ok());
        drop((meta.u32s(key), meta.i32s(key)));
        drop((meta.f32s(key), meta.bools(key)));
        if let Ok(Some(strings)) = meta.strings(key) {
            assert_eq!(strings.len(), strings.count(), "{key}");
        }
        if let Value::Array(array) = value {
            assert_eq!(array.iter().count(), array.len(), "{key}");
        }
    }
    for tensor in model.tensors() {
        let sum: u64 = model.bytes(tensor).iter().map(|&b| u64::from(b)).sum();
        assert!(sum <= tensor.n_bytes().saturating_mul(255), "all in bounds");
        assert!(model.tensor(&tensor.name).is_some(), "{}", tensor.name);
    }
    if let Some(cut) = model.cut() {
        assert!(!cut.to_string().is_empty(), "says where");
    }
}

// --- files by hand --------------------------------------------------------------------------------------------------

const U8: u32 = 0;
const U32: u32 = 4;
const F32: u32 = 6;
const STRING: u32 = 8;
const ARRAY: u32 = 9;

/// A file that is written field by field. `mark` remembers the offset at which the fault will be.
struct Raw {
    bytes: Vec<u8>,
    mark: u64,
}

impl Raw {
    /// The header of version 3 for so many tensors and keys.
    fn new(tensors: u64, keys: u64) -> Self {
        let empty = Self {
            bytes: Vec::new(),
            mark: 0,
        };
        empty.put(b"GGUF").u32(3).u64(tensors).u64(keys)
    }

    fn put(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    fn u32(self, n: u32) -> Self {
        self.put(&n.to_le_bytes())
    }

    fn u64(self, n: u64) -> Self {
        self.put(&n.to_le_bytes())
    }

    fn str(self, text: &[u8]) -> Self {
        self.u64(text.len() as u64).put(text)
    }

    fn key(self, name: &str, ty: u32) -> Self {
        self.str(name.as_bytes()).u32(ty)
    }

    /// A tensor up to its offset.
    fn info(self, name: &str, dims: &[u64], ty: GgmlType) -> Self {
        let count = u32::try_from(dims.len()).expect("few dimensions");
        let raw = self.str(name.as_bytes()).u32(count);
        let raw = dims.iter().fold(raw, |raw, &dim| raw.u64(dim));
        raw.u32(ty.id())
    }

    fn mark(mut self) -> Self {
        self.mark = self.bytes.len() as u64;
        self
    }

    /// Zeros up to the next multiple of `alignment`, and `data` more.
    fn data(mut self, alignment: usize, data: usize) -> Self {
        let len = self.bytes.len().next_multiple_of(alignment) + data;
        self.bytes.resize(len, 0);
        self
    }

    /// Asserts that the file is refused for the reason given.
    #[expect(clippy::panic, reason = "fails the test that calls it")]
    fn refused(self, place: Place, expected: &str, found: &str) {
        let fault = match exercise(&self.bytes) {
            Err(Error::File(fault)) => fault,
            other => panic!("not refused as a broken file: {other:?}"),
        };
        assert_eq!(fault.path, Path::new(NAME), "{fault}");
        assert_eq!(fault.place, place, "{fault}");
        assert_eq!(fault.offset, Some(self.mark), "{fault}");
        assert!(fault.expected.contains(expected), "{fault}");
        assert!(fault.found.contains(found), "{fault}");
    }

    fn taken(self) -> Gguf {
        exercise(&self.bytes).expect("a good file")
    }
}

fn key(name: &str) -> Place {
    Place::Key(name.to_owned())
}

fn tensor(name: &str) -> Place {
    Place::Tensor(name.to_owned())
}

/// Counts that wrapped, or became negative, in some parser.
const HUGE: [u64; 8] = [
    (1 << 32) + 1,
    1 << 40,
    1 << 61,
    (1 << 61) + 1,
    (1 << 63) - 1,
    1 << 63,
    u64::MAX - 7,
    u64::MAX,
];

// --- header ---------------------------------------------------------------------------------------------------------

#[test]
fn magic() {
    let mut raw = Raw::new(0, 0);
    raw.bytes[..4].copy_from_slice(b"GG\n\x80");
    raw.refused(Place::Header, "\"GGUF\"", r#""GG\n\x80""#);
}

#[test]
fn versions_other_than_2_and_3() {
    for (version, found) in [
        (0, "0"),
        (1, "1"),
        (4, "4"),
        (102, "102"),
        (0x0100_0000, "a big-endian file"),
        (0x0300_0000, "a big-endian file"),
        (0x0200_0000, "a big-endian file"),
        (u32::MAX, "4294967295"),
    ] {
        let mut raw = Raw::new(0, 0);
        raw.bytes[4..8].copy_from_slice(&u32::to_le_bytes(version));
        raw.mark = 4;
        raw.refused(Place::Header, "version 2 or 3", found);
    }
}

#[test]
fn an_empty_model_is_one() {
    for version in [2_u8, 3] {
        let mut raw = Raw::new(0, 0);
        raw.bytes[4] = version;
        let model = raw.taken();
        assert_eq!(model.version(), u32::from(version));
        assert!(model.metadata().is_empty(), "no keys");
        assert!(model.tensors().is_empty(), "no tensors");
    }
}

#[test]
fn counts_of_keys_and_tensors() {
    for n in HUGE {
        let mut raw = Raw::new(0, n).put(&[0; 64]);
        raw.mark = 16;
        let found = n.cast_signed().to_string();
        raw.refused(
            Place::Header,
            "a number of keys from 0 to 4294967296",
            &found,
        );
        let mut raw = Raw::new(n, 0).put(&[0; 64]);
        raw.mark = 8;
        raw.refused(Place::Header, "a number of tensors from 0 to", &found);
    }
    // Plausible, but more than the file can hold: 64 bytes are four keys of 14 and two tensors of 24.
    let mut raw = Raw::new(0, 5).put(&[0; 64]);
    raw.mark = 16;
    raw.refused(Place::Header, "keys that 64 more bytes can hold", "5");
    let mut raw = Raw::new(3, 0).put(&[0; 64]);
    raw.mark = 8;
    raw.refused(Place::Header, "tensors that 64 more bytes can hold", "3");
}

// --- keys -----------------------------------------------------------------------------------------------------------

#[test]
fn key_without_a_name() {
    let raw = Raw::new(0, 1).mark().key("", U32).u32(1);
    raw.put(&[0; 8])
        .refused(Place::Metadata, "a key with a name", "an empty name");
}

#[test]
fn key_that_is_no_text() {
    let raw = Raw::new(0, 1).mark().str(b"k\xff").u32(U32).u32(1);
    raw.put(&[0; 8]).refused(Place::Metadata, "UTF-8", r"k\xff");
}

#[test]
fn key_twice() {
    let raw = Raw::new(0, 3).key("a", U32).u32(1).key("b", U32).u32(1);
    let raw = raw.mark().key("a", F32).u32(2);
    raw.refused(key("a"), "each key once", "first at byte 24");
}

#[test]
fn key_longer_than_the_file() {
    for n in [41, 1 << 20, 1 << 30] {
        let raw = Raw::new(0, 1).u64(n).mark().put(&[b'k'; 40]);
        raw.refused(Place::Metadata, &format!("{n} bytes for key 0"), "40");
    }
    for n in HUGE {
        let raw = Raw::new(0, 1).mark().u64(n).put(&[b'k'; 40]);
        raw.refused(Place::Metadata, "at most 1073741824 bytes", &n.to_string());
    }
}

#[test]
fn value_types_that_do_not_exist() {
    for ty in [13, 255, 1 << 31, u32::MAX] {
        let raw = Raw::new(0, 1).str(b"k").mark().u32(ty).put(&[0; 40]);
        raw.refused(key("k"), "a value type from 0 to 12", &ty.to_string());
        let raw = Raw::new(0, 1).key("k", ARRAY).mark().u32(ty);
        let raw = raw.u64(4).put(&[0; 40]);
        raw.refused(key("k"), "a value type from 0 to 12", &ty.to_string());
    }
}

#[test]
fn strings_longer_than_the_file() {
    for n in [9, 1 << 30] {
        let raw = Raw::new(0, 1).key("k", STRING).u64(n).mark().put(&[0; 8]);
        raw.refused(
            key("k"),
            &format!("{n} bytes for the value"),
            "8 before the end",
        );
    }
    for n in HUGE.into_iter().chain([1 << 31]) {
        let raw = Raw::new(0, 1).key("k", STRING).mark().u64(n).put(&[0; 8]);
        raw.refused(key("k"), "at most 1073741824 bytes", &n.to_string());
    }
}

#[test]
fn arrays_longer_than_the_file() {
    for n in [3, 1 << 28, 1 << 30] {
        let raw = Raw::new(0, 1).key("k", ARRAY).u32(F32).u64(n);
        let expected = format!("{} bytes for the {n} f32 elements", n * 4);
        raw.mark().put(&[0; 11]).refused(key("k"), &expected, "11");
        let raw = Raw::new(0, 1).key("k", ARRAY).u32(STRING).u64(n);
        let expected = format!("{} bytes for the {n} string elements", n * 8);
        raw.mark().put(&[0; 23]).refused(key("k"), &expected, "23");
    }
    for n in HUGE {
        for ty in [U8, F32, STRING, 12] {
            let raw = Raw::new(0, 1).key("k", ARRAY).u32(ty).mark().u64(n);
            let found = n.to_string();
            raw.put(&[0; 40])
                .refused(key("k"), "at most 2^30 elements", &found);
        }
    }
}

#[test]
fn tokens_longer_than_the_file() {
    let tokens = || {
        let raw = Raw::new(0, 1).key("tokens", ARRAY).u32(STRING).u64(3);
        raw.str(b"a")
    };
    let raw = tokens().u64(12).mark().put(&[0; 11]);
    raw.refused(key("tokens"), "12 bytes for element 1", "11 before the end");
    for n in HUGE.into_iter().chain([1 << 31, (1 << 32) - 1]) {
        let raw = tokens().mark().u64(n).put(&[0; 40]);
        raw.refused(key("tokens"), "for element 1", &n.to_string());
    }
}

#[test]
fn arrays_in_arrays() {
    let raw = Raw::new(0, 1).key("k", ARRAY).mark().u32(ARRAY).u64(1);
    let raw = raw.u32(U32).u64(1).u32(7);
    raw.refused(
        key("k"),
        "elements that are no arrays",
        "an array of arrays",
    );
}

#[test]
fn array_elements_are_never_taken_for_another_type() {
    let raw = Raw::new(0, 1).key("tokenizer.ggml.scores", ARRAY).u32(1);
    let model = raw.u64(8).put(&[1; 8]).taken();
    let told = model.metadata().f32s("tokenizer.ggml.scores");
    let told = told.expect_err("i8 are no f32").to_string();
    assert!(
        told.contains("found i8 1 as element 0 of an array of 8 i8"),
        "{told}"
    );
}

#[test]
fn alignment() {
    for n in [0, 3, 48, 1 << 22, 1 << 31, u32::MAX] {
        let raw = Raw::new(0, 1).key("general.alignment", U32).mark().u32(n);
        let found = format!("u32 {n}");
        raw.refused(key("general.alignment"), "a power of two", &found);
    }
    let raw = Raw::new(0, 1).key("general.alignment", 10).mark().u64(32);
    raw.refused(key("general.alignment"), "a u32", "u64 32");
    let raw = Raw::new(0, 1)
        .key("general.alignment", STRING)
        .mark()
        .str(b"32");
    raw.refused(key("general.alignment"), "a u32", "string \"32\"");
    for n in [1, 2, 16, 64, 1 << 21] {
        let raw = Raw::new(0, 1).key("general.alignment", U32).u32(n);
        assert_eq!(raw.taken().metadata().len(), 1, "alignment {n}");
    }
}

// --- tensors --------------------------------------------------------------------------------------------------------

/// Two tensors of four f32, up to the offset of the second.
fn two(second: &str) -> Raw {
    let raw = Raw::new(2, 0).info("a", &[4], GgmlType::F32).u64(0);
    raw.mark().info(second, &[4], GgmlType::F32)
}

#[test]
fn tensors_in_order_are_taken() {
    let model = two("b").u64(32).data(32, 48).taken();
    assert_eq!(model.tensors().len(), 2);
    // The padding after the last tensor may be missing, as llama.cpp accepts it.
    let offset = model.tensors()[1].offset();
    assert_eq!(model.file_bytes(), offset + 16);
}

#[test]
fn tensor_name_twice() {
    let raw = two("a").u64(32).data(32, 64);
    raw.refused(tensor("a"), "each tensor once", "first at byte 24");
}

#[test]
fn tensor_name_too_long() {
    let raw = Raw::new(1, 0).mark();
    let raw = raw.info(&"n".repeat(64), &[4], GgmlType::F32).u64(0);
    raw.data(32, 16).refused(
        Place::TensorList,
        "at most 63 bytes for the name of tensor 0",
        "64",
    );
    for n in HUGE {
        let raw = Raw::new(1, 0).mark().u64(n).put(&[b'n'; 64]);
        raw.refused(Place::TensorList, "at most 63 bytes", &n.to_string());
    }
    let raw = Raw::new(1, 0).info(&"n".repeat(63), &[4], GgmlType::F32);
    assert_eq!(raw.u64(0).data(32, 16).taken().tensors().len(), 1);
}

#[test]
fn too_many_dimensions() {
    for n in [5, 64, 1 << 31, u32::MAX] {
        let raw = Raw::new(1, 0).str(b"t").mark().u32(n).put(&[0; 64]);
        raw.refused(tensor("t"), "at most 4 dimensions", &n.to_string());
    }
}

#[test]
fn negative_dimensions() {
    for k in 0..4 {
        let mut dims = [1; 4];
        dims[k] = (-5_i64).cast_unsigned();
        let mut raw = Raw::new(1, 0).info("t", &dims, GgmlType::F32).u64(0);
        raw.mark = 24 + 9 + 4 + 8 * k as u64;
        raw.refused(tensor("t"), "a dimension of 0 or more", "-5");
    }
}

#[test]
fn products_of_dimensions() {
    for dims in [
        &[1 << 32, 1 << 32][..],
        &[1 << 31, 1 << 31, 2],
        &[(1 << 63) - 1],
        &[1 << 16, 1 << 16, 1 << 16, 1 << 16],
        // Exabytes in a small file, through the size of the type, and through dimensions after an empty one.
        &[1 << 61],
        &[4, 1 << 60],
        &[0, 1 << 62, 4],
    ] {
        let mut raw = Raw::new(1, 0).info("t", dims, GgmlType::F32).u64(0);
        raw.mark = 24 + 9;
        let found = dims[0].to_string();
        raw.data(32, 64)
            .refused(tensor("t"), "less than 2^63 bytes", &found);
    }
}

#[test]
fn rows_that_are_no_whole_blocks() {
    for (ty, cols) in [
        (GgmlType::Q4_0, 33),
        (GgmlType::Q4_K, 128),
        (GgmlType::MXFP4, 1),
    ] {
        let mut raw = Raw::new(1, 0).info("t", &[cols, 2], ty).u64(0);
        raw.mark = 24 + 9;
        let expected = format!("rows of {ty} that are a multiple of {}", ty.block());
        raw.data(32, 1024)
            .refused(tensor("t"), &expected, &format!("rows of {cols}"));
    }
}

#[test]
fn dimensions_of_zero_are_taken() {
    let raw = Raw::new(2, 0).info("a", &[0, 8], GgmlType::Q4_K).u64(0);
    let model = raw.info("b", &[], GgmlType::F32).u64(0).data(32, 4).taken();
    assert_eq!(model.tensors()[0].n_bytes(), 0);
    assert_eq!(model.tensors()[1].n_bytes(), 4);
}

#[test]
fn types_that_do_not_exist() {
    for (id, found) in [
        (4, "Q4_2"),
        (5, "Q4_3"),
        (31, "Q4_0_4_4"),
        (33, "Q4_0_8_8"),
        (36, "IQ4_NL_4_4"),
        (43, "type 43"),
        (97, "ik_llama.cpp"),
        (337, "ik_llama.cpp"),
        (1 << 31, "type 2147483648"),
        (u32::MAX, "type 4294967295"),
    ] {
        let raw = Raw::new(1, 0).str(b"t").u32(1).u64(256).mark().u32(id);
        raw.u64(0)
            .data(32, 256)
            .refused(tensor("t"), "a tensor type", found);
    }
}

#[test]
fn offsets_out_of_order() {
    for offset in [0, 1, 16, 31, 33, 64].into_iter().chain(HUGE) {
        let raw = two("b").mark().u64(offset).data(32, 128);
        raw.refused(tensor("b"), "the data offset 32", &offset.to_string());
    }
    let raw = Raw::new(1, 0).info("a", &[4], GgmlType::F32).mark().u64(32);
    raw.data(32, 64)
        .refused(tensor("a"), "the data offset 0", "32");
}

#[test]
fn offsets_that_contradict_the_alignment() {
    // Offsets for 16 in a file that says 64, and for 32 in one that says 16.
    for (alignment, offset, expected) in [(64, 16, "64"), (16, 32, "16")] {
        let raw = Raw::new(2, 1).key("general.alignment", U32).u32(alignment);
        let raw = raw.info("a", &[4], GgmlType::F32).u64(0);
        let raw = raw.info("b", &[4], GgmlType::F32).mark().u64(offset);
        let expected = format!("the data offset {expected}");
        raw.data(64, 128)
            .refused(tensor("b"), &expected, &offset.to_string());
    }
}

#[test]
fn sums_of_sizes() {
    // Each fits 63 bits, both together do not; and the padding of the last must not wrap either.
    let half = 1 << 60;
    let raw = Raw::new(2, 0).info("a", &[half], GgmlType::F32).u64(0);
    let raw = raw.mark().info("b", &[half], GgmlType::F32).u64(half * 4);
    raw.data(32, 64).refused(
        tensor("b"),
        "less than 2^63 bytes in all",
        "4611686018427387904",
    );
    let most = (1 << 63) - 1;
    let raw = Raw::new(1, 0)
        .mark()
        .info("a", &[most], GgmlType::I8)
        .u64(0);
    raw.data(32, 64).refused(
        tensor("a"),
        "less than 2^63 bytes in all",
        &most.to_string(),
    );
}

#[test]
fn data_past_the_end_of_the_file() {
    for missing in [1, 15, 16] {
        let mut raw = two("b").u64(32).data(32, 48 - missing);
        let whole = raw.bytes.len() + missing;
        raw.mark = whole as u64 - 16;
        let expected = format!("a file of {whole} bytes");
        let found = format!("its end at byte {}", whole - missing);
        raw.refused(tensor("b"), &expected, &found);
    }
    // Terabytes are no overflow, but still not there.
    let mut raw = Raw::new(1, 0).info("t", &[1 << 40], GgmlType::F32).u64(0);
    raw = raw.data(32, 0).mark();
    raw.refused(tensor("t"), "a file of 4398046511", "its end at byte 64");
}

// --- every small change ---------------------------------------------------------------------------------------------

/// A good file with every kind of value and a few tensors: about 700 bytes.
fn small() -> Vec<u8> {
    let mut w = Writer::new();
    w.align(16).expect("a power of two");
    w.key("general.architecture", "llama").expect("new");
    w.key("u8", 1_u8).expect("new");
    w.key("i64", -1_i64).expect("new");
    w.key("f32", 0.5_f32).expect("new");
    w.key("bool", true).expect("new");
    w.array("tokens", &["<s>", "a", "", "b"]).expect("new");
    w.array("scores", &[0.0_f32, -1.0, -2.0, -3.0])
        .expect("new");
    w.array("types", &[3_i32, 1, 1, 1]).expect("new");
    w.array("flags", &[true, false]).expect("new");
    w.tensor("token_embd.weight", &[32, 4], GgmlType::Q8_0)
        .expect("new");
    w.tensor("blk.0.ffn_gate_exps.weight", &[4, 2, 3], GgmlType::F16)
        .expect("new");
    w.tensor("output_norm.weight", &[4], GgmlType::F32)
        .expect("new");
    let mut body = w.start(Vec::new()).expect("a head");
    for size in [136, 48, 16] {
        body.write(&vec![7; size]).expect("the declared size");
    }
    body.finish().expect("all tensors")
}

#[test]
fn cut_at_every_byte() {
    let bytes = small();
    assert_eq!(exercise(&bytes).expect("whole").tensors().len(), 3);
    for len in 0..bytes.len() {
        let told = exercise(&bytes[..len]).expect_err("not whole").to_string();
        let says = ["cut short", "empty file", "can hold"];
        assert!(says.iter().any(|s| told.contains(s)), "{len}: {told}");
    }
}

#[test]
fn every_byte_changed() {
    let mut bytes = small();
    for at in 0..bytes.len() {
        let kept = bytes[at];
        for new in [
            0,
            1,
            0x7f,
            0x80,
            0xff,
            kept ^ 1,
            kept ^ 0x20,
            kept.wrapping_add(1),
        ] {
            bytes[at] = new;
            if let Err(error) = exercise(&bytes) {
                assert!(error.to_string().starts_with(NAME), "{error}");
            }
        }
        bytes[at] = kept;
    }
}

#[test]
fn every_number_replaced_by_a_huge_one() {
    let bytes = small();
    for at in 0..bytes.len() - 8 {
        for n in HUGE {
            let mut bytes = bytes.clone();
            bytes[at..at + 8].copy_from_slice(&n.to_le_bytes());
            if let Err(error) = exercise(&bytes) {
                assert!(error.to_string().starts_with(NAME), "{error}");
            }
        }
    }
}

#[test]
fn files_of_0_to_64_bytes() {
    for len in 0..=64 {
        for fill in [0, 1, 0x20, 0x7f, 0x80, 0xff] {
            let mut bytes = vec![fill; len];
            assert!(exercise(&bytes).is_err(), "{len} times {fill}");
            for (at, start) in [
                &b"GGUF"[..],
                b"GGUF\x03\0\0\0",
                &Raw::new(0, 0).bytes,
                &Raw::new(1, 1).bytes,
            ]
            .into_iter()
            .enumerate()
            {
                let n = len.min(start.len());
                bytes[..n].copy_from_slice(&start[..n]);
                let whole = len >= 24 && (at == 2 || (at == 1 && fill == 0));
                assert_eq!(
                    exercise(&bytes).is_ok(),
                    whole,
                    "{len} times {fill} after {n}"
                );
            }
        }
    }
}

/// Another process writes to the file between two reads. (Where one cuts it, the system kills this process: see `os`.)
#[test]
fn a_file_that_changes_while_it_is_open() {
    let path = std::env::temp_dir().join(format!("wattle-changes-{}.gguf", std::process::id()));
    for fill in [0, 1, 0x7f, 0xff] {
        let bytes = small();
        std::fs::write(&path, &bytes).expect("a temporary file");
        let model = Gguf::open(&path).expect("a good file");
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .expect("the file");
        file.write_all(&vec![fill; bytes.len()])
            .expect("as many bytes");
        use_all(&model);
        let again = Gguf::open(&path).expect_err("all is changed").to_string();
        assert!(again.contains("expected the magic"), "{again}");
    }
    std::fs::remove_file(&path).expect("the temporary file");
}

/// A change of a file at a place that is given as a fraction of its length.
#[derive(Debug, Clone)]
enum Edit {
    Set(Vec<u8>),
    Insert(Vec<u8>),
    Remove(usize),
    Repeat(usize),
}

fn edit() -> impl Strategy<Value = (f64, Edit)> {
    let numbers = prop_oneof![
        any::<u64>().prop_map(|n| n.to_le_bytes().to_vec()),
        prop::sample::select(&HUGE[..]).prop_map(|n| n.to_le_bytes().to_vec()),
        (0..100_u32).prop_map(|n| n.to_le_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 1..9),
    ];
    let edit = prop_oneof![
        numbers.clone().prop_map(Edit::Set),
        numbers.prop_map(Edit::Insert),
        (1..40_usize).prop_map(Edit::Remove),
        (1..200_usize).prop_map(Edit::Repeat),
    ];
    (0.0..1.0, edit)
}

fn apply(bytes: &mut Vec<u8>, (place, edit): &(f64, Edit)) {
    let at = (bytes.len() as f64 * place) as usize;
    let end = |n: usize| (at + n).min(bytes.len());
    match edit {
        Edit::Set(new) => {
            let end = end(new.len());
            bytes[at..end].copy_from_slice(&new[..end - at]);
        }
        Edit::Insert(new) => drop(bytes.splice(at..at, new.iter().copied())),
        Edit::Remove(n) => drop(bytes.drain(at..end(*n))),
        Edit::Repeat(n) => bytes.extend_from_within(at..end(*n)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _refused = exercise(&bytes);
        // Behind a good header the same bytes are keys, or tensors.
        for (tensors, keys) in [(0, 1), (1, 0), (2, 2)] {
            let _refused = exercise(&Raw::new(tensors, keys).put(&bytes).bytes);
        }
    }

    #[test]
    fn random_edits(edits in prop::collection::vec(edit(), 1..5)) {
        let mut bytes = small();
        for edit in &edits {
            apply(&mut bytes, edit);
        }
        let _either = exercise(&bytes);
    }
}

#[test]
fn memory_grows_with_the_file_and_not_faster() {
    // The most entries that a number of bytes can declare, of each kind.
    let n = 20_000_u32;
    let mut keys = Raw::new(0, n.into());
    let mut tensors = Raw::new(n.into(), 1).key("general.alignment", U32).u32(1);
    let mut nothing = Raw::new(0, 1).key("k", ARRAY).u32(STRING).u64(n.into());
    let mut bytes = Raw::new(0, 1).key("k", ARRAY).u32(U8).u64(n.into());
    for i in 0..n {
        let name = i.to_le_bytes().map(|b| b & 0x7f);
        let name = core::str::from_utf8(&name[..3]).expect("ascii");
        let name = format!("{name}{}", i >> 7);
        keys = keys.key(&name, U8).put(&[0]);
        // A tensor of no dimension is one element: here a byte.
        tensors = tensors
            .str(name.as_bytes())
            .u32(0)
            .u32(GgmlType::I8.id())
            .u64(i.into());
        nothing = nothing.u64(0);
        bytes = bytes.put(&[1]);
    }
    assert_eq!(keys.taken().metadata().len(), n as usize);
    assert_eq!(
        tensors.data(1, n as usize).taken().tensors().len(),
        n as usize
    );
    assert_eq!(nothing.taken().metadata().len(), 1);
    let bytes = bytes.taken();
    let list = measured(4 * n as usize, || bytes.metadata().u32s("k"));
    assert_eq!(list.expect("fits").map(|l| l.len()), Some(n as usize));
}
