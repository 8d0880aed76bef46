//! How fast containers of one pod may write to their logs. The log is written by this program and
//! not by the pod: without a bound, `yes ''` would take a processor and the disk's time outside of
//! the pod's limits. What is not read yet waits in the container's pipe, and when that is full the
//! container waits. Upstream has no such bound; there, containerd's shim writes, which belongs to
//! the host, too.

use clock::Instant;
use parking_lot::{Mutex, MutexGuard};
use std::time::Duration;

/// Bytes of log entries in a second, for all containers of a pod together.
const RATE: u64 = 4 << 20;
/// Bytes of log entries that are written at once after a time of silence.
const BURST: u64 = 8 << 20;

/// A leaky bucket: the time at which all that was written would have been written at [`RATE`].
#[derive(Debug, Default)]
pub(crate) struct Pace(Mutex<Option<Instant>>);

fn time_of(bytes: u64) -> Duration {
    Duration::from_nanos(bytes.saturating_mul(1_000_000_000) / RATE)
}

impl Pace {
    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock()
    }

    /// Counts bytes that were written. Returns how long the writer has to wait before it reads on.
    ///
    /// ```text
    /// 8 MiB after silence  ->  0 s    1 MiB more  ->  250 ms   and another one at once  ->  500 ms
    /// ```
    pub(crate) fn wrote(&self, bytes: u64, now: Instant) -> Duration {
        let mut written = self.lock();
        let until = written.unwrap_or(now).max(now) + time_of(bytes);
        *written = Some(until);
        until.saturating_duration_since(now).saturating_sub(time_of(BURST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_written_at_once_up_to_a_burst_and_then_at_a_rate() {
        let (pace, start) = (Pace::default(), Instant::now());
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        assert_eq!(pace.wrote(BURST, at(0)), Duration::ZERO);
        assert_eq!(pace.wrote(RATE, at(0)), Duration::from_secs(1));
        assert_eq!(pace.wrote(RATE, at(0)), Duration::from_secs(2), "containers of a pod share its rate");
        assert_eq!(pace.wrote(RATE, at(2)), Duration::from_secs(1));
        assert_eq!(pace.wrote(BURST, at(60)), Duration::ZERO, "after silence there is a burst again");
        assert_eq!(pace.wrote(RATE, at(60)), Duration::from_secs(1), "and no more than one");
    }
}
