//! The node authorizer: what a kubelet may do (upstream: `plugin/pkg/auth/authorizer/node`).
//!
//! A kubelet runs on a machine that its pods may take over, so its certificate opens no more than it needs: its own Node and
//! Lease, and of Secrets, ConfigMaps, claims, volumes and tokens those that a pod names which is bound to the node. Upstream
//! keeps a graph of these relations; here the pods of the namespace are looked through, which one node has few of. What a
//! kubelet may write into the objects that it may change is judged by admission (`admission::nodes`).

use super::State;
use super::authz::Attributes;
use crate::api::meta;
use crate::api::value::{at, list, text};
use serde_json::Value;

const READ_ONLY: &str = "can only read resources of this type";
const LEASES: &str = "kube-node-lease";

/// Whether the kubelet of `node` may.
///
/// # Errors
/// The reason, in upstream's words; often empty.
pub fn may(state: &State, node: &str, a: &Attributes) -> Result<(), String> {
    let allowed = |yes: bool| if yes { Ok(()) } else { Err(String::new()) };
    if !a.is_resource {
        return allowed(false);
    }
    let read = matches!(a.verb, "get" | "list" | "watch");
    match (a.group, a.resource, a.subresource) {
        ("", "nodes", "" | "status") => {
            allowed(read || a.verb == "create" || (a.name == node && matches!(a.verb, "update" | "patch")))
        }
        ("", "pods", "") => allowed(read || matches!(a.verb, "create" | "delete")),
        ("", "pods", "status") => allowed(matches!(a.verb, "get" | "update" | "patch")),
        ("", "pods", "eviction") => allowed(a.verb == "create"),
        ("", "secrets" | "configmaps" | "persistentvolumeclaims" | "persistentvolumes", "") => {
            match (read, a.name) {
                (false, _) => Err(READ_ONLY.to_string()),
                (_, "") => Err("No Object name found".to_string()),
                _ => related(state, node, a),
            }
        }
        ("", "persistentvolumeclaims", "status") => match a.verb {
            "get" | "update" | "patch" => related(state, node, a),
            _ => Err("can only get, update, or patch this type".to_string()),
        },
        ("", "services" | "endpoints" | "namespaces" | "serviceaccounts", "") => allowed(read),
        ("", "serviceaccounts", "token") => match a.verb {
            "create" => related(state, node, a),
            _ => Err("can only create tokens for individual service accounts".to_string()),
        },
        ("" | "events.k8s.io", "events", "") => allowed(matches!(a.verb, "create" | "update" | "patch")),
        ("coordination.k8s.io", "leases", "") => match a.verb {
            "create" | "get" | "update" | "patch" | "delete" if a.namespace != LEASES => {
                Err(format!("can only access leases in the {LEASES:?} system namespace"))
            }
            "get" | "update" | "patch" | "delete" if a.name != node => {
                Err("can only access node lease with the same name as the requesting node".to_string())
            }
            "create" | "get" | "update" | "patch" | "delete" => Ok(()),
            _ => Err("can only get, create, update, patch, or delete a node lease".to_string()),
        },
        ("discovery.k8s.io", "endpointslices", "") | ("storage.k8s.io", "storageclasses", "") => {
            allowed(read)
        }
        ("authentication.k8s.io", "tokenreviews", "") => allowed(a.verb == "create"),
        ("authorization.k8s.io", "subjectaccessreviews" | "localsubjectaccessreviews", "") => {
            allowed(a.verb == "create")
        }
        _ => allowed(false),
    }
}

/// Is there a pod on the node that needs the object?
fn related(state: &State, node: &str, a: &Attributes) -> Result<(), String> {
    let mut found = false;
    let (namespace, name, resource) = match a.resource {
        // A volume belongs to the pods of its claim.
        "persistentvolumes" => match state.cache.get("persistentvolumes", a.name) {
            None => (String::new(), String::new(), a.resource),
            Some(volume) => {
                let claim = |field: &str| text(&volume.value, &format!("spec.claimRef.{field}")).to_string();
                (claim("namespace"), claim("name"), "persistentvolumeclaims")
            }
        },
        resource => (a.namespace.to_string(), a.name.to_string(), resource),
    };
    if !namespace.is_empty() && !name.is_empty() {
        state.cache.for_each("pods", &format!("{namespace}/"), |pod| {
            found = found || text(pod, "spec.nodeName") == node && needs(pod, resource, &name);
        });
    }
    match found {
        true => Ok(()),
        false => Err(format!("no relationship found between node '{node}' and this object")),
    }
}

/// Does the pod name this Secret, ConfigMap, claim or ServiceAccount of its namespace?
pub(super) fn needs(pod: &Value, resource: &str, name: &str) -> bool {
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
            || secret && is(v, "csi.nodePublishSecretRef.name")
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
