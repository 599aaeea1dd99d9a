//! Why there is no reading.

use core::fmt;

/// Why a sensor does not open, or gives no reading.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// What was asked for cannot be: what, and what is accepted.
    Usage(String),
    /// There is no such sensor here.
    Absent(String),
    /// The system does not let this user read it.
    Denied {
        /// The file.
        file: String,
        /// The commands that mend it.
        fix: String,
    },
    /// It is there and does not measure now: why, and what to do.
    Idle(String),
    /// It did not answer, or not in time.
    Silent(String),
    /// It answered with what cannot be.
    Nonsense(String),
    /// A counter began anew: what was drawn since the last reading is not known.
    Reset,
    /// It will never answer again.
    Ended(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(what)
            | Self::Absent(what)
            | Self::Idle(what)
            | Self::Silent(what)
            | Self::Ended(what) => f.write_str(what),
            Self::Denied { file, fix } => {
                write!(f, "{file} may not be read by this user; to allow it: {fix}")
            }
            Self::Nonsense(what) => write!(f, "a reading that cannot be: {what}"),
            Self::Reset => f.write_str("its counter began anew"),
        }
    }
}

impl core::error::Error for Fault {}
