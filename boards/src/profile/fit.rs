//! How well a profile fits a machine.

use core::cmp::Reverse;

use super::{Dmi, Match, X86};
use crate::identity::Identity;
use crate::midr::Midr;

/// By what a profile was recognised, from the most general to the most specific.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    /// The numbers of the CPU, which a family of chips shares.
    CpuId,
    /// The name of the CPU.
    CpuName,
    /// The name of the product, by DMI.
    Dmi,
    /// A string of the device tree, by its place there: the first names the board, the last the family of the chip.
    Compatible(Reverse<usize>),
}

impl Fit {
    /// In words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CpuId => "the numbers of the CPU",
            Self::CpuName => "the name of the CPU",
            Self::Dmi => "DMI",
            Self::Compatible(_) => "the device tree",
        }
    }
}

impl Match {
    /// The most specific rule that holds for the machine.
    pub(crate) fn fit(&self, machine: &Identity) -> Option<Fit> {
        let place = machine
            .compatible
            .iter()
            .position(|of_machine| self.compatible.contains(of_machine));
        if let Some(place) = place {
            return Some(Fit::Compatible(Reverse(place)));
        }
        if self.dmi.iter().any(|dmi| dmi.holds(machine)) {
            return Some(Fit::Dmi);
        }
        let name = machine.cpu.as_deref().unwrap_or("");
        if self.cpu.iter().any(|word| has_word(name, word)) {
            return Some(Fit::CpuName);
        }
        let by_numbers = self.x86.iter().any(|x86| x86.holds(machine)) || self.has_cores(machine);
        by_numbers.then_some(Fit::CpuId)
    }

    fn has_cores(&self, machine: &Identity) -> bool {
        let has = |implementer, part, count| {
            machine.midr.get(&Midr { implementer, part }) == Some(&count)
        };
        let mut cores = self.midr.iter();
        !self.midr.is_empty() && cores.all(|c| has(c.implementer, c.part, c.count))
    }
}

impl Dmi {
    fn holds(&self, machine: &Identity) -> bool {
        let vendor = self.vendor.as_deref().unwrap_or("").to_lowercase();
        let mut vendors = machine.vendors.iter();
        let of_vendor = vendor.is_empty() || vendors.any(|v| v.to_lowercase().contains(&vendor));
        let mut products = machine.products.iter();
        of_vendor && products.any(|product| product.eq_ignore_ascii_case(&self.product))
    }
}

impl X86 {
    fn holds(&self, machine: &Identity) -> bool {
        let found = machine.x86.as_ref();
        found.is_some_and(|cpu| {
            cpu.vendor == self.vendor && cpu.family == self.family && cpu.model == self.model
        })
    }
}

/// Whether `word` stands in `name` with nothing of a word on either side: `N100` is no part of `N1000`.
fn has_word(name: &str, word: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric();
    name.match_indices(word).any(|(at, _)| {
        let before = name[..at].chars().next_back();
        let after = name[at + word.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_whole() {
        assert!(has_word("Intel(R) N100", "N100"));
        assert!(has_word("Intel(R) Core(TM) i3-N305", "i3-N305"));
        assert!(has_word("Loongson-3A5000-HV", "Loongson-3A5000"));
        assert!(!has_word("Intel(R) N1000", "N100"));
        assert!(!has_word("Loongson-3A50000", "Loongson-3A5000"));
        assert!(!has_word("", "N100"));
    }

    #[test]
    fn a_board_is_more_specific_than_its_chip() {
        let place = |n| Fit::Compatible(Reverse(n));
        assert!(place(0) > place(1));
        assert!(place(7) > Fit::Dmi);
        assert!(Fit::Dmi > Fit::CpuName);
        assert!(Fit::CpuName > Fit::CpuId);
    }
}
