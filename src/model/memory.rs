//! Memory whose size a file or a flag decides: refused with a sentence when the system has not that much.

use crate::error::{Error, Result};

/// From this size on the system is asked. Smaller pieces the allocator may give out of memory that it keeps, and one that was
/// given back is no longer known to be zeros.
const LARGE_BYTES: usize = 64 << 20;

/// A tensor of `shape`, all of whose elements are `value`; `what` it is for, in an error.
///
/// Zeros cost memory only where they are written, as those of `vec!` do: room for a large one is asked for first and given
/// back, since filling a vector that grew by `try_reserve` would touch all of it.
pub(crate) fn filled<T: Clone>(value: T, shape: &[usize], what: &str) -> Result<Vec<T>> {
    let n = shape.iter().fold(1, |n: usize, dim| n.saturating_mul(*dim));
    if n.saturating_mul(size_of::<T>()) >= LARGE_BYTES {
        drop(reserved::<T>(n, || what.into())?);
    }
    Ok(vec![value; n])
}

/// An empty vector with room for `n` elements.
pub(crate) fn reserved<T>(n: usize, what: impl FnOnce() -> String) -> Result<Vec<T>> {
    let mut room = Vec::new();
    match room.try_reserve_exact(n) {
        Ok(()) => Ok(room),
        Err(_) => Err(Error::Memory {
            what: what(),
            bytes: (n as u64).saturating_mul(size_of::<T>() as u64),
        }),
    }
}

/// Zeros for the buffers of a pass.
pub(crate) fn zeros(shape: &[usize]) -> Result<Vec<f32>> {
    filled(0.0, shape, "the buffers of a batch")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_is_a_product() {
        assert_eq!(zeros(&[2, 3]).expect("six numbers"), [0.0; 6]);
        assert_eq!(zeros(&[1 << 60, 0]).expect("none"), [0.0; 0]);
        assert_eq!(filled(7_u8, &[2], "x").expect("two"), [7, 7]);
    }

    #[test]
    fn more_than_there_is_is_refused() {
        for shape in [&[usize::MAX][..], &[1 << 40, 1 << 40], &[1 << 55, 8]] {
            let told = zeros(shape).expect_err("too much").to_string();
            assert!(told.contains("the buffers of a batch"), "{told}");
        }
        let told = reserved::<u16>(usize::MAX / 2, || "a cache".into()).expect_err("too much");
        assert!(told.to_string().contains("18446744073709551614"), "{told}");
    }
}
