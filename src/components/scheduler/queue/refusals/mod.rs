//! Refusals of pods that get no node: Events, and the condition `PodScheduled`.

use super::{Error, FLUSH, Scheduler, UNSCHEDULABLE, priority};
use crate::cache::is_live;
use crate::decide::{Decision, never_preempts};
use client::{Key, is_code, reference};
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tap::Cause;

/// A refusal as it was reported: in a condition `PodScheduled` that was sent to the API server, or
/// in an Event.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Report {
    uid: Option<String>,
    message: String,
    /// The generation of the pod that was refused, which the condition has as `observedGeneration`.
    generation: Option<i64>,
}

impl Report {
    /// Returns whether the pod's condition says the same.
    fn is_in(&self, condition: &PodCondition) -> bool {
        condition.status == "False"
            && condition.message.as_ref() == Some(&self.message)
            && condition.observed_generation == self.generation
    }
}

impl Scheduler {
    /// Drops what is kept of a pod that gets no node.
    pub(super) fn forget_refusals(&self, key: &Key) {
        self.failures.lock().remove(key);
        self.conditions.lock().remove(key);
        self.events.lock().remove(key);
        self.preemption_events.lock().remove(key);
    }

    /// Returns what this scheduler last wrote into the pod's condition; `None` if it has not
    /// written it.
    fn last_condition(&self, key: &Key, pod: &Pod) -> Option<Report> {
        self.conditions.lock().get(key).filter(|report| report.uid == pod.metadata.uid).cloned()
    }

    /// Notes a refusal of the pod if it gets an Event, and returns whether it does. The same
    /// refusal gets the next one after [`FLUSH`] at the earliest: each change in the cluster has
    /// all pods without a node looked at, and the recorder drops the Events of an object that
    /// causes too many, also the first one with another message.
    fn note_if_new(&self, key: &Key, report: &Report, now: clock::Instant) -> bool {
        let mut events = self.events.lock();
        let is_recent = |(last, at): &(Report, clock::Instant)| {
            last == report && now.saturating_duration_since(*at) < FLUSH
        };
        if events.get(key).is_some_and(is_recent) {
            return false;
        }
        events.insert(key.clone(), (report.clone(), now));
        true
    }

    /// Reports that a pod gets no node, which stays Pending: in an Event if the refusal is news,
    /// and in its condition `PodScheduled`. The condition is written only if its message is another
    /// one, or if the pod has another generation: each write of the pod is a request, for which the
    /// next decision waits. The watch may not show the last write yet: a pod whose condition said
    /// A, and then B, still has A in the cache. So if A is true again, it is written again. With
    /// `clears_nomination` the pod is not nominated for a node any more, either.
    ///
    /// # Errors
    /// The error of the request, unless the pod is gone or another one has its name.
    pub(super) async fn refuse(
        &self,
        key: &Key,
        pod: &Pod,
        reason: &str,
        message: String,
        clears_nomination: bool,
        cause: &Option<Cause>,
    ) -> Result<(), Error> {
        if reason == UNSCHEDULABLE {
            self.failures.lock().remove(key); // no more in a row: the error is gone
        }
        let conditions = pod.status.iter().flat_map(|s| s.conditions.iter().flatten());
        let before = conditions.into_iter().find(|c| c.type_ == "PodScheduled").cloned();
        let generation = pod.metadata.generation;
        let report = Report { uid: pod.metadata.uid.clone(), message: message.clone(), generation };
        if self.note_if_new(key, &report, clock::Instant::now()) {
            self.recorder.warning(&reference(pod), "FailedScheduling", message.clone(), cause.clone());
        }
        let is_shown = before.as_ref().is_some_and(|condition| report.is_in(condition));
        let nominated = pod.status.as_ref().and_then(|s| s.nominated_node_name.as_deref());
        let clears = clears_nomination && nominated.is_some_and(|node| !node.is_empty());
        if !clears && is_shown && self.last_condition(key, pod).is_none_or(|last| last == report) {
            return Ok(());
        }
        // Before the answer: a write whose answer is lost may have been done.
        self.conditions.lock().insert(key.clone(), report);
        let since = before.filter(|c| c.status == "False").and_then(|c| c.last_transition_time);
        let condition = PodCondition {
            type_: "PodScheduled".into(),
            status: "False".into(),
            reason: Some(reason.into()),
            message: Some(message),
            last_transition_time: Some(since.unwrap_or_else(|| Time(clock::now()))),
            observed_generation: generation,
            ..PodCondition::default()
        };
        let mut status = json!({"conditions": [condition]});
        if clears {
            status["nominatedNodeName"] = Value::Null;
        }
        let patch = json!({"metadata": {"uid": pod.metadata.uid}, "status": status});
        let api = self.config.client.caused_by(cause.clone()).within::<Pod>(&key.namespace);
        match api.patch_status(&key.name, &PatchParams::default(), &Patch::Strategic(patch)).await {
            Ok(_) => Ok(()),
            Err(error) if is_code(&error, 404) || is_code(&error, 409) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Reports, once for each pod, that it fits nowhere although upstream might evict pods of lower
    /// priority for it. `FailedScheduling` has upstream's words for a preemption that found
    /// no pods to evict.
    ///
    /// ```text
    ///      refuses urgent (priority 1000)   its pods           could they make room?
    /// n1   Insufficient cpu                 web, priority 0    yes
    /// n2   Insufficient cpu                 db, priority 2000  no: more important
    /// n3   cordoned                         log, priority 0    no: evicting them would not help
    /// ```
    pub(super) fn report_preemption(&self, key: &Key, pod: &Pod, decision: &Decision, cause: &Option<Cause>) {
        if never_preempts(pod) {
            return;
        }
        let uid = &pod.metadata.uid;
        if self.preemption_events.lock().get(key).is_some_and(|reported| reported == uid) {
            return;
        }
        let verdicts = decision.verdicts.iter().filter(|v| v.refused.iter().all(|r| !r.is_final));
        let nodes: BTreeSet<&str> = verdicts.map(|v| v.node.as_str()).collect();
        let could_go = |other: &Pod| {
            let node = other.spec.as_ref().and_then(|s| s.node_name.as_deref()).unwrap_or_default();
            is_live(other) && nodes.contains(node) && priority(other) < priority(pod)
        };
        let count = self.pods.list().iter().filter(|other| could_go(other)).count();
        if count > 0 {
            let message = format!(
                "preemption is not implemented yet: the pod waits, and none of the pods of lower priority ({count} on nodes that refuse it) is evicted for it"
            );
            self.recorder.warning(&reference(pod), "PreemptionNotImplemented", message, cause.clone());
            self.preemption_events.lock().insert(key.clone(), uid.clone());
        }
    }
}

#[cfg(test)]
mod tests;
