//! One entry of the tensor list.

use super::reader::{Read, Reader};
use crate::error::{Place, Result};
use crate::gguf::tensor::{MAX_DIMS, MAX_NAME, Size, TensorInfo};
use crate::gguf::types::GgmlType;

impl Reader<'_> {
    /// Tensor `i` of the file, whose data must begin at `next` bytes after the start of the data.
    pub(super) fn info(&mut self, i: u64, next: u64) -> Read<TensorInfo> {
        self.place = Place::TensorList;
        let entry_at = self.cursor.at();
        let name = self.name(format_args!("the name of tensor {i}"), MAX_NAME)?;
        self.place = Place::Tensor(name.clone());
        let dims_at = self.cursor.at();
        let count = self.u32("the number of dimensions")?;
        let n_dims = usize::try_from(count).unwrap_or(usize::MAX);
        if n_dims > MAX_DIMS {
            return Err(self
                .broken(dims_at, "at most 4 dimensions", count.to_string())
                .into());
        }
        let mut dims = [1; MAX_DIMS];
        for (k, dim) in dims.iter_mut().take(n_dims).enumerate() {
            let at = self.cursor.at();
            *dim = self.u64(format_args!("dimension {k}"))?;
            let signed = i64::from_le_bytes(dim.to_le_bytes());
            if signed < 0 {
                return Err(self
                    .broken(at, "a dimension of 0 or more", signed.to_string())
                    .into());
            }
        }
        let type_at = self.cursor.at();
        let id = self.u32("the type")?;
        let ty = GgmlType::from_id(id).ok_or_else(|| {
            let (found, hint) = GgmlType::explain(id);
            self.broken(type_at, "a tensor type of ggml", found)
                .advise(hint)
        })?;
        let size = self.size(dims, ty, dims_at)?;
        let offset_at = self.cursor.at();
        let offset = self.u64("the offset of the data")?;
        if offset != next {
            let expected = format!("the data offset {next}, where the tensor before it ends");
            return Err(self.broken(offset_at, expected, offset.to_string()).into());
        }
        Ok(TensorInfo {
            name,
            dims,
            n_dims,
            ty,
            shard: self.shard,
            entry_at,
            offset,
            size,
        })
    }

    fn size(&self, dims: [u64; MAX_DIMS], ty: GgmlType, at: u64) -> Result<Size> {
        let [cols, ..] = dims;
        Size::of(dims, ty).ok_or_else(|| {
            let block = ty.block();
            if cols.checked_rem(block as u64) == Some(0) {
                self.broken(
                    at,
                    "a tensor of less than 2^63 bytes",
                    format!("the shape {dims:?} of {ty}"),
                )
            } else {
                self.broken(
                    at,
                    format!("rows of {ty} that are a multiple of {block} long"),
                    format!("rows of {cols}"),
                )
            }
        })
    }
}
