//! System calls without which nothing goes, asked for in a way that does nothing: is there one, and
//! may we?
//!
//! A filter that was set before this program began (a container's seccomp profile) or an old kernel
//! answers before the arguments are looked at.

use std::io;

/// A call by name and number, with arguments that every kernel which has it refuses, or that ask
/// for nothing: descriptors are -1, sizes 0, addresses null.
type Trial = (&'static str, libc::c_long, [libc::c_long; 5]);

const TRIALS: &[Trial] = &[
    ("clone3", libc::SYS_clone3, [0; 5]),
    ("pidfd_open", libc::SYS_pidfd_open, [-1, 0, 0, 0, 0]),
    ("pidfd_send_signal", libc::SYS_pidfd_send_signal, [-1, 0, 0, 0, 0]),
    ("waitid", libc::SYS_waitid, [libc::P_PIDFD as libc::c_long, -1, 0, libc::WEXITED as libc::c_long, 0]),
    ("memfd_create", libc::SYS_memfd_create, [0; 5]),
    ("signalfd4", libc::SYS_signalfd4, [-1, 0, 0, 0, 0]),
    ("openat2", libc::SYS_openat2, [-1, 0, 0, 0, 0]),
    // A range that ends before it begins is refused.
    ("close_range", libc::SYS_close_range, [1, 0, 0, 0, 0]),
    ("unshare", libc::SYS_unshare, [0; 5]),
    ("setns", libc::SYS_setns, [-1, 0, 0, 0, 0]),
];

/// Returns the first call that is missing or refused, and the kernel's answer.
pub(crate) fn missing() -> Option<(&'static str, io::Error)> {
    TRIALS.iter().find_map(|(name, number, [a, b, c, d, e])| {
        // SAFETY: none of the calls in the table follows a pointer: those that take one get null
        // and a size of 0, and refuse it.
        let answer = unsafe { libc::syscall(*number, *a, *b, *c, *d, *e) };
        let error = (answer < 0).then(io::Error::last_os_error)?;
        let refused = [libc::ENOSYS, libc::EPERM, libc::EACCES];
        error.raw_os_error().is_some_and(|number| refused.contains(&number)).then_some((*name, error))
    })
}

/// Returns the names of the calls, for people.
pub(crate) fn names() -> String {
    TRIALS.iter().map(|(name, ..)| *name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    #[test]
    fn where_tests_run_every_call_answers() {
        assert!(super::missing().is_none(), "{:?}", super::missing());
    }
}
