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
use std::time::{Duration, Instant};

/// Pure: how much is left of `activeDeadlineSeconds`, which counts from the pod's start on this node. Zero: it is over.
fn time_left(pod: &Pod, now: clock::Timestamp) -> Option<Duration> {
    let deadline = u64::try_from(pod.spec.as_ref()?.active_deadline_seconds?).ok()?;
    let started = pod.status.as_ref()?.start_time.as_ref()?.0;
    let active = Duration::from_secs_f64(status::seconds_between(started, now).max(0.0));
    Some(clock::scaled(Duration::from_secs(deadline)).saturating_sub(active))
}

impl Kubelet {
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
        &self,
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
        if memory.measured.is_none_or(|at| at.elapsed() >= clock::scaled(eviction::EVERY)) {
            let (pod_dir, log_dir) =
                (self.pod_dir(&memory.uid), self.log_dir(&key.namespace, &key.name, &memory.uid));
            let recent = Instant::now().checked_sub(clock::scaled(eviction::EVERY) / 2);
            let since = recent.unwrap_or_else(Instant::now);
            let mut time = Allowance::default();
            let used = self.measure(&memory.uid, &pod_dir, &log_dir, since, &mut time).await;
            memory.measured = Some(clock::Instant::now());
            if let Some(why) = used.and_then(|used| eviction::exceeded(pod, &used)) {
                return (Some(Failure::evicted(why)), None);
            }
        }
        (None, Some(again.map_or(eviction::EVERY, |a: Duration| a.min(eviction::EVERY))))
    }

    /// Writes that the pod has failed, after which its containers are ended. One that is evicted is ended first, without a grace period, as upstream: it may
    /// go on to write meanwhile.
    pub(super) async fn fail(
        &self,
        key: &Key,
        pod: &Pod,
        memory: &mut Memory,
        cause: &Option<Cause>,
        failure: Failure,
    ) -> Result<(), Error> {
        if failure.kind == FailureKind::Disruption {
            self.kill(key, &memory.uid).await?;
            memory.volumes_gone = true;
        }
        let (sandboxes, containers) = self.seen(key, &memory.uid).await?;
        let mut status = self.status_of(key, pod, &sandboxes, &containers, memory);
        failure.mark(&mut status, clock::now(), pod.metadata.generation);
        let (reason, message) = (failure.reason, failure.message.clone());
        match failure.kind {
            FailureKind::Own => self.recorder.normal(&reference(pod, None), reason, message, cause.clone()),
            FailureKind::Disruption | FailureKind::Rejection => {
                self.recorder.warning(&reference(pod, None), reason, message, cause.clone());
            }
        }
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
