//! Decides when a proof starts a further cluster: while the processors have time to spare. A
//! cluster works hard while it starts and while a lesson or lab is set up. Then it waits for pods,
//! probes and deadlines. A fixed number of clusters would be too many for the first and too few for
//! the second.

use super::stop::Stop;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard};

/// This many clusters run however busy the machine is. Otherwise a proof beside other work would
/// never end.
const ALWAYS: usize = 2;
/// The processors have time to spare if they have nothing to do in this part of the time.
const SPARE: f64 = 0.25;
/// How long the processors are measured. The kernel sends no event when a processor is idle, so
/// this file polls `/proc/stat`.
const WATCHED: Duration = Duration::from_secs(1);

/// Held by the cluster that starts: clusters start one after the other. Only once a cluster runs
/// does its work show in `/proc/stat`.
static STARTS: Mutex<()> = Mutex::const_new(());
static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// The right to start a cluster.
pub(super) struct Turn {
    running: Running,
    start: MutexGuard<'static, ()>,
}

/// Counts a cluster as running until it is dropped.
pub(super) struct Running(());

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Turn {
    /// Splits the turn once the cluster's process runs. The next cluster may start when the guard
    /// is dropped; the cluster counts as running until [`Running`] is.
    pub(super) fn started(self) -> (Running, MutexGuard<'static, ()>) {
        (self.running, self.start)
    }
}

/// Waits until a cluster may start.
///
/// # Errors
/// The proof was stopped while this waited.
pub(super) async fn turn(stop: &Stop) -> Result<Turn, String> {
    turn_when(is_spare, stop).await
}

async fn turn_when(is_spare: impl AsyncFn() -> bool, stop: &Stop) -> Result<Turn, String> {
    let waited = async {
        let start = STARTS.lock().await;
        while RUNNING.load(Ordering::Relaxed) >= ALWAYS && !is_spare().await {}
        RUNNING.fetch_add(1, Ordering::Relaxed);
        Ok(Turn { running: Running(()), start })
    };
    stop.or(waited).await
}

/// Measures for [`WATCHED`] whether the processors have time to spare. True if `/proc/stat` cannot
/// be read: then the number of clusters is bounded by `--jobs` alone.
async fn is_spare() -> bool {
    let before = times();
    clock::sleep(WATCHED).await;
    let (Some(before), Some(after)) = (before, times()) else { return true };
    idle(before, after) >= SPARE
}

/// Reads the ticks of all processors since the machine started: those that a cluster could have
/// had, and all. They do not show a CPU quota of this process's cgroup. `None` if `/proc` cannot be
/// read.
fn times() -> Option<(u64, u64)> {
    let own = std::fs::read_to_string("/proc/self/stat").ok()?;
    read(&std::fs::read_to_string("/proc/stat").ok()?, niceness(&own)? > 0)
}

/// Reads the nice value from `/proc/PID/stat`. Source: proc_pid_stat(5), field 19. The second
/// field, a name in brackets, may hold spaces and brackets.
fn niceness(stat: &str) -> Option<i64> {
    stat.rsplit(')').next()?.split_whitespace().nth(16)?.parse().ok()
}

/// Reads the ticks from `/proc/stat`: those that a cluster could have had, and all. Waiting for a
/// disk is idle. Work with a positive nice value yields to a cluster, so its ticks count as idle;
/// they do not if the cluster has a positive nice value itself (`is_nice`). Source: proc_stat(5);
/// the time of guests is part of the first two fields.
///
/// Example: `cpu  5 2 3 80 10 0 0 0 0 0` is (92, 100), or (90, 100) with `is_nice`.
fn read(stat: &str, is_nice: bool) -> Option<(u64, u64)> {
    let fields = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
    let ticks: Vec<u64> = fields.take(8).map(|field| field.parse().ok()).collect::<Option<_>>()?;
    let yielding = if is_nice { 0 } else { *ticks.get(1)? };
    Some((yielding + ticks.get(3)? + ticks.get(4)?, ticks.iter().sum()))
}

/// Returns in which part of the time between two readings the processors were idle, from 0 to 1.
fn idle(before: (u64, u64), after: (u64, u64)) -> f64 {
    let all = after.1.saturating_sub(before.1).max(1);
    after.0.saturating_sub(before.0) as f64 / all as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_is_read_from_the_first_line() {
        let stat =
            |idle: u64, user: u64| format!("cpu  {user} 2 3 {idle} 8 0 0 0 5 0\ncpu0 1 1 1 1 1 1 1 1\n");
        assert_eq!(read(&stat(80, 7), false), Some((90, 100)));
        assert_eq!(read(&stat(80, 7), true), Some((88, 100)), "work as nice as the cluster is not idle");
        let between = |idle_ticks: u64, busy: u64| {
            let read = |stat: String| read(&stat, false).unwrap();
            idle(read(stat(80, 7)), read(stat(80 + idle_ticks, 7 + busy)))
        };
        assert_eq!(between(25, 75), 0.25);
        assert_eq!(between(0, 100), 0.0);
        assert_eq!(between(0, 0), 0.0, "no time went by");
        let bad = |stat: &str| read(stat, false);
        assert_eq!((bad(""), bad("cpu  1 2 x 4 5"), bad("cpu  1 2 3")), (None, None, None));
    }

    #[test]
    fn niceness_is_read_behind_the_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 1 0 0 0 1 2 0 0 30 10 1 0 5 6";
        assert_eq!(niceness(stat), Some(10));
        assert_eq!(niceness("7 (a"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn two_start_at_once_and_further_ones_when_there_is_time() {
        let (stop, busy) = (Stop::default(), std::cell::Cell::new(3));
        let is_spare = async || busy.replace(busy.get() - 1) == 1;
        let first = turn_when(is_spare, &stop).await.unwrap();
        let mut second = Box::pin(turn_when(is_spare, &stop));
        assert!(futures::poll!(&mut second).is_pending(), "the first has not started yet");
        let (first, next) = first.started();
        assert!(futures::poll!(&mut second).is_pending(), "the first is not ready yet");
        drop(next);
        let (second, next) = second.await.unwrap().started();
        drop(next);
        assert_eq!(busy.get(), 3, "the second does not ask whether there is time to spare");
        let (third, _next) = turn_when(is_spare, &stop).await.unwrap().started();
        assert_eq!(busy.get(), 0, "it waited until there was time");
        drop((first, second, third));
        assert_eq!(RUNNING.load(Ordering::Relaxed), 0);
    }
}
