//! A container's root file system, built by the container's own first process.

use super::spec::{Container, Mount};
use crate::linux::beneath::Source;
use crate::linux::mount::{self, Flags};
use crate::linux::user::Ids;
use crate::linux::{Context, Result};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// Files of the kernel that a container must not even read.
const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
/// Files of the kernel that a container may only read.
const READ_ONLY: &[&str] = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];
const DEVICES: &[(&str, u64, u64)] =
    &[("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// Builds the root and makes it `/`. The caller has its own mount namespace and is in all its other namespaces.
pub fn enter(container: &Container, ids: Ids) -> Result<()> {
    mount::make_all_private()?;
    let sources: Vec<(Source, &Mount)> =
        container.mounts.iter().map(|wanted| Ok((wanted.source()?, wanted))).collect::<Result<_>>()?;
    overlay(&container.directory, ids)?;
    let merged = Path::new("merged");
    proc_dev_sys(merged, ids, container.privileged)?;
    mount::enter_root(merged)?;
    for (source, wanted) in &sources {
        volume(source, wanted)?;
    }
    mount::leave_old_root()?;
    if !container.privileged {
        hide()?;
    }
    if container.read_only_root {
        mount::make_read_only(Path::new("/"))?;
    }
    Ok(())
}

/// The image below, a layer of the container's own above. Paths are relative and `lower` is a link, because mount options end
/// at one page.
fn overlay(directory: &Path, ids: Ids) -> Result<()> {
    std::env::set_current_dir(directory).during(|| format!("cannot enter {}", directory.display()))?;
    let options = "lowerdir=lower,upperdir=upper,workdir=work";
    let options = if ids.rootless() { format!("{options},userxattr") } else { options.to_string() };
    mount::mount("overlay", Path::new("merged"), Flags::MS_NODEV, &options)
}

fn proc_dev_sys(root: &Path, ids: Ids, privileged: bool) -> Result<()> {
    for name in ["proc", "dev", "sys", "tmp"] {
        make_dir(&root.join(name))?;
    }
    mount::proc_or_outer(&root.join("proc"), Path::new("/proc"))?;
    let dev = root.join("dev");
    if privileged {
        mount::bind(Path::new("/dev"), &dev, false)?;
    } else {
        devices(&dev, ids)?;
    }
    let plain = Flags::MS_NOSUID | Flags::MS_NODEV | Flags::MS_NOEXEC;
    let read_only = if privileged { Flags::empty() } else { Flags::MS_RDONLY };
    mount::mount("sysfs", &root.join("sys"), plain | read_only, "")
}

fn devices(dev: &Path, ids: Ids) -> Result<()> {
    mount::mount("tmpfs", dev, Flags::MS_NOSUID | Flags::MS_STRICTATIME, "mode=755,size=64m")?;
    for (name, major, minor) in DEVICES {
        mount::device(&dev.join(name), &Path::new("/dev").join(name), *major, *minor)?;
    }
    for name in ["pts", "shm", "mqueue"] {
        make_dir(&dev.join(name))?;
    }
    let plain = Flags::MS_NOSUID | Flags::MS_NOEXEC;
    // gid 5 (tty) must exist in our user namespace.
    let group = if ids == Ids::Single { "" } else { ",gid=5" };
    let options = format!("newinstance,ptmxmode=0666,mode=0620{group}");
    mount::mount("devpts", &dev.join("pts"), plain, &options)?;
    mount::mount("tmpfs", &dev.join("shm"), plain | Flags::MS_NODEV, "mode=1777,size=64m")?;
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

/// Mounts one volume. We are inside the new root already, so no link in it can lead the mount elsewhere.
fn volume(source: &Source, wanted: &Mount) -> Result<()> {
    if source.is_dir()? {
        make_dir(&wanted.to)?;
    } else if !wanted.to.exists() {
        wanted.to.parent().map_or(Ok(()), make_dir)?;
        fs::write(&wanted.to, "").during(|| format!("cannot make {}", wanted.to.display()))?;
    }
    mount::bind_source(source, &wanted.to, wanted.read_only)
}

fn make_dir(path: &Path) -> Result<()> {
    fs::create_dir_all(path).during(|| format!("cannot make {}", path.display()))
}

fn hide() -> Result<()> {
    for path in READ_ONLY.iter().map(Path::new).filter(|path| path.exists()) {
        mount::bind(path, path, true)?;
    }
    for path in MASKED.iter().map(Path::new) {
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => mount::mount("tmpfs", path, Flags::MS_RDONLY, "size=0k")?,
            Ok(_) => mount::bind(Path::new("/dev/null"), path, false)?,
            Err(_) => {} // this kernel does not have it
        }
    }
    Ok(())
}
