//! Namespaces. `setns` and `unshare` act on the calling thread, and rootless there is no way back
//! into the host's network namespace: so every visit is made by a thread that is thrown away
//! afterwards.

use super::process::flags;
use nix::sched::CloneFlags;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Makes a network namespace. It lives as long as the descriptor or a process in it: nothing can
/// leak.
///
/// # Errors
/// `EPERM`: this process may make none. `ENOSPC`: `user.max_net_namespaces` is reached. `EAGAIN`:
/// no thread can be made.
pub fn new_network() -> io::Result<OwnedFd> {
    on_thread(|| {
        nix::sched::unshare(CloneFlags::CLONE_NEWNET)?;
        Ok(File::open("/proc/thread-self/ns/net")?.into())
    })?
}

/// Returns the network namespace of the process behind a pidfd (Linux 5.8), whichever processes
/// /proc shows here.
///
/// # Errors
/// `ESRCH`: it has ended.
pub fn network_of(process: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    in_network(process, || Ok(File::open("/proc/thread-self/ns/net")?.into()))?
}

/// Runs `visit` on a thread of its own inside the network namespace. Blocks the caller for that
/// long.
///
/// # Errors
/// `EPERM`: the namespace may not be entered. `EINVAL`: the descriptor is not a network namespace.
/// `EAGAIN`: no thread can be made. `Other`: `visit` panicked.
pub fn in_network<T: Send>(network: BorrowedFd<'_>, visit: impl FnOnce() -> T + Send) -> io::Result<T> {
    on_thread(move || {
        nix::sched::setns(network, CloneFlags::CLONE_NEWNET)?;
        Ok(visit())
    })?
}

fn on_thread<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().spawn_scoped(scope, work)?;
        thread.join().map_err(|_| io::Error::other("a namespace thread panicked"))
    })
}

/// Writes one kernel setting, e.g. `net/ipv4/ip_forward`, in the namespaces of this process.
///
/// # Errors
/// The kernel has no such setting, or refuses the value.
pub fn set_sysctl(name: &str, value: &str) -> super::Result<()> {
    use super::Context;
    std::fs::write(format!("/proc/sys/{name}"), value).during(|| format!("cannot set {name}={value}"))
}

/// Writes kernel settings below /proc/sys in a network namespace, in the order given.
///
/// # Errors
/// As [`in_network`], or as [`set_sysctl`]; then the settings before the refused one are written.
pub fn set_network_sysctls(network: BorrowedFd<'_>, settings: &[(&str, &str)]) -> super::Result<()> {
    use super::Context;
    let write = || settings.iter().try_for_each(|(name, value)| set_sysctl(name, value));
    in_network(network, write).during(|| "cannot enter a network namespace".into())?
}

/// Switches IPv6 off for all interfaces of a network namespace, those to come included: by default
/// the kernel gives each an address and accepts router advertisements from any host. A kernel
/// without IPv6 has nothing to switch off.
///
/// # Errors
/// The namespace cannot be entered; the kernel refuses a value.
pub fn disable_ipv6(network: BorrowedFd<'_>) -> super::Result<()> {
    use super::Context;
    let write = || write_no_ipv6(Path::new("/proc/sys"));
    in_network(network, write).during(|| "cannot enter a network namespace".into())?
}

/// The kernel settings of a namespace without IPv6. `default` is copied by each new interface.
const NO_IPV6: &[(&str, &str)] = &[
    ("net/ipv6/conf/all/accept_ra", "0"),
    ("net/ipv6/conf/default/accept_ra", "0"),
    ("net/ipv6/conf/all/disable_ipv6", "1"),
    ("net/ipv6/conf/default/disable_ipv6", "1"),
];

fn write_no_ipv6(settings: &Path) -> super::Result<()> {
    use super::Context;
    for (name, value) in NO_IPV6 {
        let file = match File::options().write(true).open(settings.join(name)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            opened => opened,
        };
        file.and_then(|mut file| file.write_all(value.as_bytes()))
            .during(|| format!("cannot set {name}={value}"))?;
    }
    Ok(())
}

fn only(clone_flags: u64) -> CloneFlags {
    CloneFlags::from_bits_truncate(clone_flags as i32)
}

/// Joins the namespaces of the process behind a pidfd (Linux 5.8), or the one behind a namespace's
/// own descriptor. A PID namespace counts for children only. Only in a single-threaded process.
///
/// # Errors
/// `EINVAL`: this process has more threads, or the flags do not fit the namespace. `EPERM`: it may
/// not be entered. `ESRCH`: the process has ended.
pub fn join(what: impl AsFd, clone_flags: u64) -> io::Result<()> {
    Ok(nix::sched::setns(what, only(clone_flags))?)
}

/// Makes a mount namespace of this process' own, in which no mount is shared with the outer one.
/// Only in a single-threaded process.
///
/// # Errors
/// The kernel refuses.
pub fn own_mounts() -> super::Result<()> {
    use super::Context;
    nix::sched::unshare(CloneFlags::CLONE_NEWNS).during(|| "cannot make a mount namespace".into())?;
    super::mount::make_all_private()
}

/// Leaves the cgroup namespace for one whose root is the cgroup this process is in.
///
/// # Errors
/// `EPERM`: this process is not root in its user namespace. `ENOSPC`: a limit of namespaces is
/// reached.
pub fn own_cgroup_view() -> io::Result<()> {
    Ok(nix::sched::unshare(only(flags::NEWCGROUP))?)
}

/// Returns the user namespace that a namespace belongs to. Source: ioctl_ns(2).
///
/// # Errors
/// `EPERM`: it is outside of this process' own.
pub fn owner(namespace: &impl AsFd) -> io::Result<OwnedFd> {
    use std::os::fd::{AsRawFd, FromRawFd};
    const NS_GET_USERNS: u32 = 0xb701;
    // SAFETY: a borrowed descriptor and a number; no pointers.
    let fd = super::check(unsafe { libc::ioctl(namespace.as_fd().as_raw_fd(), NS_GET_USERNS as _) }.into())?;
    // SAFETY: the kernel just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Opens a namespace of a running process, by the name it has in /proc, e.g. `net`.
///
/// # Errors
/// `ENOENT`: no such process in this /proc, or no such kind. `EACCES`: the process may not be
/// traced.
pub fn of_process(pid: i32, kind: &str) -> io::Result<OwnedFd> {
    Ok(File::open(format!("/proc/{pid}/ns/{kind}"))?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the kernel shows no fresh /proc, numbers of processes are those of another PID
    /// namespace.
    #[test]
    fn the_network_of_a_process_is_found_by_its_descriptor() {
        use std::os::unix::fs::MetadataExt;
        let inode = |fd: OwnedFd| File::from(fd).metadata().unwrap().ino();
        let me = crate::process::pidfd_open(std::process::id() as i32).unwrap();
        let found = match network_of(me.as_fd()) {
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => return, // setns(2) needs rights
            found => found.unwrap(),
        };
        assert_eq!(inode(found), inode(of_process(std::process::id() as i32, "net").unwrap()));
    }

    #[test]
    fn ipv6_is_switched_off_where_the_kernel_has_it() {
        let settings = tempfile::tempdir().unwrap();
        write_no_ipv6(settings.path()).unwrap(); // a kernel without IPv6
        for (name, value) in NO_IPV6 {
            let file = settings.path().join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, if *value == "1" { "0" } else { "1" }).unwrap();
        }
        write_no_ipv6(settings.path()).unwrap();
        for (name, value) in NO_IPV6 {
            assert_eq!(std::fs::read_to_string(settings.path().join(name)).unwrap(), *value, "{name}");
        }
        let all = settings.path().join("net/ipv6/conf/all/disable_ipv6");
        std::fs::remove_file(&all).unwrap();
        std::fs::create_dir(&all).unwrap();
        let refused = write_no_ipv6(settings.path()).unwrap_err();
        assert!(refused.what.contains("disable_ipv6=1"), "{}", refused.what);
    }
}
