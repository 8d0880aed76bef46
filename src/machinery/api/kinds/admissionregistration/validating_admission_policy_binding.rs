//! Bindings of admission policies: where a policy holds, with which parameters, and what happens to
//! a request that breaks it.

use super::match_resources;
use crate::errors::Errors;
use crate::kinds::entry::{Kind, of};
use crate::table::cells::{Printer, age, name};
use crate::validate::fields::{add_problems, selector_at};
use crate::validate::names::{dns_subdomain, path_segment};
use crate::value::{at, list, pairs, text};
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicyBinding;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const ACTIONS: [&str; 3] = ["Audit", "Deny", "Warn"];

pub(super) fn kind() -> Kind {
    Kind {
        categories: &["api-extensions"],
        generation: true,
        needs_version: true,
        defaults: |object| match_resources::fill(object, "spec.matchResources"),
        validate,
        printer: Some(&PRINTER),
        ..of::<ValidatingAdmissionPolicyBinding>()
    }
}

fn validate(object: &Value, errors: &mut Errors) {
    const POLICY: &str = "spec.policyName";
    match text(object, POLICY) {
        "" => errors.required(POLICY, ""),
        name => add_problems(dns_subdomain(name), POLICY, name, errors),
    }
    check_reference(at(object, "spec.paramRef"), errors);
    let resources = at(object, "spec.matchResources");
    if resources.is_object() {
        match_resources::check(resources, "spec.matchResources", errors);
    }
    check_actions(object, errors);
}

/// Judges what says which objects are the parameters (`validateParamRef` upstream).
fn check_reference(reference: &Value, errors: &mut Errors) {
    const FIELD: &str = "spec.paramRef";
    const BOTH: &str = "name and selector are mutually exclusive";
    if reference.is_null() {
        return;
    }
    let (name, selector) = (text(reference, "name"), at(reference, "selector"));
    if !name.is_empty() {
        add_problems(path_segment(name), "spec.paramRef.name", name, errors);
        if !selector.is_null() {
            errors.forbidden(format!("{FIELD}.name"), BOTH);
        }
    }
    if !selector.is_null() {
        selector_at(selector, "spec.paramRef.selector", errors);
        if !name.is_empty() {
            errors.forbidden(format!("{FIELD}.selector"), BOTH);
        }
    }
    if name.is_empty() && selector.is_null() {
        errors.required(FIELD, "one of name or selector must be specified");
    }
    let field = format!("{FIELD}.parameterNotFoundAction");
    match text(reference, "parameterNotFoundAction") {
        "" => errors.required(field, ""),
        "Deny" | "Allow" => {}
        other => errors.not_supported(field, &json!(other), &["Deny", "Allow"]),
    }
}

fn check_actions(object: &Value, errors: &mut Errors) {
    const FIELD: &str = "spec.validationActions";
    let mut seen = BTreeSet::new();
    for (i, action) in list(object, FIELD).iter().enumerate() {
        let word = action.as_str().unwrap_or_default();
        if !ACTIONS.contains(&word) {
            errors.not_supported(format!("{FIELD}[{i}]"), action, &ACTIONS);
        }
        if !seen.insert(word) {
            errors.duplicate(format!("{FIELD}[{i}]"), action);
        }
    }
    if seen.contains("Deny") && seen.contains("Warn") {
        let why = "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)";
        errors.invalid(FIELD, at(object, FIELD), why);
    }
    if seen.is_empty() {
        errors.required(FIELD, "at least one validation action is required");
    }
}

/// Returns a selector as Go prints its generated type.
fn shown_selector(selector: &Value) -> String {
    let mut labels: Vec<(&str, &str)> = pairs(selector, "matchLabels").collect();
    labels.sort_unstable();
    let labels: String = labels.iter().map(|(key, value)| format!("{key}: {value},")).collect();
    let expression = |requirement: &Value| {
        let values: Vec<&str> = list(requirement, "values").iter().filter_map(Value::as_str).collect();
        let (key, operator) = (text(requirement, "key"), text(requirement, "operator"));
        format!("LabelSelectorRequirement{{Key:{key},Operator:{operator},Values:[{}],}},", values.join(" "))
    };
    let expressions: String = list(selector, "matchExpressions").iter().map(expression).collect();
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{labels}}},MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
    )
}

static PRINTER: Printer = Printer {
    columns: &[
        ("Name", "string", false),
        ("PolicyName", "string", false),
        ("ParamRef", "string", false),
        ("Age", "string", false),
    ],
    cells: |o, now| {
        let reference = at(o, "spec.paramRef");
        let shown = match (text(reference, "name"), text(reference, "namespace")) {
            ("", _) if at(reference, "selector").is_null() => "<unset>".to_string(),
            ("", _) => shown_selector(at(reference, "selector")),
            // Whether the parameters are in namespaces is not known here.
            (name, "") => format!("*/{name}"),
            (name, namespace) => format!("{namespace}/{name}"),
        };
        vec![name(o), text(o, "spec.policyName").into(), shown.into(), age(o, now)]
    },
    conditions: None,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::fields::problems;

    fn errors_of(spec: Value) -> Vec<String> {
        let mut object = json!({ "spec": spec });
        (kind().defaults)(&mut object);
        problems(validate, object)
    }

    #[test]
    fn a_binding_names_a_policy_and_what_follows() {
        assert_eq!(errors_of(json!({"policyName": "p", "validationActions": ["Deny", "Audit"]})), [""; 0]);
        assert_eq!(
            errors_of(json!({})),
            [
                "spec.policyName: Required value",
                "spec.validationActions: Required value: at least one validation action is required"
            ]
        );
        let both = errors_of(json!({"policyName": "p", "validationActions": ["Deny", "Warn"]}));
        assert!(both.len() == 1 && both[0].contains("must not contain both Deny and Warn"), "{both:?}");
        let wrong =
            json!({"policyName": "p", "validationActions": ["Deny"], "matchResources": {"matchPolicy": "a"}});
        assert!(errors_of(wrong)[0].starts_with("spec.matchResources.matchPolicy: Unsupported value: \"a\""));
        assert_eq!(
            errors_of(json!({"policyName": "p", "validationActions": ["Audit", "Audit", "Log"]})),
            [
                "spec.validationActions[1]: Duplicate value: \"Audit\"",
                "spec.validationActions[2]: Unsupported value: \"Log\": supported values: \"Audit\", \"Deny\", \"Warn\"",
            ]
        );
    }

    #[test]
    fn parameters_are_shown_as_they_are_referred_to() {
        let shown = |reference: Value| {
            let binding =
                json!({"metadata": {"name": "b"}, "spec": {"policyName": "p", "paramRef": reference}});
            (PRINTER.cells)(&binding, clock::Timestamp::UNIX_EPOCH)[2].clone()
        };
        assert_eq!(shown(Value::Null), "<unset>");
        assert_eq!(shown(json!({"name": "a"})), "*/a");
        assert_eq!(shown(json!({"name": "a", "namespace": "n"})), "n/a");
        assert_eq!(
            shown(json!({"selector": {"matchLabels": {"a": "b"}}})),
            "&LabelSelector{MatchLabels:map[string]string{a: b,},MatchExpressions:[]LabelSelectorRequirement{},}"
        );
    }

    #[test]
    fn parameters_are_named_or_selected() {
        let with = |reference: Value| {
            errors_of(json!({"policyName": "p", "validationActions": ["Deny"], "paramRef": reference}))
        };
        assert_eq!(with(json!({"name": "a", "parameterNotFoundAction": "Deny"})), [""; 0]);
        assert_eq!(with(json!({"selector": {}, "parameterNotFoundAction": "Allow"})), [""; 0]);
        assert_eq!(
            with(json!({})),
            [
                "spec.paramRef: Required value: one of name or selector must be specified",
                "spec.paramRef.parameterNotFoundAction: Required value"
            ]
        );
        let both = with(json!({"name": "a", "selector": {}, "parameterNotFoundAction": "Maybe"}));
        assert_eq!(
            both,
            [
                "spec.paramRef.name: Forbidden: name and selector are mutually exclusive",
                "spec.paramRef.selector: Forbidden: name and selector are mutually exclusive",
                "spec.paramRef.parameterNotFoundAction: Unsupported value: \"Maybe\": supported values: \"Deny\", \"Allow\"",
            ]
        );
    }
}
