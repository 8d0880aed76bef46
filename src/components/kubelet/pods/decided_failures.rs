//! Pods that have to fail, evicted or preempted: why, and how far their end has come. The decision
//! is kept until the pod has ended, since the pod's worker reports it and may be held up until
//! then.
//!
//! ```text
//! decide_failure    Decided     the Event tells why
//! end_now           UnderWay    its containers end, and then its volumes are removed
//!                   Over        the pod's worker writes the phase Failed, and forgets the decision
//! end_once_more     UnderWay    again, if the worker finds a container that started late
//! ```

use super::ending;
use super::kubelet::Kubelet;
use super::memory::PodMemory;
use crate::error::Error;
use crate::status::{Failure, PREEMPTING};
use client::Key;
use k8s_openapi::api::core::v1::Pod;
use parking_lot::MutexGuard;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

/// The decision that a pod has to fail.
pub(super) struct DecidedFailure {
    /// The uid of the pod: another one may have its name by now.
    pub(super) uid: String,
    pub(super) failure: Failure,
    /// When it was decided.
    pub(super) since: Instant,
    pub(super) ending: Ending,
}

/// How far the end of such a pod's processes and volumes has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Decided,
    UnderWay,
    Over,
}

impl Kubelet {
    pub(super) fn decided_failures(&self) -> MutexGuard<'_, HashMap<Key, DecidedFailure>> {
        self.decided_failures.lock()
    }

    /// Decides that a pod has to fail, which its worker finds at its next look, and interrupts the
    /// hook that holds the pod up. A pod for which that was decided before keeps its first reason.
    pub(super) fn decide_failure(&self, key: &Key, uid: &str, failure: Failure) {
        #[cfg(test)]
        if crate::simulated::has_bug(crate::simulated::EvictionBug::Lost) {
            return;
        }
        let new =
            || DecidedFailure { uid: uid.into(), failure, since: Instant::now(), ending: Ending::Decided };
        let mut all = self.decided_failures();
        if all.get(key).is_none_or(|known| known.uid != uid) {
            all.insert(key.clone(), new());
        }
        drop(all);
        self.interrupt_hook(key);
    }

    /// Returns the uids of the pods that have to fail.
    pub(super) fn failing_pods(&self) -> HashSet<String> {
        self.decided_failures().values().map(|decided| decided.uid.clone()).collect()
    }

    /// Returns why a pod has to fail now although it keeps to its own limits: that was decided, or
    /// its node is low on memory or disk, and has not admitted it yet.
    pub(super) fn failure_by_node(&self, key: &Key, pod: &Pod, memory: &PodMemory) -> Option<Failure> {
        if let Some(found) = self.decided_failure(key, &memory.uid) {
            return Some(found);
        }
        // As upstream's admission, which the eviction manager is a part of.
        let is_new = !memory.is_admitted && pod.status.as_ref().is_none_or(|s| s.start_time.is_none());
        self.pressures.borrow().refuse(pod).filter(|_| is_new).map(|why| Failure::rejected("Evicted", why))
    }

    /// Returns what was decided about the pod with this uid.
    pub(super) fn decided_failure(&self, key: &Key, uid: &str) -> Option<Failure> {
        self.decided_failures().get(key).filter(|d| d.uid == uid).map(|found| found.failure.clone())
    }

    /// Forgets the decision about a pod that has failed, or is gone, unless its processes and
    /// volumes are still being ended: [`Kubelet::end_now`] looks at the decision once more then.
    pub(super) fn forget_decided_failure(&self, key: &Key, uid: &str) {
        let mut all = self.decided_failures();
        if all.get(key).is_some_and(|d| d.uid == uid && d.ending != Ending::UnderWay) {
            all.remove(key);
        }
    }

    /// Moves the end of a pod that has to fail on, if it was so far. Returns whether it was.
    fn move_ending(&self, key: &Key, uid: &str, from: Ending, to: Ending) -> bool {
        let mut all = self.decided_failures();
        let found = all.get_mut(key).filter(|d| d.uid == uid && d.ending == from);
        found.map(|decided| decided.ending = to).is_some()
    }

    /// Ends the processes of a pod that has to fail and then removes its volumes, once and in the
    /// background: the pod's own worker may be held up, and the store of the API server may lack
    /// the very room that is made here. The Event about the failure does not wait for that. The
    /// phase Failed waits for the end of the containers ([`Kubelet::fail`]).
    pub(super) fn end_now(self: &Arc<Self>, key: &Key, uid: &str) {
        if !self.move_ending(key, uid, Ending::Decided, Ending::UnderWay) {
            return;
        }
        let (kubelet, key, uid) = (self.clone(), key.clone(), uid.to_string());
        self.crew.spawn(async move {
            // What fails here is tried again with the pod: its containers are ended once more, and
            // its volumes are removed when it has failed.
            if let Err(error) = kubelet.end_failing(&key, &uid).await {
                tracing::warn!(pod = %key, error = error.line(), "cannot end a pod that has to fail yet");
            }
            kubelet.move_ending(&key, &uid, Ending::UnderWay, Ending::Over);
            kubelet.failing_ended.notify_waiters();
            if kubelet.pod(&key).is_none_or(|pod| pod.metadata.uid.as_ref() != Some(&uid)) {
                kubelet.forget_decided_failure(&key, &uid); // it was deleted meanwhile
            }
            kubelet.queue.add(key, None);
        });
    }

    /// Ends the processes of a pod that has to fail once more, if that was done before and some run
    /// all the same: their image was being pulled while the others were ended, for example.
    pub(super) fn end_once_more(self: &Arc<Self>, key: &Key, uid: &str) {
        if self.move_ending(key, uid, Ending::Over, Ending::Decided) {
            self.end_now(key, uid);
        }
    }

    /// Waits until the processes of all preempted pods have ended.
    pub(super) async fn preempted_ended(&self) {
        loop {
            let ended = self.failing_ended.notified(); // before the look: an end in between is not missed
            let is_going =
                |d: &DecidedFailure| d.failure.reason == PREEMPTING && d.ending == Ending::UnderWay;
            if !self.decided_failures().values().any(is_going) {
                return;
            }
            ended.await;
        }
    }

    /// Returns whether the end of a pod that has to fail is under way: then nothing else has to end
    /// it.
    pub(super) fn is_ending(&self, key: &Key, uid: &str) -> bool {
        self.decided_failures().get(key).is_some_and(|d| d.uid == uid && d.ending == Ending::UnderWay)
    }

    /// Ends what runs of a pod that has to fail, with its hooks, and removes its volumes. A pod
    /// that goes for a critical one has its own grace period, an evicted one a second, as upstream.
    async fn end_failing(&self, key: &Key, uid: &str) -> Result<(), Error> {
        let (sandboxes, _) = self.in_runtime(key, uid).await?;
        let pod = self.last_known(key, uid);
        let is_preempted = self.decided_failures().get(key).is_some_and(|d| d.failure.reason == PREEMPTING);
        let grace = if is_preempted { ending::own_grace(&pod) } else { ending::EVICTION_GRACE };
        self.end_all(key, &pod, &sandboxes, grace).await?;
        self.forget_volumes(uid).await
    }
}
