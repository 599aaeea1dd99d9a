//! The importance matrix, held against the model it is to guide.
//!
//! It has nothing for some tensors of any model: the embeddings, most often `output.weight`, layers that predict further tokens. Those are
//! quantised without, and [`unguided`] names them. But a matrix of another model does harm without a sign, so one is refused that
//! knows layers the model does not have, that lacks whole layers, or that has other columns.

use std::collections::BTreeSet;

use super::plan::layer;
use super::{Options, Step};
use crate::error::{Error, Place, Result};
use crate::gguf::Gguf;
use crate::imatrix::Imatrix;

/// The steps that quantise.
fn guided(steps: &[Step]) -> impl Iterator<Item = &Step> {
    steps
        .iter()
        .filter(|step| step.to != step.from && step.to.block() > 1)
}

/// Names of the tensors that `steps` quantise although the importance matrix knows nothing of them.
pub fn unguided<'a>(steps: &'a [Step], imatrix: &Imatrix) -> Vec<&'a str> {
    let known: BTreeSet<&str> = imatrix.tensors().collect();
    let names = guided(steps).map(|step| step.name.as_str());
    names.filter(|name| !known.contains(name)).collect()
}

/// Refuses an importance matrix of another model.
pub(super) fn check(model: &Gguf, steps: &[Step], options: &Options) -> Result<()> {
    let Some(imatrix) = &options.imatrix else {
        return Ok(());
    };
    let fault = |name: &str, expected: String, found: String| {
        let place = Place::Tensor(name.to_owned());
        Err(
            Error::file(imatrix.path(), place, expected, found).advise(format!(
                "it is of another model than {}",
                model.path().display()
            )),
        )
    };
    let known: BTreeSet<&str> = imatrix.tensors().collect();
    let layers: BTreeSet<i64> = known.iter().map(|name| layer(name)).collect();
    let all = model.tensors().iter().map(|tensor| layer(&tensor.name));
    let last = all.max().unwrap_or(-1);
    if let Some(name) = known.iter().find(|name| layer(name) > last) {
        let expected = format!("tensors of layers 0 to {last}");
        return fault(name, expected, format!("layer {}", layer(name)));
    }
    let metadata = model.metadata();
    let architecture = metadata.str("general.architecture")?.unwrap_or_default();
    let ahead = metadata.u32(&format!("{architecture}.nextn_predict_layers"))?;
    let first_ahead = last + 1 - i64::from(ahead.unwrap_or_default());
    for step in guided(steps) {
        let layer = layer(&step.name);
        let Some(importance) = imatrix.importance(&step.name) else {
            if layer >= 0 && layer < first_ahead && !layers.contains(&layer) {
                let found = format!("nothing of layer {layer}");
                return fault(&step.name, "its importance".into(), found);
            }
            continue;
        };
        let [cols, _, matrices, more] = model.tensor(&step.name).map_or([0; 4], |t| t.dims);
        let expected = cols.saturating_mul(matrices).saturating_mul(more);
        if importance.len() as u64 != expected {
            let expected = format!("{expected} columns ({cols} of each matrix)");
            return fault(&step.name, expected, importance.len().to_string());
        }
    }
    Ok(())
}
