//! Where a port leads: its targets in turn, or the one that its affinity keeps.

use clock::Instant;
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The target that the affinity of a port leads to, and when it was last used. It outlives a change
/// of targets.
pub(super) type Kept = Arc<Mutex<Option<(SocketAddr, Instant)>>>;

/// Where a port leads: one target after the other, or with an affinity the same while it answers.
#[derive(Default)]
pub(super) struct Targets {
    pub(super) to: Vec<SocketAddr>,
    pub(super) next: AtomicUsize,
    pub(super) affinity: Option<Duration>,
    pub(super) kept: Kept,
}

impl Targets {
    pub(super) fn new(to: Vec<SocketAddr>) -> Targets {
        Targets { to, ..Targets::default() }
    }

    /// Returns all of them, beginning with the one whose turn it is, or with the one that the
    /// affinity leads to.
    pub(super) fn in_turn(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        let kept =
            self.kept.lock().filter(|(_, used)| self.affinity.is_some_and(|lasts| used.elapsed() < lasts));
        let kept = kept.and_then(|(target, _)| self.to.iter().position(|to| *to == target));
        let first = kept.unwrap_or_else(|| self.next.fetch_add(1, Ordering::Relaxed));
        (0..self.to.len()).map(move |n| self.to[first.wrapping_add(n) % self.to.len()])
    }

    /// Remembers the target that answered.
    pub(super) fn keep(&self, target: SocketAddr) {
        if self.affinity.is_some() {
            *self.kept.lock() = Some((target, Instant::now()));
        }
    }

    /// The affinity leads to a target that refuses no longer.
    pub(super) fn let_go(&self, target: SocketAddr) {
        let mut kept = self.kept.lock();
        *kept = kept.take().filter(|(to, _)| *to != target);
    }
}

/// The targets of a port, shared with the tasks that serve it.
#[derive(Clone, Default)]
pub(super) struct Goal(Arc<Mutex<Arc<Targets>>>);

impl Goal {
    pub(super) fn set(&self, targets: Targets) {
        *self.0.lock() = Arc::new(targets);
    }

    pub(super) fn targets(&self) -> Arc<Targets> {
        self.0.lock().clone()
    }
}
