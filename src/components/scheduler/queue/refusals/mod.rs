//! Refusals of pods that get no node: an Event for each, and the condition `PodScheduled`.

use super::{Error, Scheduler, UNSCHEDULABLE};
use crate::cache::is_live;
use crate::decide::Decision;
use client::{Key, is_code, reference};
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use std::collections::BTreeSet;
use tap::Cause;

/// A condition `PodScheduled` that was sent to the API server.
pub(super) struct Told {
    uid: Option<String>,
    message: String,
}

fn priority(pod: &Pod) -> i32 {
    pod.spec.as_ref().and_then(|s| s.priority).unwrap_or(0)
}

impl Scheduler {
    /// Drops what is kept of a pod that gets no node.
    pub(super) fn forget_refusals(&self, key: &Key) {
        self.failures.lock().remove(key);
        self.told.lock().remove(key);
    }

    /// Returns what the pod's condition was last written to say, if this scheduler has written it.
    fn last_told(&self, key: &Key, pod: &Pod) -> Option<String> {
        let told = self.told.lock();
        told.get(key).filter(|told| told.uid == pod.metadata.uid).map(|told| told.message.clone())
    }

    /// The pod stays Pending. `kubectl get events` shows each refusal; the condition is written
    /// only if its message is another one, because each write of the pod would bring it back to the
    /// scheduler. The watch may not show the last write yet: a pod whose condition said A, and then
    /// B, still has A in the cache. So if A is true again, it is written again. Returns whether the
    /// condition was written.
    ///
    /// # Errors
    /// Of the request, unless the pod is gone or another one has its name.
    pub(super) async fn refuse(
        &self,
        key: &Key,
        pod: &Pod,
        reason: &str,
        message: String,
        cause: &Option<Cause>,
    ) -> Result<bool, Error> {
        if reason == UNSCHEDULABLE {
            self.failures.lock().remove(key); // no more in a row: the error is gone
        }
        let conditions = pod.status.iter().flat_map(|s| s.conditions.iter().flatten());
        let before = conditions.into_iter().find(|c| c.type_ == "PodScheduled").cloned();
        self.recorder.warning(&reference(pod), "FailedScheduling", message.clone(), cause.clone());
        let same =
            before.as_ref().is_some_and(|c| c.message.as_deref() == Some(&message) && c.status == "False");
        if same && self.last_told(key, pod).is_none_or(|last| last == message) {
            return Ok(false);
        }
        // Before the answer: a write whose answer is lost may have been done.
        let told = Told { uid: pod.metadata.uid.clone(), message: message.clone() };
        self.told.lock().insert(key.clone(), told);
        let since = before.filter(|c| c.status == "False").and_then(|c| c.last_transition_time);
        let condition = PodCondition {
            type_: "PodScheduled".into(),
            status: "False".into(),
            reason: Some(reason.into()),
            message: Some(message),
            last_transition_time: Some(since.unwrap_or_else(|| Time(clock::now()))),
            observed_generation: pod.metadata.generation,
            ..PodCondition::default()
        };
        let patch = json!({"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [condition]}});
        let api = self.config.client.caused_by(cause.clone()).within::<Pod>(&key.namespace);
        match api.patch_status(&key.name, &PatchParams::default(), &Patch::Strategic(patch)).await {
            Ok(_) => Ok(true),
            Err(error) if is_code(&error, 404) || is_code(&error, 409) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Tells of a pod that fits nowhere although upstream might evict pods of lower priority for
    /// it. `FailedScheduling` has upstream's words for a preemption that found no pods to evict.
    ///
    /// ```text
    ///      refuses urgent (priority 1000)   its pods           could they make room?
    /// n1   Insufficient cpu                 web, priority 0    yes
    /// n2   Insufficient cpu                 db, priority 2000  no: more important
    /// n3   cordoned                         log, priority 0    no: evicting them would not help
    /// ```
    pub(super) fn tell_of_preemption(&self, pod: &Pod, decision: &Decision, cause: &Option<Cause>) {
        if pod.spec.as_ref().and_then(|s| s.preemption_policy.as_deref()) == Some("Never") {
            return;
        }
        let verdicts = decision.verdicts.iter().filter(|v| v.refused.iter().all(|r| !r.final_));
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
        }
    }
}

#[cfg(test)]
mod tests;
