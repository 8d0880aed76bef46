//! Privilege escalation prevention: a user who writes a role or binding must hold every right that it gives
//! (upstream: `registry/rbac/*/policybased`).

use super::State;
use super::authz::{Attributes, allows};
use super::context::Context;
use super::user::{MASTERS, User};
use crate::api::kinds::Kind;
use crate::api::value::{self, at, list, text};
use crate::api::{Status, meta};
use serde_json::{Value, json};

/// Refuses a role or binding that would give more than the user has. `old`: what is stored, `None` for a new object.
///
/// Every change is checked, that of a label too: a label may put the role's rules into an aggregated role. Only what the garbage
/// collector changes is free, so that it can finish a deletion.
///
/// # Errors
/// 403 with the rules that the user lacks; 404 if the role of a binding does not exist.
pub fn check(
    state: &State,
    ctx: &Context,
    kind: &Kind,
    object: &Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    let user = &ctx.user;
    if kind.group != "rbac.authorization.k8s.io" || user.is_in(MASTERS) {
        return Ok(());
    }
    if old.is_some_and(|old| changes_only_deletion(object, old)) {
        return Ok(());
    }
    let namespace = meta::namespace(object);
    let mut held: Vec<Value> = vec![];
    state.each_rule(user, namespace, |rule| held.push(rule.clone()));
    let granted = match kind.kind {
        "Role" | "ClusterRole" => {
            if may(state, user, "escalate", kind.plural, namespace, &ctx.info.name) {
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
    let refuse = |why: &str| Err(Status::forbidden(kind.group, kind.plural, meta::name(object), why));
    if combinations(&granted) > COMBINATIONS_MAX {
        return refuse(
            "the rules name too many combinations of verbs, groups, resources and names to compare them with the user's own; make several roles of it",
        );
    }
    let missing: Vec<String> = granted.iter().filter(|rule| !covered(&held, rule)).map(shown).collect();
    if !missing.is_empty() {
        let groups: Vec<String> = user.groups.iter().map(|g| format!("{g:?}")).collect();
        return refuse(&format!(
            "user {:?} (groups=[{}]) is attempting to grant RBAC permissions not currently held:\n{}",
            user.name,
            groups.join(" "),
            missing.join("\n")
        ));
    }
    // A controller fills the rules in later, from roles that anybody may label: whoever sets or changes the rule needs every right.
    let aggregates = |role: &Value| !value::empty(role, "aggregationRule.clusterRoleSelectors");
    if kind.kind == "ClusterRole" && (aggregates(object) || old.is_some_and(aggregates)) {
        let everything = [
            json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}),
            json!({"verbs": ["*"], "nonResourceURLs": ["*"]}),
        ];
        if !everything.iter().all(|rule| covered(&held, rule)) {
            return refuse("must have cluster-admin privileges to use an aggregationRule");
        }
    }
    Ok(())
}

/// Records whether a change touches nothing but what a deletion needs: owners, finalizers, and who wrote them.
fn changes_only_deletion(new: &Value, old: &Value) -> bool {
    let rest = |object: &Value| {
        let mut rest = object.clone();
        for field in ["ownerReferences", "finalizers", "managedFields", "resourceVersion"] {
            value::remove(&mut rest, &format!("metadata.{field}"));
        }
        rest
    };
    rest(new) == rest(old)
}

fn may(state: &State, user: &User, verb: &str, resource: &str, namespace: &str, name: &str) -> bool {
    let group = "rbac.authorization.k8s.io";
    let attributes = Attributes {
        verb,
        group,
        resource,
        subresource: "",
        namespace,
        name,
        on_node: "",
        path: "",
        is_resource: true,
    };
    state.authorize(user, &attributes).is_ok()
}

fn words<'a>(rule: &'a Value, path: &str) -> Vec<&'a str> {
    list(rule, path).iter().filter_map(Value::as_str).collect()
}

/// Combinations of verb, group, resource and name that are compared with what a user holds, at most: the lists of a rule
/// multiply.
const COMBINATIONS_MAX: usize = 100_000;

fn combinations(rules: &[Value]) -> usize {
    let one = |rule: &Value| {
        let count = |path: &str| list(rule, path).len();
        let of_resources = ["apiGroups", "resources"].map(count).into_iter().fold(1, usize::saturating_mul);
        let names = count("resourceNames").max(1);
        let all = of_resources.saturating_mul(names).saturating_add(count("nonResourceURLs"));
        all.saturating_mul(count("verbs"))
    };
    rules.iter().map(one).fold(0, usize::saturating_add)
}

/// Is everything that `rule` allows allowed by some rule of `held`?
pub fn covered(held: &[Value], rule: &Value) -> bool {
    let any = |a: Attributes| held.iter().any(|h| allows(h, &a));
    let nothing = Attributes {
        verb: "",
        group: "",
        resource: "",
        subresource: "",
        namespace: "",
        name: "",
        on_node: "",
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

    #[test]
    fn lists_of_a_rule_multiply_up_to_a_bound() {
        let words = |n: usize| (0..n).map(|i| format!("w{i}")).collect::<Vec<_>>();
        let rule = |n| json!({"apiGroups": words(n), "resources": words(n), "verbs": words(n), "resourceNames": words(n)});
        assert_eq!(combinations(&[rule(3), rule(2)]), 81 + 16);
        assert!(combinations(&[rule(1_000)]) > COMBINATIONS_MAX);
        let admin =
            super::super::policy::objects().into_iter().map(|o| combinations(list(&o, "rules"))).max();
        assert!(admin.unwrap() < COMBINATIONS_MAX / 10);
        assert_eq!(combinations(&[json!({"nonResourceURLs": ["/a", "/b"], "verbs": ["get"]})]), 2);
    }

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
