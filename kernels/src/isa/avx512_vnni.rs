//! AVX-512 with VNNI, most of it at 256 bits: Intel since Ice Lake, AMD since Zen 4.
//!
//! The arithmetic is that of [`avx_vnni`](super::avx_vnni), in the other encoding, which has 32 registers. They stay at 256 bits,
//! as Zen 4 multiplies as many bytes a cycle with two of these as with one of 512 bits; but for decode, where loads count ([`wide`]), and for
//! latent rows, where Intel's cores multiply twice as many bytes with them ([`latent`]).

use self::wide::Wide;
use super::avx2::Avx2;
use super::dpbusd::dpbusd;
use crate::simd::SimdOp;
use core::arch::x86_64::*;

mod latent;
mod wide;

/// Products by `vpdpbusd`, as EVEX encodes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evex(());

/// The token of AVX-512-VNNI and of AVX2 below it.
pub(super) type Avx512Vnni = Avx2<Evex>;

impl Avx512Vnni {
    /// Asks the CPU.
    pub(super) fn new() -> Option<Avx512Vnni> {
        Avx2::<super::avx2::Maddubs>::new()?;
        #[cfg(feature = "std")]
        let has = std::is_x86_feature_detected!("avx512f")
            && std::is_x86_feature_detected!("avx512bw")
            && std::is_x86_feature_detected!("avx512vl")
            && std::is_x86_feature_detected!("avx512vnni");
        #[cfg(not(feature = "std"))]
        let has = cfg!(all(
            target_feature = "avx512f",
            target_feature = "avx512bw",
            target_feature = "avx512vl",
            target_feature = "avx512vnni"
        ));
        has.then_some(Avx2(Evex(())))
    }

    /// Runs `op` in a function compiled for these.
    #[inline]
    pub(super) fn enter<O: SimdOp>(self, op: O) -> O::Output {
        #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
        fn inside<O: SimdOp>(s: Avx512Vnni, op: O) -> O::Output {
            op.eval(s)
        }
        // SAFETY: the token proves that the CPU has these features.
        unsafe { inside(self, op) }
    }
}

dpbusd!(Evex, _mm256_dpbusd_epi32, latent, Wide, 1, |evex, _i| Wide(
    evex
));
