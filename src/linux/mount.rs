//! Mounts. Everything here happens in a private mount namespace, so nothing shows on the host and all of it goes with the last
//! process in there.

use super::beneath::{Source, path_of};
use super::{Context, Result};
use nix::mount::{MntFlags, MsFlags};
use nix::sys::statvfs::{FsFlags, statvfs};
use std::os::fd::AsFd;
use std::path::Path;

pub use nix::mount::MsFlags as Flags;

/// mount(2) of a file system type that needs no device.
pub fn mount(kind: &str, at: &Path, flags: MsFlags, options: &str) -> Result<()> {
    let options = (!options.is_empty()).then_some(options);
    nix::mount::mount(Some(kind), at, Some(kind), flags, options)
        .during(|| format!("cannot mount {kind} on {}{}", at.display(), show(options)))
}

fn show(options: Option<&str>) -> String {
    options.map(|o| format!(" with {o}")).unwrap_or_default()
}

/// No mount made here reaches the host, and none of the host's later ones comes here.
pub fn make_all_private() -> Result<()> {
    let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    nix::mount::mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)
        .during(|| "cannot make mounts private".into())
}

/// Shows a file or directory, with what is mounted below it, at a second place.
pub fn bind(from: &Path, to: &Path, read_only: bool) -> Result<()> {
    nix::mount::mount(Some(from), to, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
        .during(|| format!("cannot bind {} to {}", from.display(), to.display()))?;
    if read_only { make_read_only(to) } else { Ok(()) }
}

/// Makes a mount read-only at this place. Flags that are already there must be repeated: dropping a locked one is `EPERM` in a
/// user namespace.
pub fn make_read_only(at: &Path) -> Result<()> {
    let mut flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    let now = statvfs(at).during(|| format!("cannot look at the mount {}", at.display()))?.flags();
    for (has, keep) in [
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        (FsFlags::ST_NODIRATIME, MsFlags::MS_NODIRATIME),
        (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
    ] {
        flags.set(keep, now.contains(has));
    }
    nix::mount::mount(None::<&str>, at, None::<&str>, flags, None::<&str>)
        .during(|| format!("cannot make {} read-only", at.display()))
}

/// Makes a whole file system of ours read-only, wherever it is mounted.
pub fn freeze(at: &Path, flags: MsFlags) -> Result<()> {
    let flags = flags | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    nix::mount::mount(None::<&str>, at, None::<&str>, flags, None::<&str>)
        .during(|| format!("cannot make {} read-only", at.display()))
}

/// A proc file system for the PID namespace this process is in. Where the kernel forbids a new one (something is mounted over
/// the outer one, as in a container), the outer one must do: correct but for other pids than one's own.
pub fn proc_or_outer(at: &Path, outer: &Path) -> Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount("proc", at, flags, "").or_else(|_| bind(outer, at, false))
}

/// The directory becomes `/` of this process' mount namespace; the old root stays reachable as `.` until `leave_old_root`.
///
/// Errors: `EINVAL` if the old root is an initramfs.
pub fn enter_root(root: &Path) -> Result<()> {
    std::env::set_current_dir(root).during(|| format!("cannot enter {}", root.display()))?;
    nix::unistd::pivot_root(".", ".").during(|| format!("cannot make {} the root", root.display()))
}

/// The second half of `enter_root`: nothing outside can be named any more.
pub fn leave_old_root() -> Result<()> {
    nix::mount::umount2(".", MntFlags::MNT_DETACH).during(|| "cannot leave the old root".into())?;
    std::env::set_current_dir("/").during(|| "cannot enter the new root".into())
}

/// Binds an opened source, with what is mounted below it, to a path. Needs /proc.
pub fn bind_source(source: &Source, to: &Path, read_only: bool) -> Result<()> {
    bind(&path_of(source.as_fd()), to, read_only)
        .map_err(|e| super::Error::new(format!("cannot mount a volume on {}", to.display()), e.cause))
}

/// Takes a mount away once nobody uses it; at once for new look-ups.
pub fn detach(at: &Path) -> Result<()> {
    nix::mount::umount2(at, MntFlags::MNT_DETACH).during(|| format!("cannot unmount {}", at.display()))
}

/// A character device; in a user namespace the host's node is bound instead, because making one is `EPERM`.
pub fn device(at: &Path, host: &Path, major: u64, minor: u64) -> Result<()> {
    use nix::sys::stat::{Mode, SFlag, makedev, mknod, umask};
    let mask = umask(Mode::empty());
    let made = mknod(at, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(major, minor));
    umask(mask);
    if made.is_ok() {
        return Ok(());
    }
    std::fs::write(at, "").during(|| format!("cannot make {}", at.display()))?;
    bind(host, at, false)
}
