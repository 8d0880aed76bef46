//! Waiting for children, as pid 1 must: its own by their descriptors, and strangers that the kernel
//! gave it.

use super::process::{self, Child, Exit};
use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use tokio::io::{Interest, unix::AsyncFd};
use tokio::sync::{Notify, watch};

#[derive(Default)]
struct Known {
    /// Children that are being made: their pids are not known yet, so no zombie of unknown origin
    /// may be taken for a stranger's.
    births: usize,
    owned: BTreeSet<i32>,
    /// Children without an owner that waits, by number: they are collected also while others are
    /// being made, which may take as long as a container likes.
    strangers: BTreeSet<i32>,
}

/// All children of this process: those with an owner that waits, and the strangers.
#[derive(Default)]
pub struct Children {
    known: Mutex<Known>,
    look_again: Notify,
}

impl Children {
    /// Makes an empty table: no child has an owner yet.
    pub fn new() -> Arc<Children> {
        Arc::default()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock()
    }

    /// Begins the birth of a child. The guard is held from before the child is made until it is
    /// adopted.
    pub fn birth(self: &Arc<Self>) -> Birth {
        self.known().births += 1;
        Birth(self.clone())
    }

    /// Collects children that were not adopted, for ever. A container's helper processes end here,
    /// and orphans.
    ///
    /// # Errors
    /// SIGCHLD cannot be watched, or a filter refuses waitid(2). It returns for no other reason.
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

    /// Collects the strangers that have ended. An owned zombie hides those behind it; its owner
    /// wakes the reaper once it is collected. The lock is held from the look to the end: an owner
    /// collects under it too, and what it has just collected is no stranger. No other code collects
    /// a stranger, so its number stays its own until then.
    fn reap_now(&self) -> io::Result<()> {
        let mut known = self.known();
        for pid in known.strangers.clone() {
            match process::reap(pid) {
                Ok(false) => continue, // it runs
                Ok(true) => {}
                Err(e) if e.raw_os_error() == Some(libc::ECHILD) => {} // it was no child
                Err(e) => return Err(e),
            }
            known.strangers.remove(&pid);
        }
        while let Some(pid) = process::peek_ended_child()? {
            if known.births > 0 || known.owned.contains(&pid) {
                break;
            }
            match process::reap(pid) {
                Err(e) if e.raw_os_error() == Some(libc::ECHILD) => {} // other code collected it by its pid
                other => {
                    other?;
                }
            }
            known.strangers.remove(&pid);
        }
        Ok(())
    }
}

/// A child is being made.
pub struct Birth(Arc<Children>);

impl Birth {
    /// Makes the handle that owns the child's exit from now on.
    ///
    /// # Errors
    /// As [`fds::async_fd`](super::fds::async_fd). The child is killed then, and collected as a
    /// stranger.
    pub fn adopt(self, child: Child) -> io::Result<Arc<Process>> {
        let pidfd = match super::fds::async_fd(child.pidfd, Interest::READABLE) {
            Ok(pidfd) => pidfd,
            Err(e) => {
                self.kill(child.pid);
                return Err(e);
            }
        };
        let mut known = self.0.known();
        known.strangers.remove(&child.pid);
        known.owned.insert(child.pid);
        drop(known);
        let (exit, _) = watch::channel(None);
        let pidfd = Mutex::new(Some(Arc::new(pidfd)));
        Ok(Arc::new(Process { pid: child.pid, pidfd, exit, children: self.0.clone() }))
    }

    /// Records a child that helps with this birth and will have no owner. Until this birth is over
    /// no child of unknown number is collected, so the number cannot be another process'.
    pub fn stranger(&self, pid: i32) {
        let mut known = self.0.known();
        if pid > 0 && !known.owned.contains(&pid) {
            known.strangers.insert(pid);
        }
        drop(known);
        self.0.look_again.notify_one();
    }

    /// Kills a child that cannot be adopted, because its descriptor is missing. It becomes a
    /// stranger, and is collected as one; until then its number cannot be another process'.
    pub fn kill(self, pid: i32) {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL); // ESRCH: it has ended
        self.stranger(pid);
    }
}

impl Drop for Birth {
    fn drop(&mut self) {
        self.0.known().births -= 1;
        self.0.look_again.notify_one();
    }
}

/// How long to wait before a child that has ended, but that a tracer outside has not collected, is
/// looked at again.
const TRACED: std::time::Duration = std::time::Duration::from_millis(50);

/// The pidfd of a child. It stays open as long as this handle lives, also if the child has ended
/// meanwhile.
pub type Pidfd = Arc<AsyncFd<OwnedFd>>;

/// A child of this process whose owner waits for its end. Its pidfd is closed as soon as its end is
/// known: what is remembered of ended children, of which there may be thousands, is data.
pub struct Process {
    /// Its number in this process' PID namespace. It may name a stranger once this one was
    /// collected.
    pub pid: i32,
    /// `None` once it was collected.
    pidfd: Mutex<Option<Pidfd>>,
    exit: watch::Sender<Option<Exit>>,
    children: Arc<Children>,
}

impl Process {
    /// Waits until it ends and returns how; any number of callers may wait.
    pub async fn exit(&self) -> Exit {
        loop {
            if let Some(exit) = *self.exit.borrow() {
                return exit;
            }
            let Some(pidfd) = self.open() else { continue }; // it was collected since
            if pidfd.readable().await.is_err() {
                return Exit::Signal(libc::SIGKILL); // the runtime is shutting down
            }
            drop(pidfd);
            if !self.collect() {
                // A tracer outside has to collect it first, and no event tells when it has.
                clock::pause(TRACED).await;
            }
        }
    }

    fn open(&self) -> Option<Pidfd> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Pidfd>> {
        self.pidfd.lock()
    }

    /// Returns how it ended, or `None` while it runs.
    pub fn ended(&self) -> Option<Exit> {
        self.collect();
        *self.exit.borrow()
    }

    /// Collects its exit if there is one. Answers whether its exit is known.
    fn collect(&self) -> bool {
        self.exit.send_if_modified(|exit| {
            let mut open = self.lock();
            let Some(pidfd) = open.as_ref().filter(|_| exit.is_none()) else { return false };
            // Its number is free once it is collected. A child that gets it is adopted after this
            // one is forgotten.
            let mut known = self.children.known();
            match process::wait_pidfd(pidfd.get_ref().as_fd(), false) {
                Ok(None) => return false,
                Ok(Some(found)) => *exit = Some(found),
                // Other code collected it, which only a bug can do: it has ended, and how it ended
                // is lost.
                Err(_) => *exit = Some(Exit::Signal(libc::SIGKILL)),
            }
            *open = None; // after the exit is set: who finds no descriptor finds the exit
            known.owned.remove(&self.pid);
            self.children.look_again.notify_one();
            true
        });
        self.exit.borrow().is_some()
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// `ESRCH`: it has ended.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        process::pidfd_send_signal(self.pidfd()?.as_fd(), signal)
    }

    /// Returns its pidfd, for as long as the caller needs it.
    ///
    /// # Errors
    /// `ESRCH`: it has ended.
    pub fn pidfd(&self) -> io::Result<Pidfd> {
        self.open().ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A running child whose handle is dropped is left to the reaper. The number of one that was
        // collected may be another child's.
        if self.exit.borrow().is_none() {
            let mut known = self.children.known();
            known.owned.remove(&self.pid);
            known.strangers.insert(self.pid);
            drop(known);
            self.children.look_again.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_remembered_of_an_ended_child_is_no_descriptor() {
        #[allow(clippy::zombie_processes)] // the handle waits for it
        let child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id() as i32;
        let birth = Children::new().birth();
        let process = birth.adopt(Child { pid, pidfd: process::pidfd_open(pid).unwrap() }).unwrap();
        let held = process.pidfd().unwrap();
        let (first, second) = tokio::join!(process.exit(), process.exit());
        assert_eq!((first, second, process.ended()), (Exit::Code(0), Exit::Code(0), Some(Exit::Code(0))));
        assert!(process.lock().is_none() && Arc::strong_count(&held) == 1);
        for gone in [process.pidfd().map(drop), process.signal(0)] {
            assert_eq!(gone.unwrap_err().raw_os_error(), Some(libc::ESRCH));
        }
    }

    /// Making one may take as long as the control group of a container makes it, and zombies stay
    /// charged to their pods.
    #[tokio::test]
    async fn strangers_of_known_number_are_collected_while_a_birth_is_open() {
        let children = Children::new();
        let birth = children.birth();
        let ended = async || {
            #[allow(clippy::zombie_processes)] // collected below
            let pid = std::process::Command::new("true").spawn().unwrap().id() as i32;
            let pidfd = super::super::fds::async_fd(process::pidfd_open(pid).unwrap(), Interest::READABLE);
            let _ = pidfd.unwrap().readable().await.unwrap();
            pid
        };
        let (helper, unknown, left) = (ended().await, ended().await, ended().await);
        birth.stranger(helper);
        let pidfd = process::pidfd_open(left).unwrap();
        drop(children.birth().adopt(Child { pid: left, pidfd }).unwrap());
        children.reap_now().unwrap();
        for collected in [helper, left] {
            assert_eq!(process::reap(collected).unwrap_err().raw_os_error(), Some(libc::ECHILD));
        }
        assert!(children.known().strangers.is_empty());
        assert!(process::reap(unknown).unwrap(), "it may be the child that is being made");
        drop(birth);
    }

    /// The processor time of this thread.
    fn used() -> std::time::Duration {
        // SAFETY: plain data, for which all zeroes is a value.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: `usage` outlives the call.
        super::super::check(unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) }.into()).unwrap();
        let of = |t: libc::timeval| std::time::Duration::new(t.tv_sec as u64, t.tv_usec as u32 * 1000);
        of(usage.ru_utime) + of(usage.ru_stime)
    }

    /// As with `strace -p`: a tracer has to collect a child before its parent can, and no event
    /// tells the parent when.
    #[tokio::test]
    #[allow(clippy::zombie_processes)] // the handle waits for one, and `wait` for the other
    async fn a_child_that_a_tracer_has_not_collected_is_waited_for_without_spinning() {
        use std::os::unix::process::CommandExt;
        let done = |answer: i64| super::super::check(answer).map(drop);
        let sleeper = |before: Box<dyn FnMut() -> io::Result<()> + Send + Sync>| {
            let mut command = std::process::Command::new("sleep");
            // SAFETY: `before` makes one system call and allocates nothing.
            unsafe { command.arg("600").pre_exec(before) };
            command.spawn().unwrap()
        };
        let willing = sleeper(Box::new(move || {
            // SAFETY: prctl takes numbers here. It fails where no Yama asks for it.
            unsafe { libc::prctl(libc::PR_SET_PTRACER, libc::PR_SET_PTRACER_ANY) };
            Ok(())
        }));
        let pid = willing.id() as i32;
        let null = std::ptr::null_mut::<libc::c_void>();
        let (addr, data) = (null as usize, null as usize);
        let mut tracer = sleeper(Box::new(move || {
            // SAFETY: PTRACE_SEIZE with null pointers looks at no memory. The tracer stays one when
            // it runs its program.
            done(unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, addr, data) })
        }));
        let birth = Children::new().birth();
        let process = birth.adopt(Child { pid, pidfd: process::pidfd_open(pid).unwrap() }).unwrap();
        process.signal(libc::SIGKILL).unwrap();
        let (before, wait) = (used(), std::time::Duration::from_millis(400));
        assert!(tokio::time::timeout(wait, process.exit()).await.is_err(), "its tracer has not collected it");
        let used = used() - before;
        tracer.kill().unwrap();
        tracer.wait().unwrap();
        assert_eq!(process.exit().await, Exit::Signal(libc::SIGKILL));
        assert!(used < wait / 4, "{used:?} of processor time in {wait:?}");
    }

    /// A stopped sandbox is remembered for hours, and numbers come back within minutes.
    #[tokio::test]
    async fn the_handle_of_an_ended_child_does_not_disown_another_of_its_number() {
        #[allow(clippy::zombie_processes)] // the handle waits for it
        let child = std::process::Command::new("true").spawn().unwrap();
        let (pid, children) = (child.id() as i32, Children::new());
        let adopt = || {
            let pidfd = process::pidfd_open(std::process::id() as i32).unwrap();
            children.birth().adopt(Child { pid, pidfd }).unwrap()
        };
        let pidfd = process::pidfd_open(pid).unwrap();
        let old = children.birth().adopt(Child { pid, pidfd }).unwrap();
        old.exit().await;
        let new = adopt(); // as if the number had come back
        drop(old);
        assert!(children.known().owned.contains(&pid), "the reaper may take the exit of another's child");
        drop(new);
        assert!(!children.known().owned.contains(&pid), "a running child without a handle is the reaper's");
    }
}
