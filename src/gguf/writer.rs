//! Writes GGUF version 3: keys, then the tensor list, then the data of each tensor in the order of the list.
//!
//! The head goes out before the first weight, so that a model larger than memory can be streamed: declare every tensor
//! ([`Writer::tensor`]), start ([`Writer::start`]), hand over the bytes in pieces of any size ([`Body::write`]). What a
//! reader would refuse is refused here, as [`io::ErrorKind::InvalidInput`].
//!
//! ```
//! use wattle::gguf::{Gguf, GgmlType, Writer};
//!
//! let mut writer = Writer::new();
//! writer.key("general.architecture", "llama")?;
//! writer.array("tokenizer.ggml.tokens", &["a", "b"])?;
//! writer.tensor("output_norm.weight", &[4], GgmlType::F32)?;
//! let mut body = writer.start(Vec::new())?;
//! body.write(&[0; 16])?;
//! let bytes = body.finish()?;
//!
//! let model = Gguf::from_bytes("example.gguf".as_ref(), bytes)?;
//! assert_eq!(model.metadata().need_str("general.architecture")?, "llama");
//! assert_eq!(model.tensors()[0].n_bytes(), 16);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::HashSet;
use std::io::{self, Write};

use super::head::DEFAULT_ALIGNMENT;
use super::tensor::{MAX_DIMS, MAX_NAME, Size};
use super::types::GgmlType;
use super::value::{Value, ValueType};

const VERSION: u32 = 3;

/// A value that a key can have, or an element of an array: an integer, a float, a bool, or a string.
pub trait Scalar {
    /// The type it has in the file.
    const TYPE: ValueType;

    /// Appends its bytes.
    fn put(&self, out: &mut Vec<u8>);
}

macro_rules! scalars {
    ($($rust:ty, $variant:ident;)*) => {
        $(impl Scalar for $rust {
            const TYPE: ValueType = ValueType::$variant;

            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
        })*
    };
}

scalars! {
    u8, U8; i8, I8; u16, U16; i16, I16; u32, U32; i32, I32; f32, F32; u64, U64; i64, I64; f64, F64;
}

impl Scalar for bool {
    const TYPE: ValueType = ValueType::Bool;

    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
}

macro_rules! strings {
    ($($rust:ty),*) => {
        $(impl Scalar for $rust {
            const TYPE: ValueType = ValueType::String;

            fn put(&self, out: &mut Vec<u8>) {
                let bytes: &[u8] = self.as_ref();
                out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
                out.extend_from_slice(bytes);
            }
        })*
    };
}

strings!(&str, String, &[u8], Vec<u8>, Box<[u8]>);

/// The head of a file under construction.
#[derive(Debug, Clone)]
pub struct Writer {
    alignment: u64,
    keys: HashSet<String>,
    key_bytes: Vec<u8>,
    names: HashSet<String>,
    tensor_bytes: Vec<u8>,
    sizes: Vec<u64>,
    data_bytes: u64,
}

impl Default for Writer {
    fn default() -> Self {
        Self::new()
    }
}

impl Writer {
    /// A file without keys and tensors, whose data is aligned to 32 bytes.
    pub fn new() -> Self {
        Self {
            alignment: DEFAULT_ALIGNMENT.into(),
            keys: HashSet::new(),
            key_bytes: Vec::new(),
            names: HashSet::new(),
            tensor_bytes: Vec::new(),
            sizes: Vec::new(),
            data_bytes: 0,
        }
    }

    /// Aligns the data of each tensor to `alignment` bytes, and writes the key that says so. To be called before the
    /// first tensor.
    ///
    /// # Errors
    ///
    /// It is no power of two, the key is there, or a tensor is.
    pub fn align(&mut self, alignment: u32) -> io::Result<()> {
        if !alignment.is_power_of_two() || !self.sizes.is_empty() {
            return refuse(format!(
                "alignment {alignment}: a power of two, set before the first tensor"
            ));
        }
        self.key("general.alignment", alignment)?;
        self.alignment = alignment.into();
        Ok(())
    }

    /// Adds a key.
    ///
    /// # Errors
    ///
    /// The key is empty or there already.
    pub fn key<T: Scalar>(&mut self, key: &str, value: T) -> io::Result<()> {
        self.begin(key, T::TYPE)?;
        value.put(&mut self.key_bytes);
        Ok(())
    }

    /// Adds a key whose value is an array.
    ///
    /// # Errors
    ///
    /// The key is empty or there already.
    pub fn array<T: Scalar>(&mut self, key: &str, values: &[T]) -> io::Result<()> {
        self.begin(key, ValueType::Array)?;
        T::TYPE.id().put(&mut self.key_bytes);
        (values.len() as u64).put(&mut self.key_bytes);
        for value in values {
            value.put(&mut self.key_bytes);
        }
        Ok(())
    }

    /// Adds a key with a value read from another file.
    ///
    /// # Errors
    ///
    /// The key is empty or there already.
    pub fn copy(&mut self, key: &str, value: &Value) -> io::Result<()> {
        self.begin(key, value.ty())?;
        if let Value::Array(array) = value {
            array.ty().id().put(&mut self.key_bytes);
            (array.len() as u64).put(&mut self.key_bytes);
            for element in array {
                put(&element, &mut self.key_bytes);
            }
        } else {
            put(value, &mut self.key_bytes);
        }
        Ok(())
    }

    /// Declares a tensor. The data of all tensors follows in the same order.
    ///
    /// # Errors
    ///
    /// The name is longer than 63 bytes or taken, there are more than 4 dimensions, `dims[0]` is no multiple of the
    /// block of `ty`, or the file would exceed 2^63 bytes.
    pub fn tensor(&mut self, name: &str, dims: &[u64], ty: GgmlType) -> io::Result<()> {
        if name.len() as u64 > MAX_NAME || self.names.contains(name) {
            return refuse(format!("tensor name {name:?}: at most 63 bytes, and once"));
        }
        let mut ne = [1; MAX_DIMS];
        if dims.len() > MAX_DIMS {
            return refuse(format!("tensor {name:?}: {} dimensions", dims.len()));
        }
        for (ne, &dim) in ne.iter_mut().zip(dims) {
            *ne = dim;
        }
        let size = Size::of(ne, ty).map(Size::bytes);
        let end = size.and_then(|size| {
            let end = self.data_bytes.checked_add(size)?;
            end.checked_next_multiple_of(self.alignment)
        });
        let (Some(size), Some(end)) = (size, end.filter(|&end| i64::try_from(end).is_ok())) else {
            return refuse(format!("tensor {name:?}: shape {dims:?} of type {ty}"));
        };
        let out = &mut self.tensor_bytes;
        name.put(out);
        u32::try_from(dims.len()).unwrap_or_default().put(out);
        dims.iter().for_each(|dim| dim.put(out));
        ty.id().put(out);
        self.data_bytes.put(out);
        self.names.insert(name.to_owned());
        self.sizes.push(size);
        self.data_bytes = end;
        Ok(())
    }

    /// Writes the head to `out`, and gives back what takes the data.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn start<W: Write>(self, mut out: W) -> io::Result<Body<W>> {
        let mut head = b"GGUF".to_vec();
        VERSION.put(&mut head);
        (self.sizes.len() as u64).put(&mut head);
        (self.keys.len() as u64).put(&mut head);
        let parts = [&head, &self.key_bytes, &self.tensor_bytes];
        let mut written = 0_u64;
        for part in parts {
            out.write_all(part)?;
            written = written.saturating_add(part.len() as u64);
        }
        if !self.sizes.is_empty() {
            pad(&mut out, written, self.alignment)?;
        }
        let mut body = Body {
            out,
            alignment: self.alignment,
            sizes: self.sizes.into_iter(),
            size: 0,
            left: 0,
        };
        body.next()?;
        Ok(body)
    }

    fn begin(&mut self, key: &str, ty: ValueType) -> io::Result<()> {
        if key.is_empty() || !self.keys.insert(key.to_owned()) {
            return refuse(format!("key {key:?}: not empty, and once"));
        }
        key.put(&mut self.key_bytes);
        ty.id().put(&mut self.key_bytes);
        Ok(())
    }
}

/// Takes the data of the tensors that a [`Writer`] declared, in their order.
#[derive(Debug)]
#[must_use = "the file is whole only after finish"]
pub struct Body<W> {
    out: W,
    alignment: u64,
    /// Bytes of the tensors not yet begun.
    sizes: std::vec::IntoIter<u64>,
    /// Bytes of this tensor, and how many of them are still to come.
    size: u64,
    left: u64,
}

impl<W: Write> Body<W> {
    /// Writes the next bytes of the tensor that is not yet whole. They must not reach into the one after it.
    ///
    /// # Errors
    ///
    /// Those of the output, or the tensor has fewer bytes left.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(left) = self.left.checked_sub(bytes.len() as u64) else {
            return refuse(format!(
                "{} bytes where the tensor takes {} more",
                bytes.len(),
                self.left
            ));
        };
        self.out.write_all(bytes)?;
        let ended = left == 0 && self.left > 0;
        self.left = left;
        if ended {
            self.next()?;
        }
        Ok(())
    }

    /// Ends the file, flushes it, and gives back the output.
    ///
    /// # Errors
    ///
    /// Those of the output, or data of a tensor is missing.
    pub fn finish(mut self) -> io::Result<W> {
        if self.left > 0 {
            let after = self.sizes.len();
            return refuse(format!(
                "{} bytes of a tensor are missing, and {after} tensors after it",
                self.left
            ));
        }
        self.out.flush()?;
        Ok(self.out)
    }

    /// Pads the tensor that is whole, and goes on to the next that has bytes.
    fn next(&mut self) -> io::Result<()> {
        pad(&mut self.out, self.size, self.alignment)?;
        self.size = self.sizes.find(|&size| size > 0).unwrap_or_default();
        self.left = self.size;
        Ok(())
    }
}

/// Writes zeros from `at` to the next multiple of `alignment`.
fn pad(out: &mut impl Write, at: u64, alignment: u64) -> io::Result<()> {
    let to = at.checked_next_multiple_of(alignment).unwrap_or(at);
    io::copy(
        &mut io::Read::take(io::repeat(0), to.saturating_sub(at)),
        out,
    )?;
    Ok(())
}

fn put(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::U8(v) => v.put(out),
        Value::I8(v) => v.put(out),
        Value::U16(v) => v.put(out),
        Value::I16(v) => v.put(out),
        Value::U32(v) => v.put(out),
        Value::I32(v) => v.put(out),
        Value::F32(v) => v.put(out),
        Value::Bool(v) => v.put(out),
        Value::String(v) => v.put(out),
        Value::U64(v) => v.put(out),
        Value::I64(v) => v.put(out),
        Value::F64(v) => v.put(out),
        // Elements of arrays are no arrays: the reader refuses those.
        Value::Array(_) => {}
    }
}

fn refuse<T>(what: String) -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::InvalidInput, what))
}
