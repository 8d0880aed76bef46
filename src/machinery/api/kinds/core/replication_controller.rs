//! Replication controllers: keep a number of equal pods running. The older form of ReplicaSets.

use crate::errors::Errors;
use crate::kinds::entry::{Kind, SCALE, of, status};
use crate::kinds::workload::{self, REPLICA_COLUMNS, always_restarts, replica_cells, unselected};
use crate::pod_spec;
use crate::pod_spec::defaults::template;
use crate::table::cells::{Printer, labels};
use crate::validate::fields::not_negative;
use crate::value::{self, at, default, put};
use k8s_openapi::api::core::v1::ReplicationController;
use serde_json::Value;

pub(super) fn kind() -> Kind {
    Kind {
        short_names: &["rc"],
        categories: &["all"],
        subresources: vec![SCALE, status("ReplicationController")],
        has_status: true,
        generation: true,
        orphans: true,
        defaults,
        prepare: workload::prepare_replicas,
        prepare_update: workload::prepare_template,
        validate,
        validate_status_update: workload::validate_replica_status,
        fields: &[("status.replicas", "status.replicas")],
        printer: Some(&PRINTER),
        scale: Some(workload::SCALE_PATHS),
        ..of::<ReplicationController>()
    }
}

/// Fills in a missing selector and missing labels: those of the template.
fn defaults(object: &mut Value) {
    let labels = at(object, "spec.template.metadata.labels").clone();
    if !value::empty(object, "spec.template.metadata.labels") {
        for path in ["spec.selector", "metadata.labels"] {
            if value::empty(object, path) {
                put(object, path, labels.clone());
            }
        }
    }
    default(object, "spec.replicas", 1);
    if !at(object, "spec.template").is_null() {
        template(object, "spec.template");
    }
}

/// Checks a ReplicationController, whose selector is a plain map of labels.
fn validate(object: &Value, errors: &mut Errors) {
    not_negative(object, "spec.minReadySeconds", errors);
    let selects: Vec<(&str, &str)> = value::pairs(object, "spec.selector").collect();
    if selects.is_empty() {
        errors.required("spec.selector", "");
    }
    not_negative(object, "spec.replicas", errors);
    if at(object, "spec.template").is_null() {
        return errors.required("spec.template", "");
    }
    let labels = at(object, "spec.template.metadata.labels");
    if selects.iter().any(|(key, value)| labels.get(key).and_then(Value::as_str) != Some(value)) {
        unselected(labels, errors);
    }
    pod_spec::template(object, "spec.template", errors);
    always_restarts(object, "ReplicationController", errors);
}

static PRINTER: Printer = Printer {
    columns: REPLICA_COLUMNS,
    cells: |o, now| replica_cells(o, now, labels(o, "spec.selector")),
    conditions: None,
};
