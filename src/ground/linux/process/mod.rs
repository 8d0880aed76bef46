//! Processes that are named by file descriptors: clone3, pidfds, exits.

mod exec;

pub use exec::{exec, leave_descriptors, start_by_execve};

use super::check;
use nix::sys::stat::{self, Mode};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// clone(2) flags that this room's callers use.
pub mod flags {
    /// A new mount namespace.
    pub const NEWNS: u64 = libc::CLONE_NEWNS as u64;
    /// A new PID namespace, of which the child is pid 1.
    pub const NEWPID: u64 = libc::CLONE_NEWPID as u64;
    /// A new network namespace, without interfaces but loopback.
    pub const NEWNET: u64 = libc::CLONE_NEWNET as u64;
    /// A new namespace of System V IPC and POSIX message queues.
    pub const NEWIPC: u64 = libc::CLONE_NEWIPC as u64;
    /// A new namespace of host name and domain name.
    pub const NEWUTS: u64 = libc::CLONE_NEWUTS as u64;
    /// A new view of cgroups, whose root is the cgroup that the child begins in.
    pub const NEWCGROUP: u64 = libc::CLONE_NEWCGROUP as u64;
    /// A new user namespace, in which the child has all capabilities.
    pub const NEWUSER: u64 = libc::CLONE_NEWUSER as u64;
    /// The child becomes the caller's sibling: its parent is the caller's parent.
    pub const PARENT: u64 = libc::CLONE_PARENT as u64;
}

/// The flag of clone3(2). libc's own constant is a c_int, to which it truncates to 0.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// A process that was just made. The descriptor stays valid, and never means a stranger, whatever
/// happens to the pid.
#[derive(Debug)]
pub struct Child {
    /// Its number in this process' PID namespace.
    pub pid: i32,
    /// Its descriptor, which `poll` reports as readable when the process has ended.
    pub pidfd: OwnedFd,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It returned from `main` or called `exit`, with this code from 0 to 255.
    Code(i32),
    /// This signal ended it, e.g. 9 for `SIGKILL`.
    Signal(i32),
}

impl Exit {
    /// As a shell and the kubelet count: 128 + signal for a process ended by one.
    pub fn code(self) -> i32 {
        match self {
            Exit::Code(code) => code,
            Exit::Signal(signal) => 128 + signal,
        }
    }
}

/// The umask of containers, as runc sets it, and of everything that is made for them.
pub const CONTAINER_UMASK: u32 = 0o022;

/// Sets the umask of this process and returns the one it had.
pub fn set_umask(mask: u32) -> u32 {
    stat::umask(Mode::from_bits_truncate(mask)).bits()
}

/// Does `work` with another umask. Afterwards this process has its own one again, because its files
/// outside of containers are the user's. Only in a single-threaded process: threads share a umask.
pub(crate) fn with_umask<T>(mask: u32, work: impl FnOnce() -> T) -> T {
    let own = set_umask(mask);
    let done = work();
    set_umask(own);
    done
}

/// The proof that this process is a child of [`spawn_forked`]. The child begins with one thread,
/// and it ends by [`exit_now`] or exec: what its parent owned when it was made is never dropped in
/// it.
#[derive(Clone, Copy, Debug)]
pub struct Forked(());

/// Makes a child that runs `body` and ends with its value; a panic ends it with 101. Returns in the
/// parent only.
///
/// # Errors
/// `EINVAL`: this process has more than one thread (a fork would copy locks that no thread opens
/// again). `EPERM`: it may not make one of the namespaces. `EAGAIN`: a limit of processes is
/// reached.
pub fn spawn_forked(
    clone_flags: u64,
    cgroup: Option<BorrowedFd<'_>>,
    body: impl FnOnce(Forked) -> i32,
) -> io::Result<Child> {
    unshare_threads()?;
    let mut pidfd: RawFd = -1;
    // SAFETY: clone_args is plain data, for which all zeroes is "nothing asked for".
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = clone_flags | libc::CLONE_PIDFD as u64;
    args.pidfd = &raw mut pidfd as u64;
    // A sibling inherits its exit signal from the caller; asking for one is EINVAL.
    args.exit_signal = if clone_flags & flags::PARENT == 0 { libc::SIGCHLD as u64 } else { 0 };
    if let Some(directory) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = directory.as_raw_fd() as u64;
    }
    // SAFETY: without CLONE_VM this is a fork: the child gets a copy of memory, and this process
    // was checked to have no other thread, so no lock is held by a thread that does not exist in
    // the child. `args` and `pidfd` outlive the call.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of_val(&args)) })?;
    if pid == 0 {
        let code = catch_unwind(AssertUnwindSafe(|| body(Forked(())))).unwrap_or(101);
        exit_now(code)
    }
    // SAFETY: the kernel stored a new descriptor there, which no other value owns.
    Ok(Child { pid: pid as i32, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } })
}

/// Ends this process without running destructors and exit handlers, as a forked child must.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit never returns and touches no memory of ours.
    unsafe { libc::_exit(code) }
}

/// Returns the parent of a process; `None` once the process has ended. It is the fourth word of
/// /proc/PID/stat, whose second is a name in brackets that may hold any bytes (proc_pid_stat(5)).
pub fn parent_of(pid: i32) -> Option<i32> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    String::from_utf8_lossy(&stat).rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// Opens a descriptor for a process by its number. The caller must know that the number is not a
/// stranger's, e.g. its own parent's.
///
/// # Errors
/// `ESRCH`: no such process. `EMFILE`: no descriptor is left.
pub fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers; a non-negative answer is a new descriptor.
    let fd = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: as above: new, and ours alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Signals the process behind `pidfd`, never another one that got its pid later. Source:
/// pidfd_send_signal(2), Linux 5.1.
///
/// # Errors
/// `ESRCH`: it has ended and was waited for. `EPERM`: it belongs to another user.
pub fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: `pidfd` is borrowed, so it stays open for the call. A null `info` means "as kill(2)
    // would fill it".
    let answer = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, info, 0u32) };
    check(answer).map(drop)
}

/// Collects the exit of the child behind `pidfd`; with `block` waits for it, else `None` while it
/// runs.
///
/// # Errors
/// `ECHILD`: it is not a child of this process, or was collected before.
pub fn wait_pidfd(pidfd: BorrowedFd<'_>, block: bool) -> io::Result<Option<Exit>> {
    let options = libc::WEXITED | libc::__WALL | if block { 0 } else { libc::WNOHANG };
    wait_id(libc::P_PIDFD, pidfd.as_raw_fd() as u32, options).map(|found| found.map(|(_, exit)| exit))
}

/// Returns the pid of some ended child, which stays a zombie; `None` if there is none.
///
/// # Errors
/// A filter refuses waitid(2).
pub(crate) fn peek_ended_child() -> io::Result<Option<i32>> {
    let options = libc::WEXITED | libc::__WALL | libc::WNOHANG | libc::WNOWAIT;
    match wait_id(libc::P_ALL, 0, options) {
        Err(e) if e.raw_os_error() == Some(libc::ECHILD) => Ok(None),
        other => Ok(other?.map(|(pid, _)| pid)),
    }
}

/// Collects some ended child; with `block` waits for one, else `None` while all run.
///
/// # Errors
/// `ECHILD`: there are no children.
pub fn wait_any(block: bool) -> io::Result<Option<(i32, Exit)>> {
    wait_id(libc::P_ALL, 0, libc::WEXITED | if block { 0 } else { libc::WNOHANG })
}

/// Collects an ended child by its number. Returns whether it has ended.
///
/// # Errors
/// `ECHILD`: it is no child, or was collected.
pub fn reap(pid: i32) -> io::Result<bool> {
    wait_id(libc::P_PID, pid as u32, libc::WEXITED | libc::__WALL | libc::WNOHANG)
        .map(|found| found.is_some())
}

fn wait_id(kind: libc::idtype_t, id: u32, options: i32) -> io::Result<Option<(i32, Exit)>> {
    loop {
        // SAFETY: siginfo_t is plain data; all zeroes is what waitid leaves when it finds no child.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        // SAFETY: `info` outlives the call and is large enough by its type.
        match check(unsafe { libc::waitid(kind, id, &raw mut info, options) }.into()) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
            Ok(_) => {}
        }
        // SAFETY: waitid filled the fields of a SIGCHLD, or left zeroes.
        let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
        return Ok((pid != 0).then(|| {
            let exit =
                if info.si_code == libc::CLD_EXITED { Exit::Code(status) } else { Exit::Signal(status) };
            (pid, exit)
        }));
    }
}

/// Makes `fds` the standard input, output and error.
///
/// # Errors
/// `EMFILE`: no descriptor is left for the copies.
pub fn set_stdio(fds: [BorrowedFd<'_>; 3]) -> io::Result<()> {
    // First out of the way of 0..2, else one could be overwritten before it is used.
    let high = fds
        .iter()
        .map(|fd| Ok(nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(10))?))
        .collect::<io::Result<Vec<RawFd>>>()?;
    for (target, source) in high.into_iter().enumerate() {
        // SAFETY: both are descriptor numbers; replacing 0, 1 and 2 is this function's documented
        // purpose, and std treats them as always open. `source` was made above and is closed here,
        // once.
        unsafe {
            check(libc::dup2(source, target as i32).into())?;
            libc::close(source);
        }
    }
    Ok(())
}

impl Forked {
    /// Closes this child's copy of a descriptor that its parent owns, e.g. of the end of a pipe
    /// whose reader waits until all copies are closed.
    pub(crate) fn close_copy(self, fd: BorrowedFd<'_>) {
        // SAFETY: takes a number only. Its owner in this child's memory is a copy of the parent's,
        // which is never dropped, so the number is closed once.
        unsafe { libc::close(fd.as_raw_fd()) };
    }

    /// Closes every descriptor but 0, 1, 2 and `keep`, before this child runs a program or anything
    /// of a pod's choice. Its parent's owners of the closed descriptors are copies in its memory,
    /// which are never dropped. What the child has opened itself, or was moved into its body, has
    /// to be in `keep`, or not be touched any more.
    ///
    /// # Errors
    /// The kernel has no close_range(2) (Linux 5.9), or a filter refuses it.
    pub fn close_all_but(self, keep: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut kept: Vec<u32> = keep.iter().filter_map(|fd| u32::try_from(fd.as_raw_fd()).ok()).collect();
        kept.retain(|number| *number > 2);
        kept.sort_unstable();
        kept.dedup();
        let mut first = 3;
        let gaps = kept.into_iter().map(|number| (number - 1, number + 1)).chain([(u32::MAX, u32::MAX)]);
        for (last, next) in gaps {
            if first <= last {
                // SAFETY: takes numbers only. The parent's owners are never dropped in this child,
                // and its own ones are kept or not touched, by this function's contract.
                check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) })?;
            }
            first = next;
        }
        Ok(())
    }
}

/// Lets no other process trace this one or follow its links in /proc (fd, cwd, root, exe), unless
/// it holds CAP_SYS_PTRACE. Children inherit it; exec ends it. Source: PR_SET_DUMPABLE(2const).
///
/// # Errors
/// A filter refuses prctl(2).
pub fn become_undumpable() -> io::Result<()> {
    Ok(nix::sys::prctl::set_dumpable(false)?)
}

/// Replaces standard input by a pipe without a writer, and standard output and error by one without
/// a reader.
///
/// # Errors
/// No descriptors are left.
pub fn end_stdio() -> io::Result<()> {
    use std::os::fd::AsFd;
    let ((input, _), (_, output)) = (super::fds::pipe()?, super::fds::pipe()?);
    set_stdio([input.as_fd(), output.as_fd(), output.as_fd()])
}

/// Makes /dev/null the standard input, output and error.
///
/// # Errors
/// /dev/null cannot be opened; as [`set_stdio`].
pub(crate) fn silence_stdio() -> io::Result<()> {
    use std::os::fd::AsFd;
    let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    set_stdio([null.as_fd(); 3])
}

/// Returns whether this process has exactly one thread. False also where a filter forbids the
/// question.
pub(crate) fn single_threaded() -> bool {
    unshare_threads().is_ok()
}

/// Asks the kernel to share no thread, which changes nothing and succeeds in a single-threaded
/// process only.
///
/// # Errors
/// `EINVAL`: there are more threads. Another one: a filter forbids the question.
pub(crate) fn unshare_threads() -> io::Result<()> {
    // SAFETY: takes no pointers and has no effect.
    check(unsafe { libc::unshare(libc::CLONE_THREAD) }.into()).map(drop)
}

/// Lets the kernel send this process SIGKILL when the thread that made it ends. A change of user
/// clears that: call it after one.
///
/// # Errors
/// A filter refuses prctl(2).
pub(crate) fn die_with_parent() -> io::Result<()> {
    Ok(nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?)
}

/// The operation of keyctl(2) that this process' session keyring is replaced by.
const JOIN_SESSION_KEYRING: libc::c_long = 1;

/// Replaces the session keyring, which every process inherits (session-keyring(7)), by an empty one
/// of this process' own. Who has a keyring reads the keys in it, whatever user it is and in
/// whatever user namespace.
///
/// # Errors
/// `EDQUOT`: the user has too many keys already.
pub fn leave_session_keyring() -> io::Result<()> {
    let no_name = std::ptr::null::<libc::c_char>();
    // SAFETY: a number, and a null pointer that stands for a keyring without a name.
    let joined = check(unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, no_name) });
    match joined {
        // A kernel without keys; a filter around Ropewalk, which holds for what this process
        // becomes, too.
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => Ok(()),
        other => other.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn a_threaded_process_may_not_fork_by_hand() {
        // The test harness has threads.
        let refused = spawn_forked(0, None, |_| 0).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EINVAL));
    }

    #[test]
    fn a_process_that_leaves_its_session_keyring_has_another_one() {
        use std::os::unix::process::CommandExt;
        /// Its number: KEYCTL_GET_KEYRING_ID of KEY_SPEC_SESSION_KEYRING, which makes none.
        fn keyring() -> io::Result<i64> {
            let (get, session, make): (libc::c_long, libc::c_long, libc::c_long) = (0, -3, 0);
            // SAFETY: numbers alone.
            check(unsafe { libc::syscall(libc::SYS_keyctl, get, session, make) })
        }
        let mut command = std::process::Command::new("/bin/true");
        // SAFETY: makes system calls only.
        unsafe {
            command.pre_exec(|| {
                let before = keyring();
                leave_session_keyring()?;
                match (before, keyring()) {
                    (Ok(before), Ok(after)) if before == after => {
                        Err(io::Error::from_raw_os_error(libc::EEXIST))
                    }
                    _ => Ok(()), // also where there are no keys
                }
            })
        };
        assert!(command.status().unwrap().success());
    }

    /// A program may be called like what stands behind its name, and without UTF-8.
    #[test]
    fn the_parent_of_a_process_of_any_name_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join(std::ffi::OsStr::from_bytes(b"\xff) S 7"));
        std::os::unix::fs::symlink("/bin/sleep", &program).unwrap();
        let mut child = std::process::Command::new(&program).arg("60").spawn().unwrap();
        let found = parent_of(child.id() as i32);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(found, Some(std::process::id() as i32));
    }

    #[test]
    fn an_exit_is_collected_through_its_descriptor() {
        let mut command = std::process::Command::new("/bin/sh");
        #[expect(clippy::zombie_processes, reason = "waited for through its pidfd")]
        let child = command.args(["-c", "kill -9 $$"]).spawn().unwrap();
        let pidfd = pidfd_open(child.id() as i32).unwrap();
        let exit = wait_pidfd(pidfd.as_fd(), true).unwrap().unwrap();
        assert_eq!((exit, exit.code()), (Exit::Signal(9), 137));
        assert_eq!(pidfd_send_signal(pidfd.as_fd(), 0).unwrap_err().raw_os_error(), Some(libc::ESRCH));
    }
}
