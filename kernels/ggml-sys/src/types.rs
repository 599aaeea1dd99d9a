//! ggml's types of weights and activations.

#![expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "one argument covers a call into C and the entry that it returns"
)]

use std::ffi::{CStr, c_char, c_void};
use std::fmt;
use std::ptr;
use std::sync::Once;

use crate::sys;

/// A type whose values are numbers in blocks: the floats and all quantised types, those of activations included.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Type(sys::ggml_type);

impl Type {
    /// The type with that id in GGUF files; `None` for ids that this ggml does not know, that were withdrawn, and for integers.
    pub fn from_id(id: u32) -> Option<Self> {
        if id >= sys::GGML_TYPE_COUNT {
            return None;
        }
        let found = Self(id);
        let traits = found.traits();
        let numbers = id == sys::GGML_TYPE_F32 || traits.is_quantized || traits.to_float.is_some();
        (numbers && traits.type_size > 0).then_some(found)
    }

    /// All types, by id.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..sys::GGML_TYPE_COUNT).filter_map(Self::from_id)
    }

    /// Its id in GGUF files.
    pub fn id(self) -> u32 {
        self.0
    }

    /// ggml's name, in small letters except for the K.
    pub fn name(self) -> &'static str {
        // SAFETY: `from_id` lets only types with an entry in ggml's static table pass; each entry has a static C string.
        let name = unsafe { CStr::from_ptr(self.traits().type_name) };
        name.to_str().unwrap_or("?")
    }

    /// Numbers in a block.
    pub fn block(self) -> usize {
        usize::try_from(self.traits().blck_size).unwrap_or(1)
    }

    /// Bytes of a block.
    pub fn block_bytes(self) -> usize {
        self.traits().type_size
    }

    /// Bytes of a row of `cols` numbers; `None` when they are not whole blocks.
    pub fn row_bytes(self, cols: usize) -> Option<usize> {
        if !cols.is_multiple_of(self.block()) {
            return None;
        }
        (cols / self.block()).checked_mul(self.block_bytes())
    }

    /// Whether [`crate::dequantize`] knows it; types that only activations have it does not.
    pub fn decodes(self) -> bool {
        self.0 == sys::GGML_TYPE_F32 || self.traits().to_float.is_some()
    }

    /// Whether [`crate::quantize`] wants to be told what each column is worth.
    pub fn needs_importance(self) -> bool {
        // SAFETY: reads nothing but its argument, which `from_id` has checked.
        unsafe { sys::ggml_quantize_requires_imatrix(self.0) }
    }

    /// What activations must become before [`crate::vec_dot`] multiplies them with this type; `None` when nothing does.
    pub fn dot_type(self) -> Option<Self> {
        let cpu = self.cpu_traits();
        cpu.vec_dot.and(Self::from_id(cpu.vec_dot_type))
    }

    /// ggml's entry of the type.
    pub(crate) fn traits(self) -> &'static sys::ggml_type_traits {
        // SAFETY: `self.0 < GGML_TYPE_COUNT`, the only condition; the result is an entry of a static table.
        unsafe { &*sys::ggml_get_type_traits(self.0) }
    }

    /// ggml-cpu's entry of the type: its kernels.
    pub(crate) fn cpu_traits(self) -> &'static sys::ggml_type_traits_cpu {
        static READY: Once = Once::new();
        READY.call_once(|| {
            // SAFETY: `warnings` is a function with C's calling convention that lives for ever and needs no data.
            unsafe { sys::ggml_log_set(Some(warnings), ptr::null_mut()) };
            // SAFETY: fills ggml-cpu's tables, which kernels may read: so before the first kernel can be asked for.
            unsafe { sys::ggml_cpu_init() };
        });
        // SAFETY: as in `traits`.
        unsafe { &*sys::ggml_get_type_traits_cpu(self.0) }
    }

    /// The alignment of its block in C: that of the scale.
    pub(crate) fn align(self) -> usize {
        match self.0 {
            sys::GGML_TYPE_F32 | sys::GGML_TYPE_Q8_K => 4,
            _ => 2,
        }
    }
}

/// ggml's messages, without what it says of every tensor.
extern "C" fn warnings(level: sys::ggml_log_level, text: *const c_char, _: *mut c_void) {
    if level == sys::GGML_LOG_LEVEL_WARN || level == sys::GGML_LOG_LEVEL_ERROR {
        // SAFETY: ggml hands its log a C string that lives during the call.
        let text = unsafe { CStr::from_ptr(text) };
        eprint!("{}", text.to_string_lossy());
    }
}

impl fmt::Debug for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::Type;

    #[test]
    fn the_types_of_files_are_known_and_the_withdrawn_are_not() {
        let q4_0 = Type::from_id(2).expect("Q4_0");
        assert_eq!(
            (q4_0.name(), q4_0.block(), q4_0.block_bytes()),
            ("q4_0", 32, 18)
        );
        assert_eq!(q4_0.row_bytes(64), Some(36), "two blocks");
        assert_eq!(q4_0.row_bytes(33), None, "not whole blocks");
        assert_eq!(q4_0.dot_type().map(Type::name), Some("q8_0"));
        for gone in [4, 5, 26, 31, 38, 1000] {
            assert!(Type::from_id(gone).is_none(), "type {gone}");
        }
    }

    #[test]
    fn rare_types_decode() {
        for id in [16, 17, 18, 19, 21, 22, 29, 34, 35] {
            let rare = Type::from_id(id).expect("an IQ or TQ type");
            assert!(rare.decodes(), "{rare:?}");
            assert_eq!(rare.block(), 256, "{rare:?}");
        }
    }
}
