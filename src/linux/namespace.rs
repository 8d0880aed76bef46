//! Namespaces. `setns` and `unshare` act on the calling thread, and rootless there is no way back into the host's network
//! namespace: so every visit is made by a thread that is thrown away afterwards.

use super::process::flags;
use nix::sched::CloneFlags;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A new network namespace. It lives as long as the descriptor or a process in it: nothing can leak.
pub fn new_network() -> io::Result<OwnedFd> {
    on_thread(|| {
        nix::sched::unshare(CloneFlags::CLONE_NEWNET)?;
        Ok(File::open("/proc/thread-self/ns/net")?.into())
    })?
}

/// Runs `visit` on a thread of its own inside the network namespace. Blocks the caller for that long.
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

/// Writes kernel settings below /proc/sys in a network namespace.
pub fn set_network_sysctls(network: BorrowedFd<'_>, settings: &[(&str, &str)]) -> super::Result<()> {
    use super::Context;
    let write = || settings.iter().try_for_each(|(name, value)| set_sysctl(name, value));
    in_network(network, write).during(|| "cannot enter a network namespace".into())?
}

fn only(clone_flags: u64) -> CloneFlags {
    CloneFlags::from_bits_truncate(clone_flags as i32)
}

/// Joins the namespaces of the process behind a pidfd (Linux 5.8), or the one behind a namespace's own descriptor. A PID
/// namespace counts for children only. Only in a single-threaded process.
pub fn join(what: impl AsFd, clone_flags: u64) -> io::Result<()> {
    Ok(nix::sched::setns(what, only(clone_flags))?)
}

/// A mount namespace of this process' own, in which no mount is shared with the outer one. Only in a single-threaded process.
///
/// # Errors
/// The kernel refuses.
pub fn own_mounts() -> super::Result<()> {
    use super::Context;
    nix::sched::unshare(CloneFlags::CLONE_NEWNS).during(|| "cannot make a mount namespace".into())?;
    super::mount::make_all_private()
}

/// Leaves the cgroup namespace for one whose root is the cgroup this process is in.
pub fn own_cgroup_view() -> io::Result<()> {
    Ok(nix::sched::unshare(only(flags::NEWCGROUP))?)
}

/// The user namespace that a namespace belongs to. Source: ioctl_ns(2).
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

/// A namespace of a running process, by the name it has in /proc, e.g. `net`.
pub fn of_process(pid: i32, kind: &str) -> io::Result<OwnedFd> {
    Ok(File::open(format!("/proc/{pid}/ns/{kind}"))?.into())
}
