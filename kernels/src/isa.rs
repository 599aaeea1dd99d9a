//! Instruction sets: which there are, which this CPU has, and the one way into code compiled for them.
//!
//! Every instruction set is a zero-sized token whose only constructor asks the CPU. Its [`Simd`](crate::simd::Simd) methods wrap
//! intrinsics, and are sound because nobody can hold the token on a CPU without them.
//!
//! To add one: a file in `isa/`, and a line in `isas!`, from the plainest to the best.

#![expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "one argument covers every intrinsic of a tier: the token proves that the CPU has it"
)]

use crate::simd::{Simd, SimdOp};

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512_vnni;
#[cfg(target_arch = "x86_64")]
mod avx_vnni;
#[cfg(target_arch = "x86_64")]
mod dpbusd;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "aarch64")]
mod neon_dot;
#[cfg(target_arch = "aarch64")]
mod neon_i8mm;
#[cfg(target_arch = "aarch64")]
mod neon_rescale;
mod scalar;
#[cfg(target_arch = "x86_64")]
mod sse41;

macro_rules! isas {
    ($($(#[$arch:meta])? $name:literal $variant:ident $token:ty),* $(,)?) => {
        /// An instruction set that this CPU has.
        ///
        /// A value can only come from detection ([`Isa::best`], [`Isa::available`], [`Isa::named`]).
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Isa {
            $(
                $(#[$arch])?
                #[doc = concat!("`", $name, "`")]
                $variant($token),
            )*
        }

        /// Names and detectors, from the plainest to the best.
        const ISAS: &[(&str, fn() -> Option<Isa>)] = &[
            $($(#[$arch])? ($name, || <$token>::new().map(Isa::$variant)),)*
        ];

        impl Isa {
            /// The name: what `WATTLE_ISA` takes and what reports print.
            pub fn name(self) -> &'static str {
                match self {
                    $($(#[$arch])? Isa::$variant(_) => $name,)*
                }
            }

            /// Runs `op` compiled for this instruction set.
            #[inline]
            pub(crate) fn dispatch<O: SimdOp>(self, op: O) -> O::Output {
                match self {
                    $($(#[$arch])? Isa::$variant(token) => token.enter(op),)*
                }
            }
        }
    };
}

isas! {
    "scalar" Scalar scalar::Scalar,
    #[cfg(target_arch = "x86_64")] "sse41" Sse41 sse41::Sse41,
    #[cfg(target_arch = "x86_64")] "avx2" Avx2 avx2::Avx2,
    #[cfg(target_arch = "x86_64")] "avx_vnni" AvxVnni avx_vnni::AvxVnni,
    #[cfg(target_arch = "x86_64")] "avx512_vnni" Avx512Vnni avx512_vnni::Avx512Vnni,
    #[cfg(target_arch = "aarch64")] "neon" Neon neon::Neon,
    #[cfg(target_arch = "aarch64")] "neon_dot" NeonDot neon_dot::NeonDot,
    #[cfg(target_arch = "aarch64")] "neon_i8mm" NeonI8mm neon_i8mm::NeonI8mm,
}

impl Isa {
    /// The best instruction set of this CPU.
    pub fn best() -> Isa {
        Isa::available()
            .last()
            .unwrap_or(Isa::Scalar(scalar::Scalar::HERE))
    }

    /// Every instruction set of this CPU, from the plainest to the best; the first is always `scalar`.
    pub fn available() -> impl Iterator<Item = Isa> {
        ISAS.iter().filter_map(|(_, detect)| detect())
    }

    /// The instruction set of that name; `None` when there is no such name or this CPU has it not.
    pub fn named(name: &str) -> Option<Isa> {
        ISAS.iter()
            .find(|(n, _)| *n == name)
            .and_then(|(_, detect)| detect())
    }

    /// Whether products of many tokens are worth their second int8 form here, which is coarser: see
    /// [`quantize_pieces`](crate::quantize_pieces). Where not, they take the exact one, whatever activations have.
    pub fn takes_pieces(self) -> bool {
        struct Takes;
        impl SimdOp for Takes {
            type Output = bool;
            #[inline(always)]
            fn eval<S: Simd>(self, _: S) -> bool {
                S::COARSE
            }
        }
        self.dispatch(Takes)
    }

    /// All names known for this architecture, whether this CPU has them or not.
    pub fn names() -> impl Iterator<Item = &'static str> {
        ISAS.iter().map(|(name, _)| *name)
    }
}

#[cfg(test)]
mod tests {
    use super::Isa;
    use std::vec::Vec;

    #[test]
    fn every_available_isa_is_found_by_its_name() {
        let found: Vec<_> = Isa::available().map(Isa::name).collect();
        assert_eq!(found[0], "scalar");
        for name in &found {
            assert_eq!(Isa::named(name).map(Isa::name), Some(*name));
        }
        assert_eq!(Some(&Isa::best().name()), found.last());
        assert!(Isa::named("mmx").is_none());
        assert!(found.iter().all(|n| Isa::names().any(|m| m == *n)));
    }
}
