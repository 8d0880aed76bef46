//! NodeRestriction: what a kubelet may write (upstream: `plugin/pkg/admission/noderestriction`).
//! Its own Node without labels that say what may run there, mirror pods of itself (`mirror_pods`),
//! the status of the pods that are bound to it, its own Lease, and tokens for its pods (`tokens`).

mod mirror_pods;
mod tokens;

use super::attributes::Attributes;
use crate::auth::node_authorizer::LEASES;
use crate::request::context::Context;
use crate::storage::extra::Extra;
use api::kinds::Kind;
use api::value::{self, at, list, map, text};
use api::{Status, meta};
use serde_json::Value;
use std::collections::BTreeSet;
pub(crate) use tokens::token;

/// Only administrators set these labels, so that pods which need a trusted node can rely on them.
const RESTRICTED: &str = "node-restriction.kubernetes.io";
/// Labels of Kubernetes' own that a kubelet may set.
const LABELS: [&str; 11] = [
    "kubernetes.io/hostname",
    "kubernetes.io/arch",
    "kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
];
/// Where a pod names ResourceClaims (dynamic resource allocation); its status says which claims
/// were made for it.
const CLAIMS: [&str; 3] =
    ["spec.resourceClaims", "status.resourceClaimStatuses", "status.extendedResourceClaimStatus"];
/// Set when a control-plane node registers, never later. With kubeadm an administrator's client
/// does it.
const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";
const ONLY_STATUS: &str = "may only update PVC status";

/// Judges a new or changed object. Users that are no node pass.
pub(super) fn check(a: &Attributes, object: &Value) -> Result<Extra, Status> {
    let Some(node) = a.ctx.user.node() else { return Ok(Extra::default()) };
    let subresource = a.ctx.info.subresource.as_str();
    let refused = match (a.kind.kind, subresource) {
        ("Node", _) => node_object(node, object, a.old),
        ("Pod", "") => mirror_pods::check(a.state, node, object, a.old)?,
        ("Pod", "status") => pod_status(node, object, a.old.unwrap_or(&Value::Null)),
        // `removal` has judged the deletion that follows the eviction.
        ("Pod", "eviction") => None,
        ("Pod", other) => {
            Some(format!("unexpected pod subresource {other:?}, only 'status' and 'eviction' are allowed"))
        }
        ("PersistentVolumeClaim", "status") => claim_status(node, object, a.old.unwrap_or(&Value::Null)),
        ("PersistentVolumeClaim", _) => Some(ONLY_STATUS.to_string()),
        ("Lease", _) => lease(node, object),
        _ => None,
    };
    match refused {
        None => Ok(Extra::default()),
        Some(why) => Err(a.forbidden(object, &why)),
    }
}

/// Returns the part of a label before the slash: `kubernetes.io` of `kubernetes.io/hostname`.
fn group(label: &str) -> &str {
    label.split_once('/').map_or("", |(group, _)| group)
}

fn is_below(group: &str, domain: &str) -> bool {
    group == domain || group.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
}

/// Returns whether a kubelet may not set this label.
///
/// ```text
/// node-restriction.kubernetes.io/team    restricted: pods rely on it
/// kubernetes.io/hostname                 free, it is in the list
/// kubernetes.io/made-up                  restricted: Kubernetes' own names
/// node.kubernetes.io/instance-type       free
/// example.com/disk                       free
/// ```
fn is_restricted(label: &str) -> bool {
    let group = group(label);
    let own = is_below(group, "kubernetes.io") || is_below(group, "k8s.io");
    let allowed = LABELS.contains(&label)
        || is_below(group, "kubelet.kubernetes.io")
        || is_below(group, "node.kubernetes.io");
    is_below(group, RESTRICTED) || own && !allowed
}

/// Returns the restricted labels that a write adds, changes or removes.
fn restricted_labels(new: &Value, old: Option<&Value>) -> Vec<String> {
    let labels = |node: &Value| map(node, "metadata.labels").cloned().unwrap_or_default();
    let (new, old) = (labels(new), old.map(labels).unwrap_or_default());
    let all: BTreeSet<&String> = new.keys().chain(old.keys()).collect();
    let changed = all.into_iter().filter(|label| new.get(*label) != old.get(*label));
    changed.filter(|label| is_restricted(label)).cloned().collect()
}

/// Returns why the write of a Node is refused. A kubelet that could take the taint off its own
/// Node, or set the label of another team, would draw pods with their Secrets to its machine.
fn node_object(node: &str, new: &Value, old: Option<&Value>) -> Option<String> {
    let mut labels = restricted_labels(new, old);
    if meta::name(new) != node {
        return Some(another_node(node, meta::name(new)));
    }
    let Some(old) = old else {
        labels.retain(|label| label != CONTROL_PLANE);
        return (!labels.is_empty()).then(|| {
            format!("node {node:?} is not allowed to set the following labels: {}", labels.join(", "))
        });
    };
    if list(new, "spec.taints") != list(old, "spec.taints") {
        return Some(format!("node {node:?} is not allowed to modify taints"));
    }
    if list(new, "metadata.ownerReferences") != list(old, "metadata.ownerReferences") {
        return Some(format!("node {node:?} is not allowed to modify ownerReferences"));
    }
    (!labels.is_empty()).then(|| format!("is not allowed to modify labels: {}", labels.join(", ")))
}

/// Returns why the write of a pod's status is refused. A kubelet writes the status of the pods that
/// are bound to its node. It may not change labels with it: a pod with other labels could be
/// counted by another ReplicaSet.
fn pod_status(node: &str, pod: &Value, old: &Value) -> Option<String> {
    if text(old, "spec.nodeName") != node {
        return Some(format!(
            "node {node:?} can only update pod status for pods with spec.nodeName set to itself"
        ));
    }
    if at(pod, "metadata.labels") != at(old, "metadata.labels") {
        return Some(format!("node {node:?} cannot update labels through pod status"));
    }
    // A node may read the ResourceClaims that the status of its pods names.
    CLAIMS[1..]
        .iter()
        .any(|path| at(pod, path) != at(old, path))
        .then(|| format!("node {node:?} cannot update resource claim statuses through pod status"))
}

/// Returns why the write of a claim's status is refused. A kubelet writes how far the growth of a
/// volume has come, and nothing else.
fn claim_status(node: &str, claim: &Value, old: &Value) -> Option<String> {
    let rest = |claim: &Value| {
        let mut rest = claim.clone();
        for path in [
            "metadata.managedFields",
            "metadata.resourceVersion",
            "status.capacity",
            "status.conditions",
            "status.allocatedResources",
            "status.allocatedResourceStatuses",
        ] {
            value::remove(&mut rest, path);
        }
        rest
    };
    (rest(claim) != rest(old)).then(|| {
        format!(
            "node {node:?} is not allowed to update fields other than status.capacity and status.conditions"
        )
    })
}

fn another_node(node: &str, name: &str) -> String {
    format!("node {node:?} is not allowed to modify node {name:?}")
}

/// Returns why the write of a Lease is refused. A kubelet renews its own: with another node's it
/// could make a dead node look alive.
fn lease(node: &str, lease: &Value) -> Option<String> {
    if meta::namespace(lease) != LEASES {
        return Some(format!("can only access leases in the {LEASES:?} system namespace"));
    }
    (meta::name(lease) != node)
        .then(|| "can only access node lease with the same name as the requesting node".to_string())
}

/// Judges a deletion, and an eviction, which is one. A role may give a kubelet more than the node
/// authorizer does; what belongs to others is still not its own.
pub(crate) fn removal(ctx: &Context, kind: &Kind, object: &Value) -> Result<(), Status> {
    let name = meta::name(object);
    super::check_node_name(&ctx.user, (kind.group, kind.plural), name)?;
    let Some(node) = ctx.user.node() else { return Ok(()) };
    let refused = match (kind.group, kind.kind) {
        ("", "Pod") if text(object, "spec.nodeName") == node => None,
        ("", "Pod") => Some(match ctx.info.subresource.as_str() {
            "eviction" => format!("node {node} can only evict pods with spec.nodeName set to itself"),
            _ => format!("node {node:?} can only delete pods with spec.nodeName set to itself"),
        }),
        ("", "Node") => (name != node).then(|| another_node(node, name)),
        ("", "PersistentVolumeClaim") => Some(ONLY_STATUS.to_string()),
        ("coordination.k8s.io", "Lease") => lease(node, object),
        _ => None,
    };
    match refused {
        None => Ok(()),
        Some(why) => Err(Status::forbidden(kind.group, kind.plural, name, &why)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// With another claim's name in the status the node could read that claim.
    #[test]
    fn a_kubelet_changes_no_claims_in_the_status_of_a_pod() {
        let status = |claims: Value| json!({"spec": {"nodeName": "n1"}, "status": {"phase": "Running", "resourceClaimStatuses": claims}});
        let (old, new) = (status(json!([])), status(json!([{"name": "c", "resourceClaimName": "x"}])));
        assert_eq!(
            pod_status("n1", &new, &old).as_deref(),
            Some("node \"n1\" cannot update resource claim statuses through pod status")
        );
        assert_eq!(pod_status("n1", &old, &old), None);
    }

    #[test]
    fn a_kubelet_writes_of_a_claim_only_how_large_it_is() {
        let claim = |field: &str, written: Value| {
            let mut claim = json!({"metadata": {"name": "c", "labels": {"a": "b"}}, "spec": {"volumeName": "v"},
                "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}});
            value::put(&mut claim, field, written);
            claim
        };
        let old = claim("status.phase", "Bound".into());
        for (field, written) in [
            ("status.capacity", json!({"storage": "2Gi"})),
            ("status.conditions", json!([{"type": "FileSystemResizePending", "status": "True"}])),
            ("status.allocatedResources", json!({"storage": "2Gi"})),
        ] {
            assert_eq!(claim_status("n1", &claim(field, written), &old), None, "{field}");
        }
        for (field, written) in [
            ("metadata.labels", json!({"a": "c"})),
            ("metadata.annotations", json!({"a": "c"})),
            ("metadata.ownerReferences", json!([{"name": "n1"}])),
            ("spec.volumeName", "w".into()),
            ("status.phase", "Lost".into()),
        ] {
            let why = claim_status("n1", &claim(field, written), &old).unwrap_or_default();
            assert!(why.contains("is not allowed to update fields other than status.capacity"), "{field}");
        }
    }

    #[test]
    fn labels_that_say_what_may_run_on_a_node_are_not_the_kubelets() {
        for free in [
            "disk",
            "example.com/x",
            "kubernetes.io/hostname",
            "node.kubernetes.io/x",
            "failure-domain.beta.kubernetes.io/zone",
            "sub.kubelet.kubernetes.io/x",
        ] {
            assert!(!is_restricted(free), "{free}");
        }
        for own in [
            "node-restriction.kubernetes.io/x",
            "a.node-restriction.kubernetes.io/x",
            "node-role.kubernetes.io/control-plane",
            "kubernetes.io/x",
            "failure-domain.kubernetes.io/zone",
            "x.k8s.io/y",
        ] {
            assert!(is_restricted(own), "{own}");
        }
        let node = |labels: Value| json!({"metadata": {"name": "n1", "labels": labels}});
        let role = node(json!({"node-role.kubernetes.io/control-plane": ""}));
        assert_eq!(node_object("n1", &role, None), None, "when it registers");
        assert_eq!(node_object("n1", &role, Some(&role)), None);
        let why = "is not allowed to modify labels: node-role.kubernetes.io/control-plane";
        assert_eq!(node_object("n1", &role, Some(&node(json!({})))).as_deref(), Some(why));
        assert_eq!(node_object("n1", &node(json!({})), Some(&role)).as_deref(), Some(why));
        let set = node_object("n1", &node(json!({"node-restriction.kubernetes.io/a": "b"})), None);
        assert_eq!(
            set.as_deref(),
            Some("node \"n1\" is not allowed to set the following labels: node-restriction.kubernetes.io/a")
        );
        let other = node_object("n2", &role, None);
        assert_eq!(other.as_deref(), Some("node \"n2\" is not allowed to modify node \"n1\""));
    }
}
