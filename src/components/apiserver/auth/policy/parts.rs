//! Parts of the default roles: lists of verbs, and functions that make a rule or a role.

use serde_json::{Value, json};

pub(super) const RBAC: &str = "rbac.authorization.k8s.io";
pub(super) const READ: &[&str] = &["get", "list", "watch"];
pub(super) const WRITE: &[&str] = &["create", "delete", "deletecollection", "patch", "update"];
pub(super) const EVENTS: &[&str] = &["", "events.k8s.io"];

pub(super) fn rule(verbs: &[&str], groups: &[&str], resources: &[&str]) -> Value {
    json!({"verbs": verbs, "apiGroups": groups, "resources": resources})
}

/// Makes a rule about objects of these names.
pub(super) fn named(verbs: &[&str], group: &str, resource: &str, names: &[&str]) -> Value {
    json!({"verbs": verbs, "apiGroups": [group], "resources": [resource], "resourceNames": names})
}

/// Makes a rule about paths that are no resources.
pub(super) fn urls(urls: &[&str]) -> Value {
    json!({"verbs": ["get"], "nonResourceURLs": urls})
}

pub(super) fn meta(name: &str) -> Value {
    json!({"name": name, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"}})
}

pub(super) fn cluster_role(name: &str, rules: Vec<Value>) -> Value {
    json!({"kind": "ClusterRole", "apiVersion": format!("{RBAC}/v1"), "metadata": meta(name), "rules": rules})
}
