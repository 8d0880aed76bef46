//! What the kinds that manage pods share: Deployments, ReplicaSets, ReplicationControllers,
//! DaemonSets, StatefulSets, Jobs and CronJobs. Their pods' own fields are in `pod_spec`.

use crate::errors::Errors;
use crate::kinds::entry::ScalePaths;
use crate::labels::Selector;
use crate::meta;
use crate::pod_spec;
use crate::pod_spec::disabled::drop_fields;
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

/// Where a workload describes its pods.
const POD_SPEC: &str = "spec.template.spec";

/// Makes the first status of a kind that counts replicas.
///
/// A ReplicaSet of a Deployment keeps its template as it is: the Deployment may have fields that an
/// older version stored, and knows its ReplicaSet by the same template. It would make one
/// ReplicaSet after the other. The pods are without these fields all the same.
pub(super) fn prepare_replicas(object: &mut Value) {
    put(object, "status", json!({"replicas": 0}));
    if meta::controller(object).is_none() {
        prepare_template(object, &Value::Null);
    }
}

/// Drops what the template of a workload that replaces `old` may not have yet.
pub(super) fn prepare_template(new: &mut Value, old: &Value) {
    drop_fields(new, old, POD_SPEC);
}

/// The problem of a selector without requirements; the kind follows.
pub(super) const EMPTY_SELECTOR: &str = "empty selector is invalid for ";

/// Checks `spec.replicas`, `spec.selector` and `spec.template`. `what` is the kind in small
/// letters.
pub(super) fn validate(object: &Value, what: &str, errors: &mut Errors) {
    not_negative(object, "spec.replicas", errors);
    let (own, labels) = (at(object, "spec.selector"), at(object, "spec.template.metadata.labels"));
    if own.is_null() {
        // Upstream does not ask a DaemonSet for a selector: none selects no pod.
        if what != "daemonset" {
            errors.required("spec.selector", "");
        }
        unselected(labels, errors);
    } else {
        selector(object, "spec.selector", errors);
        if empty(own, "matchLabels") && empty(own, "matchExpressions") {
            // Upstream's text for a ReplicaSet names a Deployment, too.
            let what = if what == "replicaset" { "deployment" } else { what };
            errors.invalid("spec.selector", own, &format!("{EMPTY_SELECTOR}{what}"));
        }
        if Selector::of(own).is_some_and(|s| !s.is_empty() && !s.matches(labels)) {
            unselected(labels, errors);
        }
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
    errors.invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`");
}

/// Returns an update strategy as upstream's errors show it. Its internal type has capital letters
/// and no field that is left out; `parts` are those of a rolling update with their zero values.
pub(super) fn shown_strategy(strategy: &Value, parts: [(&str, Value); 2]) -> Value {
    let rolling = shown_rolling_update(at(strategy, "rollingUpdate"), parts);
    json!({"Type": text(strategy, "type"), "RollingUpdate": rolling})
}

/// Returns the parameters of a rolling update as [`shown_strategy`] has them.
pub(super) fn shown_rolling_update(rolling: &Value, parts: [(&str, Value); 2]) -> Value {
    if rolling.is_null() {
        return Value::Null;
    }
    let shown = parts.into_iter().map(|(part, zero)| {
        let (first, rest) = part.split_at(1);
        let value = Some(at(rolling, part)).filter(|value| !value.is_null()).cloned();
        (format!("{}{rest}", first.to_uppercase()), value.unwrap_or(zero))
    });
    Value::Object(shown.collect())
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

/// Checks the status of a ReplicaSet or a ReplicationController: no counter exceeds the replicas.
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

/// Returns the cells of [`REPLICA_COLUMNS`].
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
    fn a_workload_without_a_selector_selects_no_pod() {
        let errors_of = |what: &str, selector: Value| {
            let template = json!({"metadata": {"labels": {"a": "b"}}});
            let mut errors = Errors::default();
            validate(&json!({"spec": {"selector": selector, "template": template}}), what, &mut errors);
            let all = errors.iter().map(ToString::to_string);
            all.filter(|error| error.contains("elector")).collect::<Vec<_>>()
        };
        const REQUIRED: &str = "spec.selector: Required value";
        const OTHER: &str = "spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`";
        for what in ["deployment", "replicaset", "statefulset"] {
            assert_eq!(errors_of(what, Value::Null), [REQUIRED, OTHER], "{what}");
        }
        assert_eq!(errors_of("daemonset", Value::Null), [OTHER]);
        assert_eq!(errors_of("deployment", json!({"matchLabels": {"a": "b"}})), [""; 0]);
        let empty = "spec.selector: Invalid value: {}: empty selector is invalid for deployment";
        assert_eq!(errors_of("replicaset", json!({})), [empty]);
    }

    #[test]
    fn a_replica_set_of_a_deployment_has_the_same_template_as_the_deployment() {
        let hook = json!({"stopSignal": "SIGINT"});
        let container = json!({"name": "c", "image": "x", "lifecycle": hook});
        let spec = json!({"template": {"spec": {"containers": [container]}}});
        let of_deployment = json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": "d", "uid": "u", "controller": true}]);
        for (owners, is_kept) in [(Value::Null, false), (of_deployment, true)] {
            let mut set = json!({"metadata": {"ownerReferences": owners}, "spec": spec});
            prepare_replicas(&mut set);
            assert_eq!(at(&set, "spec") == &spec, is_kept, "{set}");
        }
    }

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
