//! How long a connection has had no request, and what the head of its next one holds.

use crate::flowcontrol::pool::Place;
use clock::Instant;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// What a connection is doing. A request counts from its head to the end of its answer.
pub(crate) struct Activity {
    start: Instant,
    running: AtomicUsize,
    /// Requests so far.
    served: AtomicU64,
    /// When the last answer ended, in milliseconds since `start`.
    last: AtomicU64,
    /// Memory for a head that has not come whole ([`super::http_head`]).
    pub(super) head: Mutex<Option<Place>>,
}

impl Activity {
    pub(crate) fn new() -> Arc<Activity> {
        Arc::new(Activity {
            start: Instant::now(),
            running: AtomicUsize::new(0),
            served: AtomicU64::new(0),
            last: AtomicU64::new(0),
            head: Mutex::default(),
        })
    }

    /// Counts a request, whose head has come whole, and gives back what the head held. The next
    /// byte of this connection may come hours later: a watch sends none.
    pub(crate) fn begin(self: &Arc<Activity>) -> Running {
        let head = self.head.lock().take();
        drop(head);
        self.running.fetch_add(1, Ordering::AcqRel);
        self.served.fetch_add(1, Ordering::AcqRel);
        Running(self.clone())
    }

    /// Returns whether a request is being answered now.
    pub(crate) fn is_busy(&self) -> bool {
        self.running.load(Ordering::Acquire) > 0
    }

    /// Returns how many requests have begun so far.
    pub(crate) fn served(&self) -> u64 {
        self.served.load(Ordering::Acquire)
    }

    /// Waits until no first request has come within `first`, or no further one for `idle` (up to
    /// twice that). Requests wake no waiter: the time of the last one is looked at when the next
    /// limit is over.
    pub(crate) async fn wait_until_idle(&self, first: Duration, idle: Duration) {
        loop {
            let limit = if self.served.load(Ordering::Relaxed) == 0 { first } else { idle };
            let last = self.start + Duration::from_millis(self.last.load(Ordering::Acquire));
            let until = match self.running.load(Ordering::Acquire) {
                0 => last + limit,
                _ => Instant::now() + limit,
            };
            if until <= Instant::now() {
                return;
            }
            clock::pause_until(until).await;
        }
    }
}

/// A request that is being answered. It is held until its answer has been sent.
pub(crate) struct Running(Arc<Activity>);

impl Drop for Running {
    fn drop(&mut self) {
        let now = u64::try_from(self.0.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.last.store(now, Ordering::Release);
        self.0.running.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_secs(32);
    const IDLE: Duration = Duration::from_secs(90);

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_from_the_end_of_its_last_answer() {
        let (start, silent) = (Instant::now(), Activity::new());
        silent.wait_until_idle(FIRST, IDLE).await;
        assert_eq!(start.elapsed().as_secs(), 32);

        let (start, busy) = (Instant::now(), Activity::new());
        let watch = busy.begin();
        assert!(tokio::time::timeout(IDLE * 10, busy.wait_until_idle(FIRST, IDLE)).await.is_err());
        drop(watch);
        busy.wait_until_idle(FIRST, IDLE).await;
        assert_eq!(start.elapsed().as_secs(), 900 + 90);
    }
}
