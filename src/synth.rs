//! Files of random weights in the shape of a real model: `wattle synth`.
//!
//! Speed depends on shapes and types, hardly on values, so such a file measures what the model would, without a download.
//!
//! ```text
//! shape, shapes    what a model's numbers are; the list
//! keys, vocab      the metadata, with a made-up vocabulary
//! tensors          names, dimensions, and how weights are drawn
//! fill             their bytes
//! ```
//!
//! The types are those that [`crate::quantize`] (and so llama-quantize) would give the model: its plan is asked, over a head that has
//! the tensors in BF16 and F32, as a converter writes them.
//!
//! The file appears under its name when it is whole ([`Draft`]). Memory: a few megabytes, whatever the size of the file.

mod fill;
mod keys;
mod shape;
mod shapes;
mod tensors;
mod vocab;

use core::ops::ControlFlow;
use std::fs;
use std::io;
use std::path::Path;

use crate::error::{Error, Result};
use crate::gguf::{GgmlType, Gguf, TensorInfo, Writer};
use crate::os::Draft;
use crate::pool::Pool;
use crate::quantize::{self, Mix};
use fill::{Filler, Job};
pub use shape::Shape;
use tensors::{Tensor, tensors};

/// What to make.
#[derive(Debug, Clone)]
pub struct Options {
    /// The types.
    pub mix: &'static Mix,
    /// Layers; none for [`Shape::usual_layers`].
    pub layers: Option<u32>,
    /// The random weights follow from it.
    pub seed: u64,
    /// Replace a file that exists.
    pub replace: bool,
}

impl Options {
    /// The types of `mix`, and nothing special.
    pub fn new(mix: &'static Mix) -> Self {
        Self {
            mix,
            layers: None,
            seed: 0,
            replace: false,
        }
    }
}

/// A file to be written.
#[derive(Debug)]
pub struct Plan {
    shape: &'static Shape,
    layers: u32,
    options: Options,
    tensors: Vec<Tensor>,
    /// Without the vocabulary.
    head: Gguf,
}

/// How far the work is.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Progress<'a> {
    /// The tensor at work.
    pub tensor: &'a str,
    /// Bytes of the tensors that are done.
    pub done_bytes: u64,
}

impl Plan {
    /// Decides on keys, tensors and types.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] when the shape has not so many layers, or none are asked for.
    pub fn new(shape: &'static Shape, options: &Options) -> Result<Self> {
        let layers = options.layers.unwrap_or(shape.usual_layers);
        if !(1..=shape.layers).contains(&layers) {
            return Err(Error::Argument {
                name: "--layers",
                value: layers.to_string(),
                expected: format!("1 to {}, the layers of {}", shape.layers, shape.model),
            });
        }
        let tensors = tensors(shape, layers);
        let converted: Vec<GgmlType> = tensors.iter().map(Tensor::converted).collect();
        let read = |types: &[GgmlType]| {
            let mut bytes = Vec::new();
            head(shape, layers, options.mix, &tensors, types)
                .and_then(|head| head.start(&mut bytes).map(drop))
                .map_err(|source| Error::io(Path::new(shape.name), "describe", source))?;
            Gguf::head_from_bytes(Path::new(shape.name), bytes)
        };
        let steps = quantize::plan(&read(&converted)?, &quantize::Options::new(options.mix))?;
        let types: Vec<GgmlType> = steps.iter().map(|step| step.to).collect();
        let head = read(&types)?;
        Ok(Self {
            shape,
            layers,
            options: options.clone(),
            tensors,
            head,
        })
    }

    /// The shape that it will have.
    pub fn shape(&self) -> &'static Shape {
        self.shape
    }

    /// Layers that it will have.
    pub fn layers(&self) -> u32 {
        self.layers
    }

    /// The head of the file, without the vocabulary: its keys and tensors, and no weights.
    pub fn model(&self) -> &Gguf {
        &self.head
    }

    /// Bytes of all tensors.
    pub fn bytes(&self) -> u64 {
        self.head.tensors().iter().map(TensorInfo::n_bytes).sum()
    }

    /// Writes the file `out`.
    ///
    /// `go_on` hears of the progress several times a second. `Break` when it broke the work off, which leaves no file.
    ///
    /// # Errors
    ///
    /// `out` exists and may not be replaced; its disk has not enough room; it cannot be written. Nothing has changed then.
    pub fn write(
        &self,
        out: &Path,
        pool: &Pool,
        go_on: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        // Draft refuses all else that has this name.
        let exists = fs::metadata(out).is_ok_and(|found| found.is_file());
        if exists && !self.options.replace {
            return Err(Error::Argument {
                name: "OUT",
                value: out.display().to_string(),
                expected: "a new file, this one exists; --force replaces it".to_owned(),
            });
        }
        let failed = |source| Error::io(out, "write", source);
        let mut draft = Draft::create(out)?;
        let free = draft.free_bytes()?;
        if free < self.bytes() {
            let what = format!(
                "it takes {} MB, and its disk has {} MB left; choose another disk, type or shape, or fewer --layers",
                self.bytes() / 1_000_000,
                free / 1_000_000
            );
            return Err(failed(io::Error::new(io::ErrorKind::StorageFull, what)));
        }
        let types: Vec<GgmlType> = self.head.tensors().iter().map(|info| info.ty).collect();
        let (layers, mix) = (self.layers, self.options.mix);
        let mut head = head(self.shape, layers, mix, &self.tensors, &types).map_err(failed)?;
        vocab::put(&mut head, self.shape.vocab as usize, self.shape.pre).map_err(failed)?;
        let mut body = head.start(&mut draft).map_err(failed)?;
        let mut filler = Filler::new(pool, self.options.seed);
        let mut done_bytes = 0;
        for (number, (info, tensor)) in (0..).zip(self.head.tensors().iter().zip(&self.tensors)) {
            let job = Job {
                number,
                ty: info.ty,
                weights: info.elements(),
                draw: tensor.draw,
            };
            let done = filler.write(job, &mut body, &mut |bytes| {
                done_bytes += bytes;
                go_on(Progress {
                    tensor: &info.name,
                    done_bytes,
                })
            });
            if done.map_err(failed)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        body.finish().map_err(failed)?;
        draft.publish()?;
        Ok(ControlFlow::Continue(()))
    }
}

/// The head of a file: its keys but for the vocabulary, and its tensors with these types.
fn head(
    shape: &Shape,
    layers: u32,
    mix: &Mix,
    tensors: &[Tensor],
    types: &[GgmlType],
) -> io::Result<Writer> {
    let mut head = Writer::new();
    keys::put(&mut head, shape, layers, mix.file_type)?;
    for (tensor, &ty) in tensors.iter().zip(types) {
        head.tensor(&tensor.name, &tensor.dims, ty)?;
    }
    Ok(head)
}
