//! When a further cluster of a proof starts: while the processors have time to spare. A cluster
//! works hard when it starts and when a lesson or lab is set up, and then waits for pods, probes
//! and deadlines; a fixed number of clusters is too many for the first and too few for the second.

use super::proof_stop::Stop;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard};

/// As many run however busy the machine is: else proofs beside other work would never end.
const ALWAYS: usize = 2;
/// Part of the time in which the processors have to have nothing to do.
const SPARE: f64 = 0.25;
/// How long they are watched. Nothing tells of an idle processor, so it is looked.
const WATCHED: Duration = Duration::from_secs(2);

/// They start one after the other: a start tells nothing yet of what the cluster will need.
static STARTS: Mutex<()> = Mutex::const_new(());
static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// The right to start a cluster.
pub(super) struct Turn {
    running: Running,
    one: MutexGuard<'static, ()>,
}

/// A cluster that runs.
pub(super) struct Running(());

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Turn {
    /// The cluster's process runs. Another one may start when the second is dropped.
    pub(super) fn started(self) -> (Running, MutexGuard<'static, ()>) {
        (self.running, self.one)
    }
}

/// Waits until a cluster may start.
///
/// # Errors
/// `stop` was wanted before.
pub(super) async fn turn(stop: &Stop) -> Result<Turn, String> {
    turn_when(is_spare, stop).await
}

async fn turn_when(is_spare: impl AsyncFn() -> bool, stop: &Stop) -> Result<Turn, String> {
    let waited = async {
        let one = STARTS.lock().await;
        while RUNNING.load(Ordering::Relaxed) >= ALWAYS && !is_spare().await {}
        RUNNING.fetch_add(1, Ordering::Relaxed);
        Ok(Turn { running: Running(()), one })
    };
    stop.or(waited).await
}

async fn is_spare() -> bool {
    let before = times();
    clock::sleep(WATCHED).await;
    let (Some(before), Some(after)) = (before, times()) else { return true }; // it cannot be known
    idle(before, after) >= SPARE
}

/// Ticks of all processors since the machine started: to be had, and all. A quota of the cgroup
/// that this process is in does not show in them. `None`: there is no `/proc`.
fn times() -> Option<(u64, u64)> {
    let own = std::fs::read_to_string("/proc/self/stat").ok()?;
    read(&std::fs::read_to_string("/proc/stat").ok()?, niceness(&own)? > 0)
}

/// Source: `proc_pid_stat(5)`, field 19. The second field, a name in brackets, may hold anything.
fn niceness(stat: &str) -> Option<i64> {
    stat.rsplit(')').next()?.split_whitespace().nth(16)?.parse().ok()
}

/// Source: `proc_stat(5)`. The time of guests is part of the first two fields, and waiting for a
/// disk is idle. Work that was made to give way (`nice`) gives way to a cluster, unless the cluster
/// gives way itself (`is_nice`).
///
/// Example: `cpu  5 2 3 80 10 0 0 0 0 0` is (92, 100), or (90, 100) for one that gives way.
fn read(stat: &str, is_nice: bool) -> Option<(u64, u64)> {
    let fields = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
    let ticks: Vec<u64> = fields.take(8).map(|field| field.parse().ok()).collect::<Option<_>>()?;
    let gives_way = if is_nice { 0 } else { *ticks.get(1)? };
    Some((gives_way + ticks.get(3)? + ticks.get(4)?, ticks.iter().sum()))
}

/// The part of the time between two looks in which the processors had nothing to do, from 0 to 1.
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
        assert_eq!(read(&stat(80, 7), true), Some((88, 100)), "its own work is no spare time");
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
        assert_eq!(busy.get(), 3, "nobody looked how busy the machine is");
        let (third, _next) = turn_when(is_spare, &stop).await.unwrap().started();
        assert_eq!(busy.get(), 0, "it waited until there was time");
        drop((first, second, third));
        assert_eq!(RUNNING.load(Ordering::Relaxed), 0);
    }
}
