//! Mounts. Everything here happens in a private mount namespace, so nothing shows on the host and all of it goes with the last
//! process in there.

use super::{Context, Result};
use nix::mount::{MntFlags, MsFlags};
use nix::sys::stat::Mode;
use nix::sys::statvfs::{FsFlags, statvfs};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

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

/// A file or directory to be bound later, wherever names lead by then.
pub struct Source(OwnedFd);

impl Source {
    /// A path, or a part of it, which is made as a directory if it is not there.
    ///
    /// Names in the part may be links, made by whoever can write there: none leads outside of `path`. Errors: `EXDEV` if one would.
    pub fn open(path: &Path, part: &Path) -> Result<Source> {
        use nix::fcntl::{OFlag, open};
        let fd = open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty());
        let whole = fd.during(|| format!("cannot open {}", path.display()))?;
        match part.as_os_str().is_empty() {
            true => Ok(Source(whole)),
            false => Ok(Source(
                beneath(&whole, part)
                    .during(|| format!("cannot open {} in {}", part.display(), path.display()))?,
            )),
        }
    }

    pub fn is_dir(&self) -> Result<bool> {
        let found = nix::sys::stat::fstat(&self.0).during(|| "cannot look at a volume".into())?;
        Ok(found.st_mode & libc::S_IFMT == libc::S_IFDIR)
    }

    /// Binds it, with what is mounted below it, to a path of the new root. Needs /proc there.
    pub fn bind(&self, to: &Path, read_only: bool) -> Result<()> {
        bind(Path::new(&format!("/proc/self/fd/{}", self.0.as_raw_fd())), to, read_only)
            .map_err(|e| super::Error::new(format!("cannot mount a volume on {}", to.display()), e.cause))
    }
}

/// Opens what is below a directory, and makes the directories that are missing, without ever leaving it: openat2(2).
fn beneath(root: &OwnedFd, part: &Path) -> nix::Result<OwnedFd> {
    use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let mut so_far = PathBuf::new();
    let mut last = openat2(root, Path::new("."), how)?;
    for name in part.components() {
        let Component::Normal(name) = name else { continue }; // who goes up has been refused before
        so_far.push(name);
        let found = match openat2(root, &so_far, how) {
            // Somebody else may make it in the same moment.
            Err(nix::Error::ENOENT) => {
                match nix::sys::stat::mkdirat(&last, name, Mode::from_bits_truncate(0o755)) {
                    Ok(()) | Err(nix::Error::EEXIST) => openat2(root, &so_far, how),
                    Err(error) => Err(error),
                }
            }
            other => other,
        };
        last = found?;
    }
    Ok(last)
}

/// Takes a mount away once nobody uses it; at once for new look-ups.
pub fn detach(at: &Path) -> Result<()> {
    nix::mount::umount2(at, MntFlags::MNT_DETACH).during(|| format!("cannot unmount {}", at.display()))
}

/// A character device; in a user namespace the host's node is bound instead, because making one is `EPERM`.
pub fn device(at: &Path, host: &Path, major: u64, minor: u64) -> Result<()> {
    use nix::sys::stat::{SFlag, makedev, mknod, umask};
    let mask = umask(Mode::empty());
    let made = mknod(at, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(major, minor));
    umask(mask);
    if made.is_ok() {
        return Ok(());
    }
    std::fs::write(at, "").during(|| format!("cannot make {}", at.display()))?;
    bind(host, at, false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_part_of_a_volume_is_found_or_made_and_never_outside() {
        let dir = tempfile::tempdir().unwrap();
        let (host, volume) = (dir.path().join("host"), dir.path().join("volume"));
        fs::create_dir_all(host.join("secret")).unwrap();
        fs::create_dir_all(volume.join("..data")).unwrap();
        fs::write(volume.join("..data/key"), "value").unwrap();
        symlink("..data/key", volume.join("key")).unwrap(); // as the kubelet itself lays files down
        symlink(&host, volume.join("absolute")).unwrap();
        symlink("../host", volume.join("upwards")).unwrap();
        symlink("/proc/self/root", volume.join("magic")).unwrap();
        symlink("../host/new", volume.join("dangling")).unwrap();
        let at = |part: &str| {
            let source = Source::open(&volume, Path::new(part))?;
            fs::read_link(format!("/proc/self/fd/{}", source.0.as_raw_fd())).during(|| "gone".into())
        };
        assert_eq!(at("").unwrap(), volume);
        assert_eq!(at("key").unwrap(), volume.join("..data/key"));
        assert_eq!(at("new/deep").unwrap(), volume.join("new/deep"));
        assert_eq!(at("new/./deep/").unwrap(), volume.join("new/deep"));
        for part in [
            "absolute",
            "absolute/secret",
            "upwards",
            "upwards/secret",
            "upwards/new",
            "magic",
            "dangling",
            "dangling/x",
            "../host",
        ] {
            let said = at(part);
            let inside = said.as_ref().is_ok_and(|path| path.starts_with(&volume));
            assert!(said.is_err() || inside, "{part} led to {said:?}");
        }
        assert!(at("upwards").unwrap_err().to_string().contains("upwards"));
        assert!(!host.join("new").exists(), "nothing is made outside");
        assert_eq!(fs::read_dir(host.join("secret")).unwrap().count(), 0);
    }
}
