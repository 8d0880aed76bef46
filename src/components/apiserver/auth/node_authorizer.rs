//! The node authorizer: what a kubelet may do (upstream: `plugin/pkg/auth/authorizer/node`).
//!
//! A kubelet runs on a machine that its pods may take over, so its certificate opens no more than
//! it needs: its own Node and Lease, the pods that are bound to the node, and of Secrets,
//! ConfigMaps, claims, volumes, ServiceAccounts and their tokens those that such a pod, or a volume
//! of its claims, names.
//! Upstream keeps a graph of these relations; here the pods of the namespace are looked through,
//! which one node has few of. What a kubelet may write into the objects that it may change is
//! judged by admission (`admission::nodes`).

use crate::auth::attributes::Attributes;
use crate::state::State;
use api::meta;
use api::value::{at, list, text};
use serde_json::Value;

/// The annotation of a mirror pod, by which a kubelet shows a static pod: one from a file of its
/// node.
pub(crate) const MIRROR: &str = "kubernetes.io/config.mirror";
const NO_NAME: &str = "No Object name found";
const ONLY_TOKENS: &str = "can only create tokens for individual service accounts";
/// The namespace of the Leases that kubelets renew.
pub(crate) const LEASES: &str = "kube-node-lease";

/// Decides whether the kubelet of `node` is authorized to do this.
///
/// The kubelet of `n1`:
///
/// ```text
/// get Node n1                                      allowed
/// get Node n2                                      not
/// list pods with spec.nodeName=n1                  allowed
/// list all pods                                    not
/// get Secret db, a pod on n1 mounts it             allowed
/// get Secret db, only pods on other nodes do       not
/// list Secrets                                     not: it would show those of others
/// create a pod                                     allowed here; admission takes mirror pods only
/// patch Node n2                                    allowed here; admission takes its own Node only
/// ```
///
/// An attacker on one node can read the Secrets of its pods, and not those of the cluster.
///
/// # Errors
/// The reason, in upstream's words; often empty.
pub(crate) fn authorize(state: &State, node: &str, a: &Attributes) -> Result<(), String> {
    if !a.is_resource {
        return allowed(false);
    }
    match (a.group, a.resource) {
        ("", "nodes") => own_node(node, a),
        ("", "pods") => bound_pods(state, node, a),
        ("", "secrets" | "configmaps") => read_related(state, node, a),
        ("", "persistentvolumeclaims") if a.subresource == "status" => match a.verb {
            "update" | "patch" => related(state, node, a),
            _ => Err("can only get/update/patch this type".to_string()),
        },
        ("", "persistentvolumeclaims" | "persistentvolumes") => get_related(state, node, a),
        ("", "serviceaccounts") => service_account(state, node, a),
        ("coordination.k8s.io", "leases") => own_lease(node, a),
        (group, resource) => allowed(a.subresource.is_empty() && is_free(group, resource, a.verb)),
    }
}

/// Returns the decision without a reason.
fn allowed(yes: bool) -> Result<(), String> {
    if yes { Ok(()) } else { Err(String::new()) }
}

fn is_read(verb: &str) -> bool {
    matches!(verb, "get" | "list" | "watch")
}

/// Returns whether every kubelet may do this to objects that are not judged one by one.
fn is_free(group: &str, resource: &str, verb: &str) -> bool {
    match (group, resource) {
        ("", "services") => is_read(verb),
        ("", "endpoints") => verb == "get",
        ("" | "events.k8s.io", "events") => matches!(verb, "create" | "update" | "patch"),
        // A kubelet renews its certificate by itself; admission judges the name that it asks for.
        ("certificates.k8s.io", "certificatesigningrequests") => is_read(verb) || verb == "create",
        ("authentication.k8s.io", "tokenreviews") => verb == "create",
        ("authorization.k8s.io", "subjectaccessreviews" | "localsubjectaccessreviews") => verb == "create",
        _ => false,
    }
}

/// Judges requests for Nodes (upstream: `authorizeNode`).
fn own_node(node: &str, a: &Attributes) -> Result<(), String> {
    match (a.subresource, a.verb, a.name) {
        ("", "create" | "update" | "patch", _) => Ok(()),
        ("", verb, name) if is_read(verb) => match name {
            "" => Err(format!("node '{node}' cannot read all nodes, only its own Node object")),
            name if name != node => {
                Err(format!("node '{node}' cannot read '{name}', only its own Node object"))
            }
            _ => Ok(()),
        },
        // The answer of `get nodes/n1` has the status as well.
        ("status", verb, _) => allowed(matches!(verb, "update" | "patch")),
        _ => allowed(false),
    }
}

/// Judges requests for pods (upstream: `authorizePod`).
fn bound_pods(state: &State, node: &str, a: &Attributes) -> Result<(), String> {
    match (a.subresource, a.verb) {
        ("", "get") => pod(state, node, a),
        ("", "list" | "watch") if a.on_node == node => Ok(()),
        ("", "list" | "watch") if !a.name.is_empty() => pod(state, node, a),
        ("", "list" | "watch") => {
            Err("can only list/watch pods with spec.nodeName field selector".to_string())
        }
        ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => Ok(()),
        _ => allowed(false),
    }
}

/// Judges requests for Secrets and ConfigMaps (upstream: `authorizeReadNamespacedObject`).
fn read_related(state: &State, node: &str, a: &Attributes) -> Result<(), String> {
    if !is_read(a.verb) {
        return Err("can only read resources of this type".to_string());
    }
    if !a.subresource.is_empty() {
        return Err("cannot read subresource".to_string());
    }
    if a.namespace.is_empty() {
        return Err("can only read namespaced object of this type".to_string());
    }
    related(state, node, a)
}

/// Judges requests for claims and volumes (upstream: `authorizeGet`).
fn get_related(state: &State, node: &str, a: &Attributes) -> Result<(), String> {
    if a.verb != "get" {
        return Err("can only get individual resources of this type".to_string());
    }
    if !a.subresource.is_empty() {
        return Err("cannot get subresource".to_string());
    }
    related(state, node, a)
}

/// Judges requests for ServiceAccounts and their tokens (upstream: `authorizeServiceAccount`).
fn service_account(state: &State, node: &str, a: &Attributes) -> Result<(), String> {
    match (a.verb, a.subresource) {
        ("get", "") => related(state, node, a),
        ("create", _) if a.name.is_empty() => Err(ONLY_TOKENS.to_string()),
        ("create", "token") => related(state, node, a),
        ("create", _) => Err("can only create token subresource of serviceaccount".to_string()),
        _ => Err(ONLY_TOKENS.to_string()),
    }
}

/// Judges requests for Leases (upstream: `authorizeLease`). The name of a new one is judged by
/// admission.
fn own_lease(node: &str, a: &Attributes) -> Result<(), String> {
    if !matches!(a.verb, "get" | "create" | "update" | "patch" | "delete") {
        return Err("can only get, create, update, patch, or delete a node lease".to_string());
    }
    if a.namespace != LEASES {
        return Err(format!("can only access leases in the {LEASES:?} system namespace"));
    }
    if a.verb != "create" && a.name != node {
        return Err("can only access node lease with the same name as the requesting node".to_string());
    }
    Ok(())
}

/// Returns upstream's words for an object that no pod on the node needs.
fn unrelated(node: &str) -> String {
    format!("no relationship found between node '{node}' and this object")
}

/// Checks that a pod is bound to the node. Unlike upstream a kubelet may get a name that no pod
/// has: so it looks for the mirror of a static pod. It may not list or watch the name: a pod that
/// gets it later, or has it in another namespace, may be on another node.
fn pod(state: &State, node: &str, a: &Attributes) -> Result<(), String> {
    match state.cache.get("pods", &format!("{}/{}", a.namespace, a.name)) {
        Some(pod) if text(&pod.value, "spec.nodeName") != node => Err(unrelated(node)),
        None if a.verb != "get" => Err(unrelated(node)),
        _ => Ok(()),
    }
}

/// Checks that a pod on the node needs the object. A volume belongs to the pods of its claim, and
/// so does a Secret that it names for the kubelet.
fn related(state: &State, node: &str, a: &Attributes) -> Result<(), String> {
    if a.name.is_empty() {
        return Err(NO_NAME.to_string());
    }
    let object = (a.namespace, a.name);
    let needs_volume = |volume: &Value| is_needed(state, node, "persistentvolumeclaims", claim_of(volume));
    let is_related = match a.resource {
        "persistentvolumes" => {
            state.cache.get("persistentvolumes", a.name).is_some_and(|volume| needs_volume(&volume.value))
        }
        "secrets" if is_needed(state, node, "secrets", object) => true,
        "secrets" => {
            let volumes = state.cache.list("persistentvolumes", "").objects;
            let mut naming = volumes.iter().filter(|(_, volume)| volume_names_secret(&volume.value, object));
            naming.any(|(_, volume)| needs_volume(&volume.value))
        }
        resource => is_needed(state, node, resource, object),
    };
    if is_related { Ok(()) } else { Err(unrelated(node)) }
}

/// Returns whether a pod on the node needs an object of its namespace. A mirror pod gives its node
/// nothing: the node itself has written it.
fn is_needed(state: &State, node: &str, resource: &str, (namespace, name): (&str, &str)) -> bool {
    let mut found = false;
    if !namespace.is_empty() && !name.is_empty() {
        state.cache.for_each("pods", &format!("{namespace}/"), |pod| {
            let bound = || text(pod, "spec.nodeName") == node && meta::annotation(pod, MIRROR).is_none();
            found = found || bound() && needs(pod, resource, name);
        });
    }
    found
}

/// Returns namespace and name of the claim of a PersistentVolume; both are empty without one.
fn claim_of(volume: &Value) -> (&str, &str) {
    (text(volume, "spec.claimRef.namespace"), text(volume, "spec.claimRef.name"))
}

/// Where a PersistentVolume names a Secret that the kubelet reads, and the Secret's namespace
/// (upstream: `VisitPVSecretNames`). Those that a driver's controller reads are not among them.
const VOLUME_SECRETS: [(&str, &str); 11] = [
    ("azureFile.secretName", "azureFile.secretNamespace"),
    ("cephfs.secretRef.name", "cephfs.secretRef.namespace"),
    ("cinder.secretRef.name", "cinder.secretRef.namespace"),
    ("csi.nodeExpandSecretRef.name", "csi.nodeExpandSecretRef.namespace"),
    ("csi.nodePublishSecretRef.name", "csi.nodePublishSecretRef.namespace"),
    ("csi.nodeStageSecretRef.name", "csi.nodeStageSecretRef.namespace"),
    ("flexVolume.secretRef.name", "flexVolume.secretRef.namespace"),
    ("iscsi.secretRef.name", "iscsi.secretRef.namespace"),
    ("rbd.secretRef.name", "rbd.secretRef.namespace"),
    ("scaleIO.secretRef.name", "scaleIO.secretRef.namespace"),
    ("storageos.secretRef.name", "storageos.secretRef.namespace"),
];

/// Returns whether a PersistentVolume names this Secret for the kubelet. A reference without a
/// namespace means that of the claim; one of CSI without it means no Secret.
fn volume_names_secret(volume: &Value, secret: (&str, &str)) -> bool {
    let spec = at(volume, "spec");
    VOLUME_SECRETS.iter().any(|(name, namespace)| {
        let namespace = match text(spec, namespace) {
            "" if !name.starts_with("csi.") => claim_of(volume).0,
            namespace => namespace,
        };
        (namespace, text(spec, name)) == secret
    })
}

/// Where volumes of drivers name a Secret of the pod's namespace (upstream:
/// `podutil.VisitPodSecretNames`).
const DRIVER_SECRETS: [&str; 10] = [
    "azureFile.secretName",
    "cephfs.secretRef.name",
    "cinder.secretRef.name",
    "csi.nodePublishSecretRef.name",
    "flexVolume.secretRef.name",
    "iscsi.secretRef.name",
    "rbd.secretRef.name",
    "scaleIO.secretRef.name",
    "storageos.secretRef.name",
    "secret.secretName",
];

/// Returns whether a volume names a Secret. A reference without a name counts as none.
pub(crate) fn names_secret(volume: &Value) -> bool {
    DRIVER_SECRETS.iter().any(|path| !text(volume, path).is_empty())
}

/// Returns whether a pod names this Secret, ConfigMap, claim or ServiceAccount of its namespace.
pub(crate) fn needs(pod: &Value, resource: &str, name: &str) -> bool {
    if name.is_empty() {
        return false;
    }
    let spec = at(pod, "spec");
    // (in a volume, in a projected source, in a variable, in `envFrom`)
    let (volume, source, variable, all) = match resource {
        "secrets" => ("secret.secretName", "secret.name", "valueFrom.secretKeyRef.name", "secretRef.name"),
        "configmaps" => {
            ("configMap.name", "configMap.name", "valueFrom.configMapKeyRef.name", "configMapRef.name")
        }
        "serviceaccounts" => return text(spec, "serviceAccountName") == name,
        _ => {
            return list(spec, "volumes").iter().any(|v| {
                let made = || format!("{}-{}", meta::name(pod), text(v, "name"));
                text(v, "persistentVolumeClaim.claimName") == name
                    || at(v, "ephemeral").is_object() && made() == name
            });
        }
    };
    let is = |value: &Value, path: &str| text(value, path) == name;
    let secret = resource == "secrets";
    list(spec, "volumes").iter().any(|v| {
        is(v, volume)
            || list(v, "projected.sources").iter().any(|s| is(s, source))
            || secret && DRIVER_SECRETS.iter().any(|path| is(v, path))
    }) || ["initContainers", "containers", "ephemeralContainers"].iter().flat_map(|g| list(spec, g)).any(
        |c| list(c, "env").iter().any(|e| is(e, variable)) || list(c, "envFrom").iter().any(|e| is(e, all)),
    ) || secret && list(spec, "imagePullSecrets").iter().any(|s| is(s, "name"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_needs_what_it_names() {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"serviceAccountName": "sa",
            "imagePullSecrets": [{"name": "pull"}],
            "volumes": [{"secret": {"secretName": "vol"}}, {"configMap": {"name": "map"}}, {"name": "data", "ephemeral": {}},
                {"persistentVolumeClaim": {"claimName": "claim"}},
                {"projected": {"sources": [{"secret": {"name": "part"}}, {"configMap": {"name": "piece"}}]}}],
            "initContainers": [{"envFrom": [{"secretRef": {"name": "all"}}, {"configMapRef": {"name": "every"}}]}],
            "containers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "one"}}}]}]}});
        for (resource, names) in [
            ("secrets", &["pull", "vol", "part", "all", "one"][..]),
            ("configmaps", &["map", "piece", "every"]),
            ("persistentvolumeclaims", &["claim", "p-data"]),
            ("serviceaccounts", &["sa"]),
        ] {
            assert!(names.iter().all(|name| needs(&pod, resource, name)), "{resource}");
            assert!(!needs(&pod, resource, "other") && !needs(&pod, resource, ""), "{resource}");
        }
        assert!(!needs(&pod, "secrets", "map") && !needs(&pod, "configmaps", "vol"));
    }
}
