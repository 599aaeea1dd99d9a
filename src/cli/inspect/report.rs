//! All that `inspect` says of a file, collected once for both outputs.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Serialize, Serializer};
use wattle::gguf::{Array, Gguf, Metadata, Value};

use super::traffic::{self, Keys, Memory, Token};

/// The most values of an array in the JSON.
const JSON_VALUES: usize = 1024;

/// What a file holds and costs. The fields are those of the JSON; see [`super`].
#[derive(Debug, Serialize)]
pub(super) struct Report<'a> {
    pub(super) file: Cow<'a, str>,
    pub(super) files: usize,
    pub(super) file_bytes: u64,
    pub(super) version: u32,
    pub(super) cut: Option<Cut>,
    pub(super) architecture: Option<&'a str>,
    pub(super) name: Option<&'a str>,
    pub(super) context_length: Option<u64>,
    pub(super) parameters: u64,
    pub(super) weight_bytes: u64,
    pub(super) types: Vec<TypeShare>,
    pub(super) token: Option<Token>,
    pub(super) memory: Option<Memory>,
    #[serde(serialize_with = "object")]
    pub(super) metadata: &'a Metadata,
    pub(super) tensors: Vec<Tensor<'a>>,
    pub(super) notes: Vec<String>,
}

/// Where the file ends too early.
#[derive(Debug, Serialize)]
pub(super) struct Cut {
    pub(super) file: PathBuf,
    pub(super) place: String,
    pub(super) at: u64,
    pub(super) have_bytes: u64,
    pub(super) need_bytes: u64,
    pub(super) exact: bool,
    #[serde(skip)]
    pub(super) sentence: String,
}

/// How much of the weights is of one type.
#[derive(Debug, Serialize)]
pub(super) struct TypeShare {
    #[serde(rename = "type")]
    pub(super) ty: &'static str,
    pub(super) tensors: u64,
    pub(super) parameters: u64,
    pub(super) bytes: u64,
    pub(super) share: f64,
}

/// One line of the tensor list.
#[derive(Debug, Serialize)]
pub(super) struct Tensor<'a> {
    pub(super) name: &'a str,
    pub(super) shape: &'a [u64],
    #[serde(rename = "type")]
    pub(super) ty: &'static str,
    pub(super) bytes: u64,
    pub(super) file: usize,
    pub(super) offset: u64,
}

impl<'a> Report<'a> {
    /// Collects the report on `model`, for a context of `ctx` tokens (0: the model's own).
    pub(super) fn of(model: &'a Gguf, ctx: u64) -> Self {
        let metadata = model.metadata();
        let mut keys = Keys::new(metadata);
        let context_length = keys.number("context_length");
        // Sums over a list that is not whole would mislead.
        let whole = model.cut().is_none_or(|cut| cut.exact);
        let token = whole.then(|| traffic::token(model, &mut keys)).flatten();
        let ctx = context_length.filter(|_| ctx == 0).unwrap_or(ctx);
        let memory = whole
            .then(|| traffic::memory(model, &mut keys, ctx))
            .flatten();
        let sum = |of: fn(&wattle::gguf::TensorInfo) -> u64| {
            model.tensors().iter().map(of).fold(0, u64::saturating_add)
        };
        let weight_bytes = sum(|t| t.n_bytes());
        Self {
            file: model.path().to_string_lossy(),
            files: model.files(),
            file_bytes: model.file_bytes(),
            version: model.version(),
            cut: model.cut().map(Cut::of),
            architecture: keys.architecture(),
            name: metadata.str("general.name").ok().flatten(),
            context_length,
            parameters: sum(|t| t.elements()),
            weight_bytes,
            types: types(model, weight_bytes),
            token,
            memory,
            metadata,
            tensors: model.tensors().iter().map(Tensor::of).collect(),
            notes: keys.into_notes(),
        }
    }

    /// The report as indented JSON with a closing line break.
    ///
    /// Characters that steer a terminal are escaped also where JSON would allow them as they are.
    pub(super) fn json(&self) -> String {
        // Serialising to a string fails only for maps with keys that are no strings, of which there are none.
        let json = serde_json::to_string_pretty(self).unwrap_or_default();
        let mut safe = String::with_capacity(json.len() + 1);
        for c in json.chars() {
            if c != '\n' && steers(c) {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    safe.push_str(&format!("\\u{unit:04x}"));
                }
            } else {
                safe.push(c);
            }
        }
        safe.push('\n');
        safe
    }
}

/// Whether a character moves the cursor, changes colours or turns the direction of the text around.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

impl Cut {
    fn of(cut: &wattle::gguf::Cut) -> Self {
        Self {
            file: cut.path.clone(),
            place: cut.place.to_string(),
            at: cut.at,
            have_bytes: cut.have,
            need_bytes: cut.need,
            exact: cut.exact,
            sentence: cut.to_string(),
        }
    }
}

impl<'a> Tensor<'a> {
    fn of(info: &'a wattle::gguf::TensorInfo) -> Self {
        Self {
            name: &info.name,
            shape: info.shape(),
            ty: info.ty.name(),
            bytes: info.n_bytes(),
            file: info.shard(),
            offset: info.offset(),
        }
    }
}

/// Sums by type, the largest first.
fn types(model: &Gguf, weight_bytes: u64) -> Vec<TypeShare> {
    let mut sums = BTreeMap::new();
    for tensor in model.tensors() {
        let (count, parameters, bytes) = sums.entry(tensor.ty).or_insert((0_u64, 0_u64, 0_u64));
        *count += 1;
        *parameters = parameters.saturating_add(tensor.elements());
        *bytes = bytes.saturating_add(tensor.n_bytes());
    }
    let mut types: Vec<TypeShare> = sums
        .into_iter()
        .map(|(ty, (tensors, parameters, bytes))| TypeShare {
            ty: ty.name(),
            tensors,
            parameters,
            bytes,
            share: bytes as f64 / weight_bytes.max(1) as f64,
        })
        .collect();
    types.sort_by_key(|share| core::cmp::Reverse(share.bytes));
    types
}

fn object<S: Serializer>(metadata: &Metadata, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(metadata.iter().map(|(key, value)| (key, Json(value))))
}

/// A metadata value in JSON.
struct Json<'a>(&'a Value);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::U8(v) => v.serialize(serializer),
            Value::I8(v) => v.serialize(serializer),
            Value::U16(v) => v.serialize(serializer),
            Value::I16(v) => v.serialize(serializer),
            Value::U32(v) => v.serialize(serializer),
            Value::I32(v) => v.serialize(serializer),
            Value::F32(v) => v.serialize(serializer),
            Value::Bool(v) => v.serialize(serializer),
            Value::U64(v) => v.serialize(serializer),
            Value::I64(v) => v.serialize(serializer),
            Value::F64(v) => v.serialize(serializer),
            Value::String(v) => String::from_utf8_lossy(v).serialize(serializer),
            Value::Array(array) => Head::of(array).serialize(serializer),
        }
    }
}

/// An array in JSON.
#[derive(Serialize)]
struct Head<'a> {
    #[serde(rename = "type")]
    ty: &'static str,
    count: usize,
    #[serde(serialize_with = "values")]
    values: &'a Array,
}

impl<'a> Head<'a> {
    fn of(array: &'a Array) -> Self {
        Self {
            ty: array.ty().name(),
            count: array.len(),
            values: array,
        }
    }
}

fn values<S: Serializer>(array: &Array, serializer: S) -> Result<S::Ok, S::Error> {
    let values: Vec<Value> = array.iter().take(JSON_VALUES).collect();
    serializer.collect_seq(values.iter().map(Json))
}
