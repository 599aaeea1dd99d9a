//! Finds ggml's source: the folder `llama.cpp/ggml` of the package `llama-cpp-sys-2`, wherever cargo keeps it (registry,
//! mirror, vendor folder).
//!
//! `cargo metadata` downloads what Cargo.lock names and is not there yet. It is asked without the network first, so that a build
//! without one works as soon as `cargo fetch` has run once, and never waits for a registry that it does not need.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::Result;

/// The package that carries ggml.
const PACKAGE: &str = "llama-cpp-sys-2";

/// ggml's source.
pub(crate) struct Source {
    /// The folder with `include` and `src`.
    pub(crate) folder: PathBuf,
    /// Package and versions, for people.
    pub(crate) name: String,
    /// ggml's own version.
    pub(crate) version: String,
}

/// Finds the source.
pub(crate) fn find() -> Result<Source> {
    let metadata = metadata(&["--offline"]).or_else(|offline| {
        metadata(&[]).map_err(|online| {
            format!(
                "cargo metadata does not find {PACKAGE}, which carries ggml's source; run `cargo fetch` with a network once. \
                 Without the network cargo says: {offline}. With it: {online}"
            )
        })
    })?;
    let packages = metadata["packages"].as_array();
    let package = packages
        .and_then(|all| all.iter().find(|package| package["name"] == PACKAGE))
        .ok_or(format!(
            "{PACKAGE} is not among the packages of the workspace"
        ))?;
    let manifest = PathBuf::from(package["manifest_path"].as_str().unwrap_or_default());
    let folder = manifest.with_file_name("llama.cpp").join("ggml");
    for file in ["src/ggml.c", "src/ggml-cpu/ggml-cpu.c", "include/ggml.h"] {
        if !folder.join(file).is_file() {
            return Err(format!(
                "{} is missing: this version of {PACKAGE} keeps ggml elsewhere; build/source.rs must follow it",
                folder.join(file).display()
            ));
        }
    }
    let lists = std::fs::read_to_string(folder.join("CMakeLists.txt")).unwrap_or_default();
    let number = |part: &str| {
        let (_, rest) = lists.split_once(&format!("set(GGML_VERSION_{part} "))?;
        Some(rest.split_once(')')?.0.to_string())
    };
    let numbers = ["MAJOR", "MINOR", "PATCH"].map(|part| number(part).unwrap_or("?".to_string()));
    let version = numbers.join(".");
    let package = package["version"].as_str().unwrap_or("?");
    Ok(Source {
        folder,
        name: format!("ggml {version} of {PACKAGE} {package}"),
        version,
    })
}

/// What cargo knows about the packages of this crate with its feature on.
fn metadata(network: &[&str]) -> Result<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked"])
        .args(["--features", "ggml", "--manifest-path", "Cargo.toml"])
        .args(network)
        .output()
        .map_err(|e| format!("cargo does not start: {e}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(said.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    serde_json::from_slice(&output.stdout).map_err(|e| format!("what cargo metadata writes: {e}"))
}
