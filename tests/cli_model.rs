//! The real program with tiny models that were taught a few sentences: what they say is known to the letter.

#[path = "cli/program.rs"]
mod program;
#[path = "cli/taught.rs"]
mod taught;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Stdio};

use program::{Folder, Ran, command, finish, wattle};
use rustix::process::{Pid, Signal, kill_process};
use taught::{BREAD, answer, data, gguf};

const MODELS: [&str; 2] = ["tiny-chat", "tiny-llama"];

/// `wattle run` at temperature 0, with `stdin` as its input.
fn run(model: &str, args: &[&str], stdin: &str) -> Ran {
    let mut command = command();
    command
        .args(["run", "--temp", "0", "-m", &gguf(model)])
        .args(args);
    finish(command, stdin.as_bytes())
}

#[track_caller]
fn says(ran: &Ran, text: &str) {
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(ran.stdout, text, "{}", ran.stderr);
}

#[test]
fn a_text_is_continued_wherever_it_comes_from() {
    let folder = Folder::new("continued");
    let file = folder.file("bread.txt", format!("{BREAD}\n").as_bytes());
    let file = file.to_str().expect("a plain path");
    for model in MODELS {
        let taught = answer(model, &[]);
        says(&run(model, &["-p", BREAD], ""), &taught);
        says(&run(model, &["-f", file, "--no-cnv"], ""), &taught);
        says(&run(model, &[], BREAD), &taught);
    }
}

#[test]
fn it_closes_with_one_line_about_its_speed() {
    let ran = run("tiny-chat", &["-p", BREAD], "");
    let line = ran.stderr.strip_suffix('\n').expect("a line");
    assert!(!line.contains('\n') && !line.contains("seed"), "{line:?}");
    for part in [
        "wattle: prompt 17 tokens, ",
        "answer ",
        " tok/s",
        " GB/s read",
    ] {
        assert!(line.contains(part), "{part:?} is not in {line:?}");
    }
}

#[test]
fn neither_threads_nor_batches_nor_the_cache_change_the_text() {
    for args in [
        ["-t", "1"],
        ["-b", "1"],
        ["-b", "3"],
        ["--cache-type", "f32"],
        ["-c", "128"],
    ] {
        let ran = run("tiny-chat", &[&["-p", BREAD], &args[..]].concat(), "");
        says(&ran, &answer("tiny-chat", &[]));
    }
    let mut scalar = command();
    scalar.args(["run", "--temp", "0", "-p", BREAD, "-m", &gguf("tiny-chat")]);
    scalar.env("WATTLE_ISA", "scalar");
    says(&finish(scalar, b""), &answer("tiny-chat", &[]));
}

#[test]
fn a_split_model_is_one_model() {
    let first = "tiny-llama-split-00001-of-00003";
    says(&run(first, &["-p", BREAD], ""), &answer("tiny-llama", &[]));
}

#[test]
fn tokens_are_counted_and_characters_are_whole() {
    let model = "tiny-chat";
    let whole = answer(model, &["你好"]);
    // Three tokens spell a character: of 4 the last is half, which ends as a replacement character.
    for (n, expected) in [("0", ""), ("3", "你"), ("6", "你好"), ("24", &whole)] {
        let args = ["--cnv", "-p", "你好", "-st", "-n", n];
        says(&run(model, &args, ""), &format!("{expected}\n"));
    }
    says(
        &run(model, &["--cnv", "-p", "你好", "-st", "-n", "4"], ""),
        "你\u{fffd}\n",
    );
}

#[test]
fn a_chat_remembers_what_was_said() {
    for model in MODELS {
        let first = answer(model, &["Hello"]);
        let second = answer(model, &["Hello", "What do you run on?"]);
        let both = format!("{first}\n{second}\n");
        says(
            &run(model, &["--cnv"], "Hello\n\nWhat do you run on?\n"),
            &both,
        );
        says(
            &run(model, &["-cnv", "-p", "Hello"], "What do you run on?"),
            &both,
        );
        says(
            &run(model, &["--cnv", "-p", "Hello", "-st"], "never read"),
            &format!("{first}\n"),
        );
    }
}

#[test]
fn a_chat_can_be_told_how_to_be() {
    let brief = format!("{}\n", answer("tiny-chat", &["Be brief.", "Hello"]));
    says(
        &run("tiny-chat", &["--cnv", "-sys", "Be brief."], "Hello"),
        &brief,
    );
}

#[test]
fn only_the_new_end_of_a_chat_is_computed() {
    // The prompts are 4 and 30 tokens long; the second begins with the first and its answer, 17 tokens that are there already.
    let ran = run("tiny-chat", &["--cnv"], "Hello\nWhat do you run on?\n");
    assert!(ran.stderr.contains("prompt 17 tokens"), "{ran:?}");
}

#[test]
fn an_end_can_be_ignored_until_the_context_is_full() {
    let taught = answer("tiny-chat", &[]);
    let ran = run("tiny-chat", &["-p", BREAD, "--ignore-eos", "-n", "100"], "");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(
        ran.stdout.len() > taught.len() && ran.stdout.starts_with(&taught),
        "{ran:?}"
    );
    let ran = run("tiny-chat", &["-p", BREAD, "-c", "20"], "");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(
        taught.starts_with(&ran.stdout) && ran.stdout.len() < taught.len(),
        "{ran:?}"
    );
    assert!(
        ran.stderr
            .contains("context of 20 tokens is full; -c raises it"),
        "{ran:?}"
    );
}

#[test]
fn a_seed_is_told_and_gives_the_same_text_on_any_number_of_threads() {
    let hot = |args: &[&str]| {
        let all = [
            "-p", BREAD, "--temp", "5", "--top-k", "0", "--top-p", "1", "--min-p", "0", "-n", "30",
        ];
        let model = gguf("tiny-chat");
        let ran = wattle([&["run", "-m", &model], &all[..], args].concat());
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran
    };
    let first = hot(&["-t", "1"]);
    let seed = first
        .stderr
        .trim_end()
        .rsplit_once("; seed ")
        .expect("a seed")
        .1;
    assert_eq!(hot(&["-s", seed]).stdout, first.stdout);
    assert_eq!(hot(&["-s", seed, "-t", "1"]).stdout, first.stdout);
    assert_ne!(hot(&["-s", "1"]).stdout, hot(&["-s", "2"]).stdout);
}

#[test]
fn prompts_that_do_not_fit_say_so() {
    run("tiny-chat", &["-p", BREAD, "-c", "5"], "")
        .fails(1, &["17 tokens do not fit a context of 5"]);
    let text = "1,2,3,4,5,6";
    wattle([
        "score",
        "-m",
        &gguf("tiny-chat"),
        "--tokens",
        text,
        "-c",
        "5",
    ])
    .fails(1, &["6 tokens do not fit"]);
    wattle(["run", "-m", &gguf("tiny-chat"), "-p", "x", "-t", "4096"]).fails(2, &["-t 4096"]);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let mut child = command()
        .args(["run", "-p", BREAD, "--temp", "0", "-m", &gguf("tiny-chat")])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("the program ends");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn a_full_standard_error_is_no_failure() {
    let full = || {
        let full = std::fs::File::options().write(true).open("/dev/full");
        full.expect("every Linux has it")
    };
    let mut good = command();
    good.args(["run", "-p", BREAD, "--temp", "0", "-m", &gguf("tiny-chat")]);
    let output = good.stderr(full()).output().expect("the program ends");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(output.stdout, answer("tiny-chat", &[]).as_bytes());
    let mut bad = command();
    bad.args(["run", "-p", BREAD, "-m", "no-model.gguf"]);
    let output = bad.stderr(full()).output().expect("the program ends");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[test]
fn more_memory_than_there_is_is_a_sentence() {
    for (tokens, batch) in [
        ("18446744073709551615", "512"),
        ("1000000000000000", "512"),
        ("1000000000000000", "1000000000000000"),
    ] {
        run("tiny-chat", &["-p", BREAD, "-c", tokens, "-b", batch], "")
            .fails(2, &["wattle: error: -c", "memory that are free", "(-ctk)"]);
    }
}

/// An answer without end, begun: the process, and its first bytes.
fn endless(args: &[&str]) -> (Child, BufReader<ChildStdout>) {
    let model = gguf("tiny-chat");
    let mut child = command()
        .args([
            "run",
            "--temp",
            "0",
            "--ignore-eos",
            "-c",
            "500000",
            "-m",
            &model,
        ])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut input = child.stdin.as_ref().expect("piped");
    input.write_all(b"Hello\n").expect("a line");
    let mut output = BufReader::new(child.stdout.take().expect("piped"));
    output
        .read_exact(&mut [0; 5])
        .expect("the start of an answer");
    (child, output)
}

fn press_ctrl_c(child: &Child) {
    let pid = Pid::from_child(child);
    kill_process(pid, Signal::INT).expect("a signal");
}

/// The rest of the text; reads it away, so that the program never waits for us.
fn rest(mut output: impl Read) -> String {
    let mut text = Vec::new();
    output.read_to_end(&mut text).expect("the rest");
    String::from_utf8(text).expect("whole characters")
}

#[test]
fn ctrl_c_ends_an_answer_and_the_speed_is_still_told() {
    let (child, output) = endless(&["-p", BREAD]);
    press_ctrl_c(&child);
    rest(output);
    let ended = child.wait_with_output().expect("the program ends");
    assert_eq!(ended.status.code(), Some(130), "{ended:?}");
    let stderr = String::from_utf8(ended.stderr).expect("UTF-8");
    assert!(
        stderr.contains("trained for 256 tokens"),
        "the context is larger: {stderr}"
    );
    assert!(stderr.contains("\nwattle: prompt 17 tokens"), "{stderr}");
}

#[test]
fn ctrl_c_in_a_chat_ends_the_answer_and_not_the_chat() {
    let (mut child, mut output) = endless(&["--cnv"]);
    press_ctrl_c(&child);
    let mut answer = String::new();
    output
        .read_line(&mut answer)
        .expect("the end of the answer");
    let mut input = child.stdin.take().expect("piped");
    input
        .write_all(b"Hello\n")
        .expect("the program is still there");
    output.read_exact(&mut [0; 5]).expect("the next answer");
    press_ctrl_c(&child);
    drop(input);
    assert!(rest(output).ends_with('\n'), "the last answer has no end");
    let ended = child.wait_with_output().expect("the program ends");
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
}

#[test]
fn a_second_ctrl_c_leaves_at_once() {
    let (child, output) = endless(&["-p", BREAD]);
    press_ctrl_c(&child);
    press_ctrl_c(&child);
    rest(output);
    let ended = child.wait_with_output().expect("the program ends");
    assert_eq!(ended.status.code(), Some(130), "{ended:?}");
}

#[test]
fn a_chat_needs_a_template() {
    let mut cut = command();
    cut.args([
        "run",
        "--cnv",
        "-p",
        "Hello",
        "-m",
        &data("hf/v2-lite.gguf"),
    ]);
    finish(cut, b"").fails(1, &["v2-lite.gguf"]);
}

#[test]
fn a_full_context_is_shifted_when_asked_for() {
    let run = |more: &[&str]| {
        let model = gguf("tiny-chat");
        let args = [
            "run",
            "-m",
            &model,
            "-p",
            BREAD,
            "-c",
            "40",
            "-n",
            "100",
            "--ignore-eos",
            "--temp",
            "0",
            "--no-cnv",
        ];
        wattle([&args[..], more].concat())
    };
    let full = run(&[]);
    assert_eq!(full.code, Some(0), "{full:?}");
    assert!(
        full.stderr.contains("the context of 40 tokens is full"),
        "{full:?}"
    );
    for keep in [&[][..], &["--keep", "9"], &["--keep", "-1"]] {
        let shifted = run(&[&["--context-shift"], keep].concat());
        assert_eq!(shifted.code, Some(0), "{shifted:?}");
        assert!(shifted.stdout.starts_with(&full.stdout), "{shifted:?}");
        assert!(shifted.stderr.contains("answer 100 tokens"), "{shifted:?}");
    }
    run(&["--keep", "3"]).fails(2, &["--context-shift"]);
    run(&["--context-shift", "--keep", "-2"]).fails(2, &["--keep", "-2"]);
    let chat = [
        "run",
        "-m",
        &gguf("tiny-chat"),
        "--cnv",
        "-p",
        "x",
        "--context-shift",
    ];
    wattle(chat).fails(2, &["--context-shift", "chat"]);
}
