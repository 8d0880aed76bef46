//! What lies below a directory of a pod: bytes and files. The content is the pod's, so no link is followed, and a pod that makes the walk
//! impossible gains nothing by it.

use crate::linux::beneath::{Kind, Root};
use nix::libc;
use std::collections::HashSet;
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Files and directories of one tree that are counted, at most: as many as a writable layer or a volume in memory may hold. A tree with more counts
/// as larger than every limit ([`Amount::BEYOND`]).
const FILES_MAX: u64 = 1 << 18;

/// What a tree takes of the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Bytes of allocated blocks.
    pub bytes: u64,
    /// Files and directories.
    pub files: u64,
}

impl Amount {
    /// More than any limit.
    pub const BEYOND: Amount = Amount { bytes: u64::MAX, files: u64::MAX };

    pub fn plus(self, other: Amount) -> Amount {
        Amount {
            bytes: self.bytes.saturating_add(other.bytes),
            files: self.files.saturating_add(other.files),
        }
    }
}

/// Measures all that is below a directory of the kubelet's; files with several names count once. [`Amount::BEYOND`] if not all of it could be
/// counted: more than [`FILES_MAX`] files, or directories so deep that no path names them. A directory that is not there takes nothing.
pub fn amount(dir: &Path) -> Amount {
    match walk(dir, FILES_MAX) {
        (found, true) => found,
        (_, false) => Amount::BEYOND,
    }
}

/// As [`amount`], but what was counted before the walk ended.
pub fn at_least(dir: &Path) -> Amount {
    walk(dir, FILES_MAX).0
}

/// What was found, and whether that is all.
fn walk(dir: &Path, files_max: u64) -> (Amount, bool) {
    let (mut sum, mut whole, mut named) = (Amount::default(), true, HashSet::new());
    let Ok(root) = Root::open(dir) else { return (sum, true) };
    let Ok(device) = fs::metadata(dir).map(|found| found.dev()) else { return (sum, true) };
    let mut left = vec![PathBuf::from(".")];
    while let Some(at) = left.pop() {
        let directory = match root.open_beneath(&at, Kind::Directory) {
            Ok(directory) => directory,
            Err(e) => {
                whole &= e.cause.raw_os_error() != Some(libc::ENAMETOOLONG); // other errors: it went meanwhile
                continue;
            }
        };
        let Ok(entries) = fs::read_dir(format!("/proc/self/fd/{}", directory.as_raw_fd())) else { continue };
        for entry in entries.flatten() {
            if sum.files >= files_max {
                return (sum, false);
            }
            let Ok(found) = entry.metadata() else { continue };
            if found.dev() != device {
                continue; // a file system in memory is bounded by itself
            }
            sum.files += 1;
            if found.nlink() > 1 && !found.is_dir() && !named.insert((found.dev(), found.ino())) {
                continue;
            }
            sum.bytes = sum.bytes.saturating_add(found.blocks().saturating_mul(512));
            if found.is_dir() {
                left.push(at.join(entry.file_name()));
            }
        }
    }
    (sum, whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_no_count_outside_and_names_count_once() {
        let dir = tempfile::tempdir().unwrap();
        let (inside, outside) = (dir.path().join("in"), dir.path().join("out"));
        fs::create_dir_all(inside.join("deep/er")).unwrap();
        fs::create_dir_all(&outside).unwrap();
        fs::write(outside.join("large"), vec![1; 8 << 20]).unwrap();
        fs::write(inside.join("deep/er/file"), vec![1; 1 << 20]).unwrap();
        fs::hard_link(inside.join("deep/er/file"), inside.join("again")).unwrap();
        std::os::unix::fs::symlink(&outside, inside.join("link")).unwrap();
        std::os::unix::fs::symlink(".", inside.join("loop")).unwrap();
        let found = amount(&inside);
        assert!((1 << 20..2 << 20).contains(&found.bytes), "{found:?}");
        assert_eq!(found.files, 6);
        assert_eq!(amount(&dir.path().join("missing")), Amount::default());
    }

    #[test]
    fn what_cannot_be_counted_is_more_than_any_limit() {
        let dir = tempfile::tempdir().unwrap();
        (0..20).for_each(|n| fs::write(dir.path().join(n.to_string()), "x").unwrap());
        assert_eq!(walk(dir.path(), 20).0.files, 20);
        assert_eq!((walk(dir.path(), 20).1, walk(dir.path(), 19).1), (true, false));
        // Made as a process does that changes its directory: no path names the last one.
        let mut here = nix::fcntl::open(
            dir.path(),
            nix::fcntl::OFlag::O_RDONLY | nix::fcntl::OFlag::O_DIRECTORY,
            nix::sys::stat::Mode::empty(),
        )
        .unwrap();
        let name = "d".repeat(200);
        for _ in 0..25 {
            nix::sys::stat::mkdirat(&here, name.as_str(), nix::sys::stat::Mode::from_bits_truncate(0o755))
                .unwrap();
            let flags = nix::fcntl::OFlag::O_RDONLY | nix::fcntl::OFlag::O_DIRECTORY;
            here = nix::fcntl::openat(&here, name.as_str(), flags, nix::sys::stat::Mode::empty()).unwrap();
        }
        assert_eq!(amount(dir.path()), Amount::BEYOND);
        drop(here);
        let root = Root::open(dir.path()).unwrap();
        root.remove_all(Path::new(&name)).unwrap();
    }
}
