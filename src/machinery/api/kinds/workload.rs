//! What the kinds that manage pods share: Deployments, ReplicaSets, ReplicationControllers,
//! DaemonSets, StatefulSets, Jobs and CronJobs. Their pods' own fields are in `pod_spec`.

use crate::errors::Errors;
use crate::kinds::entry::ScalePaths;
use crate::labels::Selector;
use crate::pod_spec;
use crate::table::cells::{age, containers, name, number};
use crate::validate::fields::{not_negative, selector};
use crate::validate::status::{ABOVE_REPLICAS, at_most, not_negatives};
use crate::value::{at, empty, int, put, text};
use clock::Timestamp;
use serde_json::{Value, json};

/// Where `/scale` finds its fields.
pub(super) const SCALE_PATHS: ScalePaths = ScalePaths {
    spec_replicas: "spec.replicas",
    status_replicas: "status.replicas",
    selector: "spec.selector",
};

/// The first status of a kind that counts replicas.
pub(super) fn prepare_replicas(object: &mut Value) {
    put(object, "status", json!({"replicas": 0}));
}

/// The problem of a selector without requirements; the kind follows.
pub(super) const EMPTY_SELECTOR: &str = "empty selector is invalid for ";

/// Checks `spec.replicas`, `spec.selector` and `spec.template`. `what` is the kind in small
/// letters.
pub(super) fn validate(object: &Value, what: &str, errors: &mut Errors) {
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
        unselected(labels, errors);
    }
    pod_spec::template(object, "spec.template", errors);
    let named = match what {
        "daemonset" => "DaemonSet",
        "statefulset" => "StatefulSet",
        _ => "ReplicaSet", // a Deployment's template is that of its sets
    };
    always_restarts(object, named, errors);
    not_negative(object, "spec.minReadySeconds", errors);
    not_negative(object, "spec.revisionHistoryLimit", errors);
}

/// Adds the error that the selector does not select the pods of the template.
pub(super) fn unselected(labels: &Value, errors: &mut Errors) {
    let shown = if labels.is_null() { json!({}) } else { labels.clone() };
    errors.invalid("spec.template.metadata.labels", &shown, "`selector` does not match template `labels`");
}

/// Checks that the pods of the template restart always and have no deadline.
pub(super) fn always_restarts(object: &Value, kind: &str, errors: &mut Errors) {
    let policy = text(object, "spec.template.spec.restartPolicy");
    if policy != "Always" {
        errors.not_supported("spec.template.spec.restartPolicy", &json!(policy), &["Always"]);
    }
    let path = "spec.template.spec.activeDeadlineSeconds";
    if !at(object, path).is_null() {
        errors.forbidden(path, &format!("activeDeadlineSeconds in {kind} is not Supported"));
    }
}

/// True for `0`, `0%` and `00%`.
pub(super) fn is_zero(object: &Value, path: &str) -> bool {
    let digits = text(object, path).strip_suffix('%').filter(|digits| !digits.is_empty());
    int(object, path) == Some(0) || digits.is_some_and(|digits| digits.bytes().all(|digit| digit == b'0'))
}

/// Checks that the count of collisions does not fall. The names of new revisions and ReplicaSets
/// are made of it: with an old count a name that exists would be tried again.
pub(super) fn collisions(new: &Value, old: &Value, errors: &mut Errors) {
    not_negatives(new, &["collisionCount"], errors);
    let count = |object| at(object, "status.collisionCount").as_i64();
    if count(old).is_some_and(|before| count(new).is_none_or(|now| now < before)) {
        let value = json!(count(new).unwrap_or(0));
        errors.invalid("status.collisionCount", &value, "cannot be decremented");
    }
}

/// The status of a ReplicaSet or a ReplicationController.
pub(super) fn validate_replica_status(new: &Value, _: &Value, errors: &mut Errors) {
    let counters = ["replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas"];
    not_negatives(new, &counters, errors);
    not_negatives(new, &["observedGeneration", "terminatingReplicas"], errors);
    at_most(new, &counters[1..], "replicas", ABOVE_REPLICAS, errors);
    at_most(new, &["availableReplicas"], "readyReplicas", "cannot be greater than readyReplicas", errors);
}

/// The containers of the pod template.
pub(super) const CONTAINERS: &str = "spec.template.spec.containers";

/// Adds the wide columns `Containers` and `Images`, and `Selector` if there is one.
pub(super) fn with_pods(
    mut cells: Vec<Value>,
    o: &Value,
    path: &str,
    with_selector: Option<String>,
) -> Vec<Value> {
    let (names, images) = containers(o, path);
    cells.extend([names, images]);
    cells.extend(with_selector.map(Value::from));
    cells
}

/// The columns of a ReplicaSet and of a ReplicationController.
pub(super) const REPLICA_COLUMNS: &[(&str, &str, bool)] = &[
    ("Name", "string", false),
    ("Desired", "integer", false),
    ("Current", "integer", false),
    ("Ready", "integer", false),
    ("Age", "string", false),
    ("Containers", "string", true),
    ("Images", "string", true),
    ("Selector", "string", true),
];

/// The cells of [`REPLICA_COLUMNS`].
pub(super) fn replica_cells(o: &Value, now: Timestamp, selector: String) -> Vec<Value> {
    let cells = vec![
        name(o),
        number(o, "spec.replicas"),
        number(o, "status.replicas"),
        number(o, "status.readyReplicas"),
        age(o, now),
    ];
    with_pods(cells, o, CONTAINERS, Some(selector))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_percent_has_any_number_of_zeros() {
        let zero = |part: Value| is_zero(&json!({ "part": part }), "part");
        for part in [json!(0), json!("0%"), json!("00%")] {
            assert!(zero(part.clone()), "{part}");
        }
        for part in [json!(1), json!("10%"), json!("%"), json!("0"), Value::Null] {
            assert!(!zero(part.clone()), "{part}");
        }
    }
}
