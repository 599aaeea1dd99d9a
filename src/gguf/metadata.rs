//! The keys of a file and getters that are lenient where converters differ.
//!
//! llama.cpp asks for the exact type of a key; files in the wild do not keep to it. Here any integer type serves that
//! holds the number, `f32` and `f64` serve for a float, and 0 or 1 for a bool. What does not fit is an error that names
//! the key and its offset, never a cast.

use std::path::{Path, PathBuf};

use super::value::{Array, Strings, Value};
use crate::error::{Error, Place, Result};

/// The metadata of a model: keys and values in file order.
#[derive(Debug, Clone)]
pub struct Metadata {
    path: PathBuf,
    entries: Vec<Entry>,
    /// Indices into `entries`, sorted by key.
    sorted: Vec<usize>,
}

/// One key with its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: Box<str>,
    /// Offset of the key in the file.
    pub(super) key_at: u64,
    /// Offset of the value in the file.
    pub(super) value_at: u64,
    pub(super) value: Value,
}

impl Metadata {
    /// Indexes `entries`; two equal keys are an error.
    pub(super) fn new(path: &Path, entries: Vec<Entry>) -> Result<Self> {
        let mut sorted: Vec<usize> = (0..entries.len()).collect();
        sorted.sort_by_key(|&i| entries.get(i).map(|e| &e.key));
        let twice = sorted
            .iter()
            .zip(sorted.iter().skip(1))
            .find_map(|(&a, &b)| {
                let (a, b) = (entries.get(a)?, entries.get(b)?);
                (a.key == b.key).then_some((a, b))
            });
        if let Some((first, second)) = twice {
            let place = Place::Key(second.key.to_string());
            let found = format!("it again (first at byte {})", first.key_at);
            let fault = Error::file(path, place, "each key once", found);
            return Err(fault.at(second.key_at));
        }
        Ok(Self {
            path: path.to_path_buf(),
            entries,
            sorted,
        })
    }

    /// The file that holds these keys.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All keys with their values, in file order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.entries.iter().map(|e| (&*e.key, &e.value))
    }

    /// The value of `key`, as the file has it.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.entry(key).map(|e| &e.value)
    }

    /// Offset of the value of `key` in the file.
    pub fn offset(&self, key: &str) -> Option<u64> {
        self.entry(key).map(|e| e.value_at)
    }

    /// The integer `key`; `None` when it is absent.
    ///
    /// # Errors
    ///
    /// It is no integer, or one that `u32` does not hold.
    pub fn u32(&self, key: &str) -> Result<Option<u32>> {
        self.scalar(key, "an integer from 0 to 4294967295", |value| {
            value.integer().and_then(|v| v.try_into().ok())
        })
    }

    /// The integer `key`; `None` when it is absent.
    ///
    /// # Errors
    ///
    /// It is no integer, or negative.
    pub fn u64(&self, key: &str) -> Result<Option<u64>> {
        self.scalar(key, "an integer of 0 or more", |value| {
            value.integer().and_then(|v| v.try_into().ok())
        })
    }

    /// The number `key`; `None` when it is absent.
    ///
    /// # Errors
    ///
    /// It is no floating-point number, or too large for `f32`.
    pub fn f32(&self, key: &str) -> Result<Option<f32>> {
        self.scalar(key, "an f32", narrow)
    }

    /// The truth of `key`; `None` when it is absent.
    ///
    /// # Errors
    ///
    /// It is neither a bool, nor 0 or 1.
    pub fn bool(&self, key: &str) -> Result<Option<bool>> {
        self.scalar(key, "a bool", Value::truth)
    }

    /// The text of `key`; `None` when it is absent.
    ///
    /// # Errors
    ///
    /// It is no string, or not UTF-8.
    pub fn str(&self, key: &str) -> Result<Option<&str>> {
        self.scalar(key, "a string in UTF-8", |value| match value {
            Value::String(bytes) => core::str::from_utf8(bytes).ok(),
            _ => None,
        })
    }

    /// [`Metadata::u32`] of a key that must be there.
    ///
    /// # Errors
    ///
    /// Those of the getter, or the key is missing.
    pub fn need_u32(&self, key: &str) -> Result<u32> {
        self.u32(key)?.ok_or_else(|| self.missing(key))
    }

    /// [`Metadata::u64`] of a key that must be there.
    ///
    /// # Errors
    ///
    /// Those of the getter, or the key is missing.
    pub fn need_u64(&self, key: &str) -> Result<u64> {
        self.u64(key)?.ok_or_else(|| self.missing(key))
    }

    /// [`Metadata::f32`] of a key that must be there.
    ///
    /// # Errors
    ///
    /// Those of the getter, or the key is missing.
    pub fn need_f32(&self, key: &str) -> Result<f32> {
        self.f32(key)?.ok_or_else(|| self.missing(key))
    }

    /// [`Metadata::bool`] of a key that must be there.
    ///
    /// # Errors
    ///
    /// Those of the getter, or the key is missing.
    pub fn need_bool(&self, key: &str) -> Result<bool> {
        self.bool(key)?.ok_or_else(|| self.missing(key))
    }

    /// [`Metadata::str`] of a key that must be there.
    ///
    /// # Errors
    ///
    /// Those of the getter, or the key is missing.
    pub fn need_str(&self, key: &str) -> Result<&str> {
        self.str(key)?.ok_or_else(|| self.missing(key))
    }

    /// The strings of `key`, decoded while they are iterated; `None` when it is absent. They need not be UTF-8.
    ///
    /// # Errors
    ///
    /// It is no array of strings.
    pub fn strings(&self, key: &str) -> Result<Option<Strings<'_>>> {
        self.scalar(key, "an array of strings", |value| match value {
            Value::Array(array) => array.strings(),
            _ => None,
        })
    }

    /// The integers of `key`; `None` when it is absent. A single integer counts as an array of one.
    ///
    /// # Errors
    ///
    /// It is no array of integers, or one of them is no `u32`.
    pub fn u32s(&self, key: &str) -> Result<Option<Vec<u32>>> {
        self.list(key, "integers from 0 to 4294967295", |value| {
            value.integer().and_then(|v| v.try_into().ok())
        })
    }

    /// The integers of `key`; `None` when it is absent. A single integer counts as an array of one.
    ///
    /// # Errors
    ///
    /// It is no array of integers, or one of them is no `i32`.
    pub fn i32s(&self, key: &str) -> Result<Option<Vec<i32>>> {
        self.list(key, "integers of 32 bits", |value| {
            value.integer().and_then(|v| v.try_into().ok())
        })
    }

    /// The numbers of `key`; `None` when it is absent. A single number counts as an array of one.
    ///
    /// # Errors
    ///
    /// It is no array of floating-point numbers, or one of them is too large for `f32`.
    pub fn f32s(&self, key: &str) -> Result<Option<Vec<f32>>> {
        self.list(key, "f32 numbers", narrow)
    }

    /// The truths of `key`; `None` when it is absent. A single bool counts as an array of one.
    ///
    /// # Errors
    ///
    /// It is no array of bools, nor of 0 and 1.
    pub fn bools(&self, key: &str) -> Result<Option<Vec<bool>>> {
        self.list(key, "bools", Value::truth)
    }

    /// The error for a key that is absent but needed.
    pub fn missing(&self, key: &str) -> Error {
        Error::file(
            &self.path,
            Place::Key(key.to_owned()),
            "this key",
            "no such key",
        )
    }

    /// The error for a value that is well formed but cannot be used: `expected` says what could.
    pub fn unfit(&self, key: &str, expected: impl Into<String>) -> Error {
        let Some(entry) = self.entry(key) else {
            return self.missing(key);
        };
        self.fault(entry, expected, entry.value.to_string())
    }

    fn fault(&self, entry: &Entry, expected: impl Into<String>, found: String) -> Error {
        let place = Place::Key(entry.key.to_string());
        Error::file(&self.path, place, expected, found).at(entry.value_at)
    }

    fn entry(&self, key: &str) -> Option<&Entry> {
        let key_of = |&i: &usize| self.entries.get(i).map(|e| &*e.key);
        let found = self
            .sorted
            .binary_search_by(|i| key_of(i).cmp(&Some(key)))
            .ok()?;
        self.entries.get(*self.sorted.get(found)?)
    }

    fn scalar<'a, T>(
        &'a self,
        key: &str,
        expected: &str,
        convert: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(entry) = self.entry(key) else {
            return Ok(None);
        };
        match convert(&entry.value) {
            Some(value) => Ok(Some(value)),
            None => Err(self.fault(entry, expected, entry.value.to_string())),
        }
    }

    fn list<T>(
        &self,
        key: &str,
        expected: &str,
        convert: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<Vec<T>>> {
        let Some(entry) = self.entry(key) else {
            return Ok(None);
        };
        let Value::Array(array) = &entry.value else {
            return match convert(&entry.value) {
                Some(value) => Ok(Some(vec![value])),
                None => Err(self.fault(
                    entry,
                    format!("an array of {expected}"),
                    entry.value.to_string(),
                )),
            };
        };
        let mut list = room(array)?;
        for (i, value) in array.iter().enumerate() {
            list.push(convert(&value).ok_or_else(|| {
                let found = format!("{value} as element {i} of an {}", entry.value);
                self.fault(entry, format!("an array of {expected}"), found)
            })?);
        }
        Ok(Some(list))
    }
}

/// An empty vector with room for the elements of `array`, which is at most a small multiple of their bytes in the file.
fn room<T>(array: &Array) -> Result<Vec<T>> {
    let mut list = Vec::new();
    list.try_reserve_exact(array.len())
        .map_err(|_| Error::Memory {
            what: format!("an array of {} numbers", array.len()),
            bytes: (array.len() as u64).saturating_mul(size_of::<T>() as u64),
        })?;
    Ok(list)
}

/// The nearest `f32`; `None` when the value is no float, or finite but beyond the range of `f32`.
fn narrow(value: &Value) -> Option<f32> {
    let wide = value.float()?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "rounding to the nearest f32 is meant; overflow is checked below"
    )]
    let near = wide as f32;
    (near.is_finite() || !wide.is_finite()).then_some(near)
}
