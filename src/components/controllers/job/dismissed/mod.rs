//! Pods that the controller has deleted itself: they were too many, or their Job was suspended.
//! While such a pod ends it looks like one that the user has deleted, which counts as a failure and
//! delays its successor. The API has no field that tells the two apart, so the controller remembers
//! them. After a restart it knows none; then pods of a Job that was suspended and resumed during
//! their grace period come later than they could.

use client::Key;
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Uids of the pods that the controller has deleted itself and that the cache still shows, by Job.
/// At most as many as there are pods.
#[derive(Default)]
pub(crate) struct Dismissed(Mutex<BTreeMap<Key, BTreeSet<String>>>);

impl Dismissed {
    /// Remembers pods that are about to be deleted.
    pub(crate) fn add(&self, job: &Key, pods: &[Arc<Pod>]) {
        if !pods.is_empty() {
            let uids = pods.iter().filter_map(|p| p.metadata.uid.clone());
            self.0.lock().entry(job.clone()).or_default().extend(uids);
        }
    }

    /// Returns the uids of those of the Job's pods that were dismissed, and forgets all others.
    pub(crate) fn among(&self, job: &Key, pods: &[Arc<Pod>]) -> BTreeSet<String> {
        // Before the lock, for which the Jobs of all workers wait.
        let there: BTreeSet<&str> = pods.iter().filter_map(|p| p.metadata.uid.as_deref()).collect();
        let mut all = self.0.lock();
        let Some(known) = all.get_mut(job) else { return BTreeSet::new() };
        known.retain(|uid| there.contains(uid.as_str()));
        let left = known.clone();
        if left.is_empty() {
            all.remove(job);
        }
        left
    }

    /// Forgets the pods of a Job that is gone.
    pub(crate) fn forget(&self, job: &Key) {
        self.0.lock().remove(job);
    }
}

#[cfg(test)]
mod tests;
