//! Horizontal pod autoscalers.

use super::text::{Text, rfc1123};
use super::workloads::count;
use api::gostr;
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

fn quantity(value: &Value) -> String {
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
        "External" => ("external", format!("{:?}", part(metric, "external.metric.name"))),
        "Object" => {
            let of = |path: &str| part(metric, &format!("object.{path}"));
            let object = (of("describedObject.kind"), of("describedObject.name"));
            ("object", format!("{:?} on {}/{}", of("metric.name"), object.0, object.1))
        }
        other => return text.line(1, format!("<unknown metric type {other:?}>")),
    };
    let (target, now) = (at(metric, &format!("{source}.target")), at(current, &format!("{source}.current")));
    let average = !target["averageValue"].is_null();
    let of_resource = matches!(source, "resource" | "containerResource");
    if of_resource && !average {
        let used = match now["averageUtilization"].is_null() {
            true => "<unknown>".into(),
            false => {
                format!("{}% ({})", quantity(&now["averageUtilization"]), quantity(&now["averageValue"]))
            }
        };
        let wanted = match target["averageUtilization"].is_null() {
            true => "<auto>".into(),
            false => format!("{}%", quantity(&target["averageUtilization"])),
        };
        return text.line(1, format!("{name}  (as a percentage of request):\t{used} / {wanted}"));
    }
    let (kind, value) = match source {
        "external" | "object" if average => (" (target average value)", "averageValue"),
        "external" | "object" => (" (target value)", "value"),
        _ => ("", "averageValue"),
    };
    text.line(1, format!("{name}{kind}:\t{} / {}", quantity(&now[value]), quantity(&target[value])));
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn metrics_name_their_object_and_say_whether_they_are_averages() {
        let described = |kind: &str, source: &str, spec: Value, current: Value| {
            let mut text = Text::default();
            let mut spec = json!({"type": kind, source: spec});
            spec[source]["metric"] = json!({"name": "m"});
            metric(&mut text, &spec, &json!({source: {"current": current}}));
            text.finish()
        };
        let object = json!({"kind": "Ingress", "name": "web"});
        let (value, average) = (json!({"value": "5"}), json!({"averageValue": "7"}));
        for (kind, source, spec, current, want) in [
            (
                "Object",
                "object",
                json!({"describedObject": object, "target": value}),
                json!({"value": "3"}),
                "\"m\" on Ingress/web (target value):  3 / 5",
            ),
            (
                "Object",
                "object",
                json!({"describedObject": object, "target": average}),
                json!({"averageValue": "3"}),
                "\"m\" on Ingress/web (target average value):  3 / 7",
            ),
            (
                "External",
                "external",
                json!({"target": average}),
                json!({}),
                "\"m\" (target average value):  <unknown> / 7",
            ),
            (
                "External",
                "external",
                json!({"target": value}),
                json!({"value": "1"}),
                "\"m\" (target value):  1 / 5",
            ),
            (
                "Pods",
                "pods",
                json!({"target": average}),
                json!({"averageValue": "1"}),
                "\"m\" on pods:  1 / 7",
            ),
            (
                "Resource",
                "resource",
                json!({"name": "cpu", "target": {}}),
                json!({}),
                "resource cpu on pods  (as a percentage of request):  <unknown> / <auto>",
            ),
        ] {
            assert_eq!(described(kind, source, spec, current), format!("  {want}\n"));
        }
    }
}
