//! What is known of a board, as a file of `profiles/` or of the user says it.
//!
//! A file is TOML. What is not known is left out; every fact that is there has a source.
//!
//! ```toml
//! name = "Raspberry Pi 5"
//! soc = "Broadcom BCM2712"
//! target = "aarch64-unknown-linux-gnu"
//! isa = "neon_dot"                 # the best instruction set of wattle's that it has
//! ram_gb = [1, 2, 4, 8, 16]
//! theoretical_gbps = 17.1          # of the memory
//! copy_gbps = [5.3, 6.0]           # copied by one thread; one number, or the least and the most
//!
//! [[cluster]]                      # one for each group of like cores
//! core = "Cortex-A76"
//! count = 4
//! max_mhz = 2400
//! big = true                       # whether decoding should use it
//!
//! [match]                          # by what it is recognised; one is enough
//! compatible = ["raspberrypi,5-model-b"]
//!
//! [[source]]
//! of = ["soc", "cluster", "isa", "ram_gb", "theoretical_gbps", "copy_gbps", "match"]
//! is = "where these facts are from"
//! ```

use core::fmt;
use std::path::{Path, PathBuf};

use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

mod check;
mod fit;

pub use fit::Fit;

/// One board, or what all boards with a chip have in common. Powers are those of the whole board.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The name of its file, without `.toml`.
    #[serde(skip_deserializing)]
    pub id: String,
    /// The user's file that it is from; `None` for those in the program.
    #[serde(skip_deserializing)]
    pub own: Option<PathBuf>,
    /// What people call it.
    pub name: String,
    /// Other boards that all of this holds for.
    #[serde(default)]
    pub also: Vec<String>,
    /// The chip.
    pub soc: String,
    /// The target that Rust builds for it.
    pub target: String,
    /// The `target-cpu` of its big cores, for those who build for this board alone.
    pub target_cpu: Option<String>,
    /// The best instruction set that wattle is expected to find there.
    pub isa: Option<String>,
    /// Sizes of memory that it is made with, in GB.
    pub ram_gb: Option<Vec<f64>>,
    /// What its memory could do by its width and rate, in 10^9 bytes a second.
    pub theoretical_gbps: Option<f64>,
    /// Measured: bytes that one thread copies, in 10^9 a second. The memory moves twice as many.
    pub copy_gbps: Option<Range>,
    /// Measured: bytes that all cores together read, in 10^9 a second.
    pub read_gbps: Option<Range>,
    /// Measured: power without work, in watts.
    pub idle_w: Option<Range>,
    /// Measured: power with all cores at work, in watts.
    pub load_w: Option<Range>,
    /// The sensors of power on the board; none when the list is empty.
    pub sensors: Option<Vec<String>>,
    /// What its users should know.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Its cores.
    #[serde(rename = "cluster")]
    pub clusters: Vec<Cluster>,
    /// By what it is recognised.
    #[serde(rename = "match")]
    pub matches: Match,
    /// Where all this is from.
    #[serde(rename = "source")]
    pub sources: Vec<Source>,
}

/// A group of like cores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// The design of the cores.
    pub core: String,
    /// How many.
    pub count: usize,
    /// Their highest clock, in MHz.
    pub max_mhz: Option<u32>,
    /// Whether decoding should use them.
    pub big: bool,
}

/// By what a board is recognised: any of these.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// Strings of `compatible` in the device tree.
    #[serde(default)]
    pub compatible: Vec<String>,
    /// Makers and products, by DMI.
    #[serde(default)]
    pub dmi: Vec<Dmi>,
    /// Words in the name of the CPU.
    #[serde(default)]
    pub cpu: Vec<String>,
    /// CPUs by number.
    #[serde(default)]
    pub x86: Vec<X86>,
    /// ARM cores by number; all of them must be there.
    #[serde(default)]
    pub midr: Vec<Cores>,
}

/// A machine by its DMI.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dmi {
    /// A part of the maker's name.
    pub vendor: Option<String>,
    /// The whole name of the product, or of its main board.
    pub product: String,
}

/// An x86 CPU by its numbers, as `/proc/cpuinfo` shows them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct X86 {
    /// `GenuineIntel`, `AuthenticAMD` ...
    pub vendor: String,
    /// Family.
    pub family: u32,
    /// Model.
    pub model: u32,
}

/// A number of ARM cores of one design.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cores {
    /// Implementer in `MIDR_EL1`.
    pub implementer: u32,
    /// Part number there.
    pub part: u32,
    /// How many of them.
    pub count: usize,
}

/// Where facts are from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The keys of the facts.
    pub of: Vec<String>,
    /// Where they are from, and how sure they are.
    pub is: String,
}

/// A measured figure: one number, or the least and the most of several.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    /// The least.
    pub least: f64,
    /// The most; the same for one number.
    pub most: f64,
}

/// What is wrong with a profile.
#[derive(Debug)]
pub struct ProfileError {
    /// The file.
    pub file: PathBuf,
    /// The key, or the line, that is wrong; empty when it is the file as such.
    pub place: String,
    /// What was expected there and what was found.
    pub what: String,
}

impl fmt::Display for ProfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.file.display())?;
        match &*self.place {
            "" => write!(f, "{}", self.what),
            place => write!(f, "{place}: {}", self.what),
        }
    }
}

impl core::error::Error for ProfileError {}

impl Profile {
    /// Reads the text of the file `file`, whose name gives the id.
    ///
    /// # Errors
    /// When it is no TOML, lacks a key or has one too many, or a value is impossible.
    pub fn parse(text: &str, file: &Path) -> Result<Self, ProfileError> {
        let fault = |place: String, what: String| ProfileError {
            file: file.into(),
            place,
            what,
        };
        let mut profile: Self = toml::from_str(text).map_err(|error| {
            let place = error
                .span()
                .map_or_else(String::new, |span| line(text, span.start));
            fault(place, error.message().trim().replace('\n', ", "))
        })?;
        let stem = file.file_stem().and_then(|stem| stem.to_str());
        profile.id = stem.unwrap_or_default().into();
        check::all(&profile).map_err(|(place, what)| fault(place, what))?;
        Ok(profile)
    }

    /// How many cores it has, and how many of them are big.
    #[must_use]
    pub fn cores(&self) -> (usize, usize) {
        let sum =
            |of: &dyn Fn(&&Cluster) -> bool| self.clusters.iter().filter(of).map(|c| c.count).sum();
        (sum(&|_| true), sum(&|cluster| cluster.big))
    }
}

/// The line around byte `at`: "line 3, `count = four`".
fn line(text: &str, at: usize) -> String {
    let before = text.get(..at).unwrap_or(text);
    let start = before.rfind('\n').map_or(0, |end| end + 1);
    let line = text[start..].lines().next().unwrap_or("").trim();
    let number = before.matches('\n').count() + 1;
    match line {
        "" => format!("line {number}"),
        line => format!("line {number}, `{line}`"),
    }
}

impl<'de> Deserialize<'de> for Range {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Numbers;
        impl<'de> Visitor<'de> for Numbers {
            type Value = Range;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, or [least, most]")
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Range, E> {
                Ok(Range {
                    least: number,
                    most: number,
                })
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Range, E> {
                self.visit_f64(number as f64)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Range, A::Error> {
                let mut next = |len: usize| {
                    let number = seq.next_element()?;
                    number.ok_or_else(|| de::Error::invalid_length(len, &self))
                };
                let (least, most) = (next(0)?, next(1)?);
                match seq.next_element::<f64>()? {
                    None => Ok(Range { least, most }),
                    Some(_) => Err(de::Error::invalid_length(3, &self)),
                }
            }
        }
        deserializer.deserialize_any(Numbers)
    }
}

impl Serialize for Range {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        [self.least, self.most].serialize(serializer)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.least < self.most {
            true => write!(f, "{} to {}", self.least, self.most),
            false => write!(f, "{}", self.least),
        }
    }
}
