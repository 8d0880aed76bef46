//! Where a pod may run: affinity, tolerations, spreading.

use crate::errors::Errors;
use crate::validate::fields::{one_of, selector_at};
use crate::validate::names;
use crate::value::{at, int, list, map, text};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};

const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";

pub(super) fn affinity(affinity: &Value, field: &str, errors: &mut Errors) {
    let nodes = at(affinity, "nodeAffinity");
    let here = format!("{field}.nodeAffinity");
    if at(nodes, REQUIRED).is_object() {
        node_selector(at(nodes, REQUIRED), &format!("{here}.{REQUIRED}"), errors);
    }
    for (i, term) in list(nodes, PREFERRED).iter().enumerate() {
        let here = format!("{here}.{PREFERRED}[{i}]");
        weight(term, &here, errors);
        node_term(at(term, "preference"), false, &format!("{here}.preference"), errors);
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let pods = at(affinity, kind);
        let here = format!("{field}.{kind}");
        for (i, term) in list(pods, REQUIRED).iter().enumerate() {
            pod_term(term, &format!("{here}.{REQUIRED}[{i}]"), errors);
        }
        for (i, term) in list(pods, PREFERRED).iter().enumerate() {
            let here = format!("{here}.{PREFERRED}[{i}]");
            weight(term, &here, errors);
            pod_term(at(term, "podAffinityTerm"), &format!("{here}.podAffinityTerm"), errors);
        }
    }
}

fn weight(term: &Value, field: &str, errors: &mut Errors) {
    let weight = int(term, "weight").unwrap_or(0);
    if !(1..=100).contains(&weight) {
        errors.invalid(format!("{field}.weight"), &json!(weight), "must be in the range 1-100");
    }
}

/// Checks a selector of nodes, as pods and volumes have it.
pub(crate) fn node_selector(selector: &Value, field: &str, errors: &mut Errors) {
    let terms = list(selector, "nodeSelectorTerms");
    let here = format!("{field}.nodeSelectorTerms");
    if terms.is_empty() {
        return errors.required(here, "must have at least one node selector term");
    }
    for (i, term) in terms.iter().enumerate() {
        node_term(term, true, &format!("{here}[{i}]"), errors);
    }
}

/// Checks a term that selects nodes. `strict`: values have to be such as a label can have.
fn node_term(term: &Value, strict: bool, field: &str, errors: &mut Errors) {
    for (i, e) in list(term, "matchExpressions").iter().enumerate() {
        let here = format!("{field}.matchExpressions[{i}]");
        let values = list(e, "values");
        match text(e, "operator") {
            "In" | "NotIn" if values.is_empty() => {
                let why = "must be specified when `operator` is 'In' or 'NotIn'";
                errors.required(format!("{here}.values"), why);
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                errors.forbidden(format!("{here}.values"), why);
            }
            "Gt" | "Lt" if values.len() != 1 => {
                let why = "must be specified single value when `operator` is 'Lt' or 'Gt'";
                errors.required(format!("{here}.values"), why);
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
            other => errors.invalid_text(format!("{here}.operator"), other, "not a valid selector operator"),
        }
        label_name(text(e, "key"), &format!("{here}.key"), errors);
        for (j, value) in values.iter().enumerate().filter(|_| strict) {
            let value = value.as_str().unwrap_or("");
            for problem in names::label_value(value) {
                errors.invalid_text(format!("{here}.values[{j}]"), value, &problem);
            }
        }
    }
    for (i, e) in list(term, "matchFields").iter().enumerate() {
        let here = format!("{field}.matchFields[{i}]");
        match text(e, "operator") {
            "In" | "NotIn" if list(e, "values").len() != 1 => errors.required(
                format!("{here}.values"),
                "must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
            ),
            "In" | "NotIn" => {}
            other => errors.invalid_text(format!("{here}.operator"), other, "not a valid selector operator"),
        }
        if text(e, "key") != "metadata.name" {
            let why = "not a valid field selector key";
            errors.invalid_text(format!("{here}.key"), text(e, "key"), why);
            continue;
        }
        for (j, value) in list(e, "values").iter().enumerate() {
            let value = value.as_str().unwrap_or("");
            for problem in names::dns_subdomain(value) {
                errors.invalid_text(format!("{here}.values[{j}]"), value, &problem);
            }
        }
    }
}

fn label_name(name: &str, field: &str, errors: &mut Errors) {
    names::qualified_name(name).iter().for_each(|p| errors.invalid_text(field, name, p));
}

fn pod_term(term: &Value, field: &str, errors: &mut Errors) {
    for path in ["labelSelector", "namespaceSelector"] {
        selector_at(at(term, path), &format!("{field}.{path}"), errors);
    }
    for name in list(term, "namespaces") {
        let name = name.as_str().unwrap_or("");
        for problem in names::dns_label(name) {
            errors.invalid_text(format!("{field}.namespace"), name, &problem);
        }
    }
    match_label_keys(term, field, errors);
    let key = text(term, "topologyKey");
    if key.is_empty() {
        errors.required(format!("{field}.topologyKey"), "can not be empty");
    }
    label_name(key, &format!("{field}.topologyKey"), errors);
}

fn match_label_keys(term: &Value, field: &str, errors: &mut Errors) {
    let selector = at(term, "labelSelector");
    for path in ["matchLabelKeys", "mismatchLabelKeys"] {
        let keys = list(term, path);
        if !keys.is_empty() && selector.is_null() {
            let why = "must not be specified when labelSelector is not set";
            errors.forbidden(format!("{field}.{path}"), why);
            continue;
        }
        for (i, key) in keys.iter().enumerate() {
            label_name(key.as_str().unwrap_or(""), &format!("{field}.{path}[{i}]"), errors);
        }
    }
    let keys = list(term, "matchLabelKeys");
    let mut places: HashMap<&Value, usize> = HashMap::new();
    for (i, key) in keys.iter().enumerate() {
        places.entry(key).or_insert(i);
    }
    let mut selected: HashSet<&str> =
        map(selector, "matchLabels").into_iter().flatten().map(|(k, _)| k.as_str()).collect();
    for expression in list(selector, "matchExpressions") {
        let key = text(expression, "key");
        if let Some(i) = places.get(&json!(key))
            && selected.contains(key)
        {
            let why = "exists in both matchLabelKeys and labelSelector";
            errors.invalid_text(format!("{field}[{i}]"), key, why);
        }
        selected.insert(key);
    }
    let other: HashSet<&Value> = list(term, "mismatchLabelKeys").iter().collect();
    for (i, key) in keys.iter().enumerate() {
        if other.contains(key) {
            let why = "exists in both matchLabelKeys and mismatchLabelKeys";
            errors.invalid(format!("{field}.matchLabelKeys[{i}]"), key, why);
        }
    }
}

pub(super) fn spread(spec: &Value, field: &str, errors: &mut Errors) {
    let all = list(spec, "topologySpreadConstraints");
    let pair = |c: &Value| (text(c, "topologyKey").to_string(), text(c, "whenUnsatisfiable").to_string());
    let mut later: HashMap<(String, String), usize> = HashMap::new();
    all.iter().for_each(|c| *later.entry(pair(c)).or_default() += 1);
    for (i, constraint) in all.iter().enumerate() {
        let here = format!("{field}[{i}]");
        let skew = int(constraint, "maxSkew").unwrap_or(0);
        if skew <= 0 {
            errors.invalid(format!("{here}.maxSkew"), &json!(skew), "must be greater than zero");
        }
        if text(constraint, "topologyKey").is_empty() {
            errors.required(format!("{here}.topologyKey"), "can not be empty");
        }
        let action = text(constraint, "whenUnsatisfiable");
        if !["DoNotSchedule", "ScheduleAnyway"].contains(&action) {
            let known = ["DoNotSchedule", "ScheduleAnyway"];
            errors.not_supported(format!("{here}.whenUnsatisfiable"), &json!(action), &known);
        }
        let own = pair(constraint);
        let left = later.entry(own.clone()).or_default();
        *left = left.saturating_sub(1);
        if *left > 0 {
            let shown = format!("{{{}, {}}}", own.0, own.1);
            errors.duplicate(format!("{here}.{{topologyKey, whenUnsatisfiable}}"), &json!(shown));
        }
        let domains = at(constraint, "minDomains");
        if let Some(n) = domains.as_i64() {
            if n <= 0 {
                errors.invalid(format!("{here}.minDomains"), domains, "must be greater than zero");
            }
            if action != "DoNotSchedule" {
                let why = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}");
                errors.invalid(format!("{here}.minDomains"), domains, &why);
            }
        }
        for path in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            one_of(constraint, path, &format!("{here}.{path}"), &["Honor", "Ignore"], errors);
        }
        match_label_keys(constraint, &here, errors);
        selector_at(at(constraint, "labelSelector"), &format!("{here}.labelSelector"), errors);
    }
}

/// Checks a list of tolerations, reported as `field`.
pub(super) fn tolerations(all: &[Value], field: &str, errors: &mut Errors) {
    for (i, t) in all.iter().enumerate() {
        let here = format!("{field}[{i}]");
        let (key, operator, value) = (text(t, "key"), text(t, "operator"), text(t, "value"));
        if !key.is_empty() {
            label_name(key, &format!("{here}.key"), errors);
        }
        if key.is_empty() && operator != "Exists" {
            errors.invalid_text(
                format!("{here}.operator"),
                operator,
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
            );
        }
        if !at(t, "tolerationSeconds").is_null() && text(t, "effect") != "NoExecute" {
            errors.invalid_text(
                format!("{here}.effect"),
                text(t, "effect"),
                "effect must be 'NoExecute' when `tolerationSeconds` is set",
            );
        }
        match operator {
            "" | "Equal" => {
                let problems = names::label_value(value);
                if !problems.is_empty() {
                    errors.invalid_text(format!("{here}.operator"), value, &problems.join(";"));
                }
            }
            "Exists" if !value.is_empty() => {
                let why = "value must be empty when `operator` is 'Exists'";
                errors.invalid_text(format!("{here}.operator"), value, why);
            }
            "Exists" => {}
            "Lt" | "Gt" => {
                let known = ["Equal", "Exists", "Lt", "Gt"];
                errors.not_supported(format!("{here}.operator"), at(t, "operator"), &known);
            }
            _ => errors.not_supported(format!("{here}.operator"), at(t, "operator"), &["Equal", "Exists"]),
        }
        let effects = ["", "NoSchedule", "PreferNoSchedule", "NoExecute"];
        if !effects.contains(&text(t, "effect")) {
            errors.not_supported(format!("{here}.effect"), at(t, "effect"), &effects[1..]);
        }
    }
}
