//! A power curve whose integral is known, read by clocks that jitter; a thousand seeded measurements; sensors that hang, vanish and lie.
//! Time is a number here, so that nothing depends on how fast the machine is.

use core::f64::consts::TAU;
use core::time::Duration;
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use proptest::prelude::*;
use wattle_boards::sensor::{Amount, Facts, Fault, Method, Reading, Scope, Sensor};
use wattle_boards::{Clock, State};

use super::watch::conditions;
use super::*;
use crate::sample::Pcg32;

/// 8 W, with a slow and a quick wave on it.
fn watts_at(t: f64) -> f64 {
    8.0 + 3.0 * (TAU * t / 7.0).sin() + 1.5 * (TAU * t / 1.3).sin()
}

/// Its integral from 0.
fn joules_at(t: f64) -> f64 {
    let wave =
        |amplitude: f64, period: f64| amplitude * period / TAU * (1.0 - (TAU * t / period).cos());
    8.0 * t + wave(3.0, 7.0) + wave(1.5, 1.3)
}

/// The curve read for 70 s, ten times a second, each time up to 40 ms off, `lost` of a hundred readings missing.
fn read(method: Method, seed: u64, lost: f64) -> Trace {
    let mut random = Pcg32::new(seed);
    let mut trace = Trace::new(method, 0.1);
    for i in 0..700 {
        let t = f64::from(i) * 0.1 + 0.04 * (2.0 * random.next_unit() - 1.0);
        match random.next_unit() * 100.0 < lost {
            true => trace.lose(t),
            false => trace.push(
                t,
                match method {
                    Method::Integrated => Amount::Watts(watts_at(t)),
                    Method::Counter => Amount::Joules(joules_at(t)),
                },
            ),
        }
    }
    trace
}

#[test]
fn the_integral_of_a_known_curve_is_found_within_half_a_percent() {
    for method in [Method::Integrated, Method::Counter] {
        for (seed, lost) in (0..50).zip([0.0, 2.0, 10.0, 20.0].into_iter().cycle()) {
            let window = read(method, seed, lost)
                .window(2.037, 63.19)
                .expect("readings");
            let truth = joules_at(63.19) - joules_at(2.037);
            let error = (window.joules / truth - 1.0).abs();
            assert!(
                error < 5e-3,
                "{method:?}, seed {seed}, {lost} % lost: off by {error}"
            );
            assert_eq!(window.seconds, 63.19 - 2.037);
        }
    }
}

#[test]
fn a_hole_is_told_and_a_counter_bridges_it() {
    let cut = |method: Method| {
        let whole = read(method, 7, 0.0);
        let mut trace = Trace::new(method, 0.1);
        for sample in whole.samples() {
            match (10.0..14.0).contains(&sample.at_s) {
                true => trace.lose(sample.at_s),
                false if method == Method::Counter => {
                    trace.push(sample.at_s, Amount::Joules(sample.value))
                }
                false => trace.push(sample.at_s, Amount::Watts(sample.value)),
            }
        }
        trace
    };
    let integrated = cut(Method::Integrated)
        .window(1.0, 61.0)
        .expect("most of it");
    assert!((integrated.gap_s - 4.0).abs() < 0.2, "{integrated:?}");
    assert!((38..=42).contains(&integrated.lost), "{integrated:?}");
    let counter = cut(Method::Counter);
    let whole = counter.window(1.0, 61.0).expect("all of it");
    assert!(whole.gap_s < 1e-9, "{whole:?}");
    let truth = joules_at(61.0) - joules_at(1.0);
    assert!((whole.joules / truth - 1.0).abs() < 2e-3, "{whole:?}");
    // Its end lies in the hole: how much of that was drawn before it is a guess.
    let inside = counter.window(1.0, 12.0).expect("most of it");
    assert!((inside.gap_s - 2.0).abs() < 0.2, "{inside:?}");
}

#[test]
fn a_counter_that_begins_anew_loses_that_time_only() {
    let mut trace = Trace::new(Method::Counter, 1.0);
    for (t, j) in [(0.0, 0.0), (1.0, 10.0), (2.0, 20.0)] {
        trace.push(t, Amount::Joules(j));
    }
    trace.reset(3.0);
    for (t, j) in [(4.0, 20.0), (5.0, 30.0), (6.0, 40.0)] {
        trace.push(t, Amount::Joules(j));
    }
    // 40 J in the four seconds that are known: 10 W.
    let window = trace.window(0.0, 6.0).expect("four of six seconds");
    assert!((window.joules - 60.0).abs() < 1e-9, "{window:?}");
    assert!((window.gap_s - 2.0).abs() < 1e-9, "{window:?}");
    assert_eq!(trace.window(2.0, 4.0), None, "nothing of it is known");
}

#[test]
fn what_no_reading_tells_of_has_no_energy() {
    let mut trace = Trace::new(Method::Integrated, 0.1);
    assert_eq!(trace.window(0.0, 1.0), None);
    assert_eq!(trace.last_w(), None);
    trace.push(5.0, Amount::Watts(3.0));
    assert_eq!(trace.window(4.0, 6.0), None, "one reading");
    trace.push(6.0, Amount::Watts(3.0));
    assert_eq!(trace.window(6.0, 9.0), None, "after the last");
    assert_eq!(trace.window(0.0, 5.0), None, "before the first");
    for (from, to) in [
        (6.0, 5.0),
        (5.5, 5.5),
        (f64::NAN, 6.0),
        (5.0, f64::INFINITY),
    ] {
        assert_eq!(trace.window(from, to), None, "{from} to {to}");
    }
    let half = trace.window(5.25, 5.75).expect("between two readings");
    assert_eq!((half.joules, half.samples), (1.5, 0));
    // Neither the past, nor what is no number, nor another method.
    for (t, amount) in [
        (6.0, Amount::Watts(1e9)),
        (5.5, Amount::Watts(1e9)),
        (7.0, Amount::Watts(f64::NAN)),
        (f64::NAN, Amount::Watts(1.0)),
        (7.0, Amount::Joules(1.0)),
    ] {
        trace.push(t, amount);
    }
    assert_eq!(trace.samples().len(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]
    /// Windows side by side hold what the window of both holds.
    #[test]
    fn energy_is_additive(seed in 0_u64..1000, from in 0.1..20.0_f64, first in 0.5..20.0_f64, second in 0.5..20.0_f64) {
        for method in [Method::Integrated, Method::Counter] {
            let trace = read(method, seed, 0.0);
            let part = |from: f64, to: f64| trace.window(from, to).expect("readings").joules;
            let (middle, to) = (from + first, from + first + second);
            prop_assert!((part(from, middle) + part(middle, to) - part(from, to)).abs() < 1e-6);
        }
    }
}

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

/// Does what the other end of a channel says: a reading, a fault, or to hang for as long as nothing comes.
#[derive(Debug)]
struct Puppet(Facts, Receiver<Result<Amount, Fault>>);

impl Puppet {
    fn new(answers: Receiver<Result<Amount, Fault>>) -> Box<Self> {
        let facts = Facts {
            name: "puppet",
            source: "a test".into(),
            scope: Scope::DcInput,
            method: Method::Integrated,
            resolution: None,
            period: Duration::from_millis(10),
            external: true,
        };
        Box::new(Self(facts, answers))
    }
}

impl Sensor for Puppet {
    fn facts(&self) -> &Facts {
        &self.0
    }

    fn read(&mut self) -> Result<Reading, Fault> {
        let answer = self.1.recv();
        answer
            .unwrap_or(Err(Fault::Ended("let go".into())))
            .map(Reading::from)
    }
}

#[test]
fn nobody_waits_for_a_sensor_that_hangs() {
    let (puppeteer, answers) = channel();
    let meter = Meter::start(Puppet::new(answers), None, false, &[]).expect("threads");
    puppeteer.send(Ok(Amount::Watts(5.0))).expect("it listens");
    let begin = Instant::now();
    for _ in 0..10_000 {
        meter.mark();
    }
    let timing = Timing {
        begin,
        prompt: 4,
        prompt_end: begin,
        generated: 4,
        end: Instant::now() + Duration::from_millis(1),
    };
    let energy = meter.energy(&[timing], None).expect("one scope");
    assert_eq!(energy.gross(), None, "a reading makes no window");
    assert!(
        energy.flags.contains(&Flag::LostSamples),
        "{:?}",
        energy.flags
    );
    // The sensor still hangs: neither end waits for it.
    drop(meter);
    drop(puppeteer);
}

#[test]
fn a_sensor_that_fails_is_asked_again_and_one_that_ended_is_not() {
    let (puppeteer, answers) = channel();
    let sampler = Sampler::start(Puppet::new(answers), &[]).expect("a thread");
    let silent = || Err(Fault::Silent("no answer".into()));
    for answer in [
        Ok(Amount::Watts(5.0)),
        silent(),
        Ok(Amount::Watts(f64::NAN)),
        Ok(Amount::Watts(6.0)),
    ] {
        puppeteer.send(answer).expect("it listens");
    }
    drop(puppeteer);
    // The end comes after all of these.
    while sampler
        .trouble()
        .is_none_or(|trouble| !trouble.contains("let go"))
    {
        std::thread::yield_now();
    }
    let trace = sampler.trace();
    let values: Vec<f64> = trace.samples().iter().map(|sample| sample.value).collect();
    assert_eq!(values, [5.0, 6.0]);
    assert_eq!(sampler.watts(), Some(6.0));
    let begin = sampler.begin();
    let last_s = trace.samples()[1].at_s;
    let window = sampler
        .window(begin, begin + Duration::from_secs_f64(last_s))
        .expect("two readings");
    assert_eq!(window.lost, 2);
    sampler.settle(Instant::now() + Duration::from_secs(3600));
    assert!(sampler.cost().read_s > 0.0);
}

#[test]
fn conditions_are_those_between_the_looks_around_a_test() {
    let start = Instant::now();
    let at = |s: u64| start + Duration::from_secs(s);
    let look = |s: u64, khz: u64, cap: u64, busy: u64| {
        let mut state = State {
            clocks: vec![Clock {
                core: 0,
                now_khz: Some(khz),
                cap_khz: Some(cap),
                most_khz: Some(2_400_000),
                governor: Some("ondemand".into()),
            }],
            ..State::default()
        };
        // 100 ticks a second, of which this process has half.
        state.activity.busy_ticks = Some(50 * s + busy);
        state.activity.idle_ticks = Some(50 * s);
        state.activity.own_ticks = Some(50 * s);
        state.activity.swap_in_pages = Some(busy);
        (at(s), state)
    };
    let fast = 2_400_000;
    let calm = [
        look(0, 1_500_000, fast, 0),
        look(1, fast, fast, 0),
        look(2, fast, fast, 0),
        look(3, 600_000, fast, 0),
    ];
    let window = |from: u64, to: u64| [(at(from), at(to))];
    let found = conditions(&calm, &window(1, 2));
    assert_eq!(
        (found.governor.as_deref(), found.freq_khz),
        (Some("ondemand"), Some(fast))
    );
    assert!(!found.frequency_changed && !found.busy && !found.swapped && !found.throttled);
    assert_eq!(
        found.temp_start_c, None,
        "there is no sensor of temperature"
    );
    // The clock fell within the test, or its limit did.
    assert!(conditions(&calm, &window(1, 3)).frequency_changed);
    let capped = [look(0, fast, fast, 0), look(2, 2_300_000, 2_300_000, 0)];
    assert!(conditions(&capped, &window(0, 2)).frequency_changed);
    let disturbed = [look(0, fast, fast, 0), look(2, fast, fast, 30)];
    let found = conditions(&disturbed, &window(0, 2));
    assert!(
        found.busy && found.swapped && !found.frequency_changed,
        "{found:?}"
    );
    assert_eq!(conditions(&[], &window(0, 1)), Conditions::default());
    assert_eq!(conditions(&calm, &[]), Conditions::default());
}
