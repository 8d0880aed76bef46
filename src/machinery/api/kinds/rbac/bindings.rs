//! What RoleBindings and ClusterRoleBindings share.

use crate::errors::Errors;
use crate::meta;
use crate::table::{Printer, age, name};
use crate::value::{at, default_zero, list, list_mut, text};
use serde_json::Value;

const GROUP: &str = "rbac.authorization.k8s.io";

pub(super) fn defaults(object: &mut Value) {
    default_zero(object, "roleRef.apiGroup", GROUP);
    for subject in list_mut(object, "subjects") {
        match text(subject, "kind") {
            "User" | "Group" => default_zero(subject, "apiGroup", GROUP),
            _ => {}
        }
    }
}

pub(super) fn validate(object: &Value, errors: &mut Errors) {
    if text(object, "roleRef.apiGroup") != GROUP {
        errors.not_supported("roleRef.apiGroup", at(object, "roleRef.apiGroup"), &[GROUP]);
    }
    let allowed: &[&str] =
        if meta::namespace(object).is_empty() { &["ClusterRole"] } else { &["Role", "ClusterRole"] };
    if !allowed.contains(&text(object, "roleRef.kind")) {
        errors.not_supported("roleRef.kind", at(object, "roleRef.kind"), allowed);
    }
    if text(object, "roleRef.name").is_empty() {
        errors.required("roleRef.name", "");
    }
    for (i, subject) in list(object, "subjects").iter().enumerate() {
        let field = format!("subjects[{i}]");
        if text(subject, "name").is_empty() {
            errors.required(format!("{field}.name"), "");
        }
        match text(subject, "kind") {
            "ServiceAccount" => {
                if !text(subject, "apiGroup").is_empty() {
                    errors.not_supported(format!("{field}.apiGroup"), at(subject, "apiGroup"), &[""]);
                }
                // The authorizer takes a RoleBinding's own namespace for an account without one.
                if text(subject, "namespace").is_empty() && meta::namespace(object).is_empty() {
                    errors.required(format!("{field}.namespace"), "");
                }
            }
            "User" | "Group" => {
                if text(subject, "apiGroup") != GROUP {
                    errors.not_supported(format!("{field}.apiGroup"), at(subject, "apiGroup"), &[GROUP]);
                }
            }
            _ => errors.not_supported(
                format!("{field}.kind"),
                at(subject, "kind"),
                &["ServiceAccount", "User", "Group"],
            ),
        }
    }
}

pub(super) fn validate_update(new: &Value, old: &Value, errors: &mut Errors) {
    if at(new, "roleRef") != at(old, "roleRef") {
        errors.invalid("roleRef", at(new, "roleRef"), "cannot change roleRef");
    }
}

pub(super) static PRINTER: Printer = Printer {
    columns: &[
        ("Name", "string", false),
        ("Role", "string", false),
        ("Age", "string", false),
        ("Users", "string", true),
        ("Groups", "string", true),
        ("ServiceAccounts", "string", true),
    ],
    cells: |o, now| {
        let of = |kind: &str| {
            let subjects = list(o, "subjects").iter().filter(|s| text(s, "kind") == kind);
            let names = subjects.map(|s| match kind {
                "ServiceAccount" => format!("{}/{}", text(s, "namespace"), text(s, "name")),
                _ => text(s, "name").to_string(),
            });
            Value::from(names.collect::<Vec<_>>().join(", "))
        };
        let role = format!("{}/{}", text(o, "roleRef.kind"), text(o, "roleRef.name"));
        vec![name(o), role.into(), age(o, now), of("User"), of("Group"), of("ServiceAccount")]
    },
    conditions: None,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::problems;
    use serde_json::json;

    /// The problems of a binding in `namespace`; none for a ClusterRoleBinding.
    fn told(namespace: Option<&str>, subject: &Value) -> Vec<String> {
        let reference = json!({"apiGroup": GROUP, "kind": "ClusterRole", "name": "view"});
        let mut binding = json!({"metadata": {"name": "b"}, "roleRef": reference, "subjects": [subject]});
        if let Some(namespace) = namespace {
            binding["metadata"]["namespace"] = namespace.into();
        }
        defaults(&mut binding);
        problems(validate, binding)
    }

    #[test]
    fn an_account_without_a_namespace_is_one_of_the_role_binding_s() {
        let account = json!({"kind": "ServiceAccount", "name": "robot"});
        assert_eq!(told(Some("d"), &account), [""; 0]);
        assert_eq!(told(None, &account), ["subjects[0].namespace: Required value"]);
        let placed = json!({"kind": "ServiceAccount", "name": "robot", "namespace": "d"});
        assert_eq!(told(None, &placed), [""; 0]);
        assert_eq!(told(Some("d"), &json!({"kind": "User", "name": "ann"})), [""; 0]);
    }
}
