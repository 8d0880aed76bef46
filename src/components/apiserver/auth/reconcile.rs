//! Default roles of an older cluster are brought up to date when a server starts (upstream:
//! `pkg/registry/rbac/reconciliation`).
//!
//! A newer program knows rules that the cluster's roles did not have when they were made. What is
//! missing is added; rules that a user added stay. `rbac.authorization.kubernetes.io/autoupdate:
//! "false"` on a role or binding keeps it as it is.

use crate::auth::escalation::covered;
use crate::auth::policy;
use crate::state::State;
use crate::storage::extra::Extra;
use crate::storage::keys::key_of;
use crate::storage::store::Refused;
use api::value::{self, at, list, text};
use api::{Status, meta};
use serde_json::Value;

const AUTO: &str = "rbac.authorization.kubernetes.io/autoupdate";
const TRIES: usize = 10;

/// Adds to the stored default roles and bindings what they lack.
///
/// # Errors
/// Those of the store.
pub(crate) async fn run(state: &State) -> Result<(), Status> {
    state.fresh().await?;
    for mut wanted in policy::objects() {
        let Some(kind) = policy::kind_of(&wanted) else { continue };
        (kind.defaults)(&mut wanted);
        for _ in 0..TRIES {
            let Some(found) = state.cache.get(kind.place(), &key_of(kind, &wanted)) else { break };
            let Some(new) = reconciled(&found.value, &wanted) else { break };
            // However full the store and the memory are: the server is not ready before.
            let extra = Extra { repairs: true, ..Extra::default() };
            match state.write(kind, new, found.revision, &extra).await {
                Ok(_) => {
                    tracing::info!(kind = kind.kind, name = meta::name(&wanted), "updated a default of RBAC");
                    break;
                }
                Err(Refused::Changed) => drop(state.fresh().await?),
                Err(Refused::Error(status)) => return Err(status),
            }
        }
    }
    Ok(())
}

/// Returns the stored object with what it lacks of `wanted`; `None` if it lacks nothing or is to
/// stay as it is.
fn reconciled(stored: &Value, wanted: &Value) -> Option<Value> {
    if meta::annotation(stored, AUTO) == Some("false") {
        return None;
    }
    let mut new = stored.clone();
    for map in ["metadata.labels", "metadata.annotations"] {
        for (key, value) in value::map(wanted, map).into_iter().flatten() {
            value::slot_map(&mut new, map).entry(key).or_insert_with(|| value.clone());
        }
    }
    match text(wanted, "roleRef.name") {
        "" if at(wanted, "aggregationRule").is_object() => {
            // The rules follow from it; selectors that were added stay.
            const SELECTORS: &str = "aggregationRule.clusterRoleSelectors";
            let chosen = list(stored, SELECTORS);
            append(&mut new, SELECTORS, list(wanted, SELECTORS).iter().filter(|s| !chosen.contains(s)));
        }
        "" => {
            let rules = list(stored, "rules");
            let missing = list(wanted, "rules").iter().filter(|rule| !covered(rules, rule));
            append(&mut new, "rules", missing);
            // Aggregation would replace the rules.
            value::copy(wanted, &mut new, "aggregationRule");
        }
        _ => {
            value::copy(wanted, &mut new, "roleRef");
            let subjects = list(stored, "subjects");
            append(&mut new, "subjects", list(wanted, "subjects").iter().filter(|s| !subjects.contains(s)));
        }
    }
    (new != *stored).then_some(new)
}

fn append<'a>(object: &mut Value, path: &str, missing: impl Iterator<Item = &'a Value>) {
    let missing: Vec<Value> = missing.cloned().collect();
    if !missing.is_empty() {
        let mut all = at(object, path).as_array().cloned().unwrap_or_default();
        all.extend(missing);
        value::put(object, path, all);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn role(rules: Value) -> Value {
        json!({"metadata": {"name": "edit", "annotations": {AUTO: "true"}}, "rules": rules})
    }

    #[test]
    fn missing_rules_are_added_and_further_ones_stay() {
        let get = json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]});
        let all = json!({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]});
        let own = json!({"apiGroups": ["example.com"], "resources": ["tabs"], "verbs": ["get"]});
        let new = reconciled(&role(json!([own])), &role(json!([get]))).unwrap();
        assert_eq!(new["rules"], json!([own, get]));
        assert_eq!(reconciled(&new, &role(json!([get]))), None, "a second start changes nothing");
        assert_eq!(reconciled(&role(json!([all])), &role(json!([get]))), None);
        let mut kept = role(json!([]));
        kept["metadata"]["annotations"][AUTO] = "false".into();
        assert_eq!(reconciled(&kept, &role(json!([get]))), None);
        let mut aggregated = role(json!([get]));
        aggregated["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]});
        let new = reconciled(&aggregated, &role(json!([get]))).unwrap();
        assert_eq!((&new["aggregationRule"], &new["rules"]), (&Value::Null, &json!([get])));
        // The roles of an older cluster have rules of their own and no aggregation.
        let rule = aggregated["aggregationRule"].clone();
        let new = reconciled(&role(json!([own])), &aggregated).unwrap();
        assert_eq!((&new["aggregationRule"], &new["rules"]), (&rule, &json!([own])));
        assert_eq!(reconciled(&new, &aggregated), None);
        let mut more = new.clone();
        let own_selector = json!({"matchLabels": {"own": "true"}});
        more["aggregationRule"]["clusterRoleSelectors"] = json!([own_selector]);
        let selectors =
            reconciled(&more, &aggregated).unwrap()["aggregationRule"]["clusterRoleSelectors"].clone();
        assert_eq!(selectors, json!([own_selector, {"matchLabels": {"a": "b"}}]));
        let mut bare = role(json!([get]));
        bare["metadata"] = json!({"name": "edit"});
        let new = reconciled(&bare, &role(json!([get]))).unwrap();
        assert_eq!(new["metadata"]["annotations"][AUTO], "true");
    }

    #[test]
    fn missing_subjects_are_added_and_the_role_is_the_programs() {
        let binding = |role: &str, subjects: Value| {
            json!({"metadata": {"name": "b", "annotations": {AUTO: "true"}}, "subjects": subjects,
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}})
        };
        let (bob, eve) = (json!({"kind": "User", "name": "bob"}), json!({"kind": "User", "name": "eve"}));
        let new = reconciled(&binding("old", json!([bob])), &binding("new", json!([eve]))).unwrap();
        assert_eq!(new, binding("new", json!([bob, eve])));
        assert_eq!(reconciled(&new, &binding("new", json!([eve]))), None);
    }

    /// Before the roles of people were put together, their owner could only add rules to them.
    #[tokio::test]
    async fn rules_that_were_added_to_a_role_before_it_was_aggregated_stay() {
        let dir = tempfile::tempdir().unwrap();
        let fixture = crate::testing::start(dir.path()).await;
        let state = &fixture.server.state;
        let kind = api::kinds::stored("clusterroles").unwrap();
        let stored = |name: &str| state.cache.get("clusterroles", name).unwrap();
        let own = json!({"apiGroups": ["example.com"], "resources": ["tabs"], "verbs": ["get"]});
        let (found, part) = (stored("edit"), stored("system:aggregate-to-edit"));
        state.erase(kind, &part, &Extra::default()).await.unwrap();
        let mut old = found.value.clone();
        old.as_object_mut().unwrap().remove("aggregationRule");
        old["rules"].as_array_mut().unwrap().push(own.clone());
        state.write(kind, old, found.revision, &Extra::default()).await.unwrap();
        crate::registry::bootstrap::run(state).await.unwrap();
        assert!(at(&stored("edit").value, "aggregationRule").is_object());
        let rules = stored("system:aggregate-to-edit").value["rules"].clone();
        assert!(rules.as_array().unwrap().contains(&own), "{rules}");
    }

    /// A cluster that an older program made gets the rules that it lacks when the server starts.
    #[tokio::test]
    async fn a_start_brings_old_roles_up_to_date() {
        const EDIT: &str = "system:aggregate-to-edit";
        let dir = tempfile::tempdir().unwrap();
        let fixture = crate::testing::start(dir.path()).await;
        let state = &fixture.server.state;
        let rules = || state.cache.get("clusterroles", EDIT).map(|role| role.value["rules"].clone());
        let (full, found) = (rules().unwrap(), state.cache.get("clusterroles", EDIT).unwrap());
        let mut old = found.value.clone();
        old["rules"] = json!([]);
        let kind = api::kinds::stored("clusterroles").unwrap();
        state.write(kind, old, found.revision, &Extra::default()).await.unwrap();
        assert_eq!(rules(), Some(json!([])));
        crate::registry::bootstrap::run(state).await.unwrap();
        assert_eq!(rules(), Some(full));
    }
}
