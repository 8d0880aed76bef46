//! # ReplicaSet: so many pods, always
//!
//! [`decide`] counts: too few are made, too many deleted, the least useful first. Source: `pkg/controller/replicaset`.

use super::pods::{self, is_active, is_available};
use super::workload::{Look, PodOwner};
use super::{Error, Shared};
use crate::client::{Informer, Outcome};
use crate::clock::{self, Timestamp};
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// Pods made or deleted in one go, at most.
const BURST: usize = 500;

/// What to do about the number of pods.
#[derive(Debug, PartialEq, Eq)]
pub struct Plan {
    pub create: usize,
    /// Names, the least useful first.
    pub delete: Vec<String>,
}

/// Pure: the number wanted, and the active pods there are.
pub fn decide(wanted: usize, active: &[Arc<Pod>]) -> Plan {
    let have = active.len();
    if have <= wanted {
        return Plan { create: (wanted - have).min(BURST), delete: vec![] };
    }
    let surplus = (have - wanted).min(BURST);
    let ranked = pods::least_useful_first(active);
    let delete = ranked.iter().take(surplus).map(|p| p.metadata.name.clone().unwrap_or_default()).collect();
    Plan { create: 0, delete }
}

/// Pure: the status that the pods give.
pub fn status(set: &ReplicaSet, active: &[Arc<Pod>], terminating: usize, now: Timestamp) -> ReplicaSetStatus {
    let spec = set.spec.clone().unwrap_or_default();
    let wanted = spec
        .template
        .as_ref()
        .and_then(|t| t.metadata.as_ref())
        .and_then(|m| m.labels.clone())
        .unwrap_or_default();
    let labelled = |p: &&Arc<Pod>| {
        let labels = p.metadata.labels.as_ref();
        wanted.iter().all(|(k, v)| labels.and_then(|l| l.get(k)) == Some(v))
    };
    let seconds = spec.min_ready_seconds.unwrap_or(0);
    let count = |n: usize| (n > 0).then_some(n as i32);
    ReplicaSetStatus {
        replicas: active.len() as i32,
        fully_labeled_replicas: count(active.iter().filter(labelled).count()),
        ready_replicas: count(active.iter().filter(|p| pods::ready_since(p).is_some()).count()),
        available_replicas: count(active.iter().filter(|p| is_available(p, seconds, now)).count()),
        terminating_replicas: count(terminating),
        observed_generation: set.metadata.generation,
        conditions: set.status.as_ref().and_then(|s| s.conditions.clone()),
    }
}

/// The controller of ReplicaSets.
pub(crate) struct ReplicaSets;

impl PodOwner for ReplicaSets {
    type Kind = ReplicaSet;
    const COMPONENT: &'static str = "replicaset-controller";
    const WORKERS: usize = 5;

    fn informer(shared: &Shared) -> &Informer<ReplicaSet> {
        &shared.replica_sets
    }

    fn selector(set: &ReplicaSet) -> Option<&LabelSelector> {
        set.spec.as_ref().map(|s| &s.selector)
    }

    async fn sync(look: &Look<'_, ReplicaSet>) -> Result<Outcome, Error> {
        let (set, hands) = (&look.object, &look.hands);
        let spec = set.spec.clone().unwrap_or_default();
        let all = hands.claim(&spec.selector, &look.owner(), look.alive()).await?;
        let (active, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|p| is_active(p));
        let terminating = rest.iter().filter(|p| p.metadata.deletion_timestamp.is_some()).count();
        let mut result = Ok(());
        if look.settled && look.alive() {
            let wanted = spec.replicas.unwrap_or(1).max(0) as usize;
            let plan = decide(wanted, &active);
            if plan.create > 0 && look.still_there().await? {
                let template = spec.template.clone().unwrap_or_default();
                let (name, namespace) = (&look.key.name, &look.key.namespace);
                let made = (0..plan.create)
                    .map(|_| pods::from_template(&template, look.pod_name(name), namespace, look.owner()))
                    .collect();
                result = hands.create_all(made).await;
            }
            let doomed = pods::named(&active, &plan.delete);
            if !doomed.is_empty() {
                result = hands.delete_all(&doomed).await;
            }
            if plan.create > 0 || !doomed.is_empty() {
                let detail = json!({"wanted": wanted, "have": active.len(), "create": plan.create, "delete": plan.delete});
                look.did("reconcile", detail);
            }
        }
        look.write_status(set.status.as_ref(), &status(set, &active, terminating, clock::now())).await?;
        result?;
        let seconds = spec.min_ready_seconds.unwrap_or(0);
        let next: Option<Duration> = active.iter().filter_map(|p| pods::until_available(p, seconds)).min();
        Ok(next.map_or(Outcome::Done, Outcome::After))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, node: &str, phase: &str, ready: bool, created: &str) -> Arc<Pod> {
        Arc::new(
            serde_json::from_value(json!({
                "metadata": {"name": name, "creationTimestamp": created},
                "spec": {"nodeName": node, "containers": []},
                "status": {"phase": phase, "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }, "lastTransitionTime": created}]},
            }))
            .unwrap(),
        )
    }

    #[test]
    fn too_few_are_made_and_the_least_useful_go_first() {
        let old = "2026-01-01T00:00:00Z";
        let young = "2026-01-01T01:00:00Z";
        let pods = [
            pod("old", "n1", "Running", true, old),
            pod("young", "n1", "Running", true, young),
            pod("alone", "n2", "Running", true, young),
            pod("unready", "n1", "Running", false, old),
            pod("homeless", "", "Pending", false, old),
        ];
        assert_eq!(decide(7, &pods), Plan { create: 2, delete: vec![] });
        assert_eq!(decide(5, &pods), Plan { create: 0, delete: vec![] });
        assert_eq!(decide(2, &pods).delete, ["homeless", "unready", "young"]);
        assert_eq!(decide(0, &pods).delete.len(), 5);
    }

    #[test]
    fn status_counts_ready_available_and_labelled() {
        let set: ReplicaSet = serde_json::from_value(json!({
            "metadata": {"name": "s", "generation": 3},
            "spec": {"selector": {}, "minReadySeconds": 60, "template": {"metadata": {"labels": {"a": "b"}}}},
        }))
        .unwrap();
        let pods = [
            pod("x", "n", "Running", true, "2026-01-01T00:00:00Z"),
            pod("y", "n", "Running", true, "2026-01-01T00:59:30Z"),
        ];
        let s = status(&set, &pods, 0, "2026-01-01T01:00:00Z".parse().unwrap());
        assert_eq!(
            (s.replicas, s.ready_replicas, s.available_replicas, s.fully_labeled_replicas),
            (2, Some(2), Some(1), None)
        );
        assert_eq!(s.observed_generation, Some(3));
    }
}
