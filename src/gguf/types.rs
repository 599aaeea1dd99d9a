//! The element types of tensors: id, name, and size of a block.
//!
//! A row of `n` elements is `n / block` blocks of `block_bytes` each. The ids are those of ggml; the list below is the
//! whole of ggml's table as of November 2026. What each block holds is the business of the kernels.

/// Ids that files once used and ggml took out again, with the name they had.
const REMOVED: &[(u32, &str)] = &[
    (4, "Q4_2"),
    (5, "Q4_3"),
    (31, "Q4_0_4_4"),
    (32, "Q4_0_4_8"),
    (33, "Q4_0_8_8"),
    (36, "IQ4_NL_4_4"),
    (37, "IQ4_NL_4_8"),
    (38, "IQ4_NL_8_8"),
];

/// The first id that the `ik_llama.cpp` family of forks gives to its own types.
const FORK_IDS_FROM: u32 = 97;

macro_rules! types {
    ($($variant:ident $id:literal $name:literal $block:literal / $bytes:literal)*) => {
        /// The type of a tensor's elements.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        #[expect(non_camel_case_types, reason = "Q4_K and IQ2_XS are names, and Q4K would be another")]
        pub enum GgmlType {
            $(#[doc = concat!("`", $name, "`: ", $bytes, " bytes for ", $block, " elements.")] $variant = $id,)*
        }

        impl GgmlType {
            /// Every type, by rising id.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The type of an id, or `None` when ggml has no such id (any more).
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

            /// The name that users know: `Q4_K`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// Elements in a block; the length of a row is a multiple of it.
            pub const fn block(self) -> usize {
                match self {
                    $(Self::$variant => $block,)*
                }
            }

            /// Bytes of a block.
            pub const fn block_bytes(self) -> usize {
                match self {
                    $(Self::$variant => $bytes,)*
                }
            }
        }
    };
}

types! {
    F32      0 "F32"        1 / 4
    F16      1 "F16"        1 / 2
    Q4_0     2 "Q4_0"      32 / 18
    Q4_1     3 "Q4_1"      32 / 20
    Q5_0     6 "Q5_0"      32 / 22
    Q5_1     7 "Q5_1"      32 / 24
    Q8_0     8 "Q8_0"      32 / 34
    Q8_1     9 "Q8_1"      32 / 36
    Q2_K    10 "Q2_K"     256 / 84
    Q3_K    11 "Q3_K"     256 / 110
    Q4_K    12 "Q4_K"     256 / 144
    Q5_K    13 "Q5_K"     256 / 176
    Q6_K    14 "Q6_K"     256 / 210
    Q8_K    15 "Q8_K"     256 / 292
    IQ2_XXS 16 "IQ2_XXS"  256 / 66
    IQ2_XS  17 "IQ2_XS"   256 / 74
    IQ3_XXS 18 "IQ3_XXS"  256 / 98
    IQ1_S   19 "IQ1_S"    256 / 50
    IQ4_NL  20 "IQ4_NL"    32 / 18
    IQ3_S   21 "IQ3_S"    256 / 110
    IQ2_S   22 "IQ2_S"    256 / 82
    IQ4_XS  23 "IQ4_XS"   256 / 136
    I8      24 "I8"         1 / 1
    I16     25 "I16"        1 / 2
    I32     26 "I32"        1 / 4
    I64     27 "I64"        1 / 8
    F64     28 "F64"        1 / 8
    IQ1_M   29 "IQ1_M"    256 / 56
    BF16    30 "BF16"       1 / 2
    TQ1_0   34 "TQ1_0"    256 / 54
    TQ2_0   35 "TQ2_0"    256 / 66
    MXFP4   39 "MXFP4"     32 / 17
    NVFP4   40 "NVFP4"     64 / 36
    Q1_0    41 "Q1_0"     128 / 18
    Q2_0    42 "Q2_0"      64 / 18
}

impl GgmlType {
    /// Bytes of a row of `elements`, or `None` when that is no whole number of blocks or too large for a `u64`.
    pub fn row_bytes(self, elements: u64) -> Option<u64> {
        let block = self.block() as u64;
        if elements.checked_rem(block)? != 0 {
            return None;
        }
        elements
            .checked_div(block)?
            .checked_mul(self.block_bytes() as u64)
    }

    /// What to say of an id that [`GgmlType::from_id`] does not know: what it is, and what to do about it.
    pub(super) fn explain(id: u32) -> (String, &'static str) {
        if let Some((_, name)) = REMOVED.iter().find(|(removed, _)| *removed == id) {
            let found = format!("type {id} ({name}), which ggml no longer has");
            return (found, "convert the model again with a current llama.cpp");
        }
        if (FORK_IDS_FROM..1 << 16).contains(&id) {
            let found = format!("type {id}, an id of ik_llama.cpp and its forks");
            return (
                found,
                "use a file that mainline llama.cpp has made, such as Q4_K_M",
            );
        }
        (format!("type {id}"), "")
    }
}

impl core::fmt::Display for GgmlType {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_found_by_its_id_and_no_other() {
        for &ty in GgmlType::ALL {
            assert_eq!(GgmlType::from_id(ty.id()), Some(ty), "{ty}");
            assert_eq!(ty as u32, ty.id(), "{ty}: discriminant");
        }
        let known = (0..=u32::from(u16::MAX)).filter_map(GgmlType::from_id);
        assert!(known.eq(GgmlType::ALL.iter().copied()), "ids rise");
        assert_eq!(GgmlType::from_id(u32::MAX), None);
    }

    #[test]
    fn removed_and_forked_ids_are_named() {
        for &(id, name) in REMOVED {
            assert_eq!(GgmlType::from_id(id), None, "{name} is removed");
            let (found, hint) = GgmlType::explain(id);
            assert!(found.contains(name) && !hint.is_empty(), "{found}");
        }
        assert!(GgmlType::explain(137).0.contains("ik_llama.cpp"), "a fork");
        assert_eq!(GgmlType::explain(43).0, "type 43");
        assert_eq!(GgmlType::explain(u32::MAX).0, "type 4294967295");
    }

    #[test]
    fn rows_are_whole_blocks() {
        assert_eq!(GgmlType::Q4_K.row_bytes(512), Some(288));
        assert_eq!(GgmlType::Q4_K.row_bytes(500), None);
        assert_eq!(GgmlType::F32.row_bytes(0), Some(0));
        assert_eq!(GgmlType::F64.row_bytes(1 << 61), None, "2^64 bytes");
    }
}
