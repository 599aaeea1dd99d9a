//! Readings of one sensor over time, and the energy between two moments.
//!
//! Between two readings power is a line and a counter is a line too, so that
//!
//! ```text
//! integrated   E(a, b) = sum of (t[i+1] - t[i]) * (w[i] + w[i+1]) / 2     trapezoids, those at the ends cut at a and b
//! counter      E(a, b) = j(b) - j(a)                                       j interpolated at both
//! ```
//!
//! A gap is time that readings do not tell of: before the first and after the last one, between two that are further apart than
//! three usual steps (where a counter is still right, unless a or b lies in it), and where a counter began anew. Time without any
//! power known counts with the mean power of the rest of the window; a window of which less than half is known has no energy.

use wattle_boards::sensor::{Amount, Method};

/// Readings kept; the older half goes when there are more. Weeks of ten a second would fill a small machine.
const MOST: usize = 1 << 20;
/// Steps between readings that make no gap yet.
const STEPS: f64 = 3.0;

/// A reading.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Seconds since the sampler began.
    pub at_s: f64,
    /// Watts, or joules of a counter.
    pub value: f64,
    /// The counter began anew before it.
    pub broken: bool,
}

/// The readings of one sensor.
#[derive(Debug, Clone)]
pub struct Trace {
    method: Method,
    /// Seconds between readings, as the sensor states; 0 where it does not know.
    period_s: f64,
    samples: Vec<Sample>,
    /// When there should have been a reading and was none.
    lost_s: Vec<f64>,
    broken: bool,
}

/// The energy of a stretch of time.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Window {
    /// Its length.
    pub seconds: f64,
    /// Joules.
    pub joules: f64,
    /// Readings within it.
    pub samples: usize,
    /// Readings that failed within it.
    pub lost: usize,
    /// Seconds of it that readings do not tell of.
    pub gap_s: f64,
}

impl Window {
    /// Mean power; `None` of no time.
    #[must_use]
    pub fn mean_w(&self) -> Option<f64> {
        (self.seconds > 0.0).then(|| self.joules / self.seconds)
    }

    /// Adds a window of other time.
    pub fn add(&mut self, other: &Self) {
        self.seconds += other.seconds;
        self.joules += other.joules;
        self.samples += other.samples;
        self.lost += other.lost;
        self.gap_s += other.gap_s;
    }
}

impl Trace {
    /// No reading yet, of a sensor that is read every `period_s` seconds.
    #[must_use]
    pub fn new(method: Method, period_s: f64) -> Self {
        Self {
            method,
            period_s,
            samples: Vec::new(),
            lost_s: Vec::new(),
            broken: false,
        }
    }

    /// Adds a reading. One that is not after the one before it, or is none of this method, is lost.
    pub fn push(&mut self, at_s: f64, amount: Amount) {
        let value = match (amount, self.method) {
            (Amount::Joules(j), Method::Counter) => j,
            (Amount::Watts(w), Method::Integrated) => w,
            _ => return self.lose(at_s),
        };
        let after = self.samples.last().is_none_or(|last| at_s > last.at_s);
        if !after || !at_s.is_finite() || !value.is_finite() {
            return self.lose(at_s);
        }
        if self.samples.len() >= MOST {
            self.samples.drain(..MOST / 2);
        }
        self.samples.push(Sample {
            at_s,
            value,
            broken: core::mem::take(&mut self.broken),
        });
    }

    /// There is no reading.
    pub fn lose(&mut self, at_s: f64) {
        if self.lost_s.len() >= MOST {
            self.lost_s.drain(..MOST / 2);
        }
        self.lost_s.push(at_s);
    }

    /// A counter began anew: what it advanced since the last reading is not known.
    pub fn reset(&mut self, at_s: f64) {
        self.broken = true;
        self.lose(at_s);
    }

    /// The readings.
    #[must_use]
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// Watts by the last reading, or the last two of a counter.
    #[must_use]
    pub fn last_w(&self) -> Option<f64> {
        match (self.method, self.samples.as_slice()) {
            (Method::Integrated, [.., last]) => Some(last.value),
            (Method::Counter, [.., a, b]) if !b.broken => {
                Some((b.value - a.value) / (b.at_s - a.at_s))
            }
            _ => None,
        }
    }

    /// The energy from `from_s` to `to_s`; `None` when less than half of that is known.
    #[must_use]
    pub fn window(&self, from_s: f64, to_s: f64) -> Option<Window> {
        let seconds = to_s - from_s;
        // Also false for what is no number.
        if !(seconds > 0.0 && seconds.is_finite()) {
            return None;
        }
        // One reading before and one after it, where there are.
        let first = self.samples.partition_point(|sample| sample.at_s <= from_s);
        let last = self.samples.partition_point(|sample| sample.at_s < to_s);
        let end = self.samples.len().min(last + 1);
        let samples = &self.samples[first.saturating_sub(1).min(end)..end];
        let longest_s = self.longest_step_s(samples);
        let (mut joules, mut known_s, mut doubtful_s) = (0.0, 0.0, 0.0);
        for pair in samples.windows(2) {
            let (a, b) = (pair[0], pair[1]);
            let (start, end) = (a.at_s.max(from_s), b.at_s.min(to_s));
            let step_s = b.at_s - a.at_s;
            if end <= start {
                continue;
            }
            let whole = start == a.at_s && end == b.at_s;
            joules += match self.method {
                Method::Counter if b.broken => continue,
                Method::Counter => (b.value - a.value) * (end - start) / step_s,
                Method::Integrated => {
                    let at = |t: f64| a.value + (b.value - a.value) * (t - a.at_s) / step_s;
                    (end - start) * f64::midpoint(at(start), at(end))
                }
            };
            known_s += end - start;
            let tells = step_s <= longest_s || (whole && self.method == Method::Counter);
            doubtful_s += if tells { 0.0 } else { end - start };
        }
        if known_s < seconds / 2.0 {
            return None;
        }
        let within = |times: &[f64]| times.iter().filter(|&&t| t >= from_s && t <= to_s).count();
        let inside = |sample: &&Sample| sample.at_s >= from_s && sample.at_s <= to_s;
        Some(Window {
            seconds,
            joules: joules * seconds / known_s,
            samples: samples.iter().filter(inside).count(),
            lost: within(&self.lost_s),
            gap_s: (seconds - known_s + doubtful_s).max(0.0),
        })
    }

    /// Seconds between two readings above which there is a gap: the usual step is the stated one, or the median where that is more.
    fn longest_step_s(&self, samples: &[Sample]) -> f64 {
        let mut steps: Vec<f64> = samples
            .windows(2)
            .map(|pair| pair[1].at_s - pair[0].at_s)
            .collect();
        steps.sort_unstable_by(f64::total_cmp);
        // Of two steps the shorter one: it may be the other that is the gap.
        let median = steps.get(steps.len().saturating_sub(1) / 2).copied();
        STEPS * self.period_s.max(median.unwrap_or(0.0))
    }
}
