//! Forking, for programs that never start a thread: the shell.

use super::check;
use std::io;

/// The proof that this process has one thread. Whoever holds it must not start another.
#[derive(Clone, Copy, Debug)]
pub struct Alone(());

/// Which of the two a process is after a fork.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Child,
    /// The child's number.
    Parent(i32),
}

impl Alone {
    /// Errors: `InvalidInput` if there are more threads.
    pub fn check() -> io::Result<Alone> {
        // A container may not ask unshare(2), so /proc is asked first.
        let alone = match std::fs::read_dir("/proc/self/task") {
            Ok(tasks) => tasks.count() == 1,
            Err(_) => super::process::single_threaded(),
        };
        if alone { Ok(Alone(())) } else { Err(io::ErrorKind::InvalidInput.into()) }
    }

    /// Makes a copy of this process, which continues here too.
    pub fn fork(self) -> io::Result<Side> {
        // SAFETY: takes nothing. The holder of `self` has one thread, so no lock is held by
        // somebody who is missing in the child.
        match check(unsafe { libc::fork() }.into())? {
            0 => Ok(Side::Child),
            pid => Ok(Side::Parent(pid as i32)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_threads_is_not_alone() {
        // The test harness has threads.
        assert_eq!(Alone::check().map(drop).map_err(|e| e.kind()), Err(io::ErrorKind::InvalidInput));
    }
}
