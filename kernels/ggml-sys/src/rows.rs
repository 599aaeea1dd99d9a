//! Rows of one type: to it and from it, and multiplied with activations.

use std::ffi::c_int;

use crate::sys;
use crate::types::Type;

/// Decodes whole blocks to f32.
///
/// # Panics
/// If the type has no decoder ([`Type::decodes`]), `bytes` is not whole blocks or not aligned to 2 bytes (F32: 4), or `out` has not
/// their length.
pub fn dequantize(ty: Type, bytes: &[u8], out: &mut [f32]) {
    assert!(ty.decodes(), "{ty:?} has no decoder");
    check(ty, bytes, out.len());
    match ty.traits().to_float {
        // SAFETY: `bytes` holds exactly the blocks of `out.len()` numbers, aligned for them, as `check` has asserted.
        Some(to_float) => unsafe { to_float(bytes.as_ptr().cast(), out.as_mut_ptr(), count(out)) },
        None => {
            for (out, bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
                *out = f32::from_le_bytes(*bytes);
            }
        }
    }
}

/// Encodes rows of `cols` numbers, as llama-quantize does; `importance` has a number for each column.
///
/// # Panics
/// If a number is not finite, the lengths do not fit, the type needs an importance and has none, or ggml has no encoder for it.
pub fn quantize(ty: Type, x: &[f32], cols: usize, importance: Option<&[f32]>, out: &mut [u8]) {
    assert!(
        cols > 0 && x.len().is_multiple_of(cols),
        "{} numbers are not whole rows of {cols}",
        x.len()
    );
    assert!(
        ty.row_bytes(cols).is_some(),
        "{ty:?}: {cols} columns are not whole blocks"
    );
    assert!(
        x.iter().all(|x| x.is_finite()),
        "ggml encodes finite numbers only"
    );
    assert!(
        importance.map_or(!ty.needs_importance(), |all| all.len() == cols),
        "{ty:?}: an importance for each of {cols} columns"
    );
    check(ty, out, x.len());
    let weights = importance.map_or(std::ptr::null(), <[f32]>::as_ptr);
    let rows = x.len() / cols;
    // SAFETY: `x` and `out` hold `rows` rows of `cols` numbers, `weights` is null or has `cols`, as asserted above.
    let written = unsafe {
        sys::ggml_quantize_chunk(
            ty.id(),
            x.as_ptr(),
            out.as_mut_ptr().cast(),
            0,
            rows as i64,
            cols as i64,
            weights,
        )
    };
    assert_eq!(written, out.len(), "{ty:?}: ggml has no encoder");
}

/// Turns activations into what [`vec_dot`] multiplies with weights of type `ty`: [`Type::dot_type`].
///
/// # Panics
/// If nothing multiplies the type, or `out` is not the bytes of `x.len()` such numbers (aligned to 4).
pub fn quantize_acts(ty: Type, x: &[f32], out: &mut [u8]) {
    let Some(to) = ty.dot_type() else {
        panic_no_dot(ty);
    };
    check(to, out, x.len());
    let Some(from_float) = to.cpu_traits().from_float else {
        panic_no_dot(ty);
    };
    // SAFETY: `out` has the blocks of exactly `x.len()` numbers, aligned for them, as `check` has asserted.
    unsafe { from_float(x.as_ptr(), out.as_mut_ptr().cast(), count(x)) };
}

/// One row of `cols` weights times activations from [`quantize_acts`]: ggml's `vec_dot`.
///
/// # Panics
/// If nothing multiplies the type, or a length or an alignment does not fit.
pub fn vec_dot(ty: Type, cols: usize, row: &[u8], acts: &[u8]) -> f32 {
    let (Some(dot), Some(to)) = (ty.cpu_traits().vec_dot, ty.dot_type()) else {
        panic_no_dot(ty);
    };
    check(ty, row, cols);
    check(to, acts, cols);
    let cols = c_int::try_from(cols).unwrap_or(0);
    let mut out = 0.0;
    // SAFETY: both rows hold exactly `cols` numbers of the types that this kernel reads, aligned for them; it writes one f32,
    // and ignores the strides when asked for one row.
    unsafe {
        dot(
            cols,
            &raw mut out,
            0,
            row.as_ptr().cast(),
            0,
            acts.as_ptr().cast(),
            0,
            1,
        )
    };
    out
}

/// `bytes` are exactly `n` numbers of that type, aligned as C wants them.
fn check(ty: Type, bytes: &[u8], n: usize) {
    assert_eq!(
        Some(bytes.len()),
        ty.row_bytes(n),
        "{ty:?}: bytes of {n} numbers"
    );
    assert!(
        bytes.as_ptr().addr().is_multiple_of(ty.align()),
        "{ty:?}: bytes aligned to {}",
        ty.align()
    );
}

/// A length as ggml counts.
fn count(x: &[f32]) -> i64 {
    x.len() as i64 // no slice is longer than isize::MAX
}

/// The caller asked for a kernel that there is not.
#[expect(
    clippy::panic,
    reason = "a broken contract of the caller, as the assertions beside it"
)]
fn panic_no_dot(ty: Type) -> ! {
    panic!("{ty:?}: ggml multiplies no rows of it");
}

#[cfg(test)]
mod tests {
    use super::{dequantize, quantize, quantize_acts, vec_dot};
    use crate::Type;

    fn wave(n: usize, step: f32) -> Vec<f32> {
        (0..n).map(|i| (i as f32 * step).sin()).collect()
    }

    fn dot(a: &[f32], b: &[f32]) -> f64 {
        a.iter()
            .zip(b)
            .map(|(a, b)| f64::from(*a) * f64::from(*b))
            .sum()
    }

    /// All that decode and multiply, with a decoded row of each. Its bytes are such that every f16 among them is from 0.03 to 0.12.
    fn types() -> impl Iterator<Item = (Type, Vec<u8>, Vec<f32>)> {
        let usable = Type::all().filter(|ty| ty.decodes() && ty.dot_type().is_some());
        usable.map(|ty| {
            let bytes = ty.row_bytes(512).expect("whole blocks");
            let row: Vec<u8> = (0..bytes).map(|i| 0x28 + (i * i % 11 % 8) as u8).collect();
            let mut decoded = vec![0.0; 512];
            dequantize(ty, &row, &mut decoded);
            (ty, row, decoded)
        })
    }

    #[test]
    fn every_type_multiplies_as_it_decodes() {
        let x = wave(512, 0.41);
        let mut multiplied = 0;
        for (ty, row, w) in types() {
            let to = ty.dot_type().expect("filtered");
            let mut acts = vec![0; to.row_bytes(512).expect("whole blocks")];
            quantize_acts(ty, &x, &mut acts);
            let got = f64::from(vec_dot(ty, 512, &row, &acts));
            let (want, size) = (dot(&w, &x), (dot(&w, &w) * dot(&x, &x)).sqrt());
            assert!(size > 0.0, "{ty:?} decodes to zeros");
            assert!(
                (got - want).abs() < 0.005 * size,
                "{ty:?}: {got}, not {want} ({size})"
            );
            multiplied += 1;
        }
        assert!(multiplied > 20, "{multiplied} types");
    }

    #[test]
    fn what_is_encoded_decodes_to_nearly_the_same() {
        let w = wave(512, 0.37);
        // Those without a search through a codebook, whose tables take seconds to make.
        for id in [
            0, 1, 2, 3, 6, 7, 8, 10, 11, 12, 13, 14, 20, 23, 30, 34, 35, 39,
        ] {
            let ty = Type::from_id(id).expect("a type");
            assert!(!ty.needs_importance(), "{ty:?}");
            let mut row = vec![0; ty.row_bytes(512).expect("whole blocks")];
            quantize(ty, &w, 256, Some(&[1.0; 256]), &mut row);
            let mut back = vec![0.0; 512];
            dequantize(ty, &row, &mut back);
            let lost: Vec<f32> = w.iter().zip(&back).map(|(a, b)| a - b).collect();
            let share = dot(&lost, &lost) / dot(&w, &w);
            // A sine lies between -1 and 1 and has the mean square 1/2; steps between levels leave step^2 / 12.
            let levels = match ty.name() {
                "tq1_0" | "tq2_0" => 3.0,
                "q2_K" => 4.0,
                // Its scale is a power of two, so that the largest may be cut by a quarter: half a step of these.
                "mxfp4" => 5.0,
                _ => 8.0,
            };
            let step = 2.0 / (levels - 1.0);
            let allowed = step * step / 12.0 / 0.5;
            assert!(share < allowed, "{ty:?} loses {share} of the square");
        }
    }

    #[test]
    #[should_panic(expected = "an importance for each")]
    fn a_missing_importance_is_refused() {
        let ty = Type::from_id(16).expect("IQ2_XXS");
        let mut row = vec![0; ty.row_bytes(256).expect("a block")];
        quantize(ty, &[0.5; 256], 256, None, &mut row);
    }

    #[test]
    #[should_panic(expected = "bytes of 64 numbers")]
    fn a_short_row_is_refused() {
        let ty = Type::from_id(8).expect("Q8_0");
        vec_dot(ty, 64, &[0; 34], &[0; 68]);
    }
}
