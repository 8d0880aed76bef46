//! NodeRestriction: what a kubelet may write (upstream: `plugin/pkg/admission/noderestriction`).
//! Its own Node without labels that say what may run there, mirror pods of itself, the status of
//! the pods that are bound to it, its own Lease.

use super::attributes::Attributes;
use crate::auth;
use crate::auth::node_authorizer::{DRIVER_SECRETS, LEASES, MIRROR};
use crate::request::context::Context;
use crate::state::State;
use crate::storage::extra::Extra;
use api::kinds::Kind;
use api::value::{self, at, flag, list, map, text};
use api::{Status, meta};
use serde_json::Value;
use std::collections::BTreeSet;

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
        ("Pod", "") => mirror_pod(a.state, node, object, a.old)?,
        ("Pod", "status") => pod_status(node, object, a.old.unwrap_or(&Value::Null)),
        // The deletion that follows an eviction was judged as one.
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

/// A static pod comes from a file on the node, without the API server. The kubelet creates a mirror
/// of it so that `kubectl get pods` shows it. Returns why this pod is no proper mirror: it has to
/// say so by its annotation, be bound to the node, be owned by the Node, and name no Secret or
/// other object.
///
/// # Errors
/// 404 if the Node does not exist.
fn mirror_pod(state: &State, node: &str, pod: &Value, old: Option<&Value>) -> Result<Option<String>, Status> {
    if old.is_some() {
        return Ok(Some(format!(
            "unexpected operation \"UPDATE\", node {node:?} can only create and delete mirror pods"
        )));
    }
    if meta::annotation(pod, MIRROR).is_none() {
        return Ok(Some(format!(
            "pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods"
        )));
    }
    if text(pod, "spec.nodeName") != node {
        return Ok(Some(format!("node {node:?} can only create pods with spec.nodeName set to itself")));
    }
    let owner = match list(pod, "metadata.ownerReferences") {
        [owner] => owner,
        [] => {
            return Ok(Some(format!(
                "node {node:?} can only create pods with an owner reference set to itself"
            )));
        }
        _ => {
            return Ok(Some(format!(
                "node {node:?} can only create pods with a single owner reference set to itself"
            )));
        }
    };
    let named = ["apiVersion", "kind", "name"].map(|field| text(owner, field));
    if named != ["v1", "Node", node] {
        return Ok(Some(format!("node {node:?} can only create pods with an owner reference set to itself")));
    }
    if !flag(owner, "controller") {
        return Ok(Some(format!(
            "node {node:?} can only create pods with a controller owner reference set to itself"
        )));
    }
    if flag(owner, "blockOwnerDeletion") {
        return Ok(Some(format!("node {node:?} must not set blockOwnerDeletion on an owner reference")));
    }
    let stored = state.cache.get("nodes", node).ok_or_else(|| Status::not_found("", "node", node))?;
    let (named, stored) = (text(owner, "uid"), meta::uid(&stored.value));
    if stored != named {
        // Upstream, too, calls the uid that the pod names the expected one.
        return Ok(Some(format!("node {node} UID mismatch: expected {named} got {stored}")));
    }
    Ok(references(pod).map(|what| format!("node {node:?} can not create pods that reference {what}")))
}

/// Returns what a mirror pod refers to and may not, because no user with rights to it has made the
/// pod (upstream: `HasAPIObjectReference`). The volumes are those for which a kubelet asks the API.
fn references(pod: &Value) -> Option<&'static str> {
    let volumes = || list(pod, "spec.volumes").iter();
    let sources = || volumes().flat_map(|v| list(v, "projected.sources"));
    let containers = || {
        ["initContainers", "containers", "ephemeralContainers"]
            .into_iter()
            .flat_map(|group| list(at(pod, "spec"), group))
    };
    let variable = |field: &str| {
        containers().flat_map(|c| list(c, "env")).any(|e| !at(at(e, "valueFrom"), field).is_null())
    };
    let all = |field: &str| containers().flat_map(|c| list(c, "envFrom")).any(|e| !at(e, field).is_null());
    let mounted = |field: &str| {
        volumes().any(|v| !at(v, field).is_null()) || sources().any(|s| !at(s, field).is_null())
    };
    let of_driver = || volumes().any(|v| DRIVER_SECRETS.iter().any(|path| !at(v, path).is_null()));
    let secrets = mounted("secret") || of_driver() || variable("secretKeyRef") || all("secretRef");
    match () {
        () if !text(pod, "spec.serviceAccountName").is_empty() => Some("serviceaccounts"),
        () if secrets || !list(pod, "spec.imagePullSecrets").is_empty() => Some("secrets"),
        () if mounted("configMap") || variable("configMapKeyRef") || all("configMapRef") => {
            Some("configmaps")
        }
        () if CLAIMS.iter().any(|path| !value::empty(pod, path)) => Some("resourceclaims"),
        () if mounted("csi") => Some("csidrivers (via CSI volumes)"),
        () if mounted("glusterfs") => Some("endpoints (via glusterFS volumes)"),
        () if mounted("persistentVolumeClaim") => Some("persistentvolumeclaims"),
        () if mounted("ephemeral") => Some("persistentvolumeclaims (via ephemeral volumes)"),
        () if mounted("serviceAccountToken") => Some("serviceaccounts (via projected volumes)"),
        () if mounted("clusterTrustBundle") => Some("clustertrustbundles"),
        () if mounted("podCertificate") => Some("podcertificates"),
        () => None,
    }
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
    // With another claim's name there the node could read that claim.
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

/// Judges a request for a token: it is for a pod on the node that runs as this account, and dies
/// with it.
pub(crate) fn token(
    state: &State,
    ctx: &Context,
    request: &Value,
    namespace: &str,
    account: &str,
) -> Result<(), Status> {
    super::check_node_name(&ctx.user, ("", "serviceaccounts"), account)?;
    let Some(node) = ctx.user.node() else { return Ok(()) };
    let refuse = |why: &str| Err(Status::forbidden("", "serviceaccounts", account, why));
    let bound = at(request, "spec.boundObjectRef");
    let (kind, name, uid) = (text(bound, "kind"), text(bound, "name"), text(bound, "uid"));
    if text(bound, "apiVersion") != "v1" || kind != "Pod" || name.is_empty() {
        return refuse("node requested token not bound to a pod");
    }
    if uid.is_empty() {
        return refuse("node requested token with a pod binding without a uid");
    }
    let Some(pod) = state.cache.get("pods", &format!("{namespace}/{name}")) else {
        return Err(Status::not_found("", "pods", name));
    };
    if meta::uid(&pod.value) != uid {
        return refuse(&format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
        ));
    }
    if text(&pod.value, "spec.nodeName") != node {
        return refuse("node requested token bound to a pod scheduled on a different node");
    }
    if text(&pod.value, "spec.serviceAccountName") != account {
        return refuse("node requested token bound to a pod that runs as a different service account");
    }
    match audience(state, ctx, list(request, "spec.audiences"), &pod.value) {
        None => Ok(()),
        Some(why) => refuse(&why),
    }
}

/// ServiceAccountNodeAudienceRestriction: a kubelet gets tokens for the audiences that its pod's
/// volumes ask for, and for those that a role allows it (verb
/// `request-serviceaccounts-token-audience`, resource: the audience). Otherwise a node that was
/// taken over could speak for its pods to any service that trusts the cluster's tokens.
fn audience(state: &State, ctx: &Context, asked: &[Value], pod: &Value) -> Option<String> {
    let audience = match asked {
        [] => "",
        [one] => one.as_str().unwrap_or_default(),
        _ => return Some("node may only request 0 or 1 audiences".to_string()),
    };
    let mut sources = list(pod, "spec.volumes").iter().flat_map(|v| list(v, "projected.sources"));
    let projected =
        sources.any(|s| s.get("serviceAccountToken").is_some_and(|t| text(t, "audience") == audience));
    let attributes = auth::attributes::Attributes {
        verb: "request-serviceaccounts-token-audience",
        resource: audience,
        namespace: meta::namespace(pod),
        name: text(pod, "spec.serviceAccountName"),
        ..auth::attributes::Attributes::RESOURCE
    };
    let is_allowed = projected || state.authorize(&ctx.user, &attributes).is_ok();
    (!is_allowed).then(|| {
        let user = &ctx.user.name;
        format!(
            "audience {audience:?} not found in pod spec volume, {user} is not authorized to request tokens for this audience"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn whatever_the_authorizer_takes_for_a_need_is_a_reference_that_a_mirror_pod_may_not_have() {
        let volume = |v: Value| json!({"spec": {"volumes": [v]}});
        for (pod, resource) in [
            (volume(json!({"csi": {"driver": "d", "nodePublishSecretRef": {"name": "x"}}})), "secrets"),
            (volume(json!({"secret": {"secretName": "x"}})), "secrets"),
            (volume(json!({"projected": {"sources": [{"secret": {"name": "x"}}]}})), "secrets"),
            (volume(json!({"configMap": {"name": "x"}})), "configmaps"),
            (volume(json!({"persistentVolumeClaim": {"claimName": "x"}})), "persistentvolumeclaims"),
            (volume(json!({"flexVolume": {"driver": "d", "secretRef": {"name": "x"}}})), "secrets"),
            (volume(json!({"azureFile": {"secretName": "x"}})), "secrets"),
            (json!({"spec": {"imagePullSecrets": [{"name": "x"}]}}), "secrets"),
        ] {
            assert!(crate::auth::node_authorizer::needs(&pod, resource, "x"), "{pod}");
            assert_eq!(references(&pod), Some(resource), "{pod}");
        }
    }

    /// CVE-2025-4563: a mirror pod with a claim's name would let its node read the claim.
    #[test]
    fn a_mirror_pod_names_no_claims_bundles_or_certificates() {
        let source = |s: Value| json!({"spec": {"volumes": [{"name": "v", "projected": {"sources": [s]}}]}});
        for (pod, what) in [
            (
                json!({"spec": {"resourceClaims": [{"name": "c", "resourceClaimName": "x"}]}}),
                "resourceclaims",
            ),
            (
                json!({"status": {"resourceClaimStatuses": [{"name": "c", "resourceClaimName": "x"}]}}),
                "resourceclaims",
            ),
            (source(json!({"clusterTrustBundle": {"name": "x", "path": "p"}})), "clustertrustbundles"),
            (source(json!({"podCertificate": {"signerName": "x"}})), "podcertificates"),
            (
                source(json!({"serviceAccountToken": {"path": "p"}})),
                "serviceaccounts (via projected volumes)",
            ),
        ] {
            assert_eq!(references(&pod), Some(what), "{pod}");
        }
        for (volume, what) in [
            (json!({"csi": {"driver": "d"}}), "csidrivers (via CSI volumes)"),
            (json!({"glusterfs": {"endpoints": "e", "path": "p"}}), "endpoints (via glusterFS volumes)"),
            (json!({"ephemeral": {}}), "persistentvolumeclaims (via ephemeral volumes)"),
        ] {
            assert_eq!(references(&json!({"spec": {"volumes": [volume]}})), Some(what), "{volume}");
        }
        assert_eq!(references(&source(json!({"downwardAPI": {}}))), None);
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
