//! HorizontalPodAutoscalers (v2).

use crate::value::{self, at, default, empty, put};
use serde_json::{Value, json};

pub fn autoscaler(object: &mut Value) {
    default(object, "spec.minReplicas", 1);
    if empty(object, "spec.metrics") {
        let target = json!({"type": "Utilization", "averageUtilization": 80});
        put(
            object,
            "spec.metrics",
            json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}]),
        );
    }
    // Who says anything about the behavior gets the rest of it filled in.
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
        // An empty list is a list that was said, and validation refuses it.
        if at(rules, "policies").is_null() {
            put(rules, "policies", policies);
        }
    }
    default(object, "spec.behavior.scaleUp.stabilizationWindowSeconds", 0);
}

/// The first status: what Go writes for one that nobody has written.
pub fn prepare_autoscaler(object: &mut Value) {
    put(object, "status", json!({"currentMetrics": null, "desiredReplicas": 0}));
}
