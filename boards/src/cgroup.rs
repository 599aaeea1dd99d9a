//! How much processor time a control group grants: containers and systemd limit a process by time, not by cores.
//!
//! Version 2 writes `cpu.max` ("quota period", in microseconds, or "max period"), version 1 `cpu.cfs_quota_us` and
//! `cpu.cfs_period_us`. The limit of a group holds for all groups in it, so the least one on the way from the process's
//! group up to the root counts. Inside of a container the path in `/proc/self/cgroup` may be that of the host and then not
//! exist; the walk up ends at the container's own root in any case.

use std::path::{Component, Path, PathBuf};

use crate::file;

/// The number of threads that the quota keeps fully busy, rounded up; `None` without a quota.
pub(crate) fn quota(root: &Path) -> Option<usize> {
    let groups = file::text(&root.join("proc/self/cgroup")).unwrap_or_default();
    let mount = root.join("sys/fs/cgroup");
    let mut least: Option<u64> = None;
    for line in groups.lines() {
        // "0::/a/b" is version 2, "4:cpu,cpuacct:/a/b" version 1.
        let mut fields = line.splitn(3, ':');
        let (Some(id), Some(controllers), Some(group)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let limit = if id == "0" && controllers.is_empty() {
            // A system that still uses version 1 for its limits mounts version 2 beside it.
            let least = walk(&mount, group, unified);
            least
                .into_iter()
                .chain(walk(&mount.join("unified"), group, unified))
                .min()
        } else if controllers.split(',').any(|c| c == "cpu") {
            let by_name = walk(&mount.join("cpu"), group, legacy);
            by_name
                .into_iter()
                .chain(walk(&mount.join(controllers), group, legacy))
                .min()
        } else {
            None
        };
        least = least.into_iter().chain(limit).min();
    }
    least.and_then(|threads| usize::try_from(threads).ok())
}

/// The least limit of `group` and the groups around it, below `mount`.
fn walk(mount: &Path, group: &str, limit: fn(&Path) -> Option<u64>) -> Option<u64> {
    // Names only: ".." (a group outside of the namespace) must not lead out of `mount`.
    let inside: PathBuf = Path::new(group)
        .components()
        .filter(|part| matches!(part, Component::Normal(_)))
        .collect();
    inside
        .ancestors()
        .filter_map(|group| limit(&mount.join(group)))
        .min()
}

/// The limit of one group of version 2.
fn unified(group: &Path) -> Option<u64> {
    let text = file::text(&group.join("cpu.max"))?;
    let mut words = text.split_whitespace();
    threads(words.next()?.parse().ok()?, words.next()?.parse().ok()?)
}

/// The limit of one group of version 1.
fn legacy(group: &Path) -> Option<u64> {
    // Without a limit the quota is -1, which is no positive number.
    let quota = file::number(&group.join("cpu.cfs_quota_us"))?;
    threads(quota, file::number(&group.join("cpu.cfs_period_us"))?)
}

/// A quota of 150 ms in 100 ms keeps two threads busy, one of them half of the time.
fn threads(quota_us: u64, period_us: u64) -> Option<u64> {
    if quota_us == 0 || period_us == 0 {
        return None;
    }
    Some(quota_us.div_ceil(period_us))
}
