//! # DaemonSet: one pod on every node
//!
//! [`decide`] looks at every node: should the pod run there, and does it? The pod is bound to its node by an affinity, so that the scheduler still
//! places it. Revisions of the template are kept as ControllerRevisions for `rollout history`. Source: `pkg/controller/daemon`.

use super::amount;
use super::pods::{self, is_available, template_hash};
use super::revisions::{self, HASH};
use super::workload::{self, Look, PodOwner};
use super::{Error, Shared};
use crate::api::nodes::{self, tolerates};
use crate::client::{Change, Informer, Key, Outcome};
use crate::clock;
use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetSpec, DaemonSetStatus};
use k8s_openapi::api::core::v1::{
    Node, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodTemplateSpec,
    Toleration,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::json;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What every daemon pod tolerates: it belongs to the node, whatever state that is in.
const TOLERATED: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];

/// What to do on the nodes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Nodes that lack a pod.
    pub create: Vec<String>,
    /// Names of pods that are too many, on the wrong node, ended, or of an old revision.
    pub delete: Vec<String>,
}

/// Pure: should a daemon pod with this template run on the node, and may one that is there stay?
pub fn belongs(template: &PodTemplateSpec, node: &Node) -> (bool, bool) {
    let spec = template.spec.clone().unwrap_or_default();
    let empty = BTreeMap::new();
    let labels = node.metadata.labels.as_ref().unwrap_or(&empty);
    if !spec.node_selector.iter().flatten().all(|(k, v)| labels.get(k) == Some(v)) {
        return (false, false);
    }
    let required = spec.affinity.as_ref().and_then(|a| a.node_affinity.as_ref());
    let required = required.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
    let name = node.metadata.name.as_deref().unwrap_or_default();
    if required.is_some_and(|r| !r.node_selector_terms.iter().any(|term| nodes::fits(term, name, labels))) {
        return (false, false);
    }
    let mut tolerations = spec.tolerations.unwrap_or_default();
    tolerations.extend(tolerated());
    let taints = node.spec.as_ref().and_then(|s| s.taints.clone()).unwrap_or_default();
    let untolerated = |effect: &str| {
        taints.iter().any(|t| t.effect == effect && !tolerations.iter().any(|to| tolerates(to, t)))
    };
    let (schedule, execute) = (!untolerated("NoSchedule"), !untolerated("NoExecute"));
    (schedule && execute, execute)
}

fn tolerated() -> Vec<Toleration> {
    TOLERATED
        .iter()
        .map(|(key, effect)| Toleration {
            key: Some((*key).into()),
            effect: Some((*effect).into()),
            operator: Some("Exists".into()),
            ..Toleration::default()
        })
        .collect()
}

/// The node a daemon pod is for: where it runs, or where its affinity sends it.
pub fn target(pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    if let Some(node) = spec.node_name.clone().filter(|n| !n.is_empty()) {
        return Some(node);
    }
    let affinity = spec.affinity.as_ref()?.node_affinity.as_ref()?;
    let required = affinity.required_during_scheduling_ignored_during_execution.as_ref()?;
    let fields = required.node_selector_terms.iter().flat_map(|t| t.match_fields.iter().flatten());
    fields.filter(|f| f.key == "metadata.name").find_map(|f| f.values.as_ref()?.first().cloned())
}

/// Pure: which nodes need a pod, and which pods have to go. `hash` is the current revision's; `budget` of old pods may be replaced at a time.
pub fn decide(set: &DaemonSet, nodes: &[Arc<Node>], mine: &[Arc<Pod>], hash: &str, budget: usize) -> Plan {
    let template = set.spec.as_ref().map(|s| s.template.clone()).unwrap_or_default();
    let rolling = set.spec.as_ref().and_then(|s| s.update_strategy.as_ref()).and_then(|s| s.type_.as_deref())
        != Some("OnDelete");
    let mut plan = Plan::default();
    let mut by_node: BTreeMap<String, Vec<&Arc<Pod>>> = BTreeMap::new();
    for pod in mine.iter().filter(|p| p.metadata.deletion_timestamp.is_none()) {
        by_node.entry(target(pod).unwrap_or_default()).or_default().push(pod);
    }
    let name = |p: &Arc<Pod>| p.metadata.name.clone().unwrap_or_default();
    let is_old = |p: &Arc<Pod>| revisions::of_pod(p).is_none_or(|h| h != hash);
    let (mut unavailable, mut old_ready) = (0, Vec::new());
    for node in nodes {
        let node_name = node.metadata.name.clone().unwrap_or_default();
        let (run, stay) = belongs(&template, node);
        let mut here = by_node.remove(&node_name).unwrap_or_default();
        // An ended daemon pod is replaced by a new one.
        here.retain(|p| {
            let ended = matches!(pods::phase(p), "Succeeded" | "Failed");
            if ended {
                plan.delete.push(name(p));
            }
            !ended
        });
        if !stay || (!run && here.is_empty()) {
            plan.delete.extend(here.iter().map(|p| name(p)));
            continue;
        }
        let going = mine
            .iter()
            .any(|p| p.metadata.deletion_timestamp.is_some() && target(p).as_deref() == Some(&node_name));
        here.sort_by_key(|p| p.metadata.creation_timestamp.as_ref().map(|t| t.0));
        match here.split_first() {
            None if run && !going => {
                plan.create.push(node_name);
                unavailable += 1;
            }
            None => unavailable += 1,
            Some((first, rest)) => {
                plan.delete.extend(rest.iter().map(|p| name(p)));
                let ready = pods::ready_since(first).is_some();
                if is_old(first) && rolling {
                    match ready {
                        true => old_ready.push(name(first)),
                        false => plan.delete.push(name(first)), // it serves nobody anyway
                    }
                }
                unavailable += usize::from(!ready);
            }
        }
    }
    // Pods of nodes that are no more.
    plan.delete.extend(by_node.values().flatten().map(|p| name(p)));
    plan.delete.extend(old_ready.into_iter().take(budget.saturating_sub(unavailable)));
    plan
}

/// The controller of DaemonSets.
struct DaemonSets;

pub(crate) fn start(shared: &Shared) {
    let queue = workload::start::<DaemonSets>(shared);
    let all = shared.clone();
    shared.nodes.on(move |change| {
        let of = |n: &Node| (n.metadata.labels.clone(), n.spec.clone());
        if matches!(change, Change::Updated { old, new } if of(old) == of(new)) {
            return;
        }
        for set in all.daemon_sets.list() {
            queue.add(Key::of(&*set), change.cause());
        }
    });
}

impl PodOwner for DaemonSets {
    type Kind = DaemonSet;
    const COMPONENT: &'static str = "daemonset-controller";
    const WORKERS: usize = 2;

    fn informer(shared: &Shared) -> &Informer<DaemonSet> {
        &shared.daemon_sets
    }

    fn selector(set: &DaemonSet) -> Option<Cow<'_, LabelSelector>> {
        set.spec.as_ref().map(|s| Cow::Borrowed(&s.selector))
    }

    async fn sync(look: &Look<'_, DaemonSet>) -> Result<Outcome, Error> {
        let (set, hands) = (&look.object, &look.hands);
        let spec = set.spec.clone().unwrap_or_default();
        let mine = look.claim(&spec.selector).await?;
        let nodes = look.shared.nodes.list();
        let collisions = set.status.as_ref().and_then(|s| s.collision_count);
        let hash = template_hash(&spec.template, collisions.unwrap_or(0));
        if look.alive() {
            let live =
                |name: &str| mine.iter().filter_map(|p| revisions::of_pod(p)).any(|h| name.ends_with(h));
            revisions::keep(look, &spec.template, collisions, spec.revision_history_limit, live).await?;
        }
        let mut result = Ok(());
        if look.settled && look.alive() {
            let plan = decide(set, &nodes, &mine, &hash, budget(&spec, &nodes));
            let made: Vec<Pod> =
                plan.create.iter().map(|node| daemon(look, &spec.template, &hash, node)).collect();
            let doomed = pods::named(&mine, &plan.delete);
            let busy = !made.is_empty() || !doomed.is_empty();
            if !made.is_empty() && look.still_there().await? {
                result = hands.create_all(made).await;
            }
            if !doomed.is_empty() {
                result = hands.delete_all(&doomed).await.and(result);
            }
            if busy {
                look.did("reconcile", json!({"create": plan.create, "delete": plan.delete}));
            }
        }
        look.write_status(set.status.as_ref(), &status(set, &nodes, &mine, &hash, clock::now())).await?;
        result?;
        let seconds = spec.min_ready_seconds.unwrap_or(0);
        let next = mine.iter().filter_map(|p| pods::until_available(p, seconds)).min();
        Ok(next.map_or(Outcome::Done, Outcome::After))
    }
}

/// How many old pods may be replaced at a time: `maxUnavailable` of the nodes that run one.
fn budget(spec: &DaemonSetSpec, nodes: &[Arc<Node>]) -> usize {
    let rolling = spec.update_strategy.as_ref().and_then(|s| s.rolling_update.as_ref());
    let wanted = nodes.iter().filter(|n| belongs(&spec.template, n).0).count();
    let budget = rolling.and_then(|r| r.max_unavailable.as_ref());
    let budget = budget.and_then(|amount| amount::scaled(amount, wanted as i32, true));
    budget.unwrap_or(1).max(1) as usize
}

/// The pod for one node.
fn daemon(look: &Look<'_, DaemonSet>, template: &PodTemplateSpec, hash: &str, node: &str) -> Pod {
    let name = look.pod_name(&look.key.name);
    let mut pod = pods::from_template(template, name, &look.key.namespace, look.owner());
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(HASH.into(), hash.into());
    labels.insert("pod-template-generation".into(), look.object.metadata.generation.unwrap_or(1).to_string());
    send_to(&mut pod, node);
    pod
}

/// Pure: the status that nodes and pods give.
pub fn status(
    set: &DaemonSet,
    nodes: &[Arc<Node>],
    mine: &[Arc<Pod>],
    hash: &str,
    now: clock::Timestamp,
) -> DaemonSetStatus {
    let spec = set.spec.clone().unwrap_or_default();
    let seconds = spec.min_ready_seconds.unwrap_or(0);
    let (mut desired, mut current, mut wrong, mut ready, mut available, mut updated) = (0, 0, 0, 0, 0, 0);
    for node in nodes {
        let (run, _) = belongs(&spec.template, node);
        let here: Vec<&Arc<Pod>> = mine
            .iter()
            .filter(|p| target(p) == node.metadata.name && p.metadata.deletion_timestamp.is_none())
            .collect();
        if !run {
            wrong += i32::from(!here.is_empty());
            continue;
        }
        desired += 1;
        let Some(pod) = here.first() else { continue };
        current += 1;
        ready += i32::from(pods::ready_since(pod).is_some());
        available += i32::from(is_available(pod, seconds, now));
        updated += i32::from(revisions::of_pod(pod).is_some_and(|h| h == hash));
    }
    let some = |n: i32| (n > 0).then_some(n);
    DaemonSetStatus {
        current_number_scheduled: current,
        desired_number_scheduled: desired,
        number_misscheduled: wrong,
        number_ready: ready,
        number_available: some(available),
        number_unavailable: some(desired - available),
        updated_number_scheduled: some(updated),
        observed_generation: set.metadata.generation,
        collision_count: set.status.as_ref().and_then(|s| s.collision_count),
        conditions: set.status.as_ref().and_then(|s| s.conditions.clone()),
    }
}

/// Makes the scheduler put the pod on this node and no other.
fn send_to(pod: &mut Pod, node: &str) {
    let Some(spec) = &mut pod.spec else { return };
    let own = NodeSelectorRequirement {
        key: "metadata.name".into(),
        operator: "In".into(),
        values: Some(vec![node.into()]),
    };
    let affinity =
        spec.affinity.get_or_insert_default().node_affinity.get_or_insert_with(NodeAffinity::default);
    let required = affinity
        .required_during_scheduling_ignored_during_execution
        .get_or_insert_with(|| NodeSelector { node_selector_terms: vec![] });
    if required.node_selector_terms.is_empty() {
        required.node_selector_terms.push(NodeSelectorTerm::default());
    }
    for term in &mut required.node_selector_terms {
        term.match_fields = Some(vec![own.clone()]);
    }
    spec.tolerations.get_or_insert_default().extend(tolerated());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, taint: Option<&str>) -> Arc<Node> {
        let taints: Vec<_> = taint.iter().map(|t| json!({"key": t, "effect": "NoSchedule"})).collect();
        Arc::new(
            serde_json::from_value(
                json!({"metadata": {"name": name, "labels": {"os": "linux"}}, "spec": {"taints": taints}}),
            )
            .unwrap(),
        )
    }

    fn pod(name: &str, node: &str, hash: &str, ready: bool) -> Arc<Pod> {
        Arc::new(
            serde_json::from_value(json!({
                "metadata": {"name": name, "labels": {HASH: hash}}, "spec": {"nodeName": node, "containers": []},
                "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]},
            }))
            .unwrap(),
        )
    }

    fn set(selector: serde_json::Value) -> DaemonSet {
        serde_json::from_value(json!({"metadata": {"name": "d"}, "spec": {"selector": {}, "template": {"spec": {"containers": [], "nodeSelector": selector}}}})).unwrap()
    }

    #[test]
    fn every_fitting_node_gets_one_and_only_one() {
        let nodes = [
            node("a", None),
            node("b", None),
            node("cp", Some("control-plane")),
            node("c", Some("node.kubernetes.io/unschedulable")),
        ];
        let pods = [pod("p1", "a", "h", true), pod("p2", "a", "h", true), pod("p3", "gone", "h", true)];
        let plan = decide(&set(json!({})), &nodes, &pods, "h", 1);
        assert_eq!(plan.create, ["b", "c"]);
        assert_eq!(plan.delete, ["p2", "p3"]);
        assert!(decide(&set(json!({"os": "windows"})), &nodes, &[], "h", 1).create.is_empty());
    }

    #[test]
    fn an_update_replaces_one_at_a_time() {
        let nodes = [node("a", None), node("b", None)];
        let pods = [pod("p1", "a", "old", true), pod("p2", "b", "old", true)];
        assert_eq!(decide(&set(json!({})), &nodes, &pods, "new", 1).delete, ["p1"]);
        let half = [pod("p1", "a", "new", false), pod("p2", "b", "old", true)];
        assert!(decide(&set(json!({})), &nodes, &half, "new", 1).delete.is_empty());
        let s = status(&set(json!({})), &nodes, &half, "new", clock::now());
        assert_eq!((s.desired_number_scheduled, s.number_ready, s.updated_number_scheduled), (2, 1, Some(1)));
    }

    #[test]
    fn a_pod_knows_its_node_before_it_is_bound() {
        let mut p = (*pod("p", "", "h", false)).clone();
        send_to(&mut p, "n7");
        assert_eq!(target(&p).as_deref(), Some("n7"));
    }
}
