//! Resource limits (setrlimit(2)): what containers have of them, whatever the session that started
//! Ropewalk set for its programs.

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use std::io;

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

/// Rights that a session may have, as those of audio programs, and containers do not, as under
/// systemd: to run before all other processes of the machine. Without CAP_SYS_NICE a process may
/// ask for realtime scheduling and for a better nice value as far as these limits allow.
const RIGHTS: [Resource; 2] = [Resource::RLIMIT_NICE, Resource::RLIMIT_RTPRIO];

/// Sets what a container's process gets of the limits that Ropewalk inherited from its session
/// (`RLIMIT_NOFILE`, `RLIMIT_MEMLOCK`, `RLIMIT_NICE`, `RLIMIT_RTPRIO`, `RLIMIT_CORE`).
///
/// # Errors
/// The kernel refuses.
pub fn limit_resources() -> io::Result<()> {
    let files = files_of(getrlimit(Resource::RLIMIT_NOFILE)?.1);
    setrlimit(Resource::RLIMIT_NOFILE, files, files)?;
    let locked = getrlimit(Resource::RLIMIT_MEMLOCK)?.1.min(LOCKED_MAX);
    setrlimit(Resource::RLIMIT_MEMLOCK, locked, locked)?;
    for right in RIGHTS {
        setrlimit(right, 0, 0)?;
    }
    limit_cores()
}

/// The limits that containers have as under systemd, which sets none of them for containerd. A
/// session may have set any: `ulimit -f` would end every program that writes a long file, `ulimit
/// -t` every one that runs for long.
const LIFTED: [Resource; 8] = {
    use Resource::*;
    [RLIMIT_AS, RLIMIT_CPU, RLIMIT_DATA, RLIMIT_FSIZE, RLIMIT_LOCKS, RLIMIT_NPROC, RLIMIT_RSS, RLIMIT_RTTIME]
};

/// Bytes of stack of a new program: the kernel's own default (`_STK_LIM` in linux/resource.h). It
/// is not lifted: without a limit the kernel lays out a process' memory in another way.
const STACK: u64 = 8 << 20;

/// Bytes of POSIX message queues (`MQ_BYTES_MAX` in linux/mqueue.h).
const QUEUES: u64 = 819_200;

/// Returns the limits that the kernel gives to the machine's first process and systemd hands on as
/// they are: on message queues, and on signals that wait and timers (`RLIMIT_SIGPENDING`), of which
/// there may be half as many as threads (`fork_init` in kernel/fork.c).
fn first_limits() -> [(Resource, u64); 2] {
    let threads = std::fs::read_to_string("/proc/sys/kernel/threads-max").ok();
    let threads = threads.and_then(|text| text.trim().parse::<u64>().ok());
    let signals = threads.map_or(RLIM_INFINITY, |count| count / 2);
    [(Resource::RLIMIT_MSGQUEUE, QUEUES), (Resource::RLIMIT_SIGPENDING, signals)]
}

/// Lifts the limits that a session may have set for its programs, as far as this process may: the
/// soft one to the hard one, and the hard one too with CAP_SYS_RESOURCE in the machine's first user
/// namespace. For the zygote: its children inherit them, and one in a user namespace of its own may
/// raise no hard limit. Those of [`first_limits`] become what the kernel gives, and less where a
/// hard limit is less.
///
/// # Errors
/// The kernel tells no limit, or refuses to raise a soft one.
pub fn lift_limits() -> io::Result<()> {
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
    for (limit, most) in first_limits() {
        if setrlimit(limit, most, most).is_err() {
            let most = most.min(getrlimit(limit)?.1);
            setrlimit(limit, most, most)?;
        }
    }
    Ok(lift(Resource::RLIMIT_STACK, STACK)?)
}

/// Sets the limit on core dumps. The zygote does it for all its children too: one in a user
/// namespace of its own may not raise a hard limit of 0.
///
/// # Errors
/// The kernel refuses.
pub fn limit_cores() -> io::Result<()> {
    match setrlimit(Resource::RLIMIT_CORE, CORE, CORE) {
        // The hard limit is 0, and this process may not raise it: `doctor` says so (`cores_held`).
        Err(nix::errno::Errno::EPERM) => Ok(setrlimit(Resource::RLIMIT_CORE, 0, 0)?),
        other => Ok(other?),
    }
}

/// Returns whether containers start with [`CORE`]: Ropewalk's own hard limit is as much, or it may
/// raise it (CAP_SYS_RESOURCE in the machine's first user namespace, setrlimit(2)).
pub(crate) fn cores_held() -> bool {
    getrlimit(Resource::RLIMIT_CORE).is_ok_and(|(_, hard)| hard >= CORE) || rules_resources()
}

/// Returns the limit on descriptors where `hard` is the most that Ropewalk may give.
pub fn files_of(hard: u64) -> u64 {
    hard.min(FILES_MAX)
}

/// The inode of the machine's first user namespace (`USER_NS_INIT_INO` in
/// include/uapi/linux/nsfs.h, and the same number before there was a name).
const FIRST_USERS: &str = "user:[4026531837]";

/// Returns whether this process runs in the machine's first user namespace.
pub(super) fn in_first_users() -> bool {
    std::fs::read_link("/proc/self/ns/user").is_ok_and(|found| found.as_os_str() == FIRST_USERS)
}

/// Returns whether this process has CAP_SYS_RESOURCE in the machine's first user namespace.
pub(super) fn rules_resources() -> bool {
    let rules = || caps::has_cap(None, caps::CapSet::Effective, caps::Capability::CAP_SYS_RESOURCE);
    in_first_users() && rules().unwrap_or(false)
}

/// Returns whether file systems let this process write into the blocks that they reserve (5 % of
/// ext4, `reserve_root` of f2fs): to root and to CAP_SYS_RESOURCE, both of the machine's first user
/// namespace. Users and groups that a file system's own options name (`resuid`, `resgid`) are taken
/// for ordinary ones. Source: `ext4_has_free_clusters` in fs/ext4/balloc.c,
/// `__allow_reserved_blocks` in fs/f2fs/f2fs.h.
pub fn writes_reserved_blocks() -> bool {
    rules_resources() || (in_first_users() && nix::unistd::geteuid().is_root())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt;

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
        let of = |text: &str, name: &str| -> Vec<u64> {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_whitespace().filter_map(|word| word.parse().ok()).collect()
        };
        let text = limits(|| Ok(()));
        let core = u64::from(cores_held());
        assert_eq!(of(&text, "Max core file size"), [core; 2], "{text}");
        let files = of(&text, "Max open files");
        assert!(files.len() == 2 && files[0] == files[1] && files[0] <= FILES_MAX, "{text}");
        // As a session without a limit hands it on, where the test may raise it.
        let text = limits(|| {
            let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
            Ok(())
        });
        let locked = of(&text, "Max locked memory");
        assert!(locked.len() == 2 && locked[0] == locked[1] && locked[0] <= LOCKED_MAX, "{text}");
        // As a session with `ulimit -Hc 0` hands it on: who may raise the limit does, and
        // containers start all the same.
        let text = limits(|| Ok(setrlimit(Resource::RLIMIT_CORE, 0, 0)?));
        assert_eq!(of(&text, "Max core file size"), [u64::from(rules_resources()); 2], "{text}");
    }

    #[test]
    fn a_container_may_not_run_before_other_processes_of_the_machine() {
        let mut command = std::process::Command::new("/bin/grep");
        command.args(["-E", "nice|realtime priority", "/proc/self/limits"]);
        let session = || {
            for (right, most) in RIGHTS.into_iter().zip([40, 95]) {
                let _ = setrlimit(right, most, most); // where the test may
            }
            limit_resources()
        };
        // SAFETY: makes system calls only.
        unsafe { command.pre_exec(session) };
        let text = String::from_utf8(command.output().unwrap().stdout).unwrap();
        let numbers = text.split_whitespace().filter_map(|word| word.parse::<u64>().ok());
        assert_eq!(numbers.collect::<Vec<_>>(), [0; 4], "{text}");
    }

    #[test]
    fn limits_of_a_session_are_lifted_as_far_as_this_process_may() {
        /// A session's `ulimit -S`, or `ulimit` for both limits.
        fn session(both: bool) -> io::Result<()> {
            for (limit, value) in [
                (Resource::RLIMIT_FSIZE, 1 << 30),
                (Resource::RLIMIT_CPU, 3600),
                (Resource::RLIMIT_AS, 1 << 36),
                (Resource::RLIMIT_NPROC, 50_000),
                (Resource::RLIMIT_STACK, 4 << 20),
                (Resource::RLIMIT_MSGQUEUE, 100),
                (Resource::RLIMIT_SIGPENDING, 5),
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
        let of = |text: &str, name: &str| -> Vec<u64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            let values = line.split_whitespace().take(2);
            values.map(|word| word.parse().unwrap_or(RLIM_INFINITY)).collect()
        };
        let may = rules_resources();
        let hard = |own: u64, session: u64| if may { RLIM_INFINITY } else { own.min(session) };
        for both in [false, true] {
            let text = limits(both);
            for (limit, name, session) in [
                (Resource::RLIMIT_FSIZE, "Max file size", 1 << 30),
                (Resource::RLIMIT_CPU, "Max cpu time", 3600),
                (Resource::RLIMIT_AS, "Max address space", 1 << 36),
                (Resource::RLIMIT_NPROC, "Max processes", 50_000),
            ] {
                let own = getrlimit(limit).unwrap().1;
                let want = hard(own, if both { session } else { own });
                assert_eq!(of(&text, name), [want; 2], "{name}: {text}");
            }
            let own = getrlimit(Resource::RLIMIT_STACK).unwrap().1;
            let want = hard(own, if both { 4 << 20 } else { own });
            assert_eq!(of(&text, "Max stack size"), [STACK.min(want), want], "{text}");
            // Without them a program in a container makes no message queue and no timer.
            let names = [("Max msgqueue size", 100), ("Max pending signals", 5)];
            for ((limit, most), (name, session)) in first_limits().into_iter().zip(names) {
                let own = getrlimit(limit).unwrap().1;
                let want = hard(own, if both { session } else { own }).min(most);
                assert_eq!(of(&text, name), [want; 2], "{name}: {text}");
            }
        }
    }
}
