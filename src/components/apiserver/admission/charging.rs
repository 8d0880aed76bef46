//! Turns in which requests charge the quotas of a namespace.

use parking_lot::{Mutex, MutexGuard};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedMutexGuard;

/// How long a request waits for its turn; as long as upstream's waits for its quotas to be
/// evaluated. Each turn may take seconds while the store does not answer.
const TURN_WAIT: Duration = Duration::from_secs(10);

/// The namespaces whose quotas are being charged. Writers of one namespace charge one after the
/// other, as upstream: many at once would only make each other try again. Those of another
/// namespace do not wait for them.
///
/// A namespace is listed while a request of it charges or waits, so there are never more of them
/// than requests in flight.
#[derive(Default)]
pub(crate) struct Charging(Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>);

/// The right to charge the quotas of a namespace, or a request's wait for it.
pub(crate) struct Turn<'a> {
    of: &'a Charging,
    namespace: String,
    line: Arc<tokio::sync::Mutex<()>>,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Charging {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<tokio::sync::Mutex<()>>>> {
        self.0.lock()
    }

    /// Waits for a turn, at most for [`TURN_WAIT`]. Without one a request may charge as well: the
    /// transaction fails if another one has charged meanwhile.
    pub(super) async fn turn_in_time(&self, namespace: &str) -> Option<Turn<'_>> {
        clock::limit(TURN_WAIT, self.turn(namespace)).await
    }

    async fn turn(&self, namespace: &str) -> Turn<'_> {
        let line = self.lock().entry(namespace.to_string()).or_default().clone();
        // Made before the wait: a request that is given up while it waits leaves the list as well.
        let mut turn = Turn { of: self, namespace: namespace.to_string(), line, guard: None };
        turn.guard = Some(turn.line.clone().lock_owned().await);
        turn
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        drop(self.guard.take());
        let mut lines = self.of.lock();
        // Under the lock: of two that leave together the second one finds only the list's handle.
        drop(std::mem::take(&mut self.line));
        if lines.get(&self.namespace).is_some_and(|line| Arc::strong_count(line) == 1) {
            lines.remove(&self.namespace); // no request charges or waits
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test(start_paused = true)]
    async fn a_request_goes_on_without_its_turn_if_that_takes_too_long() {
        let charging = Charging::default();
        let first = charging.turn("shop").await;
        assert!(charging.turn_in_time("shop").await.is_none());
        drop(first);
        assert!(charging.turn_in_time("shop").await.is_some());
        assert!(charging.lock().is_empty());
    }

    #[tokio::test]
    async fn each_namespace_charges_in_its_own_turn_and_is_forgotten_afterwards() {
        let charging = Charging::default();
        let first = charging.turn("shop").await;
        let mut second = Box::pin(charging.turn("shop"));
        let mut third = Box::pin(charging.turn("shop"));
        assert!(second.as_mut().now_or_never().is_none() && third.as_mut().now_or_never().is_none());
        let other = charging.turn("dev").now_or_never().expect("another namespace does not wait");
        assert_eq!(charging.lock().len(), 2);
        drop(other);
        drop(first);
        let second = second.now_or_never().expect("it is its turn");
        assert!(third.as_mut().now_or_never().is_none(), "one after the other");
        drop(second);
        // One that is given up while it waits, and one that has never begun.
        drop(third);
        drop(charging.turn("never"));
        assert!(charging.lock().is_empty(), "{:?}", charging.lock().keys());
    }
}
