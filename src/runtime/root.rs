//! A container's root file system, built by the container's own first process.
//!
//! Volumes are mounted before the root is changed, onto descriptors that [`crate::linux::beneath`] found inside the new root. A name in an image or in a volume
//! therefore leads nowhere else, also if another container of the pod changes it meanwhile (CVE-2021-30465). Nothing is ever mounted over
//! or in /proc (CVE-2019-16884, CVE-2019-19921), and what hides files of the kernel is opened before a pod's volume could replace it
//! (CVE-2025-31133).

use super::spec::{Container, Mount};
use crate::linux::beneath::{Kind, Root, Source};
use crate::linux::mount::{self, Attributes, Flags};
use crate::linux::user::Ids;
use crate::linux::{Context, Error, Result};
use nix::libc;
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::Path;

/// Files of the kernel that a container must not even read. containerd's and runc's list; `thermal_throttle` of each CPU comes on top.
const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];
/// In each of its directories `cpu0`, `cpu1`, … the directory `thermal_throttle` is masked.
const CPUS: &str = "/sys/devices/system/cpu";
/// CPUs whose `thermal_throttle` is masked, at most: as many as the kernel may be configured for (CONFIG_NR_CPUS).
const CPUS_MAX: usize = 8192;
/// Files of the kernel that a container may only read.
const READ_ONLY: &[&str] = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];
const DEVICES: &[(&str, u64, u64)] =
    &[("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];
/// Files and directories in one writable layer.
const INODES_MAX: u64 = 1 << 18;
/// Bytes of a container's `/dev`, and of its `/dev/shm`: containerd's bounds.
const DEV_MAX: u64 = 64 << 20;
/// Files in a container's `/dev`, and in its `/dev/shm`.
const DEV_INODES_MAX: u64 = 4096;
/// Terminals that processes of one container may have open: without a bound one container could take all that the machine has
/// (`kernel.pty.max`, 4096 for all containers).
const TERMINALS_MAX: u32 = 256;

/// Builds the root and makes it `/`. The caller has its own mount namespace and is in all its other namespaces. Returns what this
/// machine does not allow, a sentence each.
///
/// # Errors
/// A volume is missing, or its path leads where it must not; the kernel forbids a mount.
pub fn enter(container: &Container, ids: Ids) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    mount::make_all_private()?;
    let sources: Vec<(Source, &Mount)> =
        container.mounts.iter().map(|wanted| Ok((wanted.source()?, wanted))).collect::<Result<_>>()?;
    let null = null_device()?;
    let empty = layers(container, ids)?;
    let merged = Path::new("merged");
    let has_proc = proc_dev_sys(merged, ids, container.privileged)?;
    if !has_proc {
        warnings.push(
            "this machine allows no /proc of a container's own, so /proc is empty; see `ropewalk doctor`"
                .to_string(),
        );
    }
    let root = Root::open(merged)?;
    for (source, wanted) in &sources {
        volume(&root, source, wanted, container.privileged)?;
    }
    drop(sources);
    if !container.privileged {
        hide(&root, &null, &empty)?;
    }
    mount::enter_opened_root(&root)?;
    drop(root);
    mount::leave_old_root()?;
    if container.read_only_root {
        mount::make_read_only(Path::new("/"))?;
    }
    Ok(warnings)
}

/// The image below, a bounded layer of the container's own above: a tmpfs that only this container sees, and that goes with it. Paths are
/// relative and `lower` is a link, because mount options end at one page. Returns an empty directory beside it.
fn layers(container: &Container, ids: Ids) -> Result<Root> {
    let directory = &container.directory;
    let flags = Flags::MS_NOSUID | Flags::MS_NODEV;
    mount::tmpfs(directory, flags, 0o755, container.layer_max, INODES_MAX)?;
    std::env::set_current_dir(directory).during(|| format!("cannot enter {}", directory.display()))?;
    for name in ["upper", "work", "merged", "empty"] {
        make_dir(Path::new(name))?;
    }
    symlink(&container.image, "lower").during(|| "cannot link the image".into())?;
    let options = "lowerdir=lower,upperdir=upper,workdir=work";
    let options = if ids.rootless() { format!("{options},userxattr") } else { options.to_string() };
    mount::mount("overlay", Path::new("merged"), Flags::MS_NODEV, &options)?;
    Root::open(Path::new("empty"))
}

/// Returns whether there is a /proc. The outer one is no substitute: it shows the processes of all pods, and through them their files.
fn proc_dev_sys(root: &Path, ids: Ids, privileged: bool) -> Result<bool> {
    for name in ["proc", "dev", "sys", "tmp"] {
        make_dir(&root.join(name))?;
    }
    let has_proc = match mount::fresh_proc(&root.join("proc")) {
        Ok(()) => true,
        Err(e) if e.cause.kind() == io::ErrorKind::PermissionDenied => false,
        Err(e) => return Err(e),
    };
    let plain = Flags::MS_NOSUID | Flags::MS_NODEV | Flags::MS_NOEXEC;
    if !has_proc {
        mount::mount("tmpfs", &root.join("proc"), plain | Flags::MS_RDONLY, "size=4k,mode=555")?;
    }
    let dev = root.join("dev");
    if privileged {
        mount::bind(Path::new("/dev"), &dev, false)?;
    } else {
        devices(&dev, ids)?;
    }
    let read_only = if privileged { Flags::empty() } else { Flags::MS_RDONLY };
    mount::mount("sysfs", &root.join("sys"), plain | read_only, "")?;
    Ok(has_proc)
}

fn devices(dev: &Path, ids: Ids) -> Result<()> {
    mount::tmpfs(dev, Flags::MS_NOSUID | Flags::MS_STRICTATIME, 0o755, DEV_MAX, DEV_INODES_MAX)?;
    for (name, major, minor) in DEVICES {
        mount::device(&dev.join(name), &Path::new("/dev").join(name), *major, *minor)?;
    }
    for name in ["pts", "shm", "mqueue"] {
        make_dir(&dev.join(name))?;
    }
    let plain = Flags::MS_NOSUID | Flags::MS_NOEXEC;
    // gid 5 (tty) must exist in our user namespace.
    let group = if ids == Ids::Single { "" } else { ",gid=5" };
    let options = format!("newinstance,ptmxmode=0666,mode=0620,max={TERMINALS_MAX}{group}");
    mount::mount("devpts", &dev.join("pts"), plain, &options)?;
    mount::tmpfs(&dev.join("shm"), plain | Flags::MS_NODEV, 0o1777, DEV_MAX, DEV_INODES_MAX)?;
    mount::mount("mqueue", &dev.join("mqueue"), plain | Flags::MS_NODEV, "")?;
    for (to, link) in [
        ("pts/ptmx", "ptmx"),
        ("/proc/self/fd", "fd"),
        ("/proc/self/fd/0", "stdin"),
        ("/proc/self/fd/1", "stdout"),
        ("/proc/self/fd/2", "stderr"),
    ] {
        symlink(to, dev.join(link)).during(|| format!("cannot link /dev/{link}"))?;
    }
    Ok(())
}

/// Mounts one volume inside the new root. Devices in it cannot be opened, but setuid programs work, as with containerd.
fn volume(root: &Root, source: &Source, wanted: &Mount, privileged: bool) -> Result<()> {
    let named = |e: Error| {
        Error::new(format!("cannot mount a volume on {}: {}", wanted.to.display(), e.what), e.cause)
    };
    let refused = |why: &str| {
        let cause = io::Error::new(io::ErrorKind::PermissionDenied, why);
        Err(Error::new(format!("cannot mount a volume on {}", wanted.to.display()), cause))
    };
    let target: OwnedFd = if source.is_dir()? {
        root.make_dirs_in_root(&wanted.to, 0o755).map_err(named)?.into()
    } else {
        let there = root.open_in_root(&wanted.to, Kind::Place);
        there
            .or_else(|_| {
                root.make_file_in_root(&wanted.to, 0o644)?;
                root.open_in_root(&wanted.to, Kind::Place)
            })
            .map_err(named)?
    };
    if is_same(&target, root)? {
        return refused("it is the container's root");
    }
    if fstatfs(&target).during(|| "cannot look at a mount point".into())?.filesystem_type()
        == PROC_SUPER_MAGIC
    {
        return refused("it is inside /proc");
    }
    let attributes = Attributes { read_only: wanted.read_only, no_devices: !privileged };
    mount::attach(source.as_fd(), target.as_fd(), attributes).map_err(named)
}

fn is_same(a: &impl AsFd, b: &impl AsFd) -> Result<bool> {
    let stat = |fd| nix::sys::stat::fstat(fd).during(|| "cannot look at a mount point".into());
    let (a, b) = (stat(a.as_fd())?, stat(b.as_fd())?);
    Ok((a.st_dev, a.st_ino) == (b.st_dev, b.st_ino))
}

fn make_dir(path: &Path) -> Result<()> {
    fs::create_dir_all(path).during(|| format!("cannot make {}", path.display()))
}

/// The machine's /dev/null, which covers files of the kernel.
fn null_device() -> Result<OwnedFd> {
    let null = Root::open(Path::new("/dev"))?.open_in_root(Path::new("null"), Kind::Place)?;
    let found = nix::sys::stat::fstat(&null).during(|| "cannot look at /dev/null".into())?;
    let number = (nix::sys::stat::major(found.st_rdev), nix::sys::stat::minor(found.st_rdev));
    match found.st_mode & libc::S_IFMT == libc::S_IFCHR && number == (1, 3) {
        true => Ok(null),
        false => Err(Error::new("/dev/null is not the null device", io::ErrorKind::InvalidData)),
    }
}

/// Hides files of the kernel in the new root. No link is followed: a volume may lie where these files should be.
fn hide(root: &Root, null: &OwnedFd, empty: &Root) -> Result<()> {
    let find = |path: &str| root.open_beneath(Path::new(path.trim_start_matches('/')), Kind::Place).ok();
    let read_only = Attributes { read_only: true, no_devices: false };
    for found in READ_ONLY.iter().filter_map(|path| find(path)) {
        mount::attach(found.as_fd(), found.as_fd(), read_only)?;
    }
    let cpus = (0..CPUS_MAX).map(|n| format!("{CPUS}/cpu{n}")).take_while(|path| find(path).is_some());
    let throttles = cpus.map(|path| format!("{path}/thermal_throttle"));
    for path in MASKED.iter().map(|path| (*path).to_string()).chain(throttles) {
        let Some(found) = find(&path) else { continue }; // this kernel does not have it
        let kind =
            nix::sys::stat::fstat(&found).during(|| format!("cannot look at {path}"))?.st_mode & libc::S_IFMT;
        let cover = if kind == libc::S_IFDIR { empty.as_fd() } else { null.as_fd() };
        let attributes = if kind == libc::S_IFDIR { read_only } else { Attributes::default() };
        mount::attach(cover, found.as_fd(), attributes)
            .map_err(|e| Error::new(format!("cannot hide {path}: {}", e.what), e.cause))?;
    }
    Ok(())
}
