//! Roles: rights within one namespace.

use crate::errors::Errors;
use crate::kinds::entry::{Kind, of};
use crate::meta;
use crate::validate::names::path_segment;
use crate::value::{at, list};
use k8s_openapi::api::rbac::v1::Role;
use serde_json::Value;

pub(super) fn kind() -> Kind {
    Kind { create_on_update: true, name_rule: path_segment, validate, ..of::<Role>() }
}

pub(super) fn validate(object: &Value, errors: &mut Errors) {
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
            let of_resources = ["apiGroups", "resources", "resourceNames"];
            if of_resources.iter().any(|part| !list(rule, part).is_empty()) {
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
