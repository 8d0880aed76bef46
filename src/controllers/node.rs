//! # Node lifecycle: who still lives?
//!
//! A kubelet renews its Lease every 10 s. Every 5 s this controller looks: a Lease that it did not see renewed for 50 s makes the
//! node's conditions *Unknown*. Such a node, and one that says itself it is not ready, gets taints that keep new pods
//! away (`NoSchedule`) and end those that do not tolerate them (`NoExecute`), each after its `tolerationSeconds`: 300 s unless the pod says otherwise.
//! Source: `pkg/controller/nodelifecycle`, `pkg/controller/tainteviction`; 50 s since Kubernetes 1.32.

use super::{Error, Shared, reference};
use crate::api::nodes::tolerates;
use crate::client::{Key, Outcome, Recorder, WorkQueue, is_code};
use crate::clock::{self, Timestamp};
use crate::tap::Record;
use crate::task::guard;
use k8s_openapi::api::core::v1::{Node, Pod, PodCondition, Taint, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const CHECK_EVERY: Duration = Duration::from_secs(5);
const GRACE: Duration = Duration::from_secs(50);
pub const NOT_READY: &str = "node.kubernetes.io/not-ready";
pub const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// Conditions that keep new pods away while they are True.
const PRESSURES: [(&str, &str); 3] = [
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
];
const CONDITIONS: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// Pure: the taints a node should have, given those it has. Taints of others stay as they are.
pub fn taints(node: &Node, now: Timestamp) -> Vec<Taint> {
    let spec = node.spec.clone().unwrap_or_default();
    let condition = |kind: &str| {
        let mut all = node.status.iter().flat_map(|s| s.conditions.iter().flatten());
        all.find(|c| c.type_ == kind).map_or("Unknown", |c| c.status.as_str())
    };
    let ready = condition("Ready");
    let mut want: Vec<(&str, &str)> = match ready {
        "True" => vec![],
        "False" => vec![(NOT_READY, "NoSchedule"), (NOT_READY, "NoExecute")],
        _ => vec![(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")],
    };
    if spec.unschedulable == Some(true) {
        want.push((UNSCHEDULABLE, "NoSchedule"));
    }
    let pressed = PRESSURES.iter().filter(|(kind, _)| condition(kind) == "True");
    want.extend(pressed.map(|(_, key)| (*key, "NoSchedule")));
    let ours = |t: &Taint| {
        [NOT_READY, UNREACHABLE, UNSCHEDULABLE].contains(&t.key.as_str())
            || PRESSURES.iter().any(|(_, key)| *key == t.key)
    };
    let have = spec.taints.unwrap_or_default();
    let mut taints: Vec<Taint> = have
        .iter()
        .filter(|t| !ours(t) || want.contains(&(t.key.as_str(), t.effect.as_str())))
        .cloned()
        .collect();
    for (key, effect) in want {
        if !taints.iter().any(|t| t.key == key && t.effect == effect) {
            taints.push(Taint {
                key: key.into(),
                effect: effect.into(),
                time_added: Some(Time(now)),
                value: None,
            });
        }
    }
    taints
}

/// Pure: when a pod has to leave a node with these taints; `None`: it may stay.
pub fn leaves_at(pod: &Pod, taints: &[Taint], now: Timestamp) -> Option<Timestamp> {
    let tolerations = pod.spec.as_ref().and_then(|s| s.tolerations.clone()).unwrap_or_default();
    let mut earliest: Option<Timestamp> = None;
    for taint in taints.iter().filter(|t| t.effect == "NoExecute") {
        let added = taint.time_added.as_ref().map_or(now, |t| t.0);
        let matching: Vec<&Toleration> = tolerations.iter().filter(|t| tolerates(t, taint)).collect();
        let at = if matching.is_empty() {
            Some(now)
        } else {
            let seconds = matching.iter().filter_map(|t| t.toleration_seconds).min();
            seconds.map(|s| clock::after(added, Duration::from_secs(s.max(0) as u64)))
        };
        earliest = match (earliest, at) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
    earliest
}

pub(crate) fn start(shared: &Shared) {
    let recorder = Recorder::new(&shared.crew, &shared.config.client, "node-controller", "");
    // Who was seen alive, when: our clock, not the node's.
    let (all, events) = (Arc::new(shared.clone()), recorder.clone());
    shared.crew.spawn_essential(async move {
        let mut seen: BTreeMap<String, (String, clock::Instant)> = BTreeMap::new();
        loop {
            let nodes = all.nodes.list();
            seen.retain(|name, _| nodes.iter().any(|n| n.metadata.name.as_ref() == Some(name)));
            for node in nodes {
                // One node must not keep the others from being watched.
                match guard(check(&all, &events, &node, &mut seen)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::debug!(%error, "cannot mark a node"),
                    Err(panic) => {
                        tracing::error!(node = ?node.metadata.name, panic, "the check of a node panicked");
                        all.tell_panic(&reference(&*node), "node-lifecycle", &panic);
                    }
                }
            }
            clock::sleep(CHECK_EVERY).await;
        }
    });

    let nodes: WorkQueue<Key> = WorkQueue::new(&shared.crew);
    let q = nodes.clone();
    shared.nodes.on(move |change| q.add(change.key(), change.cause()));
    let all = Arc::new(shared.clone());
    shared.report_panics(&nodes, &shared.nodes, "node-taints");
    nodes.work("node-taints", 2, move |key, cause| {
        let shared = all.clone();
        async move {
            let Some(node) = shared.nodes.get(&key) else { return Ok(Outcome::Done) };
            let want = taints(&node, clock::now());
            let have = node.spec.as_ref().and_then(|s| s.taints.clone()).unwrap_or_default();
            if want != have {
                let patch = json!({"metadata": {"resourceVersion": node.metadata.resource_version}, "spec": {"taints": want}});
                let api = shared.config.client.caused_by(cause).cluster::<Node>();
                match api.patch(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await {
                    Ok(_) => {}
                    Err(error) if is_code(&error, 404) || is_code(&error, 409) => {}
                    Err(error) => return Err(Error::from(error)),
                }
            }
            Ok(Outcome::Done)
        }
    });

    let pods: WorkQueue<Key> = WorkQueue::new(&shared.crew);
    let q = pods.clone();
    shared.pods.on(move |change| q.add(change.key(), change.cause()));
    let (q, all) = (pods.clone(), shared.clone());
    shared.nodes.on(move |change| {
        let tainted = |n: &Node| n.spec.as_ref().and_then(|s| s.taints.clone()).unwrap_or_default();
        let moved = match change {
            crate::client::Change::Updated { old, new } => tainted(old) != tainted(new),
            _ => true,
        };
        if moved {
            let name = change.key().name;
            for pod in all.pods.list().iter().filter(|p| node_of(p) == name) {
                q.add(Key::of(&**pod), change.cause());
            }
        }
    });
    let all = Arc::new(shared.clone());
    shared.report_panics(&pods, &shared.pods, "taint-eviction");
    pods.work("taint-eviction", 4, move |key, cause| {
        let (shared, recorder) = (all.clone(), recorder.clone());
        async move {
            let Some(pod) = shared.pods.get(&key) else { return Ok(Outcome::Done) };
            let node = shared.nodes.get(&Key::new("", node_of(&pod)));
            if pod.metadata.deletion_timestamp.is_some() {
                return Ok(Outcome::Done);
            }
            let Some(node) = node else { return orphaned(&shared, &key, &pod).await };
            let taints = node.spec.as_ref().and_then(|s| s.taints.clone()).unwrap_or_default();
            let now = clock::now();
            let Some(at) = leaves_at(&pod, &taints, now) else { return Ok(Outcome::Done) };
            // Waits are scaled, timestamps are not: the time left counts from now.
            let left = Duration::try_from(at - now).unwrap_or_default();
            let since = taints.iter().filter_map(|t| t.time_added.as_ref()).map(|t| t.0).min().unwrap_or(now);
            let total = Duration::try_from(at - since).unwrap_or_default();
            let waited = Duration::try_from(now - since).unwrap_or_default();
            if !left.is_zero() && waited < clock::scaled(total) {
                return Ok(Outcome::After(left.min(total)));
            }
            let about = reference(&*pod);
            recorder.normal(
                &about,
                "TaintManagerEviction",
                format!("Marking for deletion Pod {key}"),
                cause.clone(),
            );
            let params = DeleteParams {
                preconditions: Some(Preconditions { uid: pod.metadata.uid.clone(), resource_version: None }),
                ..DeleteParams::default()
            };
            let client = shared.config.client.caused_by(cause.clone());
            match client.within::<Pod>(&key.namespace).delete(&key.name, &params).await {
                Err(error) if !(is_code(&error, 404) || is_code(&error, 409)) => {
                    return Err(Error::from(error));
                }
                _ => {}
            }
            shared.tap("node-controller").emit(super::record("evict", "pods", &key, &cause));
            Ok(Outcome::Done)
        }
    });
}

fn node_of(pod: &Pod) -> String {
    pod.spec.as_ref().and_then(|s| s.node_name.clone()).unwrap_or_default()
}

/// A pod bound to a node that does not exist (any more) is deleted by force: no kubelet will ever do it.
async fn orphaned(shared: &Shared, key: &Key, pod: &Pod) -> Result<Outcome, Error> {
    let node = node_of(pod);
    if node.is_empty() {
        return Ok(Outcome::Done);
    }
    if crate::client::optional(shared.config.client.cluster::<Node>().get(&node).await)?.is_some() {
        return Ok(Outcome::After(Duration::from_secs(5))); // the cache is behind
    }
    let params = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(Preconditions { uid: pod.metadata.uid.clone(), resource_version: None }),
        ..DeleteParams::default()
    };
    match shared.config.client.within::<Pod>(&key.namespace).delete(&key.name, &params).await {
        Err(error) if !(is_code(&error, 404) || is_code(&error, 409)) => Err(error.into()),
        _ => Ok(Outcome::Done),
    }
}

async fn check(
    shared: &Shared,
    recorder: &Recorder,
    node: &Arc<Node>,
    seen: &mut BTreeMap<String, (String, clock::Instant)>,
) -> Result<(), Error> {
    let name = node.metadata.name.clone().unwrap_or_default();
    let lease = shared.leases.get(&Key::new("kube-node-lease", name.clone()));
    let renewed = lease.and_then(|l| l.metadata.resource_version.clone());
    let status = node.status.clone().unwrap_or_default();
    let heartbeat =
        status.conditions.iter().flatten().filter_map(|c| c.last_heartbeat_time.as_ref()).map(|t| t.0).max();
    let sign = format!("{renewed:?} {heartbeat:?}");
    let now = clock::Instant::now();
    let entry = seen.entry(name.clone()).or_insert_with(|| (sign.clone(), now));
    if entry.0 != sign {
        *entry = (sign, now);
    }
    let silent = entry.1.elapsed();
    let ready = status.conditions.iter().flatten().find(|c| c.type_ == "Ready").map(|c| c.status.clone());
    if silent >= clock::scaled(GRACE) && ready.as_deref() != Some("Unknown") {
        let now = Time(clock::now());
        let conditions: Vec<_> = CONDITIONS
            .iter()
            .map(|kind| {
                let before = status.conditions.iter().flatten().find(|c| c.type_ == *kind);
                json!({
                    "type": kind, "status": "Unknown", "reason": "NodeStatusUnknown",
                    "message": "Kubelet stopped posting node status.",
                    "lastHeartbeatTime": before.and_then(|c| c.last_heartbeat_time.clone()),
                    "lastTransitionTime": now,
                })
            })
            .collect();
        let api = shared.config.client.cluster::<Node>();
        let patch = json!({"status": {"conditions": conditions}});
        api.patch_status(&name, &PatchParams::default(), &Patch::Strategic(patch)).await?;
        // What this controller wrote itself is no sign of life.
        entry.1 = clock::Instant::now() - clock::scaled(GRACE);
        let message = format!("Node {name} status is now: NodeNotReady");
        recorder.normal(&reference(&**node), "NodeNotReady", message, None);
        let record = Record::new("node-not-ready").object("nodes", "", &name).took(silent);
        shared.tap("node-controller").emit(record);
        mark_pods(shared, &name).await?;
    } else if ready.as_deref() == Some("False") {
        mark_pods(shared, &name).await?;
    }
    Ok(())
}

/// Pods of a node that is not ready are not ready either: services stop sending to them.
async fn mark_pods(shared: &Shared, node: &str) -> Result<(), Error> {
    for pod in shared.pods.list().iter().filter(|p| node_of(p) == node) {
        if super::pods::ready_since(pod).is_none() {
            continue;
        }
        let key = Key::of(&**pod);
        let condition = PodCondition {
            type_: "Ready".into(),
            status: "False".into(),
            last_transition_time: Some(Time(clock::now())),
            ..PodCondition::default()
        };
        let patch = json!({"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [condition]}});
        let api = shared.config.client.within::<Pod>(&key.namespace);
        match api.patch_status(&key.name, &PatchParams::default(), &Patch::Strategic(patch)).await {
            Err(error) if !(is_code(&error, 404) || is_code(&error, 409)) => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(ready: &str, unschedulable: bool) -> Node {
        serde_json::from_value(json!({
            "metadata": {"name": "n"},
            "spec": {"unschedulable": unschedulable, "taints": [{"key": "mine", "effect": "NoSchedule"}]},
            "status": {"conditions": [{"type": "Ready", "status": ready}]},
        }))
        .unwrap()
    }

    fn keys(taints: &[Taint]) -> Vec<String> {
        taints
            .iter()
            .map(|t| format!("{}:{}", t.key.trim_start_matches("node.kubernetes.io/"), t.effect))
            .collect()
    }

    #[test]
    fn taints_follow_the_conditions_and_leave_others_alone() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(keys(&taints(&node("True", false), now)), ["mine:NoSchedule"]);
        assert_eq!(keys(&taints(&node("True", true), now)), ["mine:NoSchedule", "unschedulable:NoSchedule"]);
        let gone = taints(&node("Unknown", false), now);
        assert_eq!(keys(&gone), ["mine:NoSchedule", "unreachable:NoSchedule", "unreachable:NoExecute"]);
        let mut back = node("True", false);
        back.spec.as_mut().unwrap().taints = Some(gone);
        assert_eq!(keys(&taints(&back, now)), ["mine:NoSchedule"]);
        let mut pressed = node("True", false);
        let low = json!({"type": "DiskPressure", "status": "True"});
        let conditions = pressed.status.as_mut().unwrap().conditions.as_mut().unwrap();
        conditions.push(serde_json::from_value(low).unwrap());
        let with = taints(&pressed, now);
        assert_eq!(keys(&with), ["mine:NoSchedule", "disk-pressure:NoSchedule"]);
        pressed.spec.as_mut().unwrap().taints = Some(with);
        pressed.status.as_mut().unwrap().conditions.as_mut().unwrap().pop();
        assert_eq!(keys(&taints(&pressed, now)), ["mine:NoSchedule"], "over");
    }

    #[test]
    fn pods_leave_when_their_tolerance_ends() {
        let added: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let taint = vec![Taint {
            key: UNREACHABLE.into(),
            effect: "NoExecute".into(),
            time_added: Some(Time(added)),
            value: None,
        }];
        let pod = |tolerations: serde_json::Value| -> Pod {
            serde_json::from_value(json!({"spec": {"containers": [], "tolerations": tolerations}})).unwrap()
        };
        let now = added + jiff::SignedDuration::from_secs(10);
        assert_eq!(leaves_at(&pod(json!([])), &taint, now), Some(now));
        let five_minutes = pod(
            json!([{"key": UNREACHABLE, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}]),
        );
        assert_eq!(leaves_at(&five_minutes, &taint, now), Some(added + jiff::SignedDuration::from_secs(300)));
        let long = pod(json!([{"operator": "Exists", "tolerationSeconds": i64::MAX}]));
        assert_eq!(leaves_at(&long, &taint, now), Some(Timestamp::MAX));
        assert_eq!(leaves_at(&pod(json!([{"operator": "Exists"}])), &taint, now), None);
        assert_eq!(leaves_at(&pod(json!([])), &[], now), None);
    }
}
