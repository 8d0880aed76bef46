//! Replica sets: keep a number of equal pods running. A Deployment creates one for each of its
//! templates.

use crate::errors::Errors;
use crate::kinds::entry::{Kind, SCALE, of, status};
use crate::kinds::workload::{self, REPLICA_COLUMNS, replica_cells};
use crate::pod_spec::defaults::template;
use crate::table::cells::{Printer, selector};
use crate::value::default;
use k8s_openapi::api::apps::v1::ReplicaSet;
use serde_json::Value;

pub(super) fn kind() -> Kind {
    Kind {
        short_names: &["rs"],
        categories: &["all"],
        subresources: vec![SCALE, status("ReplicaSet")],
        has_status: true,
        generation: true,
        defaults,
        prepare: workload::prepare_replicas,
        prepare_update: workload::prepare_template,
        validate,
        validate_status_update: workload::validate_replica_status,
        immutable: &["spec.selector"],
        printer: Some(&PRINTER),
        scale: Some(workload::SCALE_PATHS),
        ..of::<ReplicaSet>()
    }
}

fn defaults(object: &mut Value) {
    default(object, "spec.replicas", 1);
    template(object, "spec.template");
}

fn validate(object: &Value, errors: &mut Errors) {
    workload::validate(object, "replicaset", errors);
}

static PRINTER: Printer = Printer {
    columns: REPLICA_COLUMNS,
    cells: |o, now| replica_cells(o, now, selector(o, "spec.selector", "<none>")),
    conditions: None,
};
