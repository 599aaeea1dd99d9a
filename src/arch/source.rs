//! Keys and tensors of a file, asked for by name and checked for shape.

use std::cell::RefCell;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use wattle_kernels::{Format, Isa};

use crate::error::{Error, Place, Result};
use crate::gguf::{Gguf, Metadata, TensorInfo};
use crate::model::config::{Config, Scales};
use crate::model::matrix::{Bytes, Matrix, Stack};
use crate::model::weights::{Gated, Layer, Linear, Weights};
use crate::os::Advice;
use crate::rare::{self, Fault, Loader};

/// Most transformer layers of a model, as llama.cpp has it.
const MAX_LAYERS: usize = 512;

/// A file seen by a recipe.
pub(crate) struct Source<'a> {
    gguf: &'a Gguf,
    isa: Isa,
    rare: Loader<'a>,
    arch: &'static str,
    /// Tensors that the recipe asked for.
    used: RefCell<HashSet<&'a str>>,
}

impl<'a> Source<'a> {
    pub(crate) fn new(gguf: &'a Gguf, isa: Isa, rare: Loader<'a>, arch: &'static str) -> Self {
        Self {
            gguf,
            isa,
            rare,
            arch,
            used: RefCell::default(),
        }
    }

    /// The instruction set that the model will run on.
    pub(crate) fn isa(&self) -> Isa {
        self.isa
    }

    /// The metadata of the file.
    pub(crate) fn meta(&self) -> &'a Metadata {
        self.gguf.metadata()
    }

    /// The full name of one of the architecture's keys.
    pub(crate) fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.arch)
    }

    /// A number that must be there and at least 1.
    pub(crate) fn need(&self, name: &str) -> Result<usize> {
        let key = self.key(name);
        match self.meta().need_u32(&key)? {
            0 => Err(self.bad_key(name, "at least 1", "0")),
            n => Ok(n as usize),
        }
    }

    /// A number that may be absent.
    pub(crate) fn number(&self, name: &str) -> Result<Option<usize>> {
        Ok(self.meta().u32(&self.key(name))?.map(|n| n as usize))
    }

    /// A real number that may be absent.
    pub(crate) fn real(&self, name: &str) -> Result<Option<f32>> {
        let value = self.meta().f32(&self.key(name))?;
        match value {
            Some(x) if !x.is_finite() => Err(self.bad_key(name, "a finite number", &x.to_string())),
            _ => Ok(value),
        }
    }

    /// Number of blocks, and how many of them are transformer layers: the rest, at the end, predict further tokens.
    pub(crate) fn layers(&self) -> Result<usize> {
        let blocks = self.need("block_count")?;
        let extra = self.number("nextn_predict_layers")?.unwrap_or(0);
        if blocks > MAX_LAYERS {
            return Err(self.bad_key(
                "block_count",
                &format!("at most {MAX_LAYERS}"),
                &blocks.to_string(),
            ));
        }
        match blocks.checked_sub(extra) {
            Some(layers) if layers > 0 => {
                self.skip_blocks(layers..blocks);
                Ok(layers)
            }
            _ => Err(self.bad_key(
                "nextn_predict_layers",
                &format!("fewer than the {blocks} blocks"),
                &extra.to_string(),
            )),
        }
    }

    /// A fault of one of the architecture's keys.
    pub(crate) fn bad_key(&self, name: &str, expected: &str, found: &str) -> Error {
        Error::file(
            self.gguf.path(),
            Place::Key(self.key(name)),
            expected,
            found,
        )
    }

    /// A fault of a tensor.
    pub(crate) fn bad_tensor(&self, name: &str, expected: &str, found: &str) -> Error {
        let place = Place::Tensor(name.to_owned());
        Error::file(self.gguf.path(), place, expected, found)
    }

    /// Something that the file asks for and wattle does not do.
    pub(crate) fn unsupported(&self, what: impl Into<String>, hint: impl Into<String>) -> Error {
        Error::Unsupported {
            path: self.gguf.path().to_path_buf(),
            what: what.into(),
            hint: hint.into(),
        }
    }

    /// Whether a tensor is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.gguf.tensor(name).is_some()
    }

    /// Marks a tensor as known and not needed.
    pub(crate) fn skip(&self, name: &str) {
        if let Some(info) = self.gguf.tensor(name) {
            self.used.borrow_mut().insert(&info.name);
        }
    }

    /// Marks all tensors of some blocks as known and not needed.
    fn skip_blocks(&self, blocks: Range<usize>) {
        for block in blocks {
            let prefix = format!("blk.{block}.");
            let names = self.gguf.tensors().iter().map(|info| info.name.as_str());
            self.used
                .borrow_mut()
                .extend(names.filter(|name| name.starts_with(&prefix)));
        }
    }

    /// An error when the file holds weights that the recipe did not ask for.
    pub(crate) fn refuse_leftovers(&self) -> Result<()> {
        let used = self.used.borrow();
        let mut names = self.gguf.tensors().iter().map(|info| info.name.as_str());
        match names.find(|name| !used.contains(name)) {
            None => Ok(()),
            Some(name) => Err(self.unsupported(
                format!("tensor {name:?} in a model of architecture {:?}", self.arch),
                "running without it would give wrong text",
            )),
        }
    }

    fn tensor(&self, name: &str) -> Result<&'a TensorInfo> {
        let info = self
            .gguf
            .tensor(name)
            .ok_or_else(|| self.bad_tensor(name, "a tensor of this name", "none"))?;
        self.used.borrow_mut().insert(&info.name);
        Ok(info)
    }

    /// A matrix with the given number of columns and, when said, of rows; trailing dimensions count as rows.
    fn matrix_of(&self, name: &str, rows: Option<usize>, cols: usize) -> Result<Matrix> {
        let info = self.tensor(name)?;
        let found_rows: u64 = info.dims[1..].iter().product();
        let fits = info.dims[0] == cols as u64 && rows.is_none_or(|r| found_rows == r as u64);
        if !fits || found_rows == 0 || cols == 0 {
            let expected = match rows {
                _ if found_rows == 0 || cols == 0 => "at least one weight".to_owned(),
                Some(rows) => format!("{cols} columns and {rows} rows"),
                None => format!("{cols} columns"),
            };
            return Err(self.bad_tensor(name, &expected, &shape(info)));
        }
        let (format, bytes) = match Format::from_ggml(info.ty.id()) {
            Some(format) => (format, Bytes::Mapped(self.gguf.bytes(info))),
            None => (rare::HELD_AS, self.decoded(info, cols)?),
        };
        let rows = usize::try_from(found_rows).ok();
        rows.and_then(|rows| Matrix::new(self.isa, format, rows, cols, bytes))
            .map(|matrix| matrix.named(name))
            .ok_or_else(|| self.bad_tensor(name, "whole rows of blocks", &shape(info)))
    }

    /// The rows of a tensor whose type has no kernel, as [`rare::HELD_AS`].
    fn decoded(&self, info: &TensorInfo, cols: usize) -> Result<Bytes> {
        let (name, ty) = (&info.name, info.ty);
        let bytes = self.gguf.bytes(info);
        let let_go = |range: Range<usize>| {
            if let Some((map, at)) = bytes.mapping() {
                map.advise(
                    at.start + range.start..at.start + range.end,
                    Advice::DontNeed,
                );
            }
        };
        match self.rare.load(ty.id(), cols, &bytes, let_go) {
            Ok(held) => {
                let range = 0..held.len();
                Ok(Bytes::Packed(Arc::new(held), range))
            }
            Err(Fault::Memory(error)) => Err(error),
            Err(Fault::Cut) => Err(self.bad_tensor(name, "whole rows of blocks", &shape(info))),
            Err(Fault::NotFinite { row }) => {
                let found = format!("one that is not in row {row}");
                Err(self.bad_tensor(name, "finite weights", &found))
            }
            Err(Fault::Unknown) => {
                let hint = match rare::is_rare(ty.id()) {
                    true => format!(
                        "this build has no kernel for it: build wattle with `--features ggml`, which needs a C++ compiler and \
                         libclang, or make the file one of a type that it has with `llama-quantize --allow-requantize` ({})",
                        format_names()
                    ),
                    false => format!("wattle computes with {}", format_names()),
                };
                Err(self.unsupported(format!("type {ty} of tensor {name:?}"), hint))
            }
        }
    }

    /// A matrix of a known shape.
    pub(crate) fn matrix(&self, name: &str, rows: usize, cols: usize) -> Result<Matrix> {
        self.matrix_of(name, Some(rows), cols)
    }

    /// A matrix whose number of rows the file decides.
    pub(crate) fn matrix_any_rows(&self, name: &str, cols: usize) -> Result<Matrix> {
        self.matrix_of(name, None, cols)
    }

    /// The number of columns of a tensor.
    pub(crate) fn cols(&self, name: &str) -> Result<usize> {
        let info = self.tensor(name)?;
        usize::try_from(info.dims[0])
            .map_err(|_| self.bad_tensor(name, "a row that fits memory", &shape(info)))
    }

    /// `count` matrices of `rows` rows, in a tensor of three dimensions or, heads outermost, of two.
    pub(crate) fn stack(
        &self,
        name: &str,
        count: usize,
        rows: usize,
        cols: usize,
    ) -> Result<Stack> {
        let matrix = self.matrix(name, self.times(name, count, rows)?, cols)?;
        self.stacked(name, matrix, 0, rows, rows, count)
    }

    /// `count` matrices whose rows the file decides.
    pub(crate) fn stack_any_rows(&self, name: &str, count: usize, cols: usize) -> Result<Stack> {
        let matrix = self.matrix_any_rows(name, cols)?;
        if matrix.rows() % count != 0 {
            let expected = format!("a multiple of {count} rows");
            return Err(self.bad_tensor(name, &expected, &matrix.rows().to_string()));
        }
        let rows = matrix.rows() / count;
        self.stacked(name, matrix, 0, rows, rows, count)
    }

    /// Both halves of `count` matrices that hold gate rows and then up rows.
    pub(crate) fn gate_up_stacks(
        &self,
        name: &str,
        count: usize,
        cols: usize,
    ) -> Result<(Stack, Stack)> {
        let both = self.matrix_any_rows(name, cols)?;
        let ff = both.rows() / count / 2;
        if ff == 0 || both.rows() != 2 * ff * count {
            let expected = format!("a multiple of {} rows", 2 * count);
            return Err(self.bad_tensor(name, &expected, &both.rows().to_string()));
        }
        let gate = self.stacked(name, both.clone(), 0, 2 * ff, ff, count)?;
        let up = self.stacked(name, both, ff, 2 * ff, ff, count)?;
        Ok((gate, up))
    }

    fn stacked(
        &self,
        name: &str,
        matrix: Matrix,
        first: usize,
        stride: usize,
        rows: usize,
        count: usize,
    ) -> Result<Stack> {
        Stack::new(matrix, first, stride, rows, count)
            .ok_or_else(|| self.bad_tensor(name, "at least one matrix", "none"))
    }

    /// `a * b`, as the rows of a tensor.
    pub(crate) fn times(&self, name: &str, a: usize, b: usize) -> Result<usize> {
        a.checked_mul(b)
            .ok_or_else(|| self.bad_tensor(name, "a size that fits memory", &format!("{a} x {b}")))
    }

    /// A vector of a known length.
    pub(crate) fn vector(&self, name: &str, len: usize) -> Result<Box<[f32]>> {
        let row = self.matrix(name, 1, len)?;
        let mut values = vec![0.0; len].into_boxed_slice();
        row.decode_row(0, &mut values);
        Ok(values)
    }

    /// A vector that may be absent.
    pub(crate) fn optional_vector(&self, name: &str, len: usize) -> Result<Option<Box<[f32]>>> {
        self.has(name).then(|| self.vector(name, len)).transpose()
    }

    /// `NAME.weight` with, when it is there, `NAME.bias`.
    pub(crate) fn linear(&self, name: &str, rows: usize, cols: usize) -> Result<Linear> {
        Ok(Linear {
            weight: self.matrix(&format!("{name}.weight"), rows, cols)?,
            bias: self.optional_vector(&format!("{name}.bias"), rows)?,
        })
    }

    /// The three matrices of a gated network: `PREFIXgate`, `PREFIXup` and `PREFIXdown` with `suffix`.
    pub(crate) fn gated(&self, block: &str, suffix: &str, n_embd: usize) -> Result<Gated> {
        let gate = self.matrix_any_rows(&format!("{block}ffn_gate{suffix}"), n_embd)?;
        let ff = gate.rows();
        Ok(Gated {
            gate,
            up: self.matrix(&format!("{block}ffn_up{suffix}"), ff, n_embd)?,
            down: self.matrix(&format!("{block}ffn_down{suffix}"), n_embd, ff)?,
        })
    }

    /// What all architectures share around their layers: embedding, output norm and output, which may be the embedding.
    pub(crate) fn weights(&self, n_embd: usize, layers: Vec<Layer>) -> Result<Weights> {
        let embedding = self.matrix_any_rows("token_embd.weight", n_embd)?;
        let tied = !self.has("output.weight");
        let output = if tied {
            embedding.clone()
        } else {
            self.matrix("output.weight", embedding.rows(), n_embd)?
        };
        Ok(Weights {
            embedding,
            layers,
            output_norm: self.vector("output_norm.weight", n_embd)?,
            output,
            tied,
        })
    }

    /// The keys that all architectures share.
    pub(crate) fn config(
        &self,
        heads: crate::model::config::Heads,
        rope: crate::model::rope::Rope,
        n_embd: usize,
        n_vocab: usize,
    ) -> Result<Config> {
        let eps = "attention.layer_norm_rms_epsilon";
        Ok(Config {
            arch: self.arch,
            n_embd,
            n_vocab,
            n_ctx_train: self.need("context_length")?,
            norm_eps: self
                .real(eps)?
                .ok_or_else(|| self.bad_key(eps, "a number", "none"))?,
            rope,
            heads,
            scales: Scales::default(),
            sparse: None,
        })
    }
}

/// The formats that there are kernels for.
fn format_names() -> String {
    let names: Vec<_> = Format::ALL.iter().map(|format| format.name()).collect();
    names.join(", ")
}

/// A tensor's shape as it is written in messages.
fn shape(info: &TensorInfo) -> String {
    let dims = &info.dims[..info.n_dims];
    let dims: Vec<_> = dims.iter().map(u64::to_string).collect();
    format!("shape {{{}}}", dims.join(", "))
}
