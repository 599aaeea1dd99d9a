//! Packed weights from a file of an earlier start: the same logits to the last bit, and never those of another model.

#[path = "cli/program.rs"]
mod program;
#[path = "cli/taught.rs"]
mod taught;

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use program::{Folder, wattle};
use taught::{BREAD, answer, gguf};
use wattle::Model;
use wattle::load::LoadOptions;
use wattle::model::{CacheType, Logits, PackCache, PackState};
use wattle_kernels::Isa;

const MODELS: [&str; 2] = ["tiny-chat", "tiny-llama"];

fn load(path: impl AsRef<Path>, isa: Isa, folder: Option<&Path>) -> Model {
    let options = LoadOptions {
        threads: Some(1),
        isa: Some(isa.name().to_owned()),
        pack_cache: folder.map(Path::to_path_buf),
        ..LoadOptions::default()
    };
    Model::load_with(path, &options).expect("a tiny model loads")
}

fn cache(model: &Model) -> &PackCache {
    model.pack_cache().expect("a file was asked for")
}

/// The logits after some tokens, as bits.
fn logits(model: &Model) -> Vec<u32> {
    let (transformer, pool) = (model.transformer(), model.pool());
    let mut state = transformer
        .state(8, CacheType::F32, 8)
        .expect("a small state");
    let logits = transformer.forward(pool, &[1, 5, 9, 2], &mut state, Logits::All);
    let logits = logits.expect("the tokens fit").iter();
    logits.map(|x| x.to_bits()).collect()
}

fn names(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder");
    entries
        .map(|entry| entry.expect("an entry").path())
        .collect()
}

#[test]
fn one_file_gives_the_same_logits_on_every_instruction_set() {
    for model in MODELS {
        let folder = Folder::new(&format!("pack-{model}"));
        for (i, isa) in Isa::available().enumerate() {
            let packed = logits(&load(gguf(model), isa, None));
            let kept = load(gguf(model), isa, Some(&folder.path));
            let state = cache(&kept).state;
            match i {
                0 => assert!(matches!(state, PackState::Written(1..)), "{state:?}"),
                _ => assert_eq!(state, PackState::Mapped, "{}", isa.name()),
            }
            assert!(cache(&kept).faults.is_empty(), "{:?}", cache(&kept));
            assert!(packed == logits(&kept), "{model} on {}", isa.name());
            assert_eq!(names(&folder.path), [cache(&kept).file.clone()]);
        }
        // There may be one instruction set only.
        let again = load(gguf(model), Isa::best(), Some(&folder.path));
        assert_eq!(cache(&again).state, PackState::Mapped);
        assert!(
            logits(&again) == logits(&load(gguf(model), Isa::best(), None)),
            "{model}"
        );
    }
}

#[test]
fn a_damaged_file_is_told_of_and_written_anew() {
    let folder = Folder::new("pack-damaged");
    let first = load(gguf("tiny-chat"), Isa::best(), Some(&folder.path));
    let (want, file) = (logits(&first), cache(&first).file.clone());
    drop(first);
    let whole = fs::read(&file).expect("the file");
    let mut other = whole.clone();
    let last = other.len() - 1;
    other[last] ^= 0x40;
    for bytes in [&other[..], &whole[..100], &whole[..last], b"", b"hello"] {
        // Removed first: the file may be mapped still.
        fs::remove_file(&file).expect("removed");
        fs::write(&file, bytes).expect("written");
        let model = load(gguf("tiny-chat"), Isa::best(), Some(&folder.path));
        let found = cache(&model);
        assert_eq!(found.faults.len(), 1, "{found:?}");
        assert!(matches!(found.state, PackState::Written(_)), "{found:?}");
        assert!(logits(&model) == want, "the weights");
        assert!(fs::read(&file).expect("the file") == whole, "written anew");
    }
    fs::remove_file(&file).expect("removed");
    let model = load(gguf("tiny-chat"), Isa::best(), Some(&folder.path));
    assert!(
        matches!(cache(&model).state, PackState::Written(_)),
        "no file"
    );
    assert!(cache(&model).faults.is_empty(), "{:?}", cache(&model));
}

#[test]
fn a_changed_model_file_has_another_one() {
    let folder = Folder::new("pack-changed");
    let bytes = fs::read(gguf("tiny-llama")).expect("a model");
    let model = folder.file("m.gguf", &bytes);
    let kept = folder.path.join("kept");
    let first = load(&model, Isa::best(), Some(&kept));
    let again = load(&model, Isa::best(), Some(&kept));
    assert_eq!(cache(&again).state, PackState::Mapped);
    let name = cache(&first).file.file_name().expect("a name");
    let name = name.to_string_lossy().into_owned();
    assert!(
        name.starts_with("m-") && name.ends_with(".wattle-tiles"),
        "{name}"
    );

    // The same bytes in another file, and other bytes in the same one with the time put back.
    let copy = folder.file("copy.gguf", &bytes);
    fs::rename(copy, &model).expect("renamed");
    let second = load(&model, Isa::best(), Some(&kept));
    assert!(
        matches!(cache(&second).state, PackState::Written(_)),
        "a copy"
    );
    drop((first, again, second));
    let time = fs::metadata(&model).and_then(|found| found.modified());
    let tensor = {
        let gguf = wattle::gguf::Gguf::open(&model).expect("a model");
        let tensor = gguf.tensor("blk.0.ffn_down.weight").expect("a tensor");
        gguf.bytes(tensor).mapping().expect("mapped").1
    };
    let mut changed = bytes;
    changed[tensor].fill(0);
    fs::write(&model, &changed).expect("written");
    let file = fs::OpenOptions::new().write(true).open(&model);
    file.and_then(|file| file.set_modified(time?))
        .expect("its owner may");
    let third = load(&model, Isa::best(), Some(&kept));
    assert!(
        matches!(cache(&third).state, PackState::Written(_)),
        "changed"
    );
    assert!(
        logits(&third) == logits(&load(&model, Isa::best(), None)),
        "its weights"
    );
    assert_eq!(names(&kept).len(), 3);
}

#[test]
fn where_nothing_can_be_written_the_model_runs_all_the_same() {
    let folder = Folder::new("pack-nowhere");
    let want = logits(&load(gguf("tiny-chat"), Isa::best(), None));
    let file = folder.file("a", b"a file");
    // In /proc not even root can make a file or a folder.
    for (place, part) in [
        (file.clone(), "a: cannot make the folder"),
        (file.join("b"), "cannot make the folder"),
        (
            "/proc/wattle".into(),
            "/proc/wattle: cannot make the folder",
        ),
        ("/proc/self".into(), "cannot create"),
    ] {
        let model = load(gguf("tiny-chat"), Isa::best(), Some(&place));
        let found = cache(&model);
        assert_eq!(found.state, PackState::Missing, "{found:?}");
        let said: Vec<_> = found.faults.iter().map(ToString::to_string).collect();
        assert!(said.iter().any(|fault| fault.contains(part)), "{said:?}");
        assert!(logits(&model) == want, "the weights");
    }
    // A folder has the name that the file should have.
    let kept = folder.path.join("kept");
    let name = cache(&load(gguf("tiny-chat"), Isa::best(), Some(&kept)))
        .file
        .clone();
    fs::remove_file(&name).expect("removed");
    fs::create_dir_all(name.join("in the way")).expect("made");
    let model = load(gguf("tiny-chat"), Isa::best(), Some(&kept));
    assert_eq!(cache(&model).state, PackState::Missing);
    assert!(logits(&model) == want, "the weights");
}

#[test]
fn several_may_start_at_a_time() {
    let folder = Folder::new("pack-several");
    let want = logits(&load(gguf("tiny-llama"), Isa::best(), None));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..3 {
                    let model = load(gguf("tiny-llama"), Isa::best(), Some(&folder.path));
                    assert!(cache(&model).faults.is_empty(), "{:?}", cache(&model));
                    assert!(logits(&model) == want, "the weights");
                }
            });
        }
    });
    assert_eq!(names(&folder.path).len(), 1, "one file, and no part of one");
    let model = load(gguf("tiny-llama"), Isa::best(), Some(&folder.path));
    assert_eq!(cache(&model).state, PackState::Mapped);
}

#[test]
fn the_program_says_when_it_writes_one_and_when_one_is_bad() {
    let folder = Folder::new("pack-program");
    let (model, kept) = (gguf("tiny-llama"), folder.path.join("kept"));
    let kept = kept.to_str().expect("a plain path");
    let run = || {
        wattle([
            "run",
            "--temp",
            "0",
            "-m",
            &model,
            "-p",
            BREAD,
            "--pack-cache",
            kept,
        ])
    };
    let taught = answer("tiny-llama", &[]);
    let first = run();
    assert_eq!((first.code, &first.stdout), (Some(0), &taught), "{first:?}");
    assert!(
        first.stderr.contains("note: the packed weights are kept"),
        "{first:?}"
    );
    let second = run();
    assert_eq!(
        (second.code, &second.stdout),
        (Some(0), &taught),
        "{second:?}"
    );
    assert_eq!(second.stderr.lines().count(), 1, "{second:?}");

    let file = names(Path::new(kept)).pop().expect("a file");
    fs::write(&file, "not this").expect("written");
    let third = run();
    assert_eq!((third.code, &third.stdout), (Some(0), &taught), "{third:?}");
    let warning = third
        .stderr
        .lines()
        .find(|line| line.starts_with("wattle: warning: "));
    let warning = warning.expect("a warning");
    assert!(
        warning.contains("expected a file of packed weights"),
        "{warning}"
    );
    assert_eq!(run().stderr.lines().count(), 1, "mended");

    for command in ["bench", "perplexity", "score"] {
        let text = ["-p", BREAD];
        let bench = ["-p", "0", "-n", "1", "-r", "1", "--no-warmup"];
        let mut args = vec![command, "-m", &model, "--pack-cache", kept];
        args.extend(if command == "bench" {
            &bench[..]
        } else {
            &text[..]
        });
        if command == "perplexity" {
            args.extend(["-c", "8"]);
        }
        let ran = wattle(&args);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(!ran.stderr.contains("kept"), "mapped: {ran:?}");
        args.push("--no-repack");
        wattle(&args).fails(2, &["--pack-cache", "--no-repack"]);
    }
}
