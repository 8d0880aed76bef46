//! What a write through `/status` may say: numbers that cannot be, and addresses that are none, are
//! refused before a controller or kube-proxy reads them. Source: the functions
//! `Validate…StatusUpdate` of upstream's `pkg/apis/*/validation`.

use super::{names, not_negative};
use crate::errors::{ErrorKind, Errors, FieldError};
use crate::kinds::workload::{ABOVE_REPLICAS, collisions};
use crate::validate::addresses::load_balancer_ingress;
use crate::value::{at, list, text};
use serde_json::{Value, json};
use std::collections::HashSet;

pub(crate) fn counter(object: &Value, field: &str) -> i64 {
    at(at(object, "status"), field).as_i64().unwrap_or(0)
}

pub(crate) fn not_negatives(object: &Value, fields: &[&str], errors: &mut Errors) {
    fields.iter().for_each(|field| not_negative(object, &format!("status.{field}"), errors));
}

pub(crate) fn at_most(object: &Value, fields: &[&str], limit: &str, why: &str, errors: &mut Errors) {
    for field in fields.iter().filter(|field| counter(object, field) > counter(object, limit)) {
        errors.invalid(format!("status.{field}"), &json!(counter(object, field)), why);
    }
}

/// The status of a Deployment.
pub fn deployment(new: &Value, old: &Value, errors: &mut Errors) {
    let counters = ["observedGeneration", "replicas", "updatedReplicas", "readyReplicas"];
    not_negatives(new, &counters, errors);
    not_negatives(new, &["availableReplicas", "unavailableReplicas", "terminatingReplicas"], errors);
    collisions(new, old, errors);
    at_most(
        new,
        &["updatedReplicas", "readyReplicas", "availableReplicas"],
        "replicas",
        ABOVE_REPLICAS,
        errors,
    );
    at_most(new, &["availableReplicas"], "readyReplicas", "cannot be greater than readyReplicas", errors);
}

/// The status of a StatefulSet.
pub fn stateful_set(new: &Value, old: &Value, errors: &mut Errors) {
    let counters = ["replicas", "readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"];
    not_negatives(new, &counters, errors);
    not_negatives(new, &["observedGeneration"], errors);
    collisions(new, old, errors);
    at_most(new, &counters[1..], "replicas", ABOVE_REPLICAS, errors);
    let why = "cannot be greater than status.readyReplicas";
    at_most(new, &["availableReplicas"], "readyReplicas", why, errors);
}

/// The status of a DaemonSet.
pub fn daemon_set(new: &Value, old: &Value, errors: &mut Errors) {
    let counters = ["currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady"];
    not_negatives(new, &counters, errors);
    let counters = ["observedGeneration", "updatedNumberScheduled", "numberAvailable", "numberUnavailable"];
    not_negatives(new, &counters, errors);
    collisions(new, old, errors);
}

/// The status of a HorizontalPodAutoscaler.
pub fn autoscaler(new: &Value, _: &Value, errors: &mut Errors) {
    not_negatives(new, &["currentReplicas", "desiredReplicas"], errors);
}

fn has(job: &Value, condition: &str) -> bool {
    let mut all = list(job, "status.conditions").iter();
    all.any(|c| text(c, "type") == condition && text(c, "status") == "True")
}

fn is_finished(job: &Value) -> bool {
    has(job, "Complete") || has(job, "Failed")
}

/// The counters of a Job. Rules about several fields count only if one of them changes: an edit of
/// the spec may break them, until the controller has seen it.
pub fn job(new: &Value, old: &Value, errors: &mut Errors) {
    not_negatives(new, &["active", "succeeded", "failed", "ready", "terminating"], errors);
    uncounted(new, errors);
    let is_changed = |field: &str| counter(new, field) != counter(old, field);
    let finishes = is_finished(new) != is_finished(old);
    for field in ["active", "terminating"] {
        if is_finished(new) && counter(new, field) > 0 && (finishes || is_changed(field)) {
            let why = format!("{field}>0 is invalid for finished job");
            errors.invalid(format!("status.{field}"), &json!(counter(new, field)), &why);
        }
    }
    if !at(new, "status.ready").is_null() && (is_changed("ready") || is_changed("active")) {
        at_most(new, &["ready"], "active", "cannot set more ready pods than active", errors);
    }
    for condition in ["Failed", "Complete", "FailureTarget"] {
        if has(old, condition) && !has(new, condition) {
            // Upstream does not repeat the conditions.
            let body = format!("Invalid value: cannot disable the terminal {condition}=True condition");
            errors.add(FieldError { kind: ErrorKind::Invalid, field: "status.conditions".into(), body });
        }
    }
    // An indexed Job with as many pods at once as completions may be scaled down.
    let is_elastic = text(new, "spec.completionMode") == "Indexed"
        && at(new, "spec.completions") == at(new, "spec.parallelism");
    for field in ["failed", "succeeded"] {
        let may_decrease = field == "succeeded" && is_elastic;
        if counter(new, field) < counter(old, field) && !may_decrease {
            let why = format!("cannot decrease the {field} counter");
            errors.invalid(format!("status.{field}"), &json!(counter(new, field)), &why);
        }
    }
}

/// Pods of a Job that ended and are in no counter yet: each once.
fn uncounted(job: &Value, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for group in ["succeeded", "failed"] {
        let path = format!("status.uncountedTerminatedPods.{group}");
        for (i, uid) in list(job, &path).iter().enumerate() {
            let field = format!("{path}[{i}]");
            match uid.as_str().unwrap_or_default() {
                "" => errors.invalid_text(field, "", "must not be empty"),
                other if !seen.insert(other) => errors.duplicate(field, uid),
                _ => {}
            }
        }
    }
}

/// A list of `metav1.Condition` at `status.conditions`.
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

/// The status of a Service: only one of the type LoadBalancer has addresses of a load balancer.
pub fn service(new: &Value, _: &Value, errors: &mut Errors) {
    let ingress = list(new, "status.loadBalancer.ingress");
    let field = "status.loadBalancer.ingress";
    if text(new, "spec.type") != "LoadBalancer" && !ingress.is_empty() {
        return errors.forbidden(field, "may only be used when `spec.type` is 'LoadBalancer'");
    }
    for (i, one) in ingress.iter().enumerate() {
        let (field, has_ip) = (format!("{field}[{i}]"), !text(one, "ip").is_empty());
        load_balancer_ingress(one, &field, errors);
        let mode = at(one, "ipMode");
        match mode.as_str() {
            None if has_ip => {
                errors.required(format!("{field}.ipMode"), "must be specified when `ip` is set");
            }
            None => {}
            Some(_) if !has_ip => {
                errors.forbidden(format!("{field}.ipMode"), "may not be specified when `ip` is not set");
            }
            Some("VIP" | "Proxy") => {}
            Some(_) => errors.not_supported(format!("{field}.ipMode"), mode, &["Proxy", "VIP"]),
        }
    }
}

/// The status of an Ingress.
pub fn ingress(new: &Value, _: &Value, errors: &mut Errors) {
    let path = "status.loadBalancer.ingress";
    for (i, one) in list(new, path).iter().enumerate() {
        load_balancer_ingress(one, &format!("{path}[{i}]"), errors);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(check: fn(&Value, &Value, &mut Errors), new: Value, old: Value) -> Vec<String> {
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
            assert_eq!(told(check, good, Value::Null), [""; 0], "{other}");
            let wrong = told(check, json!({"replicas": -1}), Value::Null);
            assert_eq!(wrong[0], "status.replicas: Invalid value: -1: must be greater than or equal to 0");
            let wrong = told(check, json!({"replicas": 1, "readyReplicas": 1, other: 2}), Value::Null);
            assert_eq!(wrong, [format!("status.{other}: Invalid value: 2: {ABOVE_REPLICAS}")]);
            let wrong = told(check, json!({"replicas": 2, "availableReplicas": 1}), Value::Null);
            assert!(wrong.len() == 1 && wrong[0].ends_with("readyReplicas"), "{wrong:?}");
        }
        let down = ["status.collisionCount: Invalid value: 0: cannot be decremented"];
        for check in ["Deployment", "StatefulSet", "DaemonSet"].map(|kind| of("apps", kind)) {
            assert_eq!(told(check, json!({}), json!({"collisionCount": 1})), down);
            let up = (json!({"collisionCount": 2}), json!({"collisionCount": 1}));
            assert_eq!(told(check, up.0, up.1), [""; 0]);
        }
        assert_eq!(told(of("apps", "DaemonSet"), json!({"numberReady": -1}), Value::Null).len(), 1);
        let autoscaler = of("autoscaling", "HorizontalPodAutoscaler");
        assert_eq!(told(autoscaler, json!({"desiredReplicas": -1}), Value::Null).len(), 1);
    }

    #[test]
    fn a_job_counts_upwards_and_stays_finished() {
        let complete = json!([{"type": "Complete", "status": "True"}]);
        let done = json!({"succeeded": 1, "conditions": complete});
        assert_eq!(told(job, done.clone(), json!({"active": 1, "ready": 1})), [""; 0]);
        for (new, old, why) in [
            (json!({"active": -1}), Value::Null, "status.active: Invalid value: -1: must be"),
            (json!({"ready": 1}), Value::Null, "status.ready: Invalid value: 1: cannot set more ready"),
            (json!({"failed": 1}), json!({"failed": 2}), "cannot decrease the failed counter"),
            (json!({}), json!({"succeeded": 2}), "cannot decrease the succeeded counter"),
            (json!({"succeeded": 1}), done, "cannot disable the terminal Complete=True condition"),
            (
                json!({"active": 1, "conditions": complete}),
                Value::Null,
                "status.active: Invalid value: 1: active>0 is invalid for finished job",
            ),
            (
                json!({"uncountedTerminatedPods": {"succeeded": ["a"], "failed": ["a"]}}),
                Value::Null,
                "status.uncountedTerminatedPods.failed[0]: Duplicate value: \"a\"",
            ),
        ] {
            let errors = told(job, new, old);
            assert!(errors.len() == 1 && errors[0].contains(why), "{errors:?}");
        }
    }

    #[test]
    fn load_balancers_have_addresses_and_names() {
        let of = |kind: &str, ingress: Value| {
            let mut errors = Errors::default();
            let object = json!({"spec": {"type": kind}, "status": {"loadBalancer": {"ingress": [ingress]}}});
            service(&object, &Value::Null, &mut errors);
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let good = json!({"ip": "9.9.9.9", "ipMode": "VIP", "hostname": "a.b"});
        assert_eq!(of("LoadBalancer", good.clone()), [""; 0]);
        assert_eq!(
            of("ClusterIP", good),
            ["status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is 'LoadBalancer'"]
        );
        let field = "status.loadBalancer.ingress[0]";
        for (ingress, why) in [
            (json!({"ip": "banana", "ipMode": "VIP"}), format!("{field}.ip: Invalid value: \"banana\"")),
            (json!({"ip": "9.9.9.9"}), format!("{field}.ipMode: Required value: must be specified when")),
            (json!({"hostname": "a", "ipMode": "VIP"}), format!("{field}.ipMode: Forbidden: may not be")),
            (json!({"ip": "9.9.9.9", "ipMode": "X"}), format!("{field}.ipMode: Unsupported value: \"X\"")),
            (
                json!({"hostname": "9.9.9.9"}),
                format!("{field}.hostname: Invalid value: \"9.9.9.9\": must be a DNS name"),
            ),
            (json!({"hostname": "A b"}), format!("{field}.hostname: Invalid value: \"A b\"")),
        ] {
            let errors = of("LoadBalancer", ingress.clone());
            assert!(errors.len() == 1 && errors[0].starts_with(&why), "{errors:?}");
            let mut of_ingress = Errors::default();
            let object = json!({"status": {"loadBalancer": {"ingress": [ingress]}}});
            super::ingress(&object, &Value::Null, &mut of_ingress);
            assert_eq!(of_ingress.is_empty(), why.contains("ipMode"), "{why}");
        }
    }
}
