//! Trees of files that a pod made: measuring and removing them, with bounds on memory, descriptors,
//! depth and time whatever is in them.
//!
//! Both go from directory to directory by descriptors, one name at a time ([`super::beneath`]): no
//! path is too long for them, no link is followed, and a directory that is renamed meanwhile leads
//! nowhere else. What is mounted in a tree is not entered. Containers have mount namespaces of
//! their own, from which nothing propagates, so only Ropewalk itself can have mounted it. Device
//! numbers say less: the files of one overlay have several, and on btrfs any user may make a
//! directory with a number of its own (a subvolume).

mod remove;

pub use remove::Removal;

use super::beneath::{self, Root, path_of};
use super::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::fstatat;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::ReadDir;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

/// Directories below each other that [`measure`] enters. It holds two descriptors and a buffer of
/// 32 KiB for each.
pub const LEVELS_MAX: usize = 100;
/// Files with several names that [`measure`] remembers. Further ones count once for each name.
const LINKS_MAX: usize = 1 << 16;

/// Where [`measure`] stops.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Names of files and directories: a file with several names counts once for each, else a tree
    /// of links would have no bound.
    pub names: u64,
    /// The moment at which it gives up, however much is left.
    pub until: Instant,
}

/// What [`measure`] counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Bytes of allocated blocks.
    pub bytes: u64,
    /// Files and directories, which is what a file system calls inodes. A file with several names
    /// counts once.
    pub files: u64,
    /// Not all was counted: there are more names than the bounds allow, more than [`LEVELS_MAX`]
    /// levels, a directory that may not be read, or it takes too long.
    pub cut: bool,
}

/// A directory that is being read.
struct Level {
    directory: OwnedFd,
    entries: ReadDir,
}

impl Level {
    fn open(parent: &impl AsFd, name: &OsStr) -> nix::Result<Level> {
        let directory = beneath::directory(parent, name)?;
        let entries = std::fs::read_dir(path_of(directory.as_fd()));
        let entries = entries.map_err(|e| e.raw_os_error().map_or(Errno::EIO, Errno::from_raw))?;
        Ok(Level { directory, entries })
    }
}

/// Measures all that is below a directory, depth first. A file with several names counts once.
///
/// # Errors
/// `EMFILE`, `ENFILE`, `ENOMEM`: this process or the machine lacks descriptors or memory, which
/// says nothing about the tree. Any error of the first directory.
pub fn measure(root: &Root, bounds: &Bounds) -> Result<Found> {
    walk(root, bounds).during(|| "cannot measure a directory".into())
}

fn walk(root: &Root, bounds: &Bounds) -> nix::Result<Found> {
    let mut found = Found::default();
    let mut names = 0;
    let mut named: HashSet<(u64, u64)> = HashSet::new();
    let mut levels = vec![Level::open(root, OsStr::new("."))?];
    while let Some(level) = levels.last_mut() {
        let Some(entry) = level.entries.next() else {
            levels.pop();
            continue;
        };
        if names >= bounds.names || Instant::now() >= bounds.until {
            found.cut = true;
            return Ok(found);
        }
        let Ok(entry) = entry else {
            found.cut = true;
            continue;
        };
        let name = entry.file_name();
        let Ok(stat) = fstatat(&level.directory, name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW) else {
            continue; // it went meanwhile
        };
        names += 1;
        let is_dir = stat.st_mode & libc::S_IFMT == libc::S_IFDIR;
        if !is_dir && stat.st_nlink > 1 {
            let id = (stat.st_dev, stat.st_ino);
            if named.contains(&id) {
                continue;
            }
            if named.len() < LINKS_MAX {
                named.insert(id);
            }
        }
        found.files += 1;
        found.bytes = found.bytes.saturating_add((stat.st_blocks.max(0) as u64).saturating_mul(512));
        if !is_dir {
            continue;
        }
        if levels.len() >= LEVELS_MAX {
            found.cut = true;
            continue;
        }
        let parent = &levels[levels.len() - 1].directory;
        match Level::open(parent, &name) {
            Ok(next) => levels.push(next),
            Err(lack @ (Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM)) => return Err(lack),
            // A mount, or it went meanwhile, or something else has its name now.
            Err(Errno::EXDEV | Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => {}
            Err(_) => found.cut = true,
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::OFlag;
    use nix::sys::stat::Mode;
    use std::fs;
    use std::path::Path;
    use std::time::Duration;

    fn bounds(names: u64) -> Bounds {
        Bounds { names, until: Instant::now() + Duration::from_secs(600) }
    }

    pub(super) fn measured(dir: &Path, names: u64) -> Found {
        measure(&Root::open(dir).unwrap(), &bounds(names)).unwrap()
    }

    /// Makes directories below each other, as a process does that changes its directory: no path
    /// names the last one.
    pub(super) fn deep(dir: &Path, name: &str, levels: usize) -> OwnedFd {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        let mut here = nix::fcntl::open(dir, flags, Mode::empty()).unwrap();
        for _ in 0..levels {
            nix::sys::stat::mkdirat(&here, name, Mode::from_bits_truncate(0o755)).unwrap();
            here = nix::fcntl::openat(&here, name, flags, Mode::empty()).unwrap();
        }
        here
    }

    /// The removal of a tree gives back as many inodes as were counted.
    #[test]
    fn a_file_with_several_names_counts_once_and_each_name_for_the_bound() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "x").unwrap();
        (0..20).for_each(|n| fs::hard_link(dir.path().join("file"), dir.path().join(n.to_string())).unwrap());
        let found = |names: u64| (measured(dir.path(), names).files, measured(dir.path(), names).cut);
        assert_eq!(found(21), (1, false));
        assert_eq!(found(20), (1, true));
    }

    #[test]
    fn a_walk_has_bounds_on_depth_files_and_time() {
        let dir = tempfile::tempdir().unwrap();
        (0..20).for_each(|n| fs::write(dir.path().join(n.to_string()), "x").unwrap());
        assert_eq!((measured(dir.path(), 21).files, measured(dir.path(), 21).cut), (20, false));
        assert_eq!((measured(dir.path(), 19).files, measured(dir.path(), 19).cut), (19, true));
        let over = Bounds { names: 100, until: Instant::now() };
        assert!(measure(&Root::open(dir.path()).unwrap(), &over).unwrap().cut);

        // Longer than PATH_MAX, and not too deep: all of it counts.
        let (name, long) = ("d".repeat(200), dir.path().join("long"));
        fs::create_dir(&long).unwrap();
        drop(deep(&long, &name, LEVELS_MAX - 1));
        assert_eq!((measured(&long, 1000).files, measured(&long, 1000).cut), (LEVELS_MAX as u64 - 1, false));
        let too_deep = dir.path().join("deep");
        fs::create_dir(&too_deep).unwrap();
        drop(deep(&too_deep, &name, LEVELS_MAX + 1));
        fs::write(too_deep.join("beside"), vec![1; 1 << 20]).unwrap();
        let found = measured(&too_deep, 1000);
        assert!(found.cut && found.bytes >= 1 << 20, "the rest counts: {found:?}");
    }
}
