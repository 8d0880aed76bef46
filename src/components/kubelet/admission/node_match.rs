//! Compares a node with what a pod asks for and tolerates: its operating system, labels,
//! `NoExecute` taints and extended resources. Pure; a part of [`super::admission`].
//!
//! ```text
//! os: {name: windows}                                  -> PodOSNotSupported
//! nodeSelector disk=ssd, node disk=hdd                 -> NodeAffinity
//! taint dedicated=db:NoExecute, no toleration          -> TaintToleration
//! requests example.com/dongle 2, node has 4, 3 in use  -> OutOfexample.com/dongle
//! requests example.com/other 1, node knows none        -> admitted: counted for the cluster
//! ```

use crate::config::Config;
use crate::status::Failure;
use api::nodes::{fits, tolerates};
use api::requests::{self, Field, Scalars, scalars};
use k8s_openapi::api::core::v1::{Node, Pod, Taint};
use std::collections::BTreeMap;

/// Facts of a Node object that a pod is compared with.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodeFacts {
    name: String,
    labels: BTreeMap<String, String>,
    taints: Vec<Taint>,
    /// Extended resources that pods may request together, in units.
    scalars: Scalars,
}

impl NodeFacts {
    /// Reads the facts of the Node object that the API has.
    pub(crate) fn of_node(node: &Node) -> NodeFacts {
        let allocatable = node.status.as_ref().and_then(|s| s.allocatable.as_ref());
        NodeFacts {
            name: node.metadata.name.clone().unwrap_or_default(),
            labels: node.metadata.labels.clone().unwrap_or_default(),
            taints: node.spec.as_ref().and_then(|s| s.taints.clone()).unwrap_or_default(),
            scalars: allocatable.map(|all| scalars(&requests::parsed(all))).unwrap_or_default(),
        }
    }

    /// Returns what the kubelet would register, for a node that the API does not have.
    pub(crate) fn of_config(config: &Config) -> NodeFacts {
        NodeFacts {
            name: config.node_name.clone(),
            labels: config.labels.clone(),
            taints: config.taints.clone(),
            scalars: Scalars::new(),
        }
    }
}

fn asks(pod: &Pod) -> Scalars {
    scalars(&requests::of_pod(pod, Field::Requests))
}

/// Rejects a pod that requests more of an extended resource than its node has left. One that the
/// node does not have at all may be a resource of the whole cluster, which others count
/// (`removeMissingExtendedResources` upstream).
pub(crate) fn lack(pod: &Pod, others: &[&Pod], node: &NodeFacts) -> Option<Failure> {
    let mut wanted = asks(pod);
    wanted.retain(|name, asked| {
        *asked > 0 && (!requests::is_extended(name) || node.scalars.contains_key(name))
    });
    if wanted.is_empty() {
        return None;
    }
    let mut used = Scalars::new();
    for (name, amount) in others.iter().flat_map(|other| asks(other)) {
        let sum = used.entry(name).or_default();
        *sum = sum.saturating_add(amount);
    }
    let first = requests::lacking_scalars(&wanted, &used, &node.scalars).into_iter().next()?;
    let of = |all: &Scalars| all.get(&first).copied().unwrap_or(0);
    let (requested, used, capacity) = (of(&wanted), of(&used), of(&node.scalars));
    let message = format!(
        "Node didn't have enough resource: {first}, requested: {requested}, used: {used}, capacity: {capacity}"
    );
    Some(Failure::rejected(format!("OutOf{first}"), message))
}

fn predicate(name: &str, why: &str) -> Failure {
    Failure::rejected(name, format!("Predicate {name} failed: {why}"))
}

/// Rejects a pod that says, by its field `os` or by a label, that it is for another operating
/// system. Source: `Admit` in `pkg/kubelet/lifecycle/predicate.go`.
pub(crate) fn other_os(pod: &Pod) -> Option<Failure> {
    let label = pod.metadata.labels.as_ref().and_then(|labels| labels.get("kubernetes.io/os"));
    if label.is_some_and(|os| os != "linux") {
        let message = "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label";
        return Some(Failure::rejected("PodOSSelectorNodeLabelDoesNotMatch", message.to_string()));
    }
    let os = pod.spec.as_ref()?.os.as_ref()?;
    let message = "Failed to admit pod as the OS field doesn't match node OS";
    (os.name != "linux").then(|| Failure::rejected("PodOSNotSupported", message.to_string()))
}

/// Rejects a pod whose `nodeSelector` or required node affinity its node does not meet.
pub(crate) fn mismatch(pod: &Pod, node: &NodeFacts) -> Option<Failure> {
    let spec = pod.spec.as_ref()?;
    let selected = spec.node_selector.iter().flatten().all(|(k, v)| node.labels.get(k) == Some(v));
    let affinity = spec.affinity.as_ref().and_then(|a| a.node_affinity.as_ref());
    let required = affinity.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
    let met =
        required.is_none_or(|r| r.node_selector_terms.iter().any(|t| fits(t, &node.name, &node.labels)));
    let why = "node(s) didn't match Pod's node affinity/selector";
    (!selected || !met).then(|| predicate("NodeAffinity", why))
}

/// Rejects a pod that does not tolerate a `NoExecute` taint of its node: it would be evicted at
/// once.
pub(crate) fn taint(pod: &Pod, node: &NodeFacts) -> Option<Failure> {
    let tolerations = pod.spec.as_ref().and_then(|s| s.tolerations.as_deref()).unwrap_or_default();
    let mut ending = node.taints.iter().filter(|taint| taint.effect == "NoExecute");
    let why = "node(s) had taints that the pod didn't tolerate";
    ending
        .any(|taint| !tolerations.iter().any(|one| tolerates(one, taint)))
        .then(|| predicate("TaintToleration", why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(spec: Value) -> Pod {
        let mut all = json!({"containers": [{"name": "c"}]});
        all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        serde_json::from_value(json!({"spec": all})).unwrap()
    }

    fn wants(dongles: &str, others: &str) -> Pod {
        let requests = json!({"example.com/dongle": dongles, "example.com/other": others});
        pod(json!({"containers": [{"name": "c", "resources": {"requests": requests}}]}))
    }

    #[test]
    fn a_pod_is_rejected_by_a_node_that_it_does_not_ask_for() {
        let node: Node = serde_json::from_value(json!({
            "metadata": {"name": "n1", "labels": {"disk": "hdd"}},
            "spec": {"taints": [
                {"key": "dedicated", "value": "db", "effect": "NoExecute"},
                {"key": "old", "effect": "NoSchedule"},
            ]},
            "status": {"allocatable": {"cpu": "2", "example.com/dongle": "4"}},
        }))
        .unwrap();
        let node = NodeFacts::of_node(&node);
        let no = |failure: Option<Failure>| failure.map(|f| format!("{}: {}", f.reason, f.message));
        let term = |value: &str| {
            let term = json!({"matchExpressions": [{"key": "disk", "operator": "In", "values": [value]}]});
            let required = json!({"nodeSelectorTerms": [term]});
            json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}})
        };
        let affinity =
            "NodeAffinity: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector";
        for (spec, want) in [
            (json!({}), None),
            (json!({"nodeSelector": {"disk": "hdd"}}), None),
            (json!({"nodeSelector": {"disk": "ssd"}}), Some(affinity.to_string())),
            (term("hdd"), None),
            (term("ssd"), Some(affinity.to_string())),
        ] {
            assert_eq!(no(mismatch(&pod(spec.clone()), &node)), want, "{spec}");
        }
        let untolerated = "TaintToleration: Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate";
        assert_eq!(no(taint(&pod(json!({})), &node)).as_deref(), Some(untolerated));
        let tolerates = json!({"tolerations": [{"key": "dedicated", "operator": "Exists"}]});
        assert_eq!(no(taint(&pod(tolerates), &node)), None, "the other taint is the scheduler's");
        let (three, two) = (wants("3", "0"), wants("2", "7"));
        assert_eq!(no(lack(&two, &[], &node)), None, "a resource that the node does not have");
        let dongle = "OutOfexample.com/dongle: Node didn't have enough resource: example.com/dongle, \
                      requested: 2, used: 3, capacity: 4";
        assert_eq!(no(lack(&two, &[&three], &node)).as_deref(), Some(dongle));
    }
}
