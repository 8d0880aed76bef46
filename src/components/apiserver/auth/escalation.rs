//! Privilege escalation prevention: a user who writes a role or binding must hold every right that
//! it gives (upstream: `registry/rbac/*/policybased`).

use crate::auth::attributes::Attributes;
use crate::auth::missing::Missing;
use crate::auth::param_access;
use crate::auth::rbac::{allows, not_found, rules};
use crate::auth::user::{MASTERS, User};
use crate::flowcontrol::compute::Pace;
use crate::request::context::Context;
use crate::state::State;
use crate::storage::object::Object;
use api::kinds::Kind;
use api::value::{self, list, text};
use api::{Status, meta};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// The refusal of rules that are too much to compare.
const TOO_MANY: &str = "the rules name too many combinations of verbs, groups, resources and names to compare them with the user's own; make several roles of it";

/// Refuses a role or binding that would give more than the user has. `old`: what is stored, `None`
/// for a new object.
///
/// Every change is checked, that of a label too: a label may put the role's rules into an
/// aggregated role. Only what the garbage collector changes is free, so that it can finish a
/// deletion. The check lets other tasks on while it compares.
///
/// A user may create Roles, and read pods. A Role that lets its holder read Secrets is refused:
/// bound to the user itself it would give what the user does not have. A Role that reads pods is
/// taken.
///
/// # Errors
/// 403 with the rights that the user lacks; 404 if the role of a binding does not exist.
pub(crate) async fn check(
    state: &State,
    ctx: &Context,
    kind: &Kind,
    object: &Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    if kind.group == "admissionregistration.k8s.io" {
        return param_access::check(state, ctx, kind, object, old);
    }
    if kind.group != "rbac.authorization.k8s.io" || ctx.user.is_in(MASTERS) {
        return Ok(());
    }
    if old.is_some_and(|old| changes_only_deletion(object, old)) {
        return Ok(());
    }
    let Some(granted) = granted(state, ctx, kind, object)? else { return Ok(()) };
    let refuse = |why: &str| Status::forbidden(kind.group, kind.plural, meta::name(object), why);
    if combinations(granted.rules()) > COMBINATIONS_MAX {
        return Err(refuse(TOO_MANY));
    }
    let mut pace = Pace::default();
    let roles: Vec<_> = state.roles(&ctx.user, meta::namespace(object)).collect();
    let mut held = Held::default();
    for rule in roles.iter().flat_map(|role| rules(role)) {
        pace.step(held.add(rule)).await;
    }
    let missing = held.missing(granted.rules(), &mut pace).await.ok_or_else(|| refuse(TOO_MANY))?;
    if !missing.is_empty() {
        // A role that is bound to the user and does not exist may be the one that is missing.
        let unresolved = not_found(&state.missing_roles(&ctx.user, meta::namespace(object)));
        let unresolved = unresolved.map_or(String::new(), |why| format!("; resolution errors: [{why}]"));
        return Err(refuse(&(missing.refusal(&ctx.user) + &unresolved)));
    }
    // A controller fills the rules in later, from roles that any user may label: a user who sets or
    // changes the aggregation rule needs every right.
    let aggregates = |role: &Value| !value::empty(role, "aggregationRule.clusterRoleSelectors");
    let is_aggregated = kind.kind == "ClusterRole" && (aggregates(object) || old.is_some_and(aggregates));
    if is_aggregated && !held.covers_everything(&mut pace).await {
        return Err(refuse("must have cluster-admin privileges to use the aggregationRule"));
    }
    Ok(())
}

/// The rules that a role has, or that a binding gives.
enum Granted<'a> {
    ByRole(&'a [Value]),
    /// The binding, which gives the rules of the role that it refers to.
    ByBinding(Arc<Object>),
}

impl Granted<'_> {
    fn rules(&self) -> &[Value] {
        match self {
            Granted::ByRole(rules) => rules,
            Granted::ByBinding(role) => rules(role),
        }
    }
}

/// Returns the rules that have to be compared with the user's own. `None`: the user may give them
/// without having them, by the verb `escalate` on the role, or `bind` on the role that a binding
/// refers to.
///
/// # Errors
/// 404 if the role of a binding does not exist.
fn granted<'a>(
    state: &State,
    ctx: &Context,
    kind: &Kind,
    object: &'a Value,
) -> Result<Option<Granted<'a>>, Status> {
    let (user, namespace) = (&ctx.user, meta::namespace(object));
    if matches!(kind.kind, "Role" | "ClusterRole") {
        let may_escalate = is_authorized(state, user, "escalate", kind.plural, namespace, &ctx.info.name);
        return Ok((!may_escalate).then(|| Granted::ByRole(list(object, "rules"))));
    }
    let name = text(object, "roleRef.name");
    let (resource, key) = match text(object, "roleRef.kind") {
        "Role" => ("roles", format!("{namespace}/{name}")),
        _ => ("clusterroles", name.to_string()),
    };
    if is_authorized(state, user, "bind", resource, namespace, name) {
        return Ok(None);
    }
    let role = state.cache.get(resource, &key);
    let role = role.ok_or_else(|| Status::not_found(kind.group, resource, name))?;
    Ok(Some(Granted::ByBinding(role)))
}

/// Returns whether a change touches nothing but what a deletion needs: owners, finalizers, and the
/// managed fields.
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

/// Returns whether the user has a right to a role or to roles.
fn is_authorized(
    state: &State,
    user: &User,
    verb: &str,
    resource: &str,
    namespace: &str,
    name: &str,
) -> bool {
    let group = "rbac.authorization.k8s.io";
    let attributes = Attributes { verb, group, resource, namespace, name, ..Attributes::RESOURCE };
    state.authorize(user, &attributes).is_ok()
}

/// Returns the texts of one list of a rule.
fn words<'a>(rule: &'a Value, path: &str) -> Vec<&'a str> {
    list(rule, path).iter().filter_map(Value::as_str).collect()
}

/// Combinations of verb, group, resource and name that are compared with what a user holds, at
/// most. The lists of a rule multiply: three lists of a thousand words are 10⁹ combinations.
const COMBINATIONS_MAX: usize = 100_000;

/// Returns the number of combinations in the rules.
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

/// Texts of held rules that one check compares, at most: some ten milliseconds, with others let on
/// meanwhile. The built-in `admin` compared with itself takes some thousands.
const COMPARED_MAX: usize = 10_000_000;

/// The rules that a user holds, each once, by what they name: a rule about pods is not compared
/// with rules about secrets.
#[derive(Default)]
struct Held<'a> {
    all: HashSet<&'a Value>,
    /// The rules by each resource that they name, as they write it: `pods`, `pods/log`, `*/scale`,
    /// `*`. Each has the number of its texts.
    by_resource: HashMap<&'a str, Vec<(&'a Value, usize)>>,
    /// The rules about paths that are no resources, each with the number of its texts.
    by_path: Vec<(&'a Value, usize)>,
    /// Texts compared until now.
    compared: usize,
}

impl<'a> Held<'a> {
    /// Adds a rule, and returns the number of its texts.
    fn add(&mut self, rule: &'a Value) -> usize {
        let lists = ["verbs", "apiGroups", "resources", "resourceNames", "nonResourceURLs"];
        let size: usize = lists.into_iter().map(|field| list(rule, field).len()).sum();
        if self.all.insert(rule) {
            for resource in words(rule, "resources").into_iter().collect::<HashSet<_>>() {
                self.by_resource.entry(resource).or_default().push((rule, size));
            }
            if !list(rule, "nonResourceURLs").is_empty() {
                self.by_path.push((rule, size));
            }
        }
        size
    }

    /// Returns whether a rule that is held allows this; `None` if too much has been compared.
    ///
    /// `is_for_every_name`: the granted rule names no objects. Only a held rule that names none
    /// covers it: `resourceNames: [""]` allows requests without a name (list, create), and no
    /// request for one object.
    fn allow(&mut self, a: &Attributes, is_for_every_name: bool) -> Option<bool> {
        let full = a.full_resource();
        let of_every = format!("*/{}", a.subresource);
        let of = |resource: &str| self.by_resource.get(resource).map_or(&[][..], Vec::as_slice);
        let candidates: [&[(&Value, usize)]; 3] = match a.is_resource {
            false => [&self.by_path, &[], &[]],
            true if a.subresource.is_empty() && full != "*" => [of("*"), of(&full), &[]],
            true if full != "*" && full != of_every => [of("*"), of(&full), of(&of_every)],
            true if full != "*" => [of("*"), of(&full), &[]],
            true => [of("*"), &[], &[]],
        };
        self.compared += 1;
        for (rule, size) in candidates.into_iter().flatten() {
            self.compared += size;
            if self.compared > COMPARED_MAX {
                return None;
            }
            let is_narrower = a.is_resource && is_for_every_name && has_names(rule);
            if !is_narrower && allows(rule, a) {
                return Some(true);
            }
        }
        Some(false)
    }

    /// Returns whether rules that are held allow everything that `rule` allows; `None` if that is
    /// too much to compare.
    async fn covers(&mut self, rule: &Value, pace: &mut Pace) -> Option<bool> {
        let is_for_every_name = !has_names(rule);
        for wanted in given(rule) {
            let before = self.compared;
            let is_held = self.allow(&wanted, is_for_every_name)?;
            pace.step(self.compared - before).await;
            if !is_held {
                return Some(false);
            }
        }
        Some(true)
    }

    /// Returns what of the granted rules is not held. If they are too much to compare: what was
    /// found until then, or `None` if that is nothing.
    async fn missing<'g>(&mut self, granted: &'g [Value], pace: &mut Pace) -> Option<Missing<'g>> {
        let mut missing = Missing::default();
        for rule in granted {
            let is_for_every_name = !has_names(rule);
            for wanted in given(rule) {
                let before = self.compared;
                let Some(is_held) = self.allow(&wanted, is_for_every_name) else {
                    return Some(missing).filter(|missing| !missing.is_empty());
                };
                pace.step(self.compared - before).await;
                if !is_held {
                    missing.add(&wanted, is_for_every_name);
                }
            }
        }
        Some(missing)
    }

    /// Returns whether all rights are held, those of a cluster administrator.
    async fn covers_everything(&mut self, pace: &mut Pace) -> bool {
        let everything = [
            json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}),
            json!({"verbs": ["*"], "nonResourceURLs": ["*"]}),
        ];
        for rule in &everything {
            if self.covers(rule, pace).await != Some(true) {
                return false;
            }
        }
        true
    }
}

/// Returns whether a rule is about objects of certain names only.
fn has_names(rule: &Value) -> bool {
    !list(rule, "resourceNames").is_empty()
}

/// Returns everything that a rule allows, one by one. For a rule that names no objects the name is
/// empty, and the caller says so to [`Held::allow`] (`is_for_every_name`).
fn given(rule: &Value) -> impl Iterator<Item = Attributes<'_>> {
    let names = match words(rule, "resourceNames") {
        names if names.is_empty() => vec![""],
        names => names,
    };
    let [verbs, paths, groups, resources] =
        ["verbs", "nonResourceURLs", "apiGroups", "resources"].map(|field| words(rule, field));
    let each = paths.len() + groups.len() * resources.len() * names.len();
    (0..verbs.len() * each).map(move |n| {
        let (verb, n) = (verbs[n / each], n % each);
        let Some(n) = n.checked_sub(paths.len()) else {
            return Attributes::of_path(verb, paths[n]);
        };
        let (n, name) = (n / names.len(), names[n % names.len()]);
        let (group, full) = (groups[n / resources.len()], resources[n % resources.len()]);
        // Nothing behind the slash is no subresource: `pods/` is not `pods`.
        let parts = full.split_once('/').filter(|(_, subresource)| !subresource.is_empty());
        let (resource, subresource) = parts.unwrap_or((full, ""));
        Attributes { verb, group, resource, subresource, name, ..Attributes::RESOURCE }
    })
}

/// Returns whether the rules in `held` allow everything that `rule` allows.
pub(crate) fn covered(held: &[Value], rule: &Value) -> bool {
    let mut all = Held::default();
    for rule in held {
        all.add(rule);
    }
    let is_for_every_name = !has_names(rule);
    given(rule).all(|wanted| all.allow(&wanted, is_for_every_name) == Some(true))
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
        let admin = crate::auth::policy::objects().into_iter().map(|o| combinations(list(&o, "rules"))).max();
        assert!(admin.unwrap() < COMBINATIONS_MAX / 10);
        assert_eq!(combinations(&[json!({"nonResourceURLs": ["/a", "/b"], "verbs": ["get"]})]), 2);
    }

    fn covers(held: &[Value], rule: &Value) -> Option<bool> {
        let mut all = Held::default();
        for rule in held {
            all.add(rule);
        }
        futures::executor::block_on(all.covers(rule, &mut Pace::default()))
    }

    #[test]
    fn a_star_is_more_than_any_list() {
        let read = json!({"apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": ["get", "list"]});
        let all = json!({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]});
        let covered = |held: &[Value], rule: &Value| covers(held, rule) == Some(true);
        assert!(covered(std::slice::from_ref(&all), &read));
        assert!(covered(std::slice::from_ref(&all), &all));
        assert!(!covered(std::slice::from_ref(&read), &all));
        let log =
            json!({"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"], "resourceNames": ["x"]});
        assert!(covered(std::slice::from_ref(&read), &log));
        assert!(!covered(&[log], &read));
        let scale =
            |resource: &str| json!({"apiGroups": ["apps"], "resources": [resource], "verbs": ["get"]});
        assert!(covered(&[scale("*/scale")], &scale("deployments/scale")));
        assert!(covered(&[scale("*/scale")], &scale("*/scale")));
        assert!(!covered(&[scale("deployments/scale")], &scale("*/scale")));
        assert!(!covered(&[scale("deployments")], &scale("deployments/scale")));
        assert!(covered(&[scale("deployments/")], &scale("deployments/")));
        assert!(!covered(&[scale("deployments/")], &scale("deployments")));
        let url = |url: &str| json!({"nonResourceURLs": [url], "verbs": ["get"]});
        assert!(covered(&[url("/a/*")], &url("/a/b")) && !covered(&[url("/a/b")], &url("/a/*")));
    }

    #[test]
    fn a_refusal_names_what_is_missing_and_nothing_else() {
        let of = |resources: Value, verbs: Value| json!({"apiGroups": [""], "resources": resources, "verbs": verbs});
        let mut one = of(json!(["secrets"]), json!(["get"]));
        one["resourceNames"] = json!(["a"]);
        let granted = [
            json!({"nonResourceURLs": ["/b", "/a"], "verbs": ["get"]}),
            of(json!(["secrets", "pods"]), json!(["get", "list", "delete"])),
            of(json!(["pods"]), json!(["get", "watch"])),
            one,
        ];
        let own = of(json!(["pods"]), json!(["get", "list"]));
        let mut held = Held::default();
        held.add(&own);
        let missing = futures::executor::block_on(held.missing(&granted, &mut Pace::default())).unwrap();
        let refusal = missing.refusal(&User::new("bob", &[]));
        let lines: Vec<&str> = refusal.lines().skip(1).collect();
        let wanted = [
            r#"{APIGroups:[""], Resources:["pods"], Verbs:["delete" "watch"]}"#,
            r#"{APIGroups:[""], Resources:["secrets"], ResourceNames:["a"], Verbs:["get"]}"#,
            r#"{APIGroups:[""], Resources:["secrets"], Verbs:["get" "list" "delete"]}"#,
            r#"{NonResourceURLs:["/a"], Verbs:["get"]}"#,
            r#"{NonResourceURLs:["/b"], Verbs:["get"]}"#,
        ];
        assert_eq!(lines, wanted);
    }

    #[test]
    fn the_empty_name_is_not_every_name() {
        let of = |names: Value| json!({"apiGroups": [""], "resources": ["secrets"], "verbs": ["*"], "resourceNames": names});
        let (every, empty, one) = (of(json!([])), of(json!([""])), of(json!(["a"])));
        let is_covered = |held: &Value, rule: &Value| {
            let held = std::slice::from_ref(held);
            let is_covered = covers(held, rule) == Some(true);
            assert_eq!(is_covered, covered(held, rule), "the start of a server reads roles as a check does");
            is_covered
        };
        assert!(!is_covered(&empty, &every) && !is_covered(&one, &every));
        assert!(is_covered(&every, &empty) && is_covered(&every, &one) && is_covered(&every, &every));
        assert!(is_covered(&empty, &empty) && !is_covered(&one, &empty) && !is_covered(&empty, &one));
        let path = json!({"nonResourceURLs": ["/a"], "verbs": ["get"]});
        assert!(is_covered(&path, &path));
    }

    #[test]
    fn held_rules_count_once_and_what_is_compared_has_a_bound() {
        let one = |name: String| json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"], "resourceNames": [name]});
        let (same, other) =
            (vec![one("a".into()); 1_000], json!({"apiGroups": ["x"], "resources": ["y"], "verbs": ["get"]}));
        let mut held = Held::default();
        for rule in same.iter().chain([&other]) {
            held.add(rule);
        }
        let verdict = futures::executor::block_on(held.covers(&one("b".into()), &mut Pace::default()));
        assert_eq!(
            (verdict, held.compared),
            (Some(false), 1 + 4),
            "one rule about pods, and none about others"
        );
        let many: Vec<Value> = (0..10_000).map(|n| one(format!("n{n}"))).collect();
        let names: Vec<String> = (0..10_000).rev().map(|n| format!("n{n}")).collect();
        let all = json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"], "resourceNames": names});
        assert_eq!(covers(&many, &all), None);
    }
}
