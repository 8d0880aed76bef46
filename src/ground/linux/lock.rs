//! A lock that cannot be left behind: the kernel opens it when its last holder ends.

use super::process::Forked;
use nix::fcntl::{Flock, FlockArg};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// What the file holds while the holder of the lock only clears up.
const CLEARING: &[u8] = b"clearing up\n";

/// Held until it is dropped or, where its holder ends without that, until every forked copy of it
/// is closed.
pub struct Lock(Flock<File>);

impl Lock {
    /// Takes the lock of a file, which is made if absent.
    ///
    /// # Errors
    /// `WouldBlock` if another process still has it after `patience`.
    pub fn take(path: &Path, patience: Duration) -> io::Result<Lock> {
        Lock::take_cleared(path, patience, patience)
    }

    /// Takes the lock of a file, which is made if absent. Waits for `clearing` in all while its
    /// holder says that it clears up ([`Lock::tell_clearing`]).
    ///
    /// # Errors
    /// `WouldBlock` if another process still has it then.
    pub(crate) fn take_cleared(path: &Path, patience: Duration, clearing: Duration) -> io::Result<Lock> {
        let mut file = File::options().create(true).truncate(false).write(true).open(path)?;
        let start = Instant::now();
        loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => {
                    lock.set_len(0)?; // what its last holder wrote
                    return Ok(Lock(lock));
                }
                Err((back, errno)) => {
                    let patience = if is_clearing(path) { clearing } else { patience };
                    if start.elapsed() >= patience {
                        return Err(errno.into());
                    }
                    file = back;
                }
            }
            std::thread::sleep(Duration::from_millis(10)); // flock(2) has no wait with a time limit
        }
    }

    /// Tells those who wait for the lock that its holder only clears up. Where that cannot be
    /// written they wait less.
    pub(crate) fn tell_clearing(&self) {
        let _ = self.0.write_all_at(CLEARING, 0);
    }

    /// Closes a child's copy. In contrast to unlocking, this leaves the parent's lock alone.
    pub(crate) fn forget_copy(&self, child: Forked) {
        child.close_copy(self.0.as_fd());
    }
}

fn is_clearing(path: &Path) -> bool {
    let mut text = Vec::new();
    let length = CLEARING.len() as u64;
    let read = File::open(path).and_then(|file| file.take(length).read_to_end(&mut text));
    read.is_ok() && text == CLEARING
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_that_clears_up_is_waited_for_longer() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let long = Duration::from_secs(600);
        let held = Lock::take(&path, Duration::ZERO).unwrap();
        let refused = Lock::take_cleared(&path, Duration::ZERO, long).map(drop).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock, "a cluster that lives");
        held.tell_clearing();
        assert!(Lock::take(&path, Duration::ZERO).is_err());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| Lock::take_cleared(&path, Duration::ZERO, long));
            drop(held);
            let next = waiting.join().unwrap().unwrap();
            let third = Lock::take_cleared(&path, Duration::ZERO, long).map(drop);
            assert!(third.is_err(), "the next holder has not said that it clears up");
            drop(next);
        });
    }

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
