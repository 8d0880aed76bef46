//! The few fields of a HorizontalPodAutoscaler that the map shows.

use super::object::{Autoscaler, revision};
use super::read::written;
use api::value::{at, int, list, text};
use serde_json::Value;

/// The metrics of an autoscaler by type, and the field that each has.
const METRICS: [(&str, &str); 5] = [
    ("Resource", "resource"),
    ("ContainerResource", "containerResource"),
    ("Pods", "pods"),
    ("Object", "object"),
    ("External", "external"),
];

/// Returns a metric of an autoscaler with its measured value and its target: `cpu: 12%/50%`.
fn measured(metric: &Value, current: &Value) -> String {
    let kind = text(metric, "type");
    let field = METRICS.iter().find(|(name, _)| *name == kind).map_or("", |(_, field)| *field);
    let (wanted, now) = (at(metric, field), at(at(current, field), "current"));
    let name = match text(wanted, "name") {
        "" => text(wanted, "metric.name"),
        resource => resource,
    };
    let target = at(wanted, "target");
    let amounts = [("averageUtilization", "%"), ("averageValue", ""), ("value", "")];
    let (amount, unit) =
        amounts.into_iter().find(|(amount, _)| !at(target, amount).is_null()).unwrap_or_default();
    let shown = |value: &Value| match written(value).as_str() {
        "" => "<unknown>".to_string(),
        value => format!("{value}{unit}"),
    };
    format!("{name}: {}/{}", shown(at(now, amount)), shown(at(target, amount)))
}

pub(super) fn autoscaler(object: &Value) -> Autoscaler {
    let count = |path: &str| int(object, path).unwrap_or_default();
    let current = list(object, "status.currentMetrics");
    let wanted = list(object, "spec.metrics");
    let metrics = wanted.iter().enumerate();
    let metrics = metrics.map(|(at, metric)| measured(metric, current.get(at).unwrap_or(&Value::Null)));
    let targets = wanted.iter().map(|metric| measured(metric, &Value::Null));
    Autoscaler {
        namespace: text(object, "metadata.namespace").into(),
        name: text(object, "metadata.name").into(),
        target: (
            text(object, "spec.scaleTargetRef.kind").into(),
            text(object, "spec.scaleTargetRef.name").into(),
        ),
        min: int(object, "spec.minReplicas").unwrap_or(1),
        max: count("spec.maxReplicas"),
        current: count("status.currentReplicas"),
        desired: count("status.desiredReplicas"),
        metrics: metrics.collect::<Vec<_>>().join(", "),
        targets: targets.collect::<Vec<_>>().join(", "),
        failure: unable(object),
        revision: revision(object),
    }
}

/// Returns why an autoscaler cannot work, in the word of its condition. `ScalingDisabled` is no
/// failure: the workload was scaled to 0 on purpose.
fn unable(object: &Value) -> String {
    let is_it = |condition: &&Value| {
        matches!(text(condition, "type"), "AbleToScale" | "ScalingActive")
            && text(condition, "status") == "False"
            && text(condition, "reason") != "ScalingDisabled"
    };
    let found = list(object, "status.conditions").iter().find(is_it);
    found.map_or(String::new(), |condition| text(condition, "reason").into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_autoscaler_is_read_as_kubectl_prints_it() {
        let cpu = json!({"type": "Resource", "resource": {"name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": 50}}});
        let queue = json!({"type": "External", "external": {"metric": {"name": "queue"},
            "target": {"type": "AverageValue", "averageValue": "30"}}});
        let mut object = json!({"metadata": {"name": "shop", "namespace": "default"},
            "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "shop"}, "maxReplicas": 3,
                "metrics": [cpu, queue]}});
        let read = autoscaler(&object);
        assert_eq!((read.min, read.max, read.current, read.desired), (1, 3, 0, 0));
        assert_eq!(read.metrics, "cpu: <unknown>/50%, queue: <unknown>/30");
        assert!(read.scales(&("default".into(), "shop".into())));
        assert!(!read.scales(&("other".into(), "shop".into())));
        object["status"] = json!({"currentReplicas": 1, "desiredReplicas": 3, "currentMetrics": [
            {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 0}}},
            {"type": "External", "external": {"current": {"averageValue": "7"}}}]});
        let read = autoscaler(&object);
        assert_eq!((read.current, read.desired, read.metrics.as_str()), (1, 3, "cpu: 0%/50%, queue: 7/30"));
        let mut failure = |kind: &str, status: &str, reason: &str| {
            object["status"]["conditions"] = json!([{"type": "ScalingLimited", "status": "False", "reason": "x"},
                {"type": kind, "status": status, "reason": reason}]);
            autoscaler(&object).failure
        };
        assert_eq!(failure("ScalingActive", "True", "ValidMetricFound"), "");
        assert_eq!(failure("ScalingActive", "False", "FailedGetResourceMetric"), "FailedGetResourceMetric");
        assert_eq!(failure("AbleToScale", "False", "FailedGetScale"), "FailedGetScale");
        assert_eq!(failure("ScalingActive", "False", "ScalingDisabled"), "");
    }
}
