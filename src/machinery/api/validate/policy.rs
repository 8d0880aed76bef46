//! Disruption budgets, quotas, limit ranges.

use super::{IMMUTABLE, names};
use crate::errors::Errors;
use crate::quantity::{self, Quantity};
use crate::quota::{Amounts, SCOPES, amounts};
use crate::value::{at, list, map, text};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::collections::HashSet;

const COMPUTE: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
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
/// What scopes may be applied to, beside `pods`.
const SCOPED: [&str; 6] = ["cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"];

fn is_standard_quota(name: &str) -> bool {
    let plain = name.strip_prefix("requests.").or(name.strip_prefix("limits.")).unwrap_or(name);
    let huge = name.starts_with("hugepages-") || name.starts_with("requests.hugepages-");
    OBJECTS.contains(&name) || COMPUTE.contains(&plain) || name == "requests.storage" || huge
}

fn resource_name(name: &str, field: &str, errors: &mut Errors) {
    let problems = names::qualified_name(name);
    if !problems.is_empty() {
        problems.iter().for_each(|problem| errors.invalid_text(field, name, problem));
    } else if !name.contains('/') && !is_standard_quota(name) && name != "storage" {
        errors.invalid_text(field, name, "must be a standard resource type or fully qualified");
    }
}

pub fn resource_quota(object: &Value, errors: &mut Errors) {
    for path in ["spec.hard", "status.hard", "status.used"] {
        for (name, value) in map(object, path).into_iter().flatten() {
            let field = format!("{path}[{name}]");
            resource_name(name, &field, errors);
            if !name.contains('/') && !is_standard_quota(name) {
                errors.invalid_text(&field, name, "must be a standard resource for quota");
            }
            let Some(amount) = value.as_str().and_then(Quantity::parse) else {
                errors.invalid(&field, value, quantity::INVALID);
                continue;
            };
            if amount.is_negative() {
                errors.invalid(&field, value, "must be greater than or equal to 0");
            }
            if OBJECTS.contains(&name.as_str()) && !amount.is_whole() {
                errors.invalid(&field, value, "must be an integer");
            }
        }
    }
    scopes(object, errors);
    scope_selector(object, errors);
}

fn fits_scope(scope: &str, resource: &str) -> bool {
    !is_standard_quota(resource)
        || resource == "pods"
        || (scope != "BestEffort" && SCOPED.contains(&resource))
}

fn hard_names(object: &Value) -> BTreeSet<&str> {
    map(object, "spec.hard").into_iter().flatten().map(|(name, _)| name.as_str()).collect()
}

fn scopes(object: &Value, errors: &mut Errors) {
    let (field, shown) = ("spec.scopes", at(object, "spec.scopes"));
    let all: Vec<&str> = list(object, field).iter().filter_map(Value::as_str).collect();
    for scope in &all {
        if !SCOPES.contains(scope) {
            errors.invalid(field, shown, "unsupported scope");
        }
        for _ in hard_names(object).iter().filter(|name| !fits_scope(scope, name)) {
            errors.invalid(field, shown, "unsupported scope applied to resource");
        }
    }
    for (one, other) in [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")] {
        if all.contains(&one) && all.contains(&other) {
            errors.invalid(field, shown, "conflicting scopes");
        }
    }
}

fn scope_selector(object: &Value, errors: &mut Errors) {
    let field = "spec.scopeSelector.matchExpressions";
    for rule in list(object, field) {
        let (scope, operator) = (text(rule, "scopeName"), text(rule, "operator"));
        if !SCOPES.contains(&scope) {
            errors.invalid_text(format!("{field}.scopeName"), scope, "unsupported scope");
        }
        for _ in hard_names(object).iter().filter(|name| !fits_scope(scope, name)) {
            errors.invalid(field, at(object, "spec.scopeSelector"), "unsupported scope applied to resource");
        }
        if SCOPES.contains(&scope) && scope != "PriorityClass" && operator != "Exists" {
            errors.invalid_text(format!("{field}.operator"), operator, "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity");
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
}

pub fn resource_quota_update(new: &Value, old: &Value, errors: &mut Errors) {
    let set = |o: &Value| -> BTreeSet<String> {
        list(o, "spec.scopes").iter().filter_map(Value::as_str).map(String::from).collect()
    };
    if set(new) != set(old) {
        errors.invalid("spec.scopes", at(new, "spec.scopes"), IMMUTABLE);
    }
}

const LIMIT_TYPES: [&str; 3] = ["Pod", "Container", "PersistentVolumeClaim"];
const BOUNDS: [&str; 5] = ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"];

pub fn limit_range(object: &Value, errors: &mut Errors) {
    let mut seen: HashSet<&str> = HashSet::new();
    for (i, item) in list(object, "spec.limits").iter().enumerate() {
        let field = format!("spec.limits[{i}]");
        let kind = text(item, "type");
        let problems = names::qualified_name(kind);
        if !problems.is_empty() {
            problems.iter().for_each(|p| errors.invalid_text(format!("{field}.type"), kind, p));
        } else if !kind.contains('/') && !LIMIT_TYPES.contains(&kind) {
            errors.invalid_text(
                format!("{field}.type"),
                kind,
                "must be a standard limit type or fully qualified",
            );
        }
        if seen.contains(&kind) {
            errors.duplicate(format!("{field}.type"), &json!(kind));
        }
        seen.insert(kind);
        for bound in BOUNDS {
            let there = map(item, bound).into_iter().flatten();
            if kind == "Pod" && bound.starts_with("default") {
                if there.count() > 0 {
                    errors.forbidden(format!("{field}.{bound}"), "may not be specified when `type` is 'Pod'");
                }
                continue;
            }
            for (name, value) in there {
                let field = format!("{field}.{bound}[{name}]");
                limited_resource(kind, name, &field, errors);
                if value.as_str().and_then(Quantity::parse).is_none() {
                    errors.invalid(&field, value, quantity::INVALID);
                }
            }
        }
        let bounds = |bound: &str| amounts(item, bound);
        if kind == "PersistentVolumeClaim"
            && !bounds("min").contains_key("storage")
            && !bounds("max").contains_key("storage")
        {
            let why = "either minimum or maximum storage value is required, but neither was provided";
            errors.required(format!("{field}.limits"), why);
        }
        agree(&field, &BOUNDS.map(bounds), errors);
    }
}

fn limited_resource(kind: &str, name: &str, field: &str, errors: &mut Errors) {
    if !matches!(kind, "Pod" | "Container") {
        return resource_name(name, field, errors);
    }
    let problems = names::qualified_name(name);
    if !problems.is_empty() {
        problems.iter().for_each(|problem| errors.invalid_text(field, name, problem));
    } else if !name.contains('/') && !COMPUTE.contains(&name) && !name.starts_with("hugepages-") {
        errors.invalid_text(field, name, "must be a standard resource for containers");
    }
}

/// min ≤ default request ≤ default ≤ max, for every resource.
fn agree(field: &str, [max, min, default, request, ratio]: &[Amounts; 5], errors: &mut Errors) {
    let names: BTreeSet<&String> =
        [max, min, default, request, ratio].into_iter().flat_map(|m| m.keys()).collect();
    for name in names {
        let (max, min, default, request) =
            (max.get(name), min.get(name), default.get(name), request.get(name));
        let mut check = |bound: &str,
                         shown: Option<&Quantity>,
                         low: (&str, Option<&Quantity>),
                         high: (&str, Option<&Quantity>)| {
            if let (Some(low_amount), Some(high_amount), Some(shown)) = (low.1, high.1, shown)
                && low_amount > high_amount
            {
                let why =
                    format!("{} value {low_amount} is greater than {} value {high_amount}", low.0, high.0);
                errors.invalid_text(format!("{field}.{bound}[{name}]"), &shown.to_string(), &why);
            }
        };
        check("min", min, ("min", min), ("max", max));
        check("defaultRequest", request, ("min", min), ("default request", request));
        check("defaultRequest", request, ("default request", request), ("max", max));
        check("defaultRequest", request, ("default request", request), ("default limit", default));
        check("default", min, ("min", min), ("default", default));
        check("default", max, ("default", default), ("max", max));
        let Some(ratio) = ratio.get(name) else { continue };
        let field = format!("{field}.maxLimitRequestRatio[{name}]");
        if *ratio < Quantity::of_units(1) {
            errors.invalid_text(&field, &ratio.to_string(), &format!("ratio {ratio} is less than 1"));
        }
        if let (Some(min), Some(max)) = (min, max) {
            let most = max.milli() as f64 / min.milli() as f64;
            if ratio.milli() as f64 / 1000.0 > most {
                let why = format!("ratio {ratio} is greater than max/min = {most:.6}");
                errors.invalid_text(&field, &ratio.to_string(), &why);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::problems;

    #[test]
    fn a_quota_knows_what_can_be_counted() {
        let hard = json!({"spec": {"hard": {"pods": "1.5", "foo": "1", "count/jobs.batch": "3", "requests.nvidia.com/gpu": "1", "limits.cpu": "-1"}}});
        assert_eq!(
            problems(resource_quota, hard),
            [
                "spec.hard[pods]: Invalid value: \"1.5\": must be an integer",
                "spec.hard[foo]: Invalid value: \"foo\": must be a standard resource type or fully qualified",
                "spec.hard[foo]: Invalid value: \"foo\": must be a standard resource for quota",
                "spec.hard[limits.cpu]: Invalid value: \"-1\": must be greater than or equal to 0",
            ]
        );
        let scoped = json!({"spec": {"hard": {"pods": "1", "services": "1"}, "scopes": ["BestEffort", "NotBestEffort"]}});
        let told = problems(resource_quota, scoped);
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[2].ends_with("conflicting scopes"), "{told:?}");
    }

    #[test]
    fn the_bounds_of_a_limit_range_agree() {
        let item = json!({"type": "Container", "min": {"cpu": "1"}, "max": {"cpu": "500m"}, "default": {"cpu": "2"}});
        let told = problems(limit_range, json!({"spec": {"limits": [item]}}));
        assert_eq!(
            told,
            [
                "spec.limits[0].min[cpu]: Invalid value: \"1\": min value 1 is greater than max value 500m",
                "spec.limits[0].default[cpu]: Invalid value: \"500m\": default value 2 is greater than max value 500m",
            ]
        );
        let pod = json!({"type": "Pod", "default": {"cpu": "1"}});
        let told =
            problems(limit_range, json!({"spec": {"limits": [pod, {"type": "PersistentVolumeClaim"}]}}));
        assert!(
            told[0].contains("may not be specified when `type` is 'Pod'")
                && told[1].contains("either minimum"),
            "{told:?}"
        );
    }
}
