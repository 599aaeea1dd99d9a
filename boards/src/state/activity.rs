//! Swapping and load, as counts since the start of the system: `/proc/vmstat`, `/proc/stat` and `/proc/self/stat`.

use std::path::Path;

use crate::file;

/// Counts that only grow. Times are in ticks of the kernel, usually of 10 ms.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Activity {
    /// Pages read back from swap, by all processes.
    pub swap_in_pages: Option<u64>,
    /// Time that all cores together were at work, for whomever; what a hypervisor took counts too.
    pub busy_ticks: Option<u64>,
    /// Time that all cores together waited for work.
    pub idle_ticks: Option<u64>,
    /// Time that this process was at work, on all cores together.
    pub own_ticks: Option<u64>,
}

impl Activity {
    /// The share of all cores' time, 0 to 1, that others than this process used since `before`. `None` when it is not told, or
    /// when no tick has passed.
    #[must_use]
    pub fn others_since(&self, before: &Self) -> Option<f64> {
        let since = |of: fn(&Self) -> Option<u64>| of(self)?.checked_sub(of(before)?);
        let (busy, idle) = (since(|a| a.busy_ticks)?, since(|a| a.idle_ticks)?);
        let own = since(|a| a.own_ticks)?;
        let all = busy.checked_add(idle).filter(|&all| all > 0)?;
        // The three are not read at the same moment.
        Some(busy.saturating_sub(own) as f64 / all as f64)
    }

    /// Pages read back from swap since `before`.
    #[must_use]
    pub fn swapped_since(&self, before: &Self) -> Option<u64> {
        self.swap_in_pages?.checked_sub(before.swap_in_pages?)
    }
}

/// The counts below `root`.
pub(super) fn read(root: &Path) -> Activity {
    let (busy_ticks, idle_ticks) = load(root).unzip();
    Activity {
        swap_in_pages: swap_ins(root),
        busy_ticks,
        idle_ticks,
        own_ticks: own(root),
    }
}

/// `pswpin 123`
fn swap_ins(root: &Path) -> Option<u64> {
    let text = file::text(&root.join("proc/vmstat"))?;
    let mut lines = text.lines();
    lines
        .find_map(|line| line.strip_prefix("pswpin "))?
        .trim()
        .parse()
        .ok()
}

/// `cpu  user nice system idle iowait irq softirq steal guest guest_nice`, where user and nice hold the guests' time already.
fn load(root: &Path) -> Option<(u64, u64)> {
    let text = file::text(&root.join("proc/stat"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Option<Vec<u64>> = line
        .split_whitespace()
        .take(8)
        .map(|n| n.parse().ok())
        .collect();
    let ticks = ticks.filter(|ticks| ticks.len() >= 4)?;
    let sum = |of: &dyn Fn(usize) -> bool| {
        let ticks = ticks.iter().enumerate().filter(|(i, _)| of(*i));
        ticks.fold(0_u64, |sum, (_, n)| sum.saturating_add(*n))
    };
    let is_idle = |i: usize| i == 3 || i == 4;
    Some((sum(&|i| !is_idle(i)), sum(&is_idle)))
}

/// Fields 14 and 15. The name of the program, field 2, stands in parentheses and may hold anything.
fn own(root: &Path) -> Option<u64> {
    let text = file::text(&root.join("proc/self/stat"))?;
    let (_, after) = text.rsplit_once(')')?;
    let mut fields = after.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    user.checked_add(system)
}
