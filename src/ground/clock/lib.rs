//! # Time
//!
//! ## In Kubernetes
//! Every object carries timestamps, every component waits: heartbeats, back-offs, grace periods.
//! ## How this one works
//! Two different things are called time. *Timestamps* are for people and certificates: [`now`]
//! reads the wall clock and is never scaled. *Waits* go through [`sleep`] and [`timeout`], which
//! are tokio's timer divided by a [scale](set_scale), so that a lesson may shorten a five-minute
//! toleration and say so. Tests pause tokio's clock and pin the wall clock with [`pin`]; then
//! timestamps follow the paused clock too.
//! ## Left out
//! Nobody sets the scale yet: a lesson that asks for another clock says so, and runs in real time.
//! Leap seconds and clock skew between nodes: all nodes of a cluster share one kernel.
//! ## Read next
//! `tap`, whose records are stamped here.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub use jiff::Timestamp;
pub use tokio::time::Instant;

static SCALE_MILLI: AtomicU64 = AtomicU64::new(1000);

thread_local! {
    static PINNED: Cell<Option<(Timestamp, Instant)>> = const { Cell::new(None) };
}

/// The wall clock, or the pinned one of a test.
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

/// `2026-01-02T03:04:05Z`: `metav1.Time` as Kubernetes writes it.
pub fn rfc3339(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `2026-01-02T03:04:05.000006Z`: `metav1.MicroTime`, used by Leases and new Events.
pub fn rfc3339_micro(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

/// `2026-01-02T03:04:05.000000006Z`: RFC 3339 with nanoseconds, used in container logs.
pub fn rfc3339_nano(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.9fZ").to_string()
}

/// How many times faster than real time waits run; 1.0 unless a lesson says otherwise.
pub fn scale() -> f64 {
    SCALE_MILLI.load(Ordering::Relaxed) as f64 / 1000.0
}

/// Sets the scale for the whole process. Values below 0.001 count as 0.001.
pub fn set_scale(scale: f64) {
    SCALE_MILLI.store(((scale * 1000.0) as u64).max(1), Ordering::Relaxed);
}

/// Nothing is waited for longer: people may write any number of seconds into an object, and a time
/// beyond the calendar is no time.
const FAR: Duration = Duration::from_secs(10_000_000_000);

/// A Kubernetes duration as this process waits it out; at most three hundred years (etcd's leases
/// may last that long).
pub fn scaled(duration: Duration) -> Duration {
    duration.min(FAR).div_f64(scale())
}

/// The Kubernetes duration of a time that this process waited: the inverse of [`scaled`].
pub fn unscaled(waited: Duration) -> Duration {
    waited.min(FAR).mul_f64(scale())
}

/// The time `duration` after `at`; the last of the calendar (in the year 9999) if that is beyond
/// it.
pub fn after(at: Timestamp, duration: Duration) -> Timestamp {
    at.checked_add(duration).unwrap_or(Timestamp::MAX)
}

/// The time `duration` before `at`, or the first of the calendar.
pub fn before(at: Timestamp, duration: Duration) -> Timestamp {
    at.checked_sub(duration).unwrap_or(Timestamp::MIN)
}

/// Waits for a (scaled) duration.
pub async fn sleep(duration: Duration) {
    tokio::time::sleep(scaled(duration)).await;
}

/// Waits until `at`, which is real time: what was scaled went into it before.
pub async fn sleep_until(at: Instant) {
    tokio::time::sleep_until(at).await;
}

/// Runs `future` for at most a (scaled) duration; `None` if the time is up.
pub async fn timeout<F: Future>(duration: Duration, future: F) -> Option<F::Output> {
    tokio::time::timeout(scaled(duration), future).await.ok()
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
        assert_eq!(unscaled(scaled(Duration::from_secs(300))), Duration::from_secs(300));
        assert!(Instant::now() + scaled(Duration::MAX) > Instant::now());
    }

    #[tokio::test(start_paused = true)]
    async fn a_pinned_clock_follows_the_paused_one() {
        pin("2026-01-02T03:04:05Z".parse().unwrap());
        sleep(Duration::from_secs(300)).await;
        assert_eq!(rfc3339(now()), "2026-01-02T03:09:05Z");
    }
}
