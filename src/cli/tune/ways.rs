//! The ways to run that are tried.

use wattle_boards::{Core, Topology};

/// Caps that are tried, as shares of the clocks that were found.
const SHARES: [f64; 3] = [1.0, 0.75, 0.5];

/// One way to run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Way {
    /// The cores to keep to.
    pub(super) cores: Vec<usize>,
    /// Threads on them.
    pub(super) threads: usize,
    /// The cap of the clocks, as a share of what was found; `None` when they are left alone.
    pub(super) share: Option<f64>,
}

/// The big cores with few to all of them, then all cores, then the small ones alone; each with every cap if clocks are `capped`.
pub(super) fn all(topology: &Topology, capped: bool) -> Vec<Way> {
    let id = |core: &Core| core.id;
    let big: Vec<usize> = topology.big().map(id).collect();
    let every: Vec<usize> = topology.cores().iter().map(id).collect();
    let small: Vec<usize> = every
        .iter()
        .copied()
        .filter(|id| !big.contains(id))
        .collect();
    let most = topology.most_threads();
    let mut ways = Vec::new();
    let mut add = |cores: &[usize], threads: Vec<usize>| {
        for threads in threads.into_iter().filter(|&n| n <= most) {
            ways.push(Way {
                cores: cores.to_vec(),
                threads,
                share: None,
            });
        }
    };
    add(&big, counts(big.len().min(most)));
    if !small.is_empty() {
        // Fewer threads than these would all find room on the big cores.
        add(&every, vec![every.len().min(most).max(big.len() + 1)]);
        add(&small, counts(small.len().min(most)));
    }
    if !capped {
        return ways;
    }
    let with = |share: f64| {
        ways.iter().map(move |way| Way {
            share: Some(share),
            ..way.clone()
        })
    };
    SHARES.into_iter().flat_map(with).collect()
}

/// One to four all, then the halves and the whole of `most`.
fn counts(most: usize) -> Vec<usize> {
    let mut counts: Vec<usize> = (1..=most.min(4)).collect();
    counts.extend([most / 2, most * 3 / 4, most]);
    counts.retain(|&n| n > 0);
    counts.sort_unstable();
    counts.dedup();
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn names(ways: &[Way]) -> Vec<String> {
        let name = |way: &Way| format!("{:?}x{}", way.cores, way.threads);
        ways.iter().map(name).collect()
    }

    #[test]
    fn like_cores_are_tried_in_all_numbers() {
        let four = Topology::read(Path::new("/nowhere"), &[0, 1, 2, 3]);
        let expected: Vec<String> = (1..=4).map(|n| format!("[0, 1, 2, 3]x{n}")).collect();
        assert_eq!(names(&all(&four, false)), expected);
        let capped = all(&four, true);
        assert_eq!(capped.len(), 12);
        assert_eq!((capped[0].share, capped[11].share), (Some(1.0), Some(0.5)));
        assert_eq!(counts(12), [1, 2, 3, 4, 6, 9, 12]);
        assert_eq!(counts(1), [1]);
    }

    #[test]
    fn small_cores_are_tried_with_and_without_the_big_ones() {
        let root = std::env::temp_dir().join(format!("wattle-ways-{}", std::process::id()));
        for (core, capacity) in ["530", "1024", "1024", "530"].into_iter().enumerate() {
            let folder = root.join(format!("sys/devices/system/cpu/cpu{core}"));
            std::fs::create_dir_all(&folder).expect("a folder");
            std::fs::write(folder.join("cpu_capacity"), capacity).expect("a file");
        }
        let ways = all(&Topology::read(&root, &[0, 1, 2, 3]), false);
        std::fs::remove_dir_all(&root).expect("the folder");
        assert_eq!(
            names(&ways),
            [
                "[1, 2]x1",
                "[1, 2]x2",
                "[0, 1, 2, 3]x4",
                "[0, 3]x1",
                "[0, 3]x2"
            ]
        );
    }
}
