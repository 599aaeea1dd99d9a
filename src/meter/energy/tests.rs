//! A power curve whose integral is known, read by clocks that jitter. Time is a number here, so that nothing depends on how fast the machine
//! is.

use core::f64::consts::TAU;

use proptest::prelude::*;
use wattle_boards::sensor::{Amount, Method};

use super::*;
use crate::sample::Pcg32;

mod figure;
mod threads;

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
