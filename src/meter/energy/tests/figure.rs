//! What repetitions make together: figures, errors, flags; and a thousand seeded measurements of a known truth.

use core::f64::consts::TAU;

use wattle_boards::sensor::{Amount, Method, Scope};

use super::super::*;
use crate::sample::Pcg32;

fn source(method: Method, scope: Scope) -> Source {
    Source {
        scope,
        method,
        name: "a test".into(),
        resolution: Some(0.1),
        accuracy: Some(0.01),
    }
}

fn part(tokens: usize, seconds: f64, joules: f64) -> Part {
    Part {
        tokens,
        window: Window {
            seconds,
            joules,
            samples: (seconds * 10.0) as usize,
            ..Window::default()
        },
    }
}

fn repetition(tokens: usize, seconds: f64, joules: f64) -> Measured {
    let all = part(tokens, seconds, joules);
    Measured {
        scope: Scope::WallAc,
        all: Some(all),
        prompt: None,
        generated: Some(all),
    }
}

fn energy(repetitions: &[Measured], idle: Option<Idle>) -> Energy {
    let source = source(Method::Integrated, Scope::WallAc);
    Energy::of(
        source,
        repetitions,
        idle,
        Conditions::default(),
        Cost::default(),
    )
    .expect("one scope")
}

#[test]
fn tokens_per_joule_are_tokens_per_second_per_watt() {
    let idle = Idle {
        seconds: 10.0,
        w: 4.0,
    };
    let found = energy(
        &[
            repetition(100, 20.0, 200.0),
            repetition(100, 30.0, 300.0),
            repetition(100, 25.0, 250.0),
        ],
        Some(idle),
    );
    assert_eq!((found.joules(), found.mean_w()), (Some(750.0), Some(10.0)));
    assert_eq!(found.gross(), Some(0.4));
    let rate = 300.0 / 75.0;
    assert_eq!(found.gross(), Some(rate / 10.0));
    assert_eq!(found.net_joules(), Some(450.0));
    assert_eq!(found.net(), Some(300.0 / 450.0));
    let busy = Idle { w: 9.95, ..idle };
    let hardly = energy(&[repetition(100, 20.0, 200.0)], Some(busy));
    assert_eq!(hardly.net(), None, "1 J of 200 is noise");
    assert_eq!(found.generated.and_then(|part| part.j_per_tok()), Some(2.5));
    assert_eq!(found.prompt, None);
    assert!(found.flags.is_empty(), "{:?}", found.flags);
    // 1 % stated, and half of 0.1 W of 10 W.
    let instrument = found.instrument_rel().expect("stated");
    assert!((instrument - 0.015).abs() < 1e-12, "{instrument}");
    let ci = found.ci95().expect("three");
    let all = found.plus_minus().expect("three");
    assert!((all - ci.hypot(0.4 * 0.015)).abs() < 1e-12, "{all}");
}

#[test]
fn two_repetitions_have_no_error_and_none_no_figure() {
    let two = energy(
        &[repetition(100, 40.0, 200.0), repetition(100, 40.0, 200.0)],
        None,
    );
    assert_eq!((two.ci95(), two.plus_minus()), (None, None));
    assert_eq!((two.net(), two.net_joules()), (None, None), "no baseline");
    let silent = Measured {
        all: None,
        generated: None,
        ..repetition(1, 1.0, 1.0)
    };
    let none = energy(&[silent, silent, silent], None);
    assert_eq!(
        (
            none.joules(),
            none.mean_w(),
            none.gross(),
            none.instrument_rel()
        ),
        (None, None, None, Some(0.01))
    );
    assert!(none.flags.contains(&Flag::LostSamples), "{:?}", none.flags);
    // A counter that stands still is no machine that needs nothing.
    let stuck = energy(&[repetition(100, 70.0, 0.0)], None);
    assert_eq!((stuck.joules(), stuck.gross()), (None, None));
    assert!(
        stuck.flags.contains(&Flag::LostSamples),
        "{:?}",
        stuck.flags
    );
}

#[test]
fn scopes_are_never_averaged() {
    let other = Measured {
        scope: Scope::SocPackage,
        ..repetition(1, 1.0, 1.0)
    };
    let source = source(Method::Integrated, Scope::WallAc);
    let told = Energy::of(
        source,
        &[repetition(1, 1.0, 1.0), other],
        None,
        Conditions::default(),
        Cost::default(),
    );
    let told = told.expect_err("two scopes").to_string();
    assert!(
        told.contains("wall_ac") && told.contains("soc_package"),
        "{told}"
    );
}

#[test]
fn flags_say_what_voids_a_figure() {
    let flags = |repetition: Measured| energy(&[repetition], None).flags;
    assert_eq!(flags(repetition(1, 59.0, 500.0)), [Flag::ShortWindow]);
    let with = |change: fn(&mut Window)| {
        let mut one = repetition(1, 60.0, 500.0);
        if let Some(all) = &mut one.all {
            change(&mut all.window);
        }
        flags(one)
    };
    assert_eq!(with(|_| {}), []);
    assert_eq!(with(|window| window.samples = 19), [Flag::ShortWindow]);
    assert_eq!(with(|window| window.gap_s = 3.1), [Flag::LostSamples]);
    assert_eq!(with(|window| window.lost = 32), [Flag::LostSamples]);
    assert_eq!(with(|window| window.lost = 31), []);
    let counter = source(Method::Counter, Scope::WallAc);
    let conditions = Conditions {
        throttled: true,
        busy: true,
        virtual_machine: true,
        ..Conditions::default()
    };
    let few = Energy::of(
        counter,
        &[repetition(1, 60.0, 9.9)],
        None,
        conditions,
        Cost::default(),
    );
    let flags = few.expect("one scope").flags;
    assert_eq!(
        flags,
        [
            Flag::ShortWindow,
            Flag::Throttled,
            Flag::Busy,
            Flag::VirtualMachine
        ]
    );
}

/// A normal number (Box and Muller).
fn normal(random: &mut Pcg32) -> f64 {
    let (u, v) = (1.0 - random.next_unit(), random.next_unit());
    (-2.0 * u.ln()).sqrt() * (TAU * v).cos()
}

#[test]
fn the_interval_holds_the_truth_in_95_of_100_measurements() {
    let (rate, w, seconds) = (6.0, 12.0, 14.0);
    let mut held = 0;
    for seed in 0..1000 {
        let mut random = Pcg32::new(seed);
        let mut trace = Trace::new(Method::Integrated, 0.1);
        let mut windows = Vec::new();
        // Five repetitions, each with a speed and a power of its own, read with noise.
        for i in 0..5 {
            let begin = f64::from(i) * (seconds + 1.0);
            let level = w * (1.0 + 0.03 * normal(&mut random));
            for step in 0..=(seconds * 10.0) as usize {
                let read = level + 0.2 * normal(&mut random);
                trace.push(begin + step as f64 * 0.1, Amount::Watts(read));
            }
            let tokens = 1000.0 * rate * seconds * (1.0 + 0.02 * normal(&mut random));
            windows.push((begin, begin + seconds, tokens.round() as usize));
        }
        let repetitions: Vec<Measured> = windows
            .iter()
            .map(|&(from, to, tokens)| {
                let window = trace.window(from, to).expect("readings");
                Measured {
                    all: Some(Part { tokens, window }),
                    ..repetition(1, 1.0, 1.0)
                }
            })
            .collect();
        let found = energy(&repetitions, None);
        let (figure, ci) = (found.gross().expect("joules"), found.ci95().expect("five"));
        let truth = 1000.0 * rate / w;
        held += usize::from((figure - truth).abs() <= ci);
    }
    assert!((930..=970).contains(&held), "{held} of 1000");
}
