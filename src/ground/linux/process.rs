//! Processes that are named by file descriptors: clone3, pidfds, exits.

use super::check;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// clone(2) flags that this room's callers use.
pub mod flags {
    pub const NEWNS: u64 = libc::CLONE_NEWNS as u64;
    pub const NEWPID: u64 = libc::CLONE_NEWPID as u64;
    pub const NEWNET: u64 = libc::CLONE_NEWNET as u64;
    pub const NEWIPC: u64 = libc::CLONE_NEWIPC as u64;
    pub const NEWUTS: u64 = libc::CLONE_NEWUTS as u64;
    pub const NEWCGROUP: u64 = libc::CLONE_NEWCGROUP as u64;
    pub const NEWUSER: u64 = libc::CLONE_NEWUSER as u64;
    /// The child becomes the caller's sibling: its parent is the caller's parent.
    pub const PARENT: u64 = libc::CLONE_PARENT as u64;
}

/// libc's constant is a c_int and truncates to 0.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// A process that was just made. The descriptor stays valid, and never means a stranger, whatever
/// happens to the pid.
#[derive(Debug)]
pub struct Child {
    pub pid: i32,
    pub pidfd: OwnedFd,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
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

/// Makes a child that runs `body` and ends with its value; a panic ends it with 101. Returns in the
/// parent only.
///
/// Errors: `EINVAL` if this process has more than one thread (a fork would copy locks that nobody
/// opens again).
pub fn spawn_forked(
    clone_flags: u64,
    cgroup: Option<BorrowedFd<'_>>,
    body: impl FnOnce() -> i32,
) -> io::Result<Child> {
    // SAFETY: unshare takes no pointers. CLONE_THREAD changes nothing: it only succeeds in a
    // single-threaded process.
    check(unsafe { libc::unshare(libc::CLONE_THREAD) }.into())?;
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
    // was checked to have no other thread, so no lock is held by somebody who does not exist in the
    // child. `args` and `pidfd` outlive the call.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of_val(&args)) })?;
    if pid == 0 {
        let code = catch_unwind(AssertUnwindSafe(body)).unwrap_or(101);
        exit_now(code)
    }
    // SAFETY: the kernel stored a new descriptor there, which nobody else owns.
    Ok(Child { pid: pid as i32, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } })
}

/// Ends this process without running anybody's clean-up: what a forked child must do.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit never returns and touches no memory of ours.
    unsafe { libc::_exit(code) }
}

/// A descriptor for a process by its number. The caller must know that the number is not a
/// stranger's, e.g. its own parent's.
pub fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers; a non-negative answer is a new descriptor.
    let fd = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: as above: new, and ours alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Signals the process behind `pidfd`, never a stranger who inherited its pid.
///
/// Errors: `ESRCH` if it has ended and was waited for. Source: pidfd_send_signal(2), Linux 5.1.
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
/// Errors: `ECHILD` if it is not a child of this process, or somebody else collected it.
pub fn wait_pidfd(pidfd: BorrowedFd<'_>, block: bool) -> io::Result<Option<Exit>> {
    let options = libc::WEXITED | libc::__WALL | if block { 0 } else { libc::WNOHANG };
    wait_id(libc::P_PIDFD, pidfd.as_raw_fd() as u32, options).map(|found| found.map(|(_, exit)| exit))
}

/// The pid of some ended child, which stays a zombie; `None` if there is none.
pub fn peek_ended_child() -> io::Result<Option<i32>> {
    let options = libc::WEXITED | libc::__WALL | libc::WNOHANG | libc::WNOWAIT;
    match wait_id(libc::P_ALL, 0, options) {
        Err(e) if e.raw_os_error() == Some(libc::ECHILD) => Ok(None),
        other => Ok(other?.map(|(pid, _)| pid)),
    }
}

/// Collects some ended child; with `block` waits for one, else `None` while all run.
///
/// Errors: `ECHILD` if there are no children.
pub fn wait_any(block: bool) -> io::Result<Option<(i32, Exit)>> {
    wait_id(libc::P_ALL, 0, libc::WEXITED | if block { 0 } else { libc::WNOHANG })
}

/// Collects an ended child by its number. Returns whether it has ended.
///
/// Errors: `ECHILD` if it is no child, or was collected.
pub fn reap(pid: i32) -> io::Result<bool> {
    wait_id(libc::P_PID, pid as u32, libc::WEXITED | libc::__WALL | libc::WNOHANG)
        .map(|found| found.is_some())
}

fn wait_id(kind: libc::idtype_t, id: u32, options: i32) -> io::Result<Option<(i32, Exit)>> {
    loop {
        // SAFETY: siginfo_t is plain data; all zeroes is what waitid leaves when it finds nobody.
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

/// Replaces this process' program. Returns only on failure. Strings with a NUL byte are `EINVAL`.
pub fn exec<S: AsRef<std::ffi::OsStr>>(path: &std::path::Path, argv: &[String], env: &[(S, S)]) -> io::Error {
    let text = |s: &[u8]| CString::new(s).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL));
    let pair = |k: &std::ffi::OsStr, v: &std::ffi::OsStr| [k.as_bytes(), b"=", v.as_bytes()].concat();
    let run = || -> io::Result<std::convert::Infallible> {
        let path = text(path.as_os_str().as_bytes())?;
        let argv: Vec<CString> = argv.iter().map(|a| text(a.as_bytes())).collect::<io::Result<_>>()?;
        let env: Vec<CString> =
            env.iter().map(|(k, v)| text(&pair(k.as_ref(), v.as_ref()))).collect::<io::Result<_>>()?;
        Ok(nix::unistd::execve(&path, &argv, &env)?)
    };
    match run() {
        Err(e) => e,
    }
}

/// Makes `fds` the standard input, output and error.
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

/// Closes every descriptor but 0, 1, 2 and `keep`, in a forked child that runs a program next.
/// Owners of the closed descriptors in the child's copy of memory must never be dropped: such a
/// child ends with [`exit_now`] or exec.
///
/// # Errors
/// The kernel has no close_range(2) (Linux 5.9), or a filter refuses it.
pub fn close_all_but(keep: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut kept: Vec<u32> = keep.iter().filter_map(|fd| u32::try_from(fd.as_raw_fd()).ok()).collect();
    kept.retain(|number| *number > 2);
    kept.sort_unstable();
    kept.dedup();
    let mut first = 3;
    let gaps = kept.into_iter().map(|number| (number - 1, number + 1)).chain([(u32::MAX, u32::MAX)]);
    for (last, next) in gaps {
        if first <= last {
            // SAFETY: takes numbers only. What is closed is used by nobody in this process any
            // more, by this function's contract.
            check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) })?;
        }
        first = next;
    }
    Ok(())
}

/// No other process may trace this one or follow its links in /proc (fd, cwd, root, exe), unless it
/// holds CAP_SYS_PTRACE. Children inherit it; exec ends it. Source: PR_SET_DUMPABLE(2const).
///
/// # Errors
/// A filter refuses prctl(2).
pub fn become_undumpable() -> io::Result<()> {
    Ok(nix::sys::prctl::set_dumpable(false)?)
}

/// Stdin becomes a pipe without a writer, stdout and stderr one without a reader.
///
/// # Errors
/// No descriptors are left.
pub fn end_stdio() -> io::Result<()> {
    use std::os::fd::AsFd;
    let ((input, _), (_, output)) = (super::fds::pipe()?, super::fds::pipe()?);
    set_stdio([input.as_fd(), output.as_fd(), output.as_fd()])
}

/// Stdin, stdout and stderr become /dev/null.
pub fn silence_stdio() -> io::Result<()> {
    use std::os::fd::AsFd;
    let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    set_stdio([null.as_fd(); 3])
}

/// Whether this process has exactly one thread.
pub fn single_threaded() -> bool {
    // SAFETY: as in `spawn_forked`: no pointers, no effect.
    unsafe { libc::unshare(libc::CLONE_THREAD) == 0 }
}

/// This process gets SIGKILL when the thread that made it ends. Cleared by a change of user: call
/// it after that.
pub fn die_with_parent() -> io::Result<()> {
    Ok(nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?)
}

/// A container's score is at least so much above what Ropewalk's main process gets by its memory.
const OOM_MARGIN: u64 = 3;
const OWN_SCORE: &str = "/proc/self/oom_score_adj";

/// The value of `oom_score_adj` for a container, read by main, whose memory counts: `wanted`, or
/// more if the kernel would end main before a container that uses nothing. The kernel ends the
/// process with the largest sum of its memory, in thousandths of the whole, and its `oom_score_adj`
/// (`oom_badness` in mm/oom_kill.c). Main grows after the container has started, so its memory
/// counts twice.
pub fn oom_score_adj(wanted: i32) -> i32 {
    let own = std::fs::read_to_string(OWN_SCORE).ok().and_then(|text| text.trim().parse().ok());
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    // Swap is left out of the whole: that makes main's share larger, which is the safe side.
    let whole = super::cgroup::available_memory().unwrap_or(0);
    score_above(wanted, own.unwrap_or(0), memory_of(&status), whole)
}

/// Bytes of a process that the kernel's choice counts, from /proc/PID/status: resident, in swap,
/// and tables of pages.
fn memory_of(status: &str) -> u64 {
    let kib = |line: &str| {
        let rest = ["VmRSS:", "VmSwap:", "VmPTE:"].iter().find_map(|name| line.strip_prefix(name))?;
        rest.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()
    };
    status.lines().filter_map(kib).sum::<u64>().saturating_mul(1024)
}

/// ```text
/// wanted -997, own 0, 400 MiB of 4000 MiB -> 2 * 100 + 3 = 203    wanted 900 -> 900    4000 MiB of 4000 MiB -> 1000
/// ```
fn score_above(wanted: i32, own: i32, used: u64, whole: u64) -> i32 {
    let thousandths = (u128::from(used) * 1000).div_ceil(u128::from(whole.max(1)));
    let above = i32::try_from(thousandths * 2 + u128::from(OOM_MARGIN)).unwrap_or(1000);
    wanted.max(own.saturating_add(above)).min(1000)
}

/// Sets how soon the kernel ends this process when memory runs out (`oom_score_adj`; proc(5)):
/// -1000 never, 1000 first. Without CAP_SYS_RESOURCE the value can only be raised, so Guaranteed's
/// -997 becomes what [`oom_score_adj`] says. Upstream lowers the kubelet's own to -999 instead; a
/// learner's other programs would then go before Ropewalk.
pub fn raise_oom_score(value: i32) {
    let _ = std::fs::write(OWN_SCORE, value.to_string()); // a hint: without /proc containers run all the same
}

/// Descriptors that a container's process may have, as under containerd's unit; fewer where
/// Ropewalk itself may have fewer.
pub const FILES_MAX: u64 = 1 << 20;
/// Bytes of a core dump. The machine's `core_pattern` is not the container's: a file would be
/// written by the host's rule, and a program would run as the host's root. 1 forbids both: a file
/// needs a page at least, and the kernel runs no program for exactly 1, while 0 does not stop it
/// (`do_coredump` in fs/coredump.c, core(5)).
const CORE: u64 = 1;

/// Bytes of memory that a container's process may lock: what containerd's unit gets from systemd
/// (`DefaultLimitMEMLOCK`) and the kernel's own default since Linux 5.16. A session may have no
/// limit at all. Less where Ropewalk itself may lock less.
const LOCKED_MAX: u64 = 8 << 20;

/// Sets what a container's process gets of the limits that Ropewalk inherited from its session
/// (`RLIMIT_NOFILE`, `RLIMIT_MEMLOCK`, `RLIMIT_CORE`).
///
/// # Errors
/// The kernel refuses.
pub fn limit_resources() -> io::Result<()> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let files = files_of(getrlimit(Resource::RLIMIT_NOFILE)?.1);
    setrlimit(Resource::RLIMIT_NOFILE, files, files)?;
    let locked = getrlimit(Resource::RLIMIT_MEMLOCK)?.1.min(LOCKED_MAX);
    setrlimit(Resource::RLIMIT_MEMLOCK, locked, locked)?;
    limit_cores()
}

/// The limits that containers have as under systemd, which sets none of them for containerd. A
/// session may have set any: `ulimit -f` would end every program that writes a long file, `ulimit
/// -t` every one that runs for long.
const LIFTED: [nix::sys::resource::Resource; 7] = {
    use nix::sys::resource::Resource::*;
    [RLIMIT_AS, RLIMIT_CPU, RLIMIT_DATA, RLIMIT_FSIZE, RLIMIT_LOCKS, RLIMIT_NPROC, RLIMIT_RSS]
};

/// Bytes of stack of a new program: the kernel's own default (`_STK_LIM` in linux/resource.h). It
/// is not lifted: without a limit the kernel lays out a process' memory in another way.
const STACK: u64 = 8 << 20;

/// Lifts the limits that a session may have set for its programs, as far as this process may: the
/// soft one to the hard one, and the hard one too with CAP_SYS_RESOURCE in the machine's first user
/// namespace. For the zygote: its children inherit them, and one in a user namespace of its own may
/// raise no hard limit.
///
/// # Errors
/// The kernel tells no limit, or refuses to raise a soft one.
pub fn lift_limits() -> io::Result<()> {
    use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
    let lift = |limit: Resource, soft: u64| {
        if setrlimit(limit, soft, RLIM_INFINITY).is_ok() {
            return Ok(());
        }
        let (_, hard) = getrlimit(limit)?;
        setrlimit(limit, soft.min(hard), hard)
    };
    for limit in LIFTED {
        lift(limit, RLIM_INFINITY)?;
    }
    Ok(lift(Resource::RLIMIT_STACK, STACK)?)
}

/// Sets the limit on core dumps. The zygote does it for all its children too: one in a user
/// namespace of its own may not raise a hard limit of 0.
///
/// # Errors
/// The kernel refuses.
pub fn limit_cores() -> io::Result<()> {
    use nix::sys::resource::{Resource, setrlimit};
    match setrlimit(Resource::RLIMIT_CORE, CORE, CORE) {
        // The hard limit is 0, and this process may not raise it: `doctor` says so (`cores_held`).
        Err(nix::errno::Errno::EPERM) => Ok(setrlimit(Resource::RLIMIT_CORE, 0, 0)?),
        other => Ok(other?),
    }
}

/// Whether containers start with [`CORE`]: Ropewalk's own hard limit is as much, or it may raise it
/// (CAP_SYS_RESOURCE in the machine's first user namespace, setrlimit(2)).
pub fn cores_held() -> bool {
    use nix::sys::resource::{Resource, getrlimit};
    getrlimit(Resource::RLIMIT_CORE).is_ok_and(|(_, hard)| hard >= CORE) || rules_resources()
}

/// The limit on descriptors where `hard` is the most that Ropewalk may give.
pub fn files_of(hard: u64) -> u64 {
    hard.min(FILES_MAX)
}

/// The inode of the machine's first user namespace (`USER_NS_INIT_INO` in
/// include/uapi/linux/nsfs.h, and the same number before there was a name).
const FIRST_USERS: &str = "user:[4026531837]";

/// Whether a process without capabilities keeps the score that [`raise_oom_score`] gave it. The
/// kernel lets it go no lower than the last value that was written with CAP_SYS_RESOURCE in the
/// machine's first user namespace. Where Ropewalk has not got that, an ordinary user's cluster
/// first of all, a container could write into /proc/PID/oom_score_adj what Ropewalk itself has, and
/// the kernel would end others before it. Source: proc(5), `oom_score_adj_min` in fs/proc/base.c.
pub fn oom_score_holds() -> bool {
    rules_resources()
}

/// Whether this process has CAP_SYS_RESOURCE in the machine's first user namespace.
fn rules_resources() -> bool {
    let first = std::fs::read_link("/proc/self/ns/user").is_ok_and(|found| found.as_os_str() == FIRST_USERS);
    first && caps::has_cap(None, caps::CapSet::Effective, caps::Capability::CAP_SYS_RESOURCE).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::os::unix::process::CommandExt;

    #[test]
    fn a_container_that_uses_nothing_goes_before_a_main_process_that_uses_much() {
        let mib = |n: u64| n << 20;
        // What the kernel would add up, in thousandths.
        for (own, used, whole) in [(0, 400, 4000), (200, 100, 16_000), (0, 900, 2000), (-500, 1500, 2000)] {
            let container = score_above(-997, own, mib(used), mib(whole));
            assert!(
                i64::from(container) > i64::from(own) + (used * 1000 / whole) as i64,
                "{used} of {whole}"
            );
        }
        let of = |wanted, used| score_above(wanted, 0, mib(used), mib(4000));
        assert_eq!([of(-997, 400), of(900, 400), of(1000, 400), of(-997, 4000)], [203, 900, 1000, 1000]);
        assert_eq!(score_above(3, 0, mib(1), 0), 1000, "a machine that does not tell its memory");
        let status =
            "Name:\tx\nVmPeak:\t 9000 kB\nVmRSS:\t    100 kB\nVmPTE:\t      8 kB\nVmSwap:\t     20 kB\n";
        assert_eq!(memory_of(status), 128 << 10);
    }

    #[test]
    fn a_container_has_containerds_files_and_no_core_dump() {
        assert_eq!([files_of(512), files_of(u64::MAX)], [512, FILES_MAX]);
        let limits = |before: fn() -> io::Result<()>| {
            let mut command = std::process::Command::new("/bin/sh");
            command.args(["-c", "grep -E 'core file|open files|locked memory' /proc/self/limits"]);
            // SAFETY: makes system calls only.
            unsafe { command.pre_exec(move || before().and_then(|()| limit_resources())) };
            String::from_utf8(command.output().unwrap().stdout).unwrap()
        };
        let of = |said: &str, name: &str| -> Vec<u64> {
            let line = said.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_whitespace().filter_map(|word| word.parse().ok()).collect()
        };
        let said = limits(|| Ok(()));
        let core = u64::from(cores_held());
        assert_eq!(of(&said, "Max core file size"), [core; 2], "{said}");
        let files = of(&said, "Max open files");
        assert!(files.len() == 2 && files[0] == files[1] && files[0] <= FILES_MAX, "{said}");
        // As a session without a limit hands it on, where the test may raise it.
        let said = limits(|| {
            use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
            let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
            Ok(())
        });
        let locked = of(&said, "Max locked memory");
        assert!(locked.len() == 2 && locked[0] == locked[1] && locked[0] <= LOCKED_MAX, "{said}");
        // As a session with `ulimit -Hc 0` hands it on: who may raise the limit does, and
        // containers start all the same.
        let said = limits(|| {
            use nix::sys::resource::{Resource, setrlimit};
            Ok(setrlimit(Resource::RLIMIT_CORE, 0, 0)?)
        });
        assert_eq!(of(&said, "Max core file size"), [u64::from(rules_resources()); 2], "{said}");
    }

    #[test]
    fn limits_of_a_session_are_lifted_as_far_as_this_process_may() {
        use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
        /// A session's `ulimit -S`, or `ulimit` for both limits.
        fn session(both: bool) -> io::Result<()> {
            for (limit, value) in [
                (Resource::RLIMIT_FSIZE, 1 << 30),
                (Resource::RLIMIT_CPU, 3600),
                (Resource::RLIMIT_AS, 1 << 36),
                (Resource::RLIMIT_NPROC, 50_000),
                (Resource::RLIMIT_STACK, 4 << 20),
            ] {
                let hard = if both { value } else { getrlimit(limit)?.1 };
                setrlimit(limit, value.min(hard), hard)?;
            }
            Ok(())
        }
        let limits = |both: bool| {
            let mut command = std::process::Command::new("/bin/cat");
            command.arg("/proc/self/limits");
            // SAFETY: makes system calls only.
            unsafe { command.pre_exec(move || session(both).and_then(|()| lift_limits())) };
            String::from_utf8(command.output().unwrap().stdout).unwrap()
        };
        let of = |said: &str, name: &str| -> Vec<u64> {
            let line = said.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            let values = line.split_whitespace().take(2);
            values.map(|word| word.parse().unwrap_or(RLIM_INFINITY)).collect()
        };
        let may = rules_resources();
        let hard = |own: u64, session: u64| if may { RLIM_INFINITY } else { own.min(session) };
        for both in [false, true] {
            let said = limits(both);
            for (limit, name, session) in [
                (Resource::RLIMIT_FSIZE, "Max file size", 1 << 30),
                (Resource::RLIMIT_CPU, "Max cpu time", 3600),
                (Resource::RLIMIT_AS, "Max address space", 1 << 36),
                (Resource::RLIMIT_NPROC, "Max processes", 50_000),
            ] {
                let own = getrlimit(limit).unwrap().1;
                let want = hard(own, if both { session } else { own });
                assert_eq!(of(&said, name), [want; 2], "{name}: {said}");
            }
            let own = getrlimit(Resource::RLIMIT_STACK).unwrap().1;
            let want = hard(own, if both { 4 << 20 } else { own });
            assert_eq!(of(&said, "Max stack size"), [STACK.min(want), want], "{said}");
        }
    }

    #[test]
    fn a_threaded_process_may_not_fork_by_hand() {
        // The test harness has threads.
        let refused = spawn_forked(0, None, || 0).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EINVAL));
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
