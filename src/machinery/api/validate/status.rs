//! Rules for a write through `/status` that several kinds share: impossible numbers and conditions
//! are refused before a controller reads them. Source: the functions
//! `Validate…StatusUpdate` of upstream's `pkg/apis/*/validation`.

use super::fields::not_negative;
use super::names;
use crate::errors::Errors;
use crate::value::{at, list, text};
use serde_json::{Value, json};
use std::collections::HashSet;

/// The problem of a counter that is larger than the number of pods.
pub(crate) const ABOVE_REPLICAS: &str = "cannot be greater than status.replicas";

/// Returns the number at `status.FIELD`; 0 if it is missing.
pub(crate) fn counter(object: &Value, field: &str) -> i64 {
    at(at(object, "status"), field).as_i64().unwrap_or(0)
}

/// Refuses negative numbers in these fields of the status.
pub(crate) fn not_negatives(object: &Value, fields: &[&str], errors: &mut Errors) {
    fields.iter().for_each(|field| not_negative(object, &format!("status.{field}"), errors));
}

/// Refuses numbers in these fields of the status that are larger than that in the field `limit`.
pub(crate) fn at_most(object: &Value, fields: &[&str], limit: &str, why: &str, errors: &mut Errors) {
    for field in fields.iter().filter(|field| counter(object, field) > counter(object, limit)) {
        errors.invalid(format!("status.{field}"), &json!(counter(object, field)), why);
    }
}

/// Checks the list of `metav1.Condition` at `status.conditions`.
pub(crate) fn conditions(object: &Value, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for (i, condition) in list(object, "status.conditions").iter().enumerate() {
        let field = |name: &str| format!("status.conditions[{i}].{name}");
        let (kind, reason) = (text(condition, "type"), text(condition, "reason"));
        if !seen.insert(kind) {
            errors.duplicate(field("type"), &kind.into());
        }
        for problem in names::qualified_name(kind) {
            errors.invalid_text(field("type"), kind, &problem);
        }
        let states = ["False", "True", "Unknown"];
        if !states.contains(&text(condition, "status")) {
            errors.not_supported(field("status"), at(condition, "status"), &states);
        }
        let generation = at(condition, "observedGeneration");
        if generation.as_i64().is_some_and(|n| n < 0) {
            errors.invalid(field("observedGeneration"), generation, "must be greater than or equal to zero");
        }
        if text(condition, "lastTransitionTime").is_empty() {
            errors.required(field("lastTransitionTime"), "");
        }
        match reason {
            "" => errors.required(field("reason"), ""),
            other if !is_reason(other) => errors.invalid_text(field("reason"), other, REASON),
            other if other.len() > REASON_MAX => errors.too_long(field("reason"), REASON_MAX),
            _ => {}
        }
        if text(condition, "message").len() > MESSAGE_MAX {
            errors.too_long(field("message"), MESSAGE_MAX);
        }
    }
}

/// Bytes of a condition's reason and message; upstream's.
const REASON_MAX: usize = 1 << 10;
const MESSAGE_MAX: usize = 32 << 10;
const REASON: &str = "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is '[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')";

fn is_reason(text: &str) -> bool {
    let is_end = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.ends_with(is_end)
        && text.chars().all(|c| is_end(c) || matches!(c, ',' | ':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors_of(check: fn(&Value, &Value, &mut Errors), new: Value, old: Value) -> Vec<String> {
        let mut errors = Errors::default();
        check(&json!({ "status": new }), &json!({ "status": old }), &mut errors);
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn counters_are_possible_ones() {
        let of = |group: &str, kind: &str| {
            crate::kinds::find(group, "v1", kind).expect("a kind of the table").validate_status_update
        };
        let many = [
            (of("apps", "Deployment"), "updatedReplicas"),
            (of("apps", "ReplicaSet"), "fullyLabeledReplicas"),
            (of("", "ReplicationController"), "fullyLabeledReplicas"),
            (of("apps", "StatefulSet"), "currentReplicas"),
        ];
        for (check, other) in many {
            let good = json!({"replicas": 2, "readyReplicas": 2, "availableReplicas": 1, other: 2});
            assert_eq!(errors_of(check, good, Value::Null), [""; 0], "{other}");
            let wrong = errors_of(check, json!({"replicas": -1}), Value::Null);
            assert_eq!(wrong[0], "status.replicas: Invalid value: -1: must be greater than or equal to 0");
            let wrong = errors_of(check, json!({"replicas": 1, "readyReplicas": 1, other: 2}), Value::Null);
            assert_eq!(wrong, [format!("status.{other}: Invalid value: 2: {ABOVE_REPLICAS}")]);
            let wrong = errors_of(check, json!({"replicas": 2, "availableReplicas": 1}), Value::Null);
            assert!(wrong.len() == 1 && wrong[0].ends_with("readyReplicas"), "{wrong:?}");
        }
        let down = ["status.collisionCount: Invalid value: 0: cannot be decremented"];
        for check in ["Deployment", "StatefulSet", "DaemonSet"].map(|kind| of("apps", kind)) {
            assert_eq!(errors_of(check, json!({}), json!({"collisionCount": 1})), down);
            let up = (json!({"collisionCount": 2}), json!({"collisionCount": 1}));
            assert_eq!(errors_of(check, up.0, up.1), [""; 0]);
        }
        assert_eq!(errors_of(of("apps", "DaemonSet"), json!({"numberReady": -1}), Value::Null).len(), 1);
        let autoscaler = of("autoscaling", "HorizontalPodAutoscaler");
        assert_eq!(errors_of(autoscaler, json!({"desiredReplicas": -1}), Value::Null).len(), 1);
    }
}
