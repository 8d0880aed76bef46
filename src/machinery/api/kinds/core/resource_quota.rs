//! Resource quotas: how much of each resource, and how many objects, a namespace may have.

use crate::errors::Errors;
use crate::kinds::entry::{Kind, of, prepare_status, status};
use crate::quantity::Quantity;
use crate::quota::SCOPES;
use crate::requests::is_extended;
use crate::table::cells::{Printer, age, name};
use crate::validate::fields::IMMUTABLE;
use crate::validate::names;
use crate::value::{at, list, map, text};
use k8s_openapi::api::core::v1::ResourceQuota;
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};

pub(super) fn kind() -> Kind {
    Kind {
        short_names: &["quota"],
        subresources: vec![status("ResourceQuota")],
        has_status: true,
        prepare: prepare_status,
        returns_deleted: true,
        validate,
        validate_update,
        validate_status_update: |new, _, errors| status_amounts(new, errors),
        printer: Some(&PRINTER),
        ..of::<ResourceQuota>()
    }
}

pub(crate) const COMPUTE: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
const OBJECTS: [&str; 9] = [
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];
/// Resources of pods that a quota with scopes may name, beside `pods`.
const SCOPED: [&str; 6] = ["cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"];

fn is_standard_quota(name: &str) -> bool {
    let plain = name.strip_prefix("requests.").or(name.strip_prefix("limits.")).unwrap_or(name);
    let huge = name.starts_with("hugepages-") || name.starts_with("requests.hugepages-");
    OBJECTS.contains(&name) || COMPUTE.contains(&plain) || name == "requests.storage" || huge
}

/// Checks the name of a resource of any kind: a standard one, or `example.com/gpu`
/// (`validateResourceName` upstream).
pub(crate) fn resource_name(name: &str, field: &str, errors: &mut Errors) {
    let problems = names::qualified_name(name);
    if !problems.is_empty() {
        problems.iter().for_each(|problem| errors.invalid_text(field, name, problem));
    } else if !name.contains('/') && !is_standard_quota(name) && name != "storage" {
        errors.invalid_text(field, name, "must be a standard resource type or fully qualified");
    }
}

/// Returns whether a resource comes in whole pieces: objects, and what only some nodes have, also
/// `count/pods` (`IsIntegerResourceName` upstream).
pub(super) fn is_counted(name: &str) -> bool {
    OBJECTS.contains(&name) || is_extended(name)
}

fn validate(object: &Value, errors: &mut Errors) {
    amounts(object, "spec.hard", errors);
    status_amounts(object, errors);
    scopes(object, errors);
    scope_selector(object, errors);
}

/// Checks the amounts in a status, which admission reads. A write of the spec judges them, too, so
/// a wrong one that was stored would keep the spec from every change
/// (`ValidateResourceQuotaStatusUpdate` upstream).
fn status_amounts(object: &Value, errors: &mut Errors) {
    amounts(object, "status.hard", errors);
    amounts(object, "status.used", errors);
}

/// Checks the names of resources at `path` and the amount of each.
fn amounts(object: &Value, path: &str, errors: &mut Errors) {
    for (name, value) in map(object, path).into_iter().flatten() {
        let field = format!("{path}[{name}]");
        resource_name(name, &field, errors);
        if !name.contains('/') && !is_standard_quota(name) {
            errors.invalid_text(&field, name, "must be a standard resource for quota");
        }
        let amount = match Quantity::read(value.as_str().unwrap_or_default()) {
            Ok(amount) => amount,
            Err(why) => {
                errors.invalid(&field, value, why);
                continue;
            }
        };
        if amount.is_negative() {
            errors.invalid(&field, value, "must be greater than or equal to 0");
        }
        if is_counted(name) && !amount.is_whole() {
            errors.invalid(&field, value, "must be an integer");
        }
    }
}

/// Returns whether a quota with this scope may limit this resource
/// (`IsResourceQuotaScopeValidForResource` upstream): pods are in some scopes and claims in others.
fn fits_scope(scope: &str, resource: &str) -> bool {
    if !is_standard_quota(resource) {
        return true;
    }
    match scope {
        "BestEffort" => resource == "pods",
        "VolumeAttributesClass" => matches!(resource, "persistentvolumeclaims" | "requests.storage"),
        scope if SCOPES.contains(&scope) => resource == "pods" || SCOPED.contains(&resource),
        _ => true, // an unknown scope is an error of its own
    }
}

/// Returns how many of the resources that a quota limits each scope does not fit. They are counted
/// once: a quota may name a scope many times, and thousands of resources.
fn unfit_resources(object: &Value) -> HashMap<&'static str, usize> {
    let names: Vec<&String> = map(object, "spec.hard").into_iter().flatten().map(|(name, _)| name).collect();
    let count = |scope: &'static str| (scope, names.iter().filter(|name| !fits_scope(scope, name)).count());
    SCOPES.into_iter().map(count).collect()
}

/// Adds an error for each of `count` resources that a scope does not fit, as long as it is kept.
fn refuse_unfit(count: usize, field: &str, shown: &Value, errors: &mut Errors) {
    for _ in 0..count {
        if errors.is_cut() {
            return;
        }
        errors.invalid(field, shown, "unsupported scope applied to resource");
    }
}

fn scopes(object: &Value, errors: &mut Errors) {
    let (field, shown) = ("spec.scopes", at(object, "spec.scopes"));
    let all: Vec<&str> = list(object, field).iter().filter_map(Value::as_str).collect();
    let unfit = unfit_resources(object);
    for scope in &all {
        if errors.is_cut() {
            return;
        }
        match unfit.get(*scope) {
            Some(count) => refuse_unfit(*count, field, shown, errors),
            None => errors.invalid(field, shown, "unsupported scope"),
        }
    }
    conflicts(object, field, &all, errors);
}

/// Refuses two scopes that exclude each other: no pod is in both.
fn conflicts(object: &Value, field: &str, scopes: &[&str], errors: &mut Errors) {
    for (one, other) in [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")] {
        if scopes.contains(&one) && scopes.contains(&other) {
            errors.invalid(field, at(object, "spec.scopes"), "conflicting scopes");
        }
    }
}

fn scope_selector(object: &Value, errors: &mut Errors) {
    let field = "spec.scopeSelector.matchExpressions";
    let unfit = unfit_resources(object);
    for rule in list(object, field) {
        if errors.is_cut() {
            return;
        }
        let (scope, operator) = (text(rule, "scopeName"), text(rule, "operator"));
        match unfit.get(scope) {
            Some(count) => refuse_unfit(*count, field, at(object, "spec.scopeSelector"), errors),
            None => errors.invalid_text(format!("{field}.scopeName"), scope, "unsupported scope"),
        }
        let has_values = matches!(scope, "PriorityClass" | "VolumeAttributesClass");
        if SCOPES.contains(&scope) && !has_values && operator != "Exists" {
            errors.invalid_text(format!("{field}.operator"), operator, "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity");
        }
        let values = list(rule, "values");
        match operator {
            "In" | "NotIn" if values.is_empty() => errors.required(
                format!("{field}.values"),
                "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector",
            ),
            "Exists" | "DoesNotExist" if !values.is_empty() => errors.invalid(
                format!("{field}.values"),
                at(rule, "values"),
                "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector",
            ),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => errors.invalid_text(format!("{field}.operator"), other, "not a valid selector operator"),
        }
    }
    let all: Vec<&str> = list(object, field).iter().map(|rule| text(rule, "scopeName")).collect();
    conflicts(object, field, &all, errors);
}

fn validate_update(new: &Value, old: &Value, errors: &mut Errors) {
    let set = |o: &Value| -> BTreeSet<String> {
        list(o, "spec.scopes").iter().filter_map(Value::as_str).map(String::from).collect()
    };
    if set(new) != set(old) {
        errors.invalid("spec.scopes", at(new, "spec.scopes"), IMMUTABLE);
    }
}

static PRINTER: Printer = Printer {
    columns: &[
        ("Name", "string", false),
        ("Request", "string", false),
        ("Limit", "string", false),
        ("Age", "string", false),
    ],
    cells: |o, now| {
        let (mut requests, mut limits) = (vec![], vec![]);
        let mut hard: Vec<(&String, &Value)> = map(o, "status.hard").into_iter().flatten().collect();
        hard.sort_by_key(|(name, _)| *name);
        for (name, hard) in hard {
            let used = at(o, "status.used").get(name).and_then(Value::as_str).unwrap_or("0");
            let text = format!("{name}: {used}/{}", hard.as_str().unwrap_or("0"));
            if name.starts_with("limits.") { &mut limits } else { &mut requests }.push(text);
        }
        vec![name(o), requests.join(", ").into(), limits.join(", ").into(), age(o, now)]
    },
    conditions: None,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::fields::problems;
    use serde_json::json;

    #[test]
    fn a_quota_knows_what_can_be_counted() {
        let hard = json!({"spec": {"hard": {"pods": "1.5", "foo": "1", "count/jobs.batch": "3", "requests.nvidia.com/gpu": "1", "limits.cpu": "-1"}}});
        assert_eq!(
            problems(validate, hard),
            [
                "spec.hard[pods]: Invalid value: \"1.5\": must be an integer",
                "spec.hard[foo]: Invalid value: \"foo\": must be a standard resource type or fully qualified",
                "spec.hard[foo]: Invalid value: \"foo\": must be a standard resource for quota",
                "spec.hard[limits.cpu]: Invalid value: \"-1\": must be greater than or equal to 0",
            ]
        );
        let scoped = json!({"spec": {"hard": {"pods": "1", "services": "1"}, "scopes": ["BestEffort", "NotBestEffort"]}});
        let found = problems(validate, scoped);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[2].ends_with("conflicting scopes"), "{found:?}");
    }

    #[test]
    fn the_amounts_in_a_status_are_judged_when_it_is_written() {
        let errors_of = |status: Value| {
            let quota = json!({"metadata": {"name": "q", "namespace": "d"}, "spec": {"hard": {"pods": "2"}}});
            let mut new = quota.clone();
            new["status"] = status;
            let kind = crate::kinds::find("", "v1", "ResourceQuota").unwrap();
            let errors = crate::validate::status_update(kind, &new, &quota, "status");
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(errors_of(json!({"hard": {"pods": "2"}, "used": {"pods": "1"}})), [""; 0]);
        assert_eq!(
            errors_of(json!({"hard": {"pods": "1500m"}, "used": {"pods": "-5"}})),
            [
                "status.hard[pods]: Invalid value: \"1500m\": must be an integer",
                "status.used[pods]: Invalid value: \"-5\": must be greater than or equal to 0",
            ]
        );
    }

    #[test]
    fn objects_and_devices_are_counted_in_whole_pieces() {
        let errors_of = |name: &str| problems(validate, json!({"spec": {"hard": {name: "1500m"}}}));
        for name in ["count/pods", "count/deployments.apps", "example.com/gpu", "pods"] {
            assert_eq!(
                errors_of(name),
                [format!("spec.hard[{name}]: Invalid value: \"1500m\": must be an integer")]
            );
        }
        // As upstream, which takes this name for no extended resource.
        for name in ["requests.cpu", "limits.memory", "requests.example.com/gpu"] {
            assert_eq!(errors_of(name), [""; 0]);
        }
    }

    #[test]
    fn the_scope_of_attributes_classes_goes_with_claims_only() {
        let errors_of = |hard: Value, scope: &str| {
            let rule = json!({"scopeName": scope, "operator": "In", "values": ["gold"]});
            problems(validate, json!({"spec": {"hard": hard, "scopeSelector": {"matchExpressions": [rule]}}}))
        };
        let claims = json!({"persistentvolumeclaims": "1", "requests.storage": "1Gi", "count/pods": "1"});
        assert_eq!(errors_of(claims.clone(), "VolumeAttributesClass"), [""; 0]);
        let refused = errors_of(json!({"pods": "1"}), "VolumeAttributesClass");
        assert!(
            refused.len() == 1 && refused[0].ends_with("unsupported scope applied to resource"),
            "{refused:?}"
        );
        assert_eq!(errors_of(claims, "PriorityClass").len(), 2, "and others go with pods only");
        let unknown = problems(validate, json!({"spec": {"hard": {"services": "1"}, "scopes": ["Some"]}}));
        assert_eq!(unknown, ["spec.scopes: Invalid value: [\"Some\"]: unsupported scope"]);
    }

    #[test]
    fn the_work_for_scopes_and_resources_grows_as_they_do() {
        let many = |n: usize| {
            let hard: Value = (0..n).map(|i| (format!("count/r{i}.example.com"), json!("1"))).collect();
            let rules = vec![json!({"scopeName": "Terminating", "operator": "Exists"}); n];
            json!({"spec": {"hard": hard, "scopes": vec!["BestEffort"; n], "scopeSelector": {"matchExpressions": rules}}})
        };
        rng::growth::grows_as_its_input("scopes of a quota", 4_000, many, |quota| {
            assert_eq!(problems(validate, quota), [""; 0]);
        });
    }

    #[test]
    fn scopes_of_a_selector_do_not_exclude_each_other() {
        let errors_of = |scopes: [&str; 2]| {
            let rules = scopes.map(|scope| json!({"scopeName": scope, "operator": "Exists"}));
            problems(validate, json!({"spec": {"scopeSelector": {"matchExpressions": rules}}}))
        };
        let conflict = ["spec.scopeSelector.matchExpressions: Invalid value: null: conflicting scopes"];
        assert_eq!(errors_of(["BestEffort", "NotBestEffort"]), conflict);
        assert_eq!(errors_of(["NotTerminating", "Terminating"]), conflict);
        assert_eq!(errors_of(["Terminating", "BestEffort"]), [""; 0]);
    }
}
