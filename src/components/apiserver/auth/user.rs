//! The user of a request: a name, groups, and who impersonates it.

use api::validate::names;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The group of all users who have been authenticated.
pub(crate) const AUTHENTICATED: &str = "system:authenticated";
/// The group of the anonymous user.
pub(crate) const UNAUTHENTICATED: &str = "system:unauthenticated";
/// The group whose members may do everything, whatever RBAC says.
pub(crate) const MASTERS: &str = "system:masters";
/// The group of kubelets.
pub(crate) const NODES: &str = "system:nodes";

/// A user as authentication found it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct User {
    /// E.g. `admin` or `system:serviceaccount:shop:robot`.
    pub name: String,
    /// The uid of a service account, or the one that a certificate or an impersonation names; often
    /// empty.
    pub uid: String,
    /// Groups, with `system:authenticated` or `system:unauthenticated` among them.
    pub groups: Vec<String>,
    pub(crate) extra: BTreeMap<String, Vec<String>>,
    /// The authenticated user who impersonates this one (`--as`). Empty without impersonation.
    pub impersonator: String,
}

impl User {
    /// Makes a user with these groups, and the one of all authenticated users.
    pub fn new(name: &str, groups: &[&str]) -> User {
        let groups = groups.iter().chain([&AUTHENTICATED]).map(|g| g.to_string()).collect();
        User { name: name.to_string(), groups, ..User::default() }
    }

    /// Returns the user of a request without credentials: `system:anonymous` in
    /// `system:unauthenticated`.
    pub(crate) fn anonymous() -> User {
        User { name: "system:anonymous".into(), groups: vec![UNAUTHENTICATED.into()], ..User::default() }
    }

    /// `system:serviceaccount:<namespace>:<name>` with its groups.
    pub(crate) fn service_account(namespace: &str, name: &str) -> User {
        let own = format!("system:serviceaccounts:{namespace}");
        User::new(&format!("system:serviceaccount:{namespace}:{name}"), &["system:serviceaccounts", &own])
    }

    /// Splits the name `system:serviceaccount:NAMESPACE:NAME` (upstream: `SplitUsername`). `None`
    /// for a name that no ServiceAccount can have, such as one with one more colon: it is a user's.
    pub(crate) fn split_service_account(user: &str) -> Option<(&str, &str)> {
        let (namespace, name) = user.strip_prefix("system:serviceaccount:")?.split_once(':')?;
        let is_valid = names::dns_label(namespace).is_empty() && names::dns_subdomain(name).is_empty();
        is_valid.then_some((namespace, name))
    }

    /// True for the user of a request without credentials.
    pub(crate) fn is_anonymous(&self) -> bool {
        self.name == "system:anonymous"
    }

    /// True if the user is in this group.
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|g| g == group)
    }

    /// True for a person, whose acts can be undone: not for a component or a service account
    /// (`system:…`), the cluster's own administrator or the teacher. Of an impersonated user the
    /// impersonator counts.
    pub(crate) fn is_person(&self) -> bool {
        tap::is_person(tap::actor(&self.name, &self.impersonator))
    }

    /// Returns the name of the node whose kubelet this is; `None` for other users.
    pub fn node(&self) -> Option<&str> {
        self.name.strip_prefix("system:node:").filter(|node| !node.is_empty() && self.is_in(NODES))
    }

    /// True for a user in the group of kubelets whose name lacks that of a node. NodeRestriction
    /// refuses all of its writes.
    pub(crate) fn is_nameless_node(&self) -> bool {
        self.name == "system:node:" && self.is_in(NODES)
    }

    /// Returns whether the user's writes to an object that is being deleted may use the space that
    /// a full store keeps for repairs. Components and administrators end such objects.
    pub(crate) fn may_repair(&self) -> bool {
        self.is_in(MASTERS)
            || self.is_in(NODES)
            || self.name.starts_with("system:kube-")
            || self.name.starts_with("system:serviceaccount:kube-system:")
    }

    /// `authentication.k8s.io/v1 UserInfo`
    pub fn info(&self) -> Value {
        let mut info = json!({"username": self.name, "groups": self.groups});
        if !self.uid.is_empty() {
            info["uid"] = self.uid.clone().into();
        }
        if !self.extra.is_empty() {
            info["extra"] = json!(self.extra);
        }
        info
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_service_account_is_split_only_if_an_account_can_have_it() {
        for (name, parts) in [
            ("system:serviceaccount:shop:robot", Some(("shop", "robot"))),
            ("system:serviceaccount:shop:robot.v1", Some(("shop", "robot.v1"))),
            ("system:serviceaccount:shop:a:b", None),
            ("system:serviceaccount:shop", None),
            ("system:serviceaccount::robot", None),
            ("system:serviceaccount:Shop:robot", None),
            ("shop:robot", None),
        ] {
            assert_eq!(User::split_service_account(name), parts, "{name}");
        }
    }

    #[test]
    fn a_node_has_its_name_and_the_group_of_kubelets() {
        assert_eq!(User::new("system:node:n1", &[NODES]).node(), Some("n1"));
        assert_eq!(User::new("system:node:n1", &[]).node(), None);
        assert_eq!(User::new("n1", &[NODES]).node(), None);
        let nameless = User::new("system:node:", &[NODES]);
        assert!(nameless.node().is_none() && nameless.is_nameless_node());
        assert!(!User::new("system:node:", &[]).is_nameless_node());
    }

    #[test]
    fn components_and_administrators_may_repair_and_others_may_not() {
        for (user, may_repair) in [
            (User::new("admin", &[MASTERS]), true),
            (User::new("system:node:n1", &[NODES]), true),
            (User::new("system:kube-controller-manager", &[]), true),
            (User::service_account("kube-system", "coredns"), true),
            (User::service_account("shop", "robot"), false),
            (User::new("jane", &[]), false),
            (User::anonymous(), false),
        ] {
            assert_eq!(user.may_repair(), may_repair, "{}", user.name);
        }
    }
}
