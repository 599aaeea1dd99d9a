//! A llama-bench that is a shell script, and its answers.

use super::*;
use std::os::unix::fs::PermissionsExt;

const DECODE: Test = Test {
    prompt: 0,
    generated: 4,
    depth: 8,
};
const SETUP: Setup = Setup {
    batch: 2048,
    ubatch: 512,
    threads: 2,
    cache: "f16",
};

fn text(test: Test, flash_attn: Option<u8>, warm_up: bool) -> String {
    arguments(SETUP, test, flash_attn, warm_up).join(" ")
}

#[test]
fn a_test_is_asked_for_in_its_own_flags() {
    assert_eq!(
        text(DECODE, Some(1), true),
        "-o json -r 1 -p 0 -n 4 -d 8 -t 2 -b 2048 -ub 512 -fa 1"
    );
    let both = Test {
        prompt: 16,
        generated: 4,
        depth: 0,
    };
    assert_eq!(
        text(both, None, false),
        "-o json -r 1 -p 0 -n 0 -pg 16,4 -t 2 -b 2048 -ub 512 --no-warmup"
    );
    let wide = Setup {
        cache: "f32",
        ..SETUP
    };
    let args = arguments(wide, both, None, true).join(" ");
    assert!(args.ends_with("-ub 512 -ctk f32 -ctv f32"), "{args}");
}

#[test]
fn answers_are_understood() {
    let answer = "loading\n[\n {\"build_commit\": \"abc\", \"build_number\": 9, \"n_prompt\": 0, \"n_gen\": 4, \"n_depth\": 8, \"avg_ts\": 12.5, \"new\": [1]}\n]\n";
    let expected = Answer {
        ts: 12.5,
        commit: "abc".into(),
        number: Some(9),
    };
    assert_eq!(understand(answer, DECODE), Ok(expected));
    let shallow = Test { depth: 0, ..DECODE };
    let old = "[{\"n_prompt\": 0, \"n_gen\": 4, \"avg_ts\": 2}]";
    let expected = Answer {
        ts: 2.0,
        commit: "unknown".into(),
        number: None,
    };
    assert_eq!(understand(old, shallow), Ok(expected));
}

#[test]
fn answers_that_are_none_are_refused_with_a_reason() {
    let record = "{\"n_prompt\": 0, \"n_gen\": 4, \"n_depth\": 8, \"avg_ts\": 1}";
    for (answer, part) in [
        (String::new(), "is no JSON"),
        ("| model | t/s |".into(), "is no JSON"),
        (format!("[{record}"), "is no JSON"),
        ("[]".into(), "found 0"),
        ("{}".into(), "found 0"),
        (format!("[{record}, {record}]"), "found 2"),
        (
            "[{\"n_gen\": 4, \"avg_ts\": 1}]".into(),
            "n_depth = 8, found 0",
        ),
        (
            record
                .replace("4", "5")
                .replace('{', "[{")
                .replace('}', "}]"),
            "n_gen = 4, found 5",
        ),
        (
            format!("[{}]", record.replace("\"avg_ts\": 1", "\"avg_ts\": 0")),
            "no avg_ts",
        ),
        (
            format!("[{}]", record.replace("avg_ts", "avg_s")),
            "no avg_ts",
        ),
    ] {
        let told = understand(&answer, DECODE).expect_err(&answer);
        assert!(told.contains(part), "{answer}: {told}");
    }
}

#[test]
fn the_last_words_are_few() {
    let said: String = (0..20).map(|i| format!("line {i}\n\n")).collect();
    assert_eq!(
        last_words(&said),
        "; it said:\n  line 15\n  line 16\n  line 17\n  line 18\n  line 19"
    );
    assert_eq!(last_words(" \n"), ", and said nothing");
    let long = vec![b'x'; 5 * WORDS_BYTES];
    let kept = end_of(&long[..]).len();
    assert!(
        (WORDS_BYTES..=2 * WORDS_BYTES + 4096).contains(&kept),
        "{kept}"
    );
}

/// A program that is this script, removed at the end.
struct Script(PathBuf);

impl Script {
    fn new(name: &str, script: &str) -> Self {
        let name = format!("wattle-rival-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("room");
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&path, mode).expect("ours");
        Self(path)
    }

    fn run(&self, go_on: &mut dyn FnMut() -> ControlFlow<()>) -> Result<Option<Answer>> {
        let rival = Rival {
            program: self.0.clone(),
            args: vec!["-mla".into(), "3".into()],
            cores: vec![0],
        };
        let model = Path::new("a model.gguf");
        loop {
            let ran = rival.repetition(model, SETUP, DECODE, Some(0), true, go_on);
            // A process that another test has just forked may still hold the script open for writing.
            match ran {
                Err(error) if error.to_string().contains("Text file busy") => thread::yield_now(),
                ran => return ran,
            }
        }
    }

    fn told(&self) -> String {
        let ran = self.run(&mut || ControlFlow::Continue(()));
        ran.expect_err("a fault").to_string()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _gone = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_program_is_run_and_understood() {
    let script = Script::new(
        "good",
        "test \"$2\" = 'a model.gguf' || exit 3\n\
         case \"$*\" in *' -fa 0 -mla 3') ;; *) exit 4;; esac\n\
         echo noise >&2\n\
         echo '[{\"n_prompt\": 0, \"n_gen\": 4, \"n_depth\": 8, \"avg_ts\": 7.5}]'",
    );
    let answer = script.run(&mut || ControlFlow::Continue(()));
    assert_eq!(
        answer.expect("an answer").map(|answer| answer.ts),
        Some(7.5)
    );
}

#[test]
fn a_program_that_fails_is_quoted() {
    let script = Script::new("bad", "echo first >&2; echo 'no such model' >&2; exit 5");
    let told = script.told();
    for part in ["wattle-rival", "exit status: 5", "first\n  no such model"] {
        assert!(told.contains(part), "{part:?} is not in {told}");
    }
    let silent = Script::new("silent", "exit 0").told();
    assert!(
        silent.contains("no JSON") && silent.contains("said nothing"),
        "{silent}"
    );
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let absent = Script(PathBuf::from("/nowhere/llama-bench"));
    let found_by_a_shell = Script::new("absent", "exec /nowhere/llama-bench");
    for (script, name) in [
        (absent, "/nowhere/llama-bench"),
        (found_by_a_shell, "absent"),
    ] {
        let told = script.told();
        for part in [name, "cannot start", "--against"] {
            assert!(told.contains(part), "{part:?} is not in {told}");
        }
    }
}

#[test]
fn a_program_that_talks_too_much_does_not_block() {
    let script = Script::new(
        "loud",
        "yes wattle | head -c 300000 >&2; yes wattle | head -c 300000; exit 1",
    );
    assert!(script.told().contains("exit status: 1"));
}

#[test]
fn a_program_that_is_stopped_is_gone_at_once() {
    let script = Script::new("slow", "exec sleep 60");
    let start = std::time::Instant::now();
    let answer = script.run(&mut || ControlFlow::Break(()));
    assert_eq!(answer.expect("no fault"), None);
    assert!(
        start.elapsed() < Duration::from_secs(30),
        "it was waited for"
    );
}
