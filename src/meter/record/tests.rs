//! Records for the tests of the exporters, and what follows from their numbers.

use super::*;
use crate::meter::Way;

/// A decode of 4 tokens at 2 and 4 tokens a second, from a depth of 8.
pub(crate) fn decode() -> Record {
    let mut samples = Samples::new(4);
    samples.push(2_000_000_000);
    samples.push(1_000_000_000);
    Record {
        origin: Origin {
            commit: "abc1234".into(),
            number: 7,
            version: "0.1.0".into(),
            cpu: "a \"quoted\" CPU".into(),
            isa: "scalar",
        },
        model: Subject {
            filename: "it's.gguf".into(),
            kind: "deepseek2 6.5M Q8_0".into(),
            bytes: 7_000_000,
            parameters: 6_500_000,
        },
        setup: Setup {
            batch: 2048,
            ubatch: 512,
            threads: 2,
            cache: "f16",
        },
        test: Test {
            prompt: 0,
            generated: 4,
            depth: 8,
        },
        time: "2026-11-24T02:55:00Z".into(),
        samples,
        bytes_per_token: Some(1_000_000_000),
        roofline: Some(Roofline {
            before_gbps: 4.0,
            after_gbps: 3.5,
        }),
        energy: None,
        against: None,
    }
}

/// A prompt of 16 tokens in a second.
pub(crate) fn prompt() -> Record {
    let mut samples = Samples::new(16);
    samples.push(1_000_000_000);
    Record {
        test: Test {
            prompt: 16,
            generated: 0,
            depth: 0,
        },
        samples,
        bytes_per_token: None,
        roofline: None,
        ..decode()
    }
}

/// The decode beside another program, which does better with `-fa 1`.
pub(crate) fn compared() -> Record {
    let way = |flash_attn, ts: &[f64]| Way {
        flash_attn: Some(flash_attn),
        ts: ts.to_vec(),
    };
    Record {
        against: Some(Against {
            program: "llama-bench".into(),
            args: String::new(),
            commit: "def5678".into(),
            number: Some(9000),
            ways: vec![way(0, &[1.0, 1.5]), way(1, &[1.75, 2.25])],
        }),
        ..decode()
    }
}

fn value(record: &Record, name: &str) -> Value {
    let field = fields(true).find(|field| field.name == name);
    (field.expect("a field").get)(record)
}

#[test]
fn a_decode_is_held_against_the_memory() {
    let record = decode();
    assert_eq!(record.gbps(), Some(3.0), "median 3 tokens a second of 1 GB");
    assert_eq!(record.roofline_share(), Some(0.75));
    for name in [
        "bytes_per_token",
        "gbps",
        "roofline_gbps",
        "roofline_share",
        "ratio",
    ] {
        assert_eq!(value(&prompt(), name), Value::Missing, "{name}");
    }
}

#[test]
fn the_better_way_of_the_other_program_counts() {
    let record = compared();
    assert_eq!(value(&record, "against_flash_attn"), Value::Integer(1));
    assert_eq!(record.ratio(), Some(1.5), "3 over 2");
    assert_eq!(value(&record, "against_fa0_median_ts"), Value::Number(1.25));
}

#[test]
fn values_are_of_the_kind_of_their_field() {
    let mut names = Vec::new();
    for field in fields(true).chain(energy_fields()) {
        for record in [decode(), prompt(), compared(), metered()] {
            let kind = match (field.get)(&record) {
                Value::Missing => field.kind,
                Value::Text(_) => Kind::Text,
                Value::Integer(_) => Kind::Integer,
                Value::Number(_) => Kind::Number,
                Value::List(_) => Kind::List,
                Value::Words(_) => Kind::Words,
            };
            assert_eq!(kind, field.kind, "{}", field.name);
        }
        assert!(!names.contains(&field.name), "{} twice", field.name);
        names.push(field.name);
    }
}

#[test]
fn tests_have_llama_benchs_names() {
    let name = |prompt, generated, depth| {
        let test = Test {
            prompt,
            generated,
            depth,
        };
        test.to_string()
    };
    assert_eq!(name(512, 0, 0), "pp512");
    assert_eq!(name(0, 128, 64), "tg128 @ d64");
    assert_eq!(name(512, 128, 0), "pp512+tg128");
}

#[test]
fn a_token_reads_the_weights_and_the_cache_up_to_itself() {
    let test = |prompt, generated, depth| Test {
        prompt,
        generated,
        depth,
    };
    // Rows 9, 10, 11 and 12: 10.5 on average.
    assert_eq!(test(0, 4, 8).bytes_per_token(1000, 10), Some(1105));
    assert_eq!(test(0, 1, 0).bytes_per_token(1000, 10), Some(1010));
    assert_eq!(test(4, 4, 8).bytes_per_token(1000, 10), None);
    assert_eq!(test(4, 0, 0).bytes_per_token(1000, 10), None);
    assert_eq!(
        test(0, 4, 8).bytes_per_token(u64::MAX, u64::MAX),
        Some(u64::MAX)
    );
}

/// A decode with a sensor: 8 tokens in 4 s and 40 J, three times.
pub(crate) fn metered() -> Record {
    use crate::meter::energy::{Conditions, Cost, Energy, Idle, Measured, Part, Source, Window};
    use wattle_boards::sensor::{Method, Scope};
    let part = |joules: f64| Part {
        tokens: 8,
        window: Window {
            seconds: 4.0,
            joules,
            samples: 40,
            ..Window::default()
        },
    };
    let repetition = |joules: f64| Measured {
        scope: Scope::BoardEst,
        all: Some(part(joules)),
        prompt: None,
        generated: Some(part(joules)),
    };
    let source = Source {
        scope: Scope::BoardEst,
        method: Method::Integrated,
        name: "it's a \"sensor\"".into(),
        resolution: None,
        accuracy: Some(0.02),
    };
    let conditions = Conditions {
        temp_start_c: Some(50.0),
        throttled: true,
        ..Conditions::default()
    };
    let cost = Cost {
        read_s: 5e-4,
        cpu_share: 2e-3,
    };
    let idle = Idle {
        seconds: 10.0,
        w: 6.0,
    };
    let repetitions = [39.0, 40.0, 41.0].map(repetition);
    let energy = Energy::of(source, &repetitions, Some(idle), conditions, cost);
    Record {
        energy: Some(energy.expect("one scope")),
        ..decode()
    }
}
