//! No bytes of a prompt cache make a run panic, hang, or allocate without measure, whether their checksum is right or not.
//!
//! The model is a tiny one of the repository. Run it as gguf.rs, with `prompt_cache` in its place.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use wattle::Model;
use wattle::generate::{Forward, PromptCache, Session, SessionOptions, prompt_cache};
use wattle::load::LoadOptions;
use wattle::model::CacheType;

static MODEL: LazyLock<Model> = LazyLock::new(|| {
    let options = LoadOptions {
        threads: Some(1),
        ..LoadOptions::default()
    };
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/tiny-chat.gguf");
    Model::load_with(path, &options).expect("a model of the repository")
});

fuzz_target!(|bytes: &[u8]| {
    let options = SessionOptions {
        ctx: Some(80),
        batch: 4,
        cache_type: CacheType::Q8,
    };
    let mut session = Session::new(&MODEL, &options).expect("a small session");
    let cache = PromptCache::new("fuzz".as_ref(), &session);
    if cache.restore(bytes, &mut session).is_err() {
        assert!(session.is_empty());
    }
    session.clear();

    // The same as a file of this run with rows and ids of the fuzzer's, so that it comes behind the checksum and the terms.
    session.feed(&[1, 2, 3, 4]).expect("a pass");
    let path = std::env::temp_dir().join(format!("wattle-fuzz-{}", std::process::id()));
    let whole = PromptCache::new(&path, &session);
    whole.save(&session, 4).expect("a file");
    let mut file = std::fs::read(&path).expect("the file");
    std::fs::remove_file(&path).expect("removed");
    session.clear();
    let (at, bytes) = bytes.split_at(bytes.len().min(2));
    let at = at.iter().fold(0, |at, byte| at << 8 | usize::from(*byte)) % file.len();
    for (byte, new) in file[at..].iter_mut().zip(bytes) {
        *byte ^= new;
    }
    let sum = prompt_cache::checksum(&file);
    if let Some(place) = file.get_mut(40..48) {
        place.copy_from_slice(&sum);
    }
    if whole.restore(&file, &mut session).is_ok() {
        let logits = session.last(&[5]).expect("a pass");
        std::hint::black_box(logits);
    }
});
