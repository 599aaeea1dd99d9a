//! What is said of the program, the machine and the model that are measured.

use std::path::Path;

use wattle::meter::record::{Origin, Subject};
use wattle::quantize::Mix;
use wattle::{Model, Result};
use wattle_boards::Machine;

/// This program on this machine. A release is built with `WATTLE_BUILD_COMMIT` and `WATTLE_BUILD_NUMBER` set.
pub(super) fn origin(model: &Model) -> Origin {
    let number = option_env!("WATTLE_BUILD_NUMBER").and_then(|number| number.parse().ok());
    Origin {
        commit: option_env!("WATTLE_BUILD_COMMIT")
            .unwrap_or("unknown")
            .into(),
        number: number.unwrap_or(0),
        version: env!("CARGO_PKG_VERSION").into(),
        cpu: Machine::here().name.unwrap_or_default(),
        isa: model.transformer().isa().name(),
    }
}

/// The model in the file that is called `name`.
pub(super) fn subject(name: &Path, model: &Model) -> Result<Subject> {
    let (gguf, config) = (model.gguf(), model.transformer().config());
    let (mut bytes, mut parameters) = (0_u64, 0_u64);
    for tensor in gguf.tensors() {
        bytes = bytes.saturating_add(tensor.n_bytes());
        parameters = parameters.saturating_add(tensor.elements());
    }
    let size = match gguf.metadata().str("general.size_label") {
        Ok(Some(label)) => label.to_owned(),
        _ => size(parameters),
    };
    let id = gguf.metadata().u32("general.file_type").ok().flatten();
    let mix = Mix::all().iter().find(|mix| Some(mix.file_type) == id);
    let mix = mix.map_or("", |mix| mix.name);
    Ok(Subject {
        filename: name.display().to_string(),
        kind: format!("{} {size} {mix}", config.arch).trim_end().into(),
        bytes,
        parameters,
    })
}

/// A number of parameters in few letters: 6.5M, 135M, 16B.
fn size(parameters: u64) -> String {
    let (number, unit) = match parameters {
        0..1_000_000 => (parameters as f64 / 1e3, "K"),
        1_000_000..1_000_000_000 => (parameters as f64 / 1e6, "M"),
        _ => (parameters as f64 / 1e9, "B"),
    };
    match number {
        small if small < 9.95 => format!("{small:.1}{unit}"),
        large => format!("{large:.0}{unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_short() {
        for (parameters, expected) in [
            (77_000, "77K"),
            (6_530_000, "6.5M"),
            (134_515_008, "135M"),
            (1_500_000_000, "1.5B"),
            (15_706_484_224, "16B"),
            (671_026_419_200, "671B"),
        ] {
            assert_eq!(size(parameters), expected);
        }
    }
}
