//! Pods that the kubelet itself ends for good: they were active for too long, use more of the disk
//! than they may, do not fit, are evicted, or go for a critical one.

use super::ending;
use super::kubelet::Kubelet;
use super::memory::PodMemory;
use crate::admission::node_match::NodeFacts;
use crate::admission::{Admissions, OnNode, Verdict};
use crate::error::Error;
use crate::specs::reference;
use crate::status::{self, Failure, FailureKind};
use crate::walk::Allowance;
use crate::{local_storage, mirror, pressure, view};
use client::{Key, optional};
use cri::{Container, ContainerState, Sandbox};
use k8s_openapi::api::core::v1::{Node, Pod};
use parking_lot::MutexGuard;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tap::Cause;

/// Returns how much is left of `activeDeadlineSeconds`, which counts from the pod's start on this
/// node, in the cluster's time. Zero: it is over.
///
/// `activeDeadlineSeconds: 60`, started at 10:00:00: 20 s are left at 10:00:40. A pod that has not
/// started yet has no end.
fn time_left(pod: &Pod, now: clock::Timestamp) -> Option<Duration> {
    let deadline = u64::try_from(pod.spec.as_ref()?.active_deadline_seconds?).ok()?;
    let started = pod.status.as_ref()?.start_time.as_ref()?.0;
    Some(clock::left(started, Duration::from_secs(deadline), now).unwrap_or_default())
}

/// Returns why a pod that is being deleted has failed before that, if it has: its containers were
/// already being ended because its time was over.
pub(super) fn failed_before(pod: &Pod, memory: &PodMemory) -> Option<Failure> {
    let is_over = time_left(pod, clock::now()).is_some_and(|left| left.is_zero());
    (memory.has_failure_event && is_over && !view::has_ended(pod)).then(Failure::deadline_exceeded)
}

impl Kubelet {
    /// Returns what a pod uses of the disk, if it was measured since its limits were looked at
    /// last.
    fn measured_lately(&self, uid: &str) -> Option<Arc<local_storage::Use>> {
        let since = clock::Instant::now().checked_sub(local_storage::EVERY)?;
        self.measured.own(uid, since)
    }

    /// Measures in the background what a pod uses of the disk, which brings its key back. Trees are
    /// walked one after another in the whole process, so a walk may have to wait for those of all
    /// other pods: the pod itself does not wait, neither with its first start nor with anything
    /// later.
    fn measure_later(self: &Arc<Self>, key: &Key, uid: &str) {
        if !self.measured.note_waiting(uid) {
            return; // it waits for its turn already
        }
        let (kubelet, key, uid) = (self.clone(), key.clone(), uid.to_string());
        self.crew.spawn(async move {
            let (pod_dir, log_dir) =
                (kubelet.pod_dir(&uid), kubelet.log_dir(&key.namespace, &key.name, &uid));
            let since = clock::Instant::now();
            kubelet.measure(&uid, &pod_dir, &log_dir, since, &mut Allowance::default()).await;
            kubelet.measured.note_walked(&uid);
            if kubelet.measured.own(&uid, since).is_some() {
                kubelet.queue.add(key, None); // one that failed is tried again at the next look
            }
        });
    }

    fn admissions(&self) -> MutexGuard<'_, Admissions> {
        self.admissions.lock()
    }

    /// Returns why the node does not take the pod, if it does not. For a critical pod others are
    /// preempted; a pod that has not started yet waits for their end, since their memory is still
    /// in use until then.
    async fn admit(self: &Arc<Self>, pod: &Pod) -> Result<Option<Failure>, Error> {
        self.pods.synced().await; // a part of the first list would look like room
        let known = self.admissions().known(pod);
        let rejected = match known {
            Some(known) => known,
            None => {
                let (judgeable, facts) = self.node_facts().await?;
                self.on_node(&facts, &judgeable, |admissions, node| admissions.decide(pod, node))
            }
        };
        if rejected.is_none() && pod.status.as_ref().is_none_or(|s| s.start_time.is_none()) {
            self.preempted_ended().await;
        }
        Ok(rejected)
    }

    /// Reads the Node object. Returns what it says, and the uids of the pods that may be judged by
    /// it: those that the kubelet knew before the read. The object is read each time because
    /// labels, taints and extended resources change.
    async fn node_facts(&self) -> Result<(HashSet<String>, NodeFacts), Error> {
        let judgeable = self.pods.list().iter().filter_map(|pod| pod.metadata.uid.clone()).collect();
        let node = self.config.client.cluster::<Node>().get(&self.config.node_name).await;
        let own = || NodeFacts::of_config(&self.config);
        Ok((judgeable, optional(node)?.map_or_else(own, |node| NodeFacts::of_node(&node))))
    }

    /// Preempts pods for a static one, where it does not fit, and waits for their end.
    async fn make_room(self: &Arc<Self>, pod: &Pod) {
        let mut any = false;
        self.on_node(&NodeFacts::default(), &HashSet::new(), |admissions, node| {
            let preempted = admissions.make_room(pod, node);
            any = !preempted.is_empty();
            Verdict { rejected: None, preempted }
        });
        if any {
            self.preempted_ended().await;
        }
    }

    /// Decides with all that is known of the node, and ends the pods that are preempted. Decisions
    /// are made one at a time, so that the next one knows which pods are ending.
    fn on_node(
        self: &Arc<Self>,
        facts: &NodeFacts,
        judgeable: &HashSet<String>,
        decide: impl FnOnce(&mut Admissions, &OnNode) -> Verdict,
    ) -> Option<Failure> {
        let mut admissions = self.admissions();
        let mut pods = self.pods.list();
        pods.retain(|pod| !mirror::is_one(pod) && !self.statics.contains_key(&Key::of(&**pod)));
        let node = OnNode {
            allocatable: self.config.capacity.allocatable(),
            facts,
            statics: self.statics.values().map(|pod| &**pod).collect(),
            pods: &pods,
            judgeable,
            descriptors: linux::descriptors::limit(),
            ending: &self.failing_pods(),
        };
        let verdict = decide(&mut admissions, &node);
        for pod in verdict.preempted {
            let (key, uid) = (Key::of(&*pod), pod.metadata.uid.as_deref().unwrap_or_default());
            tracing::warn!(pod = %key, "preempting a pod for a critical one");
            self.decide_failure(&key, uid, Failure::preempted());
            self.end_now(&key, uid); // at once: its own worker may be held up
            self.queue.add(key, None);
        }
        verdict.rejected
    }

    /// Returns whether the pod has to fail now, and if not, when to look again.
    ///
    /// In this order: its deadline, a decision made earlier (it is evicted or preempted),
    /// admission, its use of the disk. A static pod is never rejected or evicted. A pod with a
    /// limit of its disk is looked at every 10 s, because no event tells that a file has grown.
    pub(super) async fn judge(
        self: &Arc<Self>,
        key: &Key,
        pod: &Pod,
        memory: &mut PodMemory,
    ) -> Result<(Option<Failure>, Option<Duration>), Error> {
        let mut again = None;
        match time_left(pod, clock::now()) {
            Some(left) if left.is_zero() => return Ok((Some(Failure::deadline_exceeded()), None)),
            left => again = again.or(left),
        }
        if self.statics.contains_key(key) {
            self.make_room(pod).await;
            return Ok((None, again));
        }
        let failure = match self.failure_by_node(key, pod, memory) {
            Some(failure) => Some(failure),
            None => self.admit(pod).await?,
        };
        if failure.is_some() {
            return Ok((failure, None));
        }
        memory.is_admitted = true;
        // As upstream a critical pod is not evicted, whatever it uses.
        if !local_storage::has_limits(pod) || !pressure::evictable(pod) {
            return Ok((None, again));
        }
        match self.measured_lately(&memory.uid) {
            Some(used) => {
                if let Some(why) = local_storage::exceeded(pod, &used) {
                    return Ok((Some(Failure::excessive(why)), None));
                }
            }
            None => self.measure_later(key, &memory.uid),
        }
        let look = clock::unscaled(local_storage::EVERY); // a disk does not fill faster
        Ok((None, Some(again.map_or(look, |again| again.min(look)))))
    }

    /// Tells that the pod has to fail as soon as that is decided, once by an Event, and ends its
    /// containers. One that is evicted or preempted is ended in the background: its files may take
    /// long to remove.
    ///
    /// As upstream no pod fails before its containers have ended (`mergePodStatus` in
    /// `pkg/kubelet/status/status_manager.go`): a controller would make a successor of what still
    /// runs, and delete it. Until then the status keeps its phase, and has no `DisruptionTarget`.
    /// `false`: it is not written yet, since the pod changed meanwhile or its containers run; the
    /// change, or their end, brings the pod back.
    pub(super) async fn fail(
        self: &Arc<Self>,
        key: &Key,
        pod: &Pod,
        memory: &mut PodMemory,
        cause: &Option<Cause>,
        failure: Failure,
    ) -> Result<bool, Error> {
        if !std::mem::replace(&mut memory.has_failure_event, true) {
            let (about, reason, message) =
                (reference(pod, None), failure.reason.as_str(), failure.message.clone());
            match failure.kind {
                FailureKind::Own => self.recorder.normal(&about, reason, message, cause.clone()),
                FailureKind::Excess | FailureKind::Disruption | FailureKind::Rejection => {
                    self.recorder.warning(&about, reason, message, cause.clone());
                }
            }
        }
        if matches!(failure.kind, FailureKind::Excess | FailureKind::Disruption) {
            self.decide_failure(key, &memory.uid, failure.clone());
            self.end_now(key, &memory.uid);
        }
        let (sandboxes, containers) = self.in_runtime(key, &memory.uid).await?;
        let containers = self.remove_created(&memory.uid, containers).await?;
        let mut status = self.status_of(key, pod, &sandboxes, &containers, memory);
        self.prober.end_startup_and_liveness(&memory.uid);
        let is_disruption = matches!(failure.kind, FailureKind::Excess | FailureKind::Disruption);
        let runs = containers.iter().any(|container| container.state == ContainerState::Running);
        if is_disruption && runs {
            self.end_once_more(key, &memory.uid); // if its end is over already
            // The phase stays. Readiness does not: a container whose readiness probe fails while it
            // ends gets no connections, as in any pod.
            status.phase = pod.status.as_ref().and_then(|before| before.phase.clone());
            self.report(key, pod, memory, cause, status).await?;
            return Ok(false);
        }
        if failure.kind == FailureKind::Own
            && self.end_running(key, pod, &sandboxes, &containers, memory, cause)
        {
            self.report(key, pod, memory, cause, status).await?;
            return Ok(false);
        }
        if !runs && failure.kind != FailureKind::Rejection {
            status::end(&mut status, clock::now()); // what waits for its image, say, waits no more
        }
        failure.mark(&mut status, clock::now(), pod.metadata.generation);
        self.report(key, pod, memory, cause, status).await
    }

    /// Ends what runs of a pod, with the pod's own grace period and in the order of its containers.
    /// Returns whether anything runs; the end of each container brings the pod back.
    fn end_running(
        self: &Arc<Self>,
        key: &Key,
        pod: &Pod,
        sandboxes: &[Sandbox],
        containers: &[Container],
        memory: &mut PodMemory,
        cause: &Option<Cause>,
    ) -> bool {
        let deadline = clock::deadline(ending::own_grace(pod));
        let mut any = false;
        for container in containers.iter().filter(|c| c.state == ContainerState::Running) {
            let message = format!("Stopping container {}", container.name);
            let manner = ending::Manner { deadline, message, in_order: true, cause: cause.clone() };
            self.stop(key, pod, sandboxes, container, manner, memory);
            any = true;
        }
        any
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

    #[test]
    fn a_pod_that_is_deleted_after_its_time_was_over_has_failed_for_that() {
        let pod = |phase: &str| -> Pod {
            serde_json::from_value(serde_json::json!({
                "spec": {"containers": [], "activeDeadlineSeconds": 10},
                "status": {"startTime": "2026-01-02T03:04:00Z", "phase": phase},
            }))
            .unwrap()
        };
        let reason = |phase: &str, has_failure_event| {
            let memory = PodMemory { has_failure_event, ..PodMemory::default() };
            failed_before(&pod(phase), &memory).map(|failure| failure.reason)
        };
        assert_eq!(reason("Running", true).as_deref(), Some("DeadlineExceeded"));
        assert_eq!(reason("Running", false), None, "it was deleted before the kubelet ended it");
        assert_eq!(reason("Failed", true), None, "it failed for another reason");
    }
}
