//! A forward pass allocates nothing, on no thread, once the threads have their scratch and the logits their rows; but for a block of 64
//! tokens in each layer's cache, when the tokens need one.
//!
//! There is one test in this file, for its allocator counts what the whole process does.

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use rustix::process::getpid;
use rustix::thread::gettid;
use wattle::load::{LoadOptions, Model};
use wattle::model::{CacheType, Logits};
use wattle::pool::Pool;

/// Pieces of memory that were asked for, by any thread but the first, which is the harness's: where the test takes a minute, it says so, and
/// asks for memory to say it.
static ASKED: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: every call is passed on unchanged to the system's allocator, which keeps the contract; counting neither
// allocates nor unwinds. What is not defined here goes through `alloc` and `dealloc`.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if gettid() != getpid() {
            ASKED.fetch_add(1, SeqCst);
        }
        // SAFETY: the caller's promise on `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise on `ptr` and `layout` is passed on; `System` made `ptr`.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Most tokens of a pass here.
const BATCH: usize = 96;

/// Latent attention, dense layers and mixtures of experts; grouped-query attention; a choice of rows; networks without a gate.
const MODELS: [&str; 5] = [
    "src/demo/wattle-tales.gguf",
    "tests/data/tiny-chat.gguf",
    "tests/data/tiny-llama.gguf",
    "tests/data/hf/v32.gguf",
    "tests/data/hf/plm.gguf",
];

#[test]
fn a_pass_allocates_nothing() {
    // A single test may run on the first thread.
    let test = std::thread::spawn(|| {
        for file in MODELS {
            passes(file, false, CacheType::Q8);
            passes(file, false, CacheType::F16);
            passes(file, true, CacheType::F32);
        }
    });
    if let Err(payload) = test.join() {
        std::panic::resume_unwind(payload);
    }
}

/// Waits until each thread of `pool` has come to work once: a thread that starts allocates.
fn started(pool: &Pool) {
    const WORD: usize = usize::BITS as usize;
    let all = (0..pool.threads()).fold(0_usize, |all, worker| all | 1 << (worker % WORD));
    let seen = AtomicUsize::new(0);
    while seen.load(SeqCst) != all {
        pool.run(64, |_, worker| {
            seen.fetch_or(1 << (worker % WORD), SeqCst);
            std::thread::yield_now();
        });
    }
}

/// Prefill and decoding with every kind of logits, after passes that wanted the most of each.
fn passes(file: &str, no_repack: bool, cache: CacheType) {
    let options = LoadOptions {
        no_repack,
        ..LoadOptions::default()
    };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let model = Model::load_with(path, &options).expect("a model of the repository");
    started(model.pool());
    let transformer = model.transformer();
    let mut state = transformer.state(256, cache, BATCH).expect("a state");
    let vocab = transformer.config().n_vocab as u32;
    let tokens: Vec<u32> = (0..BATCH as u32)
        .map(|i| (3 + 7 * i % 200) % vocab)
        .collect();
    let mut pass = |n: usize, want: Logits| {
        let before = ASKED.load(SeqCst);
        let logits = transformer.forward(model.pool(), &tokens[..n], &mut state, want);
        let asked = ASKED.load(SeqCst) - before;
        let sum: f32 = logits.expect("a pass").iter().sum();
        assert!(sum.is_finite(), "{file}: the sum of the logits is {sum}");
        if state.len() > BATCH {
            state.truncate(8);
        }
        asked
    };

    assert!(
        pass(BATCH, Logits::All) > 0,
        "{file}: what grows is counted"
    );
    for want in [Logits::None, Logits::Last, Logits::All] {
        for n in [1, 5, BATCH] {
            assert_eq!(pass(n, want), 0, "{file}: {n} tokens, {want:?}");
        }
    }

    // Two blocks are there. The third is a head that counts who shares it, and one piece of memory a layer, or two with scales
    // beside the bytes.
    state.truncate(0);
    let metadata = model.gguf().metadata();
    let key = |name: &str| metadata.u64(&format!("{}.{name}", transformer.config().arch));
    let number = |name: &str| key(name).expect("a number").unwrap_or(0) as usize;
    // Layers that predict further tokens are not run.
    let layers = number("block_count") - number("nextn_predict_layers");
    let latent = key("attention.kv_lora_rank").expect("a number").is_some();
    let pieces = if latent && cache == CacheType::Q8 {
        3
    } else {
        2
    };
    // The keys that sparse attention chooses by grow like rows of floats, where it ever has to choose.
    let pieces = match number("attention.indexer.top_k") {
        1..256 => pieces + 2,
        _ => pieces,
    };
    for (n, expected) in [
        (BATCH, 0),
        (128 - BATCH, 0),
        (1, pieces * layers),
        (BATCH - 33, 0),
    ] {
        let before = ASKED.load(SeqCst);
        let pass = transformer.forward(model.pool(), &tokens[..n], &mut state, Logits::Last);
        let asked = ASKED.load(SeqCst) - before;
        assert!(pass.is_ok(), "{file}: {n} tokens of 256");
        assert_eq!(asked, expected, "{file}: growth with {n} more tokens");
    }
}
