//! What one test of `wattle bench` leaves: a record, and the list of its fields that every exporter goes through.
//!
//! The names are llama-bench's wherever it has the field, so that its readers read ours. Not taken over are its fields on
//! GPUs and on switches that wattle does not have; `gpu_info` is empty and `backends` is `CPU`, as llama-bench says without a GPU.
//!
//! Ours:
//!
//! | field | content |
//! |---|---|
//! | `version`, `isa` | of wattle; the instruction set in use |
//! | `median_ns`, `median_ts`, `min_ts`, `max_ts` | of the repetitions |
//! | `bytes_per_token` | decoding only: weights, and cache rows at the mean depth of the test, that a token reads |
//! | `gbps` | the same in 10^9 bytes a second, at the median speed |
//! | `roofline_gbps`, `roofline_share` | what the same threads read from memory just before or after ([`super::Roofline`]), and `gbps` over it |
//! | `against_*`, `ratio` | another program in turn with ours, and the ratio of the two medians ([`Against`]) |
//!
//! What was not measured is null, never 0. **A new column is a line in a list below.**

use super::{Against, Roofline, Samples, Spread};

/// A test that was done.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Who measured, and on what.
    pub origin: Origin,
    /// What was measured.
    pub model: Subject,
    /// How it was set up.
    pub setup: Setup,
    /// The tokens.
    pub test: Test,
    /// When the test began, as RFC 3339 has it.
    pub time: String,
    /// The repetitions.
    pub samples: Samples,
    /// Bytes that decoding a token reads; `None` for a test that is not all decoding.
    pub bytes_per_token: Option<u64>,
    /// What the memory gave.
    pub roofline: Option<Roofline>,
    /// Another program at the same.
    pub against: Option<Against>,
}

/// The program that measured, and the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The commit that it was built from.
    pub commit: String,
    /// The number of the build.
    pub number: u64,
    /// Its version.
    pub version: String,
    /// The machine.
    pub cpu: String,
    /// The instruction set in use.
    pub isa: &'static str,
}

/// The model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Its file.
    pub filename: String,
    /// Architecture, size and mix of types, for people: `deepseek2 16B Q4_K_M`.
    pub kind: String,
    /// Bytes of its tensors.
    pub bytes: u64,
    /// Numbers in its tensors.
    pub parameters: u64,
}

/// How a test is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setup {
    /// Tokens of a prompt after which there are logits.
    pub batch: usize,
    /// Most tokens of a pass.
    pub ubatch: usize,
    /// Threads.
    pub threads: usize,
    /// The numbers of the cache.
    pub cache: &'static str,
}

/// The tokens of a test: `prompt` in batches, then `generated` one after the other, all after `depth` that are not timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Test {
    /// Tokens of the prompt.
    pub prompt: usize,
    /// Tokens generated.
    pub generated: usize,
    /// Tokens that the context holds before.
    pub depth: usize,
}

impl Test {
    /// Tokens that are timed.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.prompt + self.generated
    }

    /// Tokens that the context has to hold.
    #[must_use]
    pub fn context(&self) -> usize {
        self.depth + self.tokens()
    }

    /// Bytes that decoding a token reads, on average over the test, where a token costs `weights` bytes and a row of each of the
    /// caches, `row` bytes together, for every token up to its own. `None` when not all of the test is decoding.
    #[must_use]
    pub fn bytes_per_token(&self, weights: u64, row: u64) -> Option<u64> {
        let twice_rows = 2 * self.depth as u64 + self.generated as u64 + 1;
        let decodes = self.prompt == 0 && self.generated > 0;
        decodes.then(|| weights.saturating_add(row.saturating_mul(twice_rows) / 2))
    }
}

/// llama-bench's name of the test: `pp512`, `tg128 @ d64`, `pp512+tg128`.
impl core::fmt::Display for Test {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match (self.prompt, self.generated) {
            (prompt, 0) => write!(f, "pp{prompt}")?,
            (0, generated) => write!(f, "tg{generated}")?,
            (prompt, generated) => write!(f, "pp{prompt}+tg{generated}")?,
        }
        match self.depth {
            0 => Ok(()),
            depth => write!(f, " @ d{depth}"),
        }
    }
}

impl Record {
    /// 10^9 bytes a second that decoding read, at the median speed.
    #[must_use]
    pub fn gbps(&self) -> Option<f64> {
        Some(self.bytes_per_token? as f64 * self.samples.speed()?.median / 1e9)
    }

    /// [`gbps`](Self::gbps) as a share of what the memory gave.
    #[must_use]
    pub fn roofline_share(&self) -> Option<f64> {
        Some(self.gbps()? / self.roofline?.gbps())
    }

    /// The median of our speed over that of the other program.
    #[must_use]
    pub fn ratio(&self) -> Option<f64> {
        let theirs = self.against.as_ref()?.best()?.speed()?.median;
        Some(self.samples.speed()?.median / theirs)
    }
}

/// The value of a field.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Not measured.
    Missing,
    /// Text.
    Text(String),
    /// An integer.
    Integer(u64),
    /// A number.
    Number(f64),
    /// Several values; only JSON has them.
    List(Vec<Value>),
}

/// What the values of a field are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// [`Value::Text`]
    Text,
    /// [`Value::Integer`]
    Integer,
    /// [`Value::Number`]
    Number,
    /// [`Value::List`]
    List,
}

/// A column.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What its values are, where they are not missing.
    pub kind: Kind,
    /// The value in a record.
    pub get: fn(&Record) -> Value,
}

/// The columns of a report; `against` when another program is measured too.
pub fn fields(against: bool) -> impl Iterator<Item = &'static Field> {
    let more = if against { AGAINST } else { &[] };
    FIELDS.iter().chain(more)
}

macro_rules! fields {
    ($($list:ident { $($name:ident: $kind:ident = $get:expr,)+ })+) => {
        $(const $list: &[Field] = &[$(Field {
            name: stringify!($name),
            kind: Kind::$kind,
            get: |record| {
                let get: fn(&Record) -> _ = $get;
                Value::from(get(record))
            },
        },)+];)+
    };
}

fields! {
    FIELDS {
        build_commit: Text = |r| r.origin.commit.clone(),
        build_number: Integer = |r| r.origin.number,
        version: Text = |r| r.origin.version.clone(),
        cpu_info: Text = |r| r.origin.cpu.clone(),
        gpu_info: Text = |_| String::new(),
        backends: Text = |_| String::from("CPU"),
        isa: Text = |r| String::from(r.origin.isa),
        model_filename: Text = |r| r.model.filename.clone(),
        model_type: Text = |r| r.model.kind.clone(),
        model_size: Integer = |r| r.model.bytes,
        model_n_params: Integer = |r| r.model.parameters,
        n_batch: Integer = |r| r.setup.batch as u64,
        n_ubatch: Integer = |r| r.setup.ubatch as u64,
        n_threads: Integer = |r| r.setup.threads as u64,
        type_k: Text = |r| String::from(r.setup.cache),
        type_v: Text = |r| String::from(r.setup.cache),
        n_prompt: Integer = |r| r.test.prompt as u64,
        n_gen: Integer = |r| r.test.generated as u64,
        n_depth: Integer = |r| r.test.depth as u64,
        test_time: Text = |r| r.time.clone(),
        avg_ns: Integer = |r| r.samples.times().map(|times| times.mean as u64),
        stddev_ns: Integer = |r| r.samples.times().map(|times| times.stddev as u64),
        avg_ts: Number = |r| speed(r, |speed| speed.mean),
        stddev_ts: Number = |r| speed(r, |speed| speed.stddev),
        median_ns: Integer = |r| r.samples.times().map(|times| times.median as u64),
        median_ts: Number = |r| speed(r, |speed| speed.median),
        min_ts: Number = |r| speed(r, |speed| speed.min),
        max_ts: Number = |r| speed(r, |speed| speed.max),
        bytes_per_token: Integer = |r| r.bytes_per_token,
        gbps: Number = Record::gbps,
        roofline_gbps: Number = |r| r.roofline.map(|roofline| roofline.gbps()),
        roofline_share: Number = Record::roofline_share,
        samples_ns: List = |r| r.samples.ns().to_vec(),
        samples_ts: List = |r| r.samples.rates(),
    }
    AGAINST {
        against_program: Text = |r| r.against.as_ref().map(|other| other.program.clone()),
        against_args: Text = |r| r.against.as_ref().map(|other| other.args.clone()),
        against_build_commit: Text = |r| r.against.as_ref().map(|other| other.commit.clone()),
        against_build_number: Integer = |r| r.against.as_ref().and_then(|other| other.number),
        against_flash_attn: Integer = |r| r.against.as_ref()?.best()?.flash_attn.map(u64::from),
        against_avg_ts: Number = |r| theirs(r, |speed| speed.mean),
        against_stddev_ts: Number = |r| theirs(r, |speed| speed.stddev),
        against_median_ts: Number = |r| theirs(r, |speed| speed.median),
        against_fa0_median_ts: Number = |r| r.against.as_ref()?.median_with(0),
        against_fa1_median_ts: Number = |r| r.against.as_ref()?.median_with(1),
        ratio: Number = Record::ratio,
        against_samples_ts: List = |r| {
            let best = r.against.as_ref().and_then(Against::best);
            best.map_or_else(Vec::new, |best| best.ts.clone())
        },
    }
}

fn speed(record: &Record, of: fn(&Spread) -> f64) -> Option<f64> {
    record.samples.speed().as_ref().map(of)
}

fn theirs(record: &Record, of: fn(&Spread) -> f64) -> Option<f64> {
    let speed = record.against.as_ref()?.best()?.speed()?;
    Some(of(&speed))
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Value {
    fn from(integer: u64) -> Self {
        Self::Integer(integer)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Missing, Into::into)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(values: Vec<T>) -> Self {
        Self::List(values.into_iter().map(Into::into).collect())
    }
}

#[cfg(test)]
pub(crate) mod tests;
