//! Metadata values: scalars are copied out of the file, arrays stay where they are.
//!
//! A vocabulary is the largest thing in the metadata (129 000 strings, several megabytes), and most commands need none
//! of it. So an [`Array`] is a byte range that was walked once when the file was opened, and is decoded while it is
//! iterated. Decoding checks bounds again: the file is mapped, and another process may have changed it since.

use core::fmt;

use super::cursor::Cursor;
use super::data::Data;

macro_rules! value_types {
    ($($variant:ident $id:literal $name:literal $bytes:expr,)*) => {
        /// The type of a metadata value.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum ValueType {
            $(#[doc = concat!("`", $name, "`, id ", $id, ".")] $variant = $id,)*
        }

        impl ValueType {
            /// The type of an id in a file.
            pub fn from_id(id: u32) -> Option<Self> {
                match id {
                    $($id => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// The id in files.
            pub const fn id(self) -> u32 {
                match self {
                    $(Self::$variant => $id,)*
                }
            }

            /// A short name: `u32`, `string`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// Bytes of one value, or `None` when that varies.
            pub const fn size(self) -> Option<u64> {
                match self {
                    $(Self::$variant => $bytes,)*
                }
            }
        }
    };
}

value_types! {
    U8      0 "u8"     Some(1),
    I8      1 "i8"     Some(1),
    U16     2 "u16"    Some(2),
    I16     3 "i16"    Some(2),
    U32     4 "u32"    Some(4),
    I32     5 "i32"    Some(4),
    F32     6 "f32"    Some(4),
    Bool    7 "bool"   Some(1),
    String  8 "string" None,
    Array   9 "array"  None,
    U64    10 "u64"    Some(8),
    I64    11 "i64"    Some(8),
    F64    12 "f64"    Some(8),
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One metadata value, of the type that the file gives it.
///
/// [`Metadata`](super::Metadata) has getters that convert; match on this only to show what a file holds.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each variant is named as its type")]
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    /// Meant to be UTF-8, but nothing in a file enforces that.
    String(Box<[u8]>),
    Array(Array),
    U64(u64),
    I64(i64),
    F64(f64),
}

impl Value {
    /// The type that the file gives this value.
    pub fn ty(&self) -> ValueType {
        match self {
            Self::U8(_) => ValueType::U8,
            Self::I8(_) => ValueType::I8,
            Self::U16(_) => ValueType::U16,
            Self::I16(_) => ValueType::I16,
            Self::U32(_) => ValueType::U32,
            Self::I32(_) => ValueType::I32,
            Self::F32(_) => ValueType::F32,
            Self::Bool(_) => ValueType::Bool,
            Self::String(_) => ValueType::String,
            Self::Array(_) => ValueType::Array,
            Self::U64(_) => ValueType::U64,
            Self::I64(_) => ValueType::I64,
            Self::F64(_) => ValueType::F64,
        }
    }

    /// The number, when this is an integer of any width.
    pub fn integer(&self) -> Option<i128> {
        Some(match *self {
            Self::U8(v) => v.into(),
            Self::I8(v) => v.into(),
            Self::U16(v) => v.into(),
            Self::I16(v) => v.into(),
            Self::U32(v) => v.into(),
            Self::I32(v) => v.into(),
            Self::U64(v) => v.into(),
            Self::I64(v) => v.into(),
            Self::F32(_) | Self::F64(_) | Self::Bool(_) | Self::String(_) | Self::Array(_) => {
                return None;
            }
        })
    }

    /// The number, when this is a floating-point number.
    pub fn float(&self) -> Option<f64> {
        match *self {
            Self::F32(v) => Some(v.into()),
            Self::F64(v) => Some(v),
            _ => None,
        }
    }

    /// The truth, when this is a bool, or an integer that is 0 or 1 as some converters write.
    pub fn truth(&self) -> Option<bool> {
        match (self, self.integer()) {
            (Self::Bool(v), _) => Some(*v),
            (_, Some(0)) => Some(false),
            (_, Some(1)) => Some(true),
            _ => None,
        }
    }

    /// Decodes a value of fixed size from exactly its bytes; `None` for other types and lengths.
    pub(super) fn fixed(ty: ValueType, bytes: &[u8]) -> Option<Self> {
        Some(match ty {
            ValueType::U8 => Self::U8(u8::from_le_bytes(bytes.try_into().ok()?)),
            ValueType::I8 => Self::I8(i8::from_le_bytes(bytes.try_into().ok()?)),
            ValueType::U16 => Self::U16(u16::from_le_bytes(bytes.try_into().ok()?)),
            ValueType::I16 => Self::I16(i16::from_le_bytes(bytes.try_into().ok()?)),
            ValueType::U32 => Self::U32(u32::from_le_bytes(bytes.try_into().ok()?)),
            ValueType::I32 => Self::I32(i32::from_le_bytes(bytes.try_into().ok()?)),
            ValueType::F32 => Self::F32(f32::from_le_bytes(bytes.try_into().ok()?)),
            ValueType::Bool => Self::Bool(u8::from_le_bytes(bytes.try_into().ok()?) != 0),
            ValueType::U64 => Self::U64(u64::from_le_bytes(bytes.try_into().ok()?)),
            ValueType::I64 => Self::I64(i64::from_le_bytes(bytes.try_into().ok()?)),
            ValueType::F64 => Self::F64(f64::from_le_bytes(bytes.try_into().ok()?)),
            ValueType::String | ValueType::Array => return None,
        })
    }
}

/// Describes a value in an error: its type, and itself when it is short.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 40;
        match self {
            Self::U8(v) => write!(f, "u8 {v}"),
            Self::I8(v) => write!(f, "i8 {v}"),
            Self::U16(v) => write!(f, "u16 {v}"),
            Self::I16(v) => write!(f, "i16 {v}"),
            Self::U32(v) => write!(f, "u32 {v}"),
            Self::I32(v) => write!(f, "i32 {v}"),
            Self::F32(v) => write!(f, "f32 {v}"),
            Self::Bool(v) => write!(f, "bool {v}"),
            Self::U64(v) => write!(f, "u64 {v}"),
            Self::I64(v) => write!(f, "i64 {v}"),
            Self::F64(v) => write!(f, "f64 {v}"),
            Self::String(bytes) => {
                let start = bytes.get(..SHOWN).unwrap_or(bytes);
                let more = if start.len() < bytes.len() { "..." } else { "" };
                write!(f, "string {:?}{more}", String::from_utf8_lossy(start))
            }
            Self::Array(array) => write!(f, "array of {} {}", array.len(), array.ty()),
        }
    }
}

/// An array in the metadata, decoded while it is read.
#[derive(Debug, Clone)]
pub struct Array {
    data: Data,
    ty: ValueType,
    len: usize,
    start: usize,
    end: usize,
}

impl Array {
    /// `len` elements that were found to fill `start..end` of `data`.
    pub(super) fn new(data: Data, ty: ValueType, len: usize, start: usize, end: usize) -> Self {
        Self {
            data,
            ty,
            len,
            start,
            end,
        }
    }

    /// The type of the elements; never an array.
    pub fn ty(&self) -> ValueType {
        self.ty
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Offset of the first element in the file.
    pub fn offset(&self) -> u64 {
        self.start as u64
    }

    /// Bytes that the elements take in the file, with the lengths of strings.
    pub fn bytes(&self) -> u64 {
        self.end.saturating_sub(self.start) as u64
    }

    /// The elements, from the first.
    pub fn iter(&self) -> Elements<'_> {
        Elements {
            cursor: self.cursor(),
            ty: self.ty,
            left: self.len,
        }
    }

    /// The elements as byte strings, when that is what they are.
    pub fn strings(&self) -> Option<Strings<'_>> {
        (self.ty == ValueType::String).then(|| Strings {
            cursor: self.cursor(),
            left: self.len,
        })
    }

    fn cursor(&self) -> Cursor<'_> {
        Cursor::new(self.data.get(self.start..self.end).unwrap_or_default())
    }
}

impl<'a> IntoIterator for &'a Array {
    type Item = Value;
    type IntoIter = Elements<'a>;

    fn into_iter(self) -> Elements<'a> {
        self.iter()
    }
}

/// The elements of an [`Array`].
#[derive(Debug, Clone)]
pub struct Elements<'a> {
    cursor: Cursor<'a>,
    ty: ValueType,
    left: usize,
}

impl Iterator for Elements<'_> {
    type Item = Value;

    fn next(&mut self) -> Option<Value> {
        self.left = self.left.checked_sub(1)?;
        match self.ty.size() {
            Some(size) => Value::fixed(self.ty, self.cursor.take(size).ok()?),
            None => Some(Value::String(string(&mut self.cursor).into())),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Elements<'_> {}

/// The strings of an array of strings, as bytes in the file.
///
/// Exactly as many as the array has: if the file changes while it is read, the rest is empty.
#[derive(Debug, Clone)]
pub struct Strings<'a> {
    cursor: Cursor<'a>,
    left: usize,
}

impl<'a> Iterator for Strings<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        Some(string(&mut self.cursor))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Strings<'_> {}

/// The next string; empty when the file has changed so that there is none.
fn string<'a>(cursor: &mut Cursor<'a>) -> &'a [u8] {
    let len = cursor.u64();
    len.and_then(|len| cursor.take(len)).unwrap_or_default()
}
