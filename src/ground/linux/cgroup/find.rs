//! Which cgroup trees are there, and where in them we are.

use super::backend::{CONTROLLERS as WANTED, Lack, Missing};
use crate::mount;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// What the machine has. `bases` and the controllers' paths are our own groups in each tree, as
/// seen through its mount.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// Places for the cluster's group, nearest first: our own group, then those above it. The tree
    /// has at least one controller that a cluster needs; beside trees of v1 it has that of memory.
    V2 {
        /// Paths as this process sees them, e.g. `/sys/fs/cgroup/user.slice`.
        bases: Vec<PathBuf>,
    },
    /// Each controller in a tree of its own. Hybrid machines, whose v2 tree lacks the memory
    /// controller, belong here.
    V1 {
        /// Name and own group of each, e.g. `memory` and `/sys/fs/cgroup/memory/user.slice`.
        controllers: Vec<(String, PathBuf)>,
        /// Own group in the v2 tree of a hybrid machine.
        unified: Option<PathBuf>,
    },
    /// No tree that can be used.
    Nothing {
        /// The reason, for `ropewalk doctor`.
        lack: Lack,
    },
}

/// Looks at this process and machine.
pub fn find() -> Found {
    let text = |path: &str| crate::read_text(path).unwrap_or_default();
    let controllers_of =
        |mount: &Path| fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default();
    decide(&text("/proc/self/mountinfo"), &text("/proc/self/cgroup"), controllers_of)
}

/// Decides by mountinfo, /proc/self/cgroup and the unified tree's controllers. (statfs of
/// /sys/fs/cgroup, which is often asked, is wrong on hybrid machines.)
fn decide(mountinfo: &str, own: &str, controllers_of: impl Fn(&Path) -> String) -> Found {
    let mounts: Vec<Mount> = mountinfo.lines().filter_map(Mount::parse).collect();
    let unified = own_group(own, |controllers| controllers.is_empty()).and_then(|group| {
        let mount = best(&mounts, group, |mount| mount.kind == "cgroup2")?;
        Some((mount.point.clone(), mount.below(group)))
    });
    let v1_tree = |controller: &&str| {
        let has = |list: &str| list.split(',').any(|name| name == *controller);
        let group = own_group(own, has)?;
        let mount = best(&mounts, group, |mount| mount.kind == "cgroup" && has(mount.options))?;
        Some((controller.to_string(), mount.below(group)))
    };
    let v1: Vec<(String, PathBuf)> = CONTROLLERS.iter().filter_map(v1_tree).collect();
    let limits = |mount: &Path| {
        let controllers = controllers_of(mount);
        let mut names = controllers.split_whitespace();
        match v1.is_empty() {
            true => names.any(|name| WANTED.contains(&name)),
            false => names.any(|name| name == "memory"),
        }
    };
    match unified {
        Some((mount, own)) if limits(&mount) => {
            let bases = own.ancestors().take_while(|p| p.starts_with(&mount)).map(PathBuf::from).collect();
            Found::V2 { bases }
        }
        // The tree of a container, as a rule, to which its runtime delegates no controller.
        Some((mount, _)) if v1.is_empty() => {
            let (mount, names) = (mount.display(), WANTED.join(", "));
            let why = format!("the cgroup v2 tree at {mount} has none of the controllers {names}");
            Found::Nothing { lack: Lack { missing: Missing::MemoryController(WANTED.to_vec()), why } }
        }
        None if v1.is_empty() => {
            Found::Nothing { lack: Lack { missing: Missing::Group, why: "no cgroup tree is mounted".into() } }
        }
        unified => Found::V1 { controllers: v1, unified: unified.map(|(_, own)| own) },
    }
}

const CONTROLLERS: &[&str] = &["cpu", "cpuacct", "memory", "pids", "devices"];

/// Returns the mount of a tree that is mounted at several places. A container may see the machine's
/// trees beside its own, and read-only (`docker run -v /sys/fs/cgroup:/host:ro`): a mount that
/// shows our own group counts more, then one that can be written, then the later one. Through a
/// mount that does not show it, groups would be made outside of the container's limits.
fn best<'m, 'a>(
    mounts: &'m [Mount<'a>],
    group: &str,
    is_of_tree: impl Fn(&Mount) -> bool,
) -> Option<&'m Mount<'a>> {
    let is_hidden =
        |at: usize, mount: &Mount| mounts[at + 1..].iter().any(|later| later.point == mount.point);
    let seen = mounts.iter().enumerate().filter(|(at, mount)| is_of_tree(mount) && !is_hidden(*at, mount));
    seen.map(|(_, mount)| mount).max_by_key(|mount| (mount.shown(group).is_some(), !mount.is_read_only))
}

struct Mount<'a> {
    root: PathBuf,
    point: PathBuf,
    is_read_only: bool,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    /// Reads a line of mountinfo: `36 35 98:0 /root /point rw … - kind source options`.
    fn parse(line: &'a str) -> Option<Mount<'a>> {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let mut path = || left.next().map(mount::path_of_mountinfo);
        let (root, point) = (path()?, path()?);
        let is_read_only = left.next()?.split(',').any(|option| option == "ro");
        let mut right = right.split(' ');
        let kind = right.next()?;
        Some(Mount { root, point, is_read_only, kind, options: right.nth(1)? })
    }

    /// Returns the path of a group below this mount, which may show only a part of the tree.
    fn shown<'g>(&self, group: &'g str) -> Option<&'g Path> {
        let shown = Path::new(group).strip_prefix(&self.root).ok();
        shown.filter(|path| path.components().all(|c| matches!(c, Component::Normal(_))))
    }

    /// Returns a group as seen through this mount. One that it does not show is taken for the
    /// mount's own: a group beside its root, or above it, which a cgroup namespace names `/../x`.
    /// That path would lead out of the tree, to a plain directory in which every limit can be
    /// written and read back, and none holds.
    fn below(&self, group: &str) -> PathBuf {
        self.point.join(self.shown(group).unwrap_or(Path::new("")))
    }
}

/// Finds this process' group in /proc/self/cgroup, of which a line is `7:cpu,cpuacct:/group`, or
/// `0::/group` for the unified tree.
fn own_group(own: &str, is_it: impl Fn(&str) -> bool) -> Option<&str> {
    own.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let controllers = fields.next()?;
        let group = fields.next()?;
        is_it(controllers).then_some(group)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw";

    #[test]
    fn a_hybrid_machine_has_limits_in_v1_and_kills_in_v2() {
        let own = "4:memory:/docker/abc/x\n1:cpu,cpuacct:/\n0::/user\n";
        let found = decide(HYBRID, own, |_| String::new());
        let controllers = vec![
            ("cpu".into(), "/sys/fs/cgroup/cpu".into()),
            ("cpuacct".into(), "/sys/fs/cgroup/cpu".into()),
            ("memory".into(), "/sys/fs/cgroup/memory/x".into()),
        ];
        assert_eq!(found, Found::V1 { controllers, unified: Some("/sys/fs/cgroup/unified/user".into()) });
    }

    #[test]
    fn v2_offers_our_own_group_and_those_above() {
        let mountinfo = "26 23 0:23 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate";
        let found = decide(mountinfo, "0::/user.slice/me\n", |_| "cpu memory pids".into());
        let bases = ["/sys/fs/cgroup/user.slice/me", "/sys/fs/cgroup/user.slice", "/sys/fs/cgroup"];
        assert_eq!(found, Found::V2 { bases: bases.map(PathBuf::from).to_vec() });
        let lack = Lack { missing: Missing::Group, why: "no cgroup tree is mounted".into() };
        assert_eq!(decide("", "0::/\n", |_| String::new()), Found::Nothing { lack });
    }

    #[test]
    fn a_tree_whose_path_has_blanks_is_found() {
        let mountinfo = "26 23 0:23 /a\\040b /mnt/c\\134\\040d rw - cgroup2 cgroup2 rw";
        let found = decide(mountinfo, "0::/a b/me\n", |_| "memory".into());
        let bases = ["/mnt/c\\ d/me", "/mnt/c\\ d"];
        assert_eq!(found, Found::V2 { bases: bases.map(PathBuf::from).to_vec() });
    }

    /// A process that was moved out of the root of its cgroup namespace, and one beside the group
    /// that is mounted.
    #[test]
    fn a_group_that_a_mount_does_not_show_leads_out_of_no_tree() {
        let below = |root: &str, group: &str| {
            let point = "/sys/fs/cgroup/memory".into();
            Mount { root: root.into(), point, is_read_only: false, kind: "cgroup", options: "rw" }
                .below(group)
        };
        for (root, group) in [("/", "/../../x"), ("/docker/abc", "/docker/abcdef")] {
            assert_eq!(below(root, group), Path::new("/sys/fs/cgroup/memory"), "{group} below {root}");
        }
        assert_eq!(below("/..", "/../x"), Path::new("/sys/fs/cgroup/memory/x"), "the mount shows it");
    }

    /// As in a container that is given those of the machine: with `:ro` no group can be made there,
    /// and in that of the machine's root none of the container's limits would hold.
    #[test]
    fn a_tree_that_is_mounted_twice_is_used_where_it_shows_our_group_and_can_be_written() {
        let v2 = |mountinfo: &str| match decide(mountinfo, "0::/\n", |_| "memory".into()) {
            Found::V2 { bases } => bases,
            other => panic!("{other:?}"),
        };
        let own = "26 23 0:23 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n";
        for other in ["/ /host ro,nosuid", "/../.. /host rw,nosuid"] {
            let other = format!("27 23 0:23 {other} - cgroup2 cgroup2 rw\n");
            for mountinfo in [format!("{own}{other}"), format!("{other}{own}")] {
                assert_eq!(v2(&mountinfo), [Path::new("/sys/fs/cgroup")], "{mountinfo}");
            }
        }
        let read_only = own.replace("rw,nosuid", "ro,nosuid");
        let outer = "27 23 0:23 /../.. /host rw - cgroup2 cgroup2 rw";
        assert_eq!(v2(&format!("{read_only}{outer}")), [Path::new("/sys/fs/cgroup")], "rather no limits");
        let over =
            "27 26 0:23 / /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n28 23 0:23 / /rw rw - cgroup2 cgroup2 rw";
        assert_eq!(v2(&format!("{own}{over}")), [Path::new("/rw")], "the first one is hidden");
        let v1 =
            "35 31 0:32 / /m rw - cgroup cgroup rw,memory\n36 31 0:32 / /host/m ro - cgroup cgroup rw,memory";
        let controllers = vec![("memory".to_string(), PathBuf::from("/m/x"))];
        let found = decide(v1, "4:memory:/x\n", |_| String::new());
        assert_eq!(found, Found::V1 { controllers, unified: None });
    }

    /// `cgroup_disable=memory`, as on a Raspberry Pi, or a unit with `Delegate=cpu pids`.
    #[test]
    fn a_tree_without_the_memory_controller_limits_what_it_can() {
        let mountinfo = "26 23 0:23 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw";
        let with = |controllers: &str| decide(mountinfo, "0::/\n", |_| controllers.into());
        for controllers in ["cpuset cpu io pids\n", "pids\n"] {
            assert_eq!(with(controllers), Found::V2 { bases: vec!["/sys/fs/cgroup".into()] });
        }
        let why = "the cgroup v2 tree at /sys/fs/cgroup has none of the controllers memory, pids, cpu";
        let lack = Lack { missing: Missing::MemoryController(WANTED.to_vec()), why: why.into() };
        assert_eq!(with("cpuset io\n"), Found::Nothing { lack });
        let hybrid = decide(HYBRID, "4:memory:/\n1:cpu,cpuacct:/\n0::/\n", |_| "cpu pids\n".into());
        assert!(matches!(hybrid, Found::V1 { .. }), "memory is limited in its own tree: {hybrid:?}");
    }
}
