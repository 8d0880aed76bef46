//! Roles and bindings.

use super::selector_at;
use crate::errors::Errors;
use crate::meta;
use crate::value::{at, list, text};
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

/// A ClusterRole may be made of others. Its own rules are then replaced by theirs, so a rule of
/// aggregation that chooses none would take all rights from it.
pub fn cluster_role(object: &Value, errors: &mut Errors) {
    role(object, errors);
    if !at(object, "aggregationRule").is_object() {
        return;
    }
    const FIELD: &str = "aggregationRule.clusterRoleSelectors";
    let selectors = list(object, FIELD);
    if selectors.is_empty() {
        errors.required(FIELD, "at least one clusterRoleSelector required if aggregationRule is non-nil");
    }
    for (i, selector) in selectors.iter().enumerate() {
        selector_at(selector, &format!("{FIELD}[{i}]"), errors);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::problems;
    use serde_json::json;

    #[test]
    fn a_role_that_is_made_of_others_chooses_some() {
        let told = |rule: Value| problems(cluster_role, json!({ "aggregationRule": rule }));
        assert_eq!(told(json!({"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]})), [""; 0]);
        assert_eq!(told(Value::Null), [""; 0]);
        let none = "aggregationRule.clusterRoleSelectors: Required value: at least one clusterRoleSelector required if aggregationRule is non-nil";
        assert_eq!(told(json!({})), [none]);
        assert_eq!(told(json!({"clusterRoleSelectors": []})), [none]);
        assert_eq!(
            told(json!({"clusterRoleSelectors": [{"matchExpressions": [{"key": "a", "operator": "in"}]}]})),
            [
                "aggregationRule.clusterRoleSelectors[0].matchExpressions[0].operator: Invalid value: \"in\": not a valid selector operator"
            ]
        );
    }

    #[test]
    fn a_rule_is_about_resources_or_about_addresses() {
        let rule = json!({"verbs": ["get"], "nonResourceURLs": ["/healthz"], "resourceNames": ["a"]});
        assert_eq!(
            problems(cluster_role, json!({"rules": [rule]})),
            [
                "rules[0].nonResourceURLs: Invalid value: [\"/healthz\"]: rules cannot apply to both regular resources and non-resource URLs"
            ]
        );
    }
}
