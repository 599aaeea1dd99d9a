//! The choice that `wattle tune --save` made for this board, and `wattle run` follows: `~/.config/wattle/tune.toml`.
//!
//! It is bound to the board by [`Board::key`]: on another one, or where its cores may not be used, it is told of and ignored, as
//! is a broken file.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use wattle::{Error, Result};
use wattle_boards::{Board, Topology, own_folder};

use super::boards::broken;

/// How to run on a board.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Choice {
    /// The board that it was measured on.
    pub(super) board: String,
    /// The model that it was measured with, for people.
    pub(super) model: String,
    /// Threads to decode with.
    pub(super) threads: usize,
    /// The cores to keep to.
    pub(super) cores: Vec<usize>,
    /// The cap on the clocks that it was measured under, in kHz. It is not set by a run.
    pub(super) cap_khz: Option<u64>,
    /// Tokens a second.
    pub(super) tok_s: f64,
    /// Tokens a joule, and the scope of the sensor.
    pub(super) tok_j: Option<f64>,
    pub(super) scope: Option<String>,
}

/// Where the choice is kept.
pub(super) fn path() -> Option<PathBuf> {
    own_folder().map(|folder| folder.join("tune.toml"))
}

impl Choice {
    /// Writes it for the next runs; the old one is replaced as a whole, or stays.
    pub(super) fn save(&self) -> Result<PathBuf> {
        let path = path().ok_or_else(|| Error::Settings {
            what: "there is no folder for the choice: HOME and XDG_CONFIG_HOME are not set".into(),
        })?;
        let fault = |action| {
            let path = path.clone();
            move |source: io::Error| Error::io(&path, action, source)
        };
        let text = toml::to_string(self).map_err(|reason| Error::Settings {
            what: format!("{}: cannot be written: {reason}", path.display()),
        })?;
        let text = format!("# Made by `wattle tune --save`. Delete this file to undo it.\n{text}");
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(fault("make a folder for"))?;
        }
        let draft = path.with_extension(format!("{}.new", std::process::id()));
        std::fs::write(&draft, text)
            .and_then(|()| std::fs::rename(&draft, &path))
            .inspect_err(|_| {
                let _gone = std::fs::remove_file(&draft);
            })
            .map_err(fault("write"))?;
        Ok(path)
    }

    /// The choice of this board; `None` when none was saved. What is wrong with a saved one is the error, which is worth a word
    /// and nothing more.
    pub(super) fn here() -> Result<Option<(Self, PathBuf)>> {
        let Some(path) = path() else {
            return Ok(None);
        };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(reason) if reason.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(reason) => return Err(Error::io(&path, "read", reason)),
        };
        let choice = Self::parse(&text, &path)?;
        let board = Board::here().map_err(broken)?.key();
        choice.suits(&board, &Topology::here(), &path)?;
        Ok(Some((choice, path)))
    }

    fn parse(text: &str, path: &Path) -> Result<Self> {
        toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| {
                text.get(..span.start).unwrap_or("").matches('\n').count() + 1
            });
            settings(
                path,
                &format!("line {line}: {}", error.message().replace('\n', ", ")),
            )
        })
    }

    /// Whether the board is the one it was made for, and lets this process follow it.
    fn suits(&self, board: &str, topology: &Topology, path: &Path) -> Result<()> {
        if self.board != board {
            let what = format!("it was made for {:?}, and this is {board:?}", self.board);
            return Err(settings(path, &what));
        }
        let allowed = |id: &usize| topology.cores().iter().any(|core| core.id == *id);
        if let Some(core) = self.cores.iter().find(|id| !allowed(id)) {
            return Err(settings(
                path,
                &format!("this process may not use core {core}"),
            ));
        }
        let most = topology.most_threads().min(self.cores.len());
        if self.threads == 0 || self.threads > most {
            let what = format!("threads = {}: expected 1 to {most}", self.threads);
            return Err(settings(path, &what));
        }
        Ok(())
    }
}

fn settings(path: &Path, what: &str) -> Error {
    Error::Settings {
        what: format!("{}: {what}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice() -> Choice {
        Choice {
            board: "pi-5, 4 cores".into(),
            model: "m.gguf".into(),
            threads: 2,
            cores: vec![0, 1, 2],
            cap_khz: Some(1_800_000),
            tok_s: 5.5,
            tok_j: None,
            scope: None,
        }
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        let text = toml::to_string(&choice()).expect("text");
        let path = Path::new("tune.toml");
        assert_eq!(Choice::parse(&text, path).expect("its own text"), choice());
        for (from, to, told) in [
            ("threads = 2", "threads = \"two\"", "line 3: invalid type"),
            ("threads", "thread", "unknown field `thread`"),
            ("tok_s = 5.5\n", "", "missing field `tok_s`"),
        ] {
            let fault = Choice::parse(&text.replace(from, to), path).expect_err(to);
            let fault = fault.to_string();
            assert!(
                fault.starts_with("tune.toml: ") && fault.contains(told),
                "{fault}"
            );
        }
    }

    #[test]
    fn a_foreign_one_is_refused() {
        let (path, none) = (Path::new("tune.toml"), Path::new("/nowhere"));
        let four = Topology::read(none, &[0, 1, 2, 3]);
        let suits = |choice: &Choice, board: &str, topology: &Topology| {
            choice
                .suits(board, topology, path)
                .map_err(|e| e.to_string())
        };
        assert_eq!(suits(&choice(), "pi-5, 4 cores", &four), Ok(()));
        let told = suits(&choice(), "pi-4, 4 cores", &four).expect_err("another board");
        assert!(told.contains("made for \"pi-5, 4 cores\""), "{told}");
        let two = Topology::read(none, &[0, 1]);
        let told = suits(&choice(), "pi-5, 4 cores", &two).expect_err("fewer cores");
        assert!(told.contains("may not use core 2"), "{told}");
        let many = Choice {
            threads: 4,
            ..choice()
        };
        let told = suits(&many, "pi-5, 4 cores", &four).expect_err("more threads than cores");
        assert!(told.contains("expected 1 to 3"), "{told}");
    }
}
