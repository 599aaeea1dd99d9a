//! f16 for CPUs that cannot convert it: in integers, eight at a time, exact for all that f16 has.
//!
//! A multiplication by 2^112 would widen in fewer steps, but its operand is an f32 subnormal wherever the f16 is one, and there Atoms
//! and many Cores take some 150 cycles. Scales of K-quants often are that small, so no operand here is a subnormal.

use core::arch::x86_64::*;

/// 8 f16 as f32.
///
/// Exponent and fraction move to their places, and the exponent grows by 112. Subnormals have no leading one, so they get the
/// exponent of 2^-14, and the 2^-14 that this adds is subtracted again, exactly. Infinity and NaN get the largest exponent.
#[inline(always)]
pub(super) fn widen(x: __m128i) -> [__m128; 2] {
    // SAFETY: only the token's methods call this, and the token proves SSE4.1.
    unsafe {
        // All numbers are upper halves of an f32 here: 113 << 7 is 2^-14.
        let magnitude = _mm_and_si128(x, _mm_set1_epi16(0x7fff));
        let subnormal = _mm_cmpgt_epi16(_mm_set1_epi16(0x0400), magnitude);
        let excess = _mm_and_si128(subnormal, _mm_set1_epi16(113 << 7));
        let exponent = _mm_max_epi16(excess, _mm_set1_epi16(112 << 7));
        let high = _mm_add_epi16(_mm_srli_epi16::<3>(magnitude), exponent);
        let low = _mm_slli_epi16::<13>(magnitude);
        let special = _mm_cmpgt_epi16(magnitude, _mm_set1_epi16(0x7bff));
        let special = _mm_and_si128(special, _mm_set1_epi16(0x7f80));
        let rest = _mm_or_si128(special, _mm_xor_si128(x, magnitude));
        let zero = _mm_setzero_si128();
        let first = _mm_sub_ps(
            _mm_castsi128_ps(_mm_unpacklo_epi16(low, high)),
            _mm_castsi128_ps(_mm_unpacklo_epi16(zero, excess)),
        );
        let last = _mm_sub_ps(
            _mm_castsi128_ps(_mm_unpackhi_epi16(low, high)),
            _mm_castsi128_ps(_mm_unpackhi_epi16(zero, excess)),
        );
        [
            _mm_or_ps(first, _mm_castsi128_ps(_mm_unpacklo_epi16(zero, rest))),
            _mm_or_ps(last, _mm_castsi128_ps(_mm_unpackhi_epi16(zero, rest))),
        ]
    }
}

/// 8 floats as f16, rounded to nearest even.
#[inline(always)]
pub(super) fn narrow(x: [__m128; 2]) -> __m128i {
    // SAFETY: as above.
    unsafe {
        let magnitudes = _mm_packus_epi32(narrow_magnitude(x[0]), narrow_magnitude(x[1]));
        let signs = _mm_packs_epi32(
            _mm_srai_epi32::<16>(_mm_castps_si128(x[0])),
            _mm_srai_epi32::<16>(_mm_castps_si128(x[1])),
        );
        _mm_or_si128(
            magnitudes,
            _mm_and_si128(signs, _mm_set1_epi16(0x8000_u16.cast_signed())),
        )
    }
}

/// The f16 of each, without its sign.
///
/// From 2^-14 on: half a unit less a bit is added, and that bit where the last one that stays is odd; what overflows is infinite.
/// Below: the addition of 0.5 leaves units of 2^-24 at the end of the fraction, and rounds to them.
#[inline(always)]
fn narrow_magnitude(x: __m128) -> __m128i {
    // SAFETY: as above.
    unsafe {
        let nan = _mm_castps_si128(_mm_cmpunord_ps(x, x));
        let x = _mm_andnot_ps(_mm_set1_ps(-0.0), x);
        let bits = _mm_castps_si128(x);
        let odd = _mm_and_si128(_mm_srli_epi32::<13>(bits), _mm_set1_epi32(1));
        let moved = _mm_add_epi32(bits, _mm_set1_epi32(0x0fff - (112 << 23)));
        let normal = _mm_srli_epi32::<13>(_mm_add_epi32(moved, odd));
        let normal = _mm_min_epi32(normal, _mm_set1_epi32(0x7c00));
        let half = _mm_set1_ps(0.5);
        let small = _mm_sub_epi32(
            _mm_castps_si128(_mm_add_ps(x, half)),
            _mm_castps_si128(half),
        );
        let is_small = _mm_cmpgt_epi32(_mm_set1_epi32(113 << 23), bits);
        let number = _mm_blendv_epi8(normal, small, is_small);
        _mm_or_si128(number, _mm_and_si128(nan, _mm_set1_epi32(0x0200)))
    }
}
