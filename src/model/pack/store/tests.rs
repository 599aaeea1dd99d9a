//! Files of packed weights: what was written comes back, and nothing else is taken for it.

use std::fs::{File, FileTimes, OpenOptions};
use std::os::unix::fs::FileExt;
use std::time::SystemTime;

use proptest::prelude::*;

use super::*;

/// A folder of one test, removed when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("wattle-store-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).expect("a folder");
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.0);
    }
}

fn pool() -> Pool {
    Pool::start(2, None).expect("two threads")
}

fn tiles(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|i| (i % 251) as u8).collect()
}

/// What is said of the file; empty when it is taken.
fn told(store: &Store, pool: &Pool) -> String {
    match store.open(pool) {
        Ok(found) => {
            assert!(found.is_some(), "no file");
            String::new()
        }
        Err(fault) => fault.to_string(),
    }
}

#[test]
fn tiles_come_back_whatever_their_number_of_pieces() {
    let (folder, pool) = (Folder::new("back"), pool());
    for bytes in [1, 4096, PIECE, PIECE + 1] {
        let store = Store::new(&folder.0.join("made/here"), "a/b", 7, bytes);
        assert!(store.open(&pool).expect("no fault").is_none(), "no file");
        let tiles = tiles(bytes);
        store.write(&tiles, &pool).expect("written");
        let (map, at) = store.open(&pool).expect("sound").expect("there");
        assert!(map[at..] == tiles[..], "{bytes} bytes");
        assert!(at.is_multiple_of(PAGE), "tiles at {at}");
        fs::remove_file(store.path()).expect("one file, of that name");
    }
}

#[test]
fn a_name_is_one_of_the_file_system_whatever_the_model_is_called() {
    let name = "\u{1F33E}".repeat(100);
    let store = Store::new(Path::new("."), &name, u128::MAX, 1);
    let name = store.path().file_name().expect("a name");
    assert!(name.len() < 255, "{name:?}");
}

#[test]
fn every_changed_byte_and_every_cut_is_found() {
    let (folder, pool, bytes) = (Folder::new("bytes"), pool(), 300);
    let store = Store::new(&folder.0, "a", 7, bytes);
    store.write(&tiles(bytes), &pool).expect("written");
    let whole = fs::read(store.path()).expect("a file");
    let file = OpenOptions::new().write(true).open(store.path());
    let file = file.expect("it may be written");
    // The zeros between the head and the tiles are all alike: every 997th stands for them.
    let zeros = (TABLE + 8..store.start()).step_by(997);
    for at in (0..TABLE + 8)
        .chain(zeros)
        .chain(store.start()..whole.len())
    {
        let put = |byte: u8| file.write_all_at(&[byte], at as u64).expect("written");
        put(whole[at] ^ 1 << (at % 8));
        let said = told(&store, &pool);
        assert!(said.contains("expected"), "byte {at}: {said:?}");
        assert!(!said.contains('\n'), "{said:?}");
        put(whole[at]);
    }
    assert_eq!(told(&store, &pool), "", "as it was");
    for length in (0..TABLE + 9).chain([store.start(), whole.len() - 1, whole.len() + 1]) {
        file.set_len(length as u64).expect("cut");
        let said = told(&store, &pool);
        assert!(said.contains("expected"), "{length} bytes: {said:?}");
    }
    store.write(&tiles(bytes), &pool).expect("written anew");
    assert_eq!(told(&store, &pool), "", "as it was");
}

#[test]
fn a_fault_says_what_the_file_is() {
    let (folder, pool, bytes) = (Folder::new("what"), pool(), PIECE + 10);
    let store = Store::new(&folder.0, "a", 7, bytes);
    let other = Store {
        key: 8,
        path: store.path.clone(),
        bytes,
    };
    other.write(&tiles(bytes), &pool).expect("written");
    let said = told(&store, &pool);
    assert!(said.contains("those of another one"), "{said}");
    assert!(said.contains("packed again"), "{said}");

    store.write(&tiles(bytes), &pool).expect("written");
    let whole = fs::read(store.path()).expect("a file");
    for (at, part) in [
        (0, "a file of packed weights, found another file"),
        (16, "version 1, found version 0"),
        (40, "another one"),
        (TABLE, "header: expected the bytes that were written"),
        (
            store.start() + PIECE,
            &format!("packed weights at byte {}", store.start() + PIECE),
        ),
    ] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(store.path(), bytes).expect("written");
        let said = told(&store, &pool);
        assert!(said.contains(part), "{part:?} is not in {said:?}");
    }
    fs::write(store.path(), &whole[..whole.len() - 1]).expect("written");
    let said = told(&store, &pool);
    let sizes = format!(
        "expected {} bytes, found {} bytes",
        whole.len(),
        whole.len() - 1
    );
    assert!(said.contains(&sizes), "{said}");
}

#[test]
fn what_a_killed_process_left_is_removed_a_day_later() {
    let (folder, pool) = (Folder::new("left"), pool());
    let long_ago = SystemTime::now() - LEFT_BEHIND - Duration::from_secs(60);
    for (name, old) in [
        (".wattle-1-0.part", true),
        (".wattle-2-0.part", false),
        ("mine.part", true),
    ] {
        let file = File::create(folder.0.join(name)).expect("a file");
        if old {
            let times = FileTimes::new().set_modified(long_ago);
            file.set_times(times).expect("its owner may");
        }
    }
    let store = Store::new(&folder.0, "a", 7, 1);
    store.write(&[1], &pool).expect("written");
    let there = [".wattle-1-0.part", ".wattle-2-0.part", "mine.part"]
        .map(|name| folder.0.join(name).exists());
    assert_eq!(there, [false, true, true]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is in the head, with a right checksum too, a file is taken only as it was written.
    #[test]
    fn no_other_head_is_taken(
        changes in prop::collection::vec((0..CHECK, any::<u8>()), 1..9),
        sealed in any::<bool>(),
    ) {
        let (folder, pool, bytes) = (Folder::new("head"), pool(), 100);
        let store = Store::new(&folder.0, "a", 7, bytes);
        store.write(&tiles(bytes), &pool).expect("written");
        let whole = fs::read(store.path()).expect("a file");
        let mut changed = whole.clone();
        for (at, byte) in changes {
            changed[at] = byte;
        }
        if sealed {
            let sum = check(&changed[..store.start()]);
            changed[CHECK..TABLE].copy_from_slice(&sum);
        }
        fs::write(store.path(), &changed).expect("written");
        prop_assert_eq!(told(&store, &pool).is_empty(), changed == whole);
    }
}
