//! Wiping a cluster's files. An ordinary user's pods may have written some as users of their own
//! (subordinate ids), which only the root of a user namespace with the same ids may delete. What
//! pods wrote may be of any depth, so it is removed as [`::linux::tree`] does.

use super::home::Place;
use ::linux::beneath::Root;
use ::linux::lock::Lock;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The hidden argument with which the binary deletes a directory from inside a user namespace; the
/// path follows.
pub const WIPE_ARGUMENT: &str = "ropewalk-wipe";

/// Directories of one cluster that are being removed, at most: each `reset` that is interrupted
/// leaves one.
const GONE_MAX: usize = 64;

/// Removes a cluster that does not run. Its directory is moved aside in one step first: a removal
/// that is interrupted leaves all of the cluster, or nothing that a start would take for one.
/// `held` is the cluster's lock. If the directory is a symbolic link only the link goes, because
/// other files may lie where it leads: that path is returned.
///
/// # Errors
/// The directory cannot be moved, and all of it is there; or it cannot be removed, and the next
/// removal goes on.
pub fn cluster(place: &Place, held: &Lock) -> io::Result<Option<PathBuf>> {
    let is_link = place.root.symlink_metadata().is_ok_and(|root| root.is_symlink());
    let kept = if is_link { std::fs::canonicalize(&place.root).ok() } else { None };
    let is_free = |path: &PathBuf| path.symlink_metadata().is_err();
    let free = || (0..GONE_MAX).map(|number| place.gone(number)).find(is_free);
    let gone = match free() {
        Some(gone) => gone,
        None => {
            leftovers(place, held)?; // makes room
            free().ok_or_else(|| io::Error::new(io::ErrorKind::StorageFull, "too much is being removed"))?
        }
    };
    match std::fs::rename(&place.root, &gone) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    leftovers(place, held)?;
    Ok(kept)
}

/// Returns whether a removal of this cluster was interrupted, or is under way.
pub fn has_leftovers(place: &Place) -> bool {
    first_leftover(place).is_some()
}

/// Returns the first directory that a removal of this cluster has left. After a removal of all of
/// them that is the one that could not be removed.
pub(crate) fn first_leftover(place: &Place) -> Option<PathBuf> {
    let mut gone = (0..GONE_MAX).map(|number| place.gone(number));
    gone.find(|path| path.symlink_metadata().is_ok())
}

/// Goes on with removals that were interrupted. `_held` is the cluster's lock.
///
/// # Errors
/// As [`wipe`], of the first directory that cannot be removed; the others are removed. What is left
/// is found by the next call.
pub(crate) fn leftovers(place: &Place, _held: &Lock) -> io::Result<()> {
    let gone = (0..GONE_MAX).map(|number| place.gone(number));
    wipe_each(gone.filter(|path| path.symlink_metadata().is_ok()), wipe)
}

/// Removes each of these directories, also after one that cannot be removed; the first error.
fn wipe_each(paths: impl Iterator<Item = PathBuf>, wipe: fn(&Path) -> io::Result<()>) -> io::Result<()> {
    paths.map(|path| wipe(&path)).fold(Ok(()), Result::and)
}

/// Removes a directory and everything in it. What this user may not delete is deleted by a second
/// process from inside a user namespace.
///
/// # Errors
/// `NotFound`: there is no such directory. `PermissionDenied`: the second process cannot delete it
/// either, and has written its reason to standard error. `ResourceBusy`: something is mounted in
/// it. What is removed by then stays removed; the caller may try again.
pub fn wipe(path: &Path) -> io::Result<()> {
    match remove(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let status = Command::new("/proc/self/exe").arg(WIPE_ARGUMENT).arg(path).status()?;
            if status.success() { Ok(()) } else { Err(error) }
        }
        done => done,
    }
}

fn remove(path: &Path) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::symlink_metadata(path)?; // a directory that is not there is the caller's to judge
    let removed = Root::open(parent).and_then(|parent| parent.remove_all(Path::new(name)));
    removed.map_err(|error| error.cause)
}

/// Removes the directory in the second process of [`wipe`]: a process of its own with a single
/// thread. Returns the exit code.
pub fn inside(path: &Path) -> i32 {
    let removed = linux::user::enter().map_err(|e| e.to_string());
    let removed = removed.and_then(|_| remove(path).map_err(|e| e.to_string()));
    match removed {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("ropewalk: {}: {error}", path.display());
            1
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Killed between the two steps of a removal: there is nothing that a start would take for a
    /// cluster, and the next removal goes on.
    #[test]
    fn a_removal_that_was_interrupted_leaves_no_half_of_a_cluster() {
        use crate::launch::{clear_up, hold};
        use crate::{Home, Spec};
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        let place = home.cluster("t").unwrap();
        place.make().unwrap();
        Spec::new("t").save(&place).unwrap();
        let held = hold(&place).unwrap().expect("it does not run");
        std::fs::rename(&place.root, place.gone(0)).unwrap();
        assert_eq!((home.clusters(), Spec::load(&place).unwrap()), (vec![], None));
        assert!(has_leftovers(&place));
        assert_eq!(first_leftover(&place), Some(place.gone(0)));
        std::fs::rename(place.gone(0), place.gone(3)).unwrap();
        assert_eq!(first_leftover(&place), Some(place.gone(3)), "an error names what is there");
        // Another cluster of the name was made and is removed, too.
        place.make().unwrap();
        assert_eq!(home.clusters(), ["t"]);
        cluster(&place, &held).unwrap();
        assert!(!has_leftovers(&place) && !place.root.exists());
        cluster(&place, &held).unwrap();
        // Meanwhile no other process can start or remove it.
        let refused = Lock::take(&place.lock(), std::time::Duration::ZERO).map(drop).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        drop(held);
        assert!(clear_up(&place).unwrap());
    }

    #[test]
    fn as_many_interrupted_removals_as_there_may_be_do_not_end_removals() {
        use crate::Home;
        use crate::launch::hold;
        let dir = tempfile::tempdir().unwrap();
        let place = Home::at(dir.path()).cluster("t").unwrap();
        place.make().unwrap();
        let held = hold(&place).unwrap().expect("it does not run");
        (0..GONE_MAX).for_each(|number| std::fs::create_dir(place.gone(number)).unwrap());
        cluster(&place, &held).unwrap();
        assert!(!place.root.exists() && !has_leftovers(&place));
    }

    /// As one in which something is mounted.
    #[test]
    fn a_directory_that_cannot_be_removed_keeps_no_other_one() {
        let dir = tempfile::tempdir().unwrap();
        let paths = ["a", "busy", "c", "denied", "e"].map(|name| dir.path().join(name));
        paths.iter().for_each(|path| std::fs::create_dir(path).unwrap());
        let done = wipe_each(paths.into_iter(), |path| match path.file_name().and_then(|n| n.to_str()) {
            Some("busy") => Err(io::ErrorKind::ResourceBusy.into()),
            Some("denied") => Err(io::ErrorKind::PermissionDenied.into()),
            _ => wipe(path),
        });
        assert_eq!(done.unwrap_err().kind(), io::ErrorKind::ResourceBusy, "the first one");
        let mut left: Vec<_> =
            std::fs::read_dir(dir.path()).unwrap().flatten().map(|e| e.file_name()).collect();
        left.sort();
        assert_eq!(left, ["busy", "denied"]);
    }

    #[test]
    fn a_directory_behind_a_link_is_left_and_named() {
        use crate::Home;
        use crate::launch::hold;
        let dir = tempfile::tempdir().unwrap();
        let (home, disk) = (Home::at(dir.path().join("home")), dir.path().join("disk"));
        let place = home.cluster("t").unwrap();
        std::fs::create_dir_all(place.root.parent().unwrap()).unwrap();
        std::fs::create_dir(&disk).unwrap();
        std::os::unix::fs::symlink(&disk, &place.root).unwrap();
        place.make().unwrap();
        let held = hold(&place).unwrap().expect("it does not run");
        assert_eq!(cluster(&place, &held).unwrap(), Some(disk.canonicalize().unwrap()));
        assert!(place.root.symlink_metadata().is_err() && disk.join("pki").exists());
        place.make().unwrap();
        assert_eq!(cluster(&place, &held).unwrap(), None);
        assert!(!place.root.exists());
    }

    /// A path of such a depth has no name, and a removal that calls itself for each level runs out
    /// of descriptors, or of its stack.
    #[test]
    fn a_pods_deep_directories_do_not_keep_a_cluster_from_being_removed() {
        use nix::fcntl::{OFlag, open, openat};
        use nix::sys::stat::{Mode, mkdirat};
        let dir = tempfile::tempdir().unwrap();
        let cluster = dir.path().join("cluster");
        std::fs::create_dir(&cluster).unwrap();
        std::fs::write(dir.path().join("kept"), "").unwrap();
        std::os::unix::fs::symlink(dir.path(), cluster.join("link")).unwrap();
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        let mut here = open(&cluster, flags, Mode::empty()).unwrap();
        for _ in 0..20_000 {
            mkdirat(&here, "d", Mode::from_bits_truncate(0o755)).unwrap();
            here = openat(&here, "d", flags, Mode::empty()).unwrap();
        }
        drop(here);
        wipe(&cluster).unwrap();
        let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().flatten().map(|e| e.file_name()).collect();
        assert_eq!(left, ["kept"]);
        assert_eq!(wipe(&cluster).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
