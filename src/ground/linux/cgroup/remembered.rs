//! Where a cluster's group may be, and what was changed in groups of the machine for it, remembered
//! beside its lock: the next start may come from another place in the trees, and would not find
//! there what a killed one left.

use super::delegation::Room;
use super::files::clear_all;
use super::find::Found;
use crate::mount::path_of_mountinfo;
use std::fs;
use std::io::Write;
use std::path::{Component, Path, PathBuf};
use std::time::Instant;

/// Returns every place that the group of this name may be made in.
pub(super) fn of(found: &Found, name: &str) -> Vec<PathBuf> {
    let bases: Vec<&PathBuf> = match found {
        Found::V2 { bases } => bases.iter().collect(),
        Found::V1 { controllers, unified } => {
            unified.iter().chain(controllers.iter().map(|(_, b)| b)).collect()
        }
        Found::Nothing { .. } => vec![],
    };
    bases.into_iter().map(|base| base.join(name)).collect()
}

/// Writes the places down, and those of earlier starts that are still there, with what they
/// changed. Where that cannot be done the group is found as long as Ropewalk starts from the same
/// place.
pub(super) fn write(file: &Path, name: &str, found: &Found) {
    let mut places = of(found, name);
    places.extend(read(file, name).into_iter().filter(|place| place.is_dir()));
    places.sort();
    places.dedup();
    write_all(file, &places, &rooms(file, name));
}

/// Replaces the file as a whole. On a full disk, or where this process is killed meanwhile, what
/// was written down before stays.
fn write_all(file: &Path, places: &[PathBuf], rooms: &[Room]) {
    let places = places.iter().map(|place| format!("{}\n", place.display()));
    let text: String = places.chain(rooms.iter().map(Room::line)).collect();
    let fresh = file.with_extension("new");
    if fs::write(&fresh, text).and_then(|()| fs::rename(&fresh, file)).is_err() {
        let _ = fs::remove_file(&fresh); // it may not be there
    }
}

/// Removes the group from every place that is written down, and takes back what was changed for it.
pub(super) fn clear(file: &Path, name: &str, until: Instant) {
    clear_all(&read(file, name), until);
    take_back(file, name);
}

/// Writes down what is about to be changed in a group of the machine.
pub(super) fn add_room(file: &Path, room: &Room) {
    if !room.is_empty() {
        let opened = fs::File::options().append(true).create(true).open(file);
        let _ = opened.and_then(|mut file| file.write_all(room.line().as_bytes()));
    }
}

/// Takes back what was changed for the group, which is gone, and forgets it. What another group
/// uses stays, here too: the next start or its end tries again.
pub(super) fn take_back(file: &Path, name: &str) {
    let (places, rooms) = (read(file, name), rooms(file, name));
    let left: Vec<Room> = rooms.iter().filter(|room| !room.take_back()).cloned().collect();
    if left.len() < rooms.len() {
        write_all(file, &places, &left);
    }
}

/// Reads the places of this cluster's group from the file. A line that names another group is
/// skipped: a user who can write the file must not have that group removed.
fn read(file: &Path, name: &str) -> Vec<PathBuf> {
    let mounts = crate::read_text("/proc/self/mountinfo").unwrap_or_default();
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().filter_map(|line| ours(line, name, &mounts)).collect()
}

/// Reads what was changed, once for each group. Only groups that this cluster's group may be made
/// in.
fn rooms(file: &Path, name: &str) -> Vec<Room> {
    let mounts = crate::read_text("/proc/self/mountinfo").unwrap_or_default();
    let text = fs::read_to_string(file).unwrap_or_default();
    rooms_of(&text, name, &mounts)
}

fn rooms_of(text: &str, name: &str, mountinfo: &str) -> Vec<Room> {
    let is_ours = |room: &Room| {
        let group = room.base().join(name);
        group.to_str().is_some_and(|group| ours(group, name, mountinfo).is_some())
    };
    let mut rooms: Vec<Room> = Vec::new();
    for room in text.lines().filter_map(Room::parse).filter(is_ours) {
        if !rooms.contains(&room) {
            rooms.push(room);
        }
    }
    rooms
}

fn ours(line: &str, name: &str, mountinfo: &str) -> Option<PathBuf> {
    let place = Path::new(line);
    let plain = place.components().all(|c| matches!(c, Component::RootDir | Component::Normal(_)));
    let below_a_tree = mountinfo.lines().any(|mount| {
        let point = path_of_mountinfo(mount.split(' ').nth(4).unwrap_or_default());
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

    #[test]
    fn what_was_changed_is_remembered_for_groups_of_this_cluster() {
        let mounts = "26 23 0:23 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw";
        let text = "/sys/fs/cgroup/user.slice/ropewalk-12345678
+cpu /sys/fs/cgroup/user.slice
+cpu /sys/fs/cgroup/user.slice
+memory +pids /sys/fs/cgroup
+cpu /sys/fs/cgroup/../../../tmp
+cpu /tmp\n";
        let rooms = rooms_of(text, "ropewalk-12345678", mounts);
        let lines: String = rooms.iter().map(Room::line).collect();
        assert_eq!(lines, "+cpu /sys/fs/cgroup/user.slice\n+memory +pids /sys/fs/cgroup\n");
    }

    #[test]
    fn what_is_written_down_stays_where_the_new_text_cannot_be_written() {
        let dir = tempfile::tempdir().unwrap();
        let (file, fresh) = (dir.path().join("cgroups"), dir.path().join("cgroups.new"));
        let room = Room::parse("+cpu /sys/fs/cgroup/a").unwrap();
        write_all(&file, &[], std::slice::from_ref(&room));
        assert!(!fresh.exists());
        fs::create_dir(&fresh).unwrap(); // as a full disk
        write_all(&file, &[PathBuf::from("/sys/fs/cgroup/b")], &[]);
        assert_eq!(fs::read_to_string(&file).unwrap(), room.line());
        fs::remove_dir(&fresh).unwrap();
        write_all(&file, &[PathBuf::from("/sys/fs/cgroup/b")], &[]);
        assert_eq!(fs::read_to_string(&file).unwrap(), "/sys/fs/cgroup/b\n");
    }

    #[test]
    fn what_was_taken_back_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("cgroups");
        let tree = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(Path::new);
        let Some(tree) = tree.into_iter().find(|tree| tree.join("cgroup.procs").exists()) else { return };
        let base = tree.join("ropewalk-no-such-group"); // its controllers are off
        let room = Room::parse(&format!("+cpu {}\n", base.display())).unwrap();
        add_room(&file, &room);
        assert_eq!(fs::read_to_string(&file).unwrap(), room.line());
        take_back(&file, "ropewalk-12345678");
        assert_eq!(fs::read_to_string(&file).unwrap(), "");
    }
}
