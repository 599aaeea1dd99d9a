//! Reading what the writer wrote: values, getters, tensors, split models and files cut short.
//!
//! Long, because each kind of file takes its own few lines to write.

use std::io;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use wattle::Error;
use wattle::error::Place;
use wattle::gguf::{GgmlType, Gguf, Metadata, TensorInfo, Value, ValueType, Writer};

/// A directory of one test, removed at the end.
struct Dir(PathBuf);

impl Dir {
    fn new(test: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("wattle-gguf-{}-{test}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a temporary directory");
        Self(dir)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).expect("a temporary file");
        path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

/// The whole file of `writer`, with tensor `i` filled with the byte `i + 1`.
fn file(writer: Writer, sizes: &[usize]) -> Vec<u8> {
    let mut body = writer.start(Vec::new()).expect("a head");
    for (i, &size) in sizes.iter().enumerate() {
        let fill = u8::try_from(i + 1).expect("few tensors");
        body.write(&vec![fill; size]).expect("the declared size");
    }
    body.finish().expect("all tensors")
}

fn read(bytes: &[u8]) -> Gguf {
    Gguf::from_bytes(Path::new("test.gguf"), bytes).expect("a good file")
}

fn metadata(fill: impl FnOnce(&mut Writer) -> io::Result<()>) -> Metadata {
    let mut writer = Writer::new();
    fill(&mut writer).expect("good keys");
    read(&file(writer, &[])).metadata().clone()
}

/// Place, expected and found of the fault.
#[expect(clippy::panic, reason = "fails the test that calls it")]
fn fault<T: core::fmt::Debug>(result: wattle::Result<T>) -> (Place, String, String) {
    match result {
        Err(Error::File(fault)) => (fault.place, fault.expected, fault.found),
        other => panic!("no fault of a file: {other:?}"),
    }
}

#[test]
fn every_value_type_comes_back() {
    let meta = metadata(|w| {
        w.key("u8", u8::MAX)?;
        w.key("i8", i8::MIN)?;
        w.key("u16", u16::MAX)?;
        w.key("i16", i16::MIN)?;
        w.key("u32", u32::MAX)?;
        w.key("i32", i32::MIN)?;
        w.key("f32", 1.5_f32)?;
        w.key("bool", true)?;
        w.key("string", "bread · 面包")?;
        w.array("array", &[1_i16, -2, 3])?;
        w.key("u64", u64::MAX)?;
        w.key("i64", i64::MIN)?;
        w.key("f64", -0.25_f64)
    });
    let shown: Vec<String> = meta.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(
        shown,
        [
            "u8=u8 255",
            "i8=i8 -128",
            "u16=u16 65535",
            "i16=i16 -32768",
            "u32=u32 4294967295",
            "i32=i32 -2147483648",
            "f32=f32 1.5",
            "bool=bool true",
            "string=string \"bread · 面包\"",
            "array=array of 3 i16",
            "u64=u64 18446744073709551615",
            "i64=i64 -9223372036854775808",
            "f64=f64 -0.25",
        ]
    );
    assert_eq!(meta.len(), 13);
    for (id, (key, value)) in meta.iter().enumerate() {
        let id = u32::try_from(id).expect("13 types");
        assert_eq!(ValueType::from_id(id), Some(value.ty()), "{key}");
        assert_eq!(value.ty().name(), key);
    }
}

#[test]
fn getters_take_every_type_that_fits() {
    let meta = metadata(|w| {
        w.key("small", 7_u8)?;
        w.key("signed", 7_i64)?;
        w.key("wide", 0.5_f64)?;
        w.key("one", 1_u8)?;
        w.key("yes", true)?;
        w.key("name", "llama")?;
        w.key("big", 1_u64 << 40)
    });
    for key in ["small", "signed"] {
        assert_eq!(meta.u32(key).expect("fits"), Some(7));
        assert_eq!(meta.u64(key).expect("fits"), Some(7));
        assert_eq!(meta.need_u32(key).expect("is there"), 7);
        assert_eq!(meta.u32s(key).expect("one element"), Some(vec![7]));
        assert_eq!(meta.i32s(key).expect("one element"), Some(vec![7]));
    }
    assert_eq!(meta.f32("wide").expect("fits"), Some(0.5));
    assert_eq!(meta.f32s("wide").expect("one element"), Some(vec![0.5]));
    assert_eq!(meta.bool("one").expect("0 or 1"), Some(true));
    assert!(meta.need_bool("yes").expect("is there"), "a bool");
    assert_eq!(meta.bools("yes").expect("one element"), Some(vec![true]));
    assert_eq!(meta.need_str("name").expect("is there"), "llama");
    assert_eq!(meta.need_u64("big").expect("is there"), 1 << 40);
    assert_eq!(meta.u32("absent").expect("no fault"), None);
    assert_eq!(meta.str("absent").expect("no fault"), None);
    assert!(meta.strings("absent").expect("no fault").is_none());
    assert_eq!(meta.f32s("absent").expect("no fault"), None);
}

#[test]
fn what_does_not_fit_names_key_offset_and_value() {
    let meta = metadata(|w| {
        w.key("minus", -1_i32)?;
        w.key("big", u64::MAX)?;
        w.key("text", "12")?;
        w.key("huge", 1e300_f64)?;
        w.key("two", 2_u8)?;
        w.key("bytes", &b"\xff\xfe"[..])?;
        w.array("scores", &[1_i8, 2])?;
        w.array("ids", &[1_i32, -1])
    });
    let key = |name: &str| Place::Key(name.to_owned());
    let cases = [
        (fault(meta.u32("minus")), "minus", "i32 -1"),
        (fault(meta.u64("minus")), "minus", "i32 -1"),
        (fault(meta.u32("big")), "big", "u64 18446744073709551615"),
        (fault(meta.u32("text")), "text", "string \"12\""),
        (fault(meta.f32("huge")), "huge", "f64 1"),
        (fault(meta.bool("two")), "two", "u8 2"),
        (fault(meta.str("bytes")), "bytes", "string \"\u{fffd}"),
        (fault(meta.str("scores")), "scores", "array of 2 i8"),
        (fault(meta.u32("scores")), "scores", "array of 2 i8"),
        // Element types are never confused: i8 scores are not read as f32.
        (fault(meta.f32s("scores")), "scores", "i8 1 as element 0"),
        (fault(meta.u32s("ids")), "ids", "i32 -1 as element 1"),
        (fault(meta.strings("text").map(drop)), "text", "string"),
        (
            fault(meta.strings("ids").map(drop)),
            "ids",
            "array of 2 i32",
        ),
        (fault(meta.need_u32("gone")), "gone", "no such key"),
        (fault(meta.need_str("gone")), "gone", "no such key"),
        (fault(meta.need_f32("text")), "text", "string"),
    ];
    for ((place, expected, found), name, start) in cases {
        assert_eq!(place, key(name));
        assert!(found.starts_with(start), "{name}: found {found}");
        assert!(!expected.is_empty(), "{name}: says what would fit");
    }
    let told = meta.u32("minus").expect_err("negative").to_string();
    // 24 bytes of header, a key of 8 + 5 bytes, 4 bytes of type.
    assert!(told.contains("key \"minus\" at byte 41"), "{told}");
    let told = meta.unfit("text", "a number of layers").to_string();
    assert!(
        told.ends_with("expected a number of layers, found string \"12\""),
        "{told}"
    );
}

#[test]
fn arrays_are_decoded_where_they_lie() {
    let meta = metadata(|w| {
        w.array("words", &["", "a", "面包"])?;
        w.array("none", &[] as &[&str])?;
        w.array("floats", &[0.5_f32, -1.0])?;
        w.array("flags", &[true, false])?;
        w.array("layers", &[4_u16, 0, 8])
    });
    let mut words = meta.strings("words").expect("strings").expect("there");
    assert_eq!(words.len(), 3);
    assert_eq!(words.clone().map(<[u8]>::len).sum::<usize>(), 7);
    assert_eq!(words.nth(1), Some(&b"a"[..]));
    assert_eq!(words.len(), 1);
    let none = meta.strings("none").expect("strings").expect("there");
    assert_eq!(none.len(), 0);
    assert_eq!(meta.f32s("floats").expect("fits"), Some(vec![0.5, -1.0]));
    assert_eq!(meta.bools("flags").expect("fits"), Some(vec![true, false]));
    assert_eq!(meta.u32s("layers").expect("fits"), Some(vec![4, 0, 8]));
    let Some(Value::Array(layers)) = meta.get("layers") else {
        panic!("an array");
    };
    assert_eq!((layers.len(), layers.bytes()), (3, 6));
    assert_eq!(
        meta.offset("layers").map(|at| at + 12),
        Some(layers.offset())
    );
    let shown: Vec<String> = layers.iter().map(|v| v.to_string()).collect();
    assert_eq!(shown, ["u16 4", "u16 0", "u16 8"]);
}

#[test]
fn tensors_of_every_type_lie_where_they_were_written() {
    for alignment in [1, 8, 32, 4096] {
        let mut writer = Writer::new();
        if alignment != 32 {
            writer.align(alignment).expect("a power of two");
        }
        let mut sizes = Vec::new();
        for &ty in GgmlType::ALL {
            let dims = [ty.block() as u64 * 2, 3];
            writer.tensor(ty.name(), &dims, ty).expect("whole blocks");
            sizes.push(ty.block_bytes() * 6);
        }
        let bytes = file(writer, &sizes);
        let model = read(&bytes);
        assert_eq!(model.tensors().len(), GgmlType::ALL.len());
        assert_eq!(model.file_bytes(), bytes.len() as u64);
        for (i, info) in model.tensors().iter().enumerate() {
            assert_eq!(info.ty, GgmlType::ALL[i]);
            assert_eq!(info.shape(), [info.dims[0], 3]);
            assert_eq!((info.rows(), info.dims[2]), (3, 1));
            assert_eq!(info.row_bytes() * 3, info.n_bytes());
            assert_eq!(info.elements(), info.dims[0] * 3);
            assert_eq!(info.offset() % u64::from(alignment), 0, "{}", info.name);
            let data = model.bytes(info);
            assert_eq!(data.len(), sizes[i]);
            assert!(
                data.iter().all(|&b| usize::from(b) == i + 1),
                "its own bytes"
            );
            let found = model.tensor(&info.name).expect("by name");
            assert_eq!(found.offset(), info.offset());
        }
        assert!(model.tensor("absent").is_none());
    }
}

#[test]
fn tensors_without_elements_and_dimensions_are_taken() {
    let mut writer = Writer::new();
    writer
        .tensor("empty", &[0, 5], GgmlType::F32)
        .expect("as ggml");
    writer
        .tensor("scalar", &[], GgmlType::F32)
        .expect("as ggml");
    writer
        .tensor("last", &[32, 0], GgmlType::Q8_0)
        .expect("as ggml");
    let model = read(&file(writer, &[0, 4]));
    let sizes: Vec<u64> = model.tensors().iter().map(TensorInfo::n_bytes).collect();
    assert_eq!(sizes, [0, 4, 0]);
    assert_eq!(model.tensors()[1].shape(), &[] as &[u64]);
    assert_eq!(&model.bytes(&model.tensors()[1])[..], [2; 4]);
}

#[test]
fn bytes_outlive_the_model_and_the_file() {
    let dir = Dir::new("outlive");
    let mut writer = Writer::new();
    writer.tensor("w", &[8], GgmlType::F32).expect("a tensor");
    let path = dir.file("m.gguf", &file(writer, &[32]));
    let model = Gguf::open(&path).expect("a good file");
    assert_eq!(model.path(), path);
    let data = model.bytes(&model.tensors()[0]);
    assert!(data.mapping().is_some(), "mapped, not copied");
    drop(model);
    drop(dir);
    assert_eq!(&data[..], [1; 32]);
}

#[test]
fn the_writer_refuses_what_the_reader_would() {
    let mut w = Writer::new();
    assert!(w.key("", 1_u8).is_err(), "no name");
    w.key("a", 1_u8).expect("new");
    assert!(w.key("a", 2_u8).is_err(), "twice");
    assert!(
        w.align(0).is_err() && w.align(48).is_err(),
        "no power of two"
    );
    assert!(
        w.tensor("t", &[33], GgmlType::Q8_0).is_err(),
        "half a block"
    );
    assert!(w.tensor("t", &[1; 5], GgmlType::F32).is_err(), "dimensions");
    assert!(
        w.tensor(&"n".repeat(64), &[1], GgmlType::F32).is_err(),
        "name"
    );
    assert!(w.tensor("t", &[1 << 62, 4], GgmlType::F32).is_err(), "2^66");
    w.tensor(&"n".repeat(63), &[4], GgmlType::F32)
        .expect("longest");
    w.tensor("t", &[4], GgmlType::F32).expect("new");
    assert!(w.tensor("t", &[4], GgmlType::F32).is_err(), "twice");
    assert!(w.align(64).is_err(), "too late");
    let mut body = w.start(Vec::new()).expect("a head");
    assert!(body.write(&[0; 17]).is_err(), "into the next tensor");
    body.write(&[0; 9]).expect("a part");
    body.write(&[0; 7]).expect("the rest");
    body.write(&[0; 15]).expect("a part");
    assert!(body.finish().is_err(), "a byte is missing");
}

/// A model of three files whose first has no tensor; file `i` holds the tensors `t{i}`.
fn split(dir: &Dir, prefix: &str, total: i32) -> PathBuf {
    for i in 0..3_u16 {
        let mut writer = Writer::new();
        if i == 0 {
            writer.key("general.architecture", "llama").expect("new");
        }
        writer.key("split.no", i).expect("new");
        writer.key("split.count", 3_u16).expect("new");
        writer.key("split.tensors.count", total).expect("new");
        let mut sizes = vec![];
        if i > 0 {
            let name = format!("t{i}");
            writer.tensor(&name, &[16], GgmlType::F16).expect("new");
            sizes.push(32);
        }
        dir.file(&name(prefix, i + 1), &file(writer, &sizes));
    }
    dir.0.join(name(prefix, 1))
}

fn name(prefix: &str, no: u16) -> String {
    format!("{prefix}-{no:05}-of-00003.gguf")
}

#[test]
fn a_split_model_is_one_model() {
    let dir = Dir::new("split");
    let model = Gguf::open(&split(&dir, "m", 2)).expect("all three files");
    assert_eq!(model.files(), 3);
    let names: Vec<&str> = model.tensors().iter().map(|t| &*t.name).collect();
    assert_eq!(names, ["t1", "t2"]);
    assert_eq!(model.tensor("t2").expect("by name").shard(), 2);
    assert_eq!(&model.bytes(&model.tensors()[1])[..], [1; 32]);
    let arch = model.metadata().need_str("general.architecture");
    assert_eq!(arch.expect("of the first file"), "llama");
    let size = |no| {
        std::fs::metadata(dir.0.join(name("m", no)))
            .expect("a file")
            .len()
    };
    assert_eq!(model.file_bytes(), size(1) + size(2) + size(3));
}

#[test]
fn a_split_model_that_is_not_whole_names_the_file() {
    let dir = Dir::new("split-broken");
    let first = split(&dir, "m", 2);
    let told = Gguf::open(&dir.0.join(name("m", 2))).expect_err("not the first");
    assert!(told.to_string().contains("key \"split.no\""), "{told}");
    assert!(
        told.to_string()
            .contains(&format!("open {}", first.display())),
        "{told}"
    );

    let miscounted = split(&dir, "n", 3);
    let (place, expected, found) = fault(Gguf::open(&miscounted));
    assert_eq!(place, Place::Key("split.tensors.count".to_owned()));
    assert_eq!(
        (&*expected, &*found),
        ("2, the tensors in all files", "i32 3")
    );

    let odd = dir.file("odd.gguf", &std::fs::read(&first).expect("a file"));
    let (place, expected, _) = fault(Gguf::open(&odd));
    assert_eq!(place, Place::Shard);
    assert!(expected.contains("-00001-of-00003.gguf"), "{expected}");

    // The same file twice: its tensors are there already, and it says that it is another.
    let (second, third) = (dir.0.join(name("m", 2)), dir.0.join(name("m", 3)));
    std::fs::copy(&second, &third).expect("a copy");
    let (place, expected, found) = fault(Gguf::open(&first));
    assert_eq!(place, Place::Key("split.no".to_owned()));
    assert_eq!((&*expected, &*found), ("2", "u16 1"));

    std::fs::remove_file(&third).expect("a file less");
    let told = Gguf::open(&first)
        .expect_err("a file is missing")
        .to_string();
    assert!(told.starts_with(&third.display().to_string()), "{told}");
    let head = Gguf::open_head(&first).expect("the head is there");
    assert_eq!(head.tensors().len(), 1, "of the second file");
    let cut = head.cut().expect("it is not whole");
    assert_eq!(cut.path, third);
    assert!(cut.to_string().contains("missing"), "{cut}");
}

#[test]
fn a_name_in_two_files_is_refused() {
    let dir = Dir::new("split-twice");
    let mut first = PathBuf::new();
    for i in (0..2_u16).rev() {
        let mut writer = Writer::new();
        writer.key("split.no", i).expect("new");
        writer.key("split.count", 2_u16).expect("new");
        writer.key("split.tensors.count", 2_u16).expect("new");
        writer.tensor("t", &[4], GgmlType::F32).expect("new");
        let name = format!("m-{:05}-of-00002.gguf", i + 1);
        first = dir.file(&name, &file(writer, &[16]));
    }
    let told = Gguf::open(&first).expect_err("twice").to_string();
    assert!(
        told.contains("m-00002-of-00002.gguf: tensor \"t\""),
        "{told}"
    );
    assert!(
        told.contains("first in") && told.contains("m-00001-of-00002"),
        "{told}"
    );
}

#[test]
fn a_file_cut_short_keeps_its_head() {
    let mut writer = Writer::new();
    writer.key("general.architecture", "llama").expect("new");
    writer
        .array("tokenizer.ggml.tokens", &["a", "b"])
        .expect("new");
    for i in 0..3 {
        writer
            .tensor(&format!("t{i}"), &[256], GgmlType::F32)
            .expect("new");
    }
    let bytes = file(writer, &[1024; 3]);
    let whole = read(&bytes);
    let list = whole
        .metadata()
        .offset("tokenizer.ggml.tokens")
        .expect("there") as usize
        + 30;
    let data = whole.tensors()[0].offset() as usize;
    let path = Path::new("test.gguf");
    for len in 24..bytes.len() {
        let part = &bytes[..len];
        assert!(Gguf::from_bytes(path, part).is_err(), "{len}: not whole");
        let head = Gguf::head_from_bytes(path, part).expect("the head is good");
        let cut = head.cut().expect("not whole");
        assert_eq!(cut.have, len as u64);
        assert!(cut.missing() > 0 && cut.at >= 24, "{cut}");
        if len >= data {
            assert_eq!(head.tensors().len(), 3, "{len}: the list is whole");
            assert_eq!((cut.exact, cut.need), (true, bytes.len() as u64));
            for t in head.tensors() {
                let here = t.offset() + t.n_bytes() <= len as u64;
                let expected = if here { 1024 } else { 0 };
                assert_eq!(head.bytes(t).len(), expected, "{len}: {}", t.name);
            }
        } else if len < list {
            assert_eq!(head.tensors().len(), 0, "{len}: within the keys");
        } else {
            assert_eq!(head.metadata().len(), 2, "{len}: the keys are whole");
        }
    }
    assert!(
        Gguf::head_from_bytes(path, &bytes[..])
            .expect("whole")
            .cut()
            .is_none()
    );
}

#[test]
fn what_is_no_model_file_says_so() {
    let dir = Dir::new("none");
    let told = Gguf::open(&dir.0).expect_err("a directory").to_string();
    assert!(told.contains("directory"), "{told}");
    let told = Gguf::open(&dir.0.join("no.gguf"))
        .expect_err("missing")
        .to_string();
    assert!(told.contains("no.gguf: cannot open"), "{told}");
    let told = Gguf::open(&dir.file("e.gguf", b""))
        .expect_err("empty")
        .to_string();
    assert!(told.contains("found an empty file"), "{told}");
    for (bytes, word) in [
        (
            &b"version https://git-lfs.github.com/spec/v1\n"[..],
            "git lfs pull",
        ),
        (
            b"PK\x03\x04\x14\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            "zip",
        ),
        (b"<!DOCTYPE html><html><head></head></html>", "web page"),
        (
            b"\x40\0\0\0\0\0\0\0{\"__metadata__\":{}}      ",
            "safetensors",
        ),
        (b"tjgg\x03\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "GGJT"),
    ] {
        let told = Gguf::open(&dir.file("x.gguf", bytes))
            .expect_err("no GGUF")
            .to_string();
        assert!(told.contains(word), "{told}");
    }
}

fn scalar() -> impl Strategy<Value = u64> {
    prop_oneof![any::<u64>(), 0..300_u64]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn anything_written_is_read_back(
        numbers in prop::collection::vec(scalar(), 0..6),
        words in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..12), 0..6),
        shapes in prop::collection::vec((0..4_u64, prop::collection::vec(0..4_u64, 0..4), 0..GgmlType::ALL.len()), 0..6),
        shift in 0..8_u32,
    ) {
        let mut writer = Writer::new();
        writer.align(1 << shift).expect("a power of two");
        for (i, n) in numbers.iter().enumerate() {
            writer.key(&format!("n{i}"), *n).expect("new");
        }
        writer.array("numbers", &numbers).expect("new");
        writer.array("words", &words).expect("new");
        for (i, word) in words.iter().enumerate() {
            writer.key(&format!("w{i}"), word.clone()).expect("new");
        }
        let mut sizes = vec![];
        for (i, (blocks, outer, ty)) in shapes.iter().enumerate() {
            let ty = GgmlType::ALL[*ty];
            let mut dims = outer.clone();
            dims.truncate(3);
            dims.insert(0, blocks * ty.block() as u64);
            writer.tensor(&format!("t{i}"), &dims, ty).expect("whole blocks");
            let rows: u64 = dims[1..].iter().product();
            sizes.push((rows * blocks) as usize * ty.block_bytes());
        }
        let bytes = file(writer, &sizes);
        let model = read(&bytes);
        let meta = model.metadata();
        for (i, n) in numbers.iter().enumerate() {
            prop_assert_eq!(meta.need_u64(&format!("n{i}")).expect("a number"), *n);
        }
        let read_words: Vec<&[u8]> = meta.strings("words").expect("strings").expect("there").collect();
        prop_assert_eq!(&read_words, &words);
        for (i, info) in model.tensors().iter().enumerate() {
            let data = model.bytes(info);
            prop_assert_eq!(data.len(), sizes[i]);
            prop_assert!(data.iter().all(|&b| usize::from(b) == i + 1));
        }
        // Copied key by key, it is the same file.
        let mut copy = Writer::new();
        copy.align(1 << shift).expect("a power of two");
        for (key, value) in meta.iter().filter(|(key, _)| *key != "general.alignment") {
            copy.copy(key, value).expect("new");
        }
        for info in model.tensors() {
            copy.tensor(&info.name, info.shape(), info.ty).expect("as it was");
        }
        prop_assert_eq!(file(copy, &sizes), bytes);
    }
}
