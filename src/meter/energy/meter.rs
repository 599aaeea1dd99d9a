//! A sensor and the state of the machine, watched together while work is done.

use core::ops::ControlFlow;
use core::time::Duration;
use std::thread;
use std::time::Instant;

use wattle_boards::sensor::Sensor;

use super::figure::IDLE_S;
use super::{Energy, Idle, Measured, Part, Sampler, Source, Watch};
use crate::error::Result;

/// When a repetition did what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// It began with its prompt, of so many tokens.
    pub begin: Instant,
    /// Tokens of the prompt.
    pub prompt: usize,
    /// Its prompt ended, and what it generates began.
    pub prompt_end: Instant,
    /// Tokens that went through the model after the prompt, one by one.
    pub generated: usize,
    /// It ended.
    pub end: Instant,
}

/// A sensor that is read, and a machine that is looked at.
#[derive(Debug)]
pub struct Meter {
    source: Source,
    sampler: Sampler,
    watch: Watch,
    virtual_machine: bool,
}

impl Meter {
    /// Begins to read `sensor`, to whose readings the relative error `accuracy` is stated, on any of the cores `cores`. In a virtual
    /// machine every figure is flagged as that of its host.
    ///
    /// # Errors
    /// When there are no threads for it.
    pub fn start(
        sensor: Box<dyn Sensor>,
        accuracy: Option<f64>,
        virtual_machine: bool,
        cores: &[usize],
    ) -> Result<Self> {
        Ok(Self {
            source: Source::new(sensor.facts(), accuracy),
            sampler: Sampler::start(sensor, cores)?,
            watch: Watch::start(cores)?,
            virtual_machine,
        })
    }

    /// Waits for the first reading, but not for a sensor that is silent.
    pub fn ready(&self) {
        self.sampler.settle(self.sampler.begin());
    }

    /// Asks for a reading and a look at what is a beginning or an end. Does not wait.
    pub fn mark(&self) {
        self.sampler.mark();
        self.watch.mark();
    }

    /// What measures.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The thread that reads the sensor.
    #[must_use]
    pub fn sampler(&self) -> &Sampler {
        &self.sampler
    }

    /// The thread that looks at the machine.
    #[must_use]
    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    /// The power of the machine at rest, over at least ten seconds. `None` when the sensor did not tell, or `go_on` said no.
    pub fn idle(&self, seconds: f64, go_on: &mut dyn FnMut() -> ControlFlow<()>) -> Option<Idle> {
        let begin = Instant::now();
        self.mark();
        let wanted = Duration::try_from_secs_f64(seconds.max(IDLE_S)).ok()?;
        while begin.elapsed() < wanted {
            if go_on().is_break() {
                return None;
            }
            let left = wanted.saturating_sub(begin.elapsed());
            thread::sleep(left.min(Duration::from_millis(100)));
        }
        let end = Instant::now();
        self.mark();
        self.sampler.settle(end);
        Idle::of(&self.sampler.window(begin, end)?)
    }

    /// The energy of the repetitions of a test.
    ///
    /// # Errors
    /// As [`Energy::of`].
    pub fn energy(&self, timings: &[Timing], idle: Option<Idle>) -> Result<Energy> {
        if let Some(last) = timings.last() {
            self.sampler.settle(last.end);
        }
        let windows: Vec<_> = timings
            .iter()
            .map(|timing| (timing.begin, timing.end))
            .collect();
        let mut conditions = self.watch.conditions(&windows);
        conditions.virtual_machine = self.virtual_machine;
        let repetitions: Vec<Measured> =
            timings.iter().map(|timing| self.measured(timing)).collect();
        Energy::of(
            self.source.clone(),
            &repetitions,
            idle,
            conditions,
            self.sampler.cost(),
        )
    }

    fn measured(&self, timing: &Timing) -> Measured {
        let part = |tokens: usize, from: Instant, to: Instant| {
            let window = self.sampler.window(from, to).filter(|_| tokens > 0)?;
            Some(Part { tokens, window })
        };
        let tokens = timing.prompt + timing.generated;
        Measured {
            scope: self.source.scope,
            all: part(tokens, timing.begin, timing.end),
            prompt: part(timing.prompt, timing.begin, timing.prompt_end),
            generated: part(timing.generated, timing.prompt_end, timing.end),
        }
    }
}
