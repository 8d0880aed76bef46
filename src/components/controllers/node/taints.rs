//! The taints that follow from a node's conditions and from `spec.unschedulable`.

use crate::error::Error;
use crate::shared::Shared;
use crate::write::unless_gone;
use client::{Key, Outcome, WorkQueue};
use clock::{self, Timestamp};
use k8s_openapi::api::core::v1::{Node, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use std::sync::Arc;
use tap::Cause;

/// The taint of a node whose condition Ready is False, or was never reported.
pub(crate) const NOT_READY: &str = "node.kubernetes.io/not-ready";
/// The taint of a node whose condition Ready is Unknown: its kubelet is silent.
pub(crate) const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// Conditions that keep new pods away while they are True.
const PRESSURES: [(&str, &str); 4] = [
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "node.kubernetes.io/network-unavailable"),
];

/// Returns the status of the condition Ready; `None`: the kubelet has never reported it.
pub(super) fn ready(node: &Node) -> Option<&str> {
    let mut conditions = node.status.iter().flat_map(|s| s.conditions.iter().flatten());
    conditions.find(|c| c.type_ == "Ready").map(|c| c.status.as_str())
}

/// Pure: the taints a node should have, given those it has. Taints of others stay as they are, also
/// those with a well-known key and an effect that this controller does not write, for example
/// `node.kubernetes.io/disk-pressure:NoExecute`.
///
/// A node whose condition Ready was never reported takes no new pods, but loses none: its kubelet
/// may be starting.
///
/// ```text
/// Ready True                          no taint
/// Ready False (the runtime is down)   not-ready:NoSchedule, not-ready:NoExecute
/// Ready Unknown (silent)              unreachable:NoSchedule, unreachable:NoExecute
/// kubectl cordon                      unschedulable:NoSchedule
/// DiskPressure True                   disk-pressure:NoSchedule
/// ```
///
/// Why taints and not the conditions themselves: pods can tolerate a taint, and say for how long.
/// The scheduler reads taints only. A taint that the node has already keeps its `timeAdded`.
pub(super) fn taints(node: &Node, now: Timestamp) -> Vec<Taint> {
    let spec = node.spec.clone().unwrap_or_default();
    let condition = |kind: &str| {
        let mut all = node.status.iter().flat_map(|s| s.conditions.iter().flatten());
        all.find(|c| c.type_ == kind).map_or("Unknown", |c| c.status.as_str())
    };
    let mut want: Vec<(&str, &str)> = match ready(node) {
        Some("True") => vec![],
        Some("False") => vec![(NOT_READY, "NoSchedule"), (NOT_READY, "NoExecute")],
        Some(_) => vec![(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")],
        None => vec![(NOT_READY, "NoSchedule")],
    };
    if spec.unschedulable == Some(true) {
        want.push((UNSCHEDULABLE, "NoSchedule"));
    }
    let pressed = PRESSURES.iter().filter(|(kind, _)| condition(kind) == "True");
    want.extend(pressed.map(|(_, key)| (*key, "NoSchedule")));
    let ours = |t: &Taint| {
        let key = t.key.as_str();
        let follows_ready = [NOT_READY, UNREACHABLE].contains(&key);
        match t.effect.as_str() {
            "NoSchedule" => follows_ready || key == UNSCHEDULABLE || PRESSURES.iter().any(|p| p.1 == key),
            "NoExecute" => follows_ready,
            _ => false,
        }
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

pub(super) fn start(shared: &Shared) {
    let nodes: WorkQueue<Key> = WorkQueue::new(&shared.crew);
    let q = nodes.clone();
    shared.informer::<Node>().on(move |change| q.add(change.key(), change.cause()));
    let all = Arc::new(shared.clone());
    shared.report_panics(&nodes, shared.informer::<Node>(), "node-taints");
    nodes.work("node-taints", 2, move |key, cause| {
        let shared = all.clone();
        async move { sync(&shared, &key, cause).await }
    });
}

/// Writes the taints that a node should have, if it has others.
async fn sync(shared: &Shared, key: &Key, cause: Option<Cause>) -> Result<Outcome, Error> {
    let Some(node) = shared.informer::<Node>().get(key) else { return Ok(Outcome::Done) };
    let want = taints(&node, clock::now());
    let have = node.spec.as_ref().and_then(|s| s.taints.clone()).unwrap_or_default();
    if want != have {
        // Users write the list, too: over another version than this one it would undo their change.
        let holds = json!({"uid": node.metadata.uid, "resourceVersion": node.metadata.resource_version});
        let patch = Patch::Merge(json!({"metadata": holds, "spec": {"taints": want}}));
        let api = shared.config.client.caused_by(cause).cluster::<Node>();
        unless_gone(api.patch(&key.name, &PatchParams::default(), &patch).await)?;
    }
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::testing::Scripted;

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
        let mut cut_off = node("True", false);
        let no_network = json!({"type": "NetworkUnavailable", "status": "True"});
        let conditions = cut_off.status.as_mut().unwrap().conditions.as_mut().unwrap();
        conditions.push(serde_json::from_value(no_network).unwrap());
        assert_eq!(keys(&taints(&cut_off, now)), ["mine:NoSchedule", "network-unavailable:NoSchedule"]);
    }

    #[test]
    fn a_well_known_key_with_an_effect_that_no_condition_brings_stays() {
        let pressure = "node.kubernetes.io/disk-pressure";
        for (key, effect, stays) in [
            (pressure, "NoSchedule", false),
            (pressure, "NoExecute", true),
            (UNSCHEDULABLE, "NoSchedule", false),
            (UNSCHEDULABLE, "PreferNoSchedule", true),
            (NOT_READY, "PreferNoSchedule", true),
            (UNREACHABLE, "NoExecute", false),
        ] {
            let taint = Taint { key: key.into(), effect: effect.into(), ..Taint::default() };
            let mut healthy = node("True", false);
            healthy.spec.as_mut().unwrap().taints = Some(vec![taint.clone()]);
            let want = if stays { vec![taint] } else { vec![] };
            assert_eq!(taints(&healthy, Timestamp::UNIX_EPOCH), want, "{key}:{effect}");
        }
    }

    #[test]
    fn a_node_whose_status_was_never_reported_takes_no_pods_and_loses_none() {
        let fresh: Node = serde_json::from_value(json!({"metadata": {"name": "n"}})).unwrap();
        assert_eq!(keys(&taints(&fresh, Timestamp::UNIX_EPOCH)), ["not-ready:NoSchedule"]);
    }

    #[tokio::test]
    async fn the_list_is_written_over_the_version_that_was_read_and_no_other() {
        let server = Scripted::new(|_| None).await;
        let shared = Shared::fixed(&server.client);
        let mut cordoned = node("True", true);
        cordoned.metadata.uid = Some("u".into());
        cordoned.metadata.resource_version = Some("5".into());
        shared.informer::<Node>().show(cordoned.clone());
        sync(&shared, &Key::new("", "n"), None).await.unwrap();
        let asked = server.take();
        assert_eq!((asked.len(), asked[0].line.as_str()), (1, "PATCH /api/v1/nodes/n"));
        let body = &asked[0].body;
        assert_eq!(body["metadata"], json!({"uid": "u", "resourceVersion": "5"}));
        let written: Vec<Taint> = serde_json::from_value(body["spec"]["taints"].clone()).unwrap();
        assert_eq!(keys(&written), ["mine:NoSchedule", "unschedulable:NoSchedule"]);
        cordoned.spec.as_mut().unwrap().taints = Some(written);
        cordoned.metadata.resource_version = Some("6".into());
        shared.informer::<Node>().show(cordoned);
        sync(&shared, &Key::new("", "n"), None).await.unwrap();
        assert_eq!(server.lines(), [""; 0], "nothing is left to write");
    }
}
