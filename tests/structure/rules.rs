//! The house rules. Each takes one file (its path from the root of the workspace, and its text) and returns what breaks them,
//! one sentence a fault, with the line where one is known.

use std::collections::BTreeMap;

use crate::source;

/// The modules of `src`, from the top down, then the crates below them. **A module uses only what stands after it.**
const ORDER: &[&str] = &[
    "main",
    "cli",
    "bench",
    "importance",
    "perplexity",
    "score",
    "generate",
    "meter",
    "load",
    "synth",
    "quantize",
    "demo",
    "arch",
    "model",
    "sample",
    "chat",
    "tokenizer",
    "imatrix",
    "gguf",
    "rare",
    "pool",
    "os",
    "error",
    "wattle_kernels",
    "wattle_boards",
];

/// Uses that the order would allow and the design does not: (user, used, why).
const BANS: &[(&str, &str, &str)] = &[
    ("main", "arch", "only load uses arch"),
    ("cli", "arch", "only load uses arch"),
    ("bench", "arch", "only load uses arch"),
    ("importance", "arch", "only load uses arch"),
    ("perplexity", "arch", "only load uses arch"),
    ("score", "arch", "only load uses arch"),
    ("generate", "arch", "only load uses arch"),
    ("meter", "arch", "only load uses arch"),
    ("meter", "load", "meter knows tokens and joules, not models"),
    (
        "meter",
        "model",
        "meter knows tokens and joules, not models",
    ),
    ("meter", "gguf", "meter knows tokens and joules, not models"),
    (
        "quantize",
        "arch",
        "a file is quantised by its tensors' names",
    ),
    (
        "quantize",
        "model",
        "a file is quantised by its tensors' names",
    ),
    ("synth", "arch", "a shape is keys and names of tensors"),
    ("synth", "model", "a shape is keys and names of tensors"),
    ("arch", "wattle_kernels", "arch computes nothing"),
    ("arch", "wattle_boards", "arch computes nothing"),
    ("arch", "pool", "arch computes nothing"),
    ("arch", "sample", "arch computes nothing"),
    (
        "error",
        "wattle_kernels",
        "error knows only the standard library",
    ),
    (
        "error",
        "wattle_boards",
        "error knows only the standard library",
    ),
];

/// What `arch` may name of the kernels: values that it hands on to the model.
const HANDED_ON: &[&str] = &["Isa", "Format"];

/// What only one ISA has: the names that `model` and `arch` may not contain, in any spelling.
const ISA_NAMES: &[&str] = &[
    "avx",
    "sse4",
    "vnni",
    "neon",
    "dotprod",
    "i8mm",
    "aarch64",
    "x86_64",
    "target_arch",
    "target_feature",
    "_feature_detected",
];

/// Where `unsafe` may stand; in tests for an allocator that counts.
const UNSAFE_FILES: &[&str] = &["src/os.rs", "tests/gguf_malformed.rs", "tests/no_alloc.rs"];
const UNSAFE_FOLDERS: &[&str] = &[
    "src/os/",
    "kernels/src/isa/",
    "kernels/src/tuned/",
    "kernels/ggml-sys/",
];

/// Where the kernels crate may use the standard library: CPU detection, the oracle, and the self-test that holds kernels against it, all
/// behind its feature `std`.
const STD_IN_KERNELS: &[&str] = &[
    "kernels/src/check.rs",
    "kernels/src/lib.rs",
    "kernels/src/isa",
    "kernels/src/reference",
];

/// Crates that compile or bind C. Listed for the manifests; `.ci/no-c` looks through the whole graph.
const C_CRATES: &[&str] = &[
    "autotools",
    "bindgen",
    "cc",
    "cmake",
    "onig",
    "openssl",
    "pkg-config",
    "vcpkg",
];

/// A file longer than this says why in its head comment.
const LONG: usize = 400;

/// The items that `lib.rs` re-exports, each with its module: `Error` -> `error`.
pub(crate) fn exports(lib_rs: &str) -> BTreeMap<String, String> {
    let root = source::code(lib_rs).replace("pub use ", "pub use crate::");
    let root = root.replace("crate::crate::", "crate::");
    let tokens = source::tokens(&root);
    source::paths(&tokens, &[])
        .into_iter()
        .filter(|(_, path)| path.len() > 1)
        .filter_map(|(_, path)| Some((path.last()?.clone(), path[0].clone())))
        .collect()
}

/// `src` imports downwards only.
pub(crate) fn imports(file: &str, text: &str, exports: &BTreeMap<String, String>) -> Vec<String> {
    let Some(inside) = file.strip_prefix("src/") else {
        return Vec::new();
    };
    let module: Vec<&str> = inside.trim_end_matches(".rs").split('/').collect();
    let user = module[0];
    if user == "lib" {
        return Vec::new(); // declares every module, and is none
    }
    let Some(rank) = ORDER.iter().position(|name| *name == user) else {
        return vec![format!(
            "{file}: module {user:?} has no place in ORDER of tests/structure/rules.rs; give it one"
        )];
    };
    let code = source::code(text);
    let tokens = source::tokens(source::without_tests(&code));
    let mut faults = Vec::new();
    for (line, path) in source::paths(&tokens, &module) {
        let Some(first) = path.first() else { continue };
        let used = exports.get(first).unwrap_or(first).as_str();
        let Some(place) = ORDER.iter().position(|name| *name == used) else {
            continue; // an item of the root that is no module: a macro
        };
        let handed_on = used == "wattle_kernels"
            && path
                .get(1)
                .is_some_and(|item| HANDED_ON.contains(&item.as_str()));
        let ban = BANS
            .iter()
            .find(|ban| ban.0 == user && ban.1 == used && !handed_on);
        if place < rank {
            faults.push(format!(
                "{file}:{line}: {user} uses {used}, which stands above it"
            ));
        } else if let Some((.., why)) = ban {
            faults.push(format!("{file}:{line}: {user} uses {used}: {why}"));
        }
    }
    faults
}

/// `model` and `arch` name no instruction set.
pub(crate) fn isa_names(file: &str, text: &str) -> Vec<String> {
    let bound = ["src/model", "src/arch"];
    if !bound.iter().any(|start| file.starts_with(start)) {
        return Vec::new();
    }
    let mut faults = Vec::new();
    for token in source::tokens(&source::code(text)) {
        let word = token.text.to_lowercase();
        if ISA_NAMES.iter().any(|name| word.contains(name)) {
            faults.push(format!(
                "{file}:{}: {:?} names an instruction set; only kernels and load may",
                token.line, token.text
            ));
        }
    }
    faults
}

/// `kernels` and `boards` know neither each other nor `src`; `kernels` neither allocates nor needs the standard library,
/// but for [`STD_IN_KERNELS`].
pub(crate) fn lower_crates(file: &str, text: &str) -> Vec<String> {
    let code = source::code(text);
    let tokens = source::tokens(source::without_tests(&code));
    let banned: &[&str] = if file.starts_with("boards/src/") {
        &["wattle", "wattle_kernels"]
    } else if STD_IN_KERNELS.iter().any(|start| file.starts_with(start)) {
        &["wattle", "wattle_boards"]
    } else if file.starts_with("kernels/src/") {
        &[
            "wattle",
            "wattle_boards",
            "std",
            "alloc",
            "Vec",
            "Box",
            "String",
        ]
    } else {
        &[]
    };
    // `cfg(feature = "std")` is a literal and therefore blank; `std` as a path or a crate is a word.
    let found = tokens.iter().filter(|t| banned.contains(&t.text.as_str()));
    found
        .map(|t| format!("{file}:{}: {:?} may not be used here", t.line, t.text))
        .collect()
}

/// `unsafe` stands where the design allows it, tests included.
pub(crate) fn unsafe_places(file: &str, text: &str) -> Vec<String> {
    if UNSAFE_FILES.contains(&file) || UNSAFE_FOLDERS.iter().any(|f| file.starts_with(f)) {
        return Vec::new();
    }
    let tokens = source::tokens(&source::code(text));
    let found = tokens.iter().filter(|token| token.text == "unsafe");
    found
        .map(|t| {
            format!(
                "{file}:{}: unsafe where it may not stand (see UNSAFE_FOLDERS)",
                t.line
            )
        })
        .collect()
}

/// A test that starts the program does so through the emulator, when there is one: emulated programs start real ones.
pub(crate) fn started_programs(file: &str, text: &str) -> Vec<String> {
    let (program, runner) = ("CARGO_BIN_EXE", "WATTLE_TEST_RUNNER");
    if file.starts_with("tests/structure") || !text.contains(program) || text.contains(runner) {
        return Vec::new();
    }
    vec![format!(
        "{file}: starts the program without the words of {runner}"
    )]
}

/// `foo.rs` + `foo/`, a head comment, and a reason for length.
pub(crate) fn shape(file: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if file.ends_with("/mod.rs") {
        faults.push(format!("{file}: write foo.rs + foo/, not foo/mod.rs"));
    }
    let head: Vec<&str> = text.lines().take(30).collect();
    let first = head
        .iter()
        .find(|line| !line.is_empty() && !line.starts_with("#!["));
    if !first.is_some_and(|line| line.starts_with("//!")) {
        faults.push(format!("{file}: starts without a head comment (//!)"));
    }
    let length = text.lines().count();
    let says_why = head.iter().any(|line| {
        let line = line.to_lowercase();
        line.starts_with("//!")
            && ["long", "lines", "one file"]
                .iter()
                .any(|w| line.contains(w))
    });
    if length > LONG && !says_why {
        faults.push(format!(
            "{file}: {length} lines; split it, or say in the head comment why it is long"
        ));
    }
    faults
}

/// A manifest asks for no crate that needs a C compiler, unless it is optional; the lower crates ask for no crate of ours.
pub(crate) fn manifest(file: &str, text: &str) -> Vec<String> {
    if file.starts_with("tests/") {
        return Vec::new(); // the fuzz targets are a workspace of their own, and link libFuzzer
    }
    let mut faults = Vec::new();
    let mut section = "";
    for (number, line) in text.lines().map(str::trim).enumerate() {
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']);
            continue;
        }
        // `[dependencies]` with `name = ...`, `name.workspace = true`, or `[dependencies.name]` with its fields
        let (place, name) = match section.rsplit_once("dependencies") {
            Some((place, "")) => (place, line.split(['=', '.', ' ']).next().unwrap_or("")),
            Some((place, name)) => (place, name.trim_start_matches('.')),
            None => continue,
        };
        let number = number + 1;
        if place.ends_with("dev-") {
            continue;
        }
        let optional = line.replace(' ', "").contains("optional=true");
        if !optional && (C_CRATES.contains(&name) || name.ends_with("-sys")) {
            faults.push(format!(
                "{file}:{number}: {name} brings C into the default build"
            ));
        }
        if file != "Cargo.toml" && name.starts_with("wattle") && !file.contains("ggml-sys") {
            faults.push(format!("{file}:{number}: a lower crate may not use {name}"));
        }
    }
    faults
}
