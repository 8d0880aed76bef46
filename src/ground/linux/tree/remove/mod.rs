//! Removing a tree of files. Very deep directories are moved up, so that few are open at a time. No
//! directory can be moved out of a subvolume of btrfs, nor on XFS out of a project, so the removal
//! does not depend on moves. What cannot be removed, such as an immutable file, stays with the
//! directories above it; all the rest goes, and the first error is returned at the end.

use crate::beneath::{self, Root, Scope};
use crate::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::UnlinkatFlags;
use std::collections::{HashSet, VecDeque};
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
/// Names in one directory that cannot be removed and are passed over; with more of them the rest of
/// that directory stays too.
const STUCK_MAX: usize = 1024;

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
    /// The first name that cannot be removed.
    stuck: Option<OsString>,
}

impl Default for Removal {
    fn default() -> Removal {
        let rename: Rename = |from, name, to, new| nix::fcntl::renameat(from, name, to, new);
        let rmdir: Rmdir = |from, name| nix::unistd::unlinkat(from, name, UnlinkatFlags::RemoveDir);
        Removal {
            moved: 0,
            passes_max: PASSES_MAX,
            above_max: ABOVE_MAX,
            rename,
            rmdir,
            until: None,
            stuck: None,
        }
    }
}

impl Removal {
    fn for_part(&mut self, until: Instant) -> &mut Removal {
        self.until = Some(until);
        self
    }

    /// Checks the time. `ETIME`: this part is over.
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
    /// in it. `EBUSY`: a file is mounted in it. `EPERM`: a file in it is immutable. All that can be
    /// removed is removed then, and the error is the first one.
    pub fn remove_all(&self, untrusted: &Path) -> Result<()> {
        let mut removal = Removal::default();
        let done = remove_of(self, untrusted, &mut removal);
        done.during(|| cannot(untrusted, removal.stuck.as_deref()))
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
            Err(e) => Err(e).during(|| cannot(untrusted, removal.stuck.as_deref())),
        }
    }
}

fn cannot(path: &Path, stuck: Option<&OsStr>) -> String {
    match stuck {
        Some(name) => format!("cannot remove {}, because of {} in it", path.display(), name.display()),
        None => format!("cannot remove {}", path.display()),
    }
}

fn remove_of(root: &Root, path: &Path, removal: &mut Removal) -> nix::Result<()> {
    removal.stuck = None; // of another tree
    let parent = root.parent(Scope::Beneath, path);
    match parent.and_then(|(parent, name)| remove(&parent.into(), name, removal)) {
        Err(Errno::ENOENT) => Ok(()),
        other => other,
    }
}

/// Removes what has this name, with all that is in it. A removal that was ended in between is
/// finished by the next one. `ETIME`: this part of it is over. `EBUSY`: see [`PASSES_MAX`].
fn remove(parent: &OwnedFd, name: &OsStr, work: &mut Removal) -> nix::Result<()> {
    for _ in 0..work.passes_max {
        work.in_time()?;
        let refusal = match nix::unistd::unlinkat(parent, name, UnlinkatFlags::NoRemoveDir) {
            Err(refusal @ (Errno::EISDIR | Errno::EPERM)) => refusal,
            other => return other,
        };
        let Some(directory) = directory_of(parent, name, refusal)? else { continue };
        empty(&directory, &directory, 1, work)?;
        match (work.rmdir)(parent, name) {
            Err(Errno::ENOTEMPTY | Errno::EEXIST) => {} // filled meanwhile
            other => return other,
        }
    }
    Err(Errno::EBUSY)
}

/// Opens the directory of a name that unlinkat(2) did not remove as a file, with this answer.
/// `None`: another process has put something else in its place. `EPERM`: it is a file that may not
/// be removed.
fn directory_of(parent: &OwnedFd, name: &OsStr, refusal: Errno) -> nix::Result<Option<OwnedFd>> {
    match beneath::directory(parent, name) {
        Err(Errno::ENOTDIR | Errno::ELOOP) if refusal == Errno::EISDIR => Ok(None),
        Err(Errno::ENOTDIR | Errno::ELOOP) => Err(refusal),
        opened => opened.map(Some),
    }
}

/// Names of one directory that cannot be removed, and the first reason.
#[derive(Default)]
struct Stuck {
    names: HashSet<OsString>,
    first: Option<Errno>,
}

impl Stuck {
    /// Remembers a name that cannot be removed for this reason, so that the removal goes on with
    /// the others.
    ///
    /// # Errors
    /// The reason, if it is not about this name, e.g. `EMFILE`; the first one, if the directory has
    /// more than [`STUCK_MAX`] such names.
    fn add(&mut self, name: &OsStr, why: Errno, work: &mut Removal) -> nix::Result<()> {
        let stops = [Errno::ETIME, Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM, Errno::EROFS];
        if stops.contains(&why) {
            return Err(why);
        }
        let first = *self.first.get_or_insert(why);
        work.stuck.get_or_insert_with(|| name.to_os_string());
        self.names.insert(name.to_os_string());
        if self.names.len() > STUCK_MAX { Err(first) } else { Ok(()) }
    }
}

/// Removes everything in `here`, which lies `depth` levels below `top`. Directories that lie too
/// deep are moved up into `top`, which therefore takes several passes. Those that cannot be moved
/// are removed where they are. What cannot be removed is passed over.
///
/// ```text
/// here: a (immutable) b c   ->   here: a, and EPERM
/// ```
///
/// `EBUSY`: see [`PASSES_MAX`]. `ENOENT`: `here` is gone; what goes away in it is none.
fn empty(top: &OwnedFd, here: &OwnedFd, depth: usize, work: &mut Removal) -> nix::Result<()> {
    let mut stuck = Stuck::default();
    for _ in 0..work.passes_max {
        work.in_time()?;
        let names = beneath::names(here, NAMES_MAX + stuck.names.len())?;
        let left: Vec<&OsString> = names.iter().filter(|name| !stuck.names.contains(*name)).collect();
        if left.is_empty() {
            return stuck.first.map_or(Ok(()), Err);
        }
        for name in left {
            work.in_time()?;
            if let Err(why) = remove_one(top, here, name, depth, work) {
                stuck.add(name, why, work)?;
            }
        }
    }
    Err(stuck.first.unwrap_or(Errno::EBUSY))
}

/// Removes one name in `here`, as [`empty`] says. A directory that another process fills meanwhile
/// stays for the next pass.
fn remove_one(
    top: &OwnedFd,
    here: &OwnedFd,
    name: &OsStr,
    depth: usize,
    work: &mut Removal,
) -> nix::Result<()> {
    let refusal = match nix::unistd::unlinkat(here, name, UnlinkatFlags::NoRemoveDir) {
        Err(refusal @ (Errno::EISDIR | Errno::EPERM)) => refusal,
        removed => return gone_is_well(removed),
    };
    if depth >= DEPTH_MAX {
        let moved = match move_up(top, here, name, work) {
            // Of another subvolume or project; no room for a name in `top`.
            Err(Errno::EXDEV | Errno::ENOSPC | Errno::EDQUOT | Errno::EMLINK) => {
                remove_deep(here, name, work)
            }
            other => other,
        };
        return gone_is_well(moved);
    }
    let child = match directory_of(here, name, refusal) {
        Ok(Some(child)) => child,
        Ok(None) | Err(Errno::ENOENT) => return Ok(()),
        Err(e) => return Err(e),
    };
    gone_is_well(empty(top, &child, depth + 1, work))?;
    match (work.rmdir)(here, name) {
        Err(Errno::ENOTEMPTY | Errno::EEXIST) => Ok(()),
        removed => gone_is_well(removed),
    }
}

/// Passes over `ENOENT`: what another process removed or moved meanwhile need not be removed; the
/// next pass finds what is left.
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
/// next pass over `here` goes on. Unlike [`empty`] it stops at what cannot be removed.
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
        Err(refusal @ (Errno::EISDIR | Errno::EPERM)) => {
            match nix::unistd::unlinkat(at, name, UnlinkatFlags::RemoveDir) {
                Err(Errno::ENOTDIR) => Err(refusal), // an immutable file
                other => other,
            }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests;
