//! A file or directory that is mounted elsewhere.

use super::super::{Context, Result};
use super::{Kind, Root, Scope};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, fstat};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// A file or directory to be bound later, wherever names lead by then.
#[derive(Debug)]
pub struct Source(OwnedFd);

impl Source {
    /// Opens a trusted path, or a part of it, which is made as a directory if it is missing.
    ///
    /// # Errors
    /// As [`Root::open_beneath`] for the part.
    pub fn open(path: &Path, part: &Path) -> Result<Source> {
        let fd = nix::fcntl::open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty());
        Source(fd.during(|| format!("cannot open {}", path.display()))?).part(part, path)
    }

    /// Opens an untrusted path where the trusted directory `root` is `/`, or an untrusted part of
    /// that, which is made as a directory if it is missing.
    ///
    /// # Errors
    /// As [`Root::open_in_root`] for the path and as [`Root::open_beneath`] for the part.
    pub fn open_in_root(root: &Path, path: &Path, part: &Path) -> Result<Source> {
        Source(Root::open(root)?.open_in_root(path, Kind::Place)?).part(part, path)
    }

    fn part(self, part: &Path, of: &Path) -> Result<Source> {
        if part.as_os_str().is_empty() {
            return Ok(self);
        }
        let whole = Root(self.0);
        let found = match whole.open_scoped(Scope::Beneath, part, Kind::Place) {
            // As open as the volume itself: of a volume that all users may write, all users may
            // write the part.
            Err(Errno::ENOENT) => fstat(&whole.0)
                .and_then(|volume| whole.make_scoped(Scope::Beneath, part, volume.st_mode & 0o7777))
                .map(OwnedFd::from),
            other => other,
        };
        Ok(Source(found.during(|| format!("cannot open {} in {}", part.display(), of.display()))?))
    }

    /// Returns whether it is a directory.
    ///
    /// # Errors
    /// The file system does not answer.
    pub fn is_dir(&self) -> Result<bool> {
        let found = fstat(&self.0).during(|| "cannot look at a volume".into())?;
        Ok(found.st_mode & libc::S_IFMT == libc::S_IFDIR)
    }
}

impl AsFd for Source {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
