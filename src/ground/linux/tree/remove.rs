//! Removing a tree of files. Very deep directories are moved up, so that few are open at a time. No
//! directory can be moved out of a subvolume of btrfs, nor on XFS out of a project, so the removal
//! does not depend on moves.

use crate::beneath::{self, Root, Scope};
use crate::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::UnlinkatFlags;
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Instant;

/// Directories that [`remove`] holds open at a time; deeper ones are first moved up, or are removed
/// with two descriptors ([`remove_deep`]), so a pod cannot exhaust descriptors or the stack.
const DEPTH_MAX: usize = 32;
/// Directories that [`remove_deep`] remembers on its way down: 16 bytes each.
const ABOVE_MAX: usize = 1 << 20;
/// How many directories more [`remove_deep`] may enter than it removes files and directories. Only
/// a process that lives on and makes new directories can reach this.
const AHEAD_MAX: u64 = 1 << 26;
/// Names that [`remove`] reads from one directory at a time.
const NAMES_MAX: usize = 1024;
/// How often [`remove`] reads one directory, which it makes smaller each time, before it gives up:
/// a process that lives on fills it faster than it is emptied. No tree that is left alone meets
/// this bound, however large it is: a directory would need a billion names. The next removal goes
/// on where this one stopped.
const PASSES_MAX: u64 = 1 << 20;

/// Renames a name of one directory to a name in another one.
type Rename = fn(&OwnedFd, &OsStr, &OwnedFd, &str) -> nix::Result<()>;

/// Removes an empty directory.
type Rmdir = fn(&OwnedFd, &OsStr) -> nix::Result<()>;

/// What the removal of one tree has done so far, in however many parts.
#[derive(Debug)]
pub struct Removal {
    moved: u64,
    /// [`PASSES_MAX`] but in tests.
    passes_max: u64,
    /// [`ABOVE_MAX`] but in tests.
    above_max: usize,
    /// renameat(2) but in tests.
    rename: Rename,
    /// unlinkat(2) but in tests.
    rmdir: Rmdir,
    /// When this part is over.
    until: Option<Instant>,
}

impl Default for Removal {
    fn default() -> Removal {
        let rename: Rename = |from, name, to, new| nix::fcntl::renameat(from, name, to, new);
        let rmdir: Rmdir = |from, name| nix::unistd::unlinkat(from, name, UnlinkatFlags::RemoveDir);
        Removal { moved: 0, passes_max: PASSES_MAX, above_max: ABOVE_MAX, rename, rmdir, until: None }
    }
}

impl Removal {
    fn for_part(&mut self, until: Instant) -> &mut Removal {
        self.until = Some(until);
        self
    }

    /// `ETIME`: this part is over.
    fn in_time(&self) -> nix::Result<()> {
        if self.until.is_some_and(|until| Instant::now() >= until) { Err(Errno::ETIME) } else { Ok(()) }
    }
}

/// Removing from a trusted directory what an untrusted path names.
impl Root {
    /// Removes a file or a directory with all that is in it. Links are removed, never followed;
    /// mounts are not entered. Nothing there is no error.
    ///
    /// # Errors
    /// `EINVAL`: the path names the root itself. `EXDEV`: it leads out, or a directory is mounted
    /// in it. `EBUSY`: a file is mounted in it.
    pub fn remove_all(&self, untrusted: &Path) -> Result<()> {
        remove_of(self, untrusted, &mut Removal::default()).during(|| cannot(untrusted))
    }

    /// As [`Root::remove_all`], until this time at most. `false`: something is left; the next call
    /// with the same [`Removal`] goes on.
    ///
    /// # Errors
    /// As [`Root::remove_all`].
    pub fn remove_some(&self, untrusted: &Path, removal: &mut Removal, until: Instant) -> Result<bool> {
        match remove_of(self, untrusted, removal.for_part(until)) {
            Ok(()) => Ok(true),
            Err(Errno::ETIME) => Ok(false),
            Err(e) => Err(e).during(|| cannot(untrusted)),
        }
    }
}

fn cannot(path: &Path) -> String {
    format!("cannot remove {}", path.display())
}

fn remove_of(root: &Root, path: &Path, removal: &mut Removal) -> nix::Result<()> {
    let parent = root.parent(Scope::Beneath, path);
    match parent.and_then(|(parent, name)| remove(&parent.into(), name, removal)) {
        Err(Errno::ENOENT) => Ok(()),
        other => other,
    }
}

/// Removes what has this name, with all that is in it. A removal that was ended in between is
/// finished by the next one. `ETIME`: this part of it is over.
fn remove(parent: &OwnedFd, name: &OsStr, work: &mut Removal) -> nix::Result<()> {
    work.in_time()?;
    match nix::unistd::unlinkat(parent, name, UnlinkatFlags::NoRemoveDir) {
        Err(Errno::EISDIR | Errno::EPERM) => {}
        other => return other,
    }
    let directory = beneath::directory(parent, name)?;
    empty(&directory, &directory, 1, work)?;
    nix::unistd::unlinkat(parent, name, UnlinkatFlags::RemoveDir)
}

/// Removes everything in `here`, which lies `depth` levels below `top`. Directories that lie too
/// deep are moved up into `top`, which therefore takes several passes. Those that cannot be moved
/// are removed where they are.
///
/// `EBUSY`: see [`PASSES_MAX`]. `ENOENT`: `here` is gone; what goes away in it is none.
fn empty(top: &OwnedFd, here: &OwnedFd, depth: usize, work: &mut Removal) -> nix::Result<()> {
    for _ in 0..work.passes_max {
        work.in_time()?;
        let names = beneath::names(here, NAMES_MAX)?;
        if names.is_empty() {
            return Ok(());
        }
        for name in &names {
            work.in_time()?;
            match nix::unistd::unlinkat(here, name.as_os_str(), UnlinkatFlags::NoRemoveDir) {
                Ok(()) | Err(Errno::ENOENT) => continue,
                Err(Errno::EISDIR | Errno::EPERM) => {}
                Err(e) => return Err(e),
            }
            if depth >= DEPTH_MAX {
                let moved = match move_up(top, here, name, work) {
                    // Of another subvolume or project; no room for a name in `top`.
                    Err(Errno::EXDEV | Errno::ENOSPC | Errno::EDQUOT | Errno::EMLINK) => {
                        remove_deep(here, name, work)
                    }
                    other => other,
                };
                gone_is_well(moved)?;
                continue;
            }
            let emptied =
                beneath::directory(here, name).and_then(|child| empty(top, &child, depth + 1, work));
            gone_is_well(emptied)?;
            match (work.rmdir)(here, name) {
                Err(Errno::ENOTEMPTY | Errno::EEXIST) => {} // filled meanwhile: the next pass empties it
                removed => gone_is_well(removed)?,
            }
        }
    }
    Err(Errno::EBUSY)
}

/// What another process removed or moved meanwhile need not be removed; the next pass finds what is
/// left.
fn gone_is_well(done: nix::Result<()>) -> nix::Result<()> {
    if done == Err(Errno::ENOENT) { Ok(()) } else { done }
}

/// Moves a directory into `top`, under a name that is free: one that was moved before an earlier
/// removal was ended, or that the pod made, may have any name.
fn move_up(top: &OwnedFd, here: &OwnedFd, name: &OsStr, work: &mut Removal) -> nix::Result<()> {
    loop {
        work.moved += 1;
        let new = format!(".removed-{}", work.moved);
        match (work.rename)(here, name, top, new.as_str()) {
            Err(Errno::ENOTEMPTY | Errno::EEXIST | Errno::ENOTDIR) => work.in_time()?, // there are so many names at most
            other => return other,
        }
    }
}

/// Device and inode of a directory.
type Id = (u64, u64);

fn id_of(directory: &OwnedFd) -> nix::Result<Id> {
    let stat = nix::sys::stat::fstat(directory)?;
    Ok((stat.st_dev, stat.st_ino))
}

/// Removes a directory with all that is in it, however deep it is, and moves nothing. It holds two
/// descriptors at a time and goes up by `..`. A directory that a process moved meanwhile has
/// another one above it than on the way down; then it stops, so nothing outside is removed.
///
/// It may leave a part of a very deep tree ([`ABOVE_MAX`]), or of one that is being changed: the
/// next pass over `here` goes on.
fn remove_deep(here: &OwnedFd, name: &OsStr, work: &Removal) -> nix::Result<()> {
    let mut above: VecDeque<Id> = VecDeque::new();
    let mut at = beneath::directory(here, name)?;
    let mut ahead = 1;
    loop {
        if let Some(child) = first_full(&at, work, &mut ahead)? {
            if ahead >= AHEAD_MAX {
                return Err(Errno::EBUSY);
            }
            ahead += 1;
            if above.len() >= work.above_max {
                above.pop_front();
            }
            above.push_back(id_of(&at)?);
            at = beneath::directory(&at, &child)?;
            continue;
        }
        let Some(before) = above.pop_back() else { break };
        match go_up(&at, before)? {
            Some(parent) => at = parent,
            None => return Ok(()),
        }
    }
    match nix::unistd::unlinkat(here, name, UnlinkatFlags::RemoveDir) {
        Err(Errno::ENOENT | Errno::ENOTEMPTY | Errno::EEXIST) => Ok(()),
        other => other,
    }
}

/// Opens the directory above, if it is the one that was there before.
fn go_up(at: &OwnedFd, before: Id) -> nix::Result<Option<OwnedFd>> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let parent = nix::fcntl::openat(at, Path::new(".."), flags, Mode::empty())?;
    Ok((id_of(&parent)? == before).then_some(parent))
}

/// Removes the files and the empty directories in a directory. Returns a directory that is not
/// empty, or `None` if nothing is left.
///
/// `ahead` is how many directories more were entered than things were removed. While it is above 0
/// the time is not asked: every part of a removal has to enter all directories again, and one that
/// ended on the way down would never come further.
fn first_full(at: &OwnedFd, work: &Removal, ahead: &mut u64) -> nix::Result<Option<OsString>> {
    for _ in 0..work.passes_max {
        let names = beneath::names(at, NAMES_MAX)?;
        if names.is_empty() {
            return Ok(None);
        }
        for name in names {
            if *ahead == 0 {
                work.in_time()?;
            }
            match unlink(at, &name) {
                Ok(()) | Err(Errno::ENOENT) => *ahead = ahead.saturating_sub(1),
                Err(Errno::ENOTEMPTY | Errno::EEXIST) => return Ok(Some(name)),
                Err(e) => return Err(e),
            }
        }
    }
    Err(Errno::EBUSY)
}

/// Removes a file or an empty directory.
fn unlink(at: &OwnedFd, name: &OsStr) -> nix::Result<()> {
    match nix::unistd::unlinkat(at, name, UnlinkatFlags::NoRemoveDir) {
        Err(Errno::EISDIR | Errno::EPERM) => nix::unistd::unlinkat(at, name, UnlinkatFlags::RemoveDir),
        other => other,
    }
}
#[cfg(test)]
mod tests {
    use super::super::tests::{deep, measured};
    use super::*;
    use crate::beneath::path_of;
    use std::fs;
    use std::os::fd::AsFd;
    use std::time::Duration;

    #[test]
    fn a_removal_goes_on_where_its_time_was_over() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("top");
        for n in 0..50 {
            fs::create_dir_all(top.join(format!("d{n}"))).unwrap();
            (0..20).for_each(|f| fs::write(top.join(format!("d{n}/f{f}")), "").unwrap());
        }
        let (root, mut removal) = (Root::open(dir.path()).unwrap(), Removal::default());
        let mut remove =
            |time: Duration| root.remove_some(Path::new("top"), &mut removal, Instant::now() + time);
        assert!(!remove(Duration::ZERO).unwrap());
        assert_eq!(measured(&top, 2000).files, 50 * 21, "no time, nothing is removed");
        let (mut parts, mut left) = (0, 50 * 21);
        while !remove(Duration::from_micros(100)).unwrap() {
            let now = measured(&top, 2000).files;
            assert!(now <= left);
            (parts, left) = (parts + 1, now);
            assert!(parts < 10_000, "it never ends");
        }
        assert!(!top.exists() && parts > 0, "{parts}");
        assert!(remove(Duration::from_secs(60)).unwrap(), "nothing there is no error");
    }

    #[test]
    fn a_removal_has_a_bound_for_each_directory_and_none_for_the_whole_tree() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("top");
        (0..50).for_each(|n| fs::create_dir_all(top.join(format!("d{n}/e/f"))).unwrap());
        let (root, soon) = (Root::open(dir.path()).unwrap(), Instant::now() + Duration::from_secs(600));
        let with = |passes_max: u64| Removal { passes_max, ..Removal::default() };
        let refused = root.remove_some(Path::new("top"), &mut with(1), soon).unwrap_err();
        assert_eq!(refused.cause.raw_os_error(), Some(libc::EBUSY), "it is never found empty");
        assert!(root.remove_some(Path::new("top"), &mut with(2), soon).unwrap());
        assert!(!top.exists());
    }

    #[test]
    fn removal_ends_whatever_names_a_pod_gave_and_an_earlier_removal_left() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("top");
        // Names that directories get which are moved up.
        for n in 1..20 {
            fs::create_dir_all(top.join(format!(".removed-{n}/full"))).unwrap();
            fs::create_dir_all(top.join(format!(".removed-{}-{n}/full", std::process::id()))).unwrap();
        }
        fs::write(top.join(".removed-20"), "").unwrap();
        std::os::unix::fs::symlink("..", top.join(".removed-21")).unwrap();
        let inside = top.join("a");
        fs::create_dir(&inside).unwrap();
        drop(deep(&inside, &"d".repeat(200), 10 * DEPTH_MAX));
        fs::write(dir.path().join("kept"), "").unwrap();
        let root = Root::open(dir.path()).unwrap();
        root.remove_all(Path::new("top")).unwrap();
        let left: Vec<_> = fs::read_dir(dir.path()).unwrap().flatten().map(|e| e.file_name()).collect();
        assert_eq!(left, ["kept"]);
    }

    /// A directory `top` with directories deep in it, and full ones beside them on every level.
    fn deep_and_wide(dir: &Path, levels: usize) {
        let top = dir.join("top");
        fs::create_dir(&top).unwrap();
        let mut here = deep(&top, "d", 1);
        for level in 0..levels {
            let path = path_of(here.as_fd());
            fs::create_dir_all(path.join("beside/empty")).unwrap();
            fs::write(path.join("beside/file"), "").unwrap();
            fs::write(path.join(format!("f{level}")), "").unwrap();
            here = deep(&path, "d", 1);
        }
    }

    /// As on btrfs in a subvolume, on XFS in a project, and on a full disk.
    #[test]
    fn deep_directories_that_cannot_be_moved_are_removed_where_they_are() {
        let refusals: [(Rename, usize); 5] = [
            (|_, _, _, _| Err(Errno::EXDEV), ABOVE_MAX),
            (|_, _, _, _| Err(Errno::EXDEV), 7),
            (|_, _, _, _| Err(Errno::ENOSPC), ABOVE_MAX),
            (|_, _, _, _| Err(Errno::EDQUOT), ABOVE_MAX),
            (|_, _, _, _| Err(Errno::EMLINK), ABOVE_MAX),
        ];
        let soon = Instant::now() + Duration::from_secs(600);
        for (rename, above_max) in refusals {
            let dir = tempfile::tempdir().unwrap();
            deep_and_wide(dir.path(), DEPTH_MAX + 16);
            let mut work = Removal { rename, above_max, ..Removal::default() };
            let root = Root::open(dir.path()).unwrap();
            assert!(root.remove_some(Path::new("top"), &mut work, soon).unwrap());
            assert!(!dir.path().join("top").exists());
        }
        let dir = tempfile::tempdir().unwrap();
        deep_and_wide(dir.path(), DEPTH_MAX);
        let mut work = Removal { rename: |_, _, _, _| Err(Errno::EIO), ..Removal::default() };
        let root = Root::open(dir.path()).unwrap();
        let told = root.remove_some(Path::new("top"), &mut work, soon).unwrap_err();
        assert_eq!(told.cause.raw_os_error(), Some(libc::EIO), "any other error is told");
    }

    /// As if a process had moved the directory in between.
    #[test]
    fn what_goes_away_during_a_removal_does_not_end_it() {
        let dir = tempfile::tempdir().unwrap();
        deep_and_wide(dir.path(), 3 * DEPTH_MAX);
        let rename: Rename = |from, name, to, new| {
            nix::fcntl::renameat(from, name, to, new)?;
            Err(Errno::ENOENT)
        };
        let (root, mut work) = (Root::open(dir.path()).unwrap(), Removal { rename, ..Removal::default() });
        let soon = Instant::now() + Duration::from_secs(600);
        assert!(root.remove_some(Path::new("top"), &mut work, soon).unwrap());
        assert!(!dir.path().join("top").exists());
    }

    /// As if a process that holds the directory had written into it in between.
    #[test]
    fn a_directory_that_is_filled_during_a_removal_does_not_end_it() {
        static FILLED: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("top/a/b")).unwrap();
        let rmdir: Rmdir = |from, name| {
            if FILLED.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < 3 {
                fs::write(path_of(from.as_fd()).join(name).join("late"), "").unwrap();
            }
            nix::unistd::unlinkat(from, name, UnlinkatFlags::RemoveDir)
        };
        let (root, mut work) = (Root::open(dir.path()).unwrap(), Removal { rmdir, ..Removal::default() });
        let soon = Instant::now() + Duration::from_secs(600);
        assert!(root.remove_some(Path::new("top"), &mut work, soon).unwrap());
        assert!(!dir.path().join("top").exists());
    }

    #[test]
    fn a_deep_removal_whose_time_is_over_has_removed_as_much_as_it_entered() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("top");
        fs::create_dir(&top).unwrap();
        let bottom = deep(&top, "d", 500);
        (0..2000).for_each(|n| fs::write(path_of(bottom.as_fd()).join(n.to_string()), "").unwrap());
        let work = Removal { until: Some(Instant::now()), ..Removal::default() };
        let parent = nix::fcntl::open(dir.path(), OFlag::O_DIRECTORY, Mode::empty()).unwrap();
        assert_eq!(remove_deep(&parent, OsStr::new("top"), &work), Err(Errno::ETIME));
        assert_eq!(beneath::names(&bottom, 5000).unwrap().len(), 1499);
    }

    #[test]
    fn a_deep_removal_does_not_go_up_where_a_process_moved_it() {
        let dir = tempfile::tempdir().unwrap();
        let (top, other) = (dir.path().join("top"), dir.path().join("other"));
        fs::create_dir(&top).unwrap();
        fs::create_dir(&other).unwrap();
        let inside = deep(&top, "d", 1);
        let above = nix::fcntl::open(&top, OFlag::O_DIRECTORY, Mode::empty()).unwrap();
        let before = id_of(&above).unwrap();
        assert_eq!(id_of(&go_up(&inside, before).unwrap().unwrap()), Ok(before));
        fs::rename(top.join("d"), other.join("d")).unwrap();
        assert!(go_up(&inside, before).unwrap().is_none());
    }
}
