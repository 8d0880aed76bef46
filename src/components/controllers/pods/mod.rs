//! What controllers of pods share: ownership, selectors, readiness, pods from a template.
//! [`control`] makes and deletes pods, [`ranking`] says which of too many go first.

mod control;
mod ranking;

use super::names::name_prefix;
use api::labels::meets;
use client::Key;
use clock::{self, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use control::{PodControl, WORDS, Words};
pub(crate) use ranking::least_useful_first;

/// Returns the owner that manages an object, its controller; `None`: it has none.
pub(crate) fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.iter().flatten().find(|o| o.controller == Some(true))
}

/// Makes the reference to its controller that every object which a controller makes carries.
pub(crate) fn owned_by<K: kube::Resource<DynamicType = ()>>(owner: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: owner.meta().name.clone().unwrap_or_default(),
        uid: owner.meta().uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// Returns whether the selector chooses these labels. An empty selector chooses nothing here: no
/// workload may own everything.
pub(crate) fn selects(selector: &LabelSelector, labels: Option<&BTreeMap<String, String>>) -> bool {
    let empty = BTreeMap::new();
    let labels = labels.unwrap_or(&empty);
    let (equal, rules) =
        (selector.match_labels.as_ref(), selector.match_expressions.as_deref().unwrap_or_default());
    if equal.is_none_or(BTreeMap::is_empty) && rules.is_empty() {
        return false;
    }
    equal.into_iter().flatten().all(|(k, v)| labels.get(k) == Some(v))
        && rules.iter().all(|r| {
            meets(
                &r.operator,
                labels.get(&r.key).map(String::as_str),
                r.values.as_deref().unwrap_or_default(),
            )
        })
}

/// Returns the pod's phase; Pending if its status has none.
pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or("Pending")
}

/// Returns whether the pod is being deleted.
pub(crate) fn is_going(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// Returns whether the pod is not being deleted.
pub(crate) fn is_staying(pod: &Pod) -> bool {
    !is_going(pod)
}

/// Returns whether the pod has ended, well or badly: none of its containers will run again.
pub(crate) fn has_ended(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Returns whether the pod has neither ended nor is being deleted.
pub(crate) fn is_active(pod: &Pod) -> bool {
    !has_ended(pod) && is_staying(pod)
}

/// Returns whether the pod is being deleted and has not ended yet.
pub(crate) fn is_terminating(pod: &Pod) -> bool {
    !has_ended(pod) && is_going(pod)
}

/// Returns since when the pod is ready; `None`: it is not.
pub(crate) fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let ready = conditions.iter().find(|c| c.type_ == "Ready" && c.status == "True")?;
    Some(ready.last_transition_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |t| t.0))
}

/// Returns whether the pod has been ready for at least `seconds` of the cluster's time.
pub(crate) fn is_available(pod: &Pod, seconds: i32, now: Timestamp) -> bool {
    ready_since(pod).is_some_and(|since| wait_left(since, seconds, now).is_none())
}

/// Returns what is left of `minReadySeconds`; `None`: it is over. If the clock was set back, it
/// begins in the future. Without a wait a pod that is ready is available whatever the clock says
/// (upstream: `IsPodAvailable`): else no pod that runs would be, until the clock is where it was.
fn wait_left(ready_since: Timestamp, seconds: i32, now: Timestamp) -> Option<Duration> {
    if seconds <= 0 {
        return None;
    }
    let ahead = Duration::try_from(ready_since - now).unwrap_or_default();
    let wait = ahead.saturating_add(Duration::from_secs(seconds as u64));
    clock::left(ready_since, wait, now)
}

/// Makes a pod from a template. The prefix of its name (`metadata.generateName`) is its owner's.
pub(crate) fn from_template(
    template: &PodTemplateSpec,
    name: String,
    namespace: &str,
    owner: OwnerReference,
) -> Pod {
    let meta = template.metadata.clone().unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(name_prefix(&owner.name, None)),
            name: Some(name),
            namespace: Some(namespace.into()),
            labels: meta.labels,
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

/// Returns the name of the node that the pod is bound to; empty if it is bound to none.
pub(crate) fn node_of(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|s| s.node_name.as_deref()).unwrap_or_default()
}

/// Returns those of the pods that have one of these names.
pub(crate) fn named(pods: &[Arc<Pod>], names: &[String]) -> Vec<Arc<Pod>> {
    pods.iter().filter(|p| p.metadata.name.as_ref().is_some_and(|n| names.contains(n))).cloned().collect()
}

/// Returns the key of the controller of this kind that owns a pod; `None` if it has none of that
/// kind.
pub(crate) fn owner_key(pod: &Pod, kind: &str) -> Option<Key> {
    let owner = controller_of(&pod.metadata).filter(|o| o.kind == kind)?;
    Some(Key::new(pod.metadata.namespace.clone().unwrap_or_default(), owner.name.clone()))
}

/// Returns the cluster's time until a pod that is ready becomes available; `None`: it is not ready,
/// or available already.
pub(crate) fn until_available(pod: &Pod, seconds: i32) -> Option<Duration> {
    wait_left(ready_since(pod)?, seconds, clock::now())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_is_available_after_min_ready_seconds_of_the_cluster_s_time() {
        let pod: Pod = serde_json::from_value(json!({"status": {"conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:10Z"}]}}))
        .unwrap();
        let at = |second: i64| Timestamp::from_second(1_767_225_600 + second).unwrap(); // that midnight
        let first = |seconds| (0..120).find(|second| is_available(&pod, seconds, at(*second)));
        assert_eq!([first(1), first(60)], [Some(11), Some(70)]);
        assert_eq!(first(0), Some(0), "also if the clock was set back");
        let _scale = clock::pin_scale(20);
        assert_eq!([first(1), first(60)], [Some(11), Some(13)]);
    }

    #[test]
    fn a_pod_that_has_ended_is_not_terminating_any_more() {
        for (phase, terminating) in
            [("Running", true), ("Pending", true), ("Succeeded", false), ("Failed", false)]
        {
            let meta = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
            let pod: Pod =
                serde_json::from_value(json!({"metadata": meta, "status": {"phase": phase}})).unwrap();
            assert_eq!((is_terminating(&pod), is_active(&pod)), (terminating, false), "{phase}");
        }
    }
}
