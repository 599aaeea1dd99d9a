//! A model with all its weights decoded to float32: both sides of a comparison then compute in floats, and must agree but for
//! the order of sums.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use wattle::gguf::{GgmlType, Gguf, Writer};
use wattle_kernels::{Format, decode};

/// Writes the model with all its weights as float32.
pub(crate) fn widen(from: &Path, to: &Path) {
    let gguf = Gguf::open(from).expect("the model is well formed");
    let mut writer = Writer::new();
    for (key, value) in gguf.metadata().iter() {
        writer.copy(key, value).expect("keys are unique");
    }
    for tensor in gguf.tensors() {
        writer
            .tensor(&tensor.name, tensor.shape(), GgmlType::F32)
            .expect("tensors are unique");
    }
    let file = BufWriter::new(File::create(to).expect("the temporary folder can be written"));
    let mut body = writer.start(file).expect("room for the head");
    for tensor in gguf.tensors() {
        let format = Format::from_ggml(tensor.ty.id()).expect("a format with a decoder");
        let count = usize::try_from(tensor.elements()).expect("a small model");
        let mut weights = vec![0.0; count];
        decode(format, &gguf.bytes(tensor), &mut weights);
        let bytes: Vec<u8> = weights.iter().flat_map(|x| x.to_le_bytes()).collect();
        body.write(&bytes).expect("room for the weights");
    }
    body.finish()
        .expect("all tensors written")
        .flush()
        .expect("room for the weights");
}
