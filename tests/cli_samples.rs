//! `wattle run --samples`: each answer is the one that its seed gives alone, and rewards come from a command.

#[path = "cli/program.rs"]
#[expect(dead_code, reason = "this test writes no files")]
mod program;
#[path = "cli/taught.rs"]
#[expect(dead_code, reason = "answers are compared with one another")]
mod taught;

use std::ops::ControlFlow;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use program::{Folder, Ran, command, wattle};
use serde_json::Value;
use taught::{BREAD, gguf};
use wattle::generate::{GenerateOptions, Generation, Session, SessionOptions};
use wattle::load::Model;
use wattle::model::CacheType;
use wattle::sample::SamplerOptions;

/// Flags with which answers differ, of models that are very sure.
const WILD: [&str; 8] = [
    "--temp", "6", "--top-k", "0", "--top-p", "1", "--min-p", "0",
];

fn lines(ran: &Ran) -> Vec<Value> {
    let lines = ran.stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

#[test]
fn every_sample_is_the_answer_of_its_seed() {
    for (model, way, batch) in [
        ("tiny-chat", "--no-cnv", "224"),
        ("tiny-chat", "--cnv", "224"),
        ("tiny-llama", "--no-cnv", "3"),
    ] {
        let file = gguf(model);
        let run = |more: &[&str]| {
            let args = [
                "run", "-m", &file, "-p", BREAD, "-n", "20", "-b", batch, way,
            ];
            wattle([&args[..], &WILD, &["--repeat-penalty", "1.1"], more].concat())
        };
        let group = run(&["--samples", "11", "--seed", "5"]);
        assert_eq!(group.code, Some(0), "{group:?}");
        // Read once for several samples: as many bytes as for each alone would be a rate that no memory has.
        assert!(group.stderr.contains("tok/s"), "{group:?}");
        assert!(!group.stderr.contains("GB/s"), "{group:?}");
        let samples = lines(&group);
        assert_eq!(samples.len(), 11, "{model}");
        for (i, sample) in samples.iter().enumerate() {
            let seed = (5 + i).to_string();
            let alone =
                run(&["--seed", &seed, "--single-turn"][..if way == "--cnv" { 3 } else { 2 }]);
            assert_eq!(alone.code, Some(0), "{alone:?}");
            let text = sample["text"].as_str().expect("a text");
            assert_eq!(
                alone.stdout.trim_end_matches('\n'),
                text.trim_end_matches('\n'),
                "{model} {i}"
            );
            assert_eq!(sample["index"], i, "{model}");
            assert_eq!(sample["seed"], 5 + i, "{model}");
            let tokens = sample["tokens"].as_array().expect("tokens");
            let logprobs = tokens
                .iter()
                .map(|t| t["logprob"].as_f64().expect("a number"));
            let sum: f64 = logprobs.sum();
            assert!((sum - sample["logprob"].as_f64().expect("a number")).abs() < 1e-9);
            let end = if tokens.len() == 20 {
                "length"
            } else {
                "token"
            };
            assert_eq!(sample["end"], end, "{sample}");
            assert!(sample.get("reward").is_none(), "none was asked for");
        }
        let differ = samples.iter().any(|s| s["text"] != samples[0]["text"]);
        assert!(differ, "{model}: answers of different seeds");
    }
}

#[test]
fn samples_have_the_bits_of_an_answer_alone() {
    let model = Model::load(gguf("tiny-chat")).expect("a model");
    let prompt: Vec<u32> = (0..70).map(|i| 3 + 7 * i % 200).collect();
    let options = GenerateOptions {
        n: None,
        logprobs: true,
        shift: None,
    };
    for &cache_type in CacheType::ALL {
        let size = SessionOptions {
            ctx: Some(140),
            batch: 32,
            cache_type,
        };
        let mut session = Session::new(&model, &size).expect("a session");
        let sampler = |session: &Session<'_>, i: u64| {
            let options = SamplerOptions {
                temp: 6.0,
                min_p: 0.0,
                top_p: 1.0,
                top_k: 0,
                seed: Some(i),
                ..SamplerOptions::default()
            };
            let mut sampler = session.sampler(&options).expect("a sampler");
            // So that some samples end in the middle, and others with the context.
            if !i.is_multiple_of(3) {
                sampler.suppress(session.ends().iter().copied());
            }
            sampler
        };
        let samplers = (0..9).map(|i| sampler(&session, i)).collect();
        let mut go_on = |_, _| ControlFlow::Continue(());
        let mut samples = session
            .samples(&prompt, samplers, options, &mut go_on)
            .expect("samples");
        while samples.step().expect("a step") {}
        let group: Vec<_> = samples
            .samples()
            .iter()
            .map(|sample| (sample.tokens.clone(), sample.end))
            .collect();
        for (i, got) in group.into_iter().enumerate() {
            let mut alone = Session::new(&model, &size).expect("a session");
            let mut sampler = sampler(&alone, i as u64);
            let ends = alone.ends().to_vec();
            let mut answer = Generation::new(
                &mut alone,
                &prompt,
                &mut sampler,
                &ends,
                options,
                &mut go_on,
            )
            .expect("an answer");
            let tokens: Vec<_> = answer
                .by_ref()
                .map(|token| token.expect("a token"))
                .collect();
            assert_eq!(got, (tokens, answer.end()), "{} {i}", cache_type.name());
        }
    }
}

/// Four samples with the reward that `command` gives.
fn rewarded(reward: &str) -> Ran {
    let file = gguf("tiny-chat");
    let args = [
        "run",
        "-m",
        &file,
        "-p",
        BREAD,
        "-n",
        "12",
        "--no-cnv",
        "--samples",
        "4",
        "--seed",
        "1",
        "--reward",
        reward,
    ];
    wattle([&args[..], &WILD].concat())
}

#[test]
fn rewards_become_advantages() {
    let ran = rewarded("wc -c");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let samples = lines(&ran);
    let number = |sample: &Value, key: &str| sample[key].as_f64().expect("a number");
    let rewards: Vec<f64> = samples.iter().map(|s| number(s, "reward")).collect();
    for (sample, reward) in samples.iter().zip(&rewards) {
        assert_eq!(
            sample["text"].as_str().expect("a text").len() as f64,
            *reward
        );
    }
    let mean = rewards.iter().sum::<f64>() / 4.0;
    let std = (rewards.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / 4.0).sqrt();
    assert!(std > 0.0, "answers of different lengths: {rewards:?}");
    for (sample, reward) in samples.iter().zip(&rewards) {
        assert!((number(sample, "advantage") - (reward - mean) / std).abs() < 1e-9);
    }
    for sample in lines(&rewarded("echo 2.5")) {
        assert_eq!(
            (number(&sample, "reward"), number(&sample, "advantage")),
            (2.5, 0.0)
        );
    }
}

#[test]
fn a_reward_that_fails_is_null_with_its_reason() {
    let folder = Folder::new("reward");
    let seen = folder.path.join("seen");
    // The second of four fails.
    let reward = format!(
        "cat > /dev/null; echo x >> {0}; n=$(wc -l < {0}); test $n != 2 && echo $n",
        seen.display()
    );
    let ran = rewarded(&reward);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(
        ran.stderr
            .contains("sample 1: it ended with exit status: 1"),
        "{ran:?}"
    );
    let samples = lines(&ran);
    assert_eq!(samples.len(), 4, "{ran:?}");
    assert!(samples[1]["reward"].is_null() && samples[1]["advantage"].is_null());
    assert_eq!(samples[1]["reward_error"], "it ended with exit status: 1");
    let others = [0, 2, 3].map(|i| samples[i]["advantage"].as_f64().expect("a number"));
    assert!(
        others.iter().sum::<f64>().abs() < 1e-9,
        "the group is the others: {others:?}"
    );
    let ran = rewarded("echo good");
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(
        ran.stderr
            .contains("it printed \"good\", expected one number"),
        "{ran:?}"
    );
}

#[test]
fn a_reward_that_hangs_ends_with_ctrl_c() {
    let folder = Folder::new("hang");
    let begun = folder.path.join("begun");
    let reward = format!("echo > {}; sleep 100 | cat", begun.display());
    let mut child = command();
    child
        .args([
            "run",
            "-m",
            &gguf("tiny-chat"),
            "-p",
            BREAD,
            "-n",
            "4",
            "--samples",
            "2",
        ])
        .args(["--reward", &reward])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = child.spawn().expect("the program starts");
    let start = Instant::now();
    while !begun.exists() {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "the reward begins"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut kill = Command::new("kill");
    kill.args(["-INT", &child.id().to_string()]);
    assert!(kill.status().expect("kill").success(), "a signal");
    let output = child.wait_with_output().expect("it ends");
    assert!(
        start.elapsed() < Duration::from_secs(90),
        "long before the reward would"
    );
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    let lines = String::from_utf8(output.stdout).expect("text");
    assert_eq!(lines.lines().count(), 2, "what was drawn is not lost");
}

#[test]
fn a_chat_that_goes_on_has_no_samples() {
    let chat = ["run", "-m", &gguf("tiny-chat"), "--cnv", "--samples", "2"];
    wattle(chat).fails(2, &["--samples", "one prompt"]);
    wattle(["run", "-m", "x", "-p", "x", "--samples", "0"]).fails(2, &["--samples", "at least 1"]);
    wattle(["run", "-m", "x", "-p", "x", "--reward", "wc"]).fails(2, &["--samples"]);
}
