//! The /dev of a container: a file system of its own, with few devices unless it is privileged.

use super::layers::make_dir;
use linux::mount::{self, Flags};
use linux::user::Ids;
use linux::{Context, Error, Result};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

const DEVICES: &[(&str, u64, u64)] =
    &[("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];
/// Bytes of a container's `/dev`, and of its `/dev/shm`: containerd's bounds.
const DEV_MAX: u64 = 64 << 20;
/// Files in a container's `/dev`, and in its `/dev/shm`.
const DEV_INODES_MAX: u64 = 4096;
/// Terminals that processes of one container may have open: without a bound one container could
/// take all that the machine has (`kernel.pty.max`, 4096 for all containers).
const TERMINALS_MAX: u32 = 256;

/// Fills a new /dev with what every container has: devices that harm nothing, terminals, shared
/// memory and message queues of its own.
///
/// # Errors
/// The kernel forbids a mount.
pub(crate) fn devices(dev: &Path, ids: Ids) -> Result<()> {
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
    mount::mount("mqueue", &dev.join("mqueue"), plain | Flags::MS_NODEV, "")
}

/// Makes the links of a /dev, as runc does: `core` only where the kernel shows its memory as a file
/// (CONFIG_PROC_KCORE), which is masked then.
///
/// # Errors
/// A link is there already, or the file system is full.
pub(crate) fn links(dev: &Path, proc: &Path) -> Result<()> {
    let core = fs::symlink_metadata(proc.join("kcore")).is_ok().then_some(("/proc/kcore", "core"));
    let always = [
        ("pts/ptmx", "ptmx"),
        ("/proc/self/fd", "fd"),
        ("/proc/self/fd/0", "stdin"),
        ("/proc/self/fd/1", "stdout"),
        ("/proc/self/fd/2", "stderr"),
    ];
    for (to, link) in always.into_iter().chain(core) {
        symlink(to, dev.join(link)).during(|| format!("cannot link /dev/{link}"))?;
    }
    Ok(())
}

/// Names in /dev that are no devices of the machine: a container has them of its own, or must not
/// share them. containerd leaves out the same.
const NO_DEVICES: &[&str] = &["pts", "shm", "fd", "mqueue", "console", ".lxc", ".lxd-mounts", ".udev"];
/// Directories within directories of /dev; udev makes two.
const DEV_DEPTH_MAX: usize = 8;

/// Adds the machine's device nodes to the /dev of a privileged container. Its files, links and file
/// systems stay outside: what a container writes to /dev goes with the container.
pub(crate) fn machine_devices(host: &Path, dev: &Path, depth: usize, missing: &mut Vec<Error>) {
    use std::os::unix::fs::FileTypeExt;
    for entry in fs::read_dir(host).into_iter().flatten().flatten() {
        let (name, from) = (entry.file_name(), entry.path());
        let Ok(kind) = entry.file_type() else { continue }; // it went away
        if NO_DEVICES.iter().any(|known| name == *known) {
            continue;
        }
        let to = dev.join(name);
        if kind.is_dir() && depth < DEV_DEPTH_MAX {
            machine_devices(&from, &to, depth + 1, missing);
        } else if (kind.is_char_device() || kind.is_block_device()) && fs::symlink_metadata(&to).is_err() {
            let made = make_dir(dev).and_then(|()| mount::copy_device(&to, &from));
            missing.extend(made.err());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_links_of_the_machines_dev_stay_outside() {
        let tmp = tempfile::tempdir().unwrap();
        let (host, dev) = (tmp.path().join("host"), tmp.path().join("dev"));
        make_dir(&host.join("shm/of/others")).unwrap();
        fs::write(host.join("file"), "").unwrap();
        symlink("/dev/null", host.join("link")).unwrap();
        symlink("/dev", host.join("directory")).unwrap();
        let mut missing = Vec::new();
        machine_devices(&host, &dev, 0, &mut missing);
        assert!(missing.is_empty() && !dev.exists(), "{missing:?}");
    }

    #[test]
    fn dev_has_a_link_to_the_kernels_memory_where_there_is_a_file_of_it() {
        let tmp = tempfile::tempdir().unwrap();
        for (name, files) in [("plain", &["stat"][..]), ("kcore", &["stat", "kcore"][..])] {
            let (dev, proc) = (tmp.path().join(name), tmp.path().join(name).join("proc"));
            make_dir(&proc).unwrap();
            files.iter().for_each(|file| fs::write(proc.join(file), "").unwrap());
            links(&dev, &proc).unwrap();
            assert_eq!(fs::read_link(dev.join("core")).is_ok(), name == "kcore");
            assert_eq!(fs::read_link(dev.join("fd")).unwrap(), Path::new("/proc/self/fd"));
        }
    }
}
