//! Importance matrices written, read again, and broken in many ways.

use super::*;
use crate::os::Temp;

fn learned() -> Imatrix {
    let mut imatrix = Imatrix::new(vec!["a.txt".into()], 512);
    imatrix.add("up", 1, 3).add(0, &[1.0, 2.0, 3.0]);
    imatrix.add("up", 1, 3).add(0, &[3.0, 0.0, 1.0]);
    imatrix.add("exps", 2, 2).add(1, &[4.0, -1.0]);
    imatrix.add_chunk();
    imatrix
}

#[test]
fn importance_is_the_mean_of_squares() {
    let imatrix = learned();
    assert_eq!(imatrix.importance("up"), Some(vec![5.0, 2.0, 5.0]));
    let experts = Some(vec![1.0, 1.0, 16.0, 1.0]);
    assert_eq!(
        imatrix.importance("exps"),
        experts,
        "expert 0 was never asked"
    );
    assert_eq!(imatrix.importance("down"), None);
}

#[test]
fn what_is_saved_is_read_again() {
    let file = Temp::new("imatrix-saved", b"an older file");
    learned().save(&file.0).expect("saved");
    let read = Imatrix::open(&file.0).expect("read");
    assert_eq!(read.path(), file.0);
    assert_eq!((read.chunks(), read.chunk_size()), (1, 512));
    assert_eq!(read.datasets(), ["a.txt"]);
    assert!(read.tensors().eq(["exps", "up"]), "{read:?}");
    for name in ["exps", "up"] {
        assert_eq!(read.importance(name), learned().importance(name));
    }
}

#[test]
fn a_name_that_does_not_fit_leaves_the_older_file() {
    let file = Temp::new("imatrix-long", b"an older file");
    let mut imatrix = learned();
    imatrix.add(&"x".repeat(60), 1, 1).add(0, &[1.0]);
    let said = imatrix.save(&file.0).expect_err("too long").to_string();
    assert!(said.contains("at most 63 bytes"), "{said}");
    assert_eq!(std::fs::read(&file.0).expect("a file"), b"an older file");
}

#[track_caller]
fn refused(name: &str, bytes: &[u8], parts: &[&str]) {
    let file = Temp::new(&format!("imatrix-{name}"), bytes);
    let said = Imatrix::open(&file.0).expect_err("refused").to_string();
    for part in parts {
        assert!(said.contains(part), "{part:?} is not in {said:?}");
    }
}

fn gguf(tensors: &[(&str, &[u64], GgmlType, &[u8])]) -> Vec<u8> {
    let mut head = Writer::new();
    head.key(TYPE, "imatrix").expect("a key");
    for (name, dims, ty, _) in tensors {
        head.tensor(name, dims, *ty).expect("a tensor");
    }
    let mut body = head.start(Vec::new()).expect("in memory");
    for (.., bytes) in tensors {
        body.write(bytes).expect("in memory");
    }
    body.finish().expect("in memory")
}

#[test]
fn broken_files_are_refused() {
    let f32 = GgmlType::F32;
    refused("none", &gguf(&[]), &["in_sum2", "wattle imatrix"]);
    let lonely = gguf(&[("a.in_sum2", &[2, 1], f32, &[0; 8])]);
    refused("lonely", &lonely, &["a.in_sum2", "tensor of counts"]);
    let torn = gguf(&[
        ("a.in_sum2", &[3, 1], f32, &[0; 12]),
        ("a.counts", &[1, 2], f32, &[0; 8]),
    ]);
    refused("torn", &torn, &["3 sums, 2 counts"]);
    let half = gguf(&[
        ("a.in_sum2", &[2, 1], GgmlType::F16, &[0; 4]),
        ("a.counts", &[1, 1], f32, &[0; 4]),
    ]);
    refused("half", &half, &["expected F32, found F16"]);
    let nan = gguf(&[
        ("a.in_sum2", &[1, 1], f32, &f32::NAN.to_le_bytes()),
        ("a.counts", &[1, 1], f32, &1f32.to_le_bytes()),
    ]);
    refused("nan", &nan, &["\"a\"", "found NaN"]);
    for count in [f32::NAN, f32::INFINITY, -1.0] {
        let count = gguf(&[
            ("a.in_sum2", &[1, 1], f32, &1f32.to_le_bytes()),
            ("a.counts", &[1, 1], f32, &count.to_le_bytes()),
        ]);
        refused("count", &count, &["\"a\"", "and counts, found"]);
    }
}

#[test]
fn broken_files_of_the_older_kind_are_refused() {
    let old =
        |numbers: &[i32]| -> Vec<u8> { numbers.iter().flat_map(|n| n.to_le_bytes()).collect() };
    refused("empty", b"", &["the number of entries", "0 bytes ahead"]);
    refused("zero", &old(&[0]), &["expected an entry"]);
    refused("negative", &old(&[-1]), &["found -1"]);
    refused("text", b"hello, world, and all", &["no importance matrix"]);
    refused("name", &old(&[1, 100, 0]), &["the name of an entry"]);
    refused(
        "huge",
        &old(&[1, 0, 1, i32::MAX, 0]),
        &["expected values", "4 bytes ahead"],
    );
    refused("hollow", &old(&[1, 0, 1, 0]), &["expected values"]);
    let infinite = old(&[1, 0, 1, 1, f32::INFINITY.to_bits() as i32]);
    refused("infinite", &infinite, &["found inf"]);
}
