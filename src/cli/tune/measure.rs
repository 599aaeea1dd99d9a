//! The measurement: every way once, and all of that again.

use core::ops::ControlFlow;

use serde_json::{Value, json};
use wattle::bench::Bench;
use wattle::generate::{Session, SessionOptions};
use wattle::meter::energy::{Sampler, Window};
use wattle::meter::pareto::Point;
use wattle::meter::record::Test;
use wattle::{Error, Model, Result, os};
use wattle_boards::Caps;

use super::super::progress;
use super::ways::Way;

/// Less than this, and a figure of energy is marked: the rule of `wattle bench`.
const SHORT_S: f64 = 60.0;
const FEW_SAMPLES: usize = 20;

/// What a way did.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) way: Way,
    /// The highest clock under the cap, in kHz.
    pub(super) cap_khz: Option<u64>,
    /// Tokens of a repetition.
    tokens: usize,
    /// Seconds of each repetition.
    seconds: Vec<f64>,
    /// The energy of all repetitions; `None` when one of them is not known.
    energy: Option<Window>,
}

impl Measured {
    /// Median speed, and energy over all repetitions.
    pub(super) fn point(&self) -> Point {
        let tokens = (self.tokens * self.seconds.len()) as f64;
        let energy = self.energy.filter(|energy| energy.joules > 0.0);
        Point {
            tok_s: self.tokens as f64 / median(&self.seconds),
            tok_j: energy.map(|energy| tokens / energy.joules),
        }
    }

    /// Mean power over all repetitions, in watts.
    pub(super) fn mean_w(&self) -> Option<f64> {
        self.energy.as_ref().and_then(Window::mean_w)
    }

    pub(super) fn json(&self, pareto: bool) -> Value {
        let point = self.point();
        let rates: Vec<f64> = self
            .seconds
            .iter()
            .map(|s| self.tokens as f64 / s)
            .collect();
        let short = |energy: Window| energy.seconds < SHORT_S || energy.samples < FEW_SAMPLES;
        json!({
            "cores": self.way.cores,
            "threads": self.way.threads,
            "cap_khz": self.cap_khz,
            "tok_s": point.tok_s,
            "samples_tok_s": rates,
            "mean_w": self.mean_w(),
            "tok_j": point.tok_j,
            "short_window": self.energy.map(short),
            "pareto": pareto,
        })
    }
}

/// Measures all ways, `(tokens, repetitions)` each; `None` when it was stopped.
pub(super) fn all(
    model: &mut Model,
    ways: &[Way],
    (tokens, repetitions): (usize, usize),
    sampler: Option<&Sampler>,
    caps: Option<&Caps>,
    go_on: &mut dyn FnMut() -> ControlFlow<()>,
) -> Result<Option<Vec<Measured>>> {
    let shown = progress::Spinner::still(false);
    let mut measured: Vec<Measured> = Vec::with_capacity(ways.len());
    for repetition in 0..repetitions {
        for (i, way) in ways.iter().enumerate() {
            shown.say(format!(
                "round {} of {repetitions}, way {} of {}",
                repetition + 1,
                i + 1,
                ways.len()
            ));
            let cap_khz = match (way.share, caps) {
                (Some(share), Some(caps)) => Some(set(caps, share)?),
                _ => None,
            };
            let Some((seconds, energy)) = one(model, way, tokens, sampler, go_on)? else {
                return Ok(None);
            };
            match measured.get_mut(i) {
                Some(before) => {
                    before.seconds.push(seconds);
                    before.energy = match (before.energy, energy) {
                        (Some(mut sum), Some(energy)) => {
                            sum.add(&energy);
                            Some(sum)
                        }
                        _ => None,
                    };
                }
                None => measured.push(Measured {
                    way: way.clone(),
                    cap_khz,
                    tokens,
                    seconds: vec![seconds],
                    energy,
                }),
            }
        }
    }
    Ok(Some(measured))
}

fn set(caps: &Caps, share: f64) -> Result<u64> {
    caps.set(share)
        .map_err(|(file, reason)| Error::io(&file, "write the cap of a clock", reason))
}

/// One repetition: its seconds and its energy. `None` when it was stopped.
fn one(
    model: &mut Model,
    way: &Way,
    tokens: usize,
    sampler: Option<&Sampler>,
    go_on: &mut dyn FnMut() -> ControlFlow<()>,
) -> Result<Option<(f64, Option<Window>)>> {
    let test = Test {
        prompt: 0,
        generated: tokens,
        depth: 0,
    };
    os::confine(&way.cores);
    model.set_threads(Some(way.threads))?;
    model.pool().confine_caller();
    let options = SessionOptions {
        ctx: Some(test.context()),
        ..SessionOptions::default()
    };
    let mut bench = Bench::new(Session::new(model, &options)?, 1);
    if !bench.warm_up(test, go_on)? {
        return Ok(None);
    }
    let from = sampler.map(Sampler::mark);
    let Some(timing) = bench.repetition(test, go_on)? else {
        return Ok(None);
    };
    let energy = sampler.zip(from).and_then(|(sampler, from)| {
        let to = sampler.mark();
        sampler.settle(to);
        sampler.window(from, to)
    });
    let time_s = timing.end.duration_since(timing.begin).as_secs_f64();
    Ok(Some((time_s.max(1e-9), energy)))
}

fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_and_the_sum_count() {
        let measured = Measured {
            way: Way {
                cores: vec![0],
                threads: 1,
                share: None,
            },
            cap_khz: None,
            tokens: 30,
            seconds: vec![10.0, 3.0, 2.0],
            energy: Some(Window {
                seconds: 15.0,
                joules: 45.0,
                samples: 150,
                ..Window::default()
            }),
        };
        let point = measured.point();
        assert_eq!(point.tok_s, 10.0);
        assert_eq!(point.tok_j, Some(2.0));
        assert_eq!(measured.mean_w(), Some(3.0));
        let json = measured.json(true);
        assert_eq!(
            (&json["short_window"], &json["pareto"]),
            (&json!(true), &json!(true))
        );
        assert_eq!(median(&[1.0, 4.0, 2.0, 3.0]), 2.5);
    }
}
