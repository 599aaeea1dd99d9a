//! The house rules as a test: who may import whom, where `unsafe` may stand, how a file looks, no C. It reads the sources
//! of the workspace; each rule is also shown a sample that breaks it, so that a rule which can no longer fail is noticed.

#[path = "structure/rules.rs"]
mod rules;
#[path = "structure/source.rs"]
mod source;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Every file of the workspace's own folders whose name ends in `end`: (path from the root, with `/`; text).
fn files(end: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders: Vec<PathBuf> = ["src", "kernels", "boards", "tests"]
        .iter()
        .map(|name| root.join(name))
        .collect();
    let mut found = vec![root.join("Cargo.toml")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the workspace") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().unwrap_or_default();
            if path.is_dir() && name != "target" {
                folders.push(path);
            } else if path.is_file() {
                found.push(path);
            }
        }
    }
    found.retain(|path| path.to_string_lossy().ends_with(end));
    found.sort();
    found
        .into_iter()
        .map(|path| {
            let short = path.strip_prefix(root).expect("below the root");
            let text = fs::read_to_string(&path).expect("UTF-8 text");
            (short.to_string_lossy().replace('\\', "/"), text)
        })
        .collect()
}

/// Holds `rule` against every file ending in `end`; at least one must exist.
fn hold(end: &str, rule: impl Fn(&str, &str) -> Vec<String>) {
    let files = files(end);
    assert!(!files.is_empty(), "no {end} files found");
    let faults: Vec<String> = files
        .iter()
        .flat_map(|(file, text)| rule(file, text))
        .collect();
    assert!(
        faults.is_empty(),
        "house rules broken:\n{}",
        faults.join("\n")
    );
}

/// Holds `rule` against every source file that is part of the program, not of its tests.
fn hold_program(rule: impl Fn(&str, &str) -> Vec<String>) {
    let mut for_tests = Vec::new();
    for (file, text) in files(".rs") {
        let stem = file.trim_end_matches(".rs");
        let folder = match stem.strip_suffix("/lib").or(stem.strip_suffix("/main")) {
            Some(root) => root,
            None => stem,
        };
        for name in source::test_modules(&source::code(&text)) {
            for_tests.push(format!("{folder}/{name}"));
        }
    }
    hold(".rs", |file, text| {
        if for_tests
            .iter()
            .any(|module| file.starts_with(module.as_str()))
        {
            return Vec::new();
        }
        rule(file, text)
    });
}

/// Asserts that `faults` are exactly the lines and words in `expected`, in order.
#[track_caller]
fn found(faults: &[String], expected: &[&str]) {
    assert_eq!(faults.len(), expected.len(), "number of faults: {faults:?}");
    for (fault, part) in faults.iter().zip(expected) {
        assert!(fault.contains(part), "{fault:?} does not say {part:?}");
    }
}

#[test]
fn src_imports_downwards_only() {
    let lib = files("src/lib.rs");
    let (_, lib) = lib
        .iter()
        .find(|(file, _)| file == "src/lib.rs")
        .expect("src/lib.rs");
    let exports = rules::exports(lib);
    assert_eq!(
        exports.get("Error").map(String::as_str),
        Some("error"),
        "the re-exports of lib.rs must be understood"
    );
    hold_program(|file, text| rules::imports(file, text, &exports));
}

#[test]
fn an_upward_import_is_found() {
    let exports =
        rules::exports("pub mod a;\npub use error::{Error, Result};\npub use crate::load::Model;");
    let check = |file: &str, text: &str| rules::imports(file, text, &exports);
    found(
        &check(
            "src/gguf.rs",
            "use crate::error::Error;\nuse crate::load::Model;",
        ),
        &["gguf.rs:2: gguf uses load"],
    );
    found(
        &check(
            "src/gguf/value.rs",
            "use super::super::tokenizer::Tokenizer;",
        ),
        &["gguf uses tokenizer"],
    );
    found(
        &check(
            "src/pool.rs",
            "fn f(m: &crate::Model) -> crate::Result<()> {}",
        ),
        &["pool uses load"],
    );
    found(
        &check("src/generate.rs", "use crate::{arch, load};"),
        &["only load uses arch"],
    );
    found(
        &check(
            "src/arch/llama.rs",
            "use wattle_kernels::{Format, Isa};\nuse wattle_kernels::matmul;",
        ),
        &["llama.rs:2: arch uses wattle_kernels: arch computes nothing"],
    );
    found(
        &check("src/meter.rs", "use wattle::model::State;"),
        &["not models"],
    );
    found(&check("src/novel.rs", ""), &["no place in ORDER"]);
    found(
        &check(
            "src/load.rs",
            "use crate::{arch, model, gguf::Gguf, Error};",
        ),
        &[],
    );
    found(
        &check(
            "src/os.rs",
            "fn f() {}\n#[cfg(test)]\nmod tests { use crate::gguf; }",
        ),
        &[],
    );
}

#[test]
fn model_and_arch_name_no_isa() {
    hold(".rs", rules::isa_names);
}

#[test]
fn an_isa_name_in_model_is_found() {
    found(
        &rules::isa_names(
            "src/model/matrix.rs",
            "let a = Isa::NeonDot;\n#[cfg(target_arch = \"x86_64\")]",
        ),
        &["NeonDot", "target_arch"],
    );
    found(
        &rules::isa_names("src/model.rs", "// neon is fast\nlet name = \"avx2\";"),
        &[],
    );
    found(&rules::isa_names("src/load.rs", "Isa::Avx2"), &[]);
}

#[test]
fn the_lower_crates_know_nothing_above() {
    hold_program(rules::lower_crates);
}

#[test]
fn a_lower_crate_that_looks_up_is_found() {
    found(
        &rules::lower_crates("kernels/src/quant/q4_k.rs", "use std::vec::Vec;"),
        &["std", "Vec"],
    );
    found(
        &rules::lower_crates(
            "kernels/src/isa.rs",
            "std::arch::is_x86_feature_detected!(\"avx2\")",
        ),
        &[],
    );
    found(
        &rules::lower_crates(
            "boards/src/lib.rs",
            "use wattle_kernels::Isa; use wattle::Error;",
        ),
        &["wattle_kernels", "wattle"],
    );
    found(
        &rules::lower_crates(
            "kernels/src/op.rs",
            "fn f() {}\n#[cfg(test)]\nmod tests { use std::vec; }",
        ),
        &[],
    );
}

#[test]
fn unsafe_stands_only_where_it_may() {
    hold(".rs", rules::unsafe_places);
}

#[test]
fn a_stray_unsafe_is_found() {
    found(
        &rules::unsafe_places("src/model/state.rs", "fn f() {\n    unsafe { g() }\n}"),
        &["state.rs:2"],
    );
    found(
        &rules::unsafe_places(
            "src/gguf.rs",
            "#[cfg(test)]\nmod tests { unsafe fn f() {} }",
        ),
        &["gguf.rs:2"],
    );
    found(
        &rules::unsafe_places(
            "src/gguf.rs",
            "#![forbid(unsafe_code)]\n// unsafe\nlet s = \"unsafe\";",
        ),
        &[],
    );
    found(
        &rules::unsafe_places("src/os/linux.rs", "unsafe { g() }"),
        &[],
    );
}

#[test]
fn every_file_has_a_head_and_no_needless_length() {
    hold(".rs", rules::shape);
}

#[test]
fn a_headless_long_or_misnamed_file_is_found() {
    let long = "fn f() {}\n".repeat(401);
    found(&rules::shape("src/a.rs", "use b;\n"), &["head comment"]);
    found(
        &rules::shape("src/a.rs", &format!("//! A.\n{long}")),
        &["402 lines"],
    );
    found(
        &rules::shape(
            "src/a.rs",
            &format!("//! A table, long because it is data.\n{long}"),
        ),
        &[],
    );
    found(&rules::shape("src/a/mod.rs", "//! A.\n"), &["mod.rs"]);
    found(&rules::shape("src/lib.rs", "#![no_std]\n//! A.\n"), &[]);
}

#[test]
fn the_manifests_ask_for_no_c() {
    hold("Cargo.toml", rules::manifest);
}

#[test]
fn a_manifest_with_c_is_found() {
    let text = "[package]\nname = \"cc\"\n[dependencies]\nopenssl-sys = \"0.9\"\ncmake = { version = \"1\", optional = true }\n[build-dependencies]\ncc.workspace = true\n[dev-dependencies]\nbindgen = \"1\"\n";
    found(
        &rules::manifest("Cargo.toml", text),
        &[":4: openssl-sys", ":7: cc"],
    );
    let table = "[target.'cfg(unix)'.dependencies.onig]\nversion = \"6\"\n";
    found(&rules::manifest("Cargo.toml", table), &["onig"]);
    let upward = "[dependencies]\nwattle-boards = { path = \"../boards\" }\n";
    found(
        &rules::manifest("kernels/Cargo.toml", upward),
        &["lower crate"],
    );
}

#[test]
fn the_re_exports_of_lib_are_understood() {
    let expected: BTreeMap<String, String> =
        [("Error", "error"), ("Gguf", "gguf"), ("State", "model")]
            .map(|(item, module)| (item.to_string(), module.to_string()))
            .into();
    assert_eq!(
        rules::exports(
            "pub mod gguf;\npub use error::Error;\npub use gguf::Gguf;\npub use crate::model::state::State;"
        ),
        expected,
        "item -> module"
    );
}
