//! Waiting for children, as pid 1 must: its own by their descriptors, and strangers that the kernel gave it.

use super::process::{self, Child, Exit};
use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::io::{Interest, unix::AsyncFd};
use tokio::sync::{Notify, watch};

#[derive(Default)]
struct Known {
    /// Children that are being made: their pids are not known yet, so no zombie may be taken for a stranger's.
    births: usize,
    owned: BTreeSet<i32>,
}

/// Everybody this process waits for.
#[derive(Default)]
pub struct Children {
    known: Mutex<Known>,
    look_again: Notify,
}

impl Children {
    pub fn new() -> Arc<Children> {
        Arc::default()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// To be held from before a child is made until it is adopted.
    pub fn birth(self: &Arc<Self>) -> Birth {
        self.known().births += 1;
        Birth(self.clone())
    }

    /// Collects children that nobody adopted, for ever. A container's helper processes end here, and orphans.
    pub async fn reap_strangers(self: Arc<Self>) -> io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut ended = signal(SignalKind::child())?;
        loop {
            self.reap_now()?;
            tokio::select! {
                _ = ended.recv() => {}
                () = self.look_again.notified() => {}
            }
        }
    }

    /// An owned zombie hides those behind it; its owner pokes us once it is collected.
    fn reap_now(&self) -> io::Result<()> {
        while let Some(pid) = process::peek_ended_child()? {
            let known = self.known();
            if known.births > 0 || known.owned.contains(&pid) {
                break;
            }
            process::reap(pid)?;
        }
        Ok(())
    }
}

/// A child is being made.
pub struct Birth(Arc<Children>);

impl Birth {
    /// From now on the child's exit belongs to the returned handle.
    pub fn adopt(self, child: Child) -> io::Result<Arc<Process>> {
        let pidfd = super::fds::async_fd(child.pidfd, Interest::READABLE)?; // one that fails here is a stranger
        self.0.known().owned.insert(child.pid);
        let (exit, _) = watch::channel(None);
        Ok(Arc::new(Process { pid: child.pid, pidfd, exit, children: self.0.clone() }))
    }
}

impl Drop for Birth {
    fn drop(&mut self) {
        self.0.known().births -= 1;
        self.0.look_again.notify_one();
    }
}

/// A child of this process that somebody waits for.
pub struct Process {
    pub pid: i32,
    pidfd: AsyncFd<OwnedFd>,
    exit: watch::Sender<Option<Exit>>,
    children: Arc<Children>,
}

impl Process {
    /// How it ended; any number of callers may wait.
    pub async fn exit(&self) -> Exit {
        loop {
            if let Some(exit) = *self.exit.borrow() {
                return exit;
            }
            if self.pidfd.readable().await.is_err() {
                return Exit::Signal(libc::SIGKILL); // the runtime is shutting down
            }
            self.collect();
        }
    }

    /// How it ended, or `None` while it runs.
    pub fn ended(&self) -> Option<Exit> {
        self.collect();
        *self.exit.borrow()
    }

    fn collect(&self) {
        self.exit.send_if_modified(|exit| {
            if exit.is_some() {
                return false;
            }
            match process::wait_pidfd(self.pidfd.get_ref().as_fd(), false) {
                Ok(None) => return false,
                Ok(Some(found)) => *exit = Some(found),
                // Somebody else collected it, which only a bug can do: it has ended, nobody knows how.
                Err(_) => *exit = Some(Exit::Signal(libc::SIGKILL)),
            }
            self.children.known().owned.remove(&self.pid);
            self.children.look_again.notify_one();
            true
        });
    }

    pub fn signal(&self, signal: i32) -> io::Result<()> {
        process::pidfd_send_signal(self.pidfd(), signal)
    }

    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.get_ref().as_fd()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Whoever drops the handle of a running child leaves it to the reaper.
        self.children.known().owned.remove(&self.pid);
        self.children.look_again.notify_one();
    }
}
