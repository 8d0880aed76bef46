//! The kinds of the table: those of all groups, and how one is found.

use super::entry::Kind;
use super::{
    admissionregistration, apiextensions, apps, authentication, authorization, autoscaling, batch,
    certificates, coordination, core, discovery, events, metrics, networking, policy, rbac, scheduling,
    storage,
};
use std::collections::HashMap;
use std::sync::LazyLock;

static TABLE: LazyLock<Vec<Kind>> = LazyLock::new(table);

/// Returns the kinds of all groups, in the order in which a real server lists its groups.
fn table() -> Vec<Kind> {
    let groups = [
        core::kinds,
        apps::kinds,
        events::kinds,
        authentication::kinds,
        authorization::kinds,
        autoscaling::kinds,
        batch::kinds,
        certificates::kinds,
        networking::kinds,
        policy::kinds,
        rbac::kinds,
        storage::kinds,
        admissionregistration::kinds,
        scheduling::kinds,
        coordination::kinds,
        discovery::kinds,
        apiextensions::kinds,
        metrics::kinds,
    ];
    groups.into_iter().flat_map(|kinds| kinds()).collect()
}

type Index = HashMap<(&'static str, &'static str, &'static str), &'static Kind>;
static BY_KIND: LazyLock<Index> =
    LazyLock::new(|| TABLE.iter().map(|k| ((k.group, k.version, k.kind), k)).collect());
static BY_PLURAL: LazyLock<Index> =
    LazyLock::new(|| TABLE.iter().map(|k| ((k.group, k.version, k.plural), k)).collect());

/// Returns all kinds in the order of discovery, in which the kinds of a group stand together.
pub fn all() -> &'static [Kind] {
    &TABLE
}

/// Finds a kind by its group (empty for core), version and Kind.
pub fn find(group: &str, version: &str, kind: &str) -> Option<&'static Kind> {
    BY_KIND.get(&(group, version, kind) as &(&str, &str, &str)).copied()
}

/// Finds a kind by its group, version and plural resource name.
pub fn resource(group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
    BY_PLURAL.get(&(group, version, plural) as &(&str, &str, &str)).copied()
}

/// Finds the kind in whose form a resource is stored: `events` → core v1.
pub fn stored(plural: &str) -> Option<&'static Kind> {
    TABLE.iter().find(|k| k.plural == plural && k.is_stored() && k.conversion.is_none())
}

/// Finds a kind by its group and plural, in the first version, which is the preferred one.
pub fn in_group(group: &str, plural: &str) -> Option<&'static Kind> {
    TABLE.iter().find(|k| k.group == group && k.plural == plural)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `AllowCreateOnUpdate` and `AllowUnconditionalUpdate` of the registries' strategies.
    #[test]
    fn a_put_creates_and_needs_a_version_as_upstream() {
        let kinds = |has: fn(&Kind) -> bool| {
            let mut names: Vec<&str> = all().iter().filter(|k| has(k)).map(|k| k.kind).collect();
            names.sort_unstable();
            names.dedup();
            names
        };
        assert_eq!(
            kinds(|k| k.create_on_update),
            [
                "ClusterRole",
                "ClusterRoleBinding",
                "Endpoints",
                "Event",
                "Lease",
                "LimitRange",
                "Role",
                "RoleBinding",
                "Service"
            ]
        );
        assert_eq!(
            kinds(|k| k.needs_version),
            [
                "CustomResourceDefinition",
                "Lease",
                "PodDisruptionBudget",
                "ValidatingAdmissionPolicy",
                "ValidatingAdmissionPolicyBinding"
            ]
        );
    }

    #[test]
    fn the_table_is_consistent() {
        assert_eq!(BY_PLURAL.len(), TABLE.len(), "two kinds share a plural");
        for pair in TABLE.windows(2).filter(|pair| pair[0].group == pair[1].group) {
            let (plural, next) = (pair[0].plural, pair[1].plural);
            assert!(plural <= next, "{next} comes before {plural} in discovery");
        }
        for kind in all() {
            assert!(stored(kind.plural).is_some() || !kind.is_stored(), "{} has no stored form", kind.kind);
            if kind.has_status {
                assert!(kind.sub("status").is_some(), "{} lacks status", kind.kind);
            }
            assert_eq!(kind.scale.is_some(), kind.sub("scale").is_some(), "{}", kind.kind);
        }
    }
}
