//! The rotary keys that all architectures share.

use super::source::Source;
use crate::error::Result;
use crate::model::rope::{Rope, RopeKind, Scaling};

/// Base of the frequencies when a file does not say.
const DEFAULT_BASE: f32 = 10_000.0;

/// How the file extends its context: `rope.scaling.*`.
pub(super) fn scaling(source: &Source<'_>) -> Result<Scaling> {
    let factor = match source.real("rope.scaling.factor")? {
        None => source.real("rope.scale_linear")?,
        factor => factor,
    };
    let factor = match factor {
        None => 1.0,
        Some(0.0) => 1.0,
        Some(x) if x < 0.0 => {
            return Err(source.bad_key("rope.scaling.factor", "a positive number", &x.to_string()));
        }
        Some(x) => x,
    };
    let key = source.key("rope.scaling.type");
    match source.meta().str(&key)?.unwrap_or("linear") {
        "none" => Ok(Scaling::None),
        "linear" if factor == 1.0 => Ok(Scaling::None),
        "linear" => Ok(Scaling::Linear { factor }),
        "yarn" => {
            let trained = source.need("context_length")?;
            let original = source.number("rope.scaling.original_context_length")?;
            let original = original.filter(|n| *n > 0).unwrap_or(trained);
            refuse_factors(source)?;
            Ok(Scaling::Yarn {
                factor,
                original_context: u32::try_from(original).unwrap_or(u32::MAX),
                beta_fast: beta(source, "rope.scaling.yarn_beta_fast", 32.0)?,
                beta_slow: beta(source, "rope.scaling.yarn_beta_slow", 1.0)?,
            })
        }
        other => Err(source.unsupported(
            format!("rope scaling {other:?}"),
            "wattle knows none, linear and yarn",
        )),
    }
}

/// An end of YaRN's ramp, in turns within the original context.
fn beta(source: &Source<'_>, name: &str, usual: f32) -> Result<f32> {
    match source.real(name)?.unwrap_or(usual) {
        x if x > 0.0 => Ok(x),
        x => Err(source.bad_key(name, "a positive number", &x.to_string())),
    }
}

/// Refuses the factors that replace YaRN's own, on which converters and runtimes do not agree. 1 changes nothing, and for the
/// extension a negative number means that nothing is said.
fn refuse_factors(source: &Source<'_>) -> Result<()> {
    for name in ["attn_factor", "yarn_attn_factor", "yarn_ext_factor"] {
        let name = format!("rope.scaling.{name}");
        let silent = |x: f32| x == 1.0 || (x < 0.0 && name.ends_with("ext_factor"));
        if let Some(x) = source.real(&name)?.filter(|x| !silent(*x)) {
            return Err(source.unsupported(
                format!("key {:?} of {x}", source.key(&name)),
                "wattle computes YaRN's factors itself",
            ));
        }
    }
    Ok(())
}

/// The rotary embedding of `dims` dimensions, with the factors of `rope_freqs.weight` when the file has them.
pub(super) fn rope(
    source: &Source<'_>,
    kind: RopeKind,
    dims: usize,
    scaling: Scaling,
    magnitude: f32,
) -> Result<Rope> {
    let base = base(source, dims)?;
    let factors = source.optional_vector("rope_freqs.weight", dims / 2)?;
    Ok(Rope::new(
        kind,
        dims,
        base,
        scaling,
        factors.as_deref(),
        magnitude,
    ))
}

/// The rotary embedding of `dims` dimensions with the factors of `rope_factors_short.weight`, in sequences with room for no more tokens
/// than the original context, or else of `rope_factors_long.weight`; a file has both or none.
pub(super) fn long_and_short(source: &Source<'_>, kind: RopeKind, dims: usize) -> Result<Rope> {
    const SHORT: &str = "rope_factors_short.weight";
    const LONG: &str = "rope_factors_long.weight";
    let base = base(source, dims)?;
    let scaling = scaling(source)?;
    refuse_factors(source)?;
    let with = |factors: Option<&[f32]>| {
        let magnitude = scaling.magnitude(0.1);
        Rope::new(kind, dims, base, scaling, factors, magnitude)
    };
    if !source.has(SHORT) && !source.has(LONG) {
        return Ok(with(None));
    }
    let factors = |name: &str| {
        let factors = source.vector(name, dims / 2)?;
        match factors.iter().find(|factor| !factor.is_normal()) {
            Some(bad) => Err(source.bad_tensor(name, "divisors of angles", &bad.to_string())),
            None => Ok(with(Some(&factors))),
        }
    };
    let trained = source.need("context_length")?;
    let original = source.number("rope.scaling.original_context_length")?;
    let original = original.filter(|n| *n > 0).unwrap_or(trained);
    Ok(factors(SHORT)?.beyond(original, factors(LONG)?))
}

/// The base of the frequencies of `dims` dimensions, both checked.
fn base(source: &Source<'_>, dims: usize) -> Result<f32> {
    if dims == 0 || !dims.is_multiple_of(2) {
        let name = "rope.dimension_count";
        return Err(source.bad_key(name, "an even number above 0", &dims.to_string()));
    }
    let base = source.real("rope.freq_base")?.unwrap_or(DEFAULT_BASE);
    if base <= 1.0 {
        return Err(source.bad_key("rope.freq_base", "a number above 1", &base.to_string()));
    }
    Ok(base)
}
