//! Horizontal pod autoscalers as `autoscaling/v1` shows them, which has one CPU target only.
//! `autoscaling/v2` is stored. What v1 has no field for travels in annotations, so that a client of
//! v1 changes nothing that it does not see.

use super::horizontal_pod_autoscaler::common;
use crate::kinds::entry::{Conversion, Kind, of};
use crate::schema;
use crate::value::{self, at, list, put, remove, slot_map, text};
use k8s_openapi::api::autoscaling::v1::HorizontalPodAutoscaler;
use serde_json::{Value, json};

pub(super) fn kind() -> Kind {
    let conversion = Conversion { to_stored: to_v2, from_stored: to_v1, fields: &[], validate: |_, _, _| {} };
    Kind { conversion: Some(conversion), ..common(of::<HorizontalPodAutoscaler>()) }
}

/// (annotation, where v2 keeps it, its type there)
const CARRIED: [(&str, &str, &str); 2] = [
    ("autoscaling.alpha.kubernetes.io/conditions", "status.conditions", "HorizontalPodAutoscalerCondition"),
    ("autoscaling.alpha.kubernetes.io/behavior", BEHAVIOR, "HorizontalPodAutoscalerBehavior"),
];
const BEHAVIOR: &str = "spec.behavior";
const CURRENT: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";

/// True for the metric that v1 has a field for: CPU use as a percentage of the request.
fn is_cpu(metric: &Value) -> bool {
    text(metric, "type") == "Resource"
        && text(metric, "resource.name") == "cpu"
        && at(metric, "resource.target.averageUtilization").is_number()
}

/// Turns an object of autoscaling/v1 into one of v2. What an annotation carries becomes part of the
/// object only if it has the form of v2; otherwise the annotation is dropped, as upstream does: a
/// field of the wrong type would make typed clients fail to read any list. The CPU target is the
/// last metric, as upstream. The CPU use counts only without an annotation, which says more.
fn to_v2(object: &mut Value) {
    put(object, "apiVersion", "autoscaling/v2");
    let mut metrics = take_metrics(object, METRICS, "target");
    if let Some(percent) = remove(object, "spec.targetCPUUtilizationPercentage").filter(Value::is_number) {
        let target = json!({"type": "Utilization", "averageUtilization": percent});
        metrics.push(json!({"type": "Resource", "resource": {"name": "cpu", "target": target}}));
    }
    if !metrics.is_empty() {
        put(object, "spec.metrics", metrics);
    }
    let used = remove(object, "status.currentCPUUtilizationPercentage").filter(Value::is_number);
    let mut current = take_metrics(object, CURRENT, "current");
    if let Some(percent) = used.filter(|_| current.is_empty()) {
        let cpu = json!({"name": "cpu", "current": {"averageUtilization": percent}});
        current.push(json!({"type": "Resource", "resource": cpu}));
    }
    if !current.is_empty() {
        put(object, "status.currentMetrics", current);
    }
    for (annotation, path, name) in CARRIED {
        let Some(carried) = take_annotation(object, annotation) else { continue };
        let carried = if path == BEHAVIOR { behavior_to_v2(carried) } else { carried };
        let is_list = carried.is_array();
        match (well_formed(carried, name), path) {
            (Some(all), "status.conditions") if is_list => put(object, path, all),
            (Some(mut one), BEHAVIOR) if !is_list => {
                if let Some(behavior) = one.pop().filter(|b| b.as_object().is_some_and(|b| !b.is_empty())) {
                    put(object, path, behavior);
                }
            }
            _ => {}
        }
    }
}

/// Turns a stored autoscaler of v2 into one of v1: what v1 lacks goes into annotations.
fn to_v1(object: &mut Value) {
    put(object, "apiVersion", "autoscaling/v1");
    // What a client of v2 wrote under these names would be read as the fields of v1.
    for annotation in [METRICS, CURRENT].into_iter().chain(CARRIED.map(|(annotation, ..)| annotation)) {
        take_annotation(object, annotation);
    }
    let mut metrics = match remove(object, "spec.metrics") {
        Some(Value::Array(all)) => all,
        _ => vec![],
    };
    if let Some(cpu) = metrics.iter().find(|metric| is_cpu(metric)) {
        let percent = at(cpu, "resource.target.averageUtilization").clone();
        put(object, "spec.targetCPUUtilizationPercentage", percent);
    }
    metrics.retain(|metric| !is_cpu(metric));
    if !metrics.is_empty() {
        let old: Vec<Value> = metrics.iter().map(|m| metric_to_v1(m, "target")).collect();
        put_annotation(object, METRICS, &Value::Array(old));
    }
    let current = list(object, "status.currentMetrics").iter().rev().find_map(|m| {
        let cpu = text(m, "type") == "Resource" && text(m, "resource.name") == "cpu";
        value::int(m, "resource.current.averageUtilization").filter(|_| cpu)
    });
    if let Some(percent) = current {
        put(object, "status.currentCPUUtilizationPercentage", percent);
    }
    if let Some(Value::Array(all)) = remove(object, "status.currentMetrics").filter(is_set) {
        let old: Vec<Value> = all.iter().map(|m| metric_to_v1(m, "current")).collect();
        put_annotation(object, CURRENT, &Value::Array(old));
    }
    for (annotation, path, _) in CARRIED {
        let Some(carried) = remove(object, path).filter(is_set) else { continue };
        let carried = if path == BEHAVIOR { behavior_to_v1(&carried) } else { carried };
        put_annotation(object, annotation, &carried);
    }
}

/// Returns whether there is anything to carry: upstream leaves an empty list out.
fn is_set(carried: &Value) -> bool {
    !carried.is_null() && carried != &json!([])
}

/// Returns a behavior as its annotation has it: upstream writes its internal type, whose fields
/// begin with a capital letter and are all there.
fn behavior_to_v1(behavior: &Value) -> Value {
    let policy = |policy: &Value| {
        let number = |field: &str| value::int(policy, field).unwrap_or(0);
        json!({"Type": text(policy, "type"), "Value": number("value"), "PeriodSeconds": number("periodSeconds")})
    };
    let rules = |direction: &str| {
        let rules = at(behavior, direction).as_object()?;
        let of = |field: &str| rules.get(field).unwrap_or(&Value::Null);
        let policies = of("policies").as_array().map(|all| all.iter().map(policy).collect::<Vec<_>>());
        Some(json!({
            "StabilizationWindowSeconds": of("stabilizationWindowSeconds"),
            "SelectPolicy": of("selectPolicy"),
            "Policies": policies,
            "Tolerance": of("tolerance"),
        }))
    };
    json!({"ScaleUp": rules("scaleUp"), "ScaleDown": rules("scaleDown")})
}

/// The fields of a behavior and of its parts.
const OF_BEHAVIOR: [&str; 9] = [
    "scaleUp",
    "scaleDown",
    "stabilizationWindowSeconds",
    "selectPolicy",
    "policies",
    "tolerance",
    "type",
    "value",
    "periodSeconds",
];

/// Brings what [`behavior_to_v1`] wrote back into the form of v2. As in Go the case of the names
/// does not count.
fn behavior_to_v2(carried: Value) -> Value {
    let name = |name: String| match OF_BEHAVIOR.iter().find(|known| known.eq_ignore_ascii_case(&name)) {
        Some(known) => (*known).to_string(),
        None => name,
    };
    match carried {
        Value::Object(fields) => {
            let set = fields.into_iter().filter(|(_, value)| !value.is_null());
            set.map(|(field, value)| (name(field), behavior_to_v2(value))).collect()
        }
        Value::Array(all) => all.into_iter().map(behavior_to_v2).collect(),
        other => other,
    }
}

/// Takes an annotation away and returns its content, `None` if that is no JSON.
fn take_annotation(object: &mut Value, name: &str) -> Option<Value> {
    let content = value::at_mut(object, "metadata.annotations")?.as_object_mut()?.shift_remove(name)?;
    serde_json::from_str(content.as_str()?).ok()
}

/// Returns the metrics of an annotation, in the form of v2. `aim` is `target` in a spec and
/// `current` in a status.
fn take_metrics(object: &mut Value, name: &str, aim: &str) -> Vec<Value> {
    let Some(Value::Array(old)) = take_annotation(object, name) else { return vec![] };
    let new = old.iter().map(|m| metric_to_v2(m, aim)).collect();
    well_formed(Value::Array(new), if aim == "target" { "MetricSpec" } else { "MetricStatus" })
        .unwrap_or_default()
}

/// Brings a value, or each one of a list, into the form of the type `name` of autoscaling/v2:
/// without unknown fields, and with quantities as they are stored. `None` if one of them is of
/// another type.
fn well_formed(carried: Value, name: &str) -> Option<Vec<Value>> {
    let mut all = match carried {
        Value::Array(all) => all,
        one => vec![one],
    };
    let name = format!("io.k8s.api.autoscaling.v2.{name}");
    all.iter_mut().all(|one| schema::conform_named(&name, one).is_ok()).then_some(all)
}

/// The target of each source of a metric: (source, amount in v2, field in v1). `T`
/// stands for `target` or `current`. Source: `autoscaling/v1` and `v2`, types `MetricSpec` and
/// `MetricStatus`.
const AMOUNTS: [(&str, &str, &str); 9] = [
    ("object", "value", "TValue"),
    ("object", "averageValue", "averageValue"),
    ("pods", "averageValue", "TAverageValue"),
    ("resource", "averageUtilization", "TAverageUtilization"),
    ("resource", "averageValue", "TAverageValue"),
    ("containerResource", "averageUtilization", "TAverageUtilization"),
    ("containerResource", "averageValue", "TAverageValue"),
    ("external", "value", "TValue"),
    ("external", "averageValue", "TAverageValue"),
];

/// Fields that have the same value in both versions: (source, path in v2, field in v1).
const SAME: [(&str, &str, &str); 10] = [
    ("object", "describedObject", "target"),
    ("object", "metric.name", "metricName"),
    ("object", "metric.selector", "selector"),
    ("pods", "metric.name", "metricName"),
    ("pods", "metric.selector", "selector"),
    ("resource", "name", "name"),
    ("containerResource", "name", "name"),
    ("containerResource", "container", "container"),
    ("external", "metric.name", "metricName"),
    ("external", "metric.selector", "metricSelector"),
];

/// Returns the name of a metric's field in the form of the annotations: `targetAverageValue`.
fn old_field(field: &str, aim: &str) -> String {
    field.strip_prefix('T').map_or_else(|| field.to_string(), |rest| format!("{aim}{rest}"))
}

fn metric_to_v1(metric: &Value, aim: &str) -> Value {
    let mut out = json!({"type": text(metric, "type")});
    let same = SAME.iter().map(|(source, new, old)| (*source, new.to_string(), old.to_string()));
    let amounts =
        AMOUNTS.iter().map(|(source, new, old)| (*source, format!("{aim}.{new}"), old_field(old, aim)));
    for (source, new, old) in same.chain(amounts) {
        let found = at(metric, &format!("{source}.{new}"));
        if !found.is_null() {
            put(&mut out, &format!("{source}.{old}"), found.clone());
        }
    }
    out
}

fn metric_to_v2(metric: &Value, aim: &str) -> Value {
    let mut out = json!({"type": text(metric, "type")});
    for (source, new, old) in SAME {
        let found = at(metric, &format!("{source}.{old}"));
        if !found.is_null() {
            put(&mut out, &format!("{source}.{new}"), found.clone());
        }
    }
    for (source, new, old) in AMOUNTS {
        let found = at(metric, &format!("{source}.{}", old_field(old, aim)));
        if found.is_null() {
            continue;
        }
        put(&mut out, &format!("{source}.{aim}.{new}"), found.clone());
        if aim == "target" {
            let kind = match new {
                "averageUtilization" => "Utilization",
                "averageValue" => "AverageValue",
                _ => "Value",
            };
            value::default(&mut out, &format!("{source}.target.type"), kind);
        }
    }
    out
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
            "spec": {"maxReplicas": 3, "metrics": [memory, cpu], "behavior": {"scaleDown": {"stabilizationWindowSeconds": 5}}}});
        let mut object = stored.clone();
        to_v1(&mut object);
        assert_eq!(object["spec"], json!({"maxReplicas": 3, "targetCPUUtilizationPercentage": 50}));
        let annotation = object["metadata"]["annotations"][METRICS].as_str().unwrap();
        assert_eq!(
            annotation,
            r#"[{"type":"Resource","resource":{"name":"memory","targetAverageValue":"1Mi"}}]"#
        );
        to_v2(&mut object);
        assert_eq!(object, stored);
    }

    #[test]
    fn a_behavior_travels_as_upstream_writes_it() {
        let policy = json!({"type": "Pods", "value": 4, "periodSeconds": 15});
        let up = json!({"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": [policy], "tolerance": "10m"});
        let stored = json!({"scaleUp": up, "scaleDown": {"selectPolicy": "Disabled"}});
        let written = behavior_to_v1(&stored);
        let want = concat!(
            r#"{"ScaleUp":{"StabilizationWindowSeconds":0,"SelectPolicy":"Max","#,
            r#""Policies":[{"Type":"Pods","Value":4,"PeriodSeconds":15}],"Tolerance":"10m"},"#,
            r#""ScaleDown":{"StabilizationWindowSeconds":null,"SelectPolicy":"Disabled","#,
            r#""Policies":null,"Tolerance":null}}"#
        );
        assert_eq!(written.to_string(), want);
        assert_eq!(behavior_to_v2(written), stored);
        assert_eq!(behavior_to_v2(json!({"scaleup": {"odd": 1}})), json!({"scaleUp": {"odd": 1}}));
    }

    /// A client of v1 may be the autoscaler that writes the status.
    #[test]
    fn the_cpu_use_in_a_status_is_a_current_metric() {
        let metrics = |annotations: Value| {
            let status = json!({"currentReplicas": 1, "currentCPUUtilizationPercentage": 42});
            let mut object = json!({"metadata": {"annotations": annotations}, "status": status});
            to_v2(&mut object);
            assert!(at(&object, "status.currentCPUUtilizationPercentage").is_null());
            at(&object, "status.currentMetrics").clone()
        };
        let used = |percent: i64| {
            let cpu = json!({"name": "cpu", "current": {"averageUtilization": percent}});
            json!([{"type": "Resource", "resource": cpu}])
        };
        assert_eq!(metrics(json!({})), used(42));
        let source = r#"[{"type": "Resource", "resource": {"name": "cpu", "currentAverageUtilization": 7}}]"#;
        assert_eq!(metrics(json!({CURRENT: source})), used(7));
        assert_eq!(metrics(json!({CURRENT: "no list"})), used(42));
    }

    #[test]
    fn lists_without_items_do_not_travel() {
        let mut object = json!({"metadata": {"name": "h"}, "spec": {"maxReplicas": 3},
            "status": {"currentMetrics": [], "conditions": []}});
        to_v1(&mut object);
        assert_eq!(object["metadata"], json!({"name": "h"}));
    }

    #[test]
    fn every_source_of_a_metric_has_the_form_of_its_version() {
        let metric = json!({"name": "hits", "selector": {"matchLabels": {"a": "b"}}});
        let described = json!({"kind": "Service", "name": "s", "apiVersion": "v1"});
        let metrics = json!([
            {"type": "Pods", "pods": {"metric": metric, "target": {"averageValue": "10", "type": "AverageValue"}}},
            {"type": "Object", "object": {"describedObject": described, "metric": metric, "target": {"value": "5", "type": "Value"}}},
            {"type": "External", "external": {"metric": metric, "target": {"averageValue": "5", "type": "AverageValue"}}},
            {"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "c", "target": {"averageUtilization": 5, "type": "Utilization"}}}]);
        let current = json!([{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 7, "averageValue": "70m"}}}]);
        let stored = json!({"apiVersion": "autoscaling/v2", "metadata": {"name": "h"}, "spec": {"maxReplicas": 3, "metrics": metrics},
            "status": {"currentMetrics": current}});
        let mut object = stored.clone();
        to_v1(&mut object);
        assert_eq!(object["status"]["currentCPUUtilizationPercentage"], 7);
        let read = |name: &str| -> Value {
            serde_json::from_str(object["metadata"]["annotations"][name].as_str().unwrap()).unwrap()
        };
        let old = json!({"targetAverageValue": "10", "metricName": "hits", "selector": {"matchLabels": {"a": "b"}}});
        assert_eq!(read(METRICS)[0]["pods"], old);
        assert_eq!(read(METRICS)[1]["object"]["target"], described);
        assert_eq!(
            read(CURRENT)[0]["resource"],
            json!({"name": "cpu", "currentAverageUtilization": 7, "currentAverageValue": "70m"})
        );
        to_v2(&mut object);
        value::remove(&mut object, "metadata.annotations");
        assert_eq!(object, stored);
    }

    #[test]
    fn annotations_that_have_not_the_form_of_v2_are_dropped() {
        let metrics = |source: Value| json!([{"type": "Resource", "resource": source}]).to_string();
        let behavior = "autoscaling.alpha.kubernetes.io/behavior";
        let conditions = "autoscaling.alpha.kubernetes.io/conditions";
        for (name, source) in [
            (METRICS, "[{".to_string()),
            (METRICS, metrics(json!({"name": "cpu", "targetAverageUtilization": "abc"}))),
            (METRICS, metrics(json!({"name": "cpu", "targetAverageValue": "much"}))),
            (CURRENT, metrics(json!({"name": 7, "currentAverageUtilization": 1}))),
            (behavior, r#"{"scaleUp": {"stabilizationWindowSeconds": "5"}}"#.to_string()),
            (behavior, "{}".to_string()),
            (behavior, "[{}]".to_string()),
            (conditions, r#"[{"type": 1}]"#.to_string()),
            (conditions, r#"{"type": "AbleToScale"}"#.to_string()),
        ] {
            let mut object = json!({"apiVersion": "autoscaling/v1", "metadata": {"annotations": {name: source, "a": "b"}}, "spec": {"maxReplicas": 3}});
            to_v2(&mut object);
            let want = json!({"apiVersion": "autoscaling/v2", "metadata": {"annotations": {"a": "b"}}, "spec": {"maxReplicas": 3}});
            assert_eq!(object, want, "{name} {source}");
        }
        let deep = format!("{}1{}", r#"{"scaleUp":"#.repeat(120), "}".repeat(120));
        let mut object = json!({"metadata": {"annotations": {behavior: deep}}, "spec": {}});
        to_v2(&mut object);
        assert_eq!(object["spec"]["behavior"], json!({"scaleUp": {}}), "no deeper than the type");
        let source = r#"{"scaleUp": {"odd": {"a": 1}, "stabilizationWindowSeconds": 5}}"#;
        let mut object = json!({"metadata": {"annotations": {behavior: source}}, "spec": {}});
        to_v2(&mut object);
        assert_eq!(object["spec"]["behavior"], json!({"scaleUp": {"stabilizationWindowSeconds": 5}}));
    }

    #[test]
    fn v1_does_not_show_stored_annotations_under_the_names_of_its_own() {
        let mut object = json!({"apiVersion": "autoscaling/v2", "metadata": {"annotations": {METRICS: "[]", "a": "b"}}, "spec": {"maxReplicas": 3}});
        to_v1(&mut object);
        assert_eq!(object["metadata"]["annotations"], json!({"a": "b"}));
    }
}
