//! Pods that the kubelet itself ends for good: they were active for too long, use more of the disk than they may, do not fit, or go for a critical one.

use super::{Kubelet, Memory, reference};
use crate::client::Key;
use crate::clock;
use crate::kubelet::admission::{Admissions, OnNode, Verdict};
use crate::kubelet::status::{self, Failure, FailureKind};
use crate::kubelet::walk::Allowance;
use crate::kubelet::{Error, eviction, mirror};
use crate::tap::Cause;
use k8s_openapi::api::core::v1::Pod;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Pure: how much is left of `activeDeadlineSeconds`, which counts from the pod's start on this node. Zero: it is over.
fn time_left(pod: &Pod, now: clock::Timestamp) -> Option<Duration> {
    let deadline = u64::try_from(pod.spec.as_ref()?.active_deadline_seconds?).ok()?;
    let started = pod.status.as_ref()?.start_time.as_ref()?.0;
    let active = Duration::from_secs_f64(status::seconds_between(started, now).max(0.0));
    Some(clock::scaled(Duration::from_secs(deadline)).saturating_sub(active))
}

impl Kubelet {
    /// What a pod was found to use of the disk since its limits were looked at last.
    fn measured_lately(&self, uid: &str) -> Option<Arc<eviction::Use>> {
        let since = Instant::now().checked_sub(clock::scaled(eviction::EVERY))?;
        self.measured.own(uid, since)
    }

    /// Measures in the background what a pod uses of the disk, which brings its key back. Trees are walked one after another in the whole process, so a walk may
    /// have to wait for those of all other pods: the pod itself does not wait, neither with its first start nor with anything later.
    fn measure_later(self: &Arc<Self>, key: &Key, uid: &str) {
        if !self.measured.begin(uid) {
            return; // it waits for its turn already
        }
        let (kubelet, key, uid) = (self.clone(), key.clone(), uid.to_string());
        self.crew.spawn(async move {
            let (pod_dir, log_dir) =
                (kubelet.pod_dir(&uid), kubelet.log_dir(&key.namespace, &key.name, &uid));
            let since = Instant::now();
            kubelet.measure(&uid, &pod_dir, &log_dir, since, &mut Allowance::default()).await;
            kubelet.measured.end(&uid);
            if kubelet.measured.own(&uid, since).is_some() {
                kubelet.queue.add(key, None); // one that failed is tried again at the next look
            }
        });
    }

    /// Why the node does not take the pod, if it does not. For a critical pod others are preempted.
    async fn admit(&self, pod: &Pod) -> Option<Failure> {
        self.pods.synced().await; // a part of the first list would look like room
        self.on_node(|admissions, node| admissions.decide(pod, node))
    }

    /// Preempts pods for a static one, where it does not fit.
    fn make_room(&self, pod: &Pod) {
        self.on_node(|admissions, node| Verdict {
            rejected: None,
            preempted: admissions.make_room(pod, node),
        });
    }

    /// Decides with all that is known of the node, and ends the pods that have to go. One decision at a time: the next one knows of them.
    fn on_node(&self, decide: impl FnOnce(&mut Admissions, &OnNode) -> Verdict) -> Option<Failure> {
        let mut admissions = self.admissions.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut pods = self.pods.list();
        pods.retain(|pod| !mirror::is_one(pod) && !self.statics.contains_key(&Key::of(&**pod)));
        let node = OnNode {
            allocatable: self.config.capacity.allocatable(),
            statics: self.statics.values().map(|pod| &**pod).collect(),
            pods: &pods,
            ending: &self.sentenced(),
        };
        let verdict = decide(&mut admissions, &node);
        for pod in verdict.preempted {
            let key = Key::of(&*pod);
            tracing::warn!(pod = %key, "preempting a pod for a critical one");
            self.sentence(&key, pod.metadata.uid.as_deref().unwrap_or_default(), Failure::preempted());
            self.queue.add(key, None);
        }
        verdict.rejected
    }

    /// Whether the pod has to fail now, and if not, when to look again.
    pub(super) async fn judge(
        self: &Arc<Self>,
        key: &Key,
        pod: &Pod,
        memory: &mut Memory,
    ) -> (Option<Failure>, Option<Duration>) {
        let mut again = None;
        match time_left(pod, clock::now()) {
            Some(left) if left.is_zero() => return (Some(Failure::deadline_exceeded()), None),
            left => again = again.or(left),
        }
        if self.statics.contains_key(key) {
            self.make_room(pod);
            return (None, again);
        }
        let failure = match self.sentence_of(key, pod, &memory.uid) {
            Some(failure) => Some(failure),
            None => self.admit(pod).await,
        };
        if failure.is_some() {
            return (failure, None);
        }
        if !eviction::has_limits(pod) {
            return (None, again);
        }
        match self.measured_lately(&memory.uid) {
            Some(used) => {
                if let Some(why) = eviction::exceeded(pod, &used) {
                    return (Some(Failure::evicted(why)), None);
                }
            }
            None => self.measure_later(key, &memory.uid),
        }
        (None, Some(again.map_or(eviction::EVERY, |a: Duration| a.min(eviction::EVERY))))
    }

    /// Tells that the pod has failed as soon as that is decided, once by an Event, and writes it; after that its containers are ended. One that is evicted is
    /// ended at the same time, without a grace period, as upstream: it may go on to write meanwhile, and its files may take long to remove. Should this kubelet end
    /// in between, the next one finds a failed pod with remains, and ends those.
    pub(super) async fn fail(
        self: &Arc<Self>,
        key: &Key,
        pod: &Pod,
        memory: &mut Memory,
        cause: &Option<Cause>,
        failure: Failure,
    ) -> Result<(), Error> {
        if !std::mem::replace(&mut memory.failure_told, true) {
            let (about, reason, message) = (reference(pod, None), failure.reason, failure.message.clone());
            match failure.kind {
                FailureKind::Own => self.recorder.normal(&about, reason, message, cause.clone()),
                FailureKind::Disruption | FailureKind::Rejection => {
                    self.recorder.warning(&about, reason, message, cause.clone());
                }
            }
        }
        if failure.kind == FailureKind::Disruption {
            self.sentence(key, &memory.uid, failure.clone());
            self.end_now(key, &memory.uid);
        }
        let (sandboxes, containers) = self.seen(key, &memory.uid).await?;
        let mut status = self.status_of(key, pod, &sandboxes, &containers, memory);
        failure.mark(&mut status, clock::now(), pod.metadata.generation);
        self.report(key, pod, memory, cause, status).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deadline_counts_from_the_start() {
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "spec": {"containers": [], "activeDeadlineSeconds": 10},
            "status": {"startTime": "2026-01-02T03:04:00Z"},
        }))
        .unwrap();
        let at = |text: &str| time_left(&pod, text.parse().unwrap());
        assert_eq!(at("2026-01-02T03:04:04Z"), Some(Duration::from_secs(6)));
        assert_eq!(at("2026-01-02T03:04:10Z"), Some(Duration::ZERO));
        assert_eq!(at("2026-01-02T03:03:00Z"), Some(Duration::from_secs(10)), "a clock that was put back");
        assert_eq!(time_left(&Pod::default(), clock::now()), None);
    }
}
