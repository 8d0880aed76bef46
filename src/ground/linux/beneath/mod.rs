//! The path resolver: opens paths that pods, objects and file systems of containers choose.
//!
//! A path that this program did not make itself is never joined to a directory and opened by name:
//! a link, `..` or an absolute path would lead out. It is resolved by openat2(2) against a
//! [`Root`], a descriptor of a trusted directory, in one of two ways:
//!
//! * **beneath** (`RESOLVE_BENEATH`): an absolute path, a link that leads out and a `..` above the
//!   root are errors (`EXDEV`). For the contents of volumes: keys of config maps, subPath, downward
//!   API paths.
//! * **in root** (`RESOLVE_IN_ROOT`): the root is `/` for the look-up, as chroot(2) would make it:
//!   absolute paths and links start at the root, `..` stops there. For paths inside a container or
//!   inside a node's file system: mountPath, workingDir, hostPath.
//!
//! Both refuse the magic links of /proc (`ELOOP`), which lead anywhere. Every look-up answers with
//! a descriptor; a later rename or a new link cannot change what it refers to. Sources: openat2(2),
//! Linux 5.6; CVE-2021-25741, CVE-2021-30465, CVE-2024-21626.

mod source;

pub use source::Source;

use super::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{FileStat, Mode, fchmod, fstat, fstatat, mkdirat};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

/// What a look-up opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Anything, as a place only (`O_PATH`): to bind it, to stat it, to start a further look-up.
    /// Nothing is read, no device is opened.
    Place,
    /// A directory, as a place only.
    Directory,
    /// A regular file, for reading. Never blocks: a FIFO, a device or a socket is refused.
    File,
}

/// How a path relates to its root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Beneath,
    InRoot,
    /// [`Scope::InRoot`], without crossing a mount.
    OnRoot,
}

/// What a look-up does with symbolic links that stay inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Links {
    Follow,
    Refuse,
}

/// A trusted directory, against which untrusted paths are resolved.
#[derive(Debug)]
pub struct Root(OwnedFd);

/// The kernel answers EAGAIN when a rename anywhere on the machine races with a look-up that has
/// `..` in it: a look-up is repeated at most this many times.
const RACES_MAX: usize = 128;
/// Components of a path that `make_dirs` takes; PATH_MAX of Linux would allow 2048.
const COMPONENTS_MAX: usize = 256;

impl Root {
    /// Opens a trusted directory by a path that this program made. Links in it are followed.
    ///
    /// # Errors
    /// The directory does not exist, or is something else.
    pub fn open(path: &Path) -> Result<Root> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd = nix::fcntl::open(path, flags, Mode::empty());
        Ok(Root(fd.during(|| format!("cannot open the directory {}", path.display()))?))
    }

    /// Opens what an untrusted path names below this directory. Empty and `.` are the directory
    /// itself.
    ///
    /// # Errors
    /// `EXDEV`: the path, or a link in it, is absolute or climbs out. `ELOOP`: a magic link. With
    /// [`Kind::File`], `EINVAL`: not a regular file.
    pub fn open_beneath(&self, untrusted: &Path, kind: Kind) -> Result<OwnedFd> {
        self.open_scoped(Scope::Beneath, untrusted, kind).during(|| cannot("open", untrusted))
    }

    /// Opens what an untrusted path names where this directory is `/`.
    ///
    /// # Errors
    /// `ELOOP`: a magic link. With [`Kind::File`], `EINVAL`: not a regular file.
    pub fn open_in_root(&self, untrusted: &Path, kind: Kind) -> Result<OwnedFd> {
        self.open_scoped(Scope::InRoot, untrusted, kind).during(|| cannot("open", untrusted))
    }

    /// As [`Root::open_beneath`], for a path in which no name may be a link.
    ///
    /// # Errors
    /// As [`Root::open_beneath`]; `ELOOP`: a link.
    pub fn open_plain(&self, untrusted: &Path) -> Result<OwnedFd> {
        open(&self.0, Scope::Beneath, untrusted, OFlag::O_PATH, Links::Refuse)
            .during(|| cannot("open", untrusted))
    }

    /// Returns the names in a directory below this one, on the way to which no name may be a link:
    /// `max` of them at most, without `.` and `..`.
    ///
    /// # Errors
    /// As [`Root::open_plain`]; `ENOTDIR`.
    pub fn names_plain(&self, untrusted: &Path, max: usize) -> Result<Vec<OsString>> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NONBLOCK;
        let opened = open(&self.0, Scope::Beneath, untrusted, flags, Links::Refuse);
        opened.and_then(|directory| names(&directory, max)).during(|| cannot("list", untrusted))
    }

    /// Opens a directory below this one, and makes what is missing of it with `mode` (whatever the
    /// umask is) and, as mkdir(2), with the setgid bit of the directory above.
    ///
    /// # Errors
    /// As [`Root::open_beneath`]; `ENOTDIR`: a file is in the way; `EEXIST` or `ENOENT`: a dangling
    /// link is in the way.
    pub fn make_dirs(&self, untrusted: &Path, mode: u32) -> Result<Root> {
        self.make_scoped(Scope::Beneath, untrusted, mode).during(|| cannot("make the directory", untrusted))
    }

    /// As [`Root::make_dirs`], where this directory is `/`.
    ///
    /// # Errors
    /// As [`Root::open_in_root`]; a file or a dangling link is in the way.
    pub fn make_dirs_in_root(&self, untrusted: &Path, mode: u32) -> Result<Root> {
        self.make_scoped(Scope::InRoot, untrusted, mode).during(|| cannot("make the directory", untrusted))
    }

    /// Writes a regular file below this directory, and makes missing directories above it with
    /// 0755. An existing regular file is truncated and gets the new bytes and mode; the last name
    /// is never followed.
    ///
    /// # Errors
    /// As [`Root::open_beneath`]; `ELOOP`: the last name is a link; `EINVAL`: something else than a
    /// regular file has this name.
    pub fn write_file(&self, untrusted: &Path, bytes: &[u8], mode: u32) -> Result<()> {
        self.write_scoped(Scope::Beneath, untrusted, Some(bytes), mode).during(|| cannot("write", untrusted))
    }

    /// Makes an empty regular file, and missing directories above it with 0755, where this
    /// directory is `/`. An existing regular file stays as it is.
    ///
    /// # Errors
    /// As [`Root::open_in_root`]; `EINVAL` or `ELOOP`: something else than a regular file has this
    /// name.
    pub fn make_file_in_root(&self, untrusted: &Path, mode: u32) -> Result<()> {
        self.write_scoped(Scope::InRoot, untrusted, None, mode).during(|| cannot("make the file", untrusted))
    }

    /// Reads a regular file below this directory. Never blocks and never reads more than `max`
    /// bytes.
    ///
    /// # Errors
    /// As [`Root::open_beneath`]; `EFBIG`: the file is larger than `max` bytes.
    pub fn read_file(&self, untrusted: &Path, max: usize) -> Result<Vec<u8>> {
        self.read_scoped(Scope::Beneath, untrusted, max).during(|| cannot("read", untrusted))
    }

    /// As [`Root::read_file`], where this directory is `/`, and for a file on this directory's own
    /// file system: what is mounted below it, /proc first of all, is not read.
    ///
    /// # Errors
    /// As [`Root::open_in_root`]; `EXDEV`: the file is on another file system; `EFBIG`: it is
    /// larger than `max` bytes.
    pub fn read_file_of_root(&self, untrusted: &Path, max: usize) -> Result<Vec<u8>> {
        self.read_scoped(Scope::OnRoot, untrusted, max).during(|| cannot("read", untrusted))
    }

    /// Opens as a place what an untrusted path names where this directory is `/`, if it is on this
    /// directory's own file system.
    ///
    /// # Errors
    /// As [`Root::open_in_root`]; `EXDEV`: it is on another file system.
    pub fn open_of_root(&self, untrusted: &Path) -> Result<OwnedFd> {
        self.open_scoped(Scope::OnRoot, untrusted, Kind::Place).during(|| cannot("open", untrusted))
    }

    /// Moves what is below this directory into another one of the same file system, in one step.
    /// Neither last name is followed. The kernel's answer is given as it is: `ENOTEMPTY` and others
    /// say that the name is taken there.
    pub(super) fn move_to(&self, untrusted: &Path, to: &Root, name: &Path) -> nix::Result<()> {
        let (parent, last) = self.parent(Scope::Beneath, untrusted)?;
        nix::fcntl::renameat(&parent, last, to, name)
    }

    /// Returns whether a path has a place below this directory, so that an `EXDEV` or `ENOTDIR` of
    /// [`Root::move_to`] is about what the two names are, and not about the path to the first one.
    pub(super) fn same_place(&self, untrusted: &Path) -> bool {
        self.parent(Scope::Beneath, untrusted).is_ok()
    }

    /// Makes a symbolic link with the text `target` below this directory. Directories above it must
    /// exist.
    ///
    /// # Errors
    /// As [`Root::open_beneath`]; `EEXIST`.
    pub fn symlink(&self, target: &Path, untrusted: &Path) -> Result<()> {
        let run = || {
            let (parent, name) = self.parent(Scope::Beneath, untrusted)?;
            nix::unistd::symlinkat(target, &parent, name)
        };
        run().during(|| cannot("link", untrusted))
    }

    /// Returns the text of a symbolic link below this directory.
    ///
    /// # Errors
    /// As [`Root::open_beneath`]; `EINVAL`: it is no link.
    pub fn read_link(&self, untrusted: &Path) -> Result<PathBuf> {
        let run = || {
            let (parent, name) = self.parent(Scope::Beneath, untrusted)?;
            nix::fcntl::readlinkat(&parent, name)
        };
        run().map(PathBuf::from).during(|| cannot("read the link", untrusted))
    }

    /// Renames what is below this directory; what has the new name is replaced, as rename(2) does.
    /// Neither last name is followed.
    ///
    /// # Errors
    /// As [`Root::open_beneath`] for both paths.
    pub fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let run = || {
            let (old, name) = self.parent(Scope::Beneath, from)?;
            let (new, new_name) = self.parent(Scope::Beneath, to)?;
            nix::fcntl::renameat(&old, name, &new, new_name)
        };
        run().during(|| format!("cannot rename {} to {}", from.display(), to.display()))
    }

    /// Returns whether something, a dangling link included, has this name below this directory.
    ///
    /// # Errors
    /// As [`Root::open_beneath`], but for `ENOENT`.
    pub fn exists(&self, untrusted: &Path) -> Result<bool> {
        let run = || {
            let (parent, name) = self.parent(Scope::Beneath, untrusted)?;
            fstatat(&parent, name, AtFlags::AT_SYMLINK_NOFOLLOW)
        };
        match run() {
            Ok(_) => Ok(true),
            Err(Errno::ENOENT) => Ok(false),
            Err(e) => Err(e).during(|| cannot("look at", untrusted)),
        }
    }

    /// Returns a path by which this process can name the directory while it holds it; for calls
    /// that take no descriptor, such as mount(2). Needs a /proc that shows this process.
    pub fn path(&self) -> PathBuf {
        path_of(self.0.as_fd())
    }

    fn open_scoped(&self, scope: Scope, path: &Path, kind: Kind) -> nix::Result<OwnedFd> {
        match kind {
            Kind::Place => open(&self.0, scope, path, OFlag::O_PATH, Links::Follow),
            Kind::Directory => open(&self.0, scope, path, OFlag::O_PATH | OFlag::O_DIRECTORY, Links::Follow),
            Kind::File => {
                // First as a place: to open a device or a FIFO can itself have an effect.
                let place = open(&self.0, scope, path, OFlag::O_PATH, Links::Follow)?;
                let before = regular(&place)?;
                let quiet = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
                let file = open(&self.0, scope, path, quiet, Links::Follow)?;
                same(&before, &regular(&file)?)?;
                Ok(file)
            }
        }
    }

    fn make_scoped(&self, scope: Scope, path: &Path, mode: u32) -> nix::Result<Root> {
        let place = OFlag::O_PATH | OFlag::O_DIRECTORY;
        let listing = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NONBLOCK;
        let mut so_far = PathBuf::new();
        let mut last = open(&self.0, scope, Path::new("."), place, Links::Follow)?;
        if path.components().count() > COMPONENTS_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        for component in path.components() {
            let name = match component {
                Component::Normal(name) => name,
                Component::ParentDir => OsStr::new(".."),
                Component::CurDir => continue,
                Component::RootDir | Component::Prefix(_) if scope == Scope::InRoot => continue,
                Component::RootDir | Component::Prefix(_) => return Err(Errno::EXDEV),
            };
            so_far.push(name);
            last = match open(&self.0, scope, &so_far, place, Links::Follow) {
                Err(Errno::ENOENT) => {
                    match mkdirat(&last, name, Mode::from_bits_truncate(0o700)) {
                        Ok(()) => {
                            let made = open(&last, Scope::Beneath, Path::new(name), listing, Links::Refuse)?;
                            let inherited = fstat(&made)?.st_mode & libc::S_ISGID;
                            fchmod(&made, Mode::from_bits_truncate((mode & 0o7777) | inherited))?;
                        }
                        Err(Errno::EEXIST) => {} // another process made it in the same moment, or it is a dangling link
                        Err(e) => return Err(e),
                    }
                    open(&self.0, scope, &so_far, place, Links::Follow)?
                }
                found => found?,
            };
        }
        Ok(Root(last))
    }

    /// Returns the directory in which the last name of a path lies, and that name.
    pub(super) fn parent<'a>(&self, scope: Scope, path: &'a Path) -> nix::Result<(Root, &'a OsStr)> {
        let (above, name) = split(path)?;
        let fd = open(&self.0, scope, above, OFlag::O_PATH | OFlag::O_DIRECTORY, Links::Follow)?;
        Ok((Root(fd), name))
    }

    fn write_scoped(&self, scope: Scope, path: &Path, bytes: Option<&[u8]>, mode: u32) -> nix::Result<()> {
        let (above, name) = split(path)?;
        let parent = self.make_scoped(scope, above, 0o755)?;
        let quiet = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let name = Path::new(name);
        let new = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | quiet;
        let file = match open_made(&parent.0, name, new) {
            Ok(file) => file,
            Err(Errno::EEXIST) => {
                let before = regular(&open(
                    &parent.0,
                    Scope::Beneath,
                    name,
                    OFlag::O_PATH | OFlag::O_NOFOLLOW,
                    Links::Follow,
                )?)?;
                if bytes.is_none() {
                    return Ok(());
                }
                let file = open(&parent.0, Scope::Beneath, name, OFlag::O_WRONLY | quiet, Links::Refuse)?;
                same(&before, &regular(&file)?)?;
                nix::unistd::ftruncate(&file, 0)?;
                file
            }
            Err(e) => return Err(e),
        };
        let mut file = File::from(file);
        let write = file.write_all(bytes.unwrap_or_default());
        write.map_err(|e| e.raw_os_error().map_or(Errno::EIO, Errno::from_raw))?;
        fchmod(&file, Mode::from_bits_truncate(mode & 0o7777)) // after the bytes: a write clears the setuid bit
    }

    fn read_scoped(&self, scope: Scope, path: &Path, max: usize) -> nix::Result<Vec<u8>> {
        let file = File::from(self.open_scoped(scope, path, Kind::File)?);
        let mut bytes = Vec::new();
        let read = file.take(max as u64 + 1).read_to_end(&mut bytes);
        read.map_err(|e| e.raw_os_error().map_or(Errno::EIO, Errno::from_raw))?;
        if bytes.len() > max { Err(Errno::EFBIG) } else { Ok(bytes) }
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for Root {
    /// Takes a descriptor of a trusted directory.
    fn from(directory: OwnedFd) -> Root {
        Root(directory)
    }
}

impl From<Root> for OwnedFd {
    fn from(root: Root) -> OwnedFd {
        root.0
    }
}

fn cannot(what: &str, path: &Path) -> String {
    format!("cannot {what} {}", path.display())
}

/// Returns the name of an open descriptor in /proc.
pub fn path_of(fd: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// Does one look-up.
fn open(at: &impl AsFd, scope: Scope, path: &Path, flags: OFlag, links: Links) -> nix::Result<OwnedFd> {
    let mut resolve = ResolveFlag::RESOLVE_NO_MAGICLINKS;
    resolve |= match scope {
        Scope::Beneath => ResolveFlag::RESOLVE_BENEATH,
        Scope::InRoot => ResolveFlag::RESOLVE_IN_ROOT,
        Scope::OnRoot => ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_XDEV,
    };
    resolve.set(ResolveFlag::RESOLVE_NO_SYMLINKS, links == Links::Refuse);
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(resolve);
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    repeat(|| openat2(at, path, how))
}

/// Makes a file that does not exist. Its mode is set by the caller once it holds the bytes.
fn open_made(at: &impl AsFd, name: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
    let resolve =
        ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS | ResolveFlag::RESOLVE_NO_SYMLINKS;
    let mode = Mode::from_bits_truncate(0o600);
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).mode(mode).resolve(resolve);
    repeat(|| openat2(at, name, how))
}

fn repeat(mut look_up: impl FnMut() -> nix::Result<OwnedFd>) -> nix::Result<OwnedFd> {
    for _ in 0..RACES_MAX {
        match look_up() {
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            other => return other,
        }
    }
    Err(Errno::EAGAIN)
}

/// Returns the directory part and the last name. A path without a last name (`/`, `.`, `a/..`) is
/// `EINVAL`.
fn split(path: &Path) -> nix::Result<(&Path, &OsStr)> {
    match path.file_name() {
        Some(name) => Ok((path.parent().unwrap_or(Path::new("")), name)),
        None => Err(Errno::EINVAL),
    }
}

/// Returns the stat of an open file, if it is a regular one.
fn regular(fd: &OwnedFd) -> nix::Result<FileStat> {
    let found = fstat(fd)?;
    match found.st_mode & libc::S_IFMT {
        libc::S_IFREG => Ok(found),
        libc::S_IFLNK => Err(Errno::ELOOP),
        libc::S_IFDIR => Err(Errno::EISDIR),
        _ => Err(Errno::EINVAL),
    }
}

/// Checks that two look-ups of one name found the same file.
fn same(a: &FileStat, b: &FileStat) -> nix::Result<()> {
    if (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino) { Ok(()) } else { Err(Errno::EAGAIN) }
}

/// Opens a directory for listing by one name, without following a link or entering another mount.
pub(super) fn directory(parent: &impl AsFd, name: &OsStr) -> nix::Result<OwnedFd> {
    let resolve = ResolveFlag::RESOLVE_BENEATH
        | ResolveFlag::RESOLVE_NO_SYMLINKS
        | ResolveFlag::RESOLVE_NO_MAGICLINKS
        | ResolveFlag::RESOLVE_NO_XDEV;
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let how = OpenHow::new().flags(flags).resolve(resolve);
    repeat(|| openat2(parent, name, how))
}

/// Returns all names of a trusted directory, without `.` and `..`.
pub(super) fn names_of(root: &Root) -> nix::Result<Vec<OsString>> {
    let listing = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NONBLOCK;
    names(&open(&root.0, Scope::Beneath, Path::new("."), listing, Links::Refuse)?, usize::MAX)
}

/// Returns some names of a directory, without `.` and `..`.
pub(super) fn names(directory: &OwnedFd, max: usize) -> nix::Result<Vec<OsString>> {
    let read = || -> io::Result<Vec<OsString>> {
        let entries = std::fs::read_dir(path_of(directory.as_fd()))?;
        entries.take(max).map(|entry| Ok(entry?.file_name())).collect()
    };
    read().map_err(|e| e.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
}

/// Checks that the kernel has openat2(2), without which no container can be made safely.
///
/// # Errors
/// `ENOSYS`: Linux is older than 5.6, or a filter hides the call.
pub fn supported() -> Result<()> {
    Root::open(Path::new("/"))?.open_beneath(Path::new("."), Kind::Directory).map(drop)
}

#[cfg(test)]
mod tests;
