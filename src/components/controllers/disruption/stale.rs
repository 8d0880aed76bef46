//! Disruptions that did not happen: a pod that was to be evicted, says so in its condition
//! `DisruptionTarget`, and is still there two minutes later. The condition becomes False. Source:
//! `pkg/controller/disruption` (`syncStalePodDisruption`).

use crate::error::Error;
use crate::pods::has_ended;
use crate::shared::Shared;
use crate::write::unless_gone;
use client::{Change, Key, Outcome, WorkQueue};
use clock::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tap::Cause;

const DISRUPTED: &str = "DisruptionTarget";
/// How long a pod may say that it is about to go without being deleted.
const STALE: Duration = Duration::from_secs(120);
const WORKERS: usize = 2;

pub(super) fn start(shared: &Shared) {
    let queue: WorkQueue<Key> = WorkQueue::new(&shared.crew);
    let q = queue.clone();
    shared.informer::<Pod>().on(move |change| {
        if !matches!(change, Change::Deleted(_)) && is_announced(change.object()).is_some() {
            q.add(change.key(), change.cause());
        }
    });
    let all = Arc::new(shared.clone());
    shared.report_panics(&queue, shared.informer::<Pod>(), "disruption");
    queue.work("stale-disruption", WORKERS, move |key, cause| {
        let shared = all.clone();
        async move { sync(&shared, &key, cause).await }
    });
}

/// Pure: the condition of a pod that says that it will be disrupted, and is not on its way. A
/// kubelet that ends a pod may take its time, and a pod that has ended is no more disrupted.
fn is_announced(pod: &Pod) -> Option<&PodCondition> {
    let mut conditions = pod.status.iter().flat_map(|s| s.conditions.iter().flatten());
    let condition = conditions.find(|c| c.type_ == DISRUPTED && c.status == "True")?;
    let by_kubelet = condition.reason.as_deref() == Some("TerminationByKubelet");
    (pod.metadata.deletion_timestamp.is_none() && !by_kubelet && !has_ended(pod)).then_some(condition)
}

/// Pure: how long the condition still counts; zero: it is stale.
fn left(condition: &PodCondition, now: Timestamp) -> Duration {
    let until = condition.last_transition_time.as_ref().map_or(now, |since| clock::after(since.0, STALE));
    Duration::try_from(until.duration_since(now)).unwrap_or_default()
}

async fn sync(shared: &Shared, key: &Key, cause: Option<Cause>) -> Result<Outcome, Error> {
    let Some(pod) = shared.informer::<Pod>().get(key) else { return Ok(Outcome::Done) };
    let (now, Some(announced)) = (clock::now(), is_announced(&pod)) else { return Ok(Outcome::Done) };
    let left = left(announced, now);
    if !left.is_zero() {
        return Ok(Outcome::Pause(left));
    }
    let mut condition = serde_json::to_value(PodCondition {
        type_: DISRUPTED.into(),
        status: "False".into(),
        last_transition_time: Some(Time(now)),
        observed_generation: pod.metadata.generation,
        ..PodCondition::default()
    })?;
    // The old ones are about the disruption that did not happen.
    (condition["reason"], condition["message"]) = (Value::Null, Value::Null);
    // A pod that is deleted, or evicted again, meanwhile keeps its condition.
    let holds = json!({"uid": pod.metadata.uid, "resourceVersion": pod.metadata.resource_version});
    let patch = Patch::Strategic(json!({"metadata": holds, "status": {"conditions": [condition]}}));
    let api = shared.config.client.caused_by(cause).within::<Pod>(&key.namespace);
    unless_gone(api.patch_status(&key.name, &PatchParams::default(), &patch).await)?;
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::testing::Scripted;

    /// Returns a pod whose condition has announced its disruption since midnight.
    fn pod(phase: &str, reason: &str, going: Value) -> Pod {
        let since = "2026-01-01T00:00:00Z";
        let condition =
            json!({"type": DISRUPTED, "status": "True", "reason": reason, "lastTransitionTime": since});
        let meta = json!({"name": "p", "namespace": "d", "uid": "u", "resourceVersion": "5", "deletionTimestamp": going});
        serde_json::from_value(
            json!({"metadata": meta, "status": {"phase": phase, "conditions": [condition]}}),
        )
        .unwrap()
    }

    #[tokio::test]
    async fn a_pod_that_was_not_deleted_is_not_about_to_go_any_more() {
        let evicted = "EvictionByEvictionAPI";
        for (pod, stale) in [
            (pod("Running", evicted, Value::Null), true),
            (pod("Running", evicted, json!("2026-01-01T00:00:01Z")), false),
            (pod("Running", "TerminationByKubelet", Value::Null), false),
            (pod("Failed", evicted, Value::Null), false),
        ] {
            let server = Scripted::new(|_| None).await;
            let shared = Shared::fixed(&server.client);
            shared.informer::<Pod>().show(pod);
            assert_eq!(sync(&shared, &Key::new("d", "p"), None).await.unwrap(), Outcome::Done);
            let asked = server.take();
            assert_eq!(asked.len(), usize::from(stale));
            for patch in asked {
                assert_eq!(patch.line, "PATCH /api/v1/namespaces/d/pods/p/status");
                assert_eq!(patch.body["metadata"]["resourceVersion"], "5");
                let condition = &patch.body["status"]["conditions"][0];
                assert_eq!(condition["status"], "False");
                assert_eq!(condition.get("reason"), Some(&Value::Null), "it is taken out");
            }
        }
    }

    #[test]
    fn it_has_two_minutes() {
        let pod = pod("Running", "", Value::Null);
        let at = |text: &str| left(is_announced(&pod).unwrap(), text.parse().unwrap());
        assert_eq!(at("2026-01-01T00:00:30Z"), Duration::from_secs(90));
        assert_eq!(at("2026-01-01T00:02:00Z"), Duration::ZERO);
    }
}
