//! Roles and bindings.

use crate::api::errors::Errors;
use crate::api::meta;
use crate::api::value::{at, list, text};
use serde_json::Value;

const GROUP: &str = "rbac.authorization.k8s.io";

pub fn role(object: &Value, errors: &mut Errors) {
    let namespaced = !meta::namespace(object).is_empty();
    for (i, rule) in list(object, "rules").iter().enumerate() {
        let field = format!("rules[{i}]");
        if list(rule, "verbs").is_empty() {
            errors.required(format!("{field}.verbs"), "verbs must contain at least one value");
        }
        if !list(rule, "nonResourceURLs").is_empty() {
            if namespaced {
                errors.invalid(
                    format!("{field}.nonResourceURLs"),
                    at(rule, "nonResourceURLs"),
                    "namespaced rules cannot apply to non-resource URLs",
                );
            }
            if !list(rule, "apiGroups").is_empty() || !list(rule, "resources").is_empty() {
                errors.invalid(
                    format!("{field}.nonResourceURLs"),
                    at(rule, "nonResourceURLs"),
                    "rules cannot apply to both regular resources and non-resource URLs",
                );
            }
            continue;
        }
        if list(rule, "apiGroups").is_empty() {
            errors
                .required(format!("{field}.apiGroups"), "resource rules must supply at least one api group");
        }
        if list(rule, "resources").is_empty() {
            errors.required(format!("{field}.resources"), "resource rules must supply at least one resource");
        }
    }
}

pub fn binding(object: &Value, errors: &mut Errors) {
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
                if text(subject, "namespace").is_empty() {
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

pub fn binding_update(new: &Value, old: &Value, errors: &mut Errors) {
    if at(new, "roleRef") != at(old, "roleRef") {
        errors.invalid("roleRef", at(new, "roleRef"), "cannot change roleRef");
    }
}
