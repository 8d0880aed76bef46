//! Nobody grants what he does not hold: roles and bindings are checked against the rules of whoever writes them.

use super::State;
use super::authz::{Attributes, allows};
use super::user::{MASTERS, User};
use crate::api::kinds::Kind;
use crate::api::value::{at, list, text};
use crate::api::{Status, meta};
use serde_json::Value;

/// Refuses a role or binding that would give more than `user` has.
pub fn check(state: &State, user: &User, kind: &Kind, object: &Value) -> Result<(), Status> {
    if kind.group != "rbac.authorization.k8s.io" || user.is_in(MASTERS) {
        return Ok(());
    }
    let namespace = meta::namespace(object);
    let granted = match kind.kind {
        "Role" | "ClusterRole" => {
            if may(state, user, "escalate", kind.plural, namespace, meta::name(object)) {
                return Ok(());
            }
            list(object, "rules").to_vec()
        }
        _ => {
            let name = text(object, "roleRef.name");
            let (resource, key) = match text(object, "roleRef.kind") {
                "Role" => ("roles", format!("{namespace}/{name}")),
                _ => ("clusterroles", name.to_string()),
            };
            if may(state, user, "bind", resource, namespace, name) {
                return Ok(());
            }
            let Some(role) = state.cache.get(resource, &key) else {
                return Err(Status::not_found(kind.group, resource, name));
            };
            list(&role.value, "rules").to_vec()
        }
    };
    let mut held: Vec<Value> = vec![];
    state.each_rule(user, namespace, |rule| held.push(rule.clone()));
    let missing: Vec<String> = granted.iter().filter(|rule| !covered(&held, rule)).map(shown).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let groups: Vec<String> = user.groups.iter().map(|g| format!("{g:?}")).collect();
    let why = format!(
        "user {:?} (groups=[{}]) is attempting to grant RBAC permissions not currently held:\n{}",
        user.name,
        groups.join(" "),
        missing.join("\n")
    );
    Err(Status::forbidden(kind.group, kind.plural, meta::name(object), &why))
}

fn may(state: &State, user: &User, verb: &str, resource: &str, namespace: &str, name: &str) -> bool {
    let group = "rbac.authorization.k8s.io";
    let attributes =
        Attributes { verb, group, resource, subresource: "", namespace, name, path: "", is_resource: true };
    state.authorize(user, &attributes).is_ok()
}

fn words<'a>(rule: &'a Value, path: &str) -> Vec<&'a str> {
    list(rule, path).iter().filter_map(Value::as_str).collect()
}

/// Is everything that `rule` allows allowed by some rule of `held`?
fn covered(held: &[Value], rule: &Value) -> bool {
    let any = |a: Attributes| held.iter().any(|h| allows(h, &a));
    let nothing = Attributes {
        verb: "",
        group: "",
        resource: "",
        subresource: "",
        namespace: "",
        name: "",
        path: "",
        is_resource: true,
    };
    let names = match words(rule, "resourceNames") {
        names if names.is_empty() => vec![""],
        names => names,
    };
    words(rule, "verbs").iter().all(|verb| {
        words(rule, "nonResourceURLs")
            .iter()
            .all(|path| any(Attributes { verb, path, is_resource: false, ..nothing }))
            && words(rule, "apiGroups").iter().all(|group| {
                words(rule, "resources").iter().all(|full| {
                    let (resource, subresource) = full.split_once('/').unwrap_or((full, ""));
                    names
                        .iter()
                        .all(|name| any(Attributes { verb, group, resource, subresource, name, ..nothing }))
                })
            })
    })
}

/// `{APIGroups:[""], Resources:["pods"], Verbs:["get"]}`
fn shown(rule: &Value) -> String {
    let fields = [
        ("APIGroups", "apiGroups"),
        ("Resources", "resources"),
        ("ResourceNames", "resourceNames"),
        ("NonResourceURLs", "nonResourceURLs"),
        ("Verbs", "verbs"),
    ];
    let parts: Vec<String> = fields
        .iter()
        .filter(|(_, path)| at(rule, path).as_array().is_some_and(|a| !a.is_empty()))
        .map(|(name, path)| {
            format!(
                "{name}:[{}]",
                words(rule, path).iter().map(|w| format!("{w:?}")).collect::<Vec<_>>().join(" ")
            )
        })
        .collect();
    format!("{{{}}}", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_star_is_more_than_any_list() {
        let read = json!({"apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": ["get", "list"]});
        let all = json!({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]});
        assert!(covered(std::slice::from_ref(&all), &read));
        assert!(!covered(std::slice::from_ref(&read), &all));
        let log =
            json!({"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"], "resourceNames": ["x"]});
        assert!(covered(std::slice::from_ref(&read), &log));
        assert!(!covered(&[log], &read));
        assert_eq!(shown(&read), r#"{APIGroups:[""], Resources:["pods" "pods/log"], Verbs:["get" "list"]}"#);
    }
}
