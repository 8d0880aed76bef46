//! `MatchResources`: which requests a policy, or a binding of it, is about. Both kinds have it.

use crate::errors::Errors;
use crate::validate::fields::selector_at;
use crate::validate::names::path_segment;
use crate::value::{at, default, default_zero, list, list_mut, text};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const OPERATIONS: [&str; 5] = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const SCOPES: [&str; 3] = ["*", "Cluster", "Namespaced"];
const MATCH_POLICIES: [&str; 2] = ["Equivalent", "Exact"];

/// Fills in what a `MatchResources` at `path` leaves out, if there is one.
pub(super) fn fill(object: &mut Value, path: &str) {
    if !at(object, path).is_object() {
        return;
    }
    default(object, &format!("{path}.matchPolicy"), "Equivalent");
    default(object, &format!("{path}.namespaceSelector"), json!({}));
    default(object, &format!("{path}.objectSelector"), json!({}));
    for rules in ["resourceRules", "excludeResourceRules"] {
        for rule in list_mut(object, &format!("{path}.{rules}")) {
            default_zero(rule, "scope", "*");
        }
    }
}

/// Judges a `MatchResources`, reported as `field` (`validateMatchResources` upstream).
pub(super) fn check(resources: &Value, field: &str, errors: &mut Errors) {
    let policy = text(resources, "matchPolicy");
    if !MATCH_POLICIES.contains(&policy) {
        errors.not_supported(format!("{field}.matchPolicy"), &json!(policy), &MATCH_POLICIES);
    }
    for name in ["namespaceSelector", "objectSelector"] {
        selector_at(at(resources, name), &format!("{field}.{name}"), errors);
    }
    for name in ["resourceRules", "excludeResourceRules"] {
        for (i, rule) in list(resources, name).iter().enumerate() {
            check_named_rule(rule, &format!("{field}.{name}[{i}]"), errors);
        }
    }
}

fn words<'a>(rule: &'a Value, name: &str) -> Vec<&'a str> {
    list(rule, name).iter().map(|word| word.as_str().unwrap_or_default()).collect()
}

fn check_named_rule(rule: &Value, field: &str, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for (i, name) in words(rule, "resourceNames").into_iter().enumerate() {
        let place = format!("{field}.resourceNames[{i}]");
        for problem in path_segment(name) {
            errors.invalid_text(place.clone(), name, &problem);
        }
        if !seen.insert(name) {
            errors.duplicate(place, &json!(name));
        }
    }
    let operations = words(rule, "operations");
    check_alone(rule, "operations", "operations", field, errors);
    for (i, operation) in operations.into_iter().enumerate().filter(|(_, o)| !OPERATIONS.contains(o)) {
        errors.not_supported(format!("{field}.operations[{i}]"), &json!(operation), &OPERATIONS);
    }
    check_alone(rule, "apiGroups", "API groups", field, errors);
    check_alone(rule, "apiVersions", "API versions", field, errors);
    for (i, _) in words(rule, "apiVersions").into_iter().enumerate().filter(|(_, v)| v.is_empty()) {
        errors.required(format!("{field}.apiVersions[{i}]"), "");
    }
    check_resources(&words(rule, "resources"), &format!("{field}.resources"), at(rule, "resources"), errors);
    let scope = at(rule, "scope");
    if !scope.is_null() && !SCOPES.contains(&scope.as_str().unwrap_or_default()) {
        errors.not_supported(format!("{field}.scope"), scope, &SCOPES);
    }
}

/// Checks a list that must have an item, and may have `*` only if it has no other.
fn check_alone(rule: &Value, name: &str, called: &str, field: &str, errors: &mut Errors) {
    let all = words(rule, name);
    if all.is_empty() {
        errors.required(format!("{field}.{name}"), "");
    }
    if all.len() > 1 && all.contains(&"*") {
        let why = format!("if '*' is present, must not specify other {called}");
        errors.invalid(format!("{field}.{name}"), at(rule, name), &why);
    }
}

/// Judges the resources of a rule: no two of them may mean the same, as `pods/*` and `pods/log` do
/// (`validateResources` upstream).
fn check_resources(resources: &[&str], field: &str, value: &Value, errors: &mut Errors) {
    if resources.is_empty() {
        errors.required(field, "");
    }
    let (mut whole, mut everywhere) = (BTreeSet::new(), BTreeSet::new());
    // As upstream the last word without a subresource decides.
    let mut has_plain = false;
    for (i, &word) in resources.iter().enumerate() {
        let place = format!("{field}[{i}]");
        if word.is_empty() {
            errors.required(place, "");
            continue;
        }
        let Some((resource, sub)) = word.split_once('/') else {
            has_plain = word != "*";
            continue;
        };
        if whole.contains(resource) {
            let why = format!("if '{resource}/*' is present, must not specify {word}");
            errors.invalid_text(place.clone(), word, &why);
        }
        if everywhere.contains(sub) {
            let why = format!("if '*/{sub}' is present, must not specify {word}");
            errors.invalid_text(place, word, &why);
        }
        if sub == "*" {
            whole.insert(resource);
        }
        if resource == "*" {
            everywhere.insert(sub);
        }
    }
    if resources.len() > 1 && resources.contains(&"*/*") {
        errors.invalid(field, value, "if '*/*' is present, must not specify other resources");
    }
    if resources.contains(&"*") && has_plain {
        let why = "if '*' is present, must not specify other resources without subresources";
        errors.invalid(field, value, why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors_of(rule: Value) -> Vec<String> {
        let mut object = json!({"m": {"resourceRules": [rule]}});
        fill(&mut object, "m");
        let mut errors = Errors::default();
        check(at(&object, "m"), "m", &mut errors);
        errors.iter().map(ToString::to_string).collect()
    }

    fn rule(resources: Value) -> Value {
        json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": resources})
    }

    #[test]
    fn a_rule_gets_a_scope_and_selectors_that_select_everything() {
        let mut object = json!({"m": {"resourceRules": [{}]}});
        fill(&mut object, "m");
        let want = json!({"matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {},
            "resourceRules": [{"scope": "*"}]});
        assert_eq!(object["m"], want);
        let mut none = json!({});
        fill(&mut none, "m");
        assert_eq!(none, json!({}));
    }

    #[test]
    fn resources_that_mean_the_same_twice_are_refused() {
        assert_eq!(errors_of(rule(json!(["pods", "pods/log"]))), [""; 0]);
        assert_eq!(errors_of(rule(json!(["*", "pods/log"]))), [""; 0]);
        const FIELD: &str = "m.resourceRules[0].resources";
        for (resources, want) in [
            (json!([]), format!("{FIELD}: Required value")),
            (json!([""]), format!("{FIELD}[0]: Required value")),
            (
                json!(["pods/*", "pods/log"]),
                format!(
                    "{FIELD}[1]: Invalid value: \"pods/log\": if 'pods/*' is present, must not specify pods/log"
                ),
            ),
            (
                json!(["*/log", "pods/log"]),
                format!(
                    "{FIELD}[1]: Invalid value: \"pods/log\": if '*/log' is present, must not specify pods/log"
                ),
            ),
            (
                json!(["*", "pods"]),
                format!(
                    "{FIELD}: Invalid value: [\"*\",\"pods\"]: if '*' is present, must not specify other resources without subresources"
                ),
            ),
        ] {
            assert_eq!(errors_of(rule(resources)), [want]);
        }
    }

    #[test]
    fn a_rule_says_what_it_is_about() {
        assert_eq!(
            errors_of(json!({})),
            ["operations", "apiGroups", "apiVersions", "resources"]
                .map(|name| format!("m.resourceRules[0].{name}: Required value"))
        );
        let mut wrong = rule(json!(["pods"]));
        wrong["operations"] = json!(["CREATE", "READ"]);
        wrong["scope"] = json!("All");
        wrong["resourceNames"] = json!(["a", "a", "b/c"]);
        assert_eq!(
            errors_of(wrong),
            [
                "m.resourceRules[0].resourceNames[1]: Duplicate value: \"a\"",
                "m.resourceRules[0].resourceNames[2]: Invalid value: \"b/c\": may not contain '/'",
                "m.resourceRules[0].operations[1]: Unsupported value: \"READ\": supported values: \"*\", \"CONNECT\", \"CREATE\", \"DELETE\", \"UPDATE\"",
                "m.resourceRules[0].scope: Unsupported value: \"All\": supported values: \"*\", \"Cluster\", \"Namespaced\"",
            ]
        );
    }
}
