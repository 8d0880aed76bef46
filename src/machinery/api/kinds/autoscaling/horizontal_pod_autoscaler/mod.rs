//! Horizontal pod autoscalers: change the number of pods of a workload by what its metrics say. The
//! version `autoscaling/v2`, which is stored; the file beside this folder has v1.

mod printer;
mod validate;

use crate::errors::Errors;
use crate::kinds::entry::{Kind, of, status};
use crate::validate::status::not_negatives;
use crate::value::{self, at, default, empty, put};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use serde_json::{Value, json};

pub(super) fn kind() -> Kind {
    common(of::<HorizontalPodAutoscaler>())
}

/// Adds to an entry what both versions share.
pub(super) fn common(kind: Kind) -> Kind {
    Kind {
        short_names: &["hpa"],
        categories: &["all"],
        subresources: vec![status("HorizontalPodAutoscaler")],
        has_status: true,
        defaults,
        prepare,
        validate: validate::validate,
        validate_create: validate::validate_create,
        validate_update: validate::validate_update,
        validate_status_update,
        printer: Some(&printer::PRINTER),
        ..kind
    }
}

fn defaults(object: &mut Value) {
    default(object, "spec.minReplicas", 1);
    if empty(object, "spec.metrics") {
        let target = json!({"type": "Utilization", "averageUtilization": 80});
        put(
            object,
            "spec.metrics",
            json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}]),
        );
    }
    // A behavior that is set in part gets the rest filled in.
    if at(object, "spec.behavior").is_null() {
        return;
    }
    let double = json!({"type": "Percent", "value": 100, "periodSeconds": 15});
    let four = json!({"type": "Pods", "value": 4, "periodSeconds": 15});
    for (path, policies) in
        [("spec.behavior.scaleUp", json!([four, double])), ("spec.behavior.scaleDown", json!([double]))]
    {
        let rules = value::slot(object, path);
        default(rules, "selectPolicy", "Max");
        // An empty list stays, and validation refuses it.
        if at(rules, "policies").is_null() {
            put(rules, "policies", policies);
        }
    }
    default(object, "spec.behavior.scaleUp.stabilizationWindowSeconds", 0);
}

/// Sets the first status: what Go writes for a status without any field.
fn prepare(object: &mut Value) {
    put(object, "status", json!({"currentMetrics": null, "desiredReplicas": 0}));
}

/// Checks the numbers that a write through `/status` sets.
fn validate_status_update(new: &Value, _: &Value, errors: &mut Errors) {
    not_negatives(new, &["currentReplicas", "desiredReplicas"], errors);
}
