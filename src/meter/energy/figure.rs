//! The energy of a test: what its repetitions drew, tokens per joule, how far that may be off, and what speaks against it.

use wattle_boards::sensor::{Method, Scope};

use super::student::half_width_95;
use super::{Conditions, Cost, Source, Window};
use crate::error::{Error, Result};

/// Less time, fewer readings or fewer steps of a counter than these make a window short.
const SHORT_S: f64 = 60.0;
const SHORT_SAMPLES: usize = 20;
const SHORT_STEPS: f64 = 100.0;
/// The share of readings, or of time, that may be missing.
const LOST: f64 = 0.05;
/// The share of the joules that has to be left above rest.
const LEAST_NET: f64 = 0.01;
/// Shortest idle baseline.
pub(super) const IDLE_S: f64 = 10.0;

/// A part of a repetition: its tokens, and the energy while they went through the model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Part {
    /// Tokens.
    pub tokens: usize,
    /// Energy.
    pub window: Window,
}

/// A repetition.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// What was measured. Repetitions of different scopes make no figure together.
    pub scope: Scope,
    /// All of it; `None` when the sensor did not tell.
    pub all: Option<Part>,
    /// The prompt, when the repetition has one.
    pub prompt: Option<Part>,
    /// The tokens after it, when it has some.
    pub generated: Option<Part>,
}

/// The power of the machine at rest, with the model in memory.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Idle {
    /// How long it was measured.
    pub seconds: f64,
    /// Its mean.
    pub w: f64,
}

impl Idle {
    /// The mean power of a window of at least ten seconds.
    #[must_use]
    pub fn of(window: &Window) -> Option<Self> {
        let w = window.mean_w().filter(|_| window.seconds >= IDLE_S)?;
        Some(Self {
            seconds: window.seconds,
            w,
        })
    }
}

/// What speaks against a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flag {
    /// Less than 60 s, 20 readings, or a hundred steps of the counter.
    ShortWindow,
    /// The machine throttled or its voltage fell.
    Throttled,
    /// The clock's limit or its governor changed, or the clock itself by more than a tenth.
    FrequencyChanged,
    /// Pages came back from swap.
    Swapped,
    /// Other programs used more than a tenth of the processor.
    Busy,
    /// More than a twentieth of the readings or of the time is missing.
    LostSamples,
    /// The machine is a virtual one: an outside meter measured its host, and whatever else runs there.
    VirtualMachine,
}

impl Flag {
    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ShortWindow => "short_window",
            Self::Throttled => "throttled",
            Self::FrequencyChanged => "frequency_changed",
            Self::Swapped => "swapped",
            Self::Busy => "busy",
            Self::LostSamples => "lost_samples",
            Self::VirtualMachine => "virtual_machine",
        }
    }
}

/// The energy of a test.
#[derive(Debug, Clone, PartialEq)]
pub struct Energy {
    /// Who measured.
    pub source: Source,
    /// The repetitions together.
    pub all: Part,
    /// Their prompts together.
    pub prompt: Option<Part>,
    /// What was generated in them, together.
    pub generated: Option<Part>,
    /// Tokens per joule of each repetition.
    pub tok_per_j: Vec<f64>,
    /// The machine at rest.
    pub idle: Option<Idle>,
    /// The state of the machine.
    pub conditions: Conditions,
    /// What reading the sensor took.
    pub cost: Cost,
    /// What speaks against the figure, each once.
    pub flags: Vec<Flag>,
}

impl Energy {
    /// What `repetitions` say together, measured by `source`.
    ///
    /// # Errors
    /// [`Error::Argument`] when they are of different scopes: joules of a package and of a wall have no mean.
    pub fn of(
        source: Source,
        repetitions: &[Measured],
        idle: Option<Idle>,
        conditions: Conditions,
        cost: Cost,
    ) -> Result<Self> {
        if let Some(other) = repetitions.iter().find(|one| one.scope != source.scope) {
            return Err(Error::Argument {
                name: "energy",
                value: format!("repetitions of scope {} and {}", source.scope, other.scope),
                expected: "one scope: figures of different scopes are never added or averaged"
                    .into(),
            });
        }
        let together = |of: fn(&Measured) -> Option<Part>| {
            let mut parts = repetitions.iter().filter_map(of);
            let first = parts.next()?;
            Some(parts.fold(first, |mut sum, part| {
                sum.tokens += part.tokens;
                sum.window.add(&part.window);
                sum
            }))
        };
        let nothing = Part {
            tokens: 0,
            window: Window::default(),
        };
        let known = repetitions.iter().filter_map(|one| one.all);
        let mut energy = Self {
            all: together(|one| one.all).unwrap_or(nothing),
            prompt: together(|one| one.prompt),
            generated: together(|one| one.generated),
            tok_per_j: known.filter_map(|part| part.tok_per_j()).collect(),
            idle,
            source,
            conditions,
            cost,
            flags: Vec::new(),
        };
        let complete = repetitions.iter().all(|one| one.all.is_some());
        energy.flags = energy.flags(complete);
        Ok(energy)
    }

    /// Joules, if the sensor told any.
    #[must_use]
    pub fn joules(&self) -> Option<f64> {
        Some(self.all.window.joules).filter(|&j| j > 0.0)
    }

    /// Mean power.
    #[must_use]
    pub fn mean_w(&self) -> Option<f64> {
        self.all.window.mean_w().filter(|&w| w > 0.0)
    }

    /// Tokens per joule, gross.
    #[must_use]
    pub fn gross(&self) -> Option<f64> {
        self.all.tok_per_j()
    }

    /// Joules above those of the same time at rest.
    #[must_use]
    pub fn net_joules(&self) -> Option<f64> {
        Some(self.joules()? - self.idle?.w * self.all.window.seconds)
    }

    /// Tokens per joule above rest; `None` without a baseline, and when the test drew less than a hundredth more than that: the difference
    /// of two powers that are nearly the same is noise.
    #[must_use]
    pub fn net(&self) -> Option<f64> {
        let least = LEAST_NET * self.joules()?;
        let joules = self.net_joules().filter(|&j| j > least)?;
        Some(self.all.tokens as f64 / joules)
    }

    /// Half the width of the 95 % confidence interval of [`gross`](Self::gross) over the repetitions; `None` for fewer than three.
    #[must_use]
    pub fn ci95(&self) -> Option<f64> {
        half_width_95(&self.tok_per_j)
    }

    /// The relative error of the instrument: what is stated, and half a step of its readings. `None` when neither is known.
    ///
    /// Half a step off is the worst case for a constant power, and a whole step for a counter, which is read at both ends of every window.
    #[must_use]
    pub fn instrument_rel(&self) -> Option<f64> {
        let step = self
            .source
            .resolution
            .and_then(|step| match self.source.method {
                Method::Integrated => Some(step / 2.0 / self.mean_w()?),
                Method::Counter => Some(step * self.tok_per_j.len() as f64 / self.joules()?),
            });
        match (self.source.accuracy, step) {
            (None, None) => None,
            (stated, step) => Some(stated.unwrap_or(0.0) + step.unwrap_or(0.0)),
        }
    }

    /// The error of [`gross`](Self::gross): repetitions and instrument in quadrature, since one tells nothing of the other. `None` for
    /// fewer than three repetitions.
    #[must_use]
    pub fn plus_minus(&self) -> Option<f64> {
        let instrument = self.instrument_rel().unwrap_or(0.0) * self.gross()?;
        Some(self.ci95()?.hypot(instrument))
    }

    /// Readings a second.
    #[must_use]
    pub fn hz(&self) -> Option<f64> {
        let window = &self.all.window;
        (window.seconds > 0.0).then(|| window.samples as f64 / window.seconds)
    }

    fn flags(&self, complete: bool) -> Vec<Flag> {
        let window = &self.all.window;
        let few_steps = self.source.method == Method::Counter
            && self
                .source
                .resolution
                .is_some_and(|step| window.joules < SHORT_STEPS * step);
        let short = window.seconds < SHORT_S || window.samples < SHORT_SAMPLES || few_steps;
        let (lost, samples) = (window.lost as f64, window.samples as f64);
        let lost = !complete
            || window.gap_s > LOST * window.seconds
            || lost > LOST * (lost + samples)
            || self.joules().is_none();
        let found = &self.conditions;
        [
            (short, Flag::ShortWindow),
            (found.throttled, Flag::Throttled),
            (found.frequency_changed, Flag::FrequencyChanged),
            (found.swapped, Flag::Swapped),
            (found.busy, Flag::Busy),
            (lost, Flag::LostSamples),
            (found.virtual_machine, Flag::VirtualMachine),
        ]
        .into_iter()
        .filter_map(|(is, flag)| is.then_some(flag))
        .collect()
    }
}

impl Part {
    /// Tokens per joule; `None` when there were no joules.
    #[must_use]
    pub fn tok_per_j(&self) -> Option<f64> {
        let some = self.tokens > 0 && self.window.joules > 0.0;
        some.then(|| self.tokens as f64 / self.window.joules)
    }

    /// Joules per token.
    #[must_use]
    pub fn j_per_tok(&self) -> Option<f64> {
        self.tok_per_j().map(|rate| 1.0 / rate)
    }
}
