//! The columns of a record, each a line in a list.
//!
//! Those of energy are columns `energy_NAME` where a record is a row, and the fields `NAME` of an object `energy` in JSON.

use super::Record;
use crate::meter::energy::Energy;
use crate::meter::{Against, Spread};

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
    /// A few words: a list in JSON, words with spaces between in a column.
    Words(Vec<&'static str>),
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
    /// [`Value::Words`]
    Words,
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

/// The columns of energy, with [`ENERGY_PREFIX`] before their names.
pub fn energy_fields() -> &'static [Field] {
    ENERGY
}

/// What the names of the columns of energy begin with.
pub const ENERGY_PREFIX: &str = "energy_";

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
    ENERGY {
        energy_scope: Text = |r| energy(r, |e| e.source.scope.name().to_owned()),
        energy_source: Text = |r| energy(r, |e| e.source.name.clone()),
        energy_method: Text = |r| energy(r, |e| e.source.method.name().to_owned()),
        energy_window_s: Number = |r| energy(r, |e| e.all.window.seconds),
        energy_samples: Integer = |r| energy(r, |e| e.all.window.samples as u64),
        energy_hz: Number = |r| r.energy.as_ref()?.hz(),
        energy_gap_s: Number = |r| energy(r, |e| e.all.window.gap_s),
        energy_joules: Number = |r| r.energy.as_ref()?.joules(),
        energy_mean_w: Number = |r| r.energy.as_ref()?.mean_w(),
        energy_idle_w: Number = |r| Some(r.energy.as_ref()?.idle?.w),
        energy_idle_s: Number = |r| Some(r.energy.as_ref()?.idle?.seconds),
        energy_tok_per_j: Number = |r| r.energy.as_ref()?.gross(),
        energy_j_per_tok: Number = |r| r.energy.as_ref()?.all.j_per_tok(),
        energy_j_per_prompt_tok: Number = |r| r.energy.as_ref()?.prompt?.j_per_tok(),
        energy_j_per_gen_tok: Number = |r| r.energy.as_ref()?.generated?.j_per_tok(),
        energy_net_joules: Number = |r| r.energy.as_ref()?.net_joules(),
        energy_net_tok_per_j: Number = |r| r.energy.as_ref()?.net(),
        energy_ci95: Number = |r| r.energy.as_ref()?.ci95(),
        energy_instrument_rel: Number = |r| r.energy.as_ref()?.instrument_rel(),
        energy_plus_minus: Number = |r| r.energy.as_ref()?.plus_minus(),
        energy_flags: Words = |r| energy(r, |e| {
            Value::Words(e.flags.iter().map(|flag| flag.name()).collect())
        }),
        energy_temp_start_c: Number = |r| r.energy.as_ref()?.conditions.temp_start_c,
        energy_temp_end_c: Number = |r| r.energy.as_ref()?.conditions.temp_end_c,
        energy_governor: Text = |r| r.energy.as_ref()?.conditions.governor.clone(),
        energy_freq_khz: Integer = |r| r.energy.as_ref()?.conditions.freq_khz,
        energy_sensor_read_s: Number = |r| energy(r, |e| e.cost.read_s),
        energy_sensor_cpu_share: Number = |r| energy(r, |e| e.cost.cpu_share),
        energy_samples_tok_per_j: List = |r| energy(r, |e| e.tok_per_j.clone()).unwrap_or_default(),
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

fn energy<T>(record: &Record, of: fn(&Energy) -> T) -> Option<T> {
    record.energy.as_ref().map(of)
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
