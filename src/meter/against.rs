//! Another program at the same test, its repetitions in turn with ours.
//!
//! On a machine that does other work too, speeds of two runs an hour apart cannot be compared; of repetitions that take turns,
//! the ratio of the medians can.

use super::Spread;

/// What another program measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Against {
    /// The program.
    pub program: String,
    /// Arguments that it was given beside those of the test.
    pub args: String,
    /// The commit that it was built from, as it says.
    pub commit: String,
    /// The number of its build, if it says one.
    pub number: Option<u64>,
    /// Its repetitions, one list for each way of running it.
    pub ways: Vec<Way>,
}

/// One way of running the other program.
#[derive(Debug, Clone, PartialEq)]
pub struct Way {
    /// `-fa`, when it is ours to choose.
    pub flash_attn: Option<u8>,
    /// Tokens per second of each repetition.
    pub ts: Vec<f64>,
}

impl Way {
    /// The distribution of its speed.
    #[must_use]
    pub fn speed(&self) -> Option<Spread> {
        Spread::of(&self.ts)
    }
}

impl Against {
    /// The way with the best median; the first of equals.
    #[must_use]
    pub fn best(&self) -> Option<&Way> {
        let mut best: Option<(&Way, f64)> = None;
        for way in &self.ways {
            let Some(speed) = way.speed() else { continue };
            if best.is_none_or(|(_, median)| speed.median > median) {
                best = Some((way, speed.median));
            }
        }
        best.map(|(way, _)| way)
    }

    /// The median with this `-fa`.
    #[must_use]
    pub fn median_with(&self, flash_attn: u8) -> Option<f64> {
        let mut ways = self.ways.iter();
        let way = ways.find(|way| way.flash_attn == Some(flash_attn))?;
        way.speed().map(|speed| speed.median)
    }
}
