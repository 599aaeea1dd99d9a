//! By what a model is known again: everything that decides on the bits that it computes.
//!
//! As for packed weights (`model/pack/key.rs`), a file is known by its [identity](crate::os::Identity) and a few bytes out of many tensors,
//! since an image of a disk may hold another model under the same number and times. Tensors in memory count whole.

use xxhash_rust::xxh3::Xxh3;

use crate::gguf::Gguf;

/// Most places that are looked at: each may cost a read of a disk.
const PLACES: usize = 64;
/// Bytes of a place.
const PLACE: usize = 256;

/// The identity of a model file, or of all files of a split model.
pub(super) fn of(gguf: &Gguf) -> u128 {
    let mut key = Xxh3::new();
    let number = |n: u64, key: &mut Xxh3| key.update(&n.to_le_bytes());
    let tensors = gguf.tensors();
    let every = tensors.len().div_ceil(PLACES).max(1);
    for (i, tensor) in tensors.iter().enumerate() {
        number(tensor.name.len() as u64, &mut key);
        key.update(tensor.name.as_bytes());
        for dim in tensor.dims {
            number(dim, &mut key);
        }
        number(u64::from(tensor.ty.id()), &mut key);
        number(tensor.offset(), &mut key);
        let bytes = gguf.bytes(tensor);
        match bytes.mapping() {
            Some((map, _)) => {
                let file = map.identity();
                number(file.inode, &mut key);
                number(file.size, &mut key);
                for (seconds, nanoseconds) in [file.written, file.changed] {
                    number(seconds as u64, &mut key);
                    number(nanoseconds as u64, &mut key);
                }
                if i.is_multiple_of(every) {
                    let middle = bytes.len() / 2;
                    key.update(&bytes[middle..bytes.len().min(middle + PLACE)]);
                }
            }
            None => key.update(&bytes),
        }
    }
    key.digest128()
}
