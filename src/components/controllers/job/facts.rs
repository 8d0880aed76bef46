//! What a Job and each of its pods say, read from the objects alone.

use super::names::{INDEX, INDEX_FAILURES, INDEX_IGNORED, TRACKING};
use clock::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use std::sync::Arc;
use std::time::Duration;

/// Returns the condition of this type if it is True.
pub(super) fn condition<'a>(status: &'a JobStatus, kind: &str) -> Option<&'a JobCondition> {
    status.conditions.iter().flatten().find(|c| c.type_ == kind && c.status == "True")
}

/// Returns the condition Complete or Failed, which says when and how a job has ended; `None`: it
/// has not.
pub(crate) fn finished(job: &Job) -> Option<&JobCondition> {
    let status = job.status.as_ref()?;
    condition(status, "Complete").or_else(|| condition(status, "Failed"))
}

/// Returns whether the pod has the finalizer `batch.kubernetes.io/job-tracking`: it stays until the
/// Job has counted it.
pub(crate) fn is_tracked(pod: &Pod) -> bool {
    pod.metadata.finalizers.iter().flatten().any(|f| f == TRACKING)
}

/// Returns the completion index that a pod is for. A user may spoil the annotation: what is no
/// index is none, also a negative number.
pub(crate) fn index_of(pod: &Pod) -> Option<i32> {
    pod.metadata.annotations.as_ref()?.get(INDEX)?.parse::<i32>().ok().filter(|index| *index >= 0)
}

/// Returns how often the pod's index had failed when the pod was made: counted failures, ignored
/// ones. What is no number of failures is none.
pub(super) fn failures_of(pod: &Pod) -> (i32, i32) {
    let annotations = pod.metadata.annotations.as_ref();
    let count = |key: &str| annotations.and_then(|a| a.get(key)?.parse().ok()).filter(|n| *n >= 0);
    (count(INDEX_FAILURES).unwrap_or(0), count(INDEX_IGNORED).unwrap_or(0))
}

/// Returns all failures of the pod's index before the pod was made, the ignored ones too.
pub(super) fn all_failures_of(pod: &Pod) -> i32 {
    let (counted, ignored) = failures_of(pod);
    counted.saturating_add(ignored)
}

pub(super) fn name(pod: &Arc<Pod>) -> String {
    pod.metadata.name.clone().unwrap_or_default()
}

pub(super) fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

/// Returns when the pod ended, or began to end: when its last container ended; else when it ceased
/// to be ready, when its deletion was requested, or when it was made. None of these moves from one
/// look to the next, or the pause before the successor would begin anew each time.
///
/// ```text
/// exited at 5 s                                        5 s
/// rejected by its kubelet, or its node is lost         when Ready became False
/// deleted at 7 s with a grace period of 30 s, runs     7 s: deletionTimestamp is 37 s
/// ```
pub(super) fn ended_at(pod: &Pod, now: Timestamp) -> Timestamp {
    let requested = pod.metadata.deletion_timestamp.as_ref().map(|until| {
        let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or(0).max(0) as u64;
        clock::before(until.0, Duration::from_secs(grace))
    });
    let conditions = pod.status.iter().flat_map(|s| s.conditions.iter().flatten());
    let mut unready = conditions.filter(|c| c.type_ == "Ready" && c.status == "False");
    let unready = unready.find_map(|c| c.last_transition_time.as_ref()).map(|t| t.0);
    let made = pod.metadata.creation_timestamp.as_ref().map(|t| t.0);
    containers_ended_at(pod).or(unready).or(requested).or(made).unwrap_or(now)
}

/// Returns when the last container ended, if all have: the ordinary ones and the sidecars, which
/// end after them.
fn containers_ended_at(pod: &Pod) -> Option<Timestamp> {
    let init = pod.spec.iter().flat_map(|s| s.init_containers.iter().flatten());
    let sidecars: Vec<&str> =
        init.filter(|c| c.restart_policy.as_deref() == Some("Always")).map(|c| c.name.as_str()).collect();
    let status = pod.status.as_ref()?;
    let first = status.init_container_statuses.iter().flatten();
    let all = first.filter(|c| sidecars.contains(&c.name.as_str()));
    let all = all.chain(status.container_statuses.iter().flatten());
    let ends: Option<Vec<Timestamp>> =
        all.map(|c| Some(c.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref()?.0)).collect();
    ends?.into_iter().max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_pod_has_ended_when_all_of_its_containers_have() {
        let pod = |app: &str, helper: &str, sidecar: &str| -> Pod {
            let state = |name: &str, at: &str| {
                let ended = json!({"terminated": {"exitCode": 1, "finishedAt": at}});
                let state = if at.is_empty() { json!({"running": {}}) } else { ended };
                json!({"name": name, "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state})
            };
            let first = json!([{"name": "setup"}, {"name": "sidecar", "restartPolicy": "Always"}]);
            let spec = json!({"initContainers": first, "containers": [{"name": "app"}, {"name": "helper"}]});
            let status = json!({"phase": "Running", "containerStatuses": [state("app", app), state("helper", helper)],
                "initContainerStatuses": [state("setup", "2026-01-01T00:00:00Z"), state("sidecar", sidecar)]});
            let meta = json!({"deletionTimestamp": "2026-01-01T00:01:30Z", "deletionGracePeriodSeconds": 30});
            serde_json::from_value(json!({"metadata": meta, "spec": spec, "status": status})).unwrap()
        };
        let at = |second: u32| format!("2026-01-01T00:01:{second:02}Z");
        let ended = |pod: Pod| clock::rfc3339(ended_at(&pod, Timestamp::MAX));
        assert_eq!(ended(pod(&at(3), &at(5), &at(7))), at(7));
        assert_eq!(ended(pod(&at(3), "", &at(4))), at(0), "one runs: the deletion was requested then");
        assert_eq!(ended(pod(&at(3), &at(4), "")), at(0), "the sidecar runs");
    }

    /// The API server takes an annotation with any text.
    #[test]
    fn what_a_user_wrote_instead_of_a_number_is_none() {
        let pod = |annotations: Value| -> Pod {
            serde_json::from_value(json!({"metadata": {"name": "p", "annotations": annotations}})).unwrap()
        };
        for (text, index, failures) in
            [("3", Some(3), 3), ("0", Some(0), 0), ("-1", None, 0), ("many", None, 0)]
        {
            let spoiled = pod(json!({INDEX: text, INDEX_FAILURES: text, INDEX_IGNORED: "2"}));
            assert_eq!((index_of(&spoiled), failures_of(&spoiled)), (index, (failures, 2)), "{text}");
        }
        let most = i32::MAX.to_string();
        assert_eq!(all_failures_of(&pod(json!({INDEX_FAILURES: most, INDEX_IGNORED: most}))), i32::MAX);
        assert_eq!((index_of(&pod(json!({}))), failures_of(&pod(json!({})))), (None, (0, 0)));
    }
}
