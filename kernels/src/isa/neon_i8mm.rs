//! NEON with the 8-bit matrix products: Cortex-A510, A710, A720, Neoverse N2 and V1, and later.
//!
//! So far its products are those of [`neon_dot`](super::neon_dot); the place is here for `smmla`, two rows times two tokens, which
//! prefill can use. `usdot`, which the extension also brings, is not used: every code of every format fits a signed byte, for which
//! `sdot` does the same.

use super::neon::{Neon, Products};
use super::neon_dot::{NeonDot, Sdot};
use crate::simd::SimdOp;
use core::arch::aarch64::*;

/// Products by `sdot`, on a CPU that has matrix products too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct I8mm(Sdot);

/// The token of NEON with dot products and matrix products.
pub(super) type NeonI8mm = Neon<I8mm>;

impl NeonI8mm {
    /// Asks the CPU.
    pub(super) fn new() -> Option<NeonI8mm> {
        let Neon(sdot) = NeonDot::new()?;
        #[cfg(feature = "std")]
        let has = std::arch::is_aarch64_feature_detected!("i8mm");
        #[cfg(not(feature = "std"))]
        let has = cfg!(target_feature = "i8mm");
        has.then_some(Neon(I8mm(sdot)))
    }

    /// Runs `op` in a function compiled for these.
    #[inline]
    pub(super) fn enter<O: SimdOp>(self, op: O) -> O::Output {
        #[target_feature(enable = "neon,dotprod,i8mm")]
        fn inside<O: SimdOp>(s: NeonI8mm, op: O) -> O::Output {
            op.eval(s)
        }
        // SAFETY: the token proves that the CPU has these features.
        unsafe { inside(self, op) }
    }
}

impl Products for I8mm {
    #[inline(always)]
    fn dot_u6(self, w: [int8x16_t; 2], a: [int8x16_t; 2]) -> int32x4_t {
        self.0.dot_u6(w, a)
    }
    #[inline(always)]
    fn dot_i8(self, w: [int8x16_t; 2], a: [int8x16_t; 2]) -> int32x4_t {
        self.0.dot_i8(w, a)
    }
    #[inline(always)]
    fn rows<const F: usize, const J: usize>(
        self,
        w: &[[uint8x16_t; 2]; J],
        a: &[[i8; 4]; J],
    ) -> [int32x4_t; 2] {
        self.0.rows::<F, J>(w, a)
    }
    #[inline(always)]
    fn dot_half(self, w: int8x16_t, a: int8x16_t) -> int32x4_t {
        self.0.dot_half(w, a)
    }
}
