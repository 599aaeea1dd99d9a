//! The manual pages and completions of the package are what the flags say.
//!
//! They are generated from the command line and committed, as a package is built without running the program, and for another machine
//! than this. `WATTLE_BLESS=1` writes them anew:
//!
//! ```text
//! boards/package/man/wattle.1  wattle-run.1  ...             a page for each subcommand
//! boards/package/completions/wattle.bash  _wattle  wattle.fish
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use super::Cli;

const FOLDERS: [&str; 2] = ["man", "completions"];

/// The text of every file, by its path below `boards/package`.
fn generated() -> BTreeMap<PathBuf, String> {
    let mut files = BTreeMap::new();
    // Built, so that every subcommand knows its whole name and the flags that all share.
    let mut program = Cli::command();
    program.build();
    page(&program, "wattle", &mut files);
    for command in program.get_subcommands() {
        if command.get_name() != "help" {
            page(
                command,
                &format!("wattle-{}", command.get_name()),
                &mut files,
            );
        }
    }
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let name = shell_file(shell);
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "wattle", &mut text);
        let text = String::from_utf8(text).expect("completions are text");
        files.insert(Path::new("completions").join(name), tidy(&text));
    }
    files
}

fn shell_file(shell: Shell) -> &'static str {
    match shell {
        Shell::Zsh => "_wattle",
        Shell::Fish => "wattle.fish",
        _ => "wattle.bash",
    }
}

fn page(command: &Command, title: &str, files: &mut BTreeMap<PathBuf, String>) {
    // The name of a page has a dash where that of the command has a space.
    let named = command.clone().display_name(title.to_owned());
    let man = Man::new(named)
        .title(title.to_uppercase())
        .manual("wattle")
        .source(concat!("wattle ", env!("CARGO_PKG_VERSION")));
    let mut text = Vec::new();
    man.render(&mut text).expect("memory takes every page");
    let text = String::from_utf8(text).expect("pages are text");
    files.insert(Path::new("man").join(format!("{title}.1")), tidy(&text));
}

/// No white space at the ends of lines, and one line feed at the end.
fn tidy(text: &str) -> String {
    let lines: Vec<&str> = text.trim_end().lines().map(str::trim_end).collect();
    lines.join("\n") + "\n"
}

/// The files that are there.
fn committed(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut files = BTreeMap::new();
    for folder in FOLDERS {
        let Ok(entries) = fs::read_dir(root.join(folder)) else {
            continue;
        };
        for entry in entries {
            let name = entry.expect("an entry of the folder").file_name();
            let file = Path::new(folder).join(name);
            let text = fs::read_to_string(root.join(&file)).expect("a text file");
            files.insert(file, text);
        }
    }
    files
}

#[test]
fn pages_and_completions_are_what_the_flags_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("boards/package");
    let (expected, mut found) = (generated(), committed(&root));
    if std::env::var_os("WATTLE_BLESS").is_some_and(|bless| bless == "1") {
        for file in found.keys().filter(|file| !expected.contains_key(*file)) {
            fs::remove_file(root.join(file)).expect("a file of ours");
        }
        for (file, text) in &expected {
            let path = root.join(file);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder to write to");
            fs::write(path, text).expect("a folder to write to");
        }
        found = committed(&root);
    }
    let mut stale: Vec<&PathBuf> = expected.keys().chain(found.keys()).collect();
    stale.retain(|file| expected.get(*file) != found.get(*file));
    stale.sort();
    stale.dedup();
    assert!(
        stale.is_empty(),
        "in boards/package, {stale:?} differ from what the flags say; \
         to write them anew: WATTLE_BLESS=1 cargo test --bin wattle pages"
    );
}

#[test]
fn every_subcommand_has_a_page_that_names_its_flags() {
    let files = generated();
    let pages = files.keys().filter(|file| file.starts_with("man")).count();
    let commands = Cli::command().get_subcommands().count();
    assert_eq!(pages, commands + 1, "a page each, and one for all");
    let run = &files[Path::new("man/wattle-run.1")];
    for part in [
        ".TH WATTLE-RUN 1",
        "wattle\\-run",
        "\\-\\-top\\-k",
        "\\-\\-power\\-cmd",
    ] {
        assert!(run.contains(part), "{part} is not in {run}");
    }
    for file in ["wattle.bash", "_wattle", "wattle.fish"] {
        let text = &files[&Path::new("completions").join(file)];
        assert!(text.contains("power-cmd"), "{file} lacks a flag");
    }
}
