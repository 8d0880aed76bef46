//! Workloads: the selector must select the template, the template must be a pod that restarts.

use super::{not_negative, one_of, pods, selector};
use crate::api::errors::Errors;
use crate::api::labels::Selector;
use crate::api::value::{at, empty, int, text};
use serde_json::{Value, json};

const EMPTY_SELECTOR: &str = "empty selector is invalid for ";

/// `spec.replicas`, `spec.selector` and `spec.template` of a workload called `what`.
fn workload(object: &Value, what: &str, errors: &mut Errors) {
    not_negative(object, "spec.replicas", errors);
    if at(object, "spec.selector").is_null() {
        errors.required("spec.selector", "");
    } else {
        selector(object, "spec.selector", errors);
        if empty(object, "spec.selector.matchLabels") && empty(object, "spec.selector.matchExpressions") {
            errors.invalid("spec.selector", at(object, "spec.selector"), &format!("{EMPTY_SELECTOR}{what}"));
        }
    }
    let labels = at(object, "spec.template.metadata.labels");
    if Selector::of(at(object, "spec.selector")).is_some_and(|s| !s.is_empty() && !s.matches(labels)) {
        let shown = if labels.is_null() { json!({}) } else { labels.clone() };
        errors.invalid(
            "spec.template.metadata.labels",
            &shown,
            "`selector` does not match template `labels`",
        );
    }
    pods::template(object, "spec.template", errors);
    let policy = text(object, "spec.template.spec.restartPolicy");
    if policy != "Always" {
        errors.not_supported("spec.template.spec.restartPolicy", &json!(policy), &["Always"]);
    }
    if !at(object, "spec.template.spec.activeDeadlineSeconds").is_null() {
        errors.forbidden(
            "spec.template.spec.activeDeadlineSeconds",
            "activeDeadlineSeconds in ReplicaSet is not Supported",
        );
    }
    not_negative(object, "spec.minReadySeconds", errors);
    not_negative(object, "spec.revisionHistoryLimit", errors);
}

pub fn deployment(object: &Value, errors: &mut Errors) {
    workload(object, "deployment", errors);
    let kind = text(object, "spec.strategy.type");
    match kind {
        "Recreate" => {
            if !at(object, "spec.strategy.rollingUpdate").is_null() {
                errors.forbidden(
                    "spec.strategy.rollingUpdate",
                    "may not be specified when strategy `type` is 'Recreate'",
                );
            }
        }
        "RollingUpdate" => {
            let zero = |path| {
                matches!(at(object, path), Value::Number(n) if n.as_i64() == Some(0))
                    || text(object, path) == "0%"
            };
            for path in ["spec.strategy.rollingUpdate.maxUnavailable", "spec.strategy.rollingUpdate.maxSurge"]
            {
                amount(object, path, errors);
            }
            if zero("spec.strategy.rollingUpdate.maxUnavailable")
                && zero("spec.strategy.rollingUpdate.maxSurge")
            {
                let path = "spec.strategy.rollingUpdate.maxUnavailable";
                errors.invalid(path, at(object, path), "may not be 0 when `maxSurge` is 0");
            }
        }
        _ => errors.not_supported(
            "spec.strategy.type",
            at(object, "spec.strategy.type"),
            &["Recreate", "RollingUpdate"],
        ),
    }
    not_negative(object, "spec.progressDeadlineSeconds", errors);
    let (deadline, ready) =
        (int(object, "spec.progressDeadlineSeconds"), int(object, "spec.minReadySeconds").unwrap_or(0));
    if deadline.is_some_and(|d| d <= ready) {
        errors.invalid(
            "spec.progressDeadlineSeconds",
            at(object, "spec.progressDeadlineSeconds"),
            "must be greater than minReadySeconds",
        );
    }
}

/// A number or a percentage, not negative.
pub fn amount(object: &Value, path: &str, errors: &mut Errors) {
    match at(object, path) {
        Value::String(s) => {
            let percent = s.strip_suffix('%').and_then(|n| n.parse::<u32>().ok());
            match percent {
                None => errors.invalid_text(path, s, "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"),
                Some(p) if p > 100 && !path.ends_with("maxSurge") => errors.invalid_text(path, s, "must not be greater than 100%"),
                Some(_) => {}
            }
        }
        _ => not_negative(object, path, errors),
    }
}

pub fn replica_set(object: &Value, errors: &mut Errors) {
    workload(object, "replicaset", errors);
}

pub fn daemon_set(object: &Value, errors: &mut Errors) {
    workload(object, "daemonset", errors);
    one_of(
        object,
        "spec.updateStrategy.type",
        "spec.updateStrategy.type",
        &["OnDelete", "RollingUpdate"],
        errors,
    );
}

pub fn stateful_set(object: &Value, errors: &mut Errors) {
    workload(object, "statefulset", errors);
    one_of(
        object,
        "spec.podManagementPolicy",
        "spec.podManagementPolicy",
        &["OrderedReady", "Parallel"],
        errors,
    );
    one_of(
        object,
        "spec.updateStrategy.type",
        "spec.updateStrategy.type",
        &["OnDelete", "RollingUpdate"],
        errors,
    );
}

pub fn stateful_set_update(new: &Value, old: &Value, errors: &mut Errors) {
    const MAY: [&str; 8] = [
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
        "serviceName",
    ];
    let frozen = |o: &Value| {
        let mut spec = at(o, "spec").clone();
        if let Some(map) = spec.as_object_mut() {
            map.retain(|k, _| !MAY[..7].contains(&k.as_str()));
        }
        spec
    };
    if frozen(new) != frozen(old) {
        errors.forbidden("spec", "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden");
    }
}

pub fn job(object: &Value, errors: &mut Errors) {
    job_spec(at(object, "spec"), "spec", errors);
}

fn job_spec(spec: &Value, field: &str, errors: &mut Errors) {
    for path in
        ["parallelism", "completions", "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished"]
    {
        if int(spec, path).is_some_and(|n| n < 0) {
            errors.invalid(format!("{field}.{path}"), at(spec, path), "must be greater than or equal to 0");
        }
    }
    pods::template_at(at(spec, "template"), &format!("{field}.template"), errors);
    let policy = text(spec, "template.spec.restartPolicy");
    if !["OnFailure", "Never"].contains(&policy) {
        errors.not_supported(
            format!("{field}.template.spec.restartPolicy"),
            &json!(policy),
            &["OnFailure", "Never"],
        );
    }
}

pub fn cron_job(object: &Value, errors: &mut Errors) {
    let schedule = text(object, "spec.schedule");
    if schedule.is_empty() {
        errors.required("spec.schedule", "");
    } else if schedule.split_whitespace().count() != 5 && !schedule.starts_with('@') {
        let why =
            format!("expected exactly 5 fields, found {}: [{schedule}]", schedule.split_whitespace().count());
        errors.invalid_text("spec.schedule", schedule, &why);
    }
    one_of(
        object,
        "spec.concurrencyPolicy",
        "spec.concurrencyPolicy",
        &["Allow", "Forbid", "Replace"],
        errors,
    );
    job_spec(at(object, "spec.jobTemplate.spec"), "spec.jobTemplate.spec", errors);
}

pub fn controller_revision(object: &Value, errors: &mut Errors) {
    not_negative(object, "revision", errors);
}
