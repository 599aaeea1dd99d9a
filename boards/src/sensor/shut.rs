//! What opens a file that this user may not read: the last step only, where another than root has been given it already.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::Site;
use crate::file;

/// The commands that open `path`: `else_all` of them, or to join its group where one may read it.
pub(super) fn fix(site: &Site, path: &Path, else_all: &str) -> String {
    match group(&site.root, path) {
        Some(group) => format!("sudo usermod -aG {group} $USER, then log in again"),
        None => else_all.into(),
    }
}

/// The group, not root's, that may read `path`, by the name that `etc/group` has for it.
fn group(root: &Path, path: &Path) -> Option<String> {
    let about = std::fs::metadata(path).ok()?;
    if about.mode() & 0o040 == 0 || about.gid() == 0 {
        return None;
    }
    let groups = file::text(&root.join("etc/group"))?;
    groups.lines().find_map(|line| {
        let mut fields = line.split(':'); // name:password:number:members
        let (name, number) = (fields.next()?, fields.nth(1)?);
        (number.parse() == Ok(about.gid())).then(|| name.into())
    })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::io;
    use std::os::unix::fs::{PermissionsExt, chown};

    use super::*;

    #[test]
    fn a_file_of_another_group_needs_only_to_join_it() {
        let root = std::env::temp_dir().join(format!("wattle-boards-shut-{}", std::process::id()));
        let path = root.join("counter");
        fs::create_dir_all(root.join("etc")).expect("a temporary directory");
        fs::write(&path, "1").expect("room");
        // Root may give the file to any group, others to their own.
        let _others = chown(&path, None, Some(4242));
        let gid = fs::metadata(&path).expect("our file").gid();
        let groups = format!("root:x:0:\nvideo:x:{}:\nmeters:x:{gid}:me\n", gid + 1);
        fs::write(root.join("etc/group"), groups).expect("room");
        let site = Site {
            root: root.clone(),
            mailbox: |_, _| Err(io::ErrorKind::Unsupported.into()),
            token: None,
        };
        for (mode, expected) in [
            (0o440, "sudo usermod -aG meters $USER, then log in again"),
            (0o400, "all"),
        ] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).expect("our file");
            assert_eq!(fix(&site, &path, "all"), expected, "{mode:o}");
        }
        fs::remove_file(root.join("etc/group")).expect("it was there");
        fs::set_permissions(&path, Permissions::from_mode(0o440)).expect("our file");
        assert_eq!(fix(&site, &path, "all"), "all", "a group without a name");
        fs::remove_dir_all(&root).expect("it was there");
    }

    /// Who mends it by hand has what the package has, under the same names.
    #[test]
    fn the_fixes_are_the_rules_of_the_package() {
        let lines = |text: &'static str| {
            text.lines()
                .filter(|line| !line.starts_with('#'))
                .collect::<Vec<_>>()
        };
        let counters = lines(include_str!("../../package/wattle.tmpfile"));
        assert_eq!(counters.len(), 1, "one rule: {counters:?}");
        let (rapl, pmic) = (super::super::rapl::FIX, super::super::pmic::FIX);
        for part in [
            counters[0],
            "groupadd -f -r wattle",
            "/etc/tmpfiles.d/wattle.conf",
        ] {
            assert!(rapl.contains(part), "{part} is not in {rapl}");
        }
        let devices = lines(include_str!("../../package/wattle.udev"));
        let vcio = devices.iter().find(|line| line.contains("vcio"));
        let vcio = vcio.expect("a rule for the mailbox");
        for part in [vcio, "/etc/udev/rules.d/60-wattle.rules"] {
            assert!(pmic.contains(part), "{part} is not in {pmic}");
        }
        let members = lines(include_str!("../../package/wattle.sysusers"));
        assert_eq!(members, ["g wattle -"]);
    }
}
