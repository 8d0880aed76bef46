//! The use of the disk by pods, as it was measured last.

use crate::lasting_files::Growth;
use crate::local_storage;
use crate::pressure::Usage;
use crate::walk::Amount;
use parking_lot::{Mutex, MutexGuard};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// Results of walks, by uid of the pod: walks are dear, so each is used for every decision.
#[derive(Default)]
pub(super) struct Measured {
    figures: Mutex<BTreeMap<String, PodFigures>>,
    /// Pods that wait for a walk of their own.
    waiting: Mutex<HashSet<String>>,
    /// Bytes and files that pods wrote to the node's own file system, and how these grew.
    node: Mutex<(Amount, Growth)>,
}

/// The figures of one pod.
#[derive(Default)]
pub(super) struct PodFigures {
    /// When its own directories were walked last, and what was found.
    pub(super) own: Option<(clock::Instant, Arc<local_storage::Use>)>,
    /// The use of the disk with what the pod mounts of the node; only of pods that may be evicted.
    pub(super) usage: Option<Usage>,
    /// The growth of the directories of the node that it mounts.
    pub(super) growth: Growth,
}

impl Measured {
    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeMap<String, PodFigures>> {
        self.figures.lock()
    }

    fn waiting(&self) -> MutexGuard<'_, HashSet<String>> {
        self.waiting.lock()
    }

    pub(super) fn node(&self) -> MutexGuard<'_, (Amount, Growth)> {
        self.node.lock()
    }

    /// Returns how much pods wrote to the node's own file system, in tenths of a GiB.
    pub(super) fn kept(&self) -> u64 {
        self.node().0.bytes.saturating_mul(10) >> 30
    }

    /// Notes that a pod waits for a walk of its own. Returns false if it waits for one already.
    pub(super) fn note_waiting(&self, uid: &str) -> bool {
        self.waiting().insert(uid.into())
    }

    /// Notes that the pod had its walk.
    pub(super) fn note_walked(&self, uid: &str) {
        self.waiting().remove(uid);
    }

    /// Returns what was measured of a pod since this moment.
    pub(super) fn own(&self, uid: &str, since: clock::Instant) -> Option<Arc<local_storage::Use>> {
        let found = self.lock();
        found.get(uid)?.own.as_ref().filter(|(at, _)| *at >= since).map(|(_, own)| own.clone())
    }

    /// Returns what was measured of a pod last, however long ago.
    pub(super) fn last(&self, uid: &str) -> Option<Arc<local_storage::Use>> {
        self.lock().get(uid)?.own.as_ref().map(|(_, own)| own.clone())
    }

    /// Returns whether not all of a pod could be counted in the last round.
    pub(super) fn was_cut(&self, uid: &str) -> bool {
        let usage = |figures: &PodFigures| figures.usage.as_ref().map(|usage| usage.disk.plus(usage.kept));
        let own = |figures: &PodFigures| figures.own.as_ref().map(|(_, own)| own.total());
        let cut = |amount: Amount| amount.files == Amount::BEYOND.files;
        self.lock().get(uid).is_some_and(|f| [usage(f), own(f)].into_iter().flatten().any(cut))
    }

    pub(super) fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }
}
