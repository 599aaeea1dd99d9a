//! `wattle boards`: which boards are known, what is known of one, and which this one is.
//!
//! The boards are files of the crate `wattle-boards`, and the user's own in `~/.config/wattle/boards/`.
//!
//! **JSON** (`--json`). One object; fields are added over time, never renamed or removed; `null` is what is not known. A profile has
//! the keys of its file, with ranges as `[least, most]`, and `id` and `own` (the user's file, or `null`).
//!
//! | of | fields |
//! |---|---|
//! | the list | `boards`: profiles |
//! | `--this` | `name`, `key`, `recognised_by`, `profile`, `compatible`, `groups` (`[{core, ids, max_khz, big}]`), `allowed`, `chosen` (ids of cores), `threads`, `ram_bytes` |
//! | a name | the profile |

use std::io::Write;

use serde_json::{Value, json};
use wattle::{Error, Result};
use wattle_boards::{Board, Core, Machine, ProfileError, Profiles, Topology};

use super::written;

pub(super) mod text;

/// Arguments of `wattle boards`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A file NAME.toml in ~/.config/wattle/boards/ adds a board, or replaces the one of that name: see boards/README.md."
)]
pub(crate) struct Args {
    /// A board of the list, by id or name [default: list all]
    name: Option<String>,
    /// Say which board this is, and what its kernel tells of it
    #[arg(long, conflicts_with = "name")]
    this: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Lists or describes.
///
/// # Errors
///
/// A profile of the user's own that is broken; a name that is not in the list; `out` cannot be written.
pub(crate) fn run(args: &Args, out: &mut dyn Write) -> Result<()> {
    let profiles = Profiles::here().map_err(broken)?;
    let report = if args.this {
        let this = This::here()?;
        match args.json {
            true => json_text(&this.json()),
            false => text::this(&this),
        }
    } else if let Some(name) = &args.name {
        let profile = profiles.named(name).ok_or_else(|| Error::Argument {
            name: "NAME",
            value: name.clone(),
            expected: format!(
                "one of {}",
                profiles
                    .iter()
                    .map(|profile| profile.id.as_str())
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        })?;
        match args.json {
            true => json_text(&json!(profile)),
            false => text::profile(profile),
        }
    } else {
        match args.json {
            true => json_text(&json!({"boards": profiles.iter().collect::<Vec<_>>()})),
            false => text::list(&profiles),
        }
    };
    written(out.write_all(report.as_bytes()))
}

/// The error of a profile, as this crate's.
pub(super) fn broken(fault: ProfileError) -> Error {
    Error::Settings {
        what: fault.to_string(),
    }
}

fn json_text(value: &Value) -> String {
    format!("{value:#}\n")
}

/// This machine: the board, and what of it this process may use.
#[derive(Debug)]
pub(super) struct This {
    pub(super) board: Board,
    pub(super) topology: Topology,
    pub(super) machine: Machine,
}

impl This {
    pub(super) fn here() -> Result<Self> {
        Ok(Self {
            board: Board::here().map_err(broken)?,
            topology: Topology::here(),
            machine: Machine::here(),
        })
    }

    /// The cores that this process may run on, and those of them that are chosen for decoding.
    pub(super) fn cores(&self) -> (Vec<usize>, Vec<usize>) {
        let id = |core: &Core| core.id;
        let allowed = self.topology.cores().iter().map(id);
        (allowed.collect(), self.topology.big().map(id).collect())
    }

    pub(super) fn json(&self) -> Value {
        let (allowed, chosen) = self.cores();
        let (profile, fit) = self
            .board
            .profile
            .as_ref()
            .map(|(p, f)| (p, f.name()))
            .unzip();
        json!({
            "name": self.board.name,
            "key": self.board.key(),
            "recognised_by": fit,
            "profile": profile,
            "compatible": self.board.identity.compatible,
            "groups": self.board.groups,
            "allowed": allowed,
            "chosen": chosen,
            "threads": self.topology.threads(),
            "ram_bytes": self.machine.total_bytes,
        })
    }
}
