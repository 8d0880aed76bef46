//! The zone that questions are answered from: built beside the loop that answers, and swapped in.
//!
//! A zone of thousands of services takes milliseconds to build, and a program that changes its
//! Services all the time would make every question wait for that. So a question sees the last zone
//! that is complete. Changes that come while one is built are in the next.

use super::zone::Zone;
use clock::Instant;
use std::sync::Arc;
use tokio::sync::{Notify, watch};

pub(super) struct CurrentZone {
    zone: watch::Sender<Arc<Zone>>,
    changed: Notify,
}

impl CurrentZone {
    pub(super) fn new(zone: Zone) -> Arc<CurrentZone> {
        Arc::new(CurrentZone { zone: watch::Sender::new(Arc::new(zone)), changed: Notify::new() })
    }

    pub(super) fn get(&self) -> Arc<Zone> {
        self.zone.borrow().clone()
    }

    /// Waits until the zone has been built from complete lists.
    pub(super) async fn complete(&self) {
        let mut zone = self.zone.subscribe();
        let _ = zone.wait_for(|zone| !zone.is_unsynced).await; // fails without a sender, which `self` is
    }

    /// Notes that what the zone is built from has changed.
    pub(super) fn mark_changed(&self) {
        self.changed.notify_one();
    }

    /// Builds the zone anew after each change, or after several that came together. It rests for as
    /// long as it has built: changes without end take half a processor at most.
    pub(super) async fn rebuild(self: Arc<CurrentZone>, build: impl Fn() -> Zone + Send + Sync + 'static) {
        let build = Arc::new(build);
        loop {
            self.changed.notified().await;
            let (start, known, build) = (Instant::now(), self.clone(), build.clone());
            let built = tokio::task::spawn_blocking(move || {
                let before = known.zone.send_replace(Arc::new(build()));
                drop(before); // not under the lock, and not where questions are answered
            });
            if let Err(error) = built.await {
                tracing::error!(%error, "the zone could not be built; DNS goes on with the one before");
            }
            clock::pause(start.elapsed()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::zone::Entry;
    use super::*;
    use parking_lot::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::time::Duration;

    /// Waits until a zone with so many services answers.
    async fn answers_with(known: &CurrentZone, services: usize) {
        let swapped = async {
            while known.get().services.len() != services {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), swapped).await.expect("the zone is swapped in");
    }

    #[tokio::test]
    async fn questions_are_answered_while_the_zone_is_built_and_no_change_is_lost() {
        let known = CurrentZone::new(Zone::default());
        let (services, built) = (Arc::new(AtomicUsize::new(1)), Arc::new(AtomicUsize::new(0)));
        let (begun, is_begun) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel::<()>();
        let (seen, count, may_go_on) = (services.clone(), built.clone(), Mutex::new(may_go_on));
        let keeping = tokio::spawn(known.clone().rebuild(move || {
            let services = seen.load(Ordering::SeqCst);
            begun.send(()).unwrap();
            let _ = may_go_on.lock().recv();
            count.fetch_add(1, Ordering::SeqCst);
            let named = (0..services).map(|n| (("d".to_string(), n.to_string()), Entry::default()));
            let mut zone = Zone::default();
            zone.services.extend(named);
            zone
        }));
        (0..100).for_each(|_| known.mark_changed());
        let is_begun = tokio::task::spawn_blocking(move || {
            is_begun.recv().unwrap();
            is_begun
        });
        let is_begun = is_begun.await.unwrap();
        assert_eq!(known.get().services.len(), 0, "the zone before, at once");
        // A change that comes while it is built.
        services.store(2, Ordering::SeqCst);
        known.mark_changed();
        go_on.send(()).unwrap();
        answers_with(&known, 1).await;
        tokio::task::spawn_blocking(move || is_begun.recv().unwrap()).await.unwrap();
        go_on.send(()).unwrap();
        answers_with(&known, 2).await;
        assert_eq!(built.load(Ordering::SeqCst), 2, "a hundred changes are one build");
        keeping.abort();
    }
}
