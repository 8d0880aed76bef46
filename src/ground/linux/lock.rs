//! A lock that cannot be left behind: the kernel opens it when its last holder ends.

use nix::fcntl::{Flock, FlockArg};
use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

/// Held until it is dropped and every forked copy of it is closed.
pub struct Lock(Flock<File>);

impl Lock {
    /// Takes the lock of a file, which is made if absent.
    ///
    /// Errors: `WouldBlock` if somebody else still has it after `patience`.
    pub fn take(path: &Path, patience: Duration) -> io::Result<Lock> {
        let mut file = File::options().create(true).truncate(false).write(true).open(path)?;
        let until = Instant::now() + patience;
        loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Ok(Lock(lock)),
                Err((_, errno)) if Instant::now() >= until => return Err(errno.into()),
                Err((back, _)) => file = back,
            }
            std::thread::sleep(Duration::from_millis(10)); // flock(2) has no wait with a time limit
        }
    }

    /// Closes this process' copy without opening the lock: for a forked child.
    pub fn forget_copy(&self) {
        use std::os::fd::AsRawFd;
        // SAFETY: called in a forked child that never drops its copy of the `Lock`, so the number
        // is closed once. Closing, in contrast to unlocking, leaves the parent's lock alone.
        unsafe { libc::close(self.0.as_raw_fd()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process that another thread has just made has such a copy until it runs its program.
    #[test]
    fn a_lock_that_is_dropped_is_open_though_a_copy_of_its_file_lives() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let lock = Lock::take(&path, Duration::ZERO).unwrap();
        let copy = lock.0.try_clone().unwrap();
        let refused = Lock::take(&path, Duration::ZERO).map(drop).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        drop(lock);
        assert!(Lock::take(&path, Duration::ZERO).is_ok());
        drop(copy);
    }
}
