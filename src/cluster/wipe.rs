//! Wiping a cluster's files. An ordinary user's pods may have written some as users of their own (subordinate ids), which only the root of
//! a user namespace with the same ids may delete. What pods wrote may be of any depth, so it is removed as [`crate::linux::tree`] does.

use crate::linux;
use crate::linux::beneath::Root;
use std::io;
use std::path::Path;
use std::process::Command;

/// The hidden argument with which the binary deletes a directory from inside a user namespace; the path follows.
pub const WIPE_ARGUMENT: &str = "ropewalk-wipe";

/// Removes a directory and everything in it.
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

/// The other side: a process of its own with a single thread. Returns the exit code.
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

    /// A path of such a depth has no name, and a removal that calls itself for each level runs out of descriptors, or of its stack.
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
