//! The list of boards: those in the program, and those of the user.
//!
//! A board is one file in `profiles/` and one line in `boards!`. Files of the same shape in the user's own folder (`~/.config/wattle/boards/`)
//! come before all of them, and replace one of the same name.

use std::path::{Path, PathBuf};

use crate::identity::Identity;
use crate::profile::{Fit, Profile, ProfileError};

macro_rules! boards {
    ($($id:literal,)+) => {
        /// The names and the texts of the files in `profiles/`.
        const BUILT_IN: &[(&str, &str)] = &[
            $((concat!($id, ".toml"), include_str!(concat!("../profiles/", $id, ".toml"))),)+
        ];
    };
}

boards! {
    "atom-z8350",
    "bpi-f3",
    "cix-p1",
    "cubie-a5e",
    "cubie-a7",
    "j4125",
    "jetson-orin-nano",
    "lattepanda-3-delta",
    "lattepanda-v1",
    "loongson-3a5000",
    "loongson-3a6000",
    "milkv-jupiter",
    "ms-r1",
    "n100",
    "n305",
    "n5105",
    "odroid-n2-plus",
    "orange-pi-5-plus",
    "orange-pi-5",
    "orange-pi-kunpeng-pro",
    "orange-pi-rv2",
    "orion-o6",
    "phytium-d2000",
    "phytium-d3000",
    "phytium-ft-2000-4",
    "phytium-pi",
    "pi-3b-plus",
    "pi-4",
    "pi-400",
    "pi-5",
    "pi-zero-2-w",
    "radxa-x4",
    "rk3588",
    "rock-5b",
    "rock-5c",
    "spacemit-k1",
    "vim3",
}

/// All boards that are known, the user's own first.
#[derive(Debug, Clone, PartialEq)]
pub struct Profiles(Vec<Profile>);

impl Profiles {
    /// The boards in the program and those in the user's folder.
    ///
    /// # Errors
    /// When a file of the user cannot be read or is broken.
    pub fn here() -> Result<Self, ProfileError> {
        let folder = own_folder().map(|folder| folder.join("boards"));
        Self::load(folder.as_deref())
    }

    /// The boards in the program and those in `folder`, which need not exist.
    ///
    /// # Errors
    /// When a file in the folder cannot be read or is broken.
    pub fn load(folder: Option<&Path>) -> Result<Self, ProfileError> {
        let mut all = match folder {
            Some(folder) => own(folder)?,
            None => Vec::new(),
        };
        let count = all.len();
        for (file, text) in BUILT_IN {
            let profile = Profile::parse(text, Path::new(file))?;
            if !all[..count].iter().any(|own| own.id == profile.id) {
                all.push(profile);
            }
        }
        Ok(Self(all))
    }

    /// All of them, the user's first, else by name of file.
    pub fn iter(&self) -> impl Iterator<Item = &Profile> {
        self.0.iter()
    }

    /// The board with that id or name, however it is capitalised.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Profile> {
        let is_it = |other: &str| other.eq_ignore_ascii_case(name);
        let by_id = self.0.iter().find(|profile| is_it(&profile.id));
        by_id.or_else(|| {
            let mut all = self.0.iter();
            all.find(|p| is_it(&p.name) || p.also.iter().any(|also| is_it(also)))
        })
    }

    /// The board that a machine is: of the user's own files the one that fits best, else of those in the program.
    #[must_use]
    pub fn of(&self, machine: &Identity) -> Option<(&Profile, Fit)> {
        let fits = self.0.iter().filter_map(|profile| {
            let fit = profile.matches.fit(machine)?;
            Some((profile, fit))
        });
        // `max_by_key` takes the last of equals; the first shall win.
        let fits: Vec<_> = fits.collect();
        fits.into_iter()
            .rev()
            .max_by_key(|(profile, fit)| (profile.own.is_some(), *fit))
    }
}

/// `$XDG_CONFIG_HOME/wattle`, or `~/.config/wattle`: where the user's own boards and choices are.
#[must_use]
pub fn own_folder() -> Option<PathBuf> {
    let path = |name: &str| {
        let path = PathBuf::from(std::env::var_os(name)?);
        // The specification tells to ignore a relative one.
        path.is_absolute().then_some(path)
    };
    let config = path("XDG_CONFIG_HOME").or_else(|| Some(path("HOME")?.join(".config")));
    Some(config?.join("wattle"))
}

/// The profiles in the user's folder, by name of file.
fn own(folder: &Path) -> Result<Vec<Profile>, ProfileError> {
    let fault = |file: &Path, what: std::io::Error| ProfileError {
        file: file.into(),
        place: String::new(),
        what: format!("cannot be read: {what}"),
    };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(reason) if reason.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(reason) => return Err(fault(folder, reason)),
    };
    let mut files = Vec::new();
    for entry in entries {
        files.push(entry.map_err(|reason| fault(folder, reason))?.path());
    }
    files.retain(|file| file.extension().is_some_and(|end| end == "toml"));
    files.sort();
    let profile = |file: PathBuf| {
        let text = std::fs::read_to_string(&file).map_err(|reason| fault(&file, reason))?;
        let mut profile = Profile::parse(&text, &file)?;
        profile.own = Some(file);
        Ok(profile)
    };
    files.into_iter().map(profile).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_folder_is_in_the_list() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles");
        let entries = std::fs::read_dir(folder).expect("the folder of profiles");
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        let mut names: Vec<String> = names.filter_map(|name| name.into_string().ok()).collect();
        names.sort();
        let listed: Vec<&str> = BUILT_IN.iter().map(|(file, _)| *file).collect();
        assert_eq!(listed, names, "boards! lists the folder, in its order");
    }

    #[test]
    fn every_profile_is_whole() {
        for (file, text) in BUILT_IN {
            if let Err(fault) = Profile::parse(text, Path::new(file)) {
                panic!("{fault}");
            }
        }
    }

    #[test]
    fn no_two_profiles_claim_the_same_board() {
        let profiles = Profiles::load(None).expect("profiles");
        let mut strings: Vec<&str> = profiles
            .iter()
            .flat_map(|profile| &profile.matches.compatible)
            .map(String::as_str)
            .collect();
        let count = strings.len();
        strings.sort_unstable();
        strings.dedup();
        assert_eq!(
            strings.len(),
            count,
            "a string of the device tree is in two profiles"
        );
    }
}
