//! One HorizontalPodAutoscaler, two faces: autoscaling/v2 (stored) and v1, which knows one CPU target only. What v1 has no field for travels in annotations,
//! so that a client of v1 changes nothing that it does not see.

use super::value::{self, at, list, put, remove, slot_map, text};
use serde_json::{Value, json};

/// (annotation, where v2 keeps it)
const CARRIED: [(&str, &str); 3] = [
    ("autoscaling.alpha.kubernetes.io/conditions", "status.conditions"),
    ("autoscaling.alpha.kubernetes.io/behavior", "spec.behavior"),
    ("autoscaling.alpha.kubernetes.io/current-metrics", "status.currentMetrics"),
];
const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";

/// Is it the metric that v1 has a field for: CPU use as a percentage of the request?
fn is_cpu(metric: &Value) -> bool {
    text(metric, "type") == "Resource"
        && text(metric, "resource.name") == "cpu"
        && at(metric, "resource.target.averageUtilization").is_number()
}

/// autoscaling/v1 → v2
pub fn to_v2(object: &mut Value) {
    put(object, "apiVersion", "autoscaling/v2");
    let mut metrics = match take_annotation(object, METRICS) {
        Some(Value::Array(others)) => others,
        _ => vec![],
    };
    if let Some(percent) = remove(object, "spec.targetCPUUtilizationPercentage").filter(Value::is_number) {
        let target = json!({"type": "Utilization", "averageUtilization": percent});
        metrics.insert(0, json!({"type": "Resource", "resource": {"name": "cpu", "target": target}}));
    }
    if !metrics.is_empty() {
        put(object, "spec.metrics", metrics);
    }
    remove(object, "status.currentCPUUtilizationPercentage");
    for (annotation, path) in CARRIED {
        if let Some(carried) = take_annotation(object, annotation) {
            put(object, path, carried);
        }
    }
}

/// autoscaling/v2 → v1
pub fn to_v1(object: &mut Value) {
    put(object, "apiVersion", "autoscaling/v1");
    let mut metrics = match remove(object, "spec.metrics") {
        Some(Value::Array(all)) => all,
        _ => vec![],
    };
    if let Some(first) = metrics.iter().position(is_cpu) {
        let cpu = metrics.remove(first);
        put(
            object,
            "spec.targetCPUUtilizationPercentage",
            at(&cpu, "resource.target.averageUtilization").clone(),
        );
    }
    if !metrics.is_empty() {
        put_annotation(object, METRICS, &Value::Array(metrics));
    }
    let current = list(object, "status.currentMetrics").iter().find_map(|m| {
        let cpu = text(m, "resource.name") == "cpu";
        value::int(m, "resource.current.averageUtilization").filter(|_| cpu)
    });
    if let Some(percent) = current {
        put(object, "status.currentCPUUtilizationPercentage", percent);
    }
    for (annotation, path) in CARRIED {
        if let Some(carried) = remove(object, path).filter(|v| !v.is_null()) {
            put_annotation(object, annotation, &carried);
        }
    }
}

fn take_annotation(object: &mut Value, name: &str) -> Option<Value> {
    let annotations = value::at_mut(object, "metadata.annotations")?.as_object_mut()?;
    let carried = annotations.shift_remove(name)?;
    serde_json::from_str(carried.as_str()?).ok()
}

fn put_annotation(object: &mut Value, name: &str, carried: &Value) {
    slot_map(object, "metadata.annotations").insert(name.into(), carried.to_string().into());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_v1_has_no_field_for_comes_back() {
        let memory = json!({"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Mi"}}});
        let cpu = json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}});
        let stored = json!({"apiVersion": "autoscaling/v2", "metadata": {"name": "h", "annotations": {"a": "b"}},
            "spec": {"maxReplicas": 3, "metrics": [cpu, memory], "behavior": {"scaleDown": {"stabilizationWindowSeconds": 5}}}});
        let mut object = stored.clone();
        to_v1(&mut object);
        assert_eq!(object["spec"], json!({"maxReplicas": 3, "targetCPUUtilizationPercentage": 50}));
        to_v2(&mut object);
        assert_eq!(object, stored);
    }
}
