//! Ctrl-C: how the bench is asked to end early, and what it tells the user then.

use super::stderr;
use anyhow::{Context, bail, ensure};
use linux::signal::stop_requested;
use nix::sys::signal::Signal;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub(super) const INTERRUPTED: &str = "interrupted";
/// A thread that sleeps or waits checks this often whether the bench should end.
pub(super) const CHECK_EVERY: Duration = Duration::from_millis(200);

/// Tells that the bench should end early: after Ctrl-C, SIGTERM, or the end of its terminal. The
/// part that runs then ends with an error, and removes the clusters and objects that it has made.
/// Ctrl-C after that ends the program at once ([`second_ctrl_c`]), which tells what it leaves.
#[derive(Clone, Default)]
pub(crate) struct Stop {
    /// Cancelled once the bench should end.
    token: CancellationToken,
    /// The directory of the part that runs.
    dir: Arc<watch::Sender<PathBuf>>,
}

impl Stop {
    /// Listens for signals on a thread of its own, which ends with the process.
    ///
    /// # Errors
    /// No thread can be started, or no signal be received.
    pub(super) fn listen() -> anyhow::Result<Stop> {
        let stop = Stop::default();
        let listener = stop.clone();
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let tokio = tokio.context("cannot start")?;
        let first_signal = {
            let _inside = tokio.enter();
            stop_requested().context("signals cannot be received")?
        };
        let listen = async move {
            first_signal.await;
            request_and_tell(&listener, std::io::stderr());
            if second_ctrl_c(stop_requested).await.is_ok() {
                let dir = listener.dir.borrow().clone();
                if let Some(text) = describe_leftovers(&dir) {
                    stderr::write_line(text);
                }
                std::process::exit(130);
            }
        };
        let thread = std::thread::Builder::new().name("bench-stop".into());
        thread.spawn(move || tokio.block_on(listen)).context("cannot start")?;
        Ok(stop)
    }

    /// Notes the directory of the part that runs now.
    pub(super) fn works_in(&self, dir: &Path) {
        self.dir.send_replace(dir.to_path_buf());
    }

    /// Asks the bench to end.
    pub(super) fn request(&self) {
        self.token.cancel();
    }

    pub(super) fn is_requested(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Waits until the bench is asked to end.
    pub(super) async fn requested(&self) {
        self.token.cancelled().await;
    }

    /// Asks whether the bench may go on.
    ///
    /// # Errors
    /// It was asked to end.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        ensure!(!self.is_requested(), INTERRUPTED);
        Ok(())
    }

    /// Sleeps on this thread.
    ///
    /// # Errors
    /// The bench was asked to end before the time was over.
    pub(super) fn sleep(&self, time: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + time;
        loop {
            self.check()?;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(CHECK_EVERY));
        }
    }

    /// Does the work, and drops it when the bench is asked to end.
    ///
    /// # Errors
    /// Those of the work, or that it was interrupted.
    pub(super) async fn run_until_stopped<T>(
        &self,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        tokio::select! {
            biased;
            () = self.requested() => bail!(INTERRUPTED),
            done = work => done,
        }
    }
}

/// Describes what stays in the directory of a part that ends at once, and how a user removes it.
/// `None`: the directory is gone, or no part has begun.
fn describe_leftovers(dir: &Path) -> Option<String> {
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
/// its child and then to the child's group. `next_signal` begins to wait for the next signal that
/// asks to end.
///
/// # Errors
/// Those of `next_signal`.
async fn second_ctrl_c<F: Future<Output = &'static str>>(
    mut next_signal: impl FnMut() -> std::io::Result<F>,
) -> std::io::Result<()> {
    while next_signal()?.await != Signal::SIGINT.as_str() {}
    Ok(())
}

/// Asks the bench to end, and then tells the user. The terminal may have hung up, or the reader of
/// a pipe may have left; that must not keep anything from being removed.
fn request_and_tell(stop: &Stop, output: impl Write) {
    stop.request();
    let text = format!("ropewalk: {INTERRUPTED}; removing what was made (a second Ctrl-C leaves it)");
    stderr::write_line_to(output, text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[tokio::test]
    async fn a_terminal_that_is_closed_keeps_nothing_from_being_removed() {
        let signals = ["SIGHUP", "SIGTERM", "SIGINT", "SIGINT"];
        let mut left = signals.into_iter();
        second_ctrl_c(|| Ok(std::future::ready(left.next().expect("a signal")))).await.unwrap();
        assert_eq!(left.collect::<Vec<_>>(), ["SIGINT"], "only the first Ctrl-C was waited for");
    }

    #[test]
    fn a_second_ctrl_c_tells_what_it_leaves() {
        let dir = tempfile::tempdir().unwrap();
        let (place, text) = (dir.path().display(), || describe_leftovers(dir.path()));
        assert_eq!(text(), Some(format!("ropewalk: {place} stays")));
        std::fs::create_dir_all(dir.path().join("3/clusters")).unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        let cluster = format!(
            "ropewalk: {place} stays, and a cluster may run in it; before you remove it:\n  ROPEWALK_HOME={place}/3 ropewalk reset --yes"
        );
        assert_eq!(text(), Some(cluster));
        std::fs::remove_dir_all(dir.path()).unwrap();
        assert_eq!((text(), describe_leftovers(Path::new(""))), (None, None));
        let stop = Stop::default();
        stop.works_in(Path::new("/here"));
        assert_eq!(*stop.clone().dir.borrow(), Path::new("/here"));
    }

    #[test]
    fn a_closed_standard_error_keeps_nothing_from_ending() {
        struct HungUp(Stop);
        impl Write for HungUp {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                assert!(self.0.is_requested(), "first it ends, then it says so");
                Err(std::io::Error::from_raw_os_error(nix::libc::EIO))
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let stop = Stop::default();
        request_and_tell(&stop, HungUp(stop.clone()));
        assert!(stop.is_requested());
    }

    #[tokio::test]
    async fn work_that_is_interrupted_ends_and_drops_what_it_made() {
        struct Made(Arc<AtomicBool>);
        impl Drop for Made {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let stop = Stop::default();
        assert!(stop.check().is_ok() && stop.sleep(Duration::ZERO).is_ok());
        let is_dropped = Arc::default();
        let made = Made(Arc::clone(&is_dropped));
        let work = async move {
            let _made = made;
            std::future::pending::<anyhow::Result<()>>().await
        };
        stop.request();
        let ended = stop.run_until_stopped(work).await.map_err(|error| error.to_string());
        assert_eq!(ended, Err(INTERRUPTED.to_string()));
        assert!(is_dropped.load(Ordering::Relaxed));
        assert!(stop.sleep(Duration::from_secs(3600)).is_err() && stop.check().is_err());
    }
}
