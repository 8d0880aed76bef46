//! What a part of the bench is given, and how it is asked to end early.

use anyhow::{Context, bail, ensure};
use clap::ValueEnum;
use lang::charset::printable;
use linux::signal::stop_requested;
use nix::sys::signal::Signal;
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(super) const INTERRUPTED: &str = "interrupted";
/// A thread that sleeps looks this often whether it should end.
pub(super) const HEED: Duration = Duration::from_millis(200);
/// How long the clients of a round wait for their last answers when the round is over.
const LAST_ANSWERS: Duration = Duration::from_secs(30);

/// A part of the bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// How long a start and a stop take, and what a cluster costs while nothing happens
    Start,
    /// Pods: run, scale, heal, 200 on two nodes
    Pods,
    /// Puts and gets a second of the store, beside etcd if it is on PATH
    Store,
    /// Gets and creates a second of the API server, beside a kube-apiserver if its kubeconfig is
    /// given
    Api,
    /// A NodePort beside a direct connection, localhost's way in beside loopback
    Network,
    /// A container's start beside crun's, if it is on PATH
    Runtime,
}

/// What a part is given: a directory of its own with a short path, and how often to do everything
/// (`None`: as often as is usual).
pub(crate) struct Room<'a> {
    /// Removed when the part has ended, unless `keep` is set.
    pub dir: &'a Path,
    /// `--runs`; `None`: each measurement's own number.
    pub runs: Option<usize>,
    /// The kubeconfig of an API server to stand beside.
    pub peer: Option<&'a Path>,
    /// Whether to end early.
    pub stop: Stop,
    /// Set if `dir` has to stay: something in it still runs.
    pub keep: AtomicBool,
}

impl What {
    /// Returns whether a disk that syncs slowly makes the figures of this part worse.
    pub(super) fn syncs(self) -> bool {
        !matches!(self, What::Network | What::Runtime)
    }
}

/// Returns whether the files of a directory are in memory, where syncing them costs nothing.
pub(super) fn is_memory(dir: &Path) -> bool {
    statfs(dir).is_ok_and(|found| found.filesystem_type() == TMPFS_MAGIC)
}

impl Room<'_> {
    pub(super) fn runs(&self, usual: usize) -> usize {
        self.runs.unwrap_or(usual).max(1)
    }

    /// Asks whether there is time for more.
    ///
    /// # Errors
    /// The bench was asked to end.
    pub(crate) fn go_on(&self) -> anyhow::Result<()> {
        ensure!(!self.stop.token.is_cancelled(), INTERRUPTED);
        Ok(())
    }

    /// Sleeps on this thread.
    ///
    /// # Errors
    /// The bench was asked to end before the time was over.
    pub(crate) fn sleep(&self, time: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + time;
        loop {
            self.go_on()?;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(HEED));
        }
    }

    /// Does the work, and drops it when the bench is asked to end.
    ///
    /// # Errors
    /// Those of the work, or that it was interrupted.
    pub(crate) async fn unless_stopped<T>(
        &self,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        tokio::select! {
            biased;
            () = self.stop.token.cancelled() => bail!(INTERRUPTED),
            done = work => done,
        }
    }
}

/// Tells that the bench should end early: after Ctrl-C, SIGTERM, or the end of its terminal. The
/// part that runs then ends with an error, and removes the clusters and objects that it has made.
/// Ctrl-C after that ends the program at once ([`second_ctrl_c`]), which tells what it leaves.
#[derive(Clone, Default)]
pub(crate) struct Stop {
    /// Cancelled once the bench should end.
    pub(super) token: CancellationToken,
    /// The directory of the part that runs.
    dir: Arc<watch::Sender<PathBuf>>,
}

impl Stop {
    /// Listens on a thread of its own, which ends with the process.
    pub(super) fn listen() -> anyhow::Result<Stop> {
        let stop = Stop::default();
        let ours = stop.clone();
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let tokio = tokio.context("cannot start")?;
        let asked = {
            let _inside = tokio.enter();
            stop_requested().context("signals cannot be received")?
        };
        let listen = async move {
            asked.await;
            end(&ours.token, std::io::stderr());
            if second_ctrl_c(stop_requested).await.is_ok() {
                let dir = ours.dir.borrow().clone();
                if let Some(text) = left_in(&dir) {
                    tell(text);
                }
                std::process::exit(130);
            }
        };
        let listening = std::thread::Builder::new().name("bench-stop".into());
        listening.spawn(move || tokio.block_on(listen)).context("cannot start")?;
        Ok(stop)
    }

    /// Notes the directory of the part that runs now.
    pub(super) fn works_in(&self, dir: &Path) {
        self.dir.send_replace(dir.to_path_buf());
    }
}

/// Describes what stays in the directory of a part that ends at once, and how a user removes it.
/// `None`: the directory is gone, or no part has begun.
fn left_in(dir: &Path) -> Option<String> {
    if !dir.exists() {
        return None;
    }
    let inside = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let homes =
        std::iter::once(dir.to_path_buf()).chain(inside).filter(|home| home.join("clusters").exists());
    let wipes: String =
        homes.map(|home| format!("\n  ROPEWALK_HOME={} ropewalk reset --yes", home.display())).collect();
    let first = if wipes.is_empty() { "" } else { ", and a cluster may run in it; before you remove it:" };
    Some(format!("ropewalk: {} stays{first}{wipes}", dir.display()))
}

/// Waits for a Ctrl-C of a user who does not want to wait for the removal. Any other signal may
/// come twice although it was meant once: when a terminal is closed, the shell sends SIGHUP to its
/// job and the kernel sends another when the shell has ended, and timeout(1) sends its signal to
/// its child and then to the child's group. `asked` begins to wait for the next signal that asks
/// to end.
///
/// # Errors
/// Those of `asked`.
async fn second_ctrl_c<F: Future<Output = &'static str>>(
    mut asked: impl FnMut() -> std::io::Result<F>,
) -> std::io::Result<()> {
    while asked()?.await != Signal::SIGINT.as_str() {}
    Ok(())
}

/// Ends the bench, and then says so. The terminal may have hung up, or the reader of a pipe may
/// have left; that must not keep anything from being removed.
fn end(token: &CancellationToken, stderr: impl Write) {
    token.cancel();
    let text = format!("ropewalk: {INTERRUPTED}; removing what was made (a second Ctrl-C leaves it)");
    tell_to(stderr, text);
}

/// Writes a line to standard error, in the letters that the locale has. If the terminal has hung up
/// or the reader of a pipe has left, nothing is written: `eprintln!` would end the program then,
/// and leave the cluster and the directory that are being measured.
pub(super) fn tell(text: String) {
    tell_to(std::io::stderr(), text);
}

fn tell_to(mut stderr: impl Write, text: String) {
    let _ = writeln!(stderr, "{}", printable(text)); // it may be closed
}

/// Runs a part that waits, on a thread for each processor: on a machine that has many, the figures
/// of 64 clients on two threads would be the clients' own.
pub(super) fn wait_for<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let threads = std::thread::available_parallelism().map_or(2, |processors| processors.get().max(2));
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    tokio.context("cannot start")?.block_on(work)
}

/// Waits for the clients of a round that takes `time`, and returns what each of them has done. A
/// connection has no limit of its own: a server that stops answering would be waited for without
/// end.
///
/// # Errors
/// The first error of a client, or a client has no answer [`LAST_ANSWERS`] after the round.
pub(super) async fn all_done<T: 'static>(
    mut clients: JoinSet<anyhow::Result<T>>,
    time: Duration,
) -> anyhow::Result<Vec<T>> {
    let all = async {
        let mut all = Vec::new();
        while let Some(client) = clients.join_next().await {
            all.push(client??);
        }
        anyhow::Ok(all)
    };
    let done = clock::limit(time.saturating_add(LAST_ANSWERS), all).await;
    done.with_context(|| format!("a server gave no answer for {} s", LAST_ANSWERS.as_secs()))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_server_that_stops_answering_is_given_up() {
        let mut clients = JoinSet::new();
        clients.spawn(async { anyhow::Ok(1) });
        clients.spawn(std::future::pending());
        let round = all_done(clients, Duration::from_secs(2));
        let ended = clock::limit(10 * LAST_ANSWERS, round).await.expect("an end");
        assert_eq!(ended.unwrap_err().to_string(), "a server gave no answer for 30 s");
        let mut clients = JoinSet::new();
        clients.spawn(async { anyhow::Ok(1) });
        assert_eq!(all_done(clients, Duration::ZERO).await.unwrap(), [1]);
    }

    #[test]
    fn clients_may_use_every_processor() {
        let threads = wait_for(async { Ok(tokio::runtime::Handle::current().metrics().num_workers()) });
        let processors = std::thread::available_parallelism().unwrap().get();
        assert_eq!(threads.unwrap(), processors.max(2));
    }

    #[tokio::test]
    async fn a_terminal_that_is_closed_keeps_nothing_from_being_removed() {
        let signals = ["SIGHUP", "SIGTERM", "SIGINT", "SIGINT"];
        let mut left = signals.into_iter();
        second_ctrl_c(|| Ok(std::future::ready(left.next().expect("a signal")))).await.unwrap();
        assert_eq!(left.collect::<Vec<_>>(), ["SIGINT"], "only the first Ctrl-C was waited for");
    }

    #[test]
    fn a_directory_in_memory_is_known_as_that() {
        assert!(!is_memory(Path::new("/proc")) && !is_memory(Path::new("/nowhere")));
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        let shared = mounts.lines().rfind(|line| line.split(' ').nth(1) == Some("/dev/shm"));
        let has_tmpfs = shared.is_some_and(|line| line.split(' ').nth(2) == Some("tmpfs"));
        assert!(is_memory(Path::new("/dev/shm")) || !has_tmpfs, "{shared:?}");
        assert!(What::Store.syncs() && !What::Network.syncs());
    }

    #[test]
    fn a_second_ctrl_c_tells_what_it_leaves() {
        let dir = tempfile::tempdir().unwrap();
        let (place, told) = (dir.path().display(), || left_in(dir.path()));
        assert_eq!(told(), Some(format!("ropewalk: {place} stays")));
        std::fs::create_dir_all(dir.path().join("3/clusters")).unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        let cluster = format!(
            "ropewalk: {place} stays, and a cluster may run in it; before you remove it:\n  ROPEWALK_HOME={place}/3 ropewalk reset --yes"
        );
        assert_eq!(told(), Some(cluster));
        std::fs::remove_dir_all(dir.path()).unwrap();
        assert_eq!((told(), left_in(Path::new(""))), (None, None));
        let stop = Stop::default();
        stop.works_in(Path::new("/here"));
        assert_eq!(*stop.clone().dir.borrow(), Path::new("/here"));
    }

    #[test]
    fn a_closed_standard_error_keeps_nothing_from_ending() {
        struct HungUp(CancellationToken);
        impl Write for HungUp {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                assert!(self.0.is_cancelled(), "first it ends, then it says so");
                Err(std::io::Error::from_raw_os_error(nix::libc::EIO))
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let stop = Stop::default();
        end(&stop.token, HungUp(stop.token.clone()));
        assert!(stop.token.is_cancelled());
    }

    #[test]
    fn a_part_that_is_interrupted_ends_and_drops_what_it_made() {
        struct Made(std::sync::Arc<std::sync::atomic::AtomicBool>);
        impl Drop for Made {
            fn drop(&mut self) {
                self.0.store(true, std::sync::atomic::Ordering::Relaxed);
            }
        }
        let stop = Stop::default();
        let room = Room {
            dir: Path::new("/"),
            runs: None,
            peer: None,
            stop: stop.clone(),
            keep: AtomicBool::new(false),
        };
        assert!(room.go_on().is_ok() && room.sleep(Duration::ZERO).is_ok());
        let gone = std::sync::Arc::default();
        let made = Made(std::sync::Arc::clone(&gone));
        let work = async move {
            let _made = made;
            std::future::pending::<anyhow::Result<()>>().await
        };
        stop.token.cancel();
        let ended = wait_for(room.unless_stopped(work)).map_err(|error| error.to_string());
        assert_eq!(ended, Err(INTERRUPTED.to_string()));
        assert!(gone.load(std::sync::atomic::Ordering::Relaxed));
        assert!(room.sleep(Duration::from_secs(3600)).is_err() && room.go_on().is_err());
    }
}
