//! One key with its value. Scalars are copied; of an array only the extent is found.

use super::reader::{Read, Reader};
use crate::error::{Place, Result};
use crate::gguf::metadata::Entry;
use crate::gguf::value::{Array, Value, ValueType};

/// Limits of the reference reader for one string (bytes) and one array (elements).
const MAX_STRING: u64 = 1 << 30;
const MAX_ARRAY: u64 = 1 << 30;

impl Reader<'_> {
    /// Key `i` of the file.
    pub(super) fn entry(&mut self, i: u64) -> Read<Entry> {
        self.place = Place::Metadata;
        let key_at = self.cursor.at();
        let key = self.name(format_args!("key {i}"), MAX_STRING)?;
        if key.is_empty() {
            return Err(self
                .broken(
                    key_at,
                    "a key with a name",
                    format!("an empty name for key {i}"),
                )
                .into());
        }
        self.place = Place::Key(key.clone());
        let type_at = self.cursor.at();
        let id = self.u32("the type of the value")?;
        let ty = self.value_type(id, type_at)?;
        let value_at = self.cursor.at();
        let value = match ty {
            ValueType::Array => Value::Array(self.array()?),
            ValueType::String => Value::String(self.string("the value", MAX_STRING)?.into()),
            _ => self.fixed(ty)?,
        };
        Ok(Entry {
            key: key.into(),
            key_at,
            value_at,
            value,
        })
    }

    fn value_type(&self, id: u32, at: u64) -> Result<ValueType> {
        ValueType::from_id(id)
            .ok_or_else(|| self.broken(at, "a value type from 0 to 12", id.to_string()))
    }

    fn fixed(&mut self, ty: ValueType) -> Read<Value> {
        let at = self.cursor.at();
        let bytes = self.take(ty.size().unwrap_or_default(), "the value")?;
        Value::fixed(ty, bytes)
            .ok_or_else(|| self.broken(at, ty.name(), "another type".to_owned()).into())
    }

    /// An array: its bytes are walked, not decoded.
    fn array(&mut self) -> Read<Array> {
        let type_at = self.cursor.at();
        let id = self.u32("the type of the elements")?;
        let ty = self.value_type(id, type_at)?;
        if ty == ValueType::Array {
            let fault = self.broken(
                type_at,
                "elements that are no arrays",
                "an array of arrays".to_owned(),
            );
            return Err(fault.into());
        }
        let len_at = self.cursor.at();
        let len = self.u64("the number of elements")?;
        if len > MAX_ARRAY {
            let fault = self.broken(len_at, "at most 2^30 elements", len.to_string());
            return Err(fault.into());
        }
        let start = self.cursor.at();
        let what = format!("the {len} {ty} elements");
        match ty.size() {
            // Neither product overflows: a count of 2^30 times 8.
            Some(size) => {
                self.take(len.saturating_mul(size), &what)?;
            }
            None => {
                self.left_for(len.saturating_mul(8), &what)?;
                for i in 0..len {
                    self.string(format_args!("element {i}"), MAX_STRING)?;
                }
            }
        }
        let end = self.cursor.at();
        let index = |n: u64| {
            usize::try_from(n).map_err(|_| self.broken(start, "an array in memory", n.to_string()))
        };
        Ok(Array::new(
            self.data.clone(),
            ty,
            index(len)?,
            index(start)?,
            index(end)?,
        ))
    }
}
