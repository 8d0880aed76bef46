//! Where a cluster's group may be, remembered beside its lock: the next start may come from another
//! place in the trees, and would not find there what a killed one left.

use super::{Found, clear_all};
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::time::Instant;

/// Every place that the group of this name may be made in.
pub fn of(found: &Found, name: &str) -> Vec<PathBuf> {
    let bases: Vec<&PathBuf> = match found {
        Found::V2 { bases } => bases.iter().collect(),
        Found::V1 { controllers, unified } => {
            unified.iter().chain(controllers.iter().map(|(_, b)| b)).collect()
        }
        Found::Nothing { .. } => vec![],
    };
    bases.into_iter().map(|base| base.join(name)).collect()
}

/// Writes the places down, and those of earlier starts that are still there. Where that cannot be
/// done the group is found as long as nobody moves.
pub fn write(file: &Path, name: &str, found: &Found) {
    let mut places = of(found, name);
    places.extend(read(file, name).into_iter().filter(|place| place.is_dir()));
    places.sort();
    places.dedup();
    let lines: String = places.iter().map(|place| format!("{}\n", place.display())).collect();
    let _ = fs::write(file, lines);
}

/// Removes the group from every place that is written down.
pub fn clear(file: &Path, name: &str, until: Instant) {
    clear_all(&read(file, name), until);
}

/// Only what can be a group of this cluster: whoever writes to the file chooses no other.
fn read(file: &Path, name: &str) -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    fs::read_to_string(file)
        .unwrap_or_default()
        .lines()
        .filter_map(|line| ours(line, name, &mounts))
        .collect()
}

fn ours(line: &str, name: &str, mountinfo: &str) -> Option<PathBuf> {
    let place = Path::new(line);
    let plain = place.components().all(|c| matches!(c, Component::RootDir | Component::Normal(_)));
    let below_a_tree = mountinfo.lines().any(|mount| {
        let point = mount.split(' ').nth(4).unwrap_or_default();
        let kind = mount.split_once(" - ").and_then(|(_, right)| right.split(' ').next());
        matches!(kind, Some("cgroup" | "cgroup2")) && place.starts_with(point)
    });
    (plain && below_a_tree && place.file_name()? == name).then(|| place.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_a_group_of_this_cluster_is_believed() {
        let mounts =
            "26 23 0:23 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n27 23 0:24 / /tmp rw - tmpfs tmpfs rw";
        let believed = |line: &str| ours(line, "ropewalk-12345678", mounts).is_some();
        assert!(believed("/sys/fs/cgroup/user.slice/ropewalk-12345678"));
        assert!(!believed("/tmp/ropewalk-12345678") && !believed("/sys/fs/cgroup/ropewalk-87654321"));
        assert!(!believed("/sys/fs/cgroup/../../../tmp/ropewalk-12345678") && !believed("ropewalk-12345678"));
    }
}
