//! The kinds that the simulated API server has.

use api::kinds::{self, Kind};

/// The kinds that this server has: those that simulated components watch.
pub(super) const SERVED: &[(&str, &str, &str)] = &[
    ("", "v1", "pods"),
    ("", "v1", "nodes"),
    ("", "v1", "services"),
    ("", "v1", "configmaps"),
    ("", "v1", "secrets"),
    ("", "v1", "persistentvolumeclaims"),
    ("", "v1", "persistentvolumes"),
    ("apiextensions.k8s.io", "v1", "customresourcedefinitions"),
    ("apps", "v1", "deployments"),
    ("apps", "v1", "replicasets"),
    ("apps", "v1", "statefulsets"),
    ("apps", "v1", "daemonsets"),
    ("apps", "v1", "controllerrevisions"),
    ("batch", "v1", "jobs"),
    ("coordination.k8s.io", "v1", "leases"),
    ("storage.k8s.io", "v1", "storageclasses"),
];

/// Returns the kind of a resource, e.g. `pods`, that this server has.
///
/// # Panics
/// If it has none of that name: the test asks for something that is not simulated.
pub fn kind(plural: &str) -> &'static Kind {
    let found = SERVED.iter().find(|(_, _, served)| *served == plural);
    let found = found.and_then(|(group, version, plural)| kinds::resource(group, version, plural));
    found.unwrap_or_else(|| panic!("{plural} are not simulated"))
}
