//! The roles and bindings that every cluster starts with
//! (`plugin/pkg/auth/authorizer/rbac/bootstrappolicy` upstream).

mod components;
mod parts;

use crate::storage::object::Object;
use api::kinds;
use parts::{RBAC, READ, WRITE, cluster_role, rule};
use serde_json::{Value, json};
use std::sync::Arc;

const ALL: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// The resources that a namespace's owner works with, by group; secrets stand apart.
const NAMESPACED: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "configmaps",
            "endpoints",
            "events",
            "persistentvolumeclaims",
            "pods",
            "replicationcontrollers",
            "replicationcontrollers/scale",
            "services",
            "serviceaccounts",
        ],
    ),
    (
        "apps",
        &[
            "daemonsets",
            "deployments",
            "deployments/scale",
            "replicasets",
            "replicasets/scale",
            "statefulsets",
            "statefulsets/scale",
            "controllerrevisions",
        ],
    ),
    ("autoscaling", &["horizontalpodautoscalers"]),
    ("batch", &["cronjobs", "jobs"]),
    ("discovery.k8s.io", &["endpointslices"]),
    ("networking.k8s.io", &["ingresses", "networkpolicies"]),
    ("policy", &["poddisruptionbudgets"]),
];

fn view_rules() -> Vec<Value> {
    let mut rules: Vec<Value> =
        NAMESPACED.iter().map(|(group, resources)| rule(READ, &[group], resources)).collect();
    rules.push(rule(
        READ,
        &[""],
        &[
            "bindings",
            "limitranges",
            "namespaces",
            "namespaces/status",
            "persistentvolumeclaims/status",
            "pods/log",
            "pods/status",
            "replicationcontrollers/status",
            "resourcequotas",
            "resourcequotas/status",
            "services/status",
        ],
    ));
    rules.push(rule(READ, &["events.k8s.io"], &["events"]));
    rules.push(rule(READ, &["metrics.k8s.io"], &["nodes", "pods"]));
    rules.push(rule(
        READ,
        &["apps"],
        &["daemonsets/status", "deployments/status", "replicasets/status", "statefulsets/status"],
    ));
    rules.push(rule(READ, &["autoscaling"], &["horizontalpodautoscalers/status"]));
    rules.push(rule(READ, &["batch"], &["cronjobs/status", "jobs/status"]));
    rules.push(rule(READ, &["networking.k8s.io"], &["ingresses/status"]));
    rules.push(rule(READ, &["policy"], &["poddisruptionbudgets/status"]));
    rules
}

/// Returns the rules that `edit` has beyond those of `view`.
fn edit_rules() -> Vec<Value> {
    let mut rules = vec![];
    for (group, resources) in NAMESPACED {
        // A user who writes endpoints can send a Service's clients to any address
        // (CVE-2021-25740).
        let made_by_controllers = ["endpoints", "endpointslices", "controllerrevisions"];
        let own: Vec<&str> = resources.iter().copied().filter(|r| !made_by_controllers.contains(r)).collect();
        if !own.is_empty() {
            rules.push(rule(WRITE, &[group], &own));
        }
    }
    rules.push(rule(ALL, &[""], &["secrets"]));
    rules.push(rule(
        ALL,
        &[""],
        &["pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "services/proxy"],
    ));
    rules.push(rule(&["create"], &[""], &["pods/eviction", "serviceaccounts/token"]));
    rules.push(rule(ALL, &["coordination.k8s.io"], &["leases"]));
    rules.push(rule(WRITE, &["events.k8s.io"], &["events"]));
    rules.push(rule(WRITE, &["apps"], &["deployments/rollback"]));
    rules.push(rule(&["impersonate"], &[""], &["serviceaccounts"]));
    rules
}

/// Returns the rules that `admin` has beyond those of `edit`.
fn admin_rules() -> Vec<Value> {
    vec![
        rule(ALL, &[RBAC], &["rolebindings", "roles"]),
        rule(&["create"], &["authorization.k8s.io"], &["localsubjectaccessreviews"]),
    ]
}

/// Returns the label of roles whose rules this role has, too.
fn aggregates_to(role: &str) -> String {
    format!("{RBAC}/aggregate-to-{role}")
}

/// Returns the roles of a namespace's people. Their rules are those of all roles with the label
/// `rbac.authorization.k8s.io/aggregate-to-NAME`, so the author of a new kind says in further roles
/// who may work with it. The controller `clusterrole-aggregation` puts them together; what it makes
/// of the roles here is there from the beginning, in its order.
fn roles_of_people() -> Vec<Value> {
    let parts = [("admin", admin_rules()), ("edit", edit_rules()), ("view", view_rules())];
    let [admin, edit, view] = parts.clone().map(|(_, rules)| rules);
    let edit = [edit, view.clone()].concat();
    let admin = [edit.clone(), admin].concat(); // `edit` comes before `system:aggregate-to-admin`
    let whole = [("admin", None, admin), ("edit", Some("admin"), edit), ("view", Some("edit"), view)];
    let whole = whole.map(|(name, to, rules)| {
        let mut role = cluster_role(name, rules);
        let chosen = json!({"matchLabels": {aggregates_to(name): "true"}});
        role["aggregationRule"] = json!({ "clusterRoleSelectors": [chosen] });
        to.into_iter().for_each(|to| role["metadata"]["labels"][aggregates_to(to)] = "true".into());
        role
    });
    let parts = parts.map(|(name, rules)| {
        let mut role = cluster_role(&format!("system:aggregate-to-{name}"), rules);
        role["metadata"]["labels"][aggregates_to(name)] = "true".into();
        role
    });
    whole.into_iter().chain(parts).collect()
}

/// Keeps rules that administrators added. In a cluster that an older program made, the roles of
/// people are no aggregated ones, and its administrators added rules to them. A part that is to be
/// made has the rules of its old whole then; what it lacks comes later (upstream:
/// `primeAggregatedClusterRoles`).
pub(crate) fn keep_added_rules(objects: &mut [Value], stored: impl Fn(&str) -> Option<Arc<Object>>) {
    for name in ["admin", "edit", "view"] {
        let old = stored(name).filter(|role| !role.value["aggregationRule"].is_object());
        let Some(old) = old else { continue };
        let part = format!("system:aggregate-to-{name}");
        for object in objects.iter_mut().filter(|o| o["metadata"]["name"] == part.as_str()) {
            object["rules"] = old.value["rules"].clone();
        }
    }
}

/// Returns all default roles and bindings.
pub(crate) fn objects() -> Vec<Value> {
    [roles_of_people(), components::objects()].concat()
}

/// Returns the kind of an object of this program's own making.
pub(crate) fn kind_of(object: &Value) -> Option<&'static kinds::Kind> {
    let api_version = object.get("apiVersion")?.as_str()?;
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    kinds::find(group, version, object.get("kind")?.as_str()?)
}

#[cfg(test)]
mod tests;
