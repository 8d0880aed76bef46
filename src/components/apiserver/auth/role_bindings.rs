//! An index of the role bindings: the roles that are bound to a user, without a walk over all
//! bindings and their subjects.
//!
//! Every request is authorized, so its cost must not grow with what others have bound to others.
//! Example: a namespace has 1,000 RoleBindings of 40,000 subjects each; a request of jane asks for
//! `jane` and for each of her groups, and finds each role once, however often it is bound to her.
//! Upstream walks all bindings (`DefaultRuleResolver.VisitRulesFor`). The watch cache keeps the
//! index: a change costs what the changed binding holds. Roles that are bound in the whole cluster
//! come first: a decision looks at so many rules and no more ([`super::rbac`]), and the bindings
//! of a namespace shall not take their turn from those.

use crate::auth::user::User;
use crate::storage::object::Object;
use api::gostr::quote;
use api::meta;
use api::value::{list, text};
use parking_lot::RwLock;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// The resource and the key of a role.
pub(crate) type RoleKey = (&'static str, String);
/// Roles of one user that are found, at most.
pub(crate) const ROLES_MAX: usize = 10_000;
/// The roles of one subject, each with the number of bindings that give it.
type Roles = BTreeMap<RoleKey, usize>;

/// The bindings of one namespace, or those of the whole cluster.
#[derive(Default)]
struct Bound {
    users: HashMap<String, Roles>,
    groups: HashMap<String, Roles>,
}

#[derive(Default)]
pub(crate) struct Bindings {
    /// The bindings by their namespace, which is empty for ClusterRoleBindings.
    bound: RwLock<HashMap<String, Bound>>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    User(String),
    Group(String),
}

/// True if objects of this resource bind roles.
pub(crate) fn is_binding(resource: &str) -> bool {
    matches!(resource, "clusterrolebindings" | "rolebindings")
}

/// Bytes of memory that the index takes for one subject, about: its name with an entry of a table,
/// and a map with one role.
const SUBJECT: usize = 700;

/// Returns about how many bytes of memory the index takes for an object of this resource; 0 for
/// what binds no roles.
pub(crate) fn index_cost(resource: &str, object: &Value) -> usize {
    if !is_binding(resource) {
        return 0;
    }
    let role = meta::namespace(object).len() + text(object, "roleRef.name").len();
    list(object, "subjects").len() * (SUBJECT + role)
}

/// Returns the users and groups that a binding names.
fn subjects(binding: &Value) -> BTreeSet<Subject> {
    list(binding, "subjects").iter().filter_map(|subject| subject_of(binding, subject)).collect()
}

/// Returns the user or group of one entry of a binding. A ServiceAccount is the user that its
/// tokens authenticate; without a namespace it is in the binding's own.
fn subject_of(binding: &Value, subject: &Value) -> Option<Subject> {
    let name = text(subject, "name");
    match text(subject, "kind") {
        "User" => Some(Subject::User(name.into())), // `*` is a name as any other: all users are a group
        "Group" => Some(Subject::Group(name.into())),
        "ServiceAccount" => {
            let of = namespace_of(binding, subject);
            // With a colon the namespace would end elsewhere in the user's name.
            (!of.contains(':')).then(|| Subject::User(format!("system:serviceaccount:{of}:{name}")))
        }
        _ => None,
    }
}

fn namespace_of<'a>(binding: &'a Value, subject: &'a Value) -> &'a str {
    match text(subject, "namespace") {
        "" => meta::namespace(binding),
        of => of,
    }
}

/// Names a binding in upstream's words if it gives `wanted` to the user; `None` if it does not.
///
/// Example: `RoleBinding "b/shop" of ClusterRole "view" to ServiceAccount "web/shop"`.
pub(crate) fn describe(binding: &Value, wanted: &RoleKey, user: &User) -> Option<String> {
    let is_user = |subject: &&Value| match subject_of(binding, subject) {
        Some(Subject::User(name)) => name == user.name,
        Some(Subject::Group(name)) => user.is_in(&name),
        None => false,
    };
    let subject = list(binding, "subjects").iter().find(is_user).filter(|_| is_of(binding, wanted))?;
    let (kind, name) = (text(subject, "kind"), text(subject, "name"));
    let to = match kind {
        "ServiceAccount" => format!("{name}/{}", namespace_of(binding, subject)),
        _ => name.to_string(),
    };
    let (by, name) = match (meta::name(binding), meta::namespace(binding)) {
        (name, "") => ("ClusterRoleBinding", name.to_string()),
        (name, namespace) => ("RoleBinding", format!("{name}/{namespace}")),
    };
    let (role, named) = (text(binding, "roleRef.kind"), text(binding, "roleRef.name"));
    let [name, named, to] = [name.as_str(), named, to.as_str()].map(quote);
    Some(format!("{by} {name} of {role} {named} to {kind} {to}"))
}

/// Returns whether a binding names this role.
pub(crate) fn is_of(binding: &Value, wanted: &RoleKey) -> bool {
    role(binding).as_ref() == Some(wanted)
}

/// Returns the role that a binding names.
fn role(binding: &Value) -> Option<RoleKey> {
    let (namespace, name) = (meta::namespace(binding), text(binding, "roleRef.name"));
    match text(binding, "roleRef.kind") {
        "ClusterRole" => Some(("clusterroles", name.to_string())),
        "Role" if !namespace.is_empty() => Some(("roles", format!("{namespace}/{name}"))),
        _ => None,
    }
}

fn add(all: &mut HashMap<String, Bound>, binding: &Value) {
    let Some(role) = role(binding) else { return };
    let bound = all.entry(meta::namespace(binding).to_string()).or_default();
    for subject in subjects(binding) {
        let roles = match subject {
            Subject::User(name) => bound.users.entry(name),
            Subject::Group(name) => bound.groups.entry(name),
        };
        *roles.or_default().entry(role.clone()).or_default() += 1;
    }
}

fn remove(all: &mut HashMap<String, Bound>, binding: &Value) {
    let (Some(role), namespace) = (role(binding), meta::namespace(binding)) else { return };
    let Some(bound) = all.get_mut(namespace) else { return };
    for subject in subjects(binding) {
        let (of, name) = match subject {
            Subject::User(name) => (&mut bound.users, name),
            Subject::Group(name) => (&mut bound.groups, name),
        };
        let Some(roles) = of.get_mut(&name) else { continue };
        if let Some(count) = roles.get_mut(&role) {
            *count -= 1;
            if *count == 0 {
                roles.remove(&role);
            }
        }
        if roles.is_empty() {
            of.remove(&name);
        }
    }
    if bound.users.is_empty() && bound.groups.is_empty() {
        all.remove(namespace);
    }
}

impl Bindings {
    /// Takes over one change of a binding.
    pub(crate) fn change(&self, old: Option<&Arc<Object>>, new: Option<&Arc<Object>>) {
        let mut all = self.bound.write();
        if let Some(old) = old {
            remove(&mut all, &old.value);
        }
        if let Some(new) = new {
            add(&mut all, &new.value);
        }
    }

    /// Takes over all bindings there are.
    pub(crate) fn reset<'a>(&self, bindings: impl Iterator<Item = &'a Arc<Object>>) {
        let mut all = HashMap::new();
        bindings.for_each(|binding| add(&mut all, &binding.value));
        *self.bound.write() = all;
    }

    /// Returns the roles that bind the user, each once: those of the whole cluster, then those of
    /// `namespace`; up to [`ROLES_MAX`].
    pub(crate) fn roles(&self, user: &User, namespace: &str) -> Vec<RoleKey> {
        let all = self.bound.read();
        let places = [Some(""), Some(namespace).filter(|namespace| !namespace.is_empty())];
        let (mut seen, mut found) = (BTreeSet::new(), vec![]);
        for bound in places.into_iter().flatten().filter_map(|place| all.get(place)) {
            let of_groups = user.groups.iter().filter_map(|group| bound.groups.get(group));
            let roles = of_groups.chain(bound.users.get(&user.name)).flat_map(BTreeMap::keys);
            for role in roles.take(ROLES_MAX) {
                if found.len() < ROLES_MAX && seen.insert(role) {
                    found.push(role.clone());
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn binding(namespace: &str, name: &str, kind: &str, role: &str, subjects: Value) -> Arc<Object> {
        let metadata = json!({"name": name, "namespace": namespace});
        let object =
            json!({"metadata": metadata, "roleRef": {"kind": kind, "name": role}, "subjects": subjects});
        Arc::new(Object::new(object, 1))
    }

    fn names(bindings: &Bindings, user: &User, namespace: &str) -> Vec<String> {
        bindings.roles(user, namespace).into_iter().map(|(_, key)| key).collect()
    }

    #[test]
    fn a_role_is_found_once_however_often_it_is_bound_and_until_its_last_binding_goes() {
        let bindings = Bindings::default();
        let jane = json!([{"kind": "User", "name": "jane"}, {"kind": "User", "name": "jane"}]);
        let group = json!([{"kind": "Group", "name": "system:authenticated"}]);
        let all: Vec<_> =
            (0..100).map(|n| binding("d", &format!("b{n}"), "Role", "reader", jane.clone())).collect();
        all.iter().for_each(|b| bindings.change(None, Some(b)));
        let of_all = binding("", "all", "ClusterRole", "view", group);
        bindings.change(None, Some(&of_all));
        let user = User::new("jane", &[]);
        assert_eq!(names(&bindings, &user, "d"), ["view", "d/reader"]);
        assert_eq!(names(&bindings, &user, "e"), ["view"]);
        assert_eq!(names(&bindings, &user, ""), ["view"]);
        let (last, others) = all.split_last().unwrap();
        others.iter().for_each(|b| bindings.change(Some(b), None));
        assert_eq!(names(&bindings, &user, "d"), ["view", "d/reader"]);
        let other = binding("d", "b99", "Role", "writer", json!([{"kind": "User", "name": "bob"}]));
        bindings.change(Some(last), Some(&other));
        assert_eq!(names(&bindings, &user, "d"), ["view"]);
        assert_eq!(names(&bindings, &User::new("bob", &[]), "d"), ["view", "d/writer"]);
        bindings.change(Some(&other), None);
        bindings.change(Some(&of_all), None);
        assert!(bindings.bound.read().is_empty(), "nothing stays of bindings that are gone");
        bindings.reset([&other].into_iter());
        assert_eq!(names(&bindings, &User::new("bob", &[]), "d"), ["d/writer"]);
    }

    #[test]
    fn the_index_counts_for_each_subject() {
        let subjects: Vec<Value> =
            (0..1000).map(|n| json!({"kind": "User", "name": n.to_string()})).collect();
        let binding = binding("d", "b", "Role", &"r".repeat(200), json!(subjects));
        assert_eq!(index_cost("rolebindings", &binding.value), 1000 * (SUBJECT + 201));
        assert_eq!(index_cost("configmaps", &binding.value), 0);
        // A node of a map has room for 11 entries.
        let of = size_of::<(String, Roles)>() + 11 * size_of::<(RoleKey, usize)>();
        assert!((of..2 * of).contains(&SUBJECT), "{of} bytes");
    }

    #[test]
    fn roles_of_the_whole_cluster_come_first_and_they_have_a_bound() {
        let bindings = Bindings::default();
        let jane = json!([{"kind": "User", "name": "jane"}]);
        let of_namespace =
            (0..ROLES_MAX).map(|n| binding("d", &format!("b{n}"), "Role", &format!("r{n}"), jane.clone()));
        of_namespace.for_each(|b| bindings.change(None, Some(&b)));
        bindings.change(None, Some(&binding("d", "b", "ClusterRole", "admin", jane.clone())));
        bindings.change(None, Some(&binding("", "b", "ClusterRole", "view", jane)));
        let found = names(&bindings, &User::new("jane", &[]), "d");
        assert_eq!((found.len(), found[0].as_str(), found[1].as_str()), (ROLES_MAX, "view", "admin"));
    }

    #[test]
    fn a_binding_is_described_in_upstreams_words_to_those_whom_it_names() {
        let subjects = json!([{"kind": "Group", "name": "dev"}, {"kind": "ServiceAccount", "name": "x"}]);
        let of = binding("d", "b", "ClusterRole", "view", subjects.clone());
        let view = ("clusterroles", "view".to_string());
        let account = describe(&of.value, &view, &User::service_account("d", "x"));
        let why = "RoleBinding \"b/d\" of ClusterRole \"view\" to ServiceAccount \"x/d\"";
        assert_eq!(account.as_deref(), Some(why));
        assert_eq!(describe(&of.value, &view, &User::service_account("e", "x")), None);
        assert_eq!(describe(&of.value, &("clusterroles", "edit".into()), &User::new("y", &["dev"])), None);
        let of_all = binding("", "b", "ClusterRole", "view", subjects);
        let group = describe(&of_all.value, &view, &User::new("y", &["dev"]));
        let why = "ClusterRoleBinding \"b\" of ClusterRole \"view\" to Group \"dev\"";
        assert_eq!(group.as_deref(), Some(why));
    }

    #[test]
    fn a_service_account_is_the_user_of_its_tokens() {
        let bindings = Bindings::default();
        let account = |subject: Value| json!([subject]);
        let all = [
            binding("d", "own", "Role", "own", account(json!({"kind": "ServiceAccount", "name": "x"}))),
            binding(
                "d",
                "far",
                "Role",
                "far",
                account(json!({"kind": "ServiceAccount", "name": "x", "namespace": "e"})),
            ),
            binding(
                "d",
                "odd",
                "Role",
                "odd",
                account(json!({"kind": "ServiceAccount", "name": "x", "namespace": "e:y"})),
            ),
            binding("", "cluster", "Role", "no", account(json!({"kind": "User", "name": "x"}))),
        ];
        bindings.reset(all.iter());
        let of = |namespace: &str, name: &str| names(&bindings, &User::service_account(namespace, name), "d");
        assert_eq!((of("d", "x"), of("e", "x")), (vec!["d/own".into()], vec!["d/far".into()]));
        assert!(of("e", "y:x").is_empty() && names(&bindings, &User::new("x", &[]), "d").is_empty());
    }
}
