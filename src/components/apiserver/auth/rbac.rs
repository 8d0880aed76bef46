//! Authorization: `system:masters` may do everything, kubelets what the node rules allow, and every
//! user what the roles bound to it allow.

use crate::auth::attributes::Attributes;
use crate::auth::node_authorizer;
use crate::auth::role_bindings::{self, RoleKey};
use crate::auth::user::{MASTERS, User};
use crate::request::context::Context;
use crate::state::State;
use crate::storage::object::Object;
use api::Status;
use api::gostr::quote;
use api::value::list;
use serde_json::Value;
use std::sync::Arc;

/// Bytes of roles that are searched for one decision, at most. Some milliseconds: a user who may
/// write roles and bind them to `system:authenticated` must not delay every request. The bootstrap
/// roles of one user have some ten KiB.
const SEARCHED_MAX: usize = 2 << 20;
/// Bytes that a role counts as at least.
const ROLE_LEAST: usize = 256;
/// Missing roles that one refusal names, at most. Upstream names all.
const MISSING_NAMED: usize = 8;

/// Returns whether a list has this text, or `*`.
fn any(list: &[Value], wanted: &str) -> bool {
    list.iter().filter_map(Value::as_str).any(|v| v == "*" || v == wanted)
}

/// Returns whether one entry of a rule's `resources` names what is asked for. The whole text counts
/// (upstream: `ResourceMatches`): `pods/log` is also the resource of an access review that has no
/// subresource, `*/` and `pods/` name nothing, and an audience may have slashes of its own.
///
/// Example: `*/scale` names `deployments/scale`, and not `deployments`.
fn names_resource(named: &str, a: &Attributes) -> bool {
    match a.subresource {
        _ if named == "*" => true,
        "" => named == a.resource,
        sub => {
            let resource = named.strip_suffix(sub).and_then(|rest| rest.strip_suffix('/'));
            resource.is_some_and(|resource| resource == "*" || resource == a.resource)
        }
    }
}

/// Returns whether one rule of a role allows a request.
///
/// The rule `verbs: [get, list]`, `apiGroups: [""]`, `resources: [pods]`:
///
/// ```text
/// get pods/web        allowed
/// delete pods/web     not: another verb
/// get pods/web/log    not: pods/log is a resource of its own
/// get deployments     not: their group is apps
/// ```
///
/// With `resourceNames: [web]` a get of `web` is allowed, and a list of all pods is not: it names
/// none.
pub(crate) fn allows(rule: &Value, a: &Attributes) -> bool {
    if !any(list(rule, "verbs"), a.verb) {
        return false;
    }
    if !a.is_resource {
        return list(rule, "nonResourceURLs").iter().filter_map(Value::as_str).any(|url| {
            match url.trim_end_matches('*') {
                whole if whole.len() == url.len() => a.path == url,
                prefix => a.path.starts_with(prefix),
            }
        });
    }
    let names = list(rule, "resourceNames");
    let resource =
        list(rule, "resources").iter().filter_map(Value::as_str).any(|named| names_resource(named, a));
    resource
        && any(list(rule, "apiGroups"), a.group)
        && (names.is_empty() || names.iter().any(|n| n == a.name))
}

/// Decides whether the request may be carried out.
///
/// # Errors
/// 403 if its user may not.
pub(crate) async fn authorize(state: &State, ctx: &Context) -> Result<(), Status> {
    let attributes = Attributes::of(&ctx.info);
    let allow = |attributes: &Attributes| {
        let verdict = state.authorize(&ctx.user, attributes);
        verdict.map_err(|reason| attributes.forbidden(&ctx.user, &reason))
    };
    if let Err(refused) = allow(&attributes) {
        if ctx.user.node().is_none() {
            return Err(refused);
        }
        // What a kubelet may read depends on its pods, and it may have heard of one from another
        // server.
        state.fresh().await?;
        allow(&attributes)?;
    }
    if attributes.opens_stream() {
        allow(&Attributes { verb: "create", ..attributes })?;
    }
    ctx.authorized();
    Ok(())
}

impl State {
    /// Decides whether the user may do this. The error is a reason, often empty.
    ///
    /// Three answers are asked for in turn: the group `system:masters`, the node rules, the roles.
    /// The first that allows decides. No rule forbids: a user may do what any of its roles says,
    /// and a role never takes away what another one gives.
    pub(crate) fn authorize(&self, user: &User, a: &Attributes) -> Result<(), String> {
        if user.is_in(MASTERS) {
            return Ok(());
        }
        let mut reason = String::new();
        if let Some(node) = user.node() {
            match node_authorizer::authorize(self, node, a) {
                Ok(()) => return Ok(()),
                Err(why) => reason = why,
            }
        } else if user.is_nameless_node() {
            reason = format!("unknown node for user {}", quote(&user.name));
        }
        match search(self.roles(user, a.namespace), a) {
            Some(true) => Ok(()),
            Some(false) => {
                let missing = not_found(&self.missing_roles(user, a.namespace));
                let missing = missing.map(|why| format!("RBAC: {why}"));
                let reasons = [Some(reason).filter(|why| !why.is_empty()), missing];
                Err(reasons.into_iter().flatten().collect::<Vec<_>>().join("\n"))
            }
            None => Err(format!(
                "the roles bound to {:?} are more than the {} MiB that are searched; bind fewer or smaller roles to the user and its groups",
                user.name,
                SEARCHED_MAX >> 20
            )),
        }
    }

    /// Says why [`State::authorize`] allows it, in upstream's words: names the binding. Empty where
    /// no role decides (`system:masters` and the node rules say nothing upstream either), and for a
    /// binding that is not among the first [`SEARCHED_MAX`] bytes of those of its role.
    ///
    /// Example: `RBAC: allowed by ClusterRoleBinding "b" of ClusterRole "view" to User "bob"`.
    pub(crate) fn why_allowed(&self, user: &User, a: &Attributes) -> String {
        let by_node_rules = |node| node_authorizer::authorize(self, node, a).is_ok();
        if user.is_in(MASTERS) || user.node().is_some_and(by_node_rules) {
            return String::new();
        }
        let allows_it = |(resource, key): &RoleKey| {
            let role = self.cache.get(resource, key);
            role.is_some_and(|role| rules(&role).iter().any(|rule| allows(rule, a)))
        };
        let role = self.cache.bindings.roles(user, a.namespace).into_iter().find(allows_it);
        let by = role.and_then(|role| self.binding_of(user, a.namespace, &role));
        by.map_or(String::new(), |by| format!("RBAC: allowed by {by}"))
    }

    /// Names a binding that gives the role to the user: one of the whole cluster before one of
    /// `namespace`.
    fn binding_of(&self, user: &User, namespace: &str, role: &RoleKey) -> Option<String> {
        let prefix = format!("{namespace}/");
        let places = [("clusterrolebindings", ""), ("rolebindings", prefix.as_str())];
        let mut searched = 0;
        for (resource, prefix) in places.into_iter().filter(|(_, prefix)| *prefix != "/") {
            for (_, binding) in self.cache.list(resource, prefix).objects {
                if !role_bindings::is_of(&binding.value, role) {
                    continue;
                }
                if searched > SEARCHED_MAX {
                    return None;
                }
                searched += binding.bytes.len();
                if let Some(found) = role_bindings::describe(&binding.value, role, user) {
                    return Some(found);
                }
            }
        }
        None
    }

    /// Returns the roles that are bound to the user and do not exist.
    pub(crate) fn missing_roles(&self, user: &User, namespace: &str) -> Vec<RoleKey> {
        let mut roles = self.cache.bindings.roles(user, namespace);
        roles.retain(|(resource, key)| self.cache.get(resource, key).is_none());
        roles
    }

    /// Returns the roles that are bound to the user, each once: those of the whole cluster, then
    /// those of `namespace`.
    pub(crate) fn roles(&self, user: &User, namespace: &str) -> impl Iterator<Item = Arc<Object>> {
        let roles = self.cache.bindings.roles(user, namespace);
        roles.into_iter().filter_map(|(resource, key)| self.cache.get(resource, &key))
    }
}

/// Says which bound roles do not exist, in upstream's words; `None` without any.
///
/// Example: `clusterrole.rbac.authorization.k8s.io "x" not found`; several stand in brackets.
pub(crate) fn not_found(roles: &[RoleKey]) -> Option<String> {
    let one = |(resource, key): &RoleKey| {
        let name = key.rsplit('/').next().unwrap_or_default();
        format!("{}.rbac.authorization.k8s.io {} not found", resource.trim_end_matches('s'), quote(name))
    };
    let mut all: Vec<String> = roles.iter().take(MISSING_NAMED).map(one).collect();
    if roles.len() > MISSING_NAMED {
        all.push(format!("and {} more", roles.len() - MISSING_NAMED));
    }
    match all.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        all => Some(format!("[{}]", all.join(", "))),
    }
}

/// Returns whether a rule of the roles allows a request; `None` if none of the first
/// [`SEARCHED_MAX`] bytes does, and there are more.
fn search(roles: impl Iterator<Item = Arc<Object>>, a: &Attributes) -> Option<bool> {
    let mut searched = 0;
    for role in roles {
        if searched > SEARCHED_MAX {
            return None;
        }
        searched += role.bytes.len().max(ROLE_LEAST);
        if rules(&role).iter().any(|rule| allows(rule, a)) {
            return Some(true);
        }
    }
    Some(false)
}

/// Returns the rules of a role.
pub(crate) fn rules(role: &Object) -> &[Value] {
    list(&role.value, "rules")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn attributes<'a>(
        verb: &'a str,
        resource: &'a str,
        subresource: &'a str,
        name: &'a str,
    ) -> Attributes<'a> {
        Attributes { verb, resource, subresource, namespace: "d", name, ..Attributes::RESOURCE }
    }

    #[test]
    fn a_rule_allows_what_it_says_and_no_more() {
        let rule = json!({"apiGroups": [""], "resources": ["pods", "pods/log", "*/scale"], "verbs": ["get"]});
        assert!(allows(&rule, &attributes("get", "pods", "", "x")));
        assert!(allows(&rule, &attributes("get", "pods", "log", "x")));
        assert!(!allows(&rule, &attributes("get", "pods", "exec", "x")));
        assert!(!allows(&rule, &attributes("list", "pods", "", "")));
        assert!(allows(&rule, &attributes("get", "deployments", "scale", "x")));
        let named = json!({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"], "resourceNames": ["a"]});
        assert!(allows(&named, &attributes("delete", "secrets", "", "a")));
        assert!(!allows(&named, &attributes("delete", "secrets", "", "b")));
    }

    #[test]
    fn stars_at_the_end_of_a_path_stand_for_the_rest_of_it() {
        let of = |url: &str, path: &str| {
            let rule = json!({"nonResourceURLs": [url], "verbs": ["get"]});
            allows(&rule, &Attributes::of_path("get", path))
        };
        for url in ["*", "/a/*", "/a/**", "/a*"] {
            assert!(of(url, "/a/b"), "{url}");
        }
        assert!(of("/a", "/a") && !of("/a", "/a/b") && !of("/*/b", "/a/b") && !of("/a/*", "/a"));
    }

    #[test]
    fn the_whole_text_of_a_resource_is_compared() {
        let allowed = |named: &str, resource: &str, subresource: &str| {
            let rule = json!({"apiGroups": ["*"], "resources": [named], "verbs": ["*"]});
            allows(&rule, &attributes("get", resource, subresource, "x"))
        };
        for (named, resource, subresource) in [
            ("pods/log", "pods", "log"),
            ("*/log", "pods", "log"),
            ("pods/log", "pods/log", ""),
            ("https://vault.example.com", "https://vault.example.com", ""),
            ("*", "https://vault.example.com", ""),
        ] {
            assert!(allowed(named, resource, subresource), "{named} names {resource} {subresource}");
        }
        for (named, resource, subresource) in [
            ("pods/", "pods", ""),
            ("*/", "secrets", ""),
            ("*/", "pods", "log"),
            ("pods", "pods", "log"),
            ("*/log", "pods/log", ""),
            ("pods/xlog", "pods", "log"),
            ("https:", "https://vault.example.com", ""),
        ] {
            assert!(!allowed(named, resource, subresource), "{named} names {resource} {subresource}");
        }
    }

    #[test]
    fn a_decision_searches_so_many_bytes_of_roles_and_no_more() {
        let role =
            |rules: Value| Arc::new(Object::new(json!({"metadata": {"name": "r"}, "rules": rules}), 1));
        let other = json!({"apiGroups": [""], "resources": ["x".repeat(1 << 20)], "verbs": ["get"]});
        let (large, wanted) = (
            role(json!([other])),
            role(json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}])),
        );
        let with = |before: usize, after: usize| {
            let all = [vec![large.clone(); before], vec![wanted.clone()], vec![large.clone(); after]];
            search(all.concat().into_iter(), &attributes("get", "pods", "", "x"))
        };
        assert_eq!([with(0, 9), with(1, 9), with(2, 0), with(9, 0)], [Some(true), Some(true), None, None]);
        let nothing = std::iter::repeat_n(large.clone(), 2);
        assert_eq!(search(nothing, &attributes("get", "pods", "", "x")), Some(false));
        let many = std::iter::repeat_n(role(json!([])), SEARCHED_MAX / ROLE_LEAST + 2);
        assert_eq!(search(many, &attributes("get", "pods", "", "x")), None, "each counts");
    }

    #[test]
    fn missing_roles_are_named_up_to_a_bound() {
        assert_eq!(not_found(&[]), None);
        let roles: Vec<RoleKey> = (0..10).map(|n| ("roles", format!("d/r{n}"))).collect();
        let one = "role.rbac.authorization.k8s.io \"r0\" not found";
        assert_eq!(not_found(&roles[..1]).as_deref(), Some(one));
        let two = not_found(&[("clusterroles", "x".into()), ("roles", "d/y".into())]);
        let wanted = "[clusterrole.rbac.authorization.k8s.io \"x\" not found, \
            role.rbac.authorization.k8s.io \"y\" not found]";
        assert_eq!(two.as_deref(), Some(wanted));
        assert!(not_found(&roles).is_some_and(|all| all.ends_with("\"r7\" not found, and 2 more]")));
    }

    #[test]
    fn a_refusal_reads_as_upstreams() {
        let user = User::new("bob", &[]);
        let list = attributes("list", "pods", "", "");
        assert_eq!(
            list.forbidden(&user, "").message,
            "pods is forbidden: User \"bob\" cannot list resource \"pods\" in API group \"\" in the namespace \"d\""
        );
        let exec = attributes("create", "pods", "exec", "p1");
        assert!(
            exec.forbidden(&user, "")
                .message
                .starts_with("pods \"p1\" is forbidden: User \"bob\" cannot create resource \"pods/exec\"")
        );
    }
}
