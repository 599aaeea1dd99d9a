//! A prompt from a file of an earlier run: the same text to the last bit, and never that of another file.

#[path = "cli/program.rs"]
#[expect(dead_code, reason = "the tests of other commands use the rest")]
mod program;
#[path = "cli/taught.rs"]
#[expect(dead_code, reason = "answers are compared with one another")]
mod taught;

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use program::{Folder, Ran, wattle};
use taught::gguf;
use wattle::Model;
use wattle::generate::{
    Forward, GenerateOptions, Generation, PromptCache, Session, SessionOptions, Token, prompt_cache,
};
use wattle::load::LoadOptions;
use wattle::model::CacheType;
use wattle::sample::SamplerOptions;
use wattle_kernels::Isa;

const MODELS: [&str; 2] = ["tiny-chat", "tiny-llama"];

fn load(path: impl AsRef<Path>, isa: Isa) -> Model {
    let options = LoadOptions {
        threads: Some(1),
        isa: Some(isa.name().to_owned()),
        ..LoadOptions::default()
    };
    Model::load_with(path, &options).expect("a tiny model loads")
}

/// Passes of 70 tokens build keys and values, and the last one of a prompt, which is shorter, does not.
fn session(model: &Model, cache_type: CacheType) -> Session<'_> {
    let options = SessionOptions {
        ctx: Some(400),
        batch: 70,
        cache_type,
    };
    Session::new(model, &options).expect("a session")
}

fn text(n: u32) -> Vec<u32> {
    (0..n).map(|i| 3 + (7 * i + i * i / 11) % 200).collect()
}

/// Six tokens after `rest`, with their log-probabilities.
fn answer(session: &mut Session<'_>, rest: &[u32]) -> Vec<Token> {
    let mut sampler = session
        .sampler(&SamplerOptions::greedy())
        .expect("a sampler");
    let options = GenerateOptions {
        n: Some(6),
        logprobs: true,
        shift: None,
    };
    let mut go_on = |_, _| ControlFlow::Continue(());
    let answer = Generation::new(session, rest, &mut sampler, &[], options, &mut go_on);
    answer
        .expect("an answer")
        .map(|token| token.expect("a token"))
        .collect()
}

#[test]
fn a_restored_run_is_the_computed_one() {
    let folder = Folder::new("prompt-bits");
    // The same prompt, a longer one, and others that begin alike, or shorter ones, or that do not.
    let prompts = [
        (230, 230, 210),
        (300, 141, 140),
        (210, 210, 140),
        (300, 300, 210),
        (211, 211, 210),
        (100, 100, 70),
        (230, 139, 70),
        (230, 69, 0),
        (5, 5, 0),
    ];
    for name in MODELS {
        for isa in Isa::available() {
            let model = load(gguf(name), isa);
            for &cache_type in CacheType::ALL {
                // Which passes are taken is decided above the kernels; their bits are for each of them to keep.
                let some = match (isa == Isa::best(), cache_type) {
                    (true, CacheType::Q8) => prompts.len(),
                    (true, _) => 3,
                    (false, _) => 1,
                };
                let path = folder.path.join("cache");
                let _ = fs::remove_file(&path);
                let mut first = session(&model, cache_type);
                let cache = PromptCache::new(&path, &first);
                assert!(!cache.load(&mut first).expect("no file"), "{name}");
                answer(&mut first, &text(230));
                assert!(cache.save(&first, 230).expect("written"), "{name}");
                for (n, alike, known) in prompts.into_iter().take(some) {
                    let mut prompt = text(n);
                    for id in &mut prompt[alike..] {
                        *id += 1;
                    }
                    let mut restored = session(&model, cache_type);
                    assert!(cache.load(&mut restored).expect("a file"), "{name}");
                    assert_eq!(restored.tokens(), &text(230)[..210], "{name}");
                    let rest = restored.resume_passes(&prompt);
                    assert_eq!(prompt.len() - rest.len(), known, "{name} {n} {alike}");
                    let got = answer(&mut restored, rest);
                    let want = answer(&mut session(&model, cache_type), &prompt);
                    let isa = isa.name();
                    assert_eq!(got, want, "{name} {isa} {} {n}", cache_type.name());
                }
            }
        }
    }
}

#[test]
fn less_than_a_pass_is_not_kept() {
    let folder = Folder::new("prompt-short");
    let model = load(gguf("tiny-chat"), Isa::best());
    let mut short = session(&model, CacheType::Q8);
    let cache = PromptCache::new(&folder.path.join("cache"), &short);
    short.feed(&text(69)).expect("a pass");
    assert!(!cache.save(&short, 69).expect("nothing"), "69 of 70 tokens");
    assert!(!cache.path().exists(), "no file");
}

#[test]
fn every_changed_byte_and_every_cut_is_found() {
    let folder = Folder::new("prompt-damaged");
    for name in MODELS {
        let model = load(gguf(name), Isa::best());
        let mut first = session(&model, CacheType::Q8);
        let cache = PromptCache::new(&folder.path.join(name), &first);
        first.feed(&text(70)).expect("a pass");
        assert!(cache.save(&first, 70).expect("written"), "{name}");
        let whole = fs::read(cache.path()).expect("the file");
        let mut session = session(&model, CacheType::Q8);
        let mut refused = |bytes: &[u8]| {
            let fault = cache.restore(bytes, &mut session).expect_err("refused");
            let told = fault.to_string();
            assert!(told.contains("the prompt is computed again"), "{told}");
            assert!(session.is_empty() && session.tokens().is_empty(), "{told}");
            told
        };
        let every = (whole.len() / 500).max(1);
        for at in (0..whole.len()).filter(|at| *at < 600 || at % every == 0) {
            for flip in [1, 0x80] {
                let mut bytes = whole.clone();
                bytes[at] ^= flip;
                refused(&bytes);
            }
            refused(&whole[..at]);
        }
        let mut longer = whole.clone();
        longer.push(0);
        refused(&longer);
        refused(b"hello");

        // A file that was made to deceive has a checksum that is right.
        let mut deceived = |at: usize, bytes: &[u8]| {
            let mut file = whole.clone();
            file[at..at + bytes.len()].copy_from_slice(bytes);
            let sum = prompt_cache::checksum(&file);
            file[40..48].copy_from_slice(&sum);
            refused(&file)
        };
        for n in [0, 69, 71, u64::MAX / 4, u64::MAX] {
            deceived(24, &n.to_le_bytes());
            deceived(32, &n.to_le_bytes());
        }
        deceived(20, &u32::MAX.to_le_bytes());
        let told = deceived(16, &2_u32.to_le_bytes());
        assert!(
            told.contains("expected version 1, found version 2"),
            "{told}"
        );
        let terms = u32::from_le_bytes([20, 21, 22, 23].map(|i| whole[i])) as usize;
        let told = deceived(48 + terms, &u32::MAX.to_le_bytes());
        assert!(told.contains("id 4294967295"), "{told}");
        // Tokens and rows that add up to the length, but not to each other.
        let mut file = whole.clone();
        file[24..32].copy_from_slice(&66_u64.to_le_bytes());
        let rows = u64::from_le_bytes([32, 33, 34, 35, 36, 37, 38, 39].map(|i| whole[i])) + 16;
        file[32..40].copy_from_slice(&rows.to_le_bytes());
        let sum = prompt_cache::checksum(&file);
        file[40..48].copy_from_slice(&sum);
        assert!(refused(&file).contains("bytes of rows"), "{name}");
        cache
            .restore(&whole, &mut session)
            .expect("the file itself");
    }
}

#[test]
fn a_file_of_another_kind_is_refused_by_name() {
    let folder = Folder::new("prompt-other");
    let path = folder.path.join("cache");
    let model = load(gguf("tiny-chat"), Isa::best());
    let mut first = session(&model, CacheType::F16);
    first.feed(&text(70)).expect("a pass");
    let cache = PromptCache::new(&path, &first);
    assert!(cache.save(&first, 70).expect("written"), "a pass");
    let told = |mut session: Session<'_>| {
        let cache = PromptCache::new(&path, &session);
        cache.load(&mut session).expect_err("refused").to_string()
    };
    let other = load(gguf("tiny-llama"), Isa::best());
    assert!(told(session(&other, CacheType::F16)).contains("model "));
    assert!(told(session(&model, CacheType::Q8)).contains("cache "));
    let scalar = load(gguf("tiny-chat"), Isa::named("scalar").expect("everywhere"));
    if Isa::best().name() != "scalar" {
        assert!(told(session(&scalar, CacheType::F16)).contains("\"isa scalar\""));
    }
    let options = |ctx, batch| SessionOptions {
        ctx: Some(ctx),
        batch,
        cache_type: CacheType::F16,
    };
    let smaller = Session::new(&model, &options(400, 35)).expect("a session");
    assert!(told(smaller).contains("expected \"batch 35\", found \"batch 70\""));
    // A copy is another file: its rows may be anything.
    let copy = folder.path.join("copy.gguf");
    fs::copy(gguf("tiny-chat"), &copy).expect("a copy");
    assert!(told(session(&load(&copy, Isa::best()), CacheType::F16)).contains("model "));
    assert!(told(session(&load(&copy, Isa::best()), CacheType::F16)).contains("computed again"));
}

/// Runs a prompt of some 90 tokens in passes of 32.
fn run(file: &Path, more: &[&str]) -> Ran {
    let prompt = "The history of bread begins in the north. ".repeat(4);
    let (model, file) = (gguf("tiny-chat"), file.to_str().expect("a plain path"));
    let args = [
        "run",
        "-m",
        &model,
        "-p",
        &prompt,
        "-n",
        "16",
        "-b",
        "32",
        "--seed",
        "7",
        "--repeat-penalty",
        "1.3",
        "--temp",
        "3",
        "--prompt-cache",
        file,
    ];
    wattle([&args[..], more].concat())
}

#[test]
fn the_program_keeps_and_takes_a_prompt() {
    let folder = Folder::new("prompt-run");
    let file: PathBuf = folder.path.join("cache");
    let first = run(&file, &[]);
    assert_eq!(first.code, Some(0), "{first:?}");
    assert!(!first.stderr.contains("from"), "{first:?}");
    let written = fs::read(&file).expect("the file");
    let again = run(&file, &[]);
    assert_eq!(again.stdout, first.stdout, "{again:?}");
    assert!(
        again.stderr.contains("tokens of the prompt from"),
        "{again:?}"
    );
    assert_eq!(
        fs::read(&file).expect("the file"),
        written,
        "not written again"
    );
    let samples = run(&file, &["--samples", "2"]);
    let line = samples.stdout.lines().next().expect("a sample");
    let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
    assert_eq!(line["text"], first.stdout.as_str(), "{samples:?}");
    assert!(
        samples.stderr.contains("tokens of the prompt from"),
        "{samples:?}"
    );

    // A damaged file: told of, computed, and replaced, unless it is only to be read.
    let mut damaged = written.clone();
    damaged[written.len() / 2] ^= 4;
    for (more, after) in [(&["--prompt-cache-ro"][..], &damaged), (&[], &written)] {
        fs::write(&file, &damaged).expect("a file");
        let ran = run(&file, more);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert_eq!(ran.stdout, first.stdout, "{ran:?}");
        assert!(
            ran.stderr.contains("warning: ") && ran.stderr.contains("computed again"),
            "{ran:?}"
        );
        assert!(fs::read(&file).expect("the file") == *after, "{more:?}");
    }
    // What is no file is told of twice.
    let ran = run(&folder.path, &[]);
    assert_eq!((ran.code, &ran.stdout), (Some(0), &first.stdout), "{ran:?}");
    assert_eq!(ran.stderr.matches("warning: ").count(), 2, "{ran:?}");
    let chat = [
        "run",
        "-m",
        &gguf("tiny-chat"),
        "--cnv",
        "-p",
        "x",
        "--prompt-cache",
        "x",
    ];
    wattle(chat).fails(2, &["--prompt-cache", "chat"]);
}
