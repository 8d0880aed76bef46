//! System calls without which nothing goes, asked for in a way that does nothing: is there one, and may we?
//!
//! A filter of somebody else's (a container's seccomp profile) or an old kernel answers before the arguments are looked at.

use std::io;

/// A call with arguments that every kernel which has it refuses, or that ask for nothing.
type Trial = (&'static str, fn() -> i64);

const TRIALS: &[Trial] = &[
    // SAFETY (all of them): no pointer is followed. Descriptors are -1, sizes are 0, addresses are null where the kernel answers EFAULT.
    ("clone3", || unsafe { libc::syscall(libc::SYS_clone3, 0usize, 0usize) }),
    ("pidfd_open", || unsafe { libc::syscall(libc::SYS_pidfd_open, -1, 0) }),
    ("pidfd_send_signal", || unsafe { libc::syscall(libc::SYS_pidfd_send_signal, -1, 0, 0usize, 0) }),
    ("waitid", || unsafe {
        libc::syscall(libc::SYS_waitid, libc::P_PIDFD, -1, 0usize, libc::WEXITED, 0usize)
    }),
    ("memfd_create", || unsafe { libc::syscall(libc::SYS_memfd_create, 0usize, 0) }),
    ("signalfd4", || unsafe { libc::syscall(libc::SYS_signalfd4, -1, 0usize, 0, 0) }),
    ("openat2", || unsafe { libc::syscall(libc::SYS_openat2, -1, 0usize, 0usize, 0usize) }),
    ("unshare", || unsafe { libc::syscall(libc::SYS_unshare, 0) }),
    ("setns", || unsafe { libc::syscall(libc::SYS_setns, -1, 0) }),
];

/// The first that is missing or refused, and the kernel's answer.
pub fn missing() -> Option<(&'static str, io::Error)> {
    TRIALS.iter().find_map(|(name, call)| {
        let error = (call() < 0).then(io::Error::last_os_error)?;
        let refused = [libc::ENOSYS, libc::EPERM, libc::EACCES];
        error.raw_os_error().is_some_and(|number| refused.contains(&number)).then_some((*name, error))
    })
}

/// Their names, for people.
pub fn names() -> String {
    TRIALS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    #[test]
    fn where_tests_run_every_call_answers() {
        assert!(super::missing().is_none(), "{:?}", super::missing());
    }
}
