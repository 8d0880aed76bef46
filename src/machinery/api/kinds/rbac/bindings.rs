//! What RoleBindings and ClusterRoleBindings share.

use crate::errors::Errors;
use crate::meta;
use crate::table::cells::{Printer, age, name};
use crate::validate::fields::add_problems;
use crate::validate::names::{dns_subdomain, path_segment};
use crate::value::{at, default_zero, list, list_mut, text};
use serde_json::{Value, json};

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
        errors.not_supported("roleRef.kind", &json!(text(object, "roleRef.kind")), allowed);
    }
    let role = text(object, "roleRef.name");
    if role.is_empty() {
        errors.required("roleRef.name", "");
    } else {
        add_problems(path_segment(role), "roleRef.name", role, errors);
    }
    for (i, subject) in list(object, "subjects").iter().enumerate() {
        let field = format!("subjects[{i}]");
        let name = text(subject, "name");
        if name.is_empty() {
            errors.required(format!("{field}.name"), "");
        }
        match text(subject, "kind") {
            "ServiceAccount" => {
                if !name.is_empty() {
                    add_problems(dns_subdomain(name), &format!("{field}.name"), name, errors);
                }
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
            other => errors.not_supported(
                format!("{field}.kind"),
                &json!(other),
                &["ServiceAccount", "User", "Group"],
            ),
        }
    }
}

pub(super) fn validate_update(new: &Value, old: &Value, errors: &mut Errors) {
    if at(new, "roleRef") != at(old, "roleRef") {
        // Upstream shows its internal type, which has capital letters.
        let part = |field: &str| text(new, &format!("roleRef.{field}"));
        let shown = json!({"APIGroup": part("apiGroup"), "Kind": part("kind"), "Name": part("name")});
        errors.invalid("roleRef", &shown, "cannot change roleRef");
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
    use crate::validate::fields::problems;

    /// Returns the problems of a binding in `namespace`; none for a ClusterRoleBinding.
    fn errors_of(namespace: Option<&str>, subject: &Value) -> Vec<String> {
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
        assert_eq!(errors_of(Some("d"), &account), [""; 0]);
        assert_eq!(errors_of(None, &account), ["subjects[0].namespace: Required value"]);
        let placed = json!({"kind": "ServiceAccount", "name": "robot", "namespace": "d"});
        assert_eq!(errors_of(None, &placed), [""; 0]);
        assert_eq!(errors_of(Some("d"), &json!({"kind": "User", "name": "ann"})), [""; 0]);
    }

    #[test]
    fn the_user_name_of_an_account_is_no_name_of_an_account() {
        let user = "system:serviceaccount:d:robot";
        let found = errors_of(Some("d"), &json!({"kind": "ServiceAccount", "name": user}));
        let want = format!("subjects[0].name: Invalid value: {user:?}: a lowercase RFC 1123 subdomain");
        assert!(found.len() == 1 && found[0].starts_with(&want), "{found:?}");
        assert_eq!(errors_of(Some("d"), &json!({"kind": "User", "name": user})), [""; 0]);
    }

    #[test]
    fn a_binding_keeps_its_role() {
        let binding = |role: &str| json!({"roleRef": {"apiGroup": GROUP, "kind": "Role", "name": role}});
        let mut errors = Errors::default();
        validate_update(&binding("a"), &binding("a"), &mut errors);
        validate_update(&binding("b"), &binding("a"), &mut errors);
        let shown = format!(r#"{{"APIGroup":"{GROUP}","Kind":"Role","Name":"b"}}"#);
        let found: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(found, [format!("roleRef: Invalid value: {shown}: cannot change roleRef")]);
    }

    #[test]
    fn the_name_of_a_role_fits_into_a_path() {
        let of = |name: &str| {
            let reference = json!({"apiGroup": GROUP, "kind": "Role", "name": name});
            problems(validate, json!({"metadata": {"namespace": "d"}, "roleRef": reference}))
        };
        assert_eq!(of("system:view"), [""; 0]);
        assert_eq!(of("a/b"), ["roleRef.name: Invalid value: \"a/b\": may not contain '/'"]);
    }
}
