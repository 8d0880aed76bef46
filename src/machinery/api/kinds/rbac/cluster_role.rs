//! Cluster roles: rights in all namespaces, for kinds without a namespace, and for URLs that are
//! not about objects.

use crate::errors::Errors;
use crate::kinds::entry::{Kind, of};
use crate::kinds::rbac::role;
use crate::validate::fields::selector_at;
use crate::validate::names::path_segment;
use crate::value::{at, list};
use k8s_openapi::api::rbac::v1::ClusterRole;
use serde_json::Value;

pub(super) fn kind() -> Kind {
    Kind { create_on_update: true, name_rule: path_segment, validate, ..of::<ClusterRole>() }
}

/// Checks the rules. A ClusterRole with an `aggregationRule` gets the rules of the roles that it
/// selects, in place of its own. So an aggregation rule that selects no role would take all rights
/// from it.
fn validate(object: &Value, errors: &mut Errors) {
    role::validate(object, errors);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::fields::problems;
    use serde_json::json;

    #[test]
    fn a_role_that_is_made_of_others_chooses_some() {
        let errors_of = |rule: Value| problems(validate, json!({ "aggregationRule": rule }));
        assert_eq!(errors_of(json!({"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]})), [""; 0]);
        assert_eq!(errors_of(Value::Null), [""; 0]);
        let none = "aggregationRule.clusterRoleSelectors: Required value: at least one clusterRoleSelector required if aggregationRule is non-nil";
        assert_eq!(errors_of(json!({})), [none]);
        assert_eq!(errors_of(json!({"clusterRoleSelectors": []})), [none]);
        assert_eq!(
            errors_of(
                json!({"clusterRoleSelectors": [{"matchExpressions": [{"key": "a", "operator": "in"}]}]})
            ),
            [
                "aggregationRule.clusterRoleSelectors[0].matchExpressions[0].operator: Invalid value: \"in\": not a valid selector operator"
            ]
        );
    }

    #[test]
    fn a_rule_is_about_resources_or_about_addresses() {
        let rule = json!({"verbs": ["get"], "nonResourceURLs": ["/healthz"], "resourceNames": ["a"]});
        assert_eq!(
            problems(validate, json!({"rules": [rule]})),
            [
                "rules[0].nonResourceURLs: Invalid value: [\"/healthz\"]: rules cannot apply to both regular resources and non-resource URLs"
            ]
        );
    }
}
