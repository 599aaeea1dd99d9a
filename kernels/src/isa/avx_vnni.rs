//! AVX-VNNI: Intel since Alder Lake and its small cores (N100, N305: Gracemont), AMD since Zen 5.
//!
//! `vpdpbusd` multiplies 32 unsigned bytes by signed ones and adds four neighbours to each i32 lane: three instructions of AVX2 in one.

mod latent;

use super::avx2::{self, Avx2};
use super::dpbusd::dpbusd;
use crate::lanes::Eight;
use crate::simd::SimdOp;
use core::arch::x86_64::*;

/// Products by `vpdpbusd`, as VEX encodes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vex(());

/// The token of AVX-VNNI and of AVX2 below it.
pub(super) type AvxVnni = Avx2<Vex>;

impl AvxVnni {
    /// Asks the CPU.
    pub(super) fn new() -> Option<AvxVnni> {
        Avx2::<avx2::Maddubs>::new()?;
        #[cfg(feature = "std")]
        let has = std::is_x86_feature_detected!("avxvnni");
        #[cfg(not(feature = "std"))]
        let has = cfg!(all(target_feature = "avxvnni"));
        has.then_some(Avx2(Vex(())))
    }

    /// Runs `op` in a function compiled for these.
    #[inline]
    pub(super) fn enter<O: SimdOp>(self, op: O) -> O::Output {
        #[target_feature(enable = "avx2,fma,f16c,avxvnni")]
        fn inside<O: SimdOp>(s: AvxVnni, op: O) -> O::Output {
            op.eval(s)
        }
        // SAFETY: the token proves that the CPU has these features.
        unsafe { inside(self, op) }
    }
}

dpbusd!(
    Vex,
    _mm256_dpbusd_avx_epi32,
    latent,
    Eight<AvxVnni>,
    2,
    |vex, i| Eight::new(Avx2(vex), i)
);
