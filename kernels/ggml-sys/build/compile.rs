//! Compiles ggml-base and ggml-cpu into one archive: the files and definitions of ggml's own CMakeLists.txt, as llama.cpp builds
//! them on the machine they run on (`-O3 -march=native`, repacked weights, tinyBLAS), but without OpenMP: ggml then uses its own
//! threads, and nothing more has to be installed.
//!
//! `WATTLE_GGML_FLAGS` replaces `-march=native`, to be measured against a ggml for less: `-mavx2 -mfma -mf16c -mbmi2`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::Result;
use crate::source::Source;

/// `ggml-base`, below `src`.
const BASE: &[&str] = &[
    "ggml.c",
    "ggml.cpp",
    "ggml-alloc.c",
    "ggml-backend.cpp",
    "ggml-backend-meta.cpp",
    "ggml-opt.cpp",
    "ggml-quants.c",
    "ggml-threading.cpp",
    "gguf.cpp",
];

/// `ggml-cpu`, below `src/ggml-cpu`; the files of the architecture come to these.
const CPU: &[&str] = &[
    "amx/amx.cpp",
    "amx/mmq.cpp",
    "binary-ops.cpp",
    "ggml-cpu.c",
    "ggml-cpu.cpp",
    "hbm.cpp",
    "llamafile/sgemm.cpp",
    "ops.cpp",
    "quants.c",
    "repack.cpp",
    "tiled/tiled-kernel.cpp",
    "tiled/tiled.cpp",
    "traits.cpp",
    "unary-ops.cpp",
    "vec.cpp",
];

/// Compiles; returns the flags that say for which CPU.
pub(crate) fn compile(source: &Source) -> Result<Vec<String>> {
    println!("cargo::rerun-if-env-changed=WATTLE_GGML_FLAGS");
    let arch = match env::var("CARGO_CFG_TARGET_ARCH").as_deref() {
        Ok("x86_64") => "x86",
        Ok("aarch64") => "arm",
        other => {
            return Err(format!(
                "the feature ggml is for x86_64 and aarch64, not {other:?}"
            ));
        }
    };
    let flags = flags(arch)?;

    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let version = format!(
        "#define GGML_VERSION \"{}\"\n#define GGML_COMMIT \"{}\"\n",
        source.version, source.name
    );
    fs::write(out.join("ggml-version.h"), version)
        .map_err(|e| format!("{}: {e}", out.join("ggml-version.h").display()))?;

    let src = source.folder.join("src");
    let cpu = src.join("ggml-cpu");
    let arch = cpu.join("arch").join(arch);
    let mut files: Vec<PathBuf> = BASE.iter().map(|file| src.join(file)).collect();
    files.extend(CPU.iter().map(|file| cpu.join(file)));
    files.extend(["quants.c", "repack.cpp"].map(|file| arch.join(file)));
    let is_c = |file: &PathBuf| file.extension().is_some_and(|end| end == "c");
    let (c, cpp): (Vec<_>, Vec<_>) = files.into_iter().partition(is_c);

    // C and C++ call each other, so that both must lie in one archive. The GNU dialects, as CMake has them: under the ISO ones
    // gcc contracts no products and sums to fused operations, which would slow what is left to the compiler.
    let objects = with_flags(&mut cc::Build::new(), source, &out, &flags)
        .std("gnu11")
        .files(c)
        .try_compile_intermediates()
        .map_err(|e| format!("ggml's C: {e}"))?;
    with_flags(cc::Build::new().cpp(true), source, &out, &flags)
        .std("gnu++17")
        .files(cpp)
        .objects(objects)
        .try_compile("ggml")
        .map_err(|e| format!("ggml's C++: {e}"))?;
    Ok(flags)
}

/// Everything that C and C++ have in common.
fn with_flags<'a>(
    build: &'a mut cc::Build,
    source: &Source,
    out: &Path,
    flags: &[String],
) -> &'a mut cc::Build {
    build
        .include(out)
        .include(source.folder.join("include"))
        .include(source.folder.join("src"))
        .include(source.folder.join("src/ggml-cpu"))
        .define("_GNU_SOURCE", None)
        .define("NDEBUG", None)
        .define("GGML_USE_CPU_REPACK", None)
        .define("GGML_USE_LLAMAFILE", None)
        // Optimised in every profile: an oracle for tests, and a yardstick in benches.
        .opt_level(3)
        .debug(false)
        .warnings(false)
        .flags(flags)
}

/// For which CPU. A cross build cannot ask the CPU, so it must be told.
fn flags(arch: &str) -> Result<Vec<String>> {
    if let Ok(given) = env::var("WATTLE_GGML_FLAGS") {
        return Ok(given.split_whitespace().map(String::from).collect());
    }
    if env::var("HOST") != env::var("TARGET") {
        return Err(
            "a cross build of ggml needs the flags of its CPU in WATTLE_GGML_FLAGS, for example \
             -march=armv8.2-a+dotprod+fp16"
                .to_string(),
        );
    }
    let native = if arch == "arm" {
        "-mcpu=native"
    } else {
        "-march=native"
    };
    Ok(vec![native.to_string()])
}
