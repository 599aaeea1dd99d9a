//! Learns from a text how much each column of a model's matrices matters: an [`Imatrix`].
//!
//! The text is cut into [`Chunks`] as for perplexity, and all of every chunk is run. Whatever goes into a matrix is squared and
//! added up, column by column:
//!
//! | tensor | sums |
//! |---|---|
//! | a matrix | `cols`, over all tokens |
//! | a stack of experts | `cols` for each expert, over the tokens that the router sent to it |
//! | `attn_k_b`, `attn_v_b` | `heads * cols`, over all tokens: each head's query without its rotary part, and its mix of latent rows |
//! | `attn_kv_b` of a legacy file | `cols`: the normed latent row of every token |
//!
//! That is what llama.cpp's imatrix tool sums up, and its file has these shapes. Nothing is known of the embedding, which is looked up
//! and not multiplied, nor, unless asked for, of the output.

use core::cell::RefCell;
use core::ops::ControlFlow;

use crate::error::{Error, Result};
use crate::generate::{Forward, Session};
use crate::gguf::Gguf;
use crate::imatrix::Imatrix;
use crate::model::{Logits, Watch};
use crate::perplexity::Chunks;
use crate::score::batch_with_logits;

/// The tensor of the output head.
const OUTPUT: &str = "output.weight";

/// What to learn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LearnOptions {
    /// Learn about the output head too.
    pub output: bool,
}

/// Runs all chunks through `session`, and returns what was learned from `text`, the name of the text.
///
/// `progress(done, total)` is told how many tokens are through after every batch; when it breaks, the rest is left out.
///
/// # Errors
/// [`Error::Logits`] when an input is not a number or overflows, and what the model refuses.
pub fn learn(
    session: &mut Session<'_>,
    chunks: &Chunks<'_>,
    text: String,
    options: LearnOptions,
    progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<Imatrix> {
    let size = u32::try_from(chunks.context()).unwrap_or(u32::MAX);
    let collector = Collector {
        gguf: session.model().gguf(),
        options,
        imatrix: RefCell::new(Imatrix::new(vec![text], size)),
    };
    let (batch, want) = match options.output {
        true => (batch_with_logits(session), Logits::All),
        false => (session.batch(), Logits::None),
    };
    let total = chunks.tokens().len();
    let mut done = 0;
    'text: for chunk in chunks.each() {
        session.clear();
        for tokens in chunk.chunks(batch) {
            session.watched(tokens, want, &collector)?;
            done += tokens.len();
            if progress(done, total).is_break() {
                break 'text;
            }
        }
        collector.imatrix.borrow_mut().add_chunk();
    }
    let imatrix = collector.imatrix.into_inner();
    for tensor in imatrix.tensors() {
        let importance = imatrix.importance(tensor).unwrap_or_default();
        if let Some(wrong) = importance.iter().find(|x| !x.is_finite()) {
            return Err(Error::Logits {
                what: format!("the inputs of tensor {tensor:?} have the mean square {wrong}"),
            });
        }
    }
    Ok(imatrix)
}

/// Adds up what it is shown.
#[derive(Debug)]
struct Collector<'m> {
    /// Tells the shapes of the tensors.
    gguf: &'m Gguf,
    options: LearnOptions,
    imatrix: RefCell<Imatrix>,
}

impl Collector<'_> {
    /// Whether anything is learned about a tensor.
    fn wants(&self, tensor: &str) -> bool {
        tensor.starts_with("blk.") || (self.options.output && tensor == OUTPUT)
    }

    /// Matrices in a tensor: its third dimension. Where heads lie in two, all share one row of sums.
    fn matrices(&self, tensor: &str) -> usize {
        let info = self.gguf.tensor(tensor);
        let count = info.and_then(|info| usize::try_from(info.dims[2]).ok());
        count.unwrap_or(1).max(1)
    }
}

impl Watch for Collector<'_> {
    fn rows(&self, tensor: &str, cols: usize, rows: &[f32]) {
        if self.wants(tensor) {
            let mut imatrix = self.imatrix.borrow_mut();
            let entry = imatrix.add(tensor, 1, cols);
            for row in rows.chunks_exact(cols) {
                entry.add(0, row);
            }
        }
    }

    fn heads(&self, tensor: &str, cols: usize, heads: usize, rows: &[f32]) {
        if self.matrices(tensor) != heads {
            return self.rows(tensor, cols, rows);
        }
        let mut imatrix = self.imatrix.borrow_mut();
        let entry = imatrix.add(tensor, 1, heads * cols);
        let tokens = rows.len() / (heads * cols);
        let mut row = Vec::with_capacity(heads * cols);
        for t in 0..tokens {
            row.clear();
            for head in 0..heads {
                row.extend_from_slice(&rows[(head * tokens + t) * cols..][..cols]);
            }
            entry.add(0, &row);
        }
    }

    fn expert(&self, tensor: &str, cols: usize, expert: usize, rows: &[f32]) {
        let matrices = self.matrices(tensor);
        let mut imatrix = self.imatrix.borrow_mut();
        let entry = imatrix.add(tensor, matrices, cols);
        for row in rows.chunks_exact(cols) {
            entry.add(expert % matrices, row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::SessionOptions;
    use crate::load::Model;

    /// What is learned about a tiny model of `tests/data/hf` from a row of its own tokens.
    fn learned(file: &str, batch: usize) -> Imatrix {
        let model = Model::load(format!("tests/data/hf/{file}.gguf")).expect("a tiny model");
        let tokens: Vec<u32> = (0..48).map(|i| (i * i + 7 * i) % 61).collect();
        let chunks = Chunks::new(&tokens, 24, None, Some(1)).expect("two chunks");
        let options = SessionOptions {
            ctx: Some(24),
            batch,
            ..SessionOptions::default()
        };
        let mut session = Session::new(&model, &options).expect("a small session");
        let mut go_on = |_, _| ControlFlow::Continue(());
        let options = LearnOptions::default();
        learn(&mut session, &chunks, "tokens".into(), options, &mut go_on).expect("learned")
    }

    fn near(a: &[f32], b: &[f32], what: &str) {
        assert_eq!(a.len(), b.len(), "{what}");
        let largest = b.iter().fold(0f32, |most, x| most.max(*x));
        for (a, b) in a.iter().zip(b) {
            assert!((a - b).abs() <= 1e-3 * largest, "{what}: {a} is not {b}");
        }
    }

    #[test]
    fn every_layout_of_a_model_teaches_the_same() {
        let split = learned("v2-lite", 256);
        let of = |matrix: &Imatrix, name: &str| matrix.importance(name).expect("the tensor");
        for (file, batch) in [
            ("v2-lite", 5),
            ("v2-lite-legacy", 256),
            ("v2-lite-merged", 7),
            ("v2-lite-flat", 24),
        ] {
            let other = learned(file, batch);
            assert_eq!((other.chunks(), other.chunk_size()), (2, 24));
            for name in other.tensors() {
                let found = of(&other, name);
                let last = name.rsplit_once('.').map_or(name, |(start, _)| start);
                match last.rsplit_once('.') {
                    // The latent row, whose mean square is 1 before the norm's weight.
                    Some((_, "attn_kv_b")) => assert!(split.importance(name).is_none()),
                    Some((block, "ffn_gate_up_exps")) => {
                        near(
                            &found,
                            &of(&split, &format!("{block}.ffn_gate_exps.weight")),
                            name,
                        );
                    }
                    // Without a third dimension the heads have one row of sums.
                    Some((_, "attn_k_b" | "attn_v_b")) if file == "v2-lite-flat" => {
                        let heads = of(&split, name);
                        let (cols, count) = (found.len(), heads.len() / found.len());
                        let mean =
                            |c| (0..count).map(|h| heads[h * cols + c]).sum::<f32>() / count as f32;
                        near(&found, &(0..cols).map(mean).collect::<Vec<_>>(), name);
                    }
                    _ => near(&found, &of(&split, name), name),
                }
            }
        }
    }

    #[test]
    fn a_legacy_projection_is_taught_by_the_normed_latent_row() {
        let learned = learned("v2-lite-legacy", 16);
        let model = Model::load("tests/data/hf/v2-lite-legacy.gguf").expect("a tiny model");
        let file = model.gguf();
        for block in 0..2 {
            let name = format!("blk.{block}.attn_kv_a_norm.weight");
            let weights = file.tensor(&name).expect("the norm's weight");
            let bytes = file.bytes(weights);
            let weights = bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b));
            let found = learned.importance(&format!("blk.{block}.attn_kv_b.weight"));
            let found = found.expect("the projection");
            let mean: f32 =
                weights.zip(&found).map(|(w, x)| x / (w * w)).sum::<f32>() / found.len() as f32;
            assert!((mean - 1.0).abs() < 1e-3, "block {block}: {mean}");
            assert!(
                learned
                    .importance(&format!("blk.{block}.attn_v_b.weight"))
                    .is_none()
            );
        }
    }

    #[test]
    fn it_stops_when_told_to() {
        let model = Model::load("tests/data/hf/llama.gguf").expect("a tiny model");
        let tokens = [1; 40];
        let chunks = Chunks::new(&tokens, 10, None, None).expect("four chunks");
        let options = SessionOptions {
            ctx: Some(10),
            batch: 5,
            ..SessionOptions::default()
        };
        let mut session = Session::new(&model, &options).expect("a small session");
        let mut seen = Vec::new();
        let mut stop = |done, total| {
            seen.push((done, total));
            match done {
                15 => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        };
        let options = LearnOptions { output: true };
        let learned =
            learn(&mut session, &chunks, String::new(), options, &mut stop).expect("learned");
        assert_eq!(seen, [(5, 40), (10, 40), (15, 40)]);
        assert_eq!(learned.chunks(), 1);
    }
}
