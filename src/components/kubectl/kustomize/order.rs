//! The order in which objects can be applied: objects that others need come first.

use super::resource::Resource;
use api::value;

const FIRST: [&str; 21] = [
    "Namespace",
    "ResourceQuota",
    "StorageClass",
    "CustomResourceDefinition",
    "ServiceAccount",
    "PodSecurityPolicy",
    "Role",
    "ClusterRole",
    "RoleBinding",
    "ClusterRoleBinding",
    "ConfigMap",
    "Secret",
    "Endpoints",
    "Service",
    "LimitRange",
    "PriorityClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Deployment",
    "StatefulSet",
    "CronJob",
];
/// The last of the kinds that come first.
const BUDGET: &str = "PodDisruptionBudget";
const LAST: [&str; 2] = ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"];

fn rank(kind: &str) -> usize {
    let first = FIRST.iter().chain([&BUDGET]).position(|k| *k == kind);
    let last = LAST.iter().position(|k| *k == kind).map(|i| FIRST.len() + 2 + i);
    first.or(last).unwrap_or(FIRST.len() + 1)
}

pub(super) fn sort(all: &mut [Resource]) {
    all.sort_by_cached_key(|r| {
        // An object without a group or a namespace comes after those that have one.
        let or_last = |text: &str| if text.is_empty() { "~".to_string() } else { text.to_string() };
        let namespace = value::text(&r.object, "metadata.namespace");
        (
            rank(r.kind()),
            or_last(r.group()),
            r.version().to_string(),
            r.kind().to_string(),
            or_last(namespace),
            r.name().to_string(),
        )
    });
}
