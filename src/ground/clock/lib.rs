//! # Time
//!
//! ## In Kubernetes
//! Every object carries timestamps, every component waits: heartbeats, back-offs, grace periods.
//!
//! ## How this one works
//! Three different things are called time.
//!
//! *Timestamps* are for people and certificates. [`now`] reads the wall clock; it never runs
//! faster.
//!
//! *Cluster time* is what an object's field or a constant of Kubernetes says should pass in the
//! cluster. It runs faster by a [scale](set_scale) of 1 to 60 for the whole process, so that a
//! lesson can show a toleration of five minutes in fifteen seconds, and say so. [`sleep`] and
//! [`timeout`] wait for it. [`passed`] and [`left`] count it between two moments, also across
//! changes of the scale. A wait that is under way when the scale changes goes on at the new scale.
//!
//! *Real time* limits real work (a request, a dial, a probe's answer) and keeps a loop that retries
//! from being busy. Work does not become faster, so these times never change: [`limit`] and
//! [`pause`].
//!
//! These are cluster time:
//! - `tolerationSeconds`, the node monitor's grace period, a kubelet's heartbeats and resyncs
//! - a probe's `initialDelaySeconds` and `periodSeconds`
//! - CrashLoopBackOff and ImagePullBackOff
//! - `activeDeadlineSeconds`, a Job's back-off, `ttlSecondsAfterFinished`
//! - `minReadySeconds`, `progressDeadlineSeconds`
//! - the autoscaler's period and windows, and the metrics that it reads
//! - `--eviction-pressure-transition-period`, the pod garbage collector's quarantine
//! - the scheduler's look at all unschedulable pods, the resync of quotas
//!
//! These are real time:
//! - timeouts of requests, dials and handshakes; retries of requests, queues and informers
//! - a probe's `timeoutSeconds`: the program really answers
//! - `terminationGracePeriodSeconds` and `preStop`: the program really ends
//! - a CronJob's schedule and starting deadline: they name times of the wall clock
//! - the scheduler's back-off; how long an allowed eviction counts without a deletion
//! - leader election: its deadline limits real requests
//! - Raft, etcd's leases (so the age of Events, too), tokens, certificates
//! - looks at memory and disks; session affinity, which the kernel ends
//! - what the API server, the network, the REPL and kubectl wait for
//!
//! Where a busy machine could miss a time that became too short, a floor in real time holds beside
//! the scale: [`sleep_at_least`], and the node controller's grace period.
//!
//! Tests pause tokio's clock and pin the wall clock with [`pin`]; then timestamps follow the paused
//! clock too. [`pin_scale`] sets the scale of one test.
//!
//! ## Left out
//! Cluster time is counted from timestamps in objects, which have whole seconds: at scale 20 such a
//! wait may be 20 s of cluster time too short. The changes of the scale are not kept over a
//! restart; time before the start counts with scale 1.
//! Leap seconds and clock skew between nodes: all nodes of a cluster share one kernel.
//!
//! ## Read next
//! `tap`, whose records are stamped here.

#![warn(missing_docs)]

use parking_lot::RwLock;
use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::time::Duration;
use tokio::sync::Notify;

pub use jiff::Timestamp;
pub use tokio::sync::futures::Notified;
pub use tokio::time::Instant;

/// The largest scale: at 60, a minute of the cluster takes a second.
pub const SCALE_MAX: u32 = 60;
/// How many changes of the scale are kept; a further one drops the oldest. Time before the oldest
/// one kept counts as real time.
const CHANGES_MAX: usize = 64;
/// The longest wait, some three hundred years. Users may write any number of seconds into an
/// object, and adding too many to a time would panic.
const FAR: Duration = Duration::from_secs(10_000_000_000);

/// One change of the scale. It has two times, because some waits count from timestamps of objects
/// and others from instants of this process.
#[derive(Clone, Copy, Debug)]
pub struct ScaleChange {
    at: Instant,
    wall: Timestamp,
    scale: u32,
}

/// The scale now, and its history.
#[derive(Debug)]
struct Scales {
    /// The scale before the first change.
    first: u32,
    changes: Vec<ScaleChange>,
}

impl Scales {
    const fn of(first: u32) -> Scales {
        Scales { first, changes: Vec::new() }
    }

    fn now(&self) -> u32 {
        self.changes.last().map_or(self.first, |change| change.scale)
    }

    fn change(&mut self, scale: u32) {
        self.changes.push(ScaleChange { at: Instant::now(), wall: now(), scale });
        if self.changes.len() > CHANGES_MAX {
            self.changes.remove(0); // the time after it counts as real time: too little, never too much
        }
    }

    /// Returns the cluster time between two moments: the sum over the stretches of one scale.
    ///
    /// ```text
    /// scale 1 until 10:00:30, then 20     passed(10:00:00, 10:00:40) = 30 s + 20 * 10 s
    /// ```
    fn passed<M: Moment>(&self, since: M, until: M) -> Duration {
        let (mut from, mut scale, mut sum) = (since, self.first, Duration::ZERO);
        for change in &self.changes {
            let end = M::of(change).clamp(from, until.max(from));
            sum = sum.saturating_add(from.until(end).saturating_mul(scale));
            (from, scale) = (end, change.scale);
        }
        sum.saturating_add(from.until(until).saturating_mul(scale))
    }
}

static SCALES: RwLock<Scales> = RwLock::new(Scales::of(1));
/// Wakes the waits that are under way when the scale changes.
static CHANGED: Notify = Notify::const_new();

thread_local! {
    static PINNED: Cell<Option<(Timestamp, Instant)>> = const { Cell::new(None) };
    static PINNED_SCALES: RefCell<Option<Scales>> = const { RefCell::new(None) };
}

/// Reads the scales of this process, or the pinned ones of a test.
fn scales<R>(read: impl Fn(&Scales) -> R) -> R {
    PINNED_SCALES.with_borrow(|pinned| match pinned {
        Some(scales) => read(scales),
        None => read(&SCALES.read()),
    })
}

/// A point in time from which cluster time can be counted: a [`Timestamp`] or an [`Instant`].
pub trait Moment: Copy + Ord {
    /// Returns the moment of a change of the scale, by this clock.
    fn of(change: &ScaleChange) -> Self;
    /// Returns the real time until `end`; zero if that is earlier.
    fn until(self, end: Self) -> Duration;
}

impl Moment for Timestamp {
    fn of(change: &ScaleChange) -> Timestamp {
        change.wall
    }

    fn until(self, end: Timestamp) -> Duration {
        Duration::try_from(end.duration_since(self)).unwrap_or_default()
    }
}

impl Moment for Instant {
    fn of(change: &ScaleChange) -> Instant {
        change.at
    }

    fn until(self, end: Instant) -> Duration {
        end.saturating_duration_since(self)
    }
}

/// Returns the time of the wall clock, or of the pinned one of a test.
pub fn now() -> Timestamp {
    match PINNED.get() {
        Some((at, since)) => at + since.elapsed(),
        None => Timestamp::now(),
    }
}

/// Pins this thread's wall clock to `at`; from there on it follows tokio's (pausable) clock.
pub fn pin(at: Timestamp) {
    PINNED.set(Some((at, Instant::now())));
}

/// Formats as `2026-01-02T03:04:05Z`: `metav1.Time` as Kubernetes writes it.
pub fn rfc3339(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Formats as `2026-01-02T03:04:05.000006Z`: `metav1.MicroTime`, used by Leases and new Events.
pub fn rfc3339_micro(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

/// Formats as `2026-01-02T03:04:05.000000006Z`: RFC 3339 with nanoseconds, used in container logs.
pub fn rfc3339_nano(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.9fZ").to_string()
}

/// Returns how many times as fast as real time the cluster's time runs: 1 unless [`set_scale`]
/// changed it.
pub fn scale() -> u32 {
    scales(Scales::now)
}

/// Sets the scale of the whole process, within 1 and [`SCALE_MAX`]. Time that has passed until now
/// keeps counting with the scale that held then.
pub fn set_scale(scale: u32) {
    let scale = scale.clamp(1, SCALE_MAX);
    let mut scales = SCALES.write();
    if scales.now() != scale {
        scales.change(scale);
        drop(scales);
        CHANGED.notify_waiters();
    }
}

/// A scale for one test, see [`pin_scale`]. It ends with this value.
#[must_use]
pub struct PinnedScale(PhantomData<*const ()>); // it belongs to its thread

impl Drop for PinnedScale {
    fn drop(&mut self) {
        PINNED_SCALES.set(None);
    }
}

/// Pins this thread's scale, as if it had always been that one.
pub fn pin_scale(scale: u32) -> PinnedScale {
    PINNED_SCALES.set(Some(Scales::of(scale.clamp(1, SCALE_MAX))));
    PinnedScale(PhantomData)
}

/// Completes at the next change of the scale after this call, even if it is polled later.
pub fn changed() -> Notified<'static> {
    CHANGED.notified()
}

/// Returns the real time that a duration of the cluster takes at the present scale; at most three
/// hundred years.
pub fn scaled(duration: Duration) -> Duration {
    duration.min(FAR) / scale()
}

/// Returns the cluster time of a real duration at the present scale: the inverse of [`scaled`].
pub fn unscaled(waited: Duration) -> Duration {
    waited.min(FAR).saturating_mul(scale())
}

/// Returns the cluster time between two moments; zero if `until` is the earlier one.
pub fn passed<M: Moment>(since: M, until: M) -> Duration {
    scales(|scales| scales.passed(since, until))
}

/// Returns what is left of a wait for cluster time that began at `since`; `None`: it is over.
pub fn left<M: Moment>(since: M, wait: Duration, now: M) -> Option<Duration> {
    wait.checked_sub(passed(since, now)).filter(|left| !left.is_zero())
}

/// Returns the time `duration` after `at`; the last of the calendar (in the year 9999) if that is
/// beyond it.
pub fn after(at: Timestamp, duration: Duration) -> Timestamp {
    at.checked_add(duration).unwrap_or(Timestamp::MAX)
}

/// Returns the time `duration` before `at`, or the first of the calendar.
pub fn before(at: Timestamp, duration: Duration) -> Timestamp {
    at.checked_sub(duration).unwrap_or(Timestamp::MIN)
}

/// Waits for a duration of cluster time.
pub async fn sleep(duration: Duration) {
    sleep_at_least(duration, Duration::ZERO).await;
}

/// Waits for a duration of cluster time, and for `real` time at least: what would otherwise come
/// too often for a busy machine.
pub async fn sleep_at_least(duration: Duration, real: Duration) {
    let start = Instant::now();
    let duration = duration.min(FAR);
    let real = real.min(duration);
    loop {
        let changed = changed(); // before the scale is read: a change in between is not missed
        let now = Instant::now();
        let left = scaled(duration.saturating_sub(passed(start, now)));
        let left = left.max(real.saturating_sub(now.duration_since(start)));
        tokio::select! {
            biased; // a seed of a simulation has to be one history
            () = tokio::time::sleep(left) => return,
            () = changed => {}
        }
    }
}

/// Runs `future` for at most a duration of cluster time; `None` if the time is up.
pub async fn timeout<F: Future>(duration: Duration, future: F) -> Option<F::Output> {
    tokio::select! {
        biased;
        output = future => Some(output),
        () = sleep(duration) => None,
    }
}

/// Waits for a duration of real time.
pub async fn pause(duration: Duration) {
    tokio::time::sleep(duration.min(FAR)).await;
}

/// Returns the moment in `duration` of real time; at most three hundred years from now.
pub fn deadline(duration: Duration) -> Instant {
    Instant::now() + duration.min(FAR)
}

/// Waits until `at`, in real time.
pub async fn pause_until(at: Instant) {
    tokio::time::sleep_until(at).await;
}

/// Runs `future` for at most a duration of real time; `None` if the time is up.
pub async fn limit<F: Future>(duration: Duration, future: F) -> Option<F::Output> {
    tokio::time::timeout(duration.min(FAR), future).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_have_the_precision_their_kind_asks_for() {
        let at: Timestamp = "2026-01-02T03:04:05.123456789Z".parse().unwrap();
        assert_eq!(rfc3339(at), "2026-01-02T03:04:05Z");
        assert_eq!(rfc3339_micro(at), "2026-01-02T03:04:05.123456Z");
        assert_eq!(rfc3339_nano(at), "2026-01-02T03:04:05.123456789Z");
    }

    #[test]
    fn no_number_of_seconds_is_too_many() {
        let at: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        assert_eq!(rfc3339(after(at, Duration::from_secs(60))), "2026-01-02T03:05:05Z");
        assert_eq!(after(at, Duration::MAX), Timestamp::MAX);
        assert_eq!(rfc3339(before(at, Duration::from_secs(60))), "2026-01-02T03:03:05Z");
        assert_eq!(before(at, Duration::MAX), Timestamp::MIN);
        assert!(unscaled(Duration::MAX) >= FAR);
        assert_eq!(left(at, Duration::MAX, after(at, Duration::MAX)).map(|left| left > FAR), Some(true));
        assert_eq!(unscaled(scaled(Duration::from_secs(300))), Duration::from_secs(300));
        assert!(Instant::now() + scaled(Duration::MAX) > Instant::now());
        assert!(deadline(Duration::MAX) > Instant::now());
    }

    #[tokio::test(start_paused = true)]
    async fn a_pinned_clock_follows_the_paused_one() {
        pin("2026-01-02T03:04:05Z".parse().unwrap());
        sleep(Duration::from_secs(300)).await;
        assert_eq!(rfc3339(now()), "2026-01-02T03:09:05Z");
    }

    fn at(seconds: u64) -> Timestamp {
        after("2026-01-02T03:04:05Z".parse().unwrap(), Duration::from_secs(seconds))
    }

    #[tokio::test(start_paused = true)]
    async fn the_cluster_s_time_runs_faster_and_the_time_of_work_does_not() {
        let _scale = pin_scale(20);
        let (second, start) = (Duration::from_secs(1), Instant::now());
        sleep(300 * second).await;
        assert_eq!(start.elapsed(), 15 * second);
        pause(10 * second).await;
        assert_eq!(start.elapsed(), 25 * second);
        assert_eq!(limit(10 * second, std::future::pending::<()>()).await, None);
        assert_eq!(start.elapsed(), 35 * second);
        assert_eq!(timeout(100 * second, std::future::pending::<()>()).await, None);
        assert_eq!(start.elapsed(), 40 * second);
        assert_eq!(passed(start, Instant::now()), 800 * second);
        sleep_at_least(40 * second, 5 * second).await;
        assert_eq!(start.elapsed(), 45 * second, "a floor holds");
        sleep_at_least(second, 5 * second).await;
        assert_eq!(start.elapsed(), 46 * second, "a floor makes no wait longer than without a scale");
    }

    #[test]
    fn time_before_a_change_counts_with_the_scale_of_then() {
        let mut scales = Scales::of(1);
        let start = Instant::now();
        for (seconds, scale) in [(30, 20), (40, 1)] {
            let at_instant = start + Duration::from_secs(seconds);
            scales.changes.push(ScaleChange { at: at_instant, wall: at(seconds), scale });
        }
        let seconds = |from, to| scales.passed(at(from), at(to)).as_secs();
        assert_eq!(seconds(0, 30), 30);
        assert_eq!(seconds(0, 35), 30 + 100);
        assert_eq!(seconds(32, 38), 120);
        assert_eq!(seconds(35, 50), 100 + 10);
        assert_eq!(seconds(0, 50), 30 + 200 + 10);
        assert_eq!(seconds(45, 50), 5);
        assert_eq!(seconds(50, 0), 0, "nothing passes backwards");
        assert_eq!(scales.passed(start, start + Duration::from_secs(50)).as_secs(), 240);
        for _ in 0..2 * CHANGES_MAX {
            scales.change(7);
        }
        assert_eq!(scales.changes.len(), CHANGES_MAX);
        let passed = scales.passed(at(0), at(50)).as_secs();
        assert_eq!(passed, 50, "time before the changes that are remembered is real time");
    }

    #[test]
    fn what_is_left_of_a_wait_is_cluster_time() {
        let wait = Duration::from_secs(300);
        assert_eq!(left(at(0), wait, at(100)), Some(Duration::from_secs(200)));
        let _scale = pin_scale(20);
        assert_eq!(left(at(0), wait, at(5)), Some(Duration::from_secs(200)));
        assert_eq!(left(at(0), wait, at(15)), None);
        assert_eq!(left(at(9), wait, at(0)), Some(wait), "the wall clock was set back");
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_is_under_way_follows_a_change() {
        let scale = pin_scale(1);
        let start = Instant::now();
        let change = async {
            pause(Duration::from_secs(100)).await;
            PINNED_SCALES.with_borrow_mut(|scales| scales.as_mut().unwrap().change(20));
            CHANGED.notify_waiters();
        };
        tokio::join!(sleep(Duration::from_secs(300)), change);
        assert_eq!(start.elapsed(), Duration::from_secs(100 + 10));
        drop(scale);
        assert_eq!(super::scale(), 1);
    }
}
