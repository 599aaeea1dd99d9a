//! The two threads: sensors that hang, vanish and lie, and what looks at the machine tell of the time between them.

use core::time::Duration;
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use wattle_boards::sensor::{Amount, Facts, Fault, Method, Reading, Scope, Sensor};
use wattle_boards::{Clock, State};

use super::super::watch::conditions;
use super::super::*;

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
