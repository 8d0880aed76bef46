//! # DaemonSet: one pod on every node
//!
//! [`decide`] looks at every node: should the pod run there, and does it? The pod is bound to its node by an affinity, so that the scheduler still
//! places it. Revisions of the template are kept as ControllerRevisions for `rollout history`. Source: `pkg/controller/daemon`.

use super::expectations::Expectations;
use super::pods::{self, Hands, is_available, owner_key, template_hash};
use super::{Error, Shared, record, reference};
use crate::client::{Change, Key, Outcome, Recorder, WorkQueue, is_code};
use crate::clock;
use crate::tap::Cause;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, DaemonSetStatus};
use k8s_openapi::api::core::v1::{
    Node, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodTemplateSpec, Taint,
    Toleration,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

const HASH: &str = "controller-revision-hash";
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
    let matches = |term: &NodeSelectorTerm| {
        term.match_expressions.iter().flatten().all(|r| {
            let (value, values) = (labels.get(&r.key), r.values.as_deref().unwrap_or_default());
            match r.operator.as_str() {
                "In" => value.is_some_and(|v| values.contains(v)),
                "NotIn" => value.is_none_or(|v| !values.contains(v)),
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
    };
    if required.is_some_and(|r| !r.node_selector_terms.iter().any(matches)) {
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

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let text = |s: &Option<String>| s.clone().unwrap_or_default();
    let (effect, key) = (text(&toleration.effect), text(&toleration.key));
    (effect.is_empty() || effect == taint.effect)
        && (key.is_empty() || key == taint.key)
        && (toleration.operator.as_deref() == Some("Exists")
            || (!key.is_empty() && text(&toleration.value) == text(&taint.value)))
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
    let is_old =
        |p: &Arc<Pod>| p.metadata.labels.as_ref().and_then(|l| l.get(HASH)).is_none_or(|h| h != hash);
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

pub(crate) fn start(shared: &Shared) {
    let queue: WorkQueue<Key> = WorkQueue::new(&shared.crew);
    let expectations = Expectations::default();
    let recorder = Recorder::new(&shared.crew, &shared.config.client, "daemonset-controller", "");
    let q = queue.clone();
    shared.daemon_sets.on(move |change| q.add(change.key(), change.cause()));
    let (q, seen) = (queue.clone(), expectations.clone());
    shared.pods.on(move |change| {
        let pod = change.object();
        let Some(owner) = owner_key(pod, "DaemonSet") else { return };
        let going = matches!(change, Change::Deleted(_)) || pod.metadata.deletion_timestamp.is_some();
        match going {
            true => seen.deleted(&owner, pod.metadata.uid.as_deref().unwrap_or_default()),
            false => seen.created(&owner, pod.metadata.name.as_deref().unwrap_or_default()),
        }
        q.add(owner, change.cause());
    });
    let (q, all) = (queue.clone(), shared.clone());
    shared.nodes.on(move |change| {
        let of = |n: &Node| (n.metadata.labels.clone(), n.spec.clone());
        if matches!(change, Change::Updated { old, new } if of(old) == of(new)) {
            return;
        }
        for set in all.daemon_sets.list() {
            q.add(Key::of(&*set), change.cause());
        }
    });
    let worker = Arc::new(Worker { shared: shared.clone(), expectations, recorder });
    queue.work("daemonset", 2, move |key, cause| {
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
        let Some(set) = self.shared.daemon_sets.get(&key) else {
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
        let mine = hands.claim(&spec.selector, &owner, alive).await?;
        let nodes = self.shared.nodes.list();
        let hash =
            template_hash(&spec.template, set.status.as_ref().and_then(|s| s.collision_count).unwrap_or(0));
        let wanted: Vec<&Arc<Node>> = nodes.iter().filter(|n| belongs(&spec.template, n).0).collect();
        if alive {
            self.keep_revision(&key, &set, &hash, &cause).await?;
        }
        let mut result = Ok(());
        if settled && alive {
            let rolling = spec.update_strategy.as_ref().and_then(|s| s.rolling_update.as_ref());
            let budget = match rolling.and_then(|r| r.max_unavailable.clone()) {
                Some(IntOrString::Int(n)) => n.max(0) as usize,
                Some(IntOrString::String(text)) => {
                    let percent: usize = text.trim_end_matches('%').parse().unwrap_or(0);
                    (wanted.len() * percent).div_ceil(100)
                }
                None => 1,
            };
            let plan = decide(&set, &nodes, &mine, &hash, budget.max(1));
            let made: Vec<Pod> = plan
                .create
                .iter()
                .map(|node| {
                    let name = format!("{}-{}", key.name, self.shared.config.rng.name_suffix(5));
                    let mut pod = pods::from_template(&spec.template, name, &key.namespace, owner.clone());
                    pod.metadata.labels.get_or_insert_default().insert(HASH.into(), hash.clone());
                    let generation = set.metadata.generation.unwrap_or(1).to_string();
                    pod.metadata
                        .labels
                        .get_or_insert_default()
                        .insert("pod-template-generation".into(), generation);
                    send_to(&mut pod, node);
                    pod
                })
                .collect();
            let doomed: Vec<Arc<Pod>> = mine
                .iter()
                .filter(|p| p.metadata.name.as_ref().is_some_and(|n| plan.delete.contains(n)))
                .cloned()
                .collect();
            let busy = !made.is_empty() || !doomed.is_empty();
            if !made.is_empty() {
                result = hands.create_all(made).await;
            }
            if !doomed.is_empty() {
                result = hands.delete_all(&doomed).await.and(result);
            }
            if busy {
                let detail = json!({"create": plan.create, "delete": plan.delete});
                let record = record("reconcile", "daemonsets", &key, &cause).took(start.elapsed());
                self.shared.tap("daemonset-controller").emit(record.detail(detail));
            }
        }
        self.write_status(&key, &set, &nodes, &mine, &hash, &cause).await?;
        result?;
        let seconds = spec.min_ready_seconds.unwrap_or(0);
        let next = mine.iter().filter_map(|p| pods::until_available(p, seconds)).min();
        Ok(next.map_or(Outcome::Done, Outcome::After))
    }

    /// The current template as a ControllerRevision; old ones beyond the limit go.
    async fn keep_revision(
        &self,
        key: &Key,
        set: &DaemonSet,
        hash: &str,
        cause: &Option<Cause>,
    ) -> Result<(), Error> {
        let api =
            self.shared.config.client.caused_by(cause.clone()).within::<ControllerRevision>(&key.namespace);
        let owned = |r: &Arc<ControllerRevision>| {
            pods::controller_of(&r.metadata).is_some_and(|o| Some(&o.uid) == set.metadata.uid.as_ref())
        };
        let mut all: Vec<Arc<ControllerRevision>> =
            self.shared.revisions.within(&key.namespace).into_iter().filter(owned).collect();
        all.sort_by_key(|r| r.revision);
        let newest = all.last().map_or(0, |r| r.revision);
        let name = format!("{}-{hash}", key.name);
        match all.iter().find(|r| r.metadata.name.as_deref() == Some(&name)) {
            Some(current) if current.revision == newest => {}
            Some(_) => {
                let patch = json!({"revision": newest + 1}); // a rollback: the old one is the newest again
                api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await?;
            }
            None => {
                let spec = set.spec.clone().unwrap_or_default();
                let mut template = serde_json::to_value(&spec.template).unwrap_or_default();
                template["$patch"] = json!("replace");
                let mut labels = spec.template.metadata.and_then(|m| m.labels).unwrap_or_default();
                labels.insert(HASH.into(), hash.into());
                let revision = ControllerRevision {
                    metadata: ObjectMeta {
                        name: Some(name),
                        namespace: Some(key.namespace.clone()),
                        labels: Some(labels),
                        annotations: set.metadata.annotations.clone().map(|mut a| {
                            a.remove("kubectl.kubernetes.io/last-applied-configuration");
                            a
                        }),
                        owner_references: Some(vec![pods::owned_by(set)]),
                        ..ObjectMeta::default()
                    },
                    data: Some(RawExtension(json!({"spec": {"template": template}}))),
                    revision: newest + 1,
                };
                match api.create(&PostParams::default(), &revision).await {
                    Ok(_) => {}
                    Err(error) if is_code(&error, 409) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        let limit = set.spec.as_ref().and_then(|s| s.revision_history_limit).unwrap_or(10).max(0) as usize;
        for old in all.iter().take(all.len().saturating_sub(limit + 1)) {
            let name = old.metadata.name.clone().unwrap_or_default();
            match api.delete(&name, &DeleteParams::default()).await {
                Err(error) if !is_code(&error, 404) => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }

    async fn write_status(
        &self,
        key: &Key,
        set: &DaemonSet,
        nodes: &[Arc<Node>],
        mine: &[Arc<Pod>],
        hash: &str,
        cause: &Option<Cause>,
    ) -> Result<(), Error> {
        let fresh = status(set, nodes, mine, hash, clock::now());
        if set.status.as_ref() == Some(&fresh) {
            return Ok(());
        }
        let mut patch = json!({"metadata": {"uid": set.metadata.uid}, "status": {
            "updatedNumberScheduled": null, "numberAvailable": null, "numberUnavailable": null,
        }});
        if let (Some(all), Ok(serde_json::Value::Object(new))) =
            (patch["status"].as_object_mut(), serde_json::to_value(&fresh))
        {
            all.extend(new);
        }
        let api = self.shared.config.client.caused_by(cause.clone()).within::<DaemonSet>(&key.namespace);
        match api.patch_status(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Err(error) if !(is_code(&error, 404) || is_code(&error, 409)) => Err(error.into()),
            _ => Ok(()),
        }
    }
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
        updated +=
            i32::from(pod.metadata.labels.as_ref().and_then(|l| l.get(HASH)).is_some_and(|h| h == hash));
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
