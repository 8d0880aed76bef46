//! # ReplicaSet: so many pods, always
//!
//! [`decide`] counts: too few are made, too many deleted, the least useful first. Source: `pkg/controller/replicaset`.

use super::expectations::Expectations;
use super::pods::{self, Hands, is_active, is_available, owner_key};
use super::{Error, Shared, record, reference};
use crate::client::{Change, Key, Outcome, Recorder, WorkQueue, is_code};
use crate::clock::{self, Timestamp};
use crate::tap::Cause;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const WORKERS: usize = 5;
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
    let mut on_node: BTreeMap<&str, usize> = BTreeMap::new();
    for pod in active {
        *on_node.entry(node_of(pod)).or_default() += 1;
    }
    let mut ranked: Vec<&Arc<Pod>> = active.iter().collect();
    ranked.sort_by_cached_key(|pod| {
        let ready = pods::ready_since(pod);
        let cost = pod
            .metadata
            .annotations
            .as_ref()
            .and_then(|a| a.get("controller.kubernetes.io/pod-deletion-cost"));
        let restarts: i32 = pod
            .status
            .iter()
            .flat_map(|s| s.container_statuses.iter().flatten())
            .map(|c| c.restart_count)
            .max()
            .unwrap_or(0);
        let phase = match pods::phase(pod) {
            "Pending" => 0,
            "Unknown" => 1,
            _ => 2,
        };
        let created = pod.metadata.creation_timestamp.as_ref().map(|t| t.0);
        // Smaller goes first; times are negated because the youngest goes before the oldest.
        (
            !node_of(pod).is_empty(),
            phase,
            ready.is_some(),
            cost.and_then(|c| c.parse::<i64>().ok()).unwrap_or(0),
            std::cmp::Reverse(on_node.get(node_of(pod)).copied().unwrap_or(0)),
            std::cmp::Reverse(ready),
            std::cmp::Reverse(restarts),
            std::cmp::Reverse(created),
            pod.metadata.name.clone(),
        )
    });
    let surplus = (have - wanted).min(BURST);
    let delete = ranked.iter().take(surplus).map(|p| p.metadata.name.clone().unwrap_or_default()).collect();
    Plan { create: 0, delete }
}

fn node_of(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|s| s.node_name.as_deref()).unwrap_or_default()
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

pub(crate) fn start(shared: &Shared) {
    let queue: WorkQueue<Key> = WorkQueue::new(&shared.crew);
    let expectations = Expectations::default();
    let recorder = Recorder::new(&shared.crew, &shared.config.client, "replicaset-controller", "");
    let q = queue.clone();
    shared.replica_sets.on(move |change| q.add(change.key(), change.cause()));
    let (q, seen, all) = (queue.clone(), expectations.clone(), shared.clone());
    shared.pods.on(move |change| {
        let pod = change.object();
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let mut owners: Vec<Key> = owner_key(pod, "ReplicaSet").into_iter().collect();
        if let Change::Updated { old, .. } = change {
            owners.extend(owner_key(old, "ReplicaSet"));
        }
        for owner in &owners {
            let going = matches!(change, Change::Deleted(_)) || pod.metadata.deletion_timestamp.is_some();
            match going {
                true => seen.deleted(owner, &uid),
                false => seen.created(owner, pod.metadata.name.as_deref().unwrap_or_default()),
            }
        }
        if owners.is_empty() && pods::controller_of(&pod.metadata).is_none() {
            // An orphan: whoever selects it may adopt it.
            let namespace = pod.metadata.namespace.clone().unwrap_or_default();
            owners = all
                .replica_sets
                .within(&namespace)
                .iter()
                .filter(|s| {
                    s.spec.as_ref().is_some_and(|s| pods::selects(&s.selector, pod.metadata.labels.as_ref()))
                })
                .map(|s| Key::of(&**s))
                .collect();
        }
        owners.dedup();
        owners.into_iter().for_each(|owner| q.add(owner, change.cause()));
    });
    let worker = Worker { shared: shared.clone(), expectations, recorder };
    let worker = Arc::new(worker);
    queue.work("replicaset", WORKERS, move |key, cause| {
        let worker = worker.clone();
        async move { worker.sync(key, cause).await }
    });
}

struct Worker {
    shared: Shared,
    expectations: Expectations,
    recorder: Recorder,
}

impl Worker {
    async fn sync(&self, key: Key, cause: Option<Cause>) -> Result<Outcome, Error> {
        let Some(set) = self.shared.replica_sets.get(&key) else {
            self.expectations.forget(&key);
            return Ok(Outcome::Done);
        };
        let start = clock::Instant::now();
        let spec = set.spec.clone().unwrap_or_default();
        let alive = set.metadata.deletion_timestamp.is_none();
        let owner = pods::owned_by(&*set);
        let hands = Hands {
            shared: &self.shared,
            expectations: &self.expectations,
            recorder: &self.recorder,
            owner: &key,
            about: reference(&*set),
            cause: &cause,
        };
        let settled = self.expectations.met(&key);
        let all = hands.claim(&spec.selector, &owner, alive).await?;
        let (active, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|p| is_active(p));
        let terminating = rest.iter().filter(|p| p.metadata.deletion_timestamp.is_some()).count();
        let mut result = Ok(());
        if settled && alive {
            let wanted = spec.replicas.unwrap_or(1).max(0) as usize;
            let plan = decide(wanted, &active);
            if plan.create > 0 && self.still_there(&key, &set).await? {
                let template = spec.template.clone().unwrap_or_default();
                let made = (0..plan.create)
                    .map(|_| {
                        let name = format!("{}-{}", key.name, self.shared.config.rng.name_suffix(5));
                        pods::from_template(&template, name, &key.namespace, owner.clone())
                    })
                    .collect();
                result = hands.create_all(made).await;
            }
            let doomed: Vec<Arc<Pod>> = active
                .iter()
                .filter(|p| p.metadata.name.as_ref().is_some_and(|n| plan.delete.contains(n)))
                .cloned()
                .collect();
            if !doomed.is_empty() {
                result = hands.delete_all(&doomed).await;
            }
            if plan.create > 0 || !doomed.is_empty() {
                let detail = json!({"wanted": wanted, "have": active.len(), "create": plan.create, "delete": plan.delete});
                let tap = self.shared.tap("replicaset-controller");
                tap.emit(
                    record("reconcile", "replicasets", &key, &cause).took(start.elapsed()).detail(detail),
                );
            }
        }
        let now = clock::now();
        let fresh = status(&set, &active, terminating, now);
        if set.status.as_ref() != Some(&fresh) {
            self.write_status(&key, &set, &fresh, &cause).await?;
        }
        result?;
        let seconds = spec.min_ready_seconds.unwrap_or(0);
        let next: Option<Duration> = active.iter().filter_map(|p| pods::until_available(p, seconds)).min();
        Ok(next.map_or(Outcome::Done, Outcome::After))
    }

    /// The cache may be behind a deletion that the garbage collector has seen: ask before making pods that nobody wants.
    async fn still_there(&self, key: &Key, set: &ReplicaSet) -> Result<bool, Error> {
        let api = self.shared.config.client.within::<ReplicaSet>(&key.namespace);
        let found = crate::client::optional(api.get_metadata(&key.name).await)?;
        Ok(found
            .is_some_and(|m| m.metadata.uid == set.metadata.uid && m.metadata.deletion_timestamp.is_none()))
    }

    async fn write_status(
        &self,
        key: &Key,
        set: &ReplicaSet,
        status: &ReplicaSetStatus,
        cause: &Option<Cause>,
    ) -> Result<(), Error> {
        // Counts that became zero are left out of the object and so must be taken out of the stored one.
        let patch = json!({"metadata": {"uid": set.metadata.uid}, "status": {
            "replicas": status.replicas,
            "fullyLabeledReplicas": status.fully_labeled_replicas,
            "readyReplicas": status.ready_replicas,
            "availableReplicas": status.available_replicas,
            "terminatingReplicas": status.terminating_replicas,
            "observedGeneration": status.observed_generation,
        }});
        let api = self.shared.config.client.caused_by(cause.clone()).within::<ReplicaSet>(&key.namespace);
        match api.patch_status(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Ok(_) => Ok(()),
            Err(error) if is_code(&error, 404) || is_code(&error, 409) => Ok(()),
            Err(error) => Err(error.into()),
        }
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
