//! Mirror pods: which ones a kubelet may create.

use super::CLAIMS;
use crate::auth::node_authorizer::{MIRROR, names_secret};
use crate::state::State;
use api::value::{self, at, flag, list, text};
use api::{Status, meta};
use serde_json::Value;

/// Returns why a kubelet may not write this pod. A static pod comes from a file on the node,
/// without the API server. The kubelet creates a mirror of it so that `kubectl get pods` shows it.
/// A mirror says so by its annotation, is bound to the node, is owned by the Node, and names no
/// Secret or other object.
///
/// # Errors
/// 404 if the Node does not exist.
pub(super) fn check(
    state: &State,
    node: &str,
    pod: &Value,
    old: Option<&Value>,
) -> Result<Option<String>, Status> {
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
    let has_name = |reference: &Value| !text(reference, "name").is_empty();
    let variable = |field: &str| {
        containers().flat_map(|c| list(c, "env")).any(|e| has_name(at(at(e, "valueFrom"), field)))
    };
    let all = |field: &str| containers().flat_map(|c| list(c, "envFrom")).any(|e| has_name(at(e, field)));
    let mounted = |field: &str| {
        volumes().any(|v| !at(v, field).is_null()) || sources().any(|s| !at(s, field).is_null())
    };
    let of_volumes = || mounted("secret") || mounted("azureFile") || volumes().any(names_secret);
    let to_pull = || list(pod, "spec.imagePullSecrets").iter().any(has_name);
    let secrets = of_volumes() || variable("secretKeyRef") || all("secretRef") || to_pull();
    match () {
        () if !text(pod, "spec.serviceAccountName").is_empty() => Some("serviceaccounts"),
        () if secrets => Some("secrets"),
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
        // A reference without a name gives the node nothing.
        let variable = json!({"valueFrom": {"secretKeyRef": {"key": "k", "optional": true}}});
        for pod in [
            volume(json!({"flexVolume": {"driver": "d", "secretRef": {}}})),
            json!({"spec": {"imagePullSecrets": [{}, {"name": ""}]}}),
            json!({"spec": {"containers": [{"env": [variable], "envFrom": [{"configMapRef": {}}]}]}}),
        ] {
            assert_eq!(references(&pod), None, "{pod}");
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
    }
}
