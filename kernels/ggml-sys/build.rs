//! Compiles ggml when the feature `ggml` is on, and does nothing when it is not.
//!
//! ```text
//!   build/source.rs   where ggml's source is: a package of the registry, found through cargo
//!   build/compile.rs  ggml-base and ggml-cpu into one archive, with `cc`
//!   build/bind.rs     wrapper.h into Rust, with `bindgen`
//! ```
//!
//! What was compiled, and with which flags, is handed to the crate (`GGML_SOURCE`, `GGML_FLAGS`), for reports to print.

#[cfg(feature = "ggml")]
#[path = "build/bind.rs"]
mod bind;
#[cfg(feature = "ggml")]
#[path = "build/compile.rs"]
mod compile;
#[cfg(feature = "ggml")]
#[path = "build/source.rs"]
mod source;

/// Why the build stopped, as a sentence that says what to do.
#[cfg(feature = "ggml")]
type Result<T> = std::result::Result<T, String>;

#[cfg(not(feature = "ggml"))]
fn main() {
    println!("cargo::rerun-if-changed=build.rs");
}

#[cfg(feature = "ggml")]
fn main() -> std::process::ExitCode {
    match build() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(why) => {
            println!("cargo::error={why}");
            std::process::ExitCode::FAILURE
        }
    }
}

#[cfg(feature = "ggml")]
fn build() -> Result<()> {
    for file in ["build.rs", "build", "wrapper.h", "Cargo.toml"] {
        println!("cargo::rerun-if-changed={file}");
    }
    let source = source::find()?;
    let flags = compile::compile(&source)?;
    bind::bind(&source)?;
    println!("cargo::rustc-env=GGML_SOURCE={}", source.name);
    println!("cargo::rustc-env=GGML_FLAGS={}", flags.join(" "));
    Ok(())
}
