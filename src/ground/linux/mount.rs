//! Mounts. Everything here happens in a private mount namespace, so nothing shows on the host and
//! all of it goes with the last process in there.

use super::beneath::Root;
use super::{Context, Result, check, process};
use nix::mount::{MntFlags, MsFlags};
use nix::sys::stat::{self, Mode, SFlag};
use nix::sys::statvfs::{FsFlags, statvfs};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

pub use nix::mount::MsFlags as Flags;

/// Mounts a file system type that needs no device, e.g. `tmpfs` or `proc` (mount(2)).
///
/// # Errors
/// `EPERM`: this process may not mount here. `ENODEV`: the kernel does not have the type. `ENOENT`:
/// `at` is missing. `EINVAL`: an unknown option.
pub fn mount(kind: &str, at: &Path, flags: MsFlags, options: &str) -> Result<()> {
    let options = (!options.is_empty()).then_some(options);
    nix::mount::mount(Some(kind), at, Some(kind), flags, options)
        .during(|| format!("cannot mount {kind} on {}{}", at.display(), show(options)))
}

/// Mounts an empty tmpfs that holds at most so many bytes and so many files. Without a bound on
/// files, empty ones could take all memory: an inode takes about one kilobyte of the kernel's
/// memory and none of `size`.
///
/// # Errors
/// The kernel forbids the mount.
pub fn tmpfs(at: &Path, flags: MsFlags, mode: u32, bytes: u64, files: u64) -> Result<()> {
    // For the kernel 0 means "no bound".
    let (bytes, files) = (bytes.max(1), files.max(1));
    mount("tmpfs", at, flags, &format!("mode={mode:o},size={bytes},nr_inodes={files}"))
}

/// Returns a path as it is from how /proc/self/mountinfo writes it: blanks, tabs, line ends and
/// backslashes are octal there, `/mnt/a\040b` is `/mnt/a b`. Source: proc_pid_mountinfo(5).
pub(crate) fn path_of_mountinfo(field: &str) -> PathBuf {
    let mut path = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let [first, others @ ..] = rest {
        let digits = others.get(..3).filter(|_| *first == b'\\');
        let byte = digits.and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 8).ok());
        path.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &others[3..] } else { others };
    }
    OsString::from_vec(path).into()
}

fn show(options: Option<&str>) -> String {
    options.map(|o| format!(" with {o}")).unwrap_or_default()
}

/// Makes all mounts of this mount namespace private: none made here reaches the host, and none of
/// the host's later ones comes here.
///
/// # Errors
/// `EPERM`: this process is not root over its mount namespace.
pub fn make_all_private() -> Result<()> {
    let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    nix::mount::mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)
        .during(|| "cannot make mounts private".into())
}

/// Shows a file or directory, with what is mounted below it, at a second place. `read_only` holds
/// for the first mount, not for those below it.
///
/// # Errors
/// `ENOENT`: one of the two is missing. `ENOTDIR`: one is a directory and the other is none.
/// `EINVAL`: an unbindable mount. As [`make_read_only`], and then the writable mount stays.
pub fn bind(from: &Path, to: &Path, read_only: bool) -> Result<()> {
    nix::mount::mount(Some(from), to, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
        .during(|| format!("cannot bind {} to {}", from.display(), to.display()))?;
    if read_only { make_read_only(to) } else { Ok(()) }
}

/// Makes a mount read-only at this place. Flags that are already there must be repeated: dropping a
/// locked one is `EPERM` in a user namespace.
///
/// # Errors
/// `ENOENT`: `at` is missing. `EINVAL`: it is not the root of a mount. `EPERM`: this process is not
/// root over its mount namespace.
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

/// Makes a whole file system of ours read-only, wherever it is mounted. `flags` are kept: those
/// that are not repeated are switched off.
///
/// # Errors
/// `EBUSY`: a file there is open for writing. `EINVAL`: `at` is not the root of a mount.
pub fn freeze(at: &Path, flags: MsFlags) -> Result<()> {
    let flags = flags | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    nix::mount::mount(None::<&str>, at, None::<&str>, flags, None::<&str>)
        .during(|| format!("cannot make {} read-only", at.display()))
}

/// Mounts a proc file system for the PID namespace this process is in.
///
/// # Errors
/// `EPERM`: something is mounted over the outer one, as in a container of another runtime.
pub fn fresh_proc(at: &Path) -> Result<()> {
    mount("proc", at, MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC, "")
}

/// As [`fresh_proc`], or the outer one: correct but for other pids than one's own. For this
/// program's own processes only: a container would see processes of other pods there, and their
/// root directories.
///
/// # Errors
/// Neither can be mounted; the error is that of [`bind`].
pub(crate) fn proc_or_outer(at: &Path, outer: &Path) -> Result<()> {
    fresh_proc(at).or_else(|_| bind(outer, at, false))
}

/// Makes the directory `/` of this process' mount namespace (pivot_root(2)). The old root stays
/// reachable as `.` until [`leave_old_root`].
///
/// # Errors
/// `ENOENT`: the directory is missing. `EINVAL`: it is not the root of a mount, or the old root is
/// an initramfs.
pub(crate) fn enter_root(root: &Path) -> Result<()> {
    enter_opened_root(&Root::open(root)?)
        .map_err(|e| super::Error::new(format!("cannot enter {}", root.display()), e.cause))
}

/// As [`enter_root`], for a directory that is open already.
///
/// # Errors
/// As [`enter_root`].
pub fn enter_opened_root(root: &Root) -> Result<()> {
    nix::unistd::fchdir(root).during(|| "cannot enter the new root".into())?;
    nix::unistd::pivot_root(".", ".").during(|| "cannot make the new root `/`".into())
}

/// Unmounts the old root after [`enter_root`]: no path can lead out of the new one any more.
///
/// # Errors
/// `EINVAL`: the working directory is not the root of a mount.
pub fn leave_old_root() -> Result<()> {
    nix::mount::umount2(".", MntFlags::MNT_DETACH).during(|| "cannot leave the old root".into())?;
    std::env::set_current_dir("/").during(|| "cannot enter the new root".into())
}

/// What a mount of a volume does not allow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Nothing there can be written.
    pub read_only: bool,
    /// Device nodes there cannot be opened.
    pub no_devices: bool,
}

/// Binds what is open, with what is mounted below it, onto another open file or directory. No path
/// is looked up, so nothing that changes meanwhile can lead the mount elsewhere; the attributes
/// hold for all of it, before it can be seen. Source: mount_setattr(2), Linux 5.12.
///
/// # Errors
/// `EINVAL`: an unbindable mount, or one is a directory and the other is none.
pub fn attach(from: BorrowedFd<'_>, onto: BorrowedFd<'_>, attributes: Attributes) -> Result<()> {
    place(&copy(from, attributes)?, onto)
}

/// Copies a mount, without a place yet: the first half of [`attach`]. The copy may be placed by
/// another process, in another mount namespace.
///
/// # Errors
/// `EINVAL`: an unbindable mount, or one of another mount namespace.
pub fn copy(from: BorrowedFd<'_>, attributes: Attributes) -> Result<OwnedFd> {
    let flags = OPEN_TREE_CLONE | (libc::O_CLOEXEC | libc::AT_EMPTY_PATH | libc::AT_RECURSIVE) as u32;
    let empty = c"".as_ptr();
    // SAFETY: a borrowed descriptor, an empty string that lives for ever, and flags.
    let tree = check(unsafe { libc::syscall(libc::SYS_open_tree, from.as_raw_fd(), empty, flags) })
        .during(|| "cannot copy a mount".into())?;
    // SAFETY: open_tree just made this descriptor for us.
    let tree = unsafe { OwnedFd::from_raw_fd(tree as i32) };
    let mut change = MountAttr::default();
    change.set |= if attributes.read_only { MOUNT_ATTR_RDONLY } else { 0 };
    change.set |= if attributes.no_devices { MOUNT_ATTR_NODEV } else { 0 };
    if change.set != 0 {
        set(&tree, &change, libc::AT_RECURSIVE).during(|| "cannot restrict a mount".into())?;
    }
    Ok(tree)
}

/// Shows a copied mount as a user namespace counts: a file of user 0 belongs to user 0 there, and
/// what user 0 there writes belongs to user 0 of the file system. What is mounted below it keeps
/// its owners, which show as the overflow user (65534) there, as with runc.
///
/// # Errors
/// `EINVAL`: the file system has no idmapped mounts (tmpfs: Linux 6.3, ext4: 5.12). `EPERM`: the
/// file system belongs to another user namespace than this process'.
pub fn map_ids(tree: &OwnedFd, users: BorrowedFd<'_>) -> Result<()> {
    let change =
        MountAttr { set: MOUNT_ATTR_IDMAP, user_namespace: users.as_raw_fd() as u64, ..MountAttr::default() };
    set(tree, &change, 0).during(|| "failed to set MOUNT_ATTR_IDMAP".into())
}

fn set(tree: &OwnedFd, change: &MountAttr, flags: i32) -> io::Result<()> {
    let (empty, size) = (c"".as_ptr(), size_of_val(change));
    let flags = flags | libc::AT_EMPTY_PATH;
    let change = std::ptr::from_ref(change);
    // SAFETY: `change` outlives the call and `size` is its size; the string lives for ever.
    check(unsafe { libc::syscall(libc::SYS_mount_setattr, tree.as_raw_fd(), empty, flags, change, size) })
        .map(drop)
}

/// Puts a copied mount in its place: the second half of [`attach`]. The descriptor then is the
/// place where it was put.
///
/// # Errors
/// As [`attach`].
pub fn place(tree: &OwnedFd, onto: BorrowedFd<'_>) -> Result<()> {
    let empty = c"".as_ptr();
    // SAFETY: two descriptors that are open, strings that live for ever, and flags.
    check(unsafe {
        let flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
        libc::syscall(libc::SYS_move_mount, tree.as_raw_fd(), empty, onto.as_raw_fd(), empty, flags)
    })
    .during(|| "cannot attach a mount".into())
    .map(drop)
}

/// Puts a copy of a directory, with what is mounted below it, over itself: one's own mount may
/// become `/`, one that came from another user namespace may not.
///
/// # Errors
/// As [`attach`].
pub fn over_itself(directory: &Root, attributes: Attributes) -> Result<Root> {
    let tree = copy(directory.as_fd(), attributes)?;
    place(&tree, directory.as_fd())?;
    Ok(Root::from(tree))
}

// linux/mount.h; libc has these for some targets only.
const OPEN_TREE_CLONE: u32 = 1;
const MOVE_MOUNT_F_EMPTY_PATH: u32 = 0x4;
const MOVE_MOUNT_T_EMPTY_PATH: u32 = 0x40;
const MOUNT_ATTR_RDONLY: u64 = 0x1;
const MOUNT_ATTR_NODEV: u64 = 0x4;
const MOUNT_ATTR_IDMAP: u64 = 0x10_0000;

/// `struct mount_attr`.
#[repr(C)]
#[derive(Default)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// Unmounts `at` for all look-ups from now on. The mount itself goes when no process uses it any
/// more (`MNT_DETACH`).
///
/// # Errors
/// `EINVAL`: nothing is mounted there. `ENOENT`: it is missing.
pub fn detach(at: &Path) -> Result<()> {
    nix::mount::umount2(at, MntFlags::MNT_DETACH).during(|| format!("cannot unmount {}", at.display()))
}

/// Makes a character device that all users may read and write. In a user namespace, where that is
/// `EPERM`, the host's node is bound instead.
///
/// # Errors
/// The file for the bind cannot be made; as [`bind`].
pub fn device(at: &Path, host: &Path, major: u64, minor: u64) -> Result<()> {
    if node(at, SFlag::S_IFCHR, 0o666, stat::makedev(major, minor)).is_ok() {
        return Ok(());
    }
    bind_device(at, host)
}

/// Makes the same character or block device as another node, with its owner and mode; in a user
/// namespace that node is bound.
///
/// # Errors
/// There is no such node; the kernel neither makes nor binds one.
pub fn copy_device(at: &Path, host: &Path) -> Result<()> {
    use std::os::unix::fs::MetadataExt;
    let found = std::fs::symlink_metadata(host).during(|| format!("cannot look at {}", host.display()))?;
    let kind = SFlag::from_bits_truncate(found.mode() & SFlag::S_IFMT.bits());
    if node(at, kind, found.mode(), found.rdev()).is_err() {
        return bind_device(at, host);
    }
    std::os::unix::fs::chown(at, Some(found.uid()), Some(found.gid()))
        .during(|| format!("cannot give {} to its owner", at.display()))
}

fn node(at: &Path, kind: SFlag, mode: u32, number: u64) -> nix::Result<()> {
    process::with_umask(0, || stat::mknod(at, kind, Mode::from_bits_truncate(mode), number))
}

fn bind_device(at: &Path, host: &Path) -> Result<()> {
    std::fs::write(at, "").during(|| format!("cannot make {}", at.display()))?;
    bind(host, at, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_mountinfo_has_octal_numbers() {
        let cases = [
            ("/plain", "/plain"),
            ("/a\\040b\\011c", "/a b\tc"),
            ("/\\134040", "/\\040"),
            ("/\\", "/\\"),
            ("/\\04", "/\\04"),
            ("/\\999", "/\\999"),
        ];
        for (written, path) in cases {
            assert_eq!(path_of_mountinfo(written), Path::new(path), "{written}");
        }
    }
}
