//! # Aggregated cluster roles: rules that are those of others
//!
//! A ClusterRole with an `aggregationRule` has the rules of all that its selectors choose: one
//! selector after the other, the roles of each by name, each rule once. What stood in it before
//! goes. Source: `pkg/controller/clusterroleaggregation`.

use super::write::unless_gone;
use crate::error::Error;
use crate::shared::{Controller, Shared, record};
use api::labels::Selector;
use client::{Api, Codec, Key, Outcome, WorkQueue};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use kube::api::{Patch, PatchParams};
use serde_json::json;
use std::sync::Arc;
use tap::{Cause, Component, Event};

/// Pure: the rules that a role is to have; `None` if they are its own. `all` is sorted by name.
///
/// Example: the selectors choose `z` and then `a`, `b`. The rules are those of `z`, `a`, `b`.
fn aggregated(role: &ClusterRole, all: &[Arc<ClusterRole>]) -> Option<Vec<PolicyRule>> {
    let rule = role.aggregation_rule.as_ref()?;
    let selectors: Vec<Selector> = rule
        .cluster_role_selectors
        .iter()
        .flatten()
        .filter_map(|s| Selector::of(&s.encode().unwrap_or_default()))
        .collect();
    let mut rules: Vec<PolicyRule> = vec![];
    for selector in &selectors {
        let chosen = |other: &&Arc<ClusterRole>| {
            let labels = serde_json::to_value(&other.metadata.labels).unwrap_or_default();
            other.metadata.name != role.metadata.name && selector.matches(&labels)
        };
        for rule in all.iter().filter(chosen).flat_map(|other| other.rules.iter().flatten()) {
            if !rules.contains(rule) {
                rules.push(rule.clone());
            }
        }
    }
    Some(rules)
}

pub(crate) const CONTROLLER: Controller = Controller {
    informers: |informers| {
        informers.all::<ClusterRole>();
    },
    start,
};

fn start(shared: &Shared) {
    let queue: WorkQueue<Key> = WorkQueue::new(&shared.crew);
    let q = queue.clone();
    // Any role may be one of those that others are made of: one look at all.
    shared.informer::<ClusterRole>().on(move |change| q.add(Key::default(), change.cause()));
    let shared = shared.clone();
    queue.work("clusterrole-aggregation", 1, move |_, cause| {
        let shared = shared.clone();
        async move { aggregate(&shared, &cause).await }
    });
}

/// Writes the rules of all aggregated roles that have others now. One role that is refused does not
/// keep the others from their rules.
///
/// # Errors
/// The error of the last role that was refused.
async fn aggregate(shared: &Shared, cause: &Option<Cause>) -> Result<Outcome, Error> {
    let all = shared.informer::<ClusterRole>().list();
    let api: Api<ClusterRole> = shared.config.client.caused_by(cause.clone()).all();
    let mut failed = Ok(Outcome::Done);
    for role in &all {
        let Some(rules) = aggregated(role, &all) else { continue };
        if role.rules.as_deref().unwrap_or_default() == rules {
            continue;
        }
        let key = Key::of(&**role);
        // A user may have taken the aggregation off meanwhile and written rules: nothing would give
        // those back.
        let holds = json!({"uid": role.metadata.uid, "resourceVersion": role.metadata.resource_version});
        let patch = json!({"metadata": holds, "rules": rules});
        match unless_gone(api.patch(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await) {
            Ok(None) => {}
            Err(error) => failed = Err(error),
            Ok(Some(_)) => {
                let record = record(Event::Aggregate, "clusterroles", &key, cause);
                shared.tap(Component::ClusterRoleAggregationController).emit(record);
            }
        }
    }
    failed
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[tokio::test]
    async fn a_role_that_is_refused_does_not_keep_the_others_from_their_rules() {
        use client::testing::{Scripted, refusal};
        let server =
            Scripted::new(|a| a.line.ends_with("/a").then(|| refusal(403, "Forbidden")).flatten()).await;
        let shared = Shared::fixed(&server.client);
        for name in ["a", "b"] {
            let rule = json!({"clusterRoleSelectors": [{"matchLabels": {"x": "y"}}]});
            let meta = json!({"name": name, "uid": name, "resourceVersion": "5"});
            let role = role(json!({"metadata": meta, "aggregationRule": rule}));
            shared.informer::<ClusterRole>().show((*role).clone());
        }
        let part =
            role(json!({"metadata": {"name": "part", "labels": {"x": "y"}}, "rules": [{"verbs": ["get"]}]}));
        shared.informer::<ClusterRole>().show((*part).clone());
        start(&shared);
        let patch = server.until(|all| all.iter().find(|a| a.line.ends_with("/b")).cloned()).await;
        assert_eq!(patch.body["metadata"], json!({"uid": "b", "resourceVersion": "5"}));
        shared.crew.kill();
    }

    fn role(value: Value) -> Arc<ClusterRole> {
        Arc::new(serde_json::from_value(value).unwrap())
    }

    #[test]
    fn a_role_has_the_rules_of_those_it_selects_each_once() {
        let rule = |what: &str| json!({"verbs": ["get"], "apiGroups": [""], "resources": [what]});
        let sum =
            role(json!({"metadata": {"name": "sum", "labels": {"part": "yes"}}, "rules": [rule("secrets")],
            "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"part": "yes"}}]}}));
        let part = |name: &str, what: Value| {
            role(json!({"metadata": {"name": name, "labels": {"part": "yes"}}, "rules": what}))
        };
        let all = [
            part("a", json!([rule("pods"), rule("nodes")])),
            part("b", json!([rule("pods")])),
            role(json!({"metadata": {"name": "c"}, "rules": [rule("services")]})),
            sum.clone(),
        ];
        let rules = serde_json::to_value(aggregated(&sum, &all)).unwrap();
        assert_eq!(rules, json!([rule("pods"), rule("nodes")]));
        assert_eq!(aggregated(&all[0], &all), None);
    }

    #[test]
    fn rules_stand_in_the_order_of_the_selectors_and_then_of_the_names() {
        let part = |name: &str, label: &str| {
            let rule = json!({"verbs": ["get"], "apiGroups": [""], "resources": [name]});
            role(json!({"metadata": {"name": name, "labels": {"part": label}}, "rules": [rule]}))
        };
        let selectors = json!([{"matchLabels": {"part": "late"}}, {"matchExpressions": [{"key": "part", "operator": "Exists"}]}]);
        let sum = role(
            json!({"metadata": {"name": "sum"}, "aggregationRule": {"clusterRoleSelectors": selectors}}),
        );
        let all = [part("a", "early"), part("b", "early"), sum.clone(), part("y", "late"), part("z", "late")];
        let rules = aggregated(&sum, &all).unwrap();
        let names: Vec<&str> =
            rules.iter().flat_map(|r| r.resources.iter().flatten()).map(String::as_str).collect();
        assert_eq!(names, ["y", "z", "a", "b"]);
    }
}
