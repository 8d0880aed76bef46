//! A node and what the pods on it take: what filters and scores look at.

use api::host_ports::{self, HostPort};
use api::requests::{self, Amount, Field, Scalars};
use k8s_openapi::api::core::v1::{Node, Pod, Taint};
use std::collections::{BTreeMap, BTreeSet};

/// A node and what is already on it.
///
/// Two nodes with 2 CPU and 4Gi; on `n2` runs a pod that requests 1 CPU and 1Gi. The next such pod
/// (the script `golden/resources`):
///
/// ```text
///      filter NodeResourcesFit   score NodeResourcesFit: what would be free, in percent
/// n1   0 + 1 of 2 CPU: fits      cpu 50, memory 75: 62
/// n2   1 + 1 of 2 CPU: fits      cpu  0, memory 50: 25
/// ```
///
/// `n1` is chosen. What pods request counts, and not what they use: a node whose pods are idle can
/// be full. For the score a container that requests nothing counts 100m and 200Mi, or any number of
/// such pods would go to the same node.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct NodeInfo {
    pub name: String,
    /// The resourceVersion of the Node. The Binding carries it: see `queue/binding`.
    pub version: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub taints: Vec<Taint>,
    pub unschedulable: bool,
    pub allocatable: Amount,
    /// Requests of the pods on it, and their number.
    pub requested: Amount,
    /// The requests of the pods on it, with defaults for those that request nothing; for scores
    /// only.
    pub nonzero: Amount,
    /// Extended resources and huge pages: what there is, and what the pods on it request.
    pub scalars: Scalars,
    pub requested_scalars: Scalars,
    /// Host ports in use.
    pub ports: BTreeSet<HostPort>,
    /// Pods by their controller's uid.
    pub siblings: BTreeMap<String, i64>,
}

impl NodeInfo {
    /// Reads a node, with no pods on it.
    pub(crate) fn of(node: &Node) -> NodeInfo {
        let (spec, status) = (node.spec.clone().unwrap_or_default(), node.status.clone().unwrap_or_default());
        let given = status.allocatable.as_ref().map(requests::parsed).unwrap_or_default();
        NodeInfo {
            name: node.metadata.name.clone().unwrap_or_default(),
            version: node.metadata.resource_version.clone(),
            labels: node.metadata.labels.clone().unwrap_or_default(),
            taints: spec.taints.unwrap_or_default(),
            unschedulable: spec.unschedulable.unwrap_or(false),
            allocatable: Amount::of(&given),
            scalars: requests::scalars(&given),
            ..NodeInfo::default()
        }
    }

    /// Counts a pod as being on the node.
    #[cfg(test)]
    pub(crate) fn add(&mut self, pod: &Pod) {
        self.count(&Share::of(pod));
    }

    /// Counts what a pod takes of the node.
    pub(crate) fn count(&mut self, share: &Share) {
        self.requested = self.requested.and(share.requested);
        self.nonzero = self.nonzero.and(share.nonzero);
        for (name, amount) in &share.scalars {
            let used = self.requested_scalars.entry(name.clone()).or_default();
            *used = used.saturating_add(*amount);
        }
        self.ports.extend(share.ports.iter().cloned());
        if let Some(owner) = &share.owner {
            *self.siblings.entry(owner.clone()).or_default() += 1;
        }
    }
}

/// The part of a node that one pod takes.
#[derive(Debug, PartialEq)]
pub(crate) struct Share {
    requested: Amount,
    /// With defaults for what it does not request.
    nonzero: Amount,
    /// Extended resources and huge pages.
    scalars: Scalars,
    ports: Vec<HostPort>,
    /// The uid of its controller, of which it is one more pod on the node.
    owner: Option<String>,
}

impl Share {
    /// Computes what a pod takes.
    pub(crate) fn of(pod: &Pod) -> Share {
        Share {
            requested: Amount::of_pod(pod),
            nonzero: Amount::of_pod_at_least(pod),
            scalars: scalars_of(pod),
            ports: host_ports::of_pod(pod),
            // One that is on its way out is no reason to avoid its node (`countPodsMatchSelector`
            // upstream).
            owner: controller(pod).filter(|_| pod.metadata.deletion_timestamp.is_none()),
        }
    }
}

/// Returns the extended resources and huge pages that a pod requests.
pub(crate) fn scalars_of(pod: &Pod) -> Scalars {
    requests::scalars(&requests::of_pod(pod, Field::Requests))
}

/// Returns the uid of the pod's controller.
pub(crate) fn controller(pod: &Pod) -> Option<String> {
    let owners = pod.metadata.owner_references.as_ref()?;
    owners.iter().find(|o| o.controller == Some(true)).map(|o| o.uid.clone())
}
