//! Forking, for programs that never start a thread: the shell.

use super::check;
use std::io;

/// The proof that this process has one thread. Its holder must not start another.
#[derive(Clone, Copy, Debug)]
pub struct Alone(());

/// Which of the two a process is after a fork.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The new process.
    Child,
    /// The child's number.
    Parent(i32),
}

impl Alone {
    /// Checks that this process has one thread.
    ///
    /// # Errors
    /// `InvalidInput`: it has more.
    pub fn check() -> io::Result<Alone> {
        // A container may not ask unshare(2), so /proc is asked first. That is empty in a container
        // where the machine allows no fresh one.
        let tasks = std::fs::read_dir("/proc/self/task").ok().map(Iterator::count);
        match is_alone(tasks, super::process::unshare_threads) {
            true => Ok(Alone(())),
            false => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    /// Makes a copy of this process, which continues here too.
    ///
    /// # Errors
    /// `EAGAIN`: a limit of processes is reached. `ENOMEM`: no memory is left.
    pub fn fork(self) -> io::Result<Side> {
        // SAFETY: takes nothing. The holder of `self` has one thread, so no lock is held by
        // a thread that is missing in the child.
        match check(unsafe { libc::fork() }.into())? {
            0 => Ok(Side::Child),
            pid => Ok(Side::Parent(pid as i32)),
        }
    }
}

/// Decides by the number of threads, if /proc tells it, or by unshare(2). The kernel's `EINVAL`
/// alone says that there are threads: `EPERM` and `ENOSYS` are the answer of a filter, in a
/// container whose program has just begun.
fn is_alone(tasks: Option<usize>, unshare_threads: impl FnOnce() -> io::Result<()>) -> bool {
    match tasks {
        Some(count) => count == 1,
        None => unshare_threads().err().and_then(|e| e.raw_os_error()) != Some(libc::EINVAL),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_forbids_the_question_does_not_say_that_there_are_threads() {
        let alone = |answer: i32| {
            is_alone(None, || match answer {
                0 => Ok(()),
                code => Err(io::Error::from_raw_os_error(code)),
            })
        };
        assert!(alone(0) && alone(libc::EPERM) && alone(libc::ENOSYS));
        assert!(!alone(libc::EINVAL));
        assert!(!is_alone(None, crate::process::unshare_threads), "the test harness has threads");
        let never = || unreachable!("/proc has told it");
        assert!(is_alone(Some(1), never) && !is_alone(Some(2), never));
    }

    #[test]
    fn a_process_with_threads_is_not_alone() {
        // The test harness has threads.
        assert_eq!(Alone::check().map(drop).map_err(|e| e.kind()), Err(io::ErrorKind::InvalidInput));
    }
}
