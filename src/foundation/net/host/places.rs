//! Places of TCP connections: a bound for all ports, and a fair part for each.

use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Notify;

/// Places for the TCP connections of all ports. A port has at most as many as it leaves free, so a
/// port with very many connections leaves some to every other one; at the bound it takes no further
/// ones, which wait in the kernel's queue.
pub(super) struct Places {
    most: usize,
    taken: Mutex<Taken>,
    /// Notified when a place becomes free.
    freed: Notify,
}

#[derive(Default)]
pub(super) struct Taken {
    pub(super) all: usize,
    pub(super) by_port: BTreeMap<u16, usize>,
}

/// A place, until it is dropped.
pub(super) struct Place(Arc<Places>, u16);

impl Places {
    pub(super) fn new(most: usize) -> Arc<Places> {
        Arc::new(Places { most, taken: Mutex::default(), freed: Notify::new() })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock()
    }

    pub(super) fn try_take(self: &Arc<Self>, port: u16) -> Option<Place> {
        let mut taken = self.lock();
        let free = self.most.saturating_sub(taken.all);
        let own = taken.by_port.entry(port).or_default();
        if *own >= free {
            return None;
        }
        *own += 1;
        taken.all += 1;
        Some(Place(self.clone(), port))
    }

    /// Waits for a place of this port.
    pub(super) async fn take(self: &Arc<Self>, port: u16) -> Place {
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable(); // before the look: what becomes free after it is heard of
            match self.try_take(port) {
                Some(place) => return place,
                None => freed.await,
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.0.lock();
        taken.all -= 1;
        if let Some(own) = taken.by_port.get_mut(&self.1) {
            *own -= 1;
            if *own == 0 {
                taken.by_port.remove(&self.1);
            }
        }
        drop(taken);
        self.0.freed.notify_waiters();
    }
}
