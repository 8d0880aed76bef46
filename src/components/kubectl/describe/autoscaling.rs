//! Horizontal pod autoscalers.

use super::text::{Text, rfc1123};
use super::workloads::count;
use crate::gostr;
use api::value::{self, at, list, text as part};
use serde_json::Value;

pub(super) fn autoscaler(text: &mut Text, hpa: &Value) {
    text.meta(hpa);
    text.field(0, "CreationTimestamp", rfc1123(part(hpa, "metadata.creationTimestamp")));
    let target = at(hpa, "spec.scaleTargetRef");
    text.field(0, "Reference", format!("{}/{}", part(target, "kind"), part(target, "name")));
    text.field(0, "Metrics", "( current / target )");
    let current = list(hpa, "status.currentMetrics");
    for (i, metric) in list(hpa, "spec.metrics").iter().enumerate() {
        self::metric(text, metric, current.get(i).unwrap_or(&Value::Null));
    }
    let least = value::int(hpa, "spec.minReplicas").map_or("<unset>".into(), |n| n.to_string());
    text.field(0, "Min replicas", least);
    text.field(0, "Max replicas", count(hpa, "spec.maxReplicas"));
    let behavior = at(hpa, "spec.behavior");
    if !behavior.is_null() {
        text.line(0, "Behavior:");
        direction(text, "Scale Up", &behavior["scaleUp"]);
        direction(text, "Scale Down", &behavior["scaleDown"]);
    }
    let now = (count(hpa, "status.currentReplicas"), count(hpa, "status.desiredReplicas"));
    text.field(
        0,
        &format!("{} pods", part(target, "kind")),
        format!("{} current / {} desired", now.0, now.1),
    );
    let conditions = list(hpa, "status.conditions");
    if !conditions.is_empty() {
        text.line(0, "Conditions:\n  Type\tStatus\tReason\tMessage\n  ----\t------\t------\t-------");
        for c in conditions {
            let cells = [part(c, "type"), part(c, "status"), part(c, "reason"), part(c, "message")];
            text.line(1, cells.join("\t"));
        }
    }
}

fn shown(value: &Value) -> String {
    if value.is_null() { "<unknown>".into() } else { gostr::plain(value) }
}

fn metric(text: &mut Text, metric: &Value, current: &Value) {
    let (source, name) = match part(metric, "type") {
        "Resource" => ("resource", format!("resource {} on pods", part(metric, "resource.name"))),
        "ContainerResource" => (
            "containerResource",
            format!(
                "resource {} of container {:?} on pods",
                part(metric, "containerResource.name"),
                part(metric, "containerResource.container")
            ),
        ),
        "Pods" => ("pods", format!("{:?} on pods", part(metric, "pods.metric.name"))),
        "External" => ("external", format!("{:?} (target value)", part(metric, "external.metric.name"))),
        "Object" => ("object", format!("{:?} on object", part(metric, "object.metric.name"))),
        other => return text.line(1, format!("<unknown metric type {other:?}>")),
    };
    let (target, now) = (at(metric, &format!("{source}.target")), at(current, &format!("{source}.current")));
    if !target["averageUtilization"].is_null() {
        let used = match now["averageUtilization"].is_null() {
            true => "<unknown>".into(),
            false => format!("{}% ({})", shown(&now["averageUtilization"]), shown(&now["averageValue"])),
        };
        let wanted = format!("{}%", shown(&target["averageUtilization"]));
        return text.line(1, format!("{name}  (as a percentage of request):\t{used} / {wanted}"));
    }
    let value = if target["averageValue"].is_null() { "value" } else { "averageValue" };
    text.line(1, format!("{name}:\t{} / {}", shown(&now[value]), shown(&target[value])));
}

fn direction(text: &mut Text, title: &str, rules: &Value) {
    if rules.is_null() {
        return;
    }
    text.line(1, format!("{title}:"));
    if let Some(seconds) = rules["stabilizationWindowSeconds"].as_i64() {
        text.line(2, format!("Stabilization Window: {seconds} seconds"));
    }
    let policies = list(rules, "policies");
    if policies.is_empty() {
        return;
    }
    let select = rules["selectPolicy"].as_str().unwrap_or("Max");
    text.line(2, format!("Select Policy: {select}"));
    text.line(2, "Policies:");
    for policy in policies {
        let (value, period) = (count(policy, "value"), count(policy, "periodSeconds"));
        text.line(3, format!("- Type: {}\tValue: {value}\tPeriod: {period} seconds", part(policy, "type")));
    }
}
